//! The worker that has the least to spare.

use super::{Candidate, Policy};
use crate::event::WorkerId;

/// Fills one worker before it begins the next, so that large requests find an empty one: best fit by the cores that remain,
/// then by the memory. Where no cores remain on any, as in queues, the shortest queue.
#[derive(Debug, Default)]
pub struct BinPacking;

impl Policy for BinPacking {
    fn pick(&mut self, candidates: &[Candidate]) -> WorkerId {
        let what_remains = |candidate: &&Candidate| {
            let queued = candidate.held.saturating_sub(candidate.slots);
            (candidate.cores_left, queued, candidate.memory_bytes_left, candidate.worker)
        };
        candidates.iter().min_by_key(what_remains).unwrap_or(&candidates[0]).worker
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_with_the_least_to_spare_is_filled_first() {
        let candidate = |number, cores_left, memory_bytes_left| Candidate {
            worker: WorkerId(number),
            slots: 8,
            held: 1,
            cores_left,
            memory_bytes_left,
        };
        assert_eq!(BinPacking.pick(&[candidate(1, 7, 0), candidate(2, 3, 9)]), WorkerId(2));
        assert_eq!(BinPacking.pick(&[candidate(1, 3, 9), candidate(2, 3, 4)]), WorkerId(2));
        assert_eq!(BinPacking.pick(&[candidate(1, 3, 4), candidate(2, 3, 4)]), WorkerId(1));
    }
}
