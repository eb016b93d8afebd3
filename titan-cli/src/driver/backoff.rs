//! When a host is started again, and when it is given up.

use std::time::{Duration, Instant};

use crate::launch::Lasting;

/// The first wait before another start; doubled each time up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LAST_WAIT: Duration = Duration::from_secs(5);
/// A session that lived this long ends a row of troubles.
const STEADY_SPAN: Duration = Duration::from_secs(10);

/// What a host has been through in this batch.
#[derive(Debug, Default)]
pub(crate) struct History {
    has_joined: bool,
    row: Option<Row>,
}

/// A row of failed starts and short sessions.
#[derive(Debug)]
struct Row {
    since: Instant,
    wait: Duration,
}

impl History {
    /// A session is over that lived this long.
    pub(crate) fn on_session_ended(&mut self, lived: Duration) {
        self.has_joined = true;
        if lived > STEADY_SPAN {
            self.row = None;
        }
    }

    /// How long to wait before the next start; None: the host is given up. A host that was never there is given up at
    /// once, unless its sshd was only busy; one that was there gets the length of the lease.
    pub(crate) fn next_wait(
        &mut self,
        now: Instant,
        lasting: Lasting,
        lease: Duration,
        start_timeout: Duration,
    ) -> Option<Duration> {
        let patience = match lasting {
            Lasting::Permanent => return None,
            Lasting::Away if !self.has_joined => return None,
            Lasting::Away => lease.max(STEADY_SPAN),
            Lasting::Busy => start_timeout,
        };
        let row = self.row.get_or_insert(Row { since: now, wait: FIRST_WAIT });
        if now.duration_since(row.since) >= patience {
            return None;
        }
        let wait = row.wait;
        row.wait = (wait * 2).min(LAST_WAIT);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(60);
    const START: Duration = Duration::from_secs(30);

    #[test]
    fn a_host_that_was_never_there_is_given_up_at_once_unless_sshd_was_busy() {
        let now = Instant::now();
        assert_eq!(History::default().next_wait(now, Lasting::Away, LEASE, START), None);
        let mut busy = History::default();
        assert_eq!(busy.next_wait(now, Lasting::Busy, LEASE, START), Some(FIRST_WAIT));
        assert_eq!(busy.next_wait(now + START, Lasting::Busy, LEASE, START), None);
    }

    #[test]
    fn a_lost_host_gets_the_length_of_the_lease_with_growing_waits() {
        let mut history = History::default();
        history.on_session_ended(Duration::from_secs(1));
        let mut now = Instant::now();
        let begun = now;
        let mut waits = Vec::new();
        while let Some(wait) = history.next_wait(now, Lasting::Away, LEASE, START) {
            waits.push(wait.as_millis());
            now += wait;
        }
        assert_eq!(waits[..6], [250, 500, 1_000, 2_000, 4_000, 5_000]);
        assert!(now - begun >= LEASE && now - begun < LEASE + LAST_WAIT);
    }

    #[test]
    fn a_steady_session_begins_a_new_row() {
        let mut history = History::default();
        let now = Instant::now();
        history.on_session_ended(Duration::from_secs(1));
        assert!(history.next_wait(now, Lasting::Away, LEASE, START).is_some());
        history.on_session_ended(STEADY_SPAN * 2);
        assert_eq!(history.next_wait(now + LEASE * 2, Lasting::Away, LEASE, START), Some(FIRST_WAIT));
    }

    #[test]
    fn what_only_a_person_can_mend_is_not_tried_again() {
        let mut history = History::default();
        history.on_session_ended(Duration::from_secs(1));
        assert_eq!(history.next_wait(Instant::now(), Lasting::Permanent, LEASE, START), None);
    }
}
