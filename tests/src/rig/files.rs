//! Listing everything below a folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every file, folder, link and socket below `root`/`dir`, by its path without `root`. Links aren't followed; what
/// vanishes meanwhile isn't there.
pub(super) fn list(root: &Path, dir: &Path, found: &mut BTreeSet<PathBuf>) {
    let below_root = dir.strip_prefix("/").unwrap_or(dir);
    let Ok(entries) = fs::read_dir(root.join(below_root)) else { return };
    for entry in entries.flatten() {
        let path = dir.join(entry.file_name());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list(root, &path, found);
        }
        found.insert(path);
    }
}
