//! What is noted of a batch, in order.

use serde::{Deserialize, Serialize};
use titan_proto::files::BlobId;
use titan_proto::id::{Epoch, TaskId};

use crate::effect::{Record, Verdict};

/// Files that stand in one entry: what a task has left beyond that is several.
pub const MAX_ENTRY_FILES: usize = 500;

/// Something that has happened, or is about to. Times are for people alone: ms since 1970 by the clock of whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A manager begins to work on the batch.
    Began {
        /// Its life.
        epoch: Epoch,
        /// The boot of its machine, as the system names it; empty: unknown.
        boot: String,
        /// The names of all hosts that the batch has ever had; a host's id is its place here.
        hosts: Vec<String>,
        /// Its jobs.
        jobs: Vec<JobName>,
        /// A number that stands for what the batch's tasks are: the same in all its lives.
        plan: BlobId,
        /// Whether tasks that have FAILED are tried again.
        retries_failed: bool,
        /// When.
        at_ms: u64,
    },
    /// What the manager says.
    Manager {
        /// What.
        record: Record,
        /// When.
        at_ms: u64,
    },
    /// A task is made of these values, which were taken from where they come from.
    Taken {
        /// The task.
        task: TaskId,
        /// Its values.
        values: Vec<Vec<u8>>,
    },
    /// What a task runs, what it is given and what it is to leave, as one number.
    Identified {
        /// The task.
        task: TaskId,
        /// It.
        identity: Identity,
    },
    /// A task's result isn't there any more, and nobody was told of it: it runs again.
    Reopened {
        /// The task.
        task: TaskId,
    },
    /// What a task has left is in its places.
    Placed {
        /// The task.
        task: TaskId,
        /// A part of it, in order.
        files: Vec<PlacedFile>,
    },
    /// What there is to be told of a task's end is told: printed, logged, written.
    Told {
        /// The task.
        task: TaskId,
    },
    /// The manager's life has come to its end.
    Ended {
        /// What it has come to.
        verdict: Verdict,
        /// What titan told whoever had started it.
        exit_code: u8,
        /// Nothing is left to be gone on with.
        is_final: bool,
        /// When.
        at_ms: u64,
    },
}

/// What a task is, as one number: the first half of a SHA-256, which is enough to tell apart what nobody has made to be alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity(pub [u8; 16]);

impl Identity {
    /// That of a task of which this is the SHA-256.
    pub fn of(sha256: BlobId) -> Self {
        Self(*sha256.0.first_chunk().expect("it is longer"))
    }
}

/// What people call the tasks of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobName {
    /// The job's name.
    pub name: String,
    /// Tasks that belong together.
    pub group: u32,
}

/// A file, link or folder that is in its place. Paths are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedFile {
    /// Its path, below the batch's folder or absolute.
    pub path: Vec<u8>,
    /// Bytes of the path before its place in a task's folder.
    pub anchor: u32,
    /// What it is.
    pub content: PlacedContent,
}

/// What is in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlacedContent {
    /// A file of that content.
    File(BlobId),
    /// A link.
    Link,
    /// A folder.
    Folder,
}
