//! Which content a file has, and pieces of it as they are asked for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use titan_proto::files::{BlobId, Content, Entry, EntryKind};

use super::listing::{Local, LocalKind, Stamp};
use crate::config::text::printable;

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// What hosts can ask for.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<Entry>,
    pub(crate) sources: Vec<(BlobId, Source)>,
    /// Stands for all places and contents, where that is wanted.
    pub(crate) identity: BlobId,
}

/// Where a content is, and how the file was when its hash was made.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    path: PathBuf,
    stamp: Stamp,
}

/// The hashes of files that were read, for as long as they don't change.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    known: Mutex<BTreeMap<Stamp, BlobId>>,
    /// All contents are hashed, whoever reads them.
    identifies: bool,
}

impl Contents {
    pub(crate) fn new(identifies: bool) -> Self {
        Self { identifies, ..Self::default() }
    }

    /// What is told of these. `is_here`: to an agent of this machine, which reads files where they are.
    ///
    /// # Errors
    /// A file can't be read: a sentence.
    pub(crate) fn describe(&self, locals: Vec<Local>, is_here: bool) -> Result<Listing, String> {
        let mut listing = Listing::default();
        let mut identity = Sha256::new();
        for Local { place, path, mode, mtime_ns, kind } in locals {
            let kind = match kind {
                LocalKind::Folder => EntryKind::Folder,
                LocalKind::Link { target } => EntryKind::Link { target },
                LocalKind::File { stamp } if is_here => {
                    if self.identifies {
                        identity.update(self.blob(&path, stamp)?.0);
                    }
                    let here = std::os::unix::ffi::OsStringExt::into_vec(path.into_os_string());
                    EntryKind::File { bytes: stamp.bytes, content: Content::Here(here) }
                }
                LocalKind::File { stamp } => {
                    let blob = self.blob(&path, stamp)?;
                    identity.update(blob.0);
                    listing.sources.push((blob, Source { path, stamp }));
                    EntryKind::File { bytes: stamp.bytes, content: Content::Blob(blob) }
                }
            };
            if let EntryKind::Link { target } = &kind {
                identity.update(target);
            }
            identity.update((place.len() as u64).to_le_bytes());
            identity.update(&place);
            identity.update((mode & 0o111).to_le_bytes());
            listing.entries.push(Entry { place, mode, mtime_ns, kind });
        }
        listing.identity = BlobId(identity.finalize().into());
        Ok(listing)
    }

    fn blob(&self, path: &Path, stamp: Stamp) -> Result<BlobId, String> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(blob) = known().get(&stamp) {
            return Ok(*blob);
        }
        let blob = hash(path, stamp)?;
        known().insert(stamp, blob);
        Ok(blob)
    }
}

/// The content that a file has now.
///
/// # Errors
/// It can't be read.
pub(crate) fn hash_of(path: &Path) -> io::Result<BlobId> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(BlobId(hash.finalize().into())),
            length => hash.update(&buffer[..length]),
        }
    }
}

fn changed(path: &Path) -> String {
    format!("its input '{}' changed while it was sent", printable(&path.to_string_lossy()))
}

fn cannot(path: &Path, error: &io::Error) -> String {
    format!("its input '{}': {error}", printable(&path.to_string_lossy()))
}

/// Opens a file that must still be as it was.
fn open(path: &Path, stamp: Stamp) -> Result<File, String> {
    let file = File::open(path).map_err(|error| cannot(path, &error))?;
    let data = file.metadata().map_err(|error| cannot(path, &error))?;
    if Stamp::of(&data) == stamp { Ok(file) } else { Err(changed(path)) }
}

fn hash(path: &Path, stamp: Stamp) -> Result<BlobId, String> {
    let mut file = open(path, stamp)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                bytes += length as u64;
                hash.update(&buffer[..length]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(cannot(path, &error)),
        }
    }
    if bytes == stamp.bytes { Ok(BlobId(hash.finalize().into())) } else { Err(changed(path)) }
}

impl Source {
    /// A piece of the content; blocks.
    ///
    /// # Errors
    /// The file isn't there any more, or isn't as it was: a sentence.
    pub(crate) fn read(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, String> {
        let file = open(&self.path, self.stamp)?;
        let is_within = offset.checked_add(bytes).is_some_and(|end| end <= self.stamp.bytes);
        let bytes = usize::try_from(bytes).ok().filter(|_| is_within).ok_or("it was asked for more than there is")?;
        let mut piece = vec![0; bytes];
        file.read_exact_at(&mut piece, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => changed(&self.path),
            _ => cannot(&self.path, &error),
        })?;
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Input, listing};

    #[test]
    fn a_file_that_changed_is_noticed_and_never_sent_under_its_old_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"one").unwrap();
        let locals = listing::list(folder.path(), &[Input::new(b"a", false).unwrap()]).unwrap();
        let listing = Contents::default().describe(locals, false).unwrap();
        let (_, source) = &listing.sources[0];
        assert_eq!(source.read(1, 2).unwrap(), b"ne");
        assert!(source.read(2, 2).is_err());
        std::fs::write(&path, b"other").unwrap();
        assert!(source.read(0, 3).unwrap_err().ends_with("changed while it was sent"));
    }
}
