//! Whether the machine has run out of memory: then the kernel ends what it likes, and that is no fault of the task that it ends.

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where the kernel counts what it has ended for want of memory, on the whole machine.
const COUNTER_FILE: &str = "/proc/vmstat";
/// Several tasks that are ended at once are seen within that time.
const JUST_NOW: Duration = Duration::from_secs(2);

/// What the kernel has ended, as far as it was looked at: that costs too much for each task, and is done now and then.
#[derive(Debug)]
pub(super) struct Exhaustion {
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    kills: Option<u64>,
    /// When there were more than before.
    at: Option<Instant>,
}

impl Default for Exhaustion {
    fn default() -> Self {
        Self { seen: Mutex::new(Seen { kills: kills(), at: None }) }
    }
}

impl Exhaustion {
    /// Whether the kernel has ended anything since this was asked last, or a moment before. Asked now and then, so that
    /// what happened long ago isn't taken for the reason of what happens now.
    pub(super) fn was_just_now(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).look(kills(), Instant::now())
    }
}

impl Seen {
    fn look(&mut self, kills: Option<u64>, now: Instant) -> bool {
        if kills > self.kills {
            self.at = Some(now);
        }
        self.kills = kills;
        self.at.is_some_and(|at| now.duration_since(at) < JUST_NOW)
    }
}

/// How many processes the kernel has ended for want of memory: of this agent's cgroup and those below it, so that what
/// happens in other people's containers doesn't count; where there is no such counter, of the machine. None: nobody counts.
fn kills() -> Option<u64> {
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = membership.lines().find_map(|line| line.strip_prefix("0::"));
    let events = own.and_then(|path| fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.events")).ok());
    counted(&events.unwrap_or_else(|| fs::read_to_string(COUNTER_FILE).unwrap_or_default()))
}

/// Both files have a line for it.
fn counted(counters: &str) -> Option<u64> {
    counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_are_ended_together_are_all_seen_and_later_ones_are_not() {
        let begun = Instant::now();
        let mut seen = Seen { kills: Some(3), at: None };
        assert!(!seen.look(Some(3), begun));
        assert!(seen.look(Some(5), begun) && seen.look(Some(5), begun + JUST_NOW / 2));
        assert!(!seen.look(Some(5), begun + JUST_NOW));
        assert!(seen.look(Some(6), begun + JUST_NOW));
    }

    #[test]
    fn a_kernel_that_does_not_count_says_nothing() {
        assert_eq!(counted("nr_free_pages 1\noom_kill 12\nx 1\n"), Some(12));
        assert_eq!(counted("low 0\noom 1\noom_kill 3\noom_group_kill 0\n"), Some(3));
        assert_eq!(counted("nr_free_pages 1\n"), None);
        assert!(!Seen { kills: None, at: None }.look(None, Instant::now()));
    }
}
