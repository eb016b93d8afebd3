//! When a host is started again, and when it is given up.

use std::time::{Duration, Instant};

use crate::launch::Lasting;

/// The first wait before another start; doubled each time up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LAST_WAIT: Duration = Duration::from_secs(5);
/// A row of troubles that is so long has waits of its own: a host that was switched off is asked for seldom.
const LONG_ROW: Duration = Duration::from_secs(600);
const LONG_WAIT: Duration = Duration::from_secs(30);
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

    /// How long to wait before the next start; None: the host is given up. One that was there is tried as long as the batch
    /// goes on, and the manager says when it has been too long without any; one that was never there, only if such are
    /// waited for, or a little if its sshd was only busy.
    pub(crate) fn next_wait(
        &mut self,
        now: Instant,
        lasting: Lasting,
        waits_at_start: bool,
        start_timeout: Duration,
    ) -> Option<Duration> {
        let is_waited_for = self.has_joined || waits_at_start;
        let row = self.row.get_or_insert(Row { since: now, wait: FIRST_WAIT });
        let lasted = now.duration_since(row.since);
        let is_given_up = match lasting {
            Lasting::Permanent => true,
            Lasting::Away => !is_waited_for,
            Lasting::Busy => !is_waited_for && lasted >= start_timeout,
        };
        if is_given_up {
            return None;
        }
        let wait = row.wait;
        row.wait = (wait * 2).min(if lasted < LONG_ROW { LAST_WAIT } else { LONG_WAIT });
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(30);

    #[test]
    fn a_host_that_was_never_there_is_given_up_at_once_unless_sshd_was_busy_or_it_is_waited_for() {
        let now = Instant::now();
        assert_eq!(History::default().next_wait(now, Lasting::Away, false, START), None);
        assert_eq!(History::default().next_wait(now, Lasting::Away, true, START), Some(FIRST_WAIT));
        let mut busy = History::default();
        assert_eq!(busy.next_wait(now, Lasting::Busy, false, START), Some(FIRST_WAIT));
        assert_eq!(busy.next_wait(now + START, Lasting::Busy, false, START), None);
    }

    #[test]
    fn a_lost_host_is_tried_as_long_as_the_batch_goes_on_with_growing_waits() {
        let mut history = History::default();
        history.on_session_ended(Duration::from_secs(1));
        let mut now = Instant::now();
        let begun = now;
        let mut waits = Vec::new();
        while now - begun < LONG_ROW * 2 {
            let wait = history.next_wait(now, Lasting::Away, false, START).unwrap();
            waits.push(wait.as_millis());
            now += wait;
        }
        assert_eq!(waits[..6], [250, 500, 1_000, 2_000, 4_000, 5_000]);
        assert_eq!(waits.last(), Some(&30_000));
    }

    #[test]
    fn a_steady_session_begins_a_new_row() {
        let mut history = History::default();
        let now = Instant::now();
        history.on_session_ended(Duration::from_secs(1));
        assert_eq!(history.next_wait(now, Lasting::Away, false, START), Some(FIRST_WAIT));
        assert_eq!(history.next_wait(now, Lasting::Away, false, START), Some(FIRST_WAIT * 2));
        history.on_session_ended(STEADY_SPAN * 2);
        assert_eq!(history.next_wait(now + START, Lasting::Away, false, START), Some(FIRST_WAIT));
    }

    #[test]
    fn what_only_a_person_can_mend_is_not_tried_again() {
        let mut history = History::default();
        history.on_session_ended(Duration::from_secs(1));
        assert_eq!(history.next_wait(Instant::now(), Lasting::Permanent, true, START), None);
    }
}
