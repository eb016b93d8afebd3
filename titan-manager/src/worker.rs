//! Hosts and workers as the manager sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::time::Timestamp;

use crate::config::{Config, LoadLimit};
use crate::event::{Capacity, HostId, WorkerId};
use crate::room::Used;

/// Attempts beyond its slots that a worker holds at most, if those are fewer: what an agent holds fits into what it says of it when another
/// titan takes over, and into what may wait to be sent.
const MOST_QUEUED: u32 = 8_192;

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
    /// It has been away for so long that nobody waits for it; it may come all the same.
    Absent,
    /// Given up for this batch.
    Down,
}

/// All hosts.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    states: BTreeMap<HostId, HostState>,
    /// Those that are there, or may be.
    expected: u64,
}

impl Hosts {
    /// What it was before.
    pub(crate) fn set(&mut self, host: HostId, state: HostState) -> Option<HostState> {
        let before = self.states.insert(host, state);
        self.expected += u64::from(state.is_expected());
        self.expected -= u64::from(before.is_some_and(HostState::is_expected));
        before
    }

    pub(crate) fn expected(&self) -> u64 {
        self.expected
    }
}

impl Deref for Hosts {
    type Target = BTreeMap<HostId, HostState>;

    fn deref(&self) -> &BTreeMap<HostId, HostState> {
        &self.states
    }
}

impl HostState {
    pub(crate) fn is_expected(self) -> bool {
        matches!(self, Self::Starting | Self::Up(_))
    }
}

/// One running agent.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) host: HostId,
    pub(crate) capacity: Capacity,
    pub(crate) health: Health,
    pub(crate) last_heard: Timestamp,
    /// Whether it has been silent for so long that nobody waits for it.
    pub(crate) is_absent: bool,
    /// Every attempt that it may hold, cancelled ones included.
    pub(crate) attempts: BTreeSet<AttemptId>,
    /// How many of them were asked back and haven't answered.
    pub(crate) recalled: u32,
    /// What these take of its capacity.
    pub(crate) used: Used,
    /// How busy it said it was last.
    pub(crate) load: Option<Load>,
    /// The jobs that it has been told of.
    pub(crate) jobs: BTreeSet<JobId>,
}

/// How busy a worker says it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) load_hundredths: u32,
    pub(crate) free_memory_bytes: u64,
}

impl Worker {
    pub(crate) fn new(host: HostId, capacity: Capacity, now: Timestamp) -> Self {
        Self {
            host,
            capacity,
            health: Health::Healthy,
            last_heard: now,
            is_absent: false,
            attempts: BTreeSet::new(),
            recalled: 0,
            used: Used::default(),
            load: None,
            jobs: BTreeSet::new(),
        }
    }

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

    /// Those of them that weren't asked back.
    pub(crate) fn left_in_queue(&self) -> u32 {
        self.queued().saturating_sub(self.recalled)
    }

    pub(crate) fn slot_bytes(&self) -> u64 {
        self.capacity.memory_bytes / u64::from(self.capacity.slots)
    }

    /// Whether one of its slots is free.
    pub(crate) fn has_slot(&self) -> bool {
        self.held() < self.capacity.slots
    }

    /// Whether it may hold another attempt: one for each slot and that many more, but no more than `depth` for each, and of more than
    /// one for each no more than [`MOST_QUEUED`].
    pub(crate) fn has_place(&self, beyond: u32, depth: u32) -> bool {
        let slots = self.capacity.slots;
        let most = slots.saturating_mul(depth).min(MOST_QUEUED.max(slots));
        self.held() < slots + beyond.min(most)
    }

    /// Whether its machine is busier than it may be for new tasks, or hasn't said yet how busy it is.
    pub(crate) fn is_throttled(&self, config: &Config) -> bool {
        let Some(load) = self.load else { return config.has_gate() };
        let most_load = config.max_load.map(|limit| match limit {
            LoadLimit::Absolute(hundredths) => u64::from(hundredths),
            LoadLimit::PercentOfCores(percent) => u64::from(percent) * u64::from(self.capacity.cores.max(1)),
        });
        let is_short = config.min_free_memory_bytes.is_some_and(|least| load.free_memory_bytes < least);
        is_short || most_load.is_some_and(|most| u64::from(load.load_hundredths) > most)
    }
}

/// One try at a task that a worker may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) task: TaskId,
    pub(crate) worker: WorkerId,
    pub(crate) phase: Phase,
    /// When its worker said that it runs.
    pub(crate) since: Option<Timestamp>,
    /// Whether it needs nothing of its worker any more: an earlier manager's, of which only the outcome is missing.
    pub(crate) has_ended: bool,
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
    /// An earlier manager's: its worker says that it has told it to stop, or that it has ended, and will say how.
    Stopping,
    /// No longer counts for its task; its worker has been told to stop it.
    Cancelling,
}

impl Phase {
    /// Whether its outcome counts.
    pub(crate) fn is_live(self) -> bool {
        self != Self::Cancelling
    }
}
