//! A job and its tasks. A task is a few bytes: what all of a job's tasks share is stored once.

use titan_proto::id::AttemptId;

use crate::event::JobSpec;

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    pub(crate) tasks: Vec<Task>,
}

/// A task's state, and what it has been through.
#[derive(Debug, Clone, Default)]
pub(crate) struct Task {
    pub(crate) state: TaskState,
    /// Attempts that failed by themselves.
    pub(crate) failures: u32,
    /// Attempts that were lost with their worker while they ran.
    pub(crate) losses: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TaskState {
    #[default]
    Pending,
    /// SCHEDULED or RUNNING: its attempts know which.
    Live(Live),
    Completed,
    Failed,
    Cancelled,
}

/// The live attempts of a task: one, or for a rerunnable task two.
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

    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}
