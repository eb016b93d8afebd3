//! Which of the workers that could take a task takes it. Another policy is one file and one line in [`PolicyKind`].

mod bin_packing;
mod least_loaded;
mod round_robin;

use std::fmt;

use crate::event::WorkerId;

pub use bin_packing::BinPacking;
pub use least_loaded::LeastLoaded;
pub use round_robin::RoundRobin;

/// What a HEALTHY worker with a free slot has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Its slots; at least 1.
    pub slots: u32,
    /// Those that are taken.
    pub held: u32,
    /// Cores that are free.
    pub cores_left: u32,
    /// Memory that is free, in bytes.
    pub memory_bytes_left: u64,
}

/// How finely shares are compared.
pub(crate) const SHARE_BITS: u32 = 32;

/// A place in an order: the lowest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(pub u64, pub u64);

impl Rank {
    /// The first of all.
    pub const MIN: Self = Self(0, 0);
}

/// `part` of `whole` as a fixed-point number, with [`SHARE_BITS`] bits behind the point.
pub(crate) fn share(part: u32, whole: u32) -> u64 {
    (u64::from(part) << SHARE_BITS) / u64::from(whole)
}

/// In which order workers with a free slot are asked: the first that can take a task does. Whoever ranks is deterministic, and looks at
/// one worker alone, so that thousands can be kept in order. Where no slot is free the shortest queue is asked first, whatever the policy.
pub trait Policy: fmt::Debug + Send {
    /// Where a worker stands; among equals the one that joined first comes first.
    fn rank(&self, room: &Room) -> Rank;

    /// The worker after which the next one is looked for; None: at the lowest rank.
    fn last(&self) -> Option<WorkerId> {
        None
    }

    /// A worker was picked.
    fn picked(&mut self, _worker: WorkerId) {}
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
