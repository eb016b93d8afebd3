//! Declared inputs → the files, folders and links that are there. A link that is named itself is followed; one within a
//! folder stays a link, if it stays within what is sent.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use titan_proto::files::{has_glob, stays_inside, without_escapes};

use super::Input;
use crate::config::text::printable;

/// Something that is to be in a task's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Local {
    /// Its place there.
    pub(crate) place: Vec<u8>,
    /// Where it is here; absolute.
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
    pub(crate) mtime_ns: i64,
    pub(crate) kind: LocalKind,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LocalKind {
    File { stamp: Stamp },
    Folder,
    Link { target: Vec<u8> },
}

/// Tells whether a file is still as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    pub(crate) bytes: u64,
    changed_ns: i64,
}

impl Stamp {
    pub(crate) fn of(data: &Metadata) -> Self {
        let changed_ns = nanos(data.ctime(), data.ctime_nsec());
        Self { device: data.dev(), inode: data.ino(), bytes: data.len(), changed_ns }
    }
}

fn nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Everything that these inputs name, each place once, in the order of the places: a folder before what is in it.
///
/// # Errors
/// Something isn't there, or can't be sent: a sentence.
pub(crate) fn list(root: &Path, inputs: &[Input]) -> Result<Vec<Local>, String> {
    let mut found = BTreeMap::new();
    for input in inputs {
        for text in paths(root, input)? {
            let place = place_of(input, &text);
            // A link that a person names is as what it leads to.
            let path = fs::canonicalize(root.join(OsStr::from_bytes(&text))).map_err(|error| missing(&text, &error))?;
            add(&path, &text, place, &mut found)?;
        }
    }
    Ok(found.into_values().collect())
}

/// How many files these are, and their bytes.
pub(crate) fn total(locals: &[Local]) -> (usize, u64) {
    let bytes = locals.iter().filter_map(|local| match &local.kind {
        LocalKind::File { stamp } => Some(stamp.bytes),
        _ => None,
    });
    (bytes.clone().count(), bytes.sum())
}

/// The place in a task's folder of a path that an input means.
fn place_of(input: &Input, text: &[u8]) -> Vec<u8> {
    match &input.place {
        None => text[input.anchor.min(text.len())..].to_vec(),
        Some(place) if !input.is_glob => place.clone(),
        Some(folder) => {
            let name = text.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
            [folder, &b"/"[..], &text[name..]].concat()
        }
    }
}

fn missing(text: &[u8], error: &io::Error) -> String {
    let shown = printable(&String::from_utf8_lossy(text));
    match error.kind() {
        io::ErrorKind::NotFound => format!("its input '{shown}' isn't there on this machine"),
        _ => format!("its input '{shown}': {error}"),
    }
}

/// The paths that an input means.
fn paths(root: &Path, input: &Input) -> Result<Vec<Vec<u8>>, String> {
    if !input.is_glob {
        return Ok(vec![input.text.clone()]);
    }
    // What is before the anchor keeps its length, so that the place can be cut off.
    let found = expand(root, &input.text);
    if found.is_empty() {
        return Err(format!("its input '{}' matches no file", printable(&String::from_utf8_lossy(&input.text))));
    }
    Ok(found)
}

/// All paths that match a pattern, sorted by their bytes. Hidden names match only where the pattern says so.
pub(crate) fn expand(root: &Path, pattern: &[u8]) -> Vec<Vec<u8>> {
    let names: Vec<&[u8]> = pattern.split(|byte| *byte == b'/').collect();
    let known = names.iter().take_while(|name| !has_glob(name)).count().min(names.len() - 1);
    let first = without_escapes(&names[..known].join(&b'/'));
    let first = if known == 1 && first.is_empty() { b"/".to_vec() } else { first };
    let mut found = Vec::new();
    search(root, &first, &names[known..], &mut found);
    found.sort();
    found.dedup();
    found
}

fn search(root: &Path, folder: &[u8], names: &[&[u8]], found: &mut Vec<Vec<u8>>) {
    let Some((name, rest)) = names.split_first() else { return };
    let is_deep = *name == b"**";
    if is_deep && !rest.is_empty() {
        search(root, folder, rest, found);
    }
    let path = if folder.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(folder)) };
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let own = entry.file_name();
        let own = own.as_bytes();
        let is_hidden = own.starts_with(b".") && !name.starts_with(b".");
        if is_hidden || !(is_deep || fast_glob::glob_match(name, own)) {
            continue;
        }
        let path = match folder {
            b"" => own.to_vec(),
            b"/" => [b"/", own].concat(),
            _ => [folder, b"/", own].concat(),
        };
        // Only a `**` goes down by itself, and never through a link: those may go round in circles.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if rest.is_empty() && !is_deep {
            found.push(path);
        } else if is_deep && is_folder {
            search(root, &path, names, found);
        } else if is_deep && rest.is_empty() {
            found.push(path);
        } else if !is_deep {
            search(root, &path, rest, found);
        }
    }
}

