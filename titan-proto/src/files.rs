//! Files that tasks are given and leave: what lies where in a task's folder, which of it is a declared output, and what is
//! never let in or out of that folder. Paths are bytes, relative to the folder, with `/` between names.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::id::{AttemptId, JobId};

/// Most bytes of a blob that are asked for at once.
pub const MAX_PIECE_BYTES: u64 = 1 << 20;
/// Longest path, as Linux has it.
const MAX_PATH_BYTES: usize = 4_096;

/// A file's content, named by its SHA-256.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobId(pub [u8; 32]);

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Entries that are told once and named by those who need them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FileSet {
    /// What all tasks of a job are given.
    Job(JobId),
    /// What one attempt is given; goes with it.
    Attempt(AttemptId),
}

/// A file, folder or link in a task's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path in the task's folder.
    pub place: Vec<u8>,
    /// Its permissions: the lower 12 bits of `st_mode`.
    pub mode: u32,
    /// When it was changed, in ns since 1970.
    pub mtime_ns: i64,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A file.
    File {
        /// Its length.
        bytes: u64,
        /// Where its bytes are.
        content: Content,
    },
    /// A folder; what is in it has entries of its own, which come later.
    Folder,
    /// A symbolic link.
    Link {
        /// What it says.
        target: Vec<u8>,
    },
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// With the manager, which sends them to who asks by this name.
    Blob(BlobId),
    /// In that file of the agent's own machine.
    Here(Vec<u8>),
    /// In the stream after the entry: a task's output.
    Follows,
}

impl Entry {
    /// When it was changed; a moment that no system has is 1970.
    pub fn modified(&self) -> SystemTime {
        let span = Duration::from_nanos(self.mtime_ns.unsigned_abs());
        let epoch = SystemTime::UNIX_EPOCH;
        let at = if self.mtime_ns < 0 { epoch.checked_sub(span) } else { epoch.checked_add(span) };
        at.unwrap_or(epoch)
    }

    /// What is wrong with it, if it would leave the folder that it is for.
    pub fn problem(&self) -> Option<String> {
        if !is_inside(&self.place) {
            return Some(format!("{} is no path inside its folder", shown(&self.place)));
        }
        match &self.kind {
            EntryKind::Link { target } if !stays_inside(&self.place, target) => {
                Some(format!("the link {} leads to {}, out of its folder", shown(&self.place), shown(target)))
            }
            _ => None,
        }
    }
}

/// Longest encoded entry: two paths, and what is told besides.
const MAX_ENTRY_BYTES: usize = 16 << 10;

/// An entry as it stands in a stream: its length as a little-endian u32, and itself. None: its paths are too long.
pub fn encode_entry(entry: &Entry) -> Option<Vec<u8>> {
    let bytes = codec::encode(entry).ok().filter(|bytes| bytes.len() <= MAX_ENTRY_BYTES)?;
    Some([&(bytes.len() as u32).to_le_bytes()[..], &bytes].concat())
}

/// Takes entries from a stream that comes in pieces of any size.
#[derive(Debug, Default)]
pub struct EntryReader {
    bytes: Vec<u8>,
}

/// The stream has something in it that is no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the files that it left aren't told in entries")]
pub struct NoEntry;

impl EntryReader {
    /// Hands on the entries that are complete with this piece.
    ///
    /// # Errors
    /// Something is no entry; nothing after it is one either.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<Entry>, NoEntry> {
        self.bytes.extend_from_slice(piece);
        let mut entries = Vec::new();
        while let Some((length, rest)) = self.bytes.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            if length > MAX_ENTRY_BYTES {
                return Err(NoEntry);
            }
            let Some(entry) = rest.get(..length) else { break };
            entries.push(codec::decode(entry).map_err(|_| NoEntry)?);
            self.bytes.drain(..4 + length);
        }
        Ok(entries)
    }
}

/// A path for people.
fn shown(path: &[u8]) -> String {
    format!("'{}'", String::from_utf8_lossy(path).escape_debug())
}

/// Whether a path leads to something below the folder that it is relative to, by its words alone.
pub fn is_inside(place: &[u8]) -> bool {
    let is_name = |name: &[u8]| !name.is_empty() && name != b"." && name != b"..";
    place.len() <= MAX_PATH_BYTES && !place.contains(&0) && place.split(|byte| *byte == b'/').all(is_name)
}

/// Whether a link at that place leads to something in the same folder. Only a target whose `..` all come first can be
/// judged without looking at other links.
pub fn stays_inside(place: &[u8], target: &[u8]) -> bool {
    let depth = place.iter().filter(|byte| **byte == b'/').count();
    let mut names = target.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").peekable();
    let mut ups = 0;
    while names.next_if(|name| *name == b"..").is_some() {
        ups += 1;
    }
    let is_relative = !target.is_empty() && target[0] != b'/' && !target.contains(&0);
    is_relative && target.len() <= MAX_PATH_BYTES && ups <= depth && names.all(|name| name != b"..")
}

/// What a task declares that it leaves: a path, or a pattern of paths. A folder stands for all that is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputPattern {
    /// The path; of a pattern, with a backslash before what isn't meant as one.
    pub text: Vec<u8>,
    /// Whether `*`, `?`, `[…]` and `**` in it mean anything.
    pub is_glob: bool,
}

impl OutputPattern {
    /// Whether that path is what is declared, or in a folder that is.
    pub fn covers(&self, place: &[u8]) -> bool {
        let ends = place.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.chain([place.len()]).any(|end| self.matches(&place[..end]))
    }

