//! What happens to the manager.

use titan_proto::id::JobId;
use titan_proto::message::{ToManager, Work};

/// A host, by its place in the driver's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

/// The manager's view of one running agent. A host that is started afresh is a new worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u32);

/// How much a worker can do at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Tasks at once; at least 1.
    pub slots: u32,
    /// Memory for all of them, in bytes.
    pub memory_bytes: u64,
}

/// A job as it is submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// What its tasks run.
    pub work: Work,
    /// How many tasks it has now.
    pub tasks: u32,
    /// Whether that is all of them; otherwise it may grow until it is closed.
    pub closed: bool,
    /// Further attempts after one that failed.
    pub retries: u32,
    /// Memory that a task needs, in bytes; a worker whose slots have less can't take it.
    pub task_memory_bytes: u64,
    /// Whether a task may run twice at once. Kernels may.
    pub rerunnable: bool,
}

/// Something that happened. Jobs are numbered from 0 in the order of their submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A job is to be run.
    Submit(JobSpec),
    /// A job has more tasks.
    Grow {
        /// The job, which isn't closed.
        job: JobId,
        /// How many more.
        tasks: u32,
    },
    /// A job has all its tasks.
    Close {
        /// The job.
        job: JobId,
    },
    /// A host is being started for the first time. All hosts are announced before the first job, so that "too few" can be
    /// told from "not yet announced".
    HostStarting {
        /// The host.
        host: HostId,
    },
    /// A host is given up for this batch.
    HostDown {
        /// The host.
        host: HostId,
    },
    /// An agent has said hello.
    WorkerJoined {
        /// The host that it runs on.
        host: HostId,
        /// Its name, never used before.
        worker: WorkerId,
        /// What it can do.
        capacity: Capacity,
    },
    /// A message from a worker; also a sign of life.
    Message {
        /// The worker.
        worker: WorkerId,
        /// What it says.
        message: ToManager,
    },
    /// A sign of life without a message.
    Heard {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker's session is over; its host is being started afresh, unless `HostDown` follows.
    SessionLost {
        /// The worker.
        worker: WorkerId,
    },
    /// No more starts; what runs is stopped.
    Cancel,
    /// Time has passed.
    Tick,
}
