//! The disk under titan's journal: what was written, what of it would outlast a power cut, and what one leaves of the rest.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use titan_manager::journal::Storage;

use super::random::Random;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 64;

/// What a disk can do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// It is full: the next write ends in the middle.
    Write,
    /// The next sync fails, and nobody knows what is there.
    Sync,
}

/// One file on a disk. A clone is the same file.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Rc<RefCell<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    bytes: Vec<u8>,
    synced: usize,
    fault: Option<DiskFault>,
}

impl Disk {
    /// How much was written.
    pub(super) fn length(&self) -> usize {
        self.0.borrow().bytes.len()
    }

    /// A sync that began when the file had that length comes to its end.
    ///
    /// # Errors
    /// It was told to fail.
    pub(super) fn sync_to(&self, length: usize) -> io::Result<()> {
        let mut platter = self.0.borrow_mut();
        if platter.fault.take_if(|fault| *fault == DiskFault::Sync).is_some() {
            return Err(io::Error::other("no sync"));
        }
        platter.synced = platter.synced.max(length);
        Ok(())
    }

    /// What comes next goes wrong.
    pub(super) fn break_with(&self, fault: DiskFault) {
        self.0.borrow_mut().fault = Some(fault);
    }

    /// Somebody has made room.
    pub(super) fn mend(&self) {
        self.0.borrow_mut().fault = None;
    }

    /// What wasn't synced is there, in part or not at all, in whatever order the disk liked.
    pub(super) fn power_cut(&self, random: &mut Random) {
        let mut platter = self.0.borrow_mut();
        let unsynced = platter.bytes.len() - platter.synced;
        let stays = platter.synced + random.between(0, unsynced as u64) as usize;
        platter.bytes.truncate(stays);
        let synced = platter.synced;
        for sector in platter.bytes[synced..].chunks_mut(SECTOR_BYTES) {
            if random.chance(20) {
                sector.fill(0);
            }
        }
    }
}

impl Storage for Disk {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.0.borrow().bytes.clone())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.0.borrow_mut();
        if platter.fault.take_if(|fault| *fault == DiskFault::Write).is_some() {
            platter.bytes.extend_from_slice(&bytes[..bytes.len() / 2]);
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        platter.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let length = self.length();
        self.sync_to(length)
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        let mut platter = self.0.borrow_mut();
        platter.bytes.truncate(bytes as usize);
        platter.synced = platter.synced.min(bytes as usize);
        Ok(())
    }
}
