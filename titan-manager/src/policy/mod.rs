//! Which of the workers that could take a task takes it. Another policy is one file and one line in [`PolicyKind`].

mod bin_packing;
mod least_loaded;
mod round_robin;

use std::fmt;

use crate::event::WorkerId;

pub use bin_packing::BinPacking;
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
    /// Cores that would still be free with the task; 0 too where it would be queued.
    pub cores_left: u32,
    /// Memory that would still be free with the task, in bytes.
    pub memory_bytes_left: u64,
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
    /// The worker that the task leaves the fewest cores, then the least memory.
    BinPacking,
}

impl PolicyKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::LeastLoaded, Self::RoundRobin, Self::BinPacking];

    /// What a person writes.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastLoaded => "least-loaded",
            Self::BinPacking => "bin-packing",
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
            Self::BinPacking => Box::new(BinPacking),
        }
    }
}
