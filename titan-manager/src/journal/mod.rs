//! The durable record of a batch, from which it is resumed: entries in an append-only file.
//!
//! Many entries are written before they are synced together; each frame says how far its writer knew the file to be on the disk.
//! So a crash costs at most what nobody was told of yet, and whatever else is missing is told as damage.
//!
//! # Layout
//! - this file: the journal, and what it is stored on.
//! - [`entry`]: what can be noted.
//! - [`past`]: what all of it comes to.
//! - [`gate`]: effects that wait until what comes before them is durable.
//! - `frame`: how entries lie in a file.

pub mod entry;
mod frame;
pub mod gate;
pub mod past;

use std::io;

use titan_proto::codec::{self, CodecError};

pub use entry::{Entry, Identity, JobName, PlacedContent, PlacedFile};
pub use frame::Damage;
pub use gate::Gate;
pub use past::Past;

/// A file that only grows, on a disk that may fail.
pub trait Storage {
    /// All of it.
    ///
    /// # Errors
    /// It can't be read.
    fn read(&mut self) -> io::Result<Vec<u8>>;

    /// More at its end.
    ///
    /// # Errors
    /// It can't be written; a part of it may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// What was written is the system's from now on: whatever becomes of this program.
    ///
    /// # Errors
    /// It can't be written; a part of it may be there.
    fn flush(&mut self) -> io::Result<()>;

    /// What was written is on the disk from now on.
    ///
    /// # Errors
    /// Nobody knows what of it is.
    fn sync(&mut self) -> io::Result<()>;

    /// Only so many bytes stay.
    ///
    /// # Errors
    /// It can't be cut.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
}

/// Why a journal can't be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk failed; nothing more is written, as nobody knows what is there.
    #[error("{0}")]
    Disk(#[from] io::Error),
    /// It isn't what was written.
    #[error("{0}")]
    Damaged(#[from] Damage),
    /// An entry is longer than any can be.
    #[error("an entry is too long for the journal: {0}")]
    TooLong(CodecError),
    /// It failed before.
    #[error("the journal has failed before")]
    Failed,
}

/// An open journal. How far something is written or synced is told in bytes of the file.
#[derive(Debug)]
pub struct Journal<S> {
    storage: S,
    written: u64,
    synced: u64,
    has_failed: bool,
}

impl<S: Storage> Journal<S> {
    /// Opens or begins one, and hands on what is in it, each with whether it is known to have been on the disk. What a crash has left
    /// unfinished at its end goes.
    ///
    /// # Errors
    /// The disk fails, or it isn't what was written.
    pub fn open(mut storage: S, take: impl FnMut(Entry, bool)) -> Result<Self, JournalError> {
        let bytes = storage.read()?;
        let mut written = read(&bytes, take)?;
        if written < bytes.len() as u64 {
            storage.truncate(written)?;
        }
        if written == 0 {
            let header = frame::header();
            storage.append(&header)?;
            written = header.len() as u64;
        }
        storage.sync()?;
        Ok(Self { storage, written, synced: written, has_failed: false })
    }

    /// Writes entries. They are durable once the file is synced up to their end, which this returns.
    ///
    /// # Errors
    /// The disk fails: from then on nothing more is written.
    pub fn append(&mut self, entries: &[Entry]) -> Result<u64, JournalError> {
        if self.has_failed {
            return Err(JournalError::Failed);
        }
        let written = self.append_group(entries);
        self.has_failed = written.is_err();
        written.map(|()| self.written)
    }

    fn append_group(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        if entries.is_empty() {
            return Ok(());
        }
        match codec::encode_compact(&entries) {
            Ok(payload) => {
                let frame = frame::frame(self.written, self.synced, &payload);
                self.storage.append(&frame)?;
                self.written += frame.len() as u64;
                Ok(())
            }
            // Too long for one frame.
            Err(error) if entries.len() == 1 => Err(JournalError::TooLong(error)),
            Err(_) => {
                let (first, second) = entries.split_at(entries.len() / 2);
                self.append_group(first)?;
                self.append_group(second)
            }
        }
    }

    /// All that was written is the system's when this returns.
    ///
    /// # Errors
    /// The disk fails: from then on nothing more is written.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        if self.has_failed {
            return Err(JournalError::Failed);
        }
        let flushed = self.storage.flush();
        self.has_failed = flushed.is_err();
        Ok(flushed?)
    }

    /// How long the file is.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// All that was written is on the disk when this returns how long that is.
    ///
    /// # Errors
    /// The disk fails: from then on nothing more is written.
    pub fn sync(&mut self) -> Result<u64, JournalError> {
        if self.has_failed {
            return Err(JournalError::Failed);
        }
        let synced = self.storage.sync();
        self.has_failed = synced.is_err();
        synced?;
        self.synced = self.written;
        Ok(self.synced)
    }

    /// Somebody else has synced so much of the file.
    pub fn note_synced(&mut self, bytes: u64) {
        self.synced = self.synced.max(bytes.min(self.written));
    }

    /// Somebody else has failed to sync it: nothing more is written.
    pub fn fail(&mut self) {
        self.has_failed = true;
    }
}

/// Hands on the entries of a journal that somebody may still be writing, each with whether it is known to have been on the disk.
/// Returns how many bytes are whole.
///
/// # Errors
/// It isn't what was written.
pub fn read(bytes: &[u8], mut take: impl FnMut(Entry, bool)) -> Result<u64, Damage> {
    let frames = frame::read(bytes)?;
    for &(offset, payload) in &frames.payloads {
        let group: Vec<Entry> = codec::decode_compact(payload).map_err(|_| Damage::NoEntry { offset })?;
        // A frame is written in one go: all of it was synced, or none.
        group.into_iter().for_each(|entry| take(entry, offset < frames.synced_bytes));
    }
    Ok(frames.whole_bytes)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
