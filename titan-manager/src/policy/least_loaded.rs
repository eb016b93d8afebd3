//! The worker with the smallest share of its slots taken.

use super::{Candidate, Policy};
use crate::event::WorkerId;

/// Keeps all workers equally full, in proportion to their slots; among equals the first that joined.
#[derive(Debug, Default)]
pub struct LeastLoaded;

impl Policy for LeastLoaded {
    fn pick(&mut self, candidates: &[Candidate]) -> WorkerId {
        let mut best = &candidates[0];
        for candidate in &candidates[1..] {
            // held/slots compared without division; at equal shares the larger worker has more room.
            let (left, right) =
                (u64::from(candidate.held) * u64::from(best.slots), u64::from(best.held) * u64::from(candidate.slots));
            if left < right || (left == right && candidate.slots > best.slots) {
                best = candidate;
            }
        }
        best.worker
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_count_and_not_numbers() {
        let candidate = |number, slots, held| Candidate {
            worker: WorkerId(number),
            slots,
            held,
            cores_left: 0,
            memory_bytes_left: 0,
        };
        assert_eq!(LeastLoaded.pick(&[candidate(1, 2, 1), candidate(2, 8, 3)]), WorkerId(2));
        assert_eq!(LeastLoaded.pick(&[candidate(1, 2, 0), candidate(2, 8, 0)]), WorkerId(2));
        assert_eq!(LeastLoaded.pick(&[candidate(1, 4, 1), candidate(2, 4, 1)]), WorkerId(1));
    }
}
