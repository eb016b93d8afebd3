//! The worker with the smallest share of its slots taken.

use super::{Policy, Rank, Room, share};

/// Keeps all workers equally full, in proportion to their slots; among equals the larger, then the first that joined.
#[derive(Debug, Default)]
pub struct LeastLoaded;

impl Policy for LeastLoaded {
    fn rank(&self, room: &Room) -> Rank {
        // At equal shares the larger worker has more room.
        Rank(share(room.held, room.slots), u64::MAX - u64::from(room.slots))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_count_and_not_numbers() {
        let rank = |slots, held| LeastLoaded.rank(&Room { slots, held, cores_left: 0, memory_bytes_left: 0 });
        assert!(rank(8, 3) < rank(2, 1));
        assert!(rank(8, 0) < rank(2, 0));
        assert!(rank(6, 2) < rank(3, 1), "the same share of the larger one");
        assert_eq!(rank(4, 1), rank(4, 1));
    }
}
