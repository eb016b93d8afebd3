//! A task's folder → the outputs that it declared, as headers and contents.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use titan_proto::files::{Content, Entry, EntryKind, OutputPattern, has_glob, without_escapes};

/// Bytes read at once.
const READ_BYTES: usize = 32 << 10;

/// What is found, piece by piece.
pub(crate) enum Piece<'a> {
    Entry(&'a Entry),
    Content(&'a [u8]),
}

/// Why outputs aren't there.
#[derive(Debug)]
pub(crate) enum Problem {
    /// A sentence.
    Failed(String),
    /// Whoever takes them wants no more.
    Stopped,
}

/// Hands on everything that is declared; `take` says whether it goes on.
///
/// # Errors
/// An output isn't there, or is something that can't be sent.
pub(crate) fn collect(
    folder: &Path,
    outputs: &[OutputPattern],
    take: &mut dyn FnMut(Piece<'_>) -> bool,
) -> Result<(), Problem> {
    let mut found = BTreeSet::new();
    for output in outputs {
        let before = found.len();
        find(folder, output, &mut found)?;
        let is_there = found.len() > before || found.iter().any(|place| output.covers(place));
        if !is_there {
            return Err(Problem::Failed(format!("it made no output {}", shown(&named(output)))));
        }
    }
    found.iter().try_for_each(|place| send(folder, place, take))
}

fn named(output: &OutputPattern) -> Vec<u8> {
    if output.is_glob && !has_glob(&output.text) { without_escapes(&output.text) } else { output.text.clone() }
}

fn shown(path: &[u8]) -> String {
    Path::new(OsStr::from_bytes(path)).display().to_string()
}

fn failed(place: &[u8], problem: impl std::fmt::Display) -> Problem {
    Problem::Failed(format!("its output {}: {problem}", shown(place)))
}

fn join(folder: &Path, place: &[u8]) -> std::path::PathBuf {
    if place.is_empty() { folder.to_owned() } else { folder.join(OsStr::from_bytes(place)) }
}

/// Finds all paths of one output.
fn find(folder: &Path, output: &OutputPattern, found: &mut BTreeSet<Vec<u8>>) -> Result<(), Problem> {
    let known = output.known_folder();
    if !is_within(folder, &join(folder, &known)) {
        return Err(failed(&known, "this folder is a link that leads out of the task's own"));
    }
    if !output.is_glob {
        return find_all(folder, output.text.clone(), found);
    }
    let mut folders = vec![known];
    while let Some(place) = folders.pop() {
        for name in names(folder, &place).map_err(|error| failed(&place, error))? {
            let path = if place.is_empty() { name } else { [&place[..], b"/", &name].concat() };
            let is_folder = fs::symlink_metadata(join(folder, &path)).is_ok_and(|data| data.is_dir());
            if output.matches(&path) {
                find_all(folder, path, found)?;
            } else if is_folder {
                folders.push(path);
            }
        }
    }
    Ok(())
}

/// A path and all that is below it.
fn find_all(folder: &Path, place: Vec<u8>, found: &mut BTreeSet<Vec<u8>>) -> Result<(), Problem> {
    let mut places = vec![place];
    while let Some(place) = places.pop() {
        let data = match fs::symlink_metadata(join(folder, &place)) {
            Ok(data) => data,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(&place, error)),
        };
        if data.is_dir() {
            let names = names(folder, &place).map_err(|error| failed(&place, error))?;
            places.extend(names.into_iter().map(|name| [&place[..], b"/", &name].concat()));
        }
        found.insert(place);
    }
    Ok(())
}

fn names(folder: &Path, place: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let entries = match fs::read_dir(join(folder, place)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.file_name().as_bytes().to_vec())).collect()
}

fn is_within(folder: &Path, path: &Path) -> bool {
    match (fs::canonicalize(folder), fs::canonicalize(path)) {
        (Ok(folder), Ok(path)) => path.starts_with(folder),
        // What isn't there leads nowhere.
        _ => true,
    }
}

fn send(folder: &Path, place: &[u8], take: &mut dyn FnMut(Piece<'_>) -> bool) -> Result<(), Problem> {
    let path = join(folder, place);
    let data = fs::symlink_metadata(&path).map_err(|error| failed(place, error))?;
    let entry = |data: &Metadata, kind| Entry {
        place: place.to_vec(),
        mode: data.mode() & 0o7777,
        mtime_ns: data.mtime().saturating_mul(1_000_000_000).saturating_add(data.mtime_nsec()),
        kind,
    };
    let kind = if data.is_dir() {
        EntryKind::Folder
    } else if data.is_symlink() {
        let target = fs::read_link(&path).map_err(|error| failed(place, error))?;
        EntryKind::Link { target: target.as_os_str().as_bytes().to_vec() }
    } else if data.is_file() {
        return send_file(&path, place, entry, take);
    } else {
        return Err(failed(place, "it is no file, folder or link"));
    };
    let entry = entry(&data, kind);
    if let Some(problem) = entry.problem() {
        return Err(Problem::Failed(problem));
    }
    if take(Piece::Entry(&entry)) { Ok(()) } else { Err(Problem::Stopped) }
}

fn send_file(
    path: &Path,
    place: &[u8],
    entry: impl Fn(&Metadata, EntryKind) -> Entry,
    take: &mut dyn FnMut(Piece<'_>) -> bool,
) -> Result<(), Problem> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut file =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| failed(place, error))?;
    let data = file.metadata().map_err(|error| failed(place, error))?;
    let entry = entry(&data, EntryKind::File { bytes: data.len(), content: Content::Follows });
    if let Some(problem) = entry.problem() {
        return Err(Problem::Failed(problem));
    }
    if !take(Piece::Entry(&entry)) {
        return Err(Problem::Stopped);
    }
    let mut left = data.len();
    let mut buffer = vec![0; READ_BYTES];
    while left > 0 {
        let length = read(&mut file, &mut buffer, left).map_err(|error| failed(place, error))?;
        if length == 0 {
            return Err(failed(place, "it became shorter while it was sent"));
        }
        if !take(Piece::Content(&buffer[..length])) {
            return Err(Problem::Stopped);
        }
        left -= length as u64;
    }
    Ok(())
}

fn read(file: &mut File, buffer: &mut [u8], most: u64) -> io::Result<usize> {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
    loop {
        match file.read(&mut buffer[..most]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests;
