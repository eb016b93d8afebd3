//! Workers in turn.

use super::{Candidate, Policy};
use crate::event::WorkerId;

/// Gives each task to the next worker in order of their joining.
#[derive(Debug, Default)]
pub struct RoundRobin {
    last: Option<WorkerId>,
}

impl Policy for RoundRobin {
    fn pick(&mut self, candidates: &[Candidate]) -> WorkerId {
        let next = candidates.iter().find(|candidate| Some(candidate.worker) > self.last);
        let picked = next.unwrap_or(&candidates[0]).worker;
        self.last = Some(picked);
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_take_turns_and_a_missing_one_is_passed_over() {
        let candidate =
            |number| Candidate { worker: WorkerId(number), slots: 4, held: 0, cores_left: 4, memory_bytes_left: 0 };
        let mut policy = RoundRobin::default();
        let all = [candidate(1), candidate(2), candidate(5)];
        let picked: Vec<u32> = (0..4).map(|_| policy.pick(&all).0).collect();
        assert_eq!(picked, [1, 2, 5, 1]);
        assert_eq!(policy.pick(&[candidate(1), candidate(5)]), WorkerId(5));
    }
}
