//! Hosts and workers as the manager sees them.

use std::collections::BTreeSet;

use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::time::Timestamp;

use crate::event::{Capacity, HostId, WorkerId};

/// Whether a worker gets new work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It was heard lately.
    Healthy,
    /// It has been silent for too long.
    Unhealthy,
}

/// What is known of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostState {
    /// An agent is being started on it, for the first time or afresh.
    Starting,
    /// Its agent is this worker.
    Up(WorkerId),
    /// Given up for this batch.
    Down,
}

/// One running agent.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) host: HostId,
    pub(crate) capacity: Capacity,
    pub(crate) health: Health,
    pub(crate) last_heard: Timestamp,
    /// Every attempt that it may hold, cancelled ones included.
    pub(crate) attempts: BTreeSet<AttemptId>,
    /// The jobs that it has been told of.
    pub(crate) jobs: BTreeSet<JobId>,
}

impl Worker {
    pub(crate) fn held(&self) -> u32 {
        self.attempts.len() as u32
    }

    pub(crate) fn free_slots(&self) -> u32 {
        self.capacity.slots.saturating_sub(self.held())
    }

    /// Attempts beyond its slots.
    pub(crate) fn queued(&self) -> u32 {
        self.held().saturating_sub(self.capacity.slots)
    }

    pub(crate) fn slot_bytes(&self) -> u64 {
        self.capacity.memory_bytes / u64::from(self.capacity.slots)
    }
}

/// One try at a task that a worker may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) task: TaskId,
    pub(crate) worker: WorkerId,
    pub(crate) phase: Phase,
}

/// How far an attempt is, as far as the manager has heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Sent to its worker.
    Scheduled,
    /// Asked back; the answer hasn't come.
    Recalling,
    /// Its worker says that it runs.
    Running,
    /// No longer counts for its task; its worker has been told to stop it.
    Cancelling,
}

impl Phase {
    /// Whether its outcome counts.
    pub(crate) fn is_live(self) -> bool {
        self != Self::Cancelling
    }
}