    /// Whether that very path is declared.
    pub fn matches(&self, place: &[u8]) -> bool {
        if self.is_glob { fast_glob::glob_match(&self.text, place) } else { self.text == place }
    }

    /// The folders that lead to it, as far as they are known: what it names without its last name, up to the first name
    /// with a pattern in it.
    pub fn known_folder(&self) -> Vec<u8> {
        let names: Vec<&[u8]> = self.text.split(|byte| *byte == b'/').collect();
        let known = names[..names.len() - 1].iter().take_while(|name| !self.is_glob || !has_glob(name));
        let folder = known.copied().collect::<Vec<_>>().join(&b'/');
        if self.is_glob { without_escapes(&folder) } else { folder }
    }
}

/// Whether an unescaped character of a pattern means something.
pub fn has_glob(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        let closed_by = |end: u8| bytes.as_slice().contains(&end);
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' => return true,
            // Without its end it means itself.
            b'[' if closed_by(b']') => return true,
            b'{' if closed_by(b'}') => return true,
            _ => {}
        }
    }
    false
}

/// Text that means itself in a pattern.
pub fn escape_glob(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        if b"*?[]{}!\\,".contains(byte) {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}

/// A pattern without anything that means something, as the path that it is.
pub fn without_escapes(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        plain.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(text: &str) -> OutputPattern {
        OutputPattern { text: text.into(), is_glob: true }
    }

    #[test]
    fn paths_that_leave_the_folder_are_told() {
        for place in ["a", "a/b", ".a", "a..b", "\u{e4} \n"] {
            assert!(is_inside(place.as_bytes()), "{place}");
        }
        for place in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/.", "a\0b"] {
            assert!(!is_inside(place.as_bytes()), "{place}");
        }
    }

    #[test]
    fn links_that_leave_the_folder_are_told() {
        for (place, target) in [("l", "a"), ("d/l", "../a"), ("d/l", "./b/c"), ("d/e/l", "../../x")] {
            assert!(stays_inside(place.as_bytes(), target.as_bytes()), "{place} -> {target}");
        }
        for (place, target) in [("l", ".."), ("l", "/etc"), ("d/l", "../../a"), ("l", ""), ("d/l", "b/../../c")] {
            assert!(!stays_inside(place.as_bytes(), target.as_bytes()), "{place} -> {target}");
        }
    }

    #[test]
    fn an_output_covers_what_is_in_its_folder() {
        let plain = OutputPattern { text: b"out/a*".to_vec(), is_glob: false };
        assert!(plain.covers(b"out/a*") && plain.covers(b"out/a*/b/c") && !plain.covers(b"out/ab"));
        assert!(glob("out/*.png").covers(b"out/x.png") && glob("out/*").covers(b"out/x/deep/er"));
        assert!(!has_glob(b"p[lain") && !has_glob(b"p{lain") && has_glob(b"p[l]ain"));
        assert!(!glob("out/*.png").covers(b"out/x/y.png") && !glob("out/*.png").covers(b"out"));
        assert!(glob("**/*.png").covers(b"a/b/c.png"));
    }

    #[test]
    fn the_known_folder_ends_before_the_first_pattern() {
        assert_eq!(glob("a/b/*.png").known_folder(), b"a/b");
        assert_eq!(glob("a/b*/c").known_folder(), b"a");
        assert_eq!(glob("a\\*/c").known_folder(), b"a*");
        assert_eq!(OutputPattern { text: b"a*/b".to_vec(), is_glob: false }.known_folder(), b"a*");
        assert_eq!(glob("x").known_folder(), b"");
    }

    #[test]
    fn entries_come_apart_however_they_are_cut() {
        let file = |place: &str| Entry {
            place: place.into(),
            mode: 0o644,
            mtime_ns: -1,
            kind: EntryKind::File { bytes: 3, content: Content::Follows },
        };
        let stream: Vec<u8> = ["a", "b/c"].iter().flat_map(|place| encode_entry(&file(place)).unwrap()).collect();
        for size in 1..stream.len() {
            let mut reader = EntryReader::default();
            let read: Vec<Entry> = stream.chunks(size).flat_map(|piece| reader.push(piece).unwrap()).collect();
            assert_eq!(read, [file("a"), file("b/c")]);
        }
        assert_eq!(EntryReader::default().push(&[255; 8]), Err(NoEntry));
    }

    proptest! {
        #[test]
        fn an_escaped_path_is_its_own_pattern(path in proptest::collection::vec(any::<u8>(), 0..30)) {
            let path: Vec<u8> = path.into_iter().filter(|byte| *byte != b'/').collect();
            let escaped = escape_glob(&path);
            prop_assert!(!has_glob(&escaped));
            prop_assert_eq!(without_escapes(&escaped), path.clone());
            let pattern = OutputPattern { text: escaped, is_glob: true };
            prop_assert!(pattern.matches(&path));
        }

        #[test]
        fn no_pattern_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..30), place in "[a-z/.]{0,20}") {
            let pattern = OutputPattern { text, is_glob: true };
            pattern.covers(place.as_bytes());
            pattern.known_folder();
        }

        #[test]
        fn a_link_that_stays_leads_inside_by_its_words(place in "[a-c]{1,2}(/[a-c]){0,3}", target in "[a-c./]{0,12}") {
            if stays_inside(place.as_bytes(), target.as_bytes()) {
                let mut names: Vec<&str> = place.split('/').collect();
                names.pop();
                for name in target.split('/') {
                    match name {
                        "" | "." => {}
                        ".." => prop_assert!(names.pop().is_some()),
                        name => names.push(name),
                    }
                }
            }
        }
    }
}
