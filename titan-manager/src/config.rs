//! The manager's settings.

use std::time::Duration;

use titan_proto::id::Epoch;

use crate::policy::PolicyKind;

/// What a manager is told once, before its first event.
#[derive(Debug, Clone)]
pub struct Config {
    /// The number of this manager's life.
    pub epoch: Epoch,
    /// Which policy picks workers.
    pub policy: PolicyKind,
    /// How often [`crate::Event::Tick`] comes.
    pub tick: Duration,
    /// Silence after which a worker is UNHEALTHY.
    pub unhealthy_after: Duration,
    /// Silence after which a worker's session is lost; zero: as soon as its channel is.
    pub lease: Duration,
    /// Heartbeats come at least this often.
    pub heartbeat: Duration,
    /// The number of lost attempts that fails a task.
    pub crash_limit: u32,
    /// No task starts before that many workers are HEALTHY.
    pub min_workers: u32,
    /// How long a host that is away is waited for, from its last sign of life.
    pub wait_for_hosts: Duration,
    /// Whether that holds for hosts that aren't there at the beginning, too.
    pub waits_at_start: bool,
    /// How long a host with repeated faults of its own gets nothing, the first time; zero: it goes on getting tasks.
    pub quarantine: Duration,
    /// Whether stragglers at the tail get a second attempt where they may run twice.
    pub speculates: bool,
    /// When to end early.
    pub halt: Option<Halt>,
    /// Least time between two starts.
    pub start_delay: Duration,
    /// A worker whose load average is above that gets no new task until it is back.
    pub max_load: Option<LoadLimit>,
    /// A worker with less free memory, in bytes, gets no new task until it is back.
    pub min_free_memory_bytes: Option<u64>,
}

/// How busy a worker may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadLimit {
    /// Load average × 100.
    Absolute(u32),
    /// Load average in percent of the cores.
    PercentOfCores(u32),
}

/// When a batch ends before all of its tasks have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Halt {
    /// Whether running tasks are stopped too; otherwise only no more start.
    pub now: bool,
    /// What it waits for.
    pub why: HaltWhy,
}

/// What a [`Halt`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaltWhy {
    /// That many FAILED tasks.
    Failed(u64),
    /// That part of the ended tasks FAILED, in percent, of three at least.
    FailedPercent(u32),
    /// That many COMPLETED tasks.
    Completed(u64),
    /// That many ended tasks.
    Ended(u64),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            epoch: Epoch(1),
            policy: PolicyKind::LeastLoaded,
            tick: Duration::from_secs(5),
            unhealthy_after: Duration::from_secs(30),
            lease: Duration::from_secs(600),
            heartbeat: Duration::from_secs(10),
            crash_limit: 5,
            min_workers: 1,
            wait_for_hosts: Duration::from_secs(600),
            waits_at_start: false,
            quarantine: Duration::from_secs(300),
            speculates: true,
            halt: None,
            start_delay: Duration::ZERO,
            max_load: None,
            min_free_memory_bytes: None,
        }
    }
}

impl Config {
    /// Whether it has to be seen at each start how busy a worker is.
    pub(crate) fn has_gate(&self) -> bool {
        self.max_load.is_some() || self.min_free_memory_bytes.is_some()
    }

    /// Silence that ends a session. With a lease of zero nothing else would end one whose network is gone.
    pub fn silence_limit(&self) -> Duration {
        self.lease.max(self.unhealthy_after + self.heartbeat)
    }
}
