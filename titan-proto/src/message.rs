//! The messages, one enum for each direction. A change of any of them is a new protocol version.

use serde::{Deserialize, Serialize};

use crate::command::{CommandJob, CommandTask, ProcessEnd};
use crate::files::{BlobId, Entry, FileSet};
use crate::id::{AttemptId, JobId, TaskId};

/// What a manager says to an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToAgent {
    /// How to behave during this session; always first.
    Configure(Configure),
    /// What the tasks of a job are; before the first of them is started.
    Job {
        /// The job that tasks will name.
        job: JobId,
        /// What its tasks run.
        work: Work,
    },
    /// Run this task as soon as a slot is free.
    Start {
        /// The new attempt.
        attempt: AttemptId,
        /// What it tries.
        task: TaskId,
        /// Which try at it this is, from 1; lost ones count.
        tried: u32,
        /// What it runs beyond what its job says. The manager doesn't know it and says `OfJob`; the driver fills it in.
        part: Part,
    },
    /// Give an attempt back if it hasn't begun; the answer is `Recalled` or `AlreadyStarted`.
    Recall {
        /// The attempt to give back.
        attempt: AttemptId,
    },
    /// Stop an attempt; its outcome is `Cancelled`, unless it ended before.
    Cancel {
        /// The attempt to stop.
        attempt: AttemptId,
    },
    /// The outcome of an attempt is recorded: the agent can forget it.
    Acknowledge {
        /// The attempt to forget.
        attempt: AttemptId,
    },
    /// What a set of files holds; more of the same set adds to it. Comes before a task that names it.
    Files {
        /// The set.
        set: FileSet,
        /// A part of it.
        entries: Vec<Entry>,
    },
    /// The answer to `Want`; its bytes came before this on the bulk stream of that name.
    Piece {
        /// The stream.
        stream: u64,
        /// Why the bytes aren't there.
        failure: Option<String>,
    },
    /// An attempt of an earlier manager goes on for this one.
    Adopt {
        /// The attempt.
        attempt: AttemptId,
        /// Its task.
        task: TaskId,
        /// Bytes of its stream that are here. The manager doesn't know it and says 0; the driver fills it in.
        have: u64,
    },
    /// An attempt of an earlier manager counts for nothing: it ends, and nothing more is said of it.
    Forget {
        /// The attempt.
        attempt: AttemptId,
    },
}

/// An attempt that an agent has from an earlier manager: it runs, or has ended and its outcome wasn't acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its task.
    pub task: TaskId,
    /// How far it is.
    pub state: HeldState,
    /// The first byte of its stream that the agent still has.
    pub from: u64,
}

/// How far an attempt is that an agent has from an earlier manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeldState {
    /// It runs.
    Runs,
    /// It has been told to stop, and may still run.
    Stops,
    /// It has ended, and its outcome wasn't acknowledged.
    Ended,
}

/// Attempts that one agent can hold: more is no agent.
pub const MAX_HELD: usize = 1 << 14;

/// Most slots of one agent: far beyond what a machine can run, and few enough that counting them costs nothing.
pub const MAX_SLOTS: u32 = 4_096;

/// What a manager sets when a session begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    /// The batch, for tasks to know.
    pub batch: String,
    /// The host's name in that batch, for tasks to know.
    pub host: String,
    /// Tasks at once.
    pub slots: u32,
    /// Longest silence that a side leaves, in ms.
    pub heartbeat_ms: u64,
    /// How long an agent works on without hearing from its manager, in ms; 0: it ends with its channel.
    pub lease_ms: u64,
    /// Files are kept on the host for later batches up to about that many bytes.
    pub cache_bytes: u64,
    /// Whether [`ToManager::Load`] is to come about once a second.
    pub reports_load: bool,
}

/// What the tasks of a job run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// A function that is built into the agent.
    Kernel {
        /// The kernel's name.
        name: String,
        /// Its parameters, opaque to everybody but the kernel.
        params: Vec<u8>,
        /// How long a task may compute, in ms; 0: as long as it likes.
        timeout_ms: u64,
    },
    /// A program that is started; each task brings its own words.
    Command(CommandJob),
}

