//! What the manager wants done. Effects are carried out in order: a `Record` before the `Acknowledge` that follows it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use titan_proto::command::ProcessEnd;
use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::{ResultSummary, ToAgent};

use crate::event::{HostId, WorkerId};
use crate::task::Lifecycle;

/// Something to be done by whoever drives the manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a message on a worker's session.
    Send {
        /// The worker.
        worker: WorkerId,
        /// The message.
        message: ToAgent,
    },
    /// An attempt's result becomes its task's.
    Keep {
        /// The attempt.
        attempt: AttemptId,
        /// Its task.
        task: TaskId,
        /// It has no bytes: there is nothing to do about it.
        is_empty: bool,
    },
    /// An attempt's result, or the part of it that is there, doesn't count.
    Discard {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Put what a task has left in its places; [`crate::Event::Committed`] follows.
    Commit {
        /// The task, whose result was kept.
        task: TaskId,
    },
    /// Append to the journal.
    Record(Record),
    /// Tell the sink that a task has come to its end.
    Deliver(TaskEnd),
    /// A worker was silent for too long: close its connection; its session is already counted as lost.
    EndSession {
        /// The worker.
        worker: WorkerId,
    },
    /// For people: progress, reports, logs.
    Report(Report),
    /// The batch has ended; said once.
    Finished(Verdict),
}

/// How a task came to its end, for its job's sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEnd {
    /// The task.
    pub task: TaskId,
    /// COMPLETED, FAILED or CANCELLED.
    pub state: Lifecycle,
    /// The attempt that counts, or the last one that failed; None: none was started, or all were lost.
    pub attempt: Option<AttemptId>,
    /// Attempts that were started, lost ones included.
    pub attempts: u32,
    /// Where that attempt ran.
    pub host: Option<HostId>,
    /// Whether what that attempt wrote was kept.
    pub has_result: bool,
    /// What is known of its process.
    pub process: Option<ProcessEnd>,
    /// Why it isn't COMPLETED.
    pub reason: Option<String>,
}

impl TaskEnd {
    /// Whether the journal has it. A task that was never tried, and is CANCELLED because the whole batch stops, has no entry of its
    /// own: the end of the batch says it, of however many tasks.
    pub fn is_noted(&self) -> bool {
        self.state != Lifecycle::Cancelled || self.attempts > 0 || self.reason.is_some()
    }
}

/// A line of the journal: from these a batch can be resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A job has so many tasks, all told.
    Grown {
        /// The job.
        job: JobId,
        /// Its tasks so far.
        tasks: u32,
    },
    /// A job has all its tasks.
    Closed {
        /// The job.
        job: JobId,
    },
    /// An attempt at a task that may not run twice at once is given to a host. It needn't be durable before it is.
    Given {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptId,
        /// The host.
        host: HostId,
    },
    /// That attempt can't run any more, and nothing came of it.
    Over {
        /// The attempt.
        attempt: AttemptId,
    },
    /// An attempt at a task has run well and its result is kept; what it left is to be put in its places.
    Kept(Kept),
    /// An attempt failed; its task may be tried again.
    AttemptFailed {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptId,
        /// Where it ran.
        host: HostId,
        /// Why.
        reason: String,
        /// Whether it counts as a try: the task itself failed.
        is_its_own: bool,
    },
    /// A task is COMPLETED, FAILED or CANCELLED.
    Ended {
        /// How.
        end: TaskEnd,
        /// What is known of its result, if it is COMPLETED.
        summary: Option<ResultSummary>,
    },
    /// Something went wrong on a host that is no task's own fault.
    HostFault {
        /// The host.
        host: HostId,
    },
}

/// An attempt whose result is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its task.
    pub task: TaskId,
    /// The attempt that counts.
    pub attempt: AttemptId,
    /// Where it ran.
    pub host: HostId,
    /// What is known of its process.
    pub process: Option<ProcessEnd>,
    /// Its result.
    pub summary: ResultSummary,
}

