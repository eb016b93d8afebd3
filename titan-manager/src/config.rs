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
}

impl Default for Config {
    fn default() -> Self {
        Self {
            epoch: Epoch(1),
            policy: PolicyKind::LeastLoaded,
            tick: Duration::from_secs(5),
            unhealthy_after: Duration::from_secs(30),
            lease: Duration::from_secs(60),
            heartbeat: Duration::from_secs(10),
            crash_limit: 5,
            min_workers: 1,
        }
    }
}

impl Config {
    /// Silence that ends a session. With a lease of zero nothing else would end one whose network is gone.
    pub fn silence_limit(&self) -> Duration {
        self.lease.max(self.unhealthy_after + self.heartbeat)
    }
}
