//! What was asked for: enough to make the same tasks again, wherever titan is started and whatever has changed since. Written once,
//! before anything is begun.
//!
//! The file is the magic word, then two parts, each with its length (u64, little-endian) and its CRC-32 before it: the heading,
//! which lists of batches read, and the body.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use titan_proto::codec;

use crate::config::place::Origin;
use crate::paths::named;

/// In a batch's directory.
const FILE: &str = "specification";
/// What it begins with; the last byte is the version of all that follows.
const MAGIC: [u8; 8] = *b"TITANSP\x01";
/// Bytes of a part before it.
const FRONT_BYTES: usize = 12;
/// The longest heading.
const MAX_HEADING_BYTES: usize = 64 << 10;

/// What a batch is, for lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heading {
    /// What people call it.
    pub(crate) name: String,
    /// What was typed, in one line.
    pub(crate) shown: String,
    /// The version of the titan that has begun it.
    pub(crate) version: String,
    /// When, in ms since 1970.
    pub(crate) began_ms: u64,
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Specification {
    pub(crate) heading: Heading,
    /// What was typed after `titan`.
    pub(crate) words: Vec<Vec<u8>>,
    /// Where it was typed: absolute.
    pub(crate) folder: Vec<u8>,
    /// The cluster file that was found where nobody named one.
    pub(crate) cluster: Option<(Vec<u8>, Origin)>,
    /// Variables that were copied for tasks.
    pub(crate) variables: Vec<(Vec<u8>, Vec<u8>)>,
    /// Nobody else can guess it.
    pub(crate) secret: u64,
    /// What a random order follows from.
    pub(crate) seed: u64,
    /// What the first values of the sources named their columns.
    pub(crate) names: Vec<Vec<u8>>,
    /// All of stdin, where that was read before anything began.
    pub(crate) stdin: Option<Vec<u8>>,
    /// Slots that a kernel's work was divided for.
    pub(crate) slots: u32,
    /// The batch file.
    pub(crate) file: Option<RecordedFile>,
}

/// A batch file as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordedFile {
    /// Where it was: absolute.
    pub(crate) path: Vec<u8>,
    pub(crate) text: String,
    /// The sets that it takes from elsewhere, in the order in which they are read.
    pub(crate) sets: VecDeque<Vec<Vec<u8>>>,
}

impl Specification {
    /// Writes it into a batch's directory: it is on the disk when this returns.
    ///
    /// # Errors
    /// It can't be written.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let path = directory.join(FILE);
        // A batch without it was never begun.
        let temporary = directory.join(format!("{FILE}.new"));
        let write = || {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(&self.encode()?)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)
        };
        write().map_err(|error| named(&path, &error))
    }

    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let mut bytes = MAGIC.to_vec();
        for part in [codec::encode(&self.heading), codec::encode_long(self)] {
            let part = part.map_err(io::Error::other)?;
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(crc32fast::hash(&part).to_le_bytes());
            bytes.extend(part);
        }
        Ok(bytes)
    }

    /// Reads that of a batch.
    ///
    /// # Errors
    /// It can't be read, or isn't what was written.
    pub(super) fn read(directory: &Path) -> io::Result<Self> {
        let path = directory.join(FILE);
        let bytes = std::fs::read(&path).map_err(|error| named(&path, &error))?;
        Self::decode(&bytes).ok_or_else(|| named(&path, &io::Error::other("it is damaged, or another titan's")))
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (_, rest) = part::<Heading>(bytes.strip_prefix(&MAGIC)?)?;
        part(rest).filter(|(_, rest)| rest.is_empty()).map(|(specification, _)| specification)
    }
}

/// What a part is, and what follows it.
fn part<T: DeserializeOwned>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let (front, rest) = bytes.split_at_checked(FRONT_BYTES)?;
    let (length, crc) = front.split_first_chunk::<8>()?;
    let (part, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    if crc32fast::hash(part).to_le_bytes() != *crc {
        return None;
    }
    Some((codec::decode_long(part).ok()?, rest))
}

impl Heading {
    /// That of a batch, if it can be read, and when it was written; None: there is no specification.
    pub(super) fn read(directory: &Path) -> Option<(SystemTime, Option<Self>)> {
        let file = File::open(directory.join(FILE)).ok()?;
        let written = file.metadata().ok()?.modified().ok()?;
        let mut bytes = Vec::new();
        let read = file.take((MAGIC.len() + FRONT_BYTES + MAX_HEADING_BYTES) as u64).read_to_end(&mut bytes);
        let heading = read.ok().and_then(|_| part(bytes.strip_prefix(&MAGIC)?)).map(|(heading, _)| heading);
        Some((written, heading))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specification() -> Specification {
        Specification {
            heading: Heading { name: "film".into(), shown: "titan batch film.toml".into(), ..Heading::default() },
            words: vec![b"batch".to_vec(), b"film.toml".to_vec()],
            folder: b"/home/x".to_vec(),
            file: Some(RecordedFile {
                path: b"/home/x/film.toml".to_vec(),
                text: "[[job]]".into(),
                sets: VecDeque::from([vec![b"a".to_vec(), vec![7; 2 << 20]]]),
            }),
            ..Specification::default()
        }
    }

    #[test]
    fn what_was_written_is_read_however_long_it_is() {
        let folder = tempfile::tempdir().unwrap();
        specification().write(folder.path()).unwrap();
        assert_eq!(Specification::read(folder.path()).unwrap(), specification());
        let (_, heading) = Heading::read(folder.path()).unwrap();
        assert_eq!(heading, Some(specification().heading));
        assert!(Heading::read(&folder.path().join("none")).is_none());
    }

    #[test]
    fn a_specification_that_is_cut_or_changed_is_none() {
        let small = Specification { file: None, ..specification() };
        let whole = small.encode().unwrap();
        assert_eq!(Specification::decode(&whole), Some(small));
        for place in 0..whole.len() {
            assert_eq!(Specification::decode(&whole[..place]), None, "cut at {place}");
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[place] ^= 1 << bit;
                assert_eq!(Specification::decode(&damaged), None, "bit {bit} of {place}");
            }
        }
    }
}
