//! What happens to an agent, and what it wants done.

use std::time::Duration;

use bytes::Bytes;
use titan_proto::command::ProcessEnd;
use titan_proto::files::{Entry, FileSet};
use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::{Configure, Outcome, Part, ToAgent, ToManager, Work};

/// What happens to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message from the manager; also a sign of life.
    Message(ToAgent),
    /// A sign of life without a message.
    Heard,
    /// The files that an attempt needs are here, or why they never will be.
    Staged {
        /// The attempt.
        attempt: AttemptId,
        /// How it has ended without having begun.
        failure: Option<Outcome>,
    },
    /// An attempt that waited for a slot has got one.
    Begun {
        /// The attempt.
        attempt: AttemptId,
    },
    /// What came of [`Effect::Withdraw`].
    Withdrawn {
        /// The attempt.
        attempt: AttemptId,
        /// It hadn't begun, and never will.
        had_waited: bool,
    },
    /// An attempt has ended.
    Computed {
        /// Its attempt.
        attempt: AttemptId,
        /// How.
        end: Computed,
    },
    /// The channel to the manager is gone; another one may come.
    ChannelClosed,
    /// A manager of a later epoch has come, and a session with it.
    TakenOver,
    /// The manager ends the session.
    Goodbye,
    /// Time has passed.
    Tick,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Computed {
    /// With a result.
    Completed {
        /// The result.
        result: Bytes,
        /// Its CRC-32.
        crc: u32,
        /// How long it took.
        compute: Duration,
    },
    /// Without one.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was told to stop.
    Cancelled,
    /// A command's, whatever way; what it wrote was sent while it ran.
    Ended {
        /// How.
        outcome: Outcome,
        /// What is known of its process.
        process: Option<ProcessEnd>,
        /// How many bytes were sent.
        bytes: u64,
    },
}

impl Computed {
    /// A failure of the task's.
    pub(crate) fn failed(reason: &str) -> Self {
        Self::Failed { reason: reason.to_owned() }
    }

    /// A command's attempt that never had a process.
    pub(crate) fn ended(outcome: Outcome) -> Self {
        Self::Ended { outcome, process: None, bytes: 0 }
    }
}

/// What an agent wants done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Use that many slots and leave no longer silence than the heartbeat.
    Configure(Configure),
    /// Get a job's work ready.
    Prepare {
        /// The job.
        job: JobId,
        /// Its work.
        work: Work,
    },
    /// Say something.
    Send(ToManager),
    /// Send a result and then say something.
    SendResult {
        /// The attempt that names the stream.
        attempt: AttemptId,
        /// The result.
        result: Bytes,
        /// What follows its last byte.
        then: ToManager,
    },
    /// A set of files has these entries, too.
    Files {
        /// The set.
        set: FileSet,
        /// A part of it.
        entries: Vec<Entry>,
    },
    /// Get the files of these sets; `Staged` follows.
    Stage {
        /// The attempt that needs them.
        attempt: AttemptId,
        /// The sets.
        sets: Vec<FileSet>,
    },
    /// A piece of a file has come to its end.
    Piece {
        /// Its stream.
        stream: u64,
        /// Why it doesn't come.
        failure: Option<String>,
    },
    /// An attempt needs its files no more.
    Release {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Start an attempt; `Computed` follows. If it waits for its slot, `Begun` comes before that, unless it is stopped or withdrawn.
    Start {
        /// The attempt.
        attempt: AttemptId,
        /// The task.
        task: TaskId,
        /// Which try at it this is.
        tried: u32,
        /// What it runs beyond what its job says.
        part: Part,
        /// It waits for its slot.
        waits: bool,
    },
    /// Don't begin an attempt that waits for its slot, if that is so still; `Withdrawn` follows.
    Withdraw {
        /// The attempt.
        attempt: AttemptId,
    },
    /// An outcome that isn't acknowledged is said again, after the last bytes of its stream from this one on.
    SayAgain {
        /// The attempt.
        attempt: AttemptId,
        /// Bytes of the stream that the manager has.
        have: u64,
        /// Its result, if that was sent as a whole.
        result: Bytes,
        /// The outcome; None: it still runs.
        then: Option<ToManager>,
    },
    /// Nothing of an attempt's stream is needed.
    Drop {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Stop an attempt; `Computed` follows all the same.
    Stop {
        /// The attempt.
        attempt: AttemptId,
    },
    /// End now: nothing is waited for.
    Exit(Exit),
}

/// Why an agent ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// Its manager said so.
    Goodbye,
    /// Its channel is gone.
    ChannelClosed,
    /// Another session has begun, or a manager of a later life has come.
    Superseded,
    /// It hasn't heard from its manager for the length of the lease.
    LeaseOver,
    /// The manager does what no manager does.
    Protocol {
        /// What that is.
        reason: String,
    },
}
