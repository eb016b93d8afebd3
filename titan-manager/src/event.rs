//! What happens to the manager.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use titan_proto::id::{JobId, TaskId};
use titan_proto::message::{Held, ToManager, Work};

/// A host, by its place in the driver's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostId(pub u32);

/// The manager's view of one running agent. A host that is started afresh is a new worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u32);

/// How much a worker can do at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Tasks at once; at least 1.
    pub slots: u32,
    /// Cores that tasks which ask for cores can have.
    pub cores: u32,
    /// Memory for all of them, in bytes.
    pub memory_bytes: u64,
    /// Counted resources, by name.
    pub resources: BTreeMap<String, u32>,
    /// What `where` can name: `name`, `os`, `arch` and the host's own labels; a label without a value is empty.
    pub labels: BTreeMap<String, String>,
}

/// What one task of a job takes of a worker while it runs, beside a slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Cores; 0: it didn't ask, and needs no more than a slot; beside those that did it counts as one.
    pub cpus: u32,
    /// Memory that is reserved, in bytes; 0: none.
    pub memory_bytes: u64,
    /// Counted resources, by name.
    pub resources: BTreeMap<String, u32>,
    /// Conditions on a worker's labels; all must hold.
    pub wanted: Vec<Condition>,
}

/// One condition of a `where`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The label.
    pub label: String,
    /// The value that it must have; None: any.
    pub value: Option<String>,
    /// Whether it must not hold.
    pub negated: bool,
}

/// When a task whose attempt may still run may be given to another worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rerun {
    /// At once: it may run twice at the same time.
    Anytime,
    /// Only when the old attempt is known to be dead, or its lease is over.
    Lost,
}

/// A job that another one waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependency {
    /// The job, submitted before.
    pub job: JobId,
    /// Group i waits for group i only; otherwise each task waits for all.
    pub each: bool,
    /// Whether FAILED and CANCELLED will do; otherwise the waiting task is CANCELLED then.
    pub any_end: bool,
}

/// A job as it is submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// What people call it, for reasons.
    pub name: String,
    /// What its tasks run.
    pub work: Work,
    /// How many tasks it has now.
    pub tasks: u32,
    /// Whether that is all of them; otherwise it may grow until it is closed.
    pub closed: bool,
    /// Further attempts after one that failed.
    pub retries: u32,
    /// Memory that a task needs of its slot, in bytes; a worker whose slots have less can't take it.
    pub slot_memory_bytes: u64,
    /// What a task takes beside a slot.
    pub request: Request,
    /// When a task whose attempt may still run may run again.
    pub rerun: Rerun,
    /// Higher goes first.
    pub priority: i32,
    /// Tasks that belong together: what waits for each of a job's tasks waits for a group of them. At least 1.
    pub group: u32,
    /// The jobs that it waits for.
    pub after: Vec<Dependency>,
    /// Whether what its tasks leave has to be put in its places before they are COMPLETED: `Committed` tells.
    pub commits: bool,
}

impl JobSpec {
    /// A whole job of that many tasks, which may run twice, are tried once, ask for nothing but a slot, and wait for nobody.
    pub fn new(name: impl Into<String>, work: Work, tasks: u32) -> Self {
        Self {
            name: name.into(),
            work,
            tasks,
            closed: true,
            retries: 0,
            slot_memory_bytes: 0,
            request: Request::default(),
            rerun: Rerun::Anytime,
            priority: 0,
            group: 1,
            after: Vec::new(),
            commits: false,
        }
    }
}

/// Something that happened. Jobs are numbered from 0 in the order of their submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Jobs are to be run. Those that belong together come together, or the batch could be over before the last has come.
    Submit(Vec<JobSpec>),
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
    /// A start of a host has failed, and another one follows.
    StartFailed {
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
        /// Whether everything that an agent of this batch has run on that host before is known to have ended, but for what is held.
        is_alone: bool,
        /// What its agent has from an earlier manager, and could go on with for this one.
        held: Vec<Held>,
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
        /// Whether all that it ran is known to have ended; otherwise its lease has to run out first.
        is_dead: bool,
    },
    /// What came of [`crate::Effect::Commit`].
    Committed {
        /// The task.
        task: TaskId,
        /// Why what it left isn't in its places.
        problem: Option<String>,
    },
    /// No more starts; what runs is stopped.
    Cancel,
    /// Nothing is waited for any more: whatever isn't over is CANCELLED.
    Abandon,
    /// Time has passed.
    Tick,
}