/// What one task runs, beyond what its job says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The task of its number of the job's kernel.
    OfJob,
    /// A task of a run of the job's kernel that has parameters of its own.
    Run {
        /// The run's parameters.
        params: Vec<u8>,
        /// The task's number in that run.
        index: u32,
    },
    /// A command.
    Command(Box<CommandTask>),
}

/// What an agent says to its manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToManager {
    /// An attempt has left the queue and runs.
    Started {
        /// The attempt.
        attempt: AttemptId,
    },
    /// An attempt has ended. Its result, if any, came before this on its bulk stream.
    Finished {
        /// The attempt.
        attempt: AttemptId,
        /// How it ended.
        outcome: Outcome,
        /// What is known of its process, if it had one.
        process: Option<ProcessEnd>,
    },
    /// The answer to `Recall`: the attempt is given back and will never run.
    Recalled {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The answer to `Recall`: too late, it runs or has ended.
    AlreadyStarted {
        /// The attempt.
        attempt: AttemptId,
    },
    /// How busy the machine is.
    Load {
        /// The load average over one minute, × 100.
        load_hundredths: u32,
        /// Memory that new processes could have, in bytes.
        free_memory_bytes: u64,
    },
    /// A part of a blob is to be sent.
    Want {
        /// The bulk stream for it, which hasn't been used before.
        stream: u64,
        /// The blob.
        blob: BlobId,
        /// The part's first byte.
        offset: u64,
        /// The part's length, not above [`crate::files::MAX_PIECE_BYTES`].
        bytes: u64,
    },
    /// What it has from an earlier manager. The first message to a manager of a later epoch, and said to nobody else.
    Holds {
        /// All of it.
        held: Vec<Held>,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It made its result.
    Completed(ResultSummary),
    /// It ended badly.
    Failed {
        /// One sentence, already cut to a sane length.
        reason: String,
        /// Whose fault it is taken to be.
        fault: Fault,
        /// What it wrote until then; came before this on its bulk stream.
        result: Option<ResultSummary>,
    },
    /// It was told to stop.
    Cancelled,
}

/// Whose fault a failure is taken to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The task's: it would fail elsewhere too, and the try counts.
    Task,
    /// The host's, which lacks what the task needs: it is tried elsewhere, and the try doesn't count.
    Host,
    /// The host's, where the job's setup fails: none of its tasks can run there, and the try doesn't count.
    Setup,
    /// The host's, which is in trouble now (its disk, its memory): it is tried elsewhere if there is an elsewhere, and then
    /// the try doesn't count.
    Machine,
}

/// What the receiver of a result needs to know that it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultSummary {
    /// Length of the result.
    pub bytes: u64,
    /// CRC-32 of the result.
    pub crc: u32,
    /// Time from its start to its end on the agent, in µs.
    pub compute_us: u64,
}

/// Most characters of a reason that travel.
pub const MAX_REASON_CHARS: usize = 2_000;

impl Outcome {
    /// The task's failure, without a result, with its reason cut to [`MAX_REASON_CHARS`].
    pub fn failed(reason: impl AsRef<str>) -> Self {
        Self::Failed { reason: cut(reason), fault: Fault::Task, result: None }
    }

    /// A failure that is the host's.
    pub fn failed_by_host(reason: impl AsRef<str>) -> Self {
        Self::Failed { reason: cut(reason), fault: Fault::Host, result: None }
    }

    /// A failure of the host's that may pass.
    pub fn failed_by_machine(reason: impl AsRef<str>) -> Self {
        Self::Failed { reason: cut(reason), fault: Fault::Machine, result: None }
    }

    /// The job's setup has failed on this host.
    pub fn setup_failed(reason: impl AsRef<str>) -> Self {
        Self::Failed { reason: cut(reason), fault: Fault::Setup, result: None }
    }

    /// What came on its bulk stream, if its receiver has to check that.
    pub fn result(&self) -> Option<ResultSummary> {
        match self {
            Self::Completed(summary) => Some(*summary),
            Self::Failed { result, .. } => *result,
            Self::Cancelled => None,
        }
    }
}

fn cut(reason: impl AsRef<str>) -> String {
    reason.as_ref().chars().take(MAX_REASON_CHARS).collect()
}
