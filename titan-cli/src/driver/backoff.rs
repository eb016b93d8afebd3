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

/// So many sessions that end at once are no accident.
const SHORT_SESSIONS: u32 = 3;

/// How much is borne of a host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) lease: Duration,
    /// Whether hosts that aren't there at the beginning are waited for.
    pub(crate) waits_at_start: bool,
    pub(crate) start_timeout: Duration,
}

/// What a host has been through in this batch.
#[derive(Debug, Default)]
pub(crate) struct History {
    has_joined: bool,
    row: Option<Row>,
    /// Sessions of that row.
    short_sessions: u32,
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
            (self.row, self.short_sessions) = (None, 0);
        } else {
            self.short_sessions += 1;
        }
    }

    /// A start has failed: sessions that come and go at once are another trouble.
    pub(crate) fn on_start_failed(&mut self) {
        self.short_sessions = 0;
    }

    /// How long to wait before the next start; None: the host is given up. One that was there is tried as long as the batch
    /// goes on, and the manager says when it has been too long without any; unless it comes and goes at once, again and
    /// again for the length of the lease. One that was never there is tried only if such are waited for, or a little if its
    /// sshd was only busy.
    pub(crate) fn next_wait(
        &mut self,
        now: Instant,
        lasting: Lasting,
        Patience { lease, waits_at_start, start_timeout }: Patience,
    ) -> Option<Duration> {
        let is_waited_for = self.has_joined || waits_at_start;
        let row = self.row.get_or_insert(Row { since: now, wait: FIRST_WAIT });
        let lasted = now.duration_since(row.since);
        let is_useless = self.short_sessions >= SHORT_SESSIONS && lasted >= lease.max(STEADY_SPAN);
        let is_given_up = match lasting {
            _ if is_useless => true,
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

    const LEASE: Duration = Duration::from_secs(60);
    const START: Duration = Duration::from_secs(30);
    const USUAL: Patience = Patience { lease: LEASE, waits_at_start: false, start_timeout: START };

    #[test]
    fn a_host_that_was_never_there_is_given_up_at_once_unless_sshd_was_busy_or_it_is_waited_for() {
        let now = Instant::now();
        assert_eq!(History::default().next_wait(now, Lasting::Away, USUAL), None);
        assert_eq!(
            History::default().next_wait(now, Lasting::Away, Patience { waits_at_start: true, ..USUAL }),
            Some(FIRST_WAIT)
        );
        let mut busy = History::default();
        assert_eq!(busy.next_wait(now, Lasting::Busy, USUAL), Some(FIRST_WAIT));
        assert_eq!(busy.next_wait(now + START, Lasting::Busy, USUAL), None);
    }

    #[test]
    fn a_lost_host_is_tried_as_long_as_the_batch_goes_on_with_growing_waits() {
        let mut history = History::default();
        history.on_session_ended(Duration::from_secs(1));
        let mut now = Instant::now();
        let begun = now;
        let mut waits = Vec::new();
        while now - begun < LONG_ROW * 2 {
            let wait = history.next_wait(now, Lasting::Away, USUAL).unwrap();
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
        assert_eq!(history.next_wait(now, Lasting::Away, USUAL), Some(FIRST_WAIT));
        assert_eq!(history.next_wait(now, Lasting::Away, USUAL), Some(FIRST_WAIT * 2));
        history.on_session_ended(STEADY_SPAN * 2);
        assert_eq!(history.next_wait(now + START, Lasting::Away, USUAL), Some(FIRST_WAIT));
    }

    #[test]
    fn what_only_a_person_can_mend_is_not_tried_again() {
        let mut history = History::default();
        history.on_session_ended(Duration::from_secs(1));
        assert_eq!(
            history.next_wait(Instant::now(), Lasting::Permanent, Patience { waits_at_start: true, ..USUAL }),
            None
        );
    }

    #[test]
    fn a_host_that_comes_and_goes_at_once_is_given_up_when_that_has_lasted_for_a_lease() {
        let mut history = History::default();
        let (mut now, begun) = (Instant::now(), Instant::now());
        loop {
            history.on_session_ended(Duration::from_millis(100));
            match history.next_wait(now, Lasting::Away, USUAL) {
                Some(wait) => now += wait,
                None => break,
            }
        }
        assert!(now - begun >= LEASE && now - begun < LEASE + LAST_WAIT);
    }
}