/// What people may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// An attempt runs.
    Started {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptId,
        /// Where.
        host: HostId,
    },
    /// An attempt that an earlier manager had started runs on for this one.
    Adopted {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptId,
        /// Where.
        host: HostId,
    },
    /// A task is COMPLETED.
    Completed {
        /// The task.
        task: TaskId,
        /// The attempt that counts.
        attempt: AttemptId,
        /// Where.
        host: HostId,
        /// How long it ran there.
        compute: Duration,
        /// What is known of its process, if it had one.
        process: Option<ProcessEnd>,
    },
    /// An attempt failed.
    AttemptFailed {
        /// The task.
        task: TaskId,
        /// Where.
        host: HostId,
        /// Why.
        reason: String,
        /// Which try it was, from 1.
        attempt: u32,
        /// How many tries there are.
        of: u32,
        /// What is known of its process, if it had one.
        process: Option<ProcessEnd>,
    },
    /// A worker lacks what a task needs; it goes elsewhere, and the try doesn't count.
    HostLacks {
        /// The task.
        task: TaskId,
        /// Where.
        host: HostId,
        /// What is missing.
        reason: String,
    },
    /// A job's setup fails on a host: none of its tasks goes there any more. Comes for each attempt that finds it so.
    SetupFailed {
        /// The task.
        task: TaskId,
        /// Where.
        host: HostId,
        /// How.
        reason: String,
    },
    /// Tasks that may not run twice wait for the lease of a worker that was lost.
    Held {
        /// The host.
        host: HostId,
        /// How many.
        tasks: u32,
        /// For how long at most.
        span: Duration,
    },
    /// Something went wrong on a host that is no task's own fault.
    HostFault {
        /// The host.
        host: HostId,
    },
    /// A host has had so many faults of its own in a row that it gets no tasks for a while.
    Quarantined {
        /// The host.
        host: HostId,
        /// How many.
        faults: u32,
        /// The last of them.
        reason: String,
        /// For how long.
        span: Duration,
    },
    /// A host gets tasks again.
    Released {
        /// The host.
        host: HostId,
        /// Whether its time isn't over, and something waits that nobody else can do.
        is_needed: bool,
    },
    /// No host is up; one is waited for.
    NoneUp {
        /// For how long yet.
        span: Duration,
    },
    /// A task runs much longer than others of its job, and gets a second attempt.
    Speculated {
        /// The task.
        task: TaskId,
        /// Where the second attempt runs.
        host: HostId,
        /// For how long the first has run.
        span: Duration,
    },
    /// An outcome came for an attempt that no longer counts, and was dropped.
    Late {
        /// The attempt.
        attempt: AttemptId,
        /// Where it came from.
        host: HostId,
    },
    /// A worker is silent: it gets no new work, and others get its rerunnable tasks.
    Unhealthy {
        /// The host.
        host: HostId,
        /// For how long it has been silent.
        silent: Duration,
        /// How many tasks are given to others.
        given_back: u32,
    },
    /// A worker speaks again.
    HealthyAgain {
        /// The host.
        host: HostId,
    },
    /// A worker's session is lost and its tasks are given back.
    Lost {
        /// The host.
        host: HostId,
        /// How many tasks were given back.
        given_back: u32,
    },
    /// A worker's slots have less memory than any task needs: it gets none.
    TooSmall {
        /// The host.
        host: HostId,
        /// Memory of one of its slots, in bytes.
        slot_bytes: u64,
        /// Memory that a task needs, in bytes.
        task_bytes: u64,
    },
}

/// Why a batch has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// Every task has run as far as it could.
    Done,
    /// [`crate::Event::Cancel`].
    Cancelled,
    /// What [`crate::config::Halt`] waits for has happened; true: that counts as success.
    Halted(bool),
    /// No usable worker is up or being started, or fewer than `min_workers` from the beginning.
    NoWorkers,
}

/// How a batch has ended: every task is counted in one of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Why.
    pub end: End,
    /// Tasks COMPLETED.
    pub completed: u64,
    /// Tasks FAILED.
    pub failed: u64,
    /// Tasks CANCELLED.
    pub cancelled: u64,
}
