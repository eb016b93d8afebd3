//! A file that goes to the disk while it is written, so that a sync at its end has little left to do.

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::thread;

use rustix::fs::{Advice, fadvise};

/// Bytes of a file that are sent to the disk together.
const WRITEBACK_BYTES: u64 = 4 << 20;
/// After so many a disk that keeps them in a memory of its own is told not to, beside all else.
const SYNC_BYTES: u64 = 32 << 20;

/// So many threads do that at once, for all files.
const SYNCED_AT_ONCE: usize = 8;

/// Held by each thread that does.
static SYNCING: LazyLock<Arc<()>> = LazyLock::new(Arc::default);

/// The file.
#[derive(Debug)]
pub(crate) struct Steady {
    file: File,
    /// Where it is.
    folder: PathBuf,
    written_bytes: u64,
    /// So many of them are on their way to the disk.
    begun_bytes: u64,
    /// When the disk was told last it had so many.
    synced_bytes: u64,
}

impl Steady {
    /// A file in that folder of which so many bytes are there.
    pub(crate) fn new(file: File, folder: PathBuf, bytes: u64) -> Self {
        Self { file, folder, written_bytes: bytes, begun_bytes: bytes, synced_bytes: bytes }
    }

    /// Has the disk empty its memory, if not enough threads do that. By a sync of the folder: the system tells that a file couldn't be
    /// written to one of those who sync it, and that has to be the one who relies on it.
    fn begin_sync(&mut self) {
        self.synced_bytes = self.written_bytes;
        if Arc::strong_count(&SYNCING) <= SYNCED_AT_ONCE {
            let (folder, counted) = (self.folder.clone(), Arc::clone(&SYNCING));
            let sync = move || {
                let _ = File::open(folder).and_then(|folder| folder.sync_all());
                drop(counted);
            };
            let _ = thread::Builder::new().name("sync".to_owned()).spawn(sync);
        }
    }

    /// How many bytes it has.
    pub(crate) fn bytes(&self) -> u64 {
        self.written_bytes
    }
}

impl Write for Steady {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.written_bytes += length as u64;
        if let Some(more) =
            NonZeroU64::new(self.written_bytes - self.begun_bytes).filter(|more| more.get() >= WRITEBACK_BYTES)
        {
            // Asks for room in memory: what isn't on the disk yet is begun to be written, and stays.
            let _ = fadvise(&self.file, self.begun_bytes, Some(more), Advice::DontNeed);
            self.begun_bytes = self.written_bytes;
        }
        if self.written_bytes - self.synced_bytes >= SYNC_BYTES {
            self.begin_sync();
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_written_however_much_that_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let piece: Vec<u8> = (0..1_u32 << 20).flat_map(u32::to_le_bytes).collect();
        let mut steady = Steady::new(File::create(&path).unwrap(), folder.path().to_owned(), 0);
        let pieces = 2 * SYNC_BYTES / piece.len() as u64 + 1;
        (0..pieces).for_each(|_| steady.write_all(&piece).unwrap());
        assert_eq!(steady.bytes(), pieces * piece.len() as u64);
        drop(steady);
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.chunks(piece.len()).all(|there| there == piece) && bytes.len() as u64 > 2 * SYNC_BYTES);
    }
}
