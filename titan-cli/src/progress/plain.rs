//! Progress where there is no terminal: a line after 10 s, then at doubling distances up to 5 minutes.

use std::time::{Duration, Instant};

use super::screen::{Screen, View};
use crate::tell::to_stderr;

const FIRST_DISTANCE: Duration = Duration::from_secs(10);
const LAST_DISTANCE: Duration = Duration::from_secs(300);

/// Lines, rarely.
pub(crate) struct Plain {
    schedule: Schedule,
}

/// When the next line is due.
struct Schedule {
    last: Instant,
    distance: Duration,
}

impl Schedule {
    fn is_due(&mut self, now: Instant) -> bool {
        if now.duration_since(self.last) < self.distance {
            return false;
        }
        self.last = now;
        self.distance = (self.distance * 2).min(LAST_DISTANCE);
        true
    }
}

impl Plain {
    pub(crate) fn new() -> Self {
        Self { schedule: Schedule { last: Instant::now(), distance: FIRST_DISTANCE } }
    }
}

impl Screen for Plain {
    fn say(&mut self, line: &str) {
        to_stderr(line);
    }

    fn tick(&mut self, view: &View) {
        if self.schedule.is_due(Instant::now()) {
            to_stderr(&format!("titan: {}", view.whereabouts));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_double_up_to_five_minutes() {
        let begun = Instant::now();
        let mut schedule = Schedule { last: begun, distance: FIRST_DISTANCE };
        let due: Vec<u64> = (0..1_500).filter(|s| schedule.is_due(begun + Duration::from_secs(*s))).collect();
        assert_eq!(due, [10, 30, 70, 150, 310, 610, 910, 1_210]);
    }
}
