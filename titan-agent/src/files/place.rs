//! Entries → a task's folder. A task has files of its own: what it does to them reaches neither what is kept on the host nor
//! the originals on the manager's machine. So they are cloned where the file system can do that and copied elsewhere, never
//! linked: a link would let a task change the original, and programs such as gzip refuse files with two names.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use titan_proto::files::{Content, Entry, EntryKind};
use titan_proto::message::Outcome;

use super::{Staged, blobs};

/// Puts everything into the folder.
///
/// # Errors
/// The outcome of the task: something is no longer where it was, or there is no room.
pub(crate) fn place(folder: &Path, staged: &Staged, host: &str) -> Result<(), Outcome> {
    for entry in staged.sets.iter().flat_map(|set| set.iter()) {
        put(folder, entry, staged).map_err(|error| failure(entry, host, &error))?;
    }
    // Last: a folder that nobody may write has got what is in it by now.
    let folders = staged.sets.iter().flat_map(|set| set.iter()).filter(|entry| entry.kind == EntryKind::Folder);
    for entry in folders.collect::<Vec<_>>().into_iter().rev() {
        let opened = File::open(folder.join(path(&entry.place)));
        opened.and_then(|folder| finish(&folder, entry)).map_err(|error| failure(entry, host, &error))?;
    }
    Ok(())
}

fn failure(entry: &Entry, host: &str, error: &io::Error) -> Outcome {
    let place = path(&entry.place).display();
    match (&entry.kind, error.kind()) {
        (EntryKind::File { content: Content::Here(from), .. }, io::ErrorKind::NotFound) => {
            Outcome::failed(format!("its input {} is gone", path(from).display()))
        }
        _ => Outcome::failed_by_machine(format!("its input {place} can't be put into its folder on {host}: {error}")),
    }
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn put(folder: &Path, entry: &Entry, staged: &Staged) -> io::Result<()> {
    let to = folder.join(path(&entry.place));
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    match &entry.kind {
        EntryKind::Folder => fs::create_dir_all(&to),
        EntryKind::Link { target } => {
            make_room(&to)?;
            symlink(path(target), &to)
        }
        EntryKind::File { bytes: 0, .. } => {
            make_room(&to)?;
            finish(&create(&to)?, entry)
        }
        EntryKind::File { content: Content::Blob(blob), .. } => {
            make_room(&to)?;
            finish(&copy(&blobs::path_of(&staged.store, *blob), &to)?, entry)
        }
        EntryKind::File { content: Content::Here(from), .. } => {
            make_room(&to)?;
            finish(&copy(path(from), &to)?, entry)
        }
        EntryKind::File { content: Content::Follows, .. } => Err(io::Error::other("its content isn't there")),
    }
}

/// What two sets have at one place is as the last has it.
fn make_room(to: &Path) -> io::Result<()> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A file of its own with the same bytes, which the file system shares until one of the two is changed, if it can.
fn copy(from: &Path, to: &Path) -> io::Result<File> {
    let (mut source, mut copy) = (File::open(from)?, create(to)?);
    if rustix::fs::ioctl_ficlone(&copy, &source).is_err() {
        io::copy(&mut source, &mut copy)?;
    }
    Ok(copy)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Gives it its mode and time.
fn finish(file: &File, entry: &Entry) -> io::Result<()> {
    file.set_times(FileTimes::new().set_modified(entry.modified()))?;
    file.set_permissions(Permissions::from_mode(entry.mode & 0o7777))
}

/// Folders that outputs need.
pub(crate) fn make_folder(folder: &Path, known: &[u8]) -> io::Result<()> {
    if known.is_empty() { Ok(()) } else { fs::create_dir_all(folder.join(PathBuf::from(OsStr::from_bytes(known)))) }
}
