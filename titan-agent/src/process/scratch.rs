//! Folders that go with their attempt, below one of the agent's own that goes with the agent.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use titan_proto::id::AttemptId;

use crate::own_folder;

/// The agent's folder: made when it is needed, never one that was there before.
#[derive(Debug)]
pub(crate) struct ScratchRoot {
    path: PathBuf,
    word: String,
}

impl ScratchRoot {
    /// The folder whose name ends in that word, which nobody else uses.
    pub(crate) fn named(word: &str) -> Self {
        Self { path: std::env::temp_dir().join(format!("titan-scratch-{word}")), word: word.to_owned() }
    }

    /// Where it is, or would be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The word.
    pub(super) fn word(&self) -> &str {
        &self.word
    }

    /// A fresh folder for an attempt.
    pub(super) fn make(&self, attempt: AttemptId) -> io::Result<PathBuf> {
        own_folder::make(&self.path)?;
        let path = self.path.join(attempt.to_string());
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(path)
    }

    /// A file of the agent's own.
    pub(super) fn file(&self, name: &str) -> io::Result<PathBuf> {
        Ok(self.folder()?.join(name))
    }

    /// The folder itself.
    pub(super) fn folder(&self) -> io::Result<PathBuf> {
        own_folder::make(&self.path)?;
        Ok(self.path.clone())
    }

    /// The attempt is over.
    pub(super) fn remove(&self, attempt: AttemptId) {
        remove(&self.path.join(attempt.to_string()));
    }

    /// The agent is over.
    pub(crate) fn remove_all(&self) {
        remove(&self.path);
    }
}

/// Removes a folder, even if a task has taken away its own right to.
fn remove(path: &Path) {
    if fs::symlink_metadata(path).is_ok() && fs::remove_dir_all(path).is_err() {
        open_up(path);
        let _ = fs::remove_dir_all(path);
    }
}

fn open_up(path: &Path) {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|data| data.is_dir());
    if !is_folder || fs::set_permissions(path, Permissions::from_mode(0o700)).is_err() {
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        open_up(&entry.path());
    }
}
