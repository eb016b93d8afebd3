//! A file that goes to the disk while it is written, so that a sync at its end has little left to do.

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::thread::{self, JoinHandle};

use rustix::fs::{Advice, fadvise};

/// Bytes of a file that are sent to the disk together.
const WRITEBACK_BYTES: u64 = 4 << 20;
/// After so many a disk that keeps them in a memory of its own is told not to, beside all else.
const SYNC_BYTES: u64 = 32 << 20;

/// The file.
#[derive(Debug)]
pub(super) struct Steady {
    file: File,
    written_bytes: u64,
    /// So many of them are on their way to the disk.
    begun_bytes: u64,
    /// When it was synced last it had so many.
    synced_bytes: u64,
    syncing: Option<JoinHandle<()>>,
}

impl Steady {
    /// A file of which so many bytes are there.
    pub(super) fn new(file: File, bytes: u64) -> Self {
        Self { file, written_bytes: bytes, begun_bytes: bytes, synced_bytes: bytes, syncing: None }
    }

    /// Begins to sync it, if that isn't under way. What comes of it doesn't matter: whoever needs to know syncs it again.
    fn begin_sync(&mut self) {
        if self.syncing.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(file) = self.file.try_clone()
        {
            self.syncing = thread::Builder::new().name("sync".to_owned()).spawn(move || drop(file.sync_data())).ok();
            self.synced_bytes = self.written_bytes;
        }
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> u64 {
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
            // What isn't needed in memory is begun to be written, and stays until it is.
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
