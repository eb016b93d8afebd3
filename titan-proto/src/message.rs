//! The messages, one enum for each direction. A change of any of them is a new protocol version.

use serde::{Deserialize, Serialize};

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
}

/// Most slots of one agent: far beyond what a machine can run, and few enough that counting them costs nothing.
pub const MAX_SLOTS: u32 = 4_096;

/// What a manager sets when a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    /// Tasks at once.
    pub slots: u32,
    /// Longest silence that a side leaves, in ms.
    pub heartbeat_ms: u64,
    /// How long an agent works on without hearing from its manager, in ms; 0: it ends with its channel.
    pub lease_ms: u64,
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
    },
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
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It made its result.
    Completed(ResultSummary),
    /// It made none.
    Failed {
        /// One sentence, already cut to a sane length.
        reason: String,
    },
    /// It was told to stop.
    Cancelled,
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
    /// A failure with its reason cut to [`MAX_REASON_CHARS`].
    pub fn failed(reason: impl AsRef<str>) -> Self {
        Self::Failed { reason: reason.as_ref().chars().take(MAX_REASON_CHARS).collect() }
    }
}
