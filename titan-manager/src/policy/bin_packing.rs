//! The worker that has the least to spare.

use super::{Policy, Rank, Room};

/// Fills one worker before it begins the next, so that large requests find an empty one: best fit by the cores that remain,
/// then by the memory.
#[derive(Debug, Default)]
pub struct BinPacking;

impl Policy for BinPacking {
    fn rank(&self, room: &Room) -> Rank {
        Rank(room.cores_left.into(), room.memory_bytes_left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_with_the_least_to_spare_is_filled_first() {
        let rank =
            |cores_left, memory_bytes_left| BinPacking.rank(&Room { slots: 8, held: 1, cores_left, memory_bytes_left });
        assert!(rank(3, 9) < rank(7, 0));
        assert!(rank(3, 4) < rank(3, 9));
    }
}
