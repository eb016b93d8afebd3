//! Files of tasks as this machine has them: what is sent with a task, and where what it leaves is put.
//!
//! # Layout
//! - this file: what a task declares.
//! - [`listing`]: declared inputs → the files, folders and links that are there.
//! - [`contents`]: which content a file has, and pieces of it as they are asked for.
//! - [`check`]: whether what a host sends is what its task declared.
//! - [`commit`]: what a task left → its places here.
//! - [`reuse`]: what an earlier batch has left and needn't be made again.

pub(crate) mod check;
pub(crate) mod commit;
pub(crate) mod contents;
pub(crate) mod listing;
pub(crate) mod reuse;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use titan_manager::journal::PlacedContent;
use titan_proto::files::{OutputPattern, escape_glob, is_inside, without_escapes};
use titan_proto::id::JobId;

use crate::config::text::printable;
use commit::Placed;

/// What separates the folder here from the place in a task's folder, as rsync has it.
const ANCHOR: &[u8] = b"/./";

/// The files of one task, or of all tasks of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TaskFiles {
    /// Jobs whose outputs it is given.
    pub(crate) of_jobs: Vec<JobId>,
    /// What it is given.
    pub(crate) inputs: Vec<Input>,
    /// What it leaves.
    pub(crate) outputs: Vec<Output>,
}

/// A declared input: a path, or a pattern of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    /// The path without its anchor; of a pattern, with a backslash before what isn't meant as one.
    pub(crate) text: Vec<u8>,
    /// Whether `*`, `?` and so on mean anything in it.
    pub(crate) is_glob: bool,
    /// Bytes of `text` that are only here; the rest is its place in the task's folder.
    pub(crate) anchor: usize,
    /// Another place: of a pattern, the folder for what it finds.
    pub(crate) place: Option<Vec<u8>>,
}

/// A declared output: where it is in a task's folder, and the folder here that it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) pattern: OutputPattern,
    /// Empty: the batch's own.
    pub(crate) folder: PathBuf,
}

impl Input {
    /// A declared input.
    ///
    /// # Errors
    /// Its place would be outside of the task's folder: a sentence.
    pub(crate) fn new(text: &[u8], is_glob: bool) -> Result<Self, String> {
        let (folder, place) = split(text);
        check_place(text, &place)?;
        let text = if folder.is_empty() { place.clone() } else { [folder, b"/", &place].concat() };
        Ok(Self { anchor: text.len() - place.len(), text, is_glob, place: None })
    }

    /// A file wherever it is: one outside of the batch's folder is there under its last name.
    ///
    /// # Errors
    /// It names no file.
    pub(crate) fn from_anywhere(text: &[u8]) -> Result<Self, String> {
        if let Ok(input) = Self::new(text, false) {
            return Ok(input);
        }
        let path = Path::new(OsStr::from_bytes(text));
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(format!("'{}' names no file", printable(&path.to_string_lossy())));
        };
        Self::new(&[folder.as_os_str().as_bytes(), ANCHOR, name.as_bytes()].concat(), false)
    }

    /// Its place in the task's folder, of one that is no pattern.
    pub(crate) fn own_place(&self) -> &[u8] {
        self.place.as_deref().unwrap_or(&self.text[self.anchor..])
    }
}

/// What is in its place by the job that made it.
type ByJob = BTreeMap<JobId, BTreeSet<Made>>;

/// A path, with the bytes before its place in a task's folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Made {
    path: Vec<u8>,
    anchor: usize,
    is_folder: bool,
}

/// What the tasks of each job have left, once it is in place. A clone is the same list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Committed(Arc<Mutex<ByJob>>);

impl Committed {
    /// Notes what is in place; its place in a task's folder is the end of its path.
    pub(crate) fn add(&self, job: JobId, Placed { path, place, content }: &Placed) {
        let path = path.as_os_str().as_bytes().to_vec();
        let anchor = path.len().saturating_sub(place.len());
        self.lock().entry(job).or_default().insert(Made { path, anchor, is_folder: *content == PlacedContent::Folder });
    }

