//! Files that have to stay when the power goes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use crate::paths::named;

/// Files that are synced at the same time: a file system does several with one write of its own journal.
const SYNCED_AT_ONCE: usize = 8;
/// With more files than this the whole file system is synced at once: each by itself would take as long as a small write.
const MAX_SINGLE: usize = 200;

/// Syncs files. One that isn't there is needed by nobody any more.
///
/// # Errors
/// The disk fails.
pub(crate) fn sync_files(files: &[PathBuf]) -> io::Result<()> {
    match files {
        [] => Ok(()),
        [only] => sync(only),
        [first, ..] if files.len() > MAX_SINGLE => sync_all_around(first),
        many => thread::scope(|scope| {
            let parts = many.chunks(many.len().div_ceil(SYNCED_AT_ONCE));
            let threads: Vec<_> =
                parts.map(|part| scope.spawn(move || part.iter().try_for_each(|path| sync(path)))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("it calls only the system"))
        }),
    }
}

/// Syncs the folders that files are in: their names stay.
///
/// # Errors
/// The disk fails.
pub(crate) fn sync_folders_of<'p>(files: impl IntoIterator<Item = &'p PathBuf>) -> io::Result<()> {
    let folders: BTreeSet<PathBuf> = files.into_iter().filter_map(|path| path.parent().map(Path::to_owned)).collect();
    sync_files(&folders.into_iter().collect::<Vec<_>>())
}

fn sync(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(file) => file.sync_all().map_err(|error| named(path, &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(named(path, &error)),
    }
}

/// Syncs the file system that a file is on.
fn sync_all_around(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let file = File::open(folder).map_err(|error| named(folder, &error))?;
    rustix::fs::syncfs(file).map_err(|error| named(folder, &error.into()))
}
