//! Waiting for a condition with a deadline: the one place where tests sleep.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at, if looking is quick.
const POLL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Panics
/// When it still doesn't after `deadline`; the message says `what` was waited for.
#[track_caller]
pub fn wait_until(deadline: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(deadline, condition), "waited {deadline:?} in vain until {what}");
}

/// Whether `condition` comes to hold within `deadline`; it is looked at once more at the end.
pub fn holds_within(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        let look = Instant::now();
        let last = look >= end;
        if condition() {
            return true;
        }
        if last {
            return false;
        }
        // Half of the time at most: what is waited for may need this core.
        thread::sleep(look.elapsed().max(POLL));
    }
}
