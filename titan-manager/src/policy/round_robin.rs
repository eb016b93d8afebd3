//! Workers in turn.

use super::{Policy, Rank, Room};
use crate::event::WorkerId;

/// Gives each task to the next worker in order of their joining.
#[derive(Debug, Default)]
pub struct RoundRobin {
    last: Option<WorkerId>,
}

impl Policy for RoundRobin {
    fn rank(&self, _room: &Room) -> Rank {
        Rank::MIN
    }

    fn last(&self) -> Option<WorkerId> {
        self.last
    }

    fn picked(&mut self, worker: WorkerId) {
        self.last = Some(worker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_comes_after_the_last_that_was_picked() {
        let mut policy = RoundRobin::default();
        assert_eq!(policy.last(), None);
        policy.picked(WorkerId(5));
        assert_eq!(policy.last(), Some(WorkerId(5)));
    }
}
