//! Where a batch is that somebody is working on: a small file that its titan writes now and then, for whoever asks. Nothing is
//! decided by it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// In a batch's directory.
const FILE: &str = "live.json";
/// The longest that is read.
const MAX_BYTES: u64 = 16 << 20;

/// Where a batch is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Live {
    pub(crate) total: u64,
    pub(crate) is_growing: bool,
    pub(crate) scheduled: u64,
    pub(crate) running: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) retries: u64,
    /// Since it was begun or gone on with.
    pub(crate) seconds: f64,
    pub(crate) workers: Vec<LiveWorker>,
    /// Why tasks wait, a clause each.
    pub(crate) waits: Vec<String>,
    pub(crate) failures: Vec<LiveFailure>,
}

/// A host, and what it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LiveWorker {
    pub(crate) host: String,
    pub(crate) state: String,
    pub(crate) completed: u64,
    /// Times that something went wrong there that was no task's own fault.
    #[serde(default)]
    pub(crate) faults: u64,
    pub(crate) reason: Option<String>,
    pub(crate) running: Vec<LiveTask>,
}

/// A task that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LiveTask {
    pub(crate) job: u32,
    pub(crate) task: u32,
    /// What people call it.
    pub(crate) label: String,
    pub(crate) attempt: String,
    /// For how long.
    pub(crate) seconds: f64,
}

/// Failures of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LiveFailure {
    pub(crate) reason: String,
    pub(crate) state: String,
    pub(crate) count: u64,
    /// The first of them.
    pub(crate) tasks: Vec<String>,
}

impl Live {
    /// Writes it for a batch.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn write(&self, batch: &Path) -> io::Result<()> {
        let temporary = batch.join(format!("{FILE}.new"));
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        super::write_file(&temporary, &text).and_then(|()| fs::rename(&temporary, path(batch)))
    }

    /// What was written last, if anything was.
    pub(crate) fn read(batch: &Path) -> Option<Self> {
        let path = path(batch);
        let is_short = fs::metadata(&path).is_ok_and(|data| data.len() <= MAX_BYTES);
        let text = is_short.then(|| fs::read(&path).ok()).flatten()?;
        serde_json::from_slice(&text).ok()
    }
}

/// Nobody works on it any more.
pub(super) fn remove(batch: &Path) {
    let _ = fs::remove_file(path(batch));
}

fn path(batch: &Path) -> PathBuf {
    batch.join(FILE)
}
