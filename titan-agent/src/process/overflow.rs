//! Output that waits on the disk, since more of it waits than memory is for: a file for each attempt, without a name, so that
//! nothing is left of it however the agent ends.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, OFlags, fallocate, fstatfs, fstatvfs};

use super::ScratchRoot;

/// What may wait on the disk of all tasks: what a busy host prints while a laptop is carried from one room to another.
const MAX_BYTES: u64 = 1 << 30;
/// What stays free on the disk for others.
const RESERVE_BYTES: u64 = 256 << 20;
/// The disk is looked at, and what was read is given back to it, in pieces of that size.
const STEP_BYTES: u64 = 1 << 20;
/// Where files go if the scratch folder is memory.
const DISK_FOLDER: &str = "/var/tmp";
/// What the kernel calls file systems that are memory: tmpfs, ramfs.
const MEMORY_KINDS: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// How much disk is taken, of all attempts.
#[derive(Debug, Default)]
pub(super) struct Shelf(AtomicU64);

impl Shelf {
    /// The bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What of an attempt's output waits on the disk.
#[derive(Debug)]
pub(super) struct Overflow {
    scratch: Arc<ScratchRoot>,
    /// Made when it is needed.
    file: Option<File>,
    written: u64,
    read: u64,
    /// What was read and given back to the disk.
    freed: u64,
    /// There is no disk, or it is full.
    is_given_up: bool,
    /// What was there can't be read any more.
    is_lost: bool,
}

impl Overflow {
    pub(super) fn new(scratch: Arc<ScratchRoot>) -> Self {
        Self { scratch, file: None, written: 0, read: 0, freed: 0, is_given_up: false, is_lost: false }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.read == self.written
    }

    /// Whether more may be put there.
    pub(super) fn has_room(&self, shelf: &Shelf) -> bool {
        !self.is_given_up && shelf.bytes() < MAX_BYTES
    }

    /// Puts a piece after the others; false: there is no room.
    pub(super) fn put(&mut self, piece: &[u8], shelf: &Shelf) -> bool {
        if !self.has_room(shelf) {
            return false;
        }
        if self.write(piece).is_err() {
            self.give_up();
            return false;
        }
        self.written += piece.len() as u64;
        shelf.add(piece.len() as u64);
        true
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => unnamed(&self.scratch)?,
        };
        let file = self.file.insert(file);
        let before = self.written;
        let is_step =
            before.is_multiple_of(STEP_BYTES) || before / STEP_BYTES != (before + piece.len() as u64) / STEP_BYTES;
        if is_step && free_bytes(file) < RESERVE_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write_all_at(piece, before)
    }

    /// Takes the next bytes, as many as that at most.
    pub(super) fn take(&mut self, most: usize, shelf: &Shelf) -> Option<Vec<u8>> {
        let file = self.file.as_ref().filter(|_| self.read < self.written)?;
        let length = usize::try_from(self.written - self.read).unwrap_or(usize::MAX).min(most);
        let mut piece = vec![0; length];
        if file.read_exact_at(&mut piece, self.read).is_err() {
            (self.is_lost, self.is_given_up) = (true, true);
            self.forget(shelf);
            return None;
        }
        self.read += length as u64;
        if self.is_empty() {
            self.forget(shelf);
        } else if self.read - self.freed >= STEP_BYTES {
            self.free(shelf);
        }
        Some(piece)
    }

    /// Gives the disk back what was read; where that can't be done, it is held until all was read.
    fn free(&mut self, shelf: &Shelf) {
        let Some(file) = &self.file else { return };
        let bytes = (self.read - self.freed) / STEP_BYTES * STEP_BYTES;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if fallocate(file, flags, self.freed, bytes).is_ok() {
            self.freed += bytes;
            shelf.give_back(bytes);
        }
    }

    /// Whether something that was put there is lost.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Nothing more is put there.
    pub(super) fn give_up(&mut self) {
        self.is_given_up = true;
    }

    /// What was there isn't needed any more.
    pub(super) fn forget(&mut self, shelf: &Shelf) {
        shelf.give_back(self.written - self.freed);
        (self.written, self.read, self.freed) = (0, 0, 0);
        // It may be needed again, but holds no disk until then.
        self.file = None;
    }
}

fn free_bytes(file: &File) -> u64 {
    fstatvfs(file).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// A file on a disk that nobody else can open.
fn unnamed(scratch: &ScratchRoot) -> io::Result<File> {
    let folders = [scratch.folder().ok(), Some(PathBuf::from(DISK_FOLDER))];
    let files = folders.into_iter().flatten().filter_map(|folder| unnamed_in(&folder, scratch.word()).ok());
    let is_disk = |file: &File| fstatfs(file).is_ok_and(|kind| !MEMORY_KINDS.contains(&(kind.f_type as u64)));
    let mut disks = files.filter(is_disk);
    disks.next().ok_or_else(|| io::ErrorKind::StorageFull.into())
}

fn unnamed_in(folder: &Path, word: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let made = options.clone().custom_flags(OFlags::TMPFILE.bits() as i32).open(folder);
    // Some file systems make none without a name.
    made.or_else(|_| {
        let path = folder.join(format!("titan-waits-{word}-{:?}", std::thread::current().id()));
        let file = options.create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_given_back() {
        let scratch = Arc::new(ScratchRoot::named(&format!("given-back-{}", std::process::id())));
        let (mut overflow, shelf) = (Overflow::new(Arc::clone(&scratch)), Shelf::default());
        let piece = vec![7; STEP_BYTES as usize / 2];
        for _ in 0..8 {
            assert!(overflow.put(&piece, &shelf));
        }
        assert_eq!(shelf.bytes(), STEP_BYTES * 4);
        for _ in 0..4 {
            assert_eq!(overflow.take(piece.len(), &shelf).unwrap(), piece);
        }
        assert_eq!(shelf.bytes(), STEP_BYTES * 2, "half of it was read");
        overflow.forget(&shelf);
        assert_eq!(shelf.bytes(), 0);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "a file without a name");
        scratch.remove_all();
    }
}
