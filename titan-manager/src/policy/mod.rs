//! Which of the workers that could take a task takes it. Another policy is one file and one line in [`PolicyKind`].

mod least_loaded;
mod round_robin;

use std::fmt;

use crate::event::WorkerId;

pub use least_loaded::LeastLoaded;
pub use round_robin::RoundRobin;

/// A worker that could take the task now: HEALTHY, large enough, with room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The worker.
    pub worker: WorkerId,
    /// Its slots; at least 1.
    pub slots: u32,
    /// Attempts that it holds, queued ones included.
    pub held: u32,
}

/// Picks a worker. May keep state, but must be deterministic.
pub trait Policy: fmt::Debug + Send {
    /// The worker that takes the task; `candidates` is ordered by worker and not empty.
    fn pick(&mut self, candidates: &[Candidate]) -> WorkerId;
}

/// The policies by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PolicyKind {
    /// In turn.
    RoundRobin,
    /// The worker with the smallest share of its slots taken.
    #[default]
    LeastLoaded,
}

impl PolicyKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::LeastLoaded, Self::RoundRobin];

    /// What a person writes.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastLoaded => "least-loaded",
        }
    }

    /// The policy of that name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// A fresh policy of that kind.
    pub fn build(self) -> Box<dyn Policy> {
        match self {
            Self::RoundRobin => Box::new(RoundRobin::default()),
            Self::LeastLoaded => Box::new(LeastLoaded),
        }
    }
}
