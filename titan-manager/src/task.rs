//! A job and its tasks. A task is a few bytes: what all of a job's tasks share is stored once, and what few of them go
//! through stands apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use titan_proto::command::ProcessEnd;
use titan_proto::id::{AttemptId, JobId, TaskId};

use crate::event::{Dependency, HostId, JobSpec};
use crate::pace::Pace;
use crate::tasks::Tasks;

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lifecycle {
    /// Waits for a worker.
    Pending,
    /// Given to a worker; hasn't begun.
    Scheduled,
    /// Runs.
    Running,
    /// Its result counts.
    Completed,
    /// Tried as often as it may be.
    Failed,
    /// Will not run.
    Cancelled,
}

/// A job and the state of each of its tasks.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) spec: JobSpec,
    pub(crate) tasks: Tasks,
    /// How many of them are over.
    pub(crate) ended: u32,
    /// The first of them that ended otherwise than COMPLETED.
    pub(crate) spoiled: Option<u32>,
    /// The jobs that wait for this one or its tasks.
    pub(crate) dependents: Vec<JobId>,
    pub(crate) gate: Gate,
    /// How long its tasks take.
    pub(crate) pace: Pace,
    /// Hosts that lacked what its tasks need, and how often since a task of it was COMPLETED there.
    pub(crate) lacks: BTreeMap<HostId, u32>,
    /// Hosts on which its setup has failed, in their own words.
    pub(crate) unusable: BTreeMap<HostId, String>,
}

/// Whether the jobs that a job waits for as a whole let its tasks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Not yet.
    Waiting,
    /// They have ended as they should.
    Open,
    /// Never: that task didn't.
    Shut(TaskId),
}

impl Job {
    /// The tasks of a group, whether they are there or not.
    pub(crate) fn group(&self, number: u32) -> std::ops::Range<u32> {
        let first = number.saturating_mul(self.spec.group);
        first..first.saturating_add(self.spec.group)
    }

    pub(crate) fn new(spec: JobSpec) -> Self {
        Self {
            spec,
            tasks: Tasks::default(),
            ended: 0,
            spoiled: None,
            dependents: Vec::new(),
            gate: Gate::Waiting,
            pace: Pace::default(),
            lacks: BTreeMap::new(),
            unusable: BTreeMap::new(),
        }
    }

    /// Whether it has all its tasks and they are over.
    pub(crate) fn is_over(&self) -> bool {
        self.spec.closed && self.ended as usize == self.tasks.len()
    }

    /// The dependencies by which task i waits for task i.
    pub(crate) fn each(&self) -> impl Iterator<Item = &Dependency> {
        self.spec.after.iter().filter(|dependency| dependency.each)
    }

    /// The dependencies by which each task waits for all of a job.
    pub(crate) fn whole(&self) -> impl Iterator<Item = &Dependency> {
        self.spec.after.iter().filter(|dependency| !dependency.each)
    }
}

/// An attempt that has ended, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tried {
    pub(crate) task: TaskId,
    pub(crate) attempt: AttemptId,
    pub(crate) host: HostId,
    pub(crate) process: Option<ProcessEnd>,
}

/// What a task that isn't over has been through, if it has been through something.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// The host on which it failed or was lost last: it goes elsewhere where there is an elsewhere.
    pub(crate) avoid: Option<HostId>,
    /// The last attempt that failed.
    pub(crate) last_failed: Option<Tried>,
    /// The hosts that lack what it needs, in their own words: it never goes there again.
    pub(crate) lacks: BTreeMap<HostId, String>,
}

/// A task's state, and what it has been through.
#[derive(Debug, Clone, Default)]
pub(crate) struct Task {
    pub(crate) state: TaskState,
    /// Attempts that were started.
    pub(crate) tried: u32,
    /// Attempts that failed by themselves.
    pub(crate) failures: u32,
    /// Attempts that were lost with their worker while they ran.
    pub(crate) losses: u32,
}

impl Task {
    /// One of which only its end is known.
    pub(crate) const fn ended(state: TaskState) -> Self {
        Self { state, tried: 0, failures: 0, losses: 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TaskState {
    #[default]
    Pending,
    /// SCHEDULED or RUNNING: its attempts know which.
    Live(Live),
    /// An attempt has run well, and what it left is being put in its places: RUNNING, for others.
    Committing,
    Completed,
    Failed,
    Cancelled,
}

/// The live attempts of a task: one, or two if it is rerunnable or all but the outcome of one is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) first: AttemptId,
    pub(crate) second: Option<AttemptId>,
}

impl Live {
    pub(crate) fn iter(self) -> impl Iterator<Item = AttemptId> {
        std::iter::once(self.first).chain(self.second)
    }
}

impl TaskState {
    /// The live attempts.
    pub(crate) fn live(self) -> impl Iterator<Item = AttemptId> {
        let live = match self {
            Self::Live(live) => Some(live),
            _ => None,
        };
        live.into_iter().flat_map(Live::iter)
    }

    /// The state with one more live attempt.
    pub(crate) fn with(self, attempt: AttemptId) -> Self {
        match self {
            Self::Pending => Self::Live(Live { first: attempt, second: None }),
            Self::Live(Live { first, second: None }) => Self::Live(Live { first, second: Some(attempt) }),
            other => panic!("an attempt is added to a task that can't have it: {other:?}"),
        }
    }

    /// The state without that live attempt.
    pub(crate) fn without(self, attempt: AttemptId) -> Self {
        match self {
            Self::Live(Live { first, second: Some(second) }) if first == attempt => {
                Self::Live(Live { first: second, second: None })
            }
            Self::Live(Live { first, second: Some(second) }) if second == attempt => {
                Self::Live(Live { first, second: None })
            }
            Self::Live(Live { first, second: None }) if first == attempt => Self::Pending,
            other => panic!("{attempt} is no live attempt of {other:?}"),
        }
    }

    /// Whether nothing more is tried: it is final, or will be when its files are in their places.
    pub(crate) fn is_over(self) -> bool {
        self.is_final() || self == Self::Committing
    }

    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}
