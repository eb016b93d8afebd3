//! Second attempts at the tail.

use super::*;

/// Two workers of a slot each; three tasks of a second are done, and the fourth has run for so many seconds.
fn tail(config: Config, spec: JobSpec, seconds: u64) -> Cluster {
    let mut cluster = Cluster::with(config);
    // What asks for memory isn't queued ahead.
    let request = Request { memory_bytes: 1, ..Request::default() };
    cluster.on(Event::Submit(vec![JobSpec { request, ..spec }])).join(1, 1).join(2, 1);
    for number in [1, 3, 4] {
        cluster.begins(1, number);
        cluster.now = cluster.now + Duration::from_secs(1);
        cluster.begins(2, 2).ends(1, number, completed());
    }
    cluster.effects.clear();
    cluster.now = cluster.now + Duration::from_secs(seconds);
    cluster.on(Event::Tick);
    cluster
}

#[test]
fn an_idle_slot_tries_what_takes_twice_as_long_as_the_others() {
    let mut cluster = tail(config(), spec(4), 10);
    let [(1, number, 1)] = cluster.starts()[..] else { panic!("{:?}", cluster.effects) };
    cluster.on(Event::Tick);
    assert_eq!(cluster.starts(), [], "not a third time");
    cluster.begins(1, number).ends(1, number, completed());
    assert!(cluster.sent(&ToAgent::Cancel { attempt: attempt(2) }), "{:?}", cluster.effects);
    assert_eq!(cluster.verdict(), verdict(End::Done, 4, 0, 0));
}

#[test]
fn nothing_is_tried_twice_that_may_not_be_is_quick_or_is_not_to_be() {
    assert_eq!(tail(config(), JobSpec { rerun: Rerun::Lost, ..spec(4) }, 10).starts(), []);
    assert_eq!(tail(Config { speculates: false, ..config() }, spec(4), 10).starts(), []);
    assert_eq!(tail(Config { start_delay: Duration::from_secs(1), ..config() }, spec(4), 10).starts(), []);
}

#[test]
fn what_waits_goes_before_what_is_slow() {
    let cluster = tail(config(), spec(5), 10);
    assert_eq!(cluster.starts(), [], "the fifth runs there");
}
