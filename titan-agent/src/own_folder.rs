//! Folders that are this user's alone: made, or used as they are, and never one that somebody else could have prepared.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// Makes that folder, or finds it as ours.
///
/// # Errors
/// It can't be made, or is somebody else's, a link, or open to others.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    let named = |error: &io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_ours(path) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(io::Error::other(format!("{} isn't ours", path.display())))
        }
        made => made.map_err(|error| named(&error)),
    }
}

/// Whether nobody but root and this user can put something else in the place of a folder of ours in that one.
pub(crate) fn is_safe_in(parent: &Path) -> bool {
    const STICKY: u32 = 0o1000;
    let user = rustix::process::geteuid().as_raw();
    fs::metadata(parent).is_ok_and(|data| {
        let is_trusted = data.uid() == 0 || data.uid() == user;
        data.is_dir() && is_trusted && (data.mode() & 0o022 == 0 || data.mode() & STICKY != 0)
    })
}

/// Whether that folder is ours, no link, and closed to others.
pub(crate) fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| {
        data.is_dir() && data.uid() == rustix::process::geteuid().as_raw() && data.mode() & 0o077 == 0
    })
}
