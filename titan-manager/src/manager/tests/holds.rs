//! Tasks that may not run twice: not while an agent that was lost may still run them.

use super::*;

/// The lease and 10 s.
const HOLD: Duration = Duration::from_secs(70);

fn commands(tasks: u32) -> Event {
    Event::Submit(vec![JobSpec { rerun: Rerun::Lost, ..spec(tasks) }])
}

#[test]
fn a_task_that_may_not_run_twice_waits_for_the_lease_of_its_lost_agent() {
    let mut cluster = Cluster::new();
    cluster.on(commands(1)).join(1, 1).begins(1, 1).join(2, 1).loses(1, false);
    assert!(cluster.reported(&Report::Held { host: HostId(1), tasks: 1, span: HOLD }));
    assert!(cluster.reported(&Report::Lost { host: HostId(1), given_back: 0 }));
    assert_eq!(cluster.starts(), []);
    assert_eq!(cluster.manager.next_wake(), Some(cluster.now + HOLD));
    cluster.later(35).on(Event::Heard { worker: WorkerId(2) }).later(30);
    assert_eq!(cluster.starts(), []);
    cluster.on(Event::Heard { worker: WorkerId(2) });
    cluster.later(5);
    assert_eq!(cluster.starts(), [(2, 2, 0)]);
    assert_eq!(cluster.manager.next_wake(), None);
}

#[test]
fn any_event_releases_what_is_due() {
    let mut cluster = Cluster::new();
    cluster.on(commands(1)).join(1, 1).join(2, 1).loses(1, false);
    cluster.now = cluster.now + HOLD;
    cluster.on(Event::Heard { worker: WorkerId(2) });
    assert_eq!(cluster.starts(), [(2, 2, 0)], "though it was only SCHEDULED");
}

#[test]
fn an_agent_that_is_known_to_be_dead_holds_nothing_back() {
    let mut cluster = Cluster::new();
    cluster.on(commands(1)).join(1, 1).begins(1, 1).join(2, 1).loses(1, true);
    assert_eq!(cluster.starts(), [(2, 2, 0)]);
}

#[test]
fn what_is_held_goes_on_when_the_agent_is_found_dead() {
    let mut cluster = Cluster::new();
    cluster.on(commands(1)).join(1, 1).begins(1, 1).join(2, 1).loses(1, false);
    assert_eq!(cluster.starts(), []);
    cluster.loses(1, true);
    assert_eq!(cluster.starts(), [(2, 2, 0)]);
}

#[test]
fn a_worker_given_up_by_silence_holds_its_tasks_from_then_on() {
    let mut cluster = Cluster::new();
    cluster.on(commands(1)).join(1, 1).begins(1, 1).later(60);
    assert!(cluster.effects.contains(&Effect::EndSession { worker: WorkerId(1) }));
    assert!(cluster.reported(&Report::Held { host: HostId(1), tasks: 1, span: HOLD }));
    assert_eq!(cluster.manager.next_wake(), Some(cluster.now + HOLD));
}

#[test]
fn what_may_run_twice_is_not_held() {
    let mut cluster = Cluster::new();
    cluster.submit(1).join(1, 1).begins(1, 1).join(2, 1).loses(1, false);
    assert_eq!(cluster.starts(), [(2, 2, 0)]);
}

#[test]
fn a_silent_worker_keeps_what_may_not_run_twice() {
    let mut cluster = Cluster::new();
    cluster.on(commands(1)).join(1, 1).begins(1, 1).later(15).join(2, 1).later(20);
    assert_eq!(cluster.manager.workers().next().unwrap().health, Health::Unhealthy);
    assert_eq!(cluster.starts(), []);
}

#[test]
fn a_batch_does_not_end_while_tasks_are_held_unless_nobody_is_left_or_it_is_cancelled() {
    let mut cluster = Cluster::new();
    cluster.on(commands(1)).join(1, 1).join(2, 1).loses(1, false).down(1);
    assert_eq!(cluster.verdict(), None);
    cluster.down(2);
    assert_eq!(cluster.verdict(), verdict(End::NoWorkers, 0, 0, 1));

    let mut cluster = Cluster::new();
    cluster.on(commands(1)).join(1, 1).loses(1, false).on(Event::Cancel);
    assert_eq!(cluster.verdict(), verdict(End::Cancelled, 0, 0, 1));
    assert_eq!(cluster.manager.next_wake(), None);
}
