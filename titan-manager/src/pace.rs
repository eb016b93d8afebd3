//! How long a job's tasks take, as far as it is known: what makes one a straggler, and how many are worth queueing.

use std::collections::VecDeque;
use std::time::Duration;

/// Completed tasks of a job whose times are remembered.
const REMEMBERED: usize = 32;
/// Fewer completed tasks than this say nothing of how long one takes.
const FEWEST: usize = 3;
/// So many times as long as half of a job's tasks at most take, and a task is a straggler.
const TIMES_SLOWER: u32 = 2;
/// Shorter than this no task is worth a second attempt.
const LEAST_SPAN: Duration = Duration::from_secs(1);
/// A worker has queued what takes about as long as this: longer than it takes that more comes, over any link, with a sync of
/// the journal in between.
const QUEUE_SPAN: Duration = Duration::from_millis(200);
/// The most attempts beyond its slots that a worker holds for each slot, however short they are.
pub const MAX_DEPTH: u32 = 512;
/// By what part the mean of spans follows a new one.
const FOLLOWS: u32 = 8;

/// How long the last tasks of a job took.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    spans: VecDeque<Duration>,
    /// Their mean, the last ones counting most.
    mean: Duration,
}

impl Pace {
    pub(crate) fn add(&mut self, span: Duration) {
        if self.spans.len() == REMEMBERED {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
        self.mean = match self.spans.len() {
            1 => span,
            _ => (self.mean * (FOLLOWS - 1) + span) / FOLLOWS,
        };
    }

    /// How many attempts a worker may hold for each slot beyond those that run: one, or more of short tasks.
    pub(crate) fn depth(&self) -> u32 {
        if self.spans.len() < FEWEST {
            return 1;
        }
        let several = QUEUE_SPAN.as_micros() / self.mean.as_micros().max(1);
        u32::try_from(several).unwrap_or(MAX_DEPTH).clamp(1, MAX_DEPTH)
    }

    /// After how long a task is a straggler; None: nothing is known yet.
    pub(crate) fn straggles_after(&self) -> Option<Duration> {
        let mut sorted: Vec<Duration> = self.spans.iter().copied().collect();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2).filter(|_| sorted.len() >= FEWEST)?;
        Some(median.saturating_mul(TIMES_SLOWER).max(LEAST_SPAN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(millis: u64) -> Pace {
        let mut pace = Pace::default();
        (0..FEWEST).for_each(|_| pace.add(Duration::from_millis(millis)));
        pace
    }

    #[test]
    fn more_of_short_tasks_are_queued_than_of_long_ones() {
        assert_eq!(Pace::default().depth(), 1);
        assert_eq!([0, 1, 10, 50, 150, 5000].map(|millis| pace(millis).depth()), [512, 200, 20, 4, 1, 1]);
    }

    #[test]
    fn the_mean_follows() {
        let mut pace = pace(1);
        (0..100).for_each(|_| pace.add(Duration::from_secs(1)));
        assert_eq!(pace.depth(), 1);
    }

    #[test]
    fn a_straggler_takes_more_than_twice_as_long_as_half_of_the_tasks() {
        assert_eq!(Pace::default().straggles_after(), None);
        assert_eq!(pace(100).straggles_after(), Some(LEAST_SPAN));
        assert_eq!(pace(10_000).straggles_after(), Some(Duration::from_secs(20)));
    }
}
