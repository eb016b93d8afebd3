//! The mark of a batch that is over: a small file, so that nobody has to read a journal to know it.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use titan_manager::Verdict;

/// In a batch's directory.
pub(super) const FILE: &str = "ended";

/// How far a batch is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum BatchState {
    /// A titan works on it.
    Running,
    /// Nobody works on it, and it can be gone on with.
    Interrupted,
    Completed,
    Failed,
    Cancelled,
}

impl BatchState {
    /// As people and programs see it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Interrupted => "INTERRUPTED",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// The mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndMark {
    pub(crate) state: BatchState,
    pub(crate) verdict: Verdict,
    pub(crate) exit_code: u8,
    /// ms since 1970.
    pub(crate) at_ms: u64,
}

impl EndMark {
    pub(super) fn write(&self, batch: &Path) -> io::Result<()> {
        super::write_file(&batch.join(FILE), &serde_json::to_vec(self).map_err(io::Error::other)?)
    }

    /// That of a batch; None: it isn't over.
    pub(crate) fn read(batch: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(batch.join(FILE)).ok()?).ok()
    }
}

/// It is gone on with.
pub(super) fn remove(batch: &Path) {
    let _ = fs::remove_file(batch.join(FILE));
}