    /// All files that are in place.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let noted = self.lock();
        let files = noted.values().flatten().filter(|made| !made.is_folder);
        files.map(|made| PathBuf::from(OsStr::from_bytes(&made.path))).collect()
    }

    /// All of these jobs, as inputs.
    pub(crate) fn of(&self, jobs: &[JobId]) -> Vec<Input> {
        let noted = self.lock();
        let of_jobs = jobs.iter().filter_map(|job| noted.get(job)).flatten();
        let input = |made: &Made| Input { text: made.path.clone(), is_glob: false, anchor: made.anchor, place: None };
        of_jobs.map(input).collect()
    }

    fn lock(&self) -> MutexGuard<'_, ByJob> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    /// A declared output.
    ///
    /// # Errors
    /// Its place would be outside of the task's folder: a sentence.
    pub(crate) fn new(text: &[u8], is_glob: bool) -> Result<Self, String> {
        let (folder, place) = split(text);
        check_place(text, &place)?;
        let folder = if is_glob { without_escapes(folder) } else { folder.to_vec() };
        let folder = PathBuf::from(OsStr::from_bytes(&folder));
        Ok(Self { pattern: OutputPattern { text: place, is_glob }, folder })
    }

    /// The part of its path here that a person has written: all of it, or what comes before a pattern.
    pub(crate) fn named(&self) -> PathBuf {
        let OutputPattern { text, is_glob } = &self.pattern;
        self.target(&if *is_glob { self.pattern.known_folder() } else { text.clone() })
    }

    /// Where a path of the task's folder goes.
    pub(crate) fn target(&self, place: &[u8]) -> PathBuf {
        self.folder.join(Path::new(OsStr::from_bytes(place)))
    }
}

/// The folder here and the place there. Without an anchor, or with one at the beginning, the folder is empty.
fn split(text: &[u8]) -> (&[u8], Vec<u8>) {
    let anchor = text.windows(ANCHOR.len()).position(|window| window == ANCHOR);
    let (folder, place) = match anchor {
        Some(0) => (&b"/."[..], &text[ANCHOR.len()..]),
        Some(at) => (&text[..at], &text[at + ANCHOR.len()..]),
        None => (&b""[..], text),
    };
    (folder, tidy(place))
}

/// Whether a path says what its place in the task's folder is.
pub(crate) fn has_anchor(text: &[u8]) -> bool {
    text.windows(ANCHOR.len()).any(|window| window == ANCHOR)
}

/// A path without what changes nothing in it: empty names, and `.`.
fn tidy(place: &[u8]) -> Vec<u8> {
    let is_absolute = place.starts_with(b"/");
    let names = place.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    let tidy = names.collect::<Vec<_>>().join(&b'/');
    if is_absolute { [b"/", &tidy[..]].concat() } else { tidy }
}

fn check_place(text: &[u8], place: &[u8]) -> Result<(), String> {
    if is_inside(place) {
        return Ok(());
    }
    let shown = printable(&String::from_utf8_lossy(text));
    let climbs = place.split(|byte| *byte == b'/').any(|name| name == b"..") && !place.starts_with(b"../");
    Err(match text {
        b"" => "an empty path is no file".to_owned(),
        _ if climbs => format!("'{shown}': write it without '..'"),
        _ if has_anchor(text) => format!("'{shown}': what follows /./ has to be a path below it"),
        _ => {
            let (folder, name) = match shown.rsplit_once('/') {
                Some((folder, name)) => (folder, name),
                None => (".", shown.as_str()),
            };
            format!(
                "'{shown}' is outside of the current folder: say with /./ what its place in the task's folder is, \
                 such as {folder}/./{name}"
            )
        }
    })
}

/// A value as a part of a pattern, or of a path.
pub(crate) fn as_part(value: &[u8], is_glob: bool) -> Vec<u8> {
    if is_glob { escape_glob(value) } else { value.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_splits_the_folder_here_from_the_place_there() {
        for (text, path, place) in [
            ("a/b", "a/b", "a/b"),
            ("./a", "a", "a"),
            ("/data/./x/y", "/data/x/y", "x/y"),
            ("../p/./q", "../p/q", "q"),
            ("dir/", "dir", "dir"),
            ("/./etc/hosts", "/./etc/hosts", "etc/hosts"),
        ] {
            let input = Input::new(text.as_bytes(), false).unwrap();
            assert_eq!((&input.text[..], &input.text[input.anchor..]), (path.as_bytes(), place.as_bytes()), "{text}");
        }
        let output = Output::new(b"/out/./a/b", false).unwrap();
        assert_eq!(output.target(b"a/b"), PathBuf::from("/out/a/b"));
    }

    #[test]
    fn paths_without_a_place_are_refused_with_the_way_out() {
        assert_eq!(
            Input::new(b"/data/a.mov", false).unwrap_err(),
            "'/data/a.mov' is outside of the current folder: say with /./ what its place in the task's folder is, such \
             as /data/./a.mov"
        );
        assert!(Input::new(b"../a", false).unwrap_err().contains(".././a"));
        assert!(Input::new(b"/data/./../a", false).unwrap_err().contains("what follows /./"));
        assert_eq!(Input::new(b"", false).unwrap_err(), "an empty path is no file");
    }
}
