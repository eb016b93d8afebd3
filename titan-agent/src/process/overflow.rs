//! Output that waits on the disk, since more of it waits than memory is for: a file for each attempt, without a name, so that
//! nothing is left of it however the agent ends.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::fstatfs;

use super::ScratchRoot;

/// What may wait on the disk of all tasks: what a busy host prints while a laptop is carried from one room to another.
const MAX_BYTES: u64 = 1 << 30;
/// Where files go if the scratch folder is memory.
const DISK_FOLDER: &str = "/var/tmp";
/// What the kernel calls file systems that are memory: tmpfs, ramfs.
const MEMORY_KINDS: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// How much waits on the disk, of all attempts.
#[derive(Debug, Default)]
pub(super) struct Shelf(AtomicU64);

impl Shelf {
    /// The bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
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
    /// There is no disk, or it is full.
    is_given_up: bool,
    /// What was there can't be read any more.
    is_lost: bool,
}

impl Overflow {
    pub(super) fn new(scratch: Arc<ScratchRoot>) -> Self {
        Self { scratch, file: None, written: 0, read: 0, is_given_up: false, is_lost: false }
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
        let written = self.written;
        let put = self.file().and_then(|file| file.write_all_at(piece, written));
        if put.is_err() {
            self.give_up();
            return false;
        }
        self.written += piece.len() as u64;
        shelf.0.fetch_add(piece.len() as u64, Ordering::Relaxed);
        true
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
        }
        Some(piece)
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
        shelf.0.fetch_sub(std::mem::take(&mut self.written), Ordering::Relaxed);
        self.read = 0;
        // It may be needed again, but holds no disk until then.
        self.file = None;
    }

    fn file(&mut self) -> io::Result<&File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => unnamed(&self.scratch)?,
        };
        Ok(self.file.insert(file))
    }
}

/// A file on a disk that nobody else can open.
fn unnamed(scratch: &ScratchRoot) -> io::Result<File> {
    let name = format!("titan-waits-{}-{:?}", scratch.word(), std::thread::current().id());
    let folders = [scratch.file(&name)?, PathBuf::from(DISK_FOLDER).join(&name)];
    for path in folders {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        if !MEMORY_KINDS.contains(&(fstatfs(&file)?.f_type as u64)) {
            return Ok(file);
        }
    }
    Err(io::ErrorKind::StorageFull.into())
}
