//! Halts: when they come, what they stop, and what they say.

use super::*;
use crate::config::{Halt, HaltWhy};

fn halts(now: bool, why: HaltWhy) -> Cluster {
    Cluster::with(Config { halt: Some(Halt { now, why }), ..config() })
}

#[test]
fn a_halt_that_is_soon_lets_what_runs_end() {
    let mut cluster = halts(false, HaltWhy::Failed(1));
    cluster.on(Event::Submit(vec![JobSpec { retries: 0, ..spec(9) }])).join(1, 2).begins(1, 1).begins(1, 2);
    cluster.ends(1, 1, Outcome::failed("no"));
    assert_eq!(cluster.starts(), []);
    assert!(!cluster.sent(&ToAgent::Cancel { attempt: attempt(2) }));
    cluster.ends(1, 2, completed());
    assert_eq!(cluster.verdict(), verdict(End::Halted(false), 1, 1, 7));
}

#[test]
fn a_halt_that_is_now_stops_what_runs() {
    let mut cluster = halts(true, HaltWhy::Completed(1));
    cluster.submit(2).join(1, 2).begins(1, 1).begins(1, 2).ends(1, 1, completed());
    assert!(cluster.sent(&ToAgent::Cancel { attempt: attempt(2) }));
    cluster.ends(1, 2, Outcome::Cancelled);
    assert_eq!(cluster.verdict(), verdict(End::Halted(true), 1, 0, 1));
}

#[test]
fn so_many_ended_is_a_success_if_none_failed() {
    for (first, success) in [(completed(), true), (Outcome::failed("no"), false)] {
        let mut cluster = halts(true, HaltWhy::Ended(1));
        cluster.on(Event::Submit(vec![JobSpec { retries: 0, ..spec(1) }])).submit(3).join(1, 1).ends(1, 1, first);
        assert_eq!(cluster.verdict().map(|verdict| verdict.end), Some(End::Halted(success)));
    }
}

#[test]
fn a_part_says_nothing_before_three_have_ended() {
    let mut cluster = halts(true, HaltWhy::FailedPercent(30));
    cluster.on(Event::Submit(vec![JobSpec { retries: 0, ..spec(4) }])).join(1, 4);
    cluster.ends(1, 1, Outcome::failed("no")).ends(1, 2, completed());
    assert!(!cluster.sent(&ToAgent::Cancel { attempt: attempt(4) }));
    cluster.ends(1, 3, completed());
    assert!(cluster.sent(&ToAgent::Cancel { attempt: attempt(4) }));
}

#[test]
fn a_person_may_cancel_what_is_halting() {
    let mut cluster = halts(false, HaltWhy::Completed(1));
    cluster.submit(2).join(1, 2).begins(1, 1).begins(1, 2).ends(1, 1, completed()).on(Event::Cancel);
    assert!(cluster.sent(&ToAgent::Cancel { attempt: attempt(2) }));
    cluster.ends(1, 2, Outcome::Cancelled);
    assert_eq!(cluster.verdict(), verdict(End::Cancelled, 1, 0, 1));
}

#[test]
fn a_cancel_forgets_no_task_that_waits_for_others() {
    let mut cluster = Cluster::new();
    let after = vec![Dependency { job: JobId(0), each: false, any_end: false }];
    cluster.submit(1).on(Event::Submit(vec![JobSpec { after, ..spec(3) }])).join(1, 1).on(Event::Cancel);
    cluster.ends(1, 1, Outcome::Cancelled);
    assert_eq!(cluster.verdict(), verdict(End::Cancelled, 0, 0, 4));
}

#[test]
fn what_is_queued_is_cancelled_before_what_runs_makes_room_for_it() {
    let mut cluster = Cluster::new();
    cluster.submit(4).join(1, 2).begins(1, 1).begins(1, 2).on(Event::Cancel);
    let cancelled = cluster.effects.iter().filter_map(|effect| match effect {
        Effect::Send { message: ToAgent::Cancel { attempt }, .. } => Some(attempt.number),
        _ => None,
    });
    assert_eq!(cancelled.collect::<Vec<_>>(), [3, 2, 1]);
}