fn add(path: &Path, text: &[u8], place: Vec<u8>, found: &mut BTreeMap<Vec<u8>, Local>) -> Result<(), String> {
    let data = fs::symlink_metadata(path).map_err(|error| missing(text, &error))?;
    let mtime_ns = nanos(data.mtime(), data.mtime_nsec());
    let kind = if data.is_dir() {
        LocalKind::Folder
    } else if data.is_symlink() {
        let target = fs::read_link(path).map_err(|error| missing(text, &error))?.as_os_str().as_bytes().to_vec();
        if !stays_inside(&place, &target) {
            let (link, target) = (String::from_utf8_lossy(text), String::from_utf8_lossy(&target));
            return Err(format!(
                "its input '{}' is a link to '{}', out of what is sent",
                printable(&link),
                printable(&target)
            ));
        }
        LocalKind::Link { target }
    } else if data.is_file() {
        LocalKind::File { stamp: Stamp::of(&data) }
    } else {
        return Err(format!("its input '{}' is no file, folder or link", printable(&String::from_utf8_lossy(text))));
    };
    if kind == LocalKind::Folder {
        for entry in fs::read_dir(path).map_err(|error| missing(text, &error))? {
            let name = entry.map_err(|error| missing(text, &error))?.file_name();
            let below = |of: &[u8]| [of, b"/", name.as_bytes()].concat();
            add(&path.join(&name), &below(text), below(&place), found)?;
        }
    }
    let local = Local { place: place.clone(), path: path.to_owned(), mode: data.mode() & 0o7777, mtime_ns, kind };
    found.insert(place, local);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("d/e")).unwrap();
        for name in ["a.txt", "b.txt", ".hidden.txt", "d/c.txt", "d/e/f.txt", "odd[1].txt"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        folder
    }

    fn places(root: &Path, text: &str, is_glob: bool) -> Result<Vec<String>, String> {
        let input = Input::new(text.as_bytes(), is_glob)?;
        let found = list(root, &[input])?;
        Ok(found.into_iter().map(|local| String::from_utf8(local.place).unwrap()).collect())
    }

    #[test]
    fn files_folders_and_patterns_are_found() {
        let folder = folder();
        let root = folder.path();
        assert_eq!(places(root, "a.txt", false).unwrap(), ["a.txt"]);
        assert_eq!(places(root, "d", false).unwrap(), ["d", "d/c.txt", "d/e", "d/e/f.txt"]);
        assert_eq!(places(root, "*.txt", true).unwrap(), ["a.txt", "b.txt", "odd[1].txt"]);
        assert_eq!(places(root, "**/*.txt", true).unwrap(), ["a.txt", "b.txt", "d/c.txt", "d/e/f.txt", "odd[1].txt"]);
        assert_eq!(places(root, "d/*/f*", true).unwrap(), ["d/e/f.txt"]);
        assert_eq!(places(root, "odd[1].txt", false).unwrap(), ["odd[1].txt"]);
        assert_eq!(places(root, "odd\\[1\\].*", true).unwrap(), ["odd[1].txt"]);
        let anchored = format!("{}/./d/*.txt", root.display());
        assert_eq!(places(Path::new("/"), &anchored, true).unwrap(), ["d/c.txt"]);
    }

    #[test]
    fn what_isnt_there_is_told() {
        let folder = folder();
        assert_eq!(
            places(folder.path(), "no.txt", false).unwrap_err(),
            "its input 'no.txt' isn't there on this machine"
        );
        assert_eq!(places(folder.path(), "no*", true).unwrap_err(), "its input 'no*' matches no file");
    }

    #[test]
    fn links_stay_links_within_a_folder_and_are_followed_where_they_are_named() {
        let folder = folder();
        let root = folder.path();
        symlink("c.txt", root.join("d/link")).unwrap();
        symlink("/etc/hosts", root.join("named")).unwrap();
        let found = list(root, &[Input::new(b"d", false).unwrap()]).unwrap();
        let link = found.iter().find(|local| local.place == b"d/link").unwrap();
        assert_eq!(link.kind, LocalKind::Link { target: b"c.txt".to_vec() });
        let found = list(root, &[Input::new(b"named", false).unwrap()]).unwrap();
        assert!(matches!(found[0].kind, LocalKind::File { .. }));
        symlink("../../x", root.join("d/out")).unwrap();
        let refusal = places(root, "d", false).unwrap_err();
        assert_eq!(refusal, "its input 'd/out' is a link to '../../x', out of what is sent");
    }
}
