//! Workers that join, fall silent and are lost; hosts that go.

use super::*;

#[test]
fn a_lost_worker_gives_its_tasks_back() {
    let mut cluster = Cluster::new();
    cluster.submit(4).join(1, 2).on(Event::SessionLost { worker: WorkerId(1), is_dead: false });
    assert!(cluster.effects.contains(&Effect::Report(Report::Lost { host: HostId(1), given_back: 3 })));
    assert_eq!(cluster.verdict(), None, "its host is started afresh");
    cluster.join(2, 4);
    assert_eq!(cluster.starts().len(), 4);
}

#[test]
fn a_silent_worker_gets_no_work_and_the_first_completion_wins() {
    let mut cluster = Cluster::new();
    cluster.submit(1).join(1, 1).says(1, ToManager::Started { attempt: attempt(1) });
    cluster.join(2, 1).later(15).on(Event::Heard { worker: WorkerId(2) }).later(15);
    assert_eq!(cluster.starts(), [(2, 2, 0)]);
    cluster.ends(1, 1, completed());
    assert!(cluster.sent(&ToAgent::Cancel { attempt: attempt(2) }));
    assert_eq!(cluster.verdict().map(|verdict| verdict.completed), Some(1));
}

#[test]
fn a_late_outcome_is_dropped_and_acknowledged() {
    let mut cluster = Cluster::new();
    cluster.submit(2).join(1, 1).says(1, ToManager::Started { attempt: attempt(1) });
    cluster.join(2, 1).later(15).on(Event::Heard { worker: WorkerId(2) }).later(15);
    let second = cluster.starts()[0].1;
    cluster.ends(2, second, completed()).ends(1, 1, completed());
    assert!(cluster.effects.contains(&Effect::Discard { attempt: attempt(1) }));
    assert!(cluster.sent(&ToAgent::Acknowledge { attempt: attempt(1) }));
    assert_eq!(cluster.manager.counts().completed, 1);
}

#[test]
fn a_worker_that_speaks_again_keeps_its_task() {
    let mut cluster = Cluster::new();
    cluster.submit(1).join(1, 1).later(30);
    assert_eq!(cluster.manager.workers().next().unwrap().health, Health::Unhealthy);
    cluster.on(Event::Heard { worker: WorkerId(1) });
    assert_eq!(cluster.manager.workers().next().unwrap().health, Health::Healthy);
    cluster.join(2, 1);
    assert_eq!(cluster.starts(), [], "the healthy worker has it");
}

#[test]
fn silence_for_the_length_of_the_lease_ends_the_session() {
    let mut cluster = Cluster::new();
    cluster.submit(1).join(1, 1).later(55);
    assert!(!cluster.effects.contains(&Effect::EndSession { worker: WorkerId(1) }));
    cluster.later(5);
    assert!(cluster.effects.contains(&Effect::EndSession { worker: WorkerId(1) }));
}

#[test]
fn the_managers_own_sleep_is_no_silence_of_the_workers() {
    let mut cluster = Cluster::new();
    cluster.submit(1).join(1, 1).later(5);
    cluster.now = cluster.now + Duration::from_secs(3_600);
    cluster.on(Event::Tick);
    assert_eq!(cluster.manager.workers().next().unwrap().health, Health::Healthy);
    cluster.later(30);
    assert_eq!(cluster.manager.workers().next().unwrap().health, Health::Unhealthy);
}

#[test]
fn the_fifth_loss_of_a_running_task_fails_it() {
    let mut cluster = Cluster::new();
    cluster.submit(1);
    for number in 1..=5 {
        cluster.join(number, 1).says(number, ToManager::Started { attempt: attempt(number) });
        cluster.on(Event::SessionLost { worker: WorkerId(number), is_dead: false });
    }
    assert_eq!(cluster.verdict().map(|verdict| verdict.failed), Some(1));
}

#[test]
fn losses_before_a_task_began_do_not_count() {
    let mut cluster = Cluster::new();
    cluster.submit(1);
    for number in 1..=9 {
        cluster.join(number, 1).on(Event::SessionLost { worker: WorkerId(number), is_dead: false });
    }
    assert_eq!(cluster.verdict(), None);
}

#[test]
fn nothing_starts_before_min_workers_are_there() {
    let mut cluster = Cluster::with(Config { min_workers: 2, ..config() });
    cluster.on(Event::HostStarting { host: HostId(1) }).on(Event::HostStarting { host: HostId(2) });
    cluster.submit(2).join(1, 1);
    assert_eq!(cluster.starts(), []);
    cluster.join(2, 1);
    assert_eq!(cluster.starts().len(), 2);
    cluster.on(Event::HostDown { host: HostId(2) });
    assert_eq!(cluster.verdict(), None, "later losses don't count");
}

#[test]
fn too_few_hosts_for_min_workers_end_the_batch() {
    let mut cluster = Cluster::with(Config { min_workers: 2, ..config() });
    cluster.on(Event::HostStarting { host: HostId(1) }).on(Event::HostStarting { host: HostId(2) });
    cluster.submit(2).join(1, 1).on(Event::HostDown { host: HostId(2) });
    let verdict = Verdict { end: End::NoWorkers, completed: 0, failed: 0, cancelled: 2 };
    assert_eq!(cluster.verdict(), Some(verdict));
}

#[test]
fn the_last_host_that_goes_down_ends_the_batch_and_forgets_no_task() {
    let mut cluster = Cluster::new();
    cluster.submit(3).join(1, 1).ends(1, 1, completed()).on(Event::HostDown { host: HostId(1) });
    let verdict = Verdict { end: End::NoWorkers, completed: 1, failed: 0, cancelled: 2 };
    assert_eq!(cluster.verdict(), Some(verdict));
}

#[test]
fn a_worker_too_small_for_the_tasks_is_named_and_not_used() {
    let mut cluster = Cluster::new();
    cluster.on(Event::Submit(vec![JobSpec { slot_memory_bytes: 2 << 30, ..spec(1) }]));
    cluster.on(Event::HostStarting { host: HostId(2) }).join(1, 1);
    let (slot_bytes, task_bytes) = (1 << 30, 2 << 30);
    let report = Report::TooSmall { host: HostId(1), slot_bytes, task_bytes };
    assert!(cluster.effects.contains(&Effect::Report(report)));
    assert_eq!(cluster.starts(), []);
    cluster.on(Event::HostDown { host: HostId(2) });
    assert_eq!(cluster.verdict().map(|verdict| verdict.end), Some(End::NoWorkers));
}

#[test]
fn tasks_too_large_for_every_worker_do_not_wait_for_ever() {
    let mut cluster = Cluster::new();
    cluster.submit(1).on(Event::Submit(vec![JobSpec { slot_memory_bytes: 2 << 30, ..spec(2) }])).join(1, 1);
    assert_eq!(cluster.verdict(), None, "the small one runs");
    cluster.ends(1, 1, completed());
    let verdict = Verdict { end: End::NoWorkers, completed: 1, failed: 0, cancelled: 2 };
    assert_eq!(cluster.verdict(), Some(verdict));
}

#[test]
fn messages_of_strangers_change_nothing() {
    let mut cluster = Cluster::new();
    cluster.submit(1).join(1, 1).join(2, 1);
    cluster.ends(2, 1, completed());
    assert_eq!(cluster.manager.counts().completed, 0, "worker 2 doesn't hold attempt 1");
    cluster.ends(9, 1, completed()).says(1, ToManager::Recalled { attempt: attempt(77) });
    assert_eq!(cluster.manager.lifecycle(task(0)), Lifecycle::Scheduled);
}

fn waits_for_hosts(seconds: u64) -> Config {
    Config { wait_for_hosts: Duration::from_secs(seconds), ..config() }
}

#[test]
fn when_no_host_is_up_one_is_waited_for_and_that_is_said_once() {
    let mut cluster = Cluster::with(waits_for_hosts(300));
    cluster.starting(1).submit(2).join(1, 1).loses(1, true).fails_to_start(1);
    let told = |cluster: &Cluster| {
        let is_absence = |effect: &&Effect| matches!(effect, Effect::Report(Report::NoneUp { .. }));
        cluster.effects.iter().filter(is_absence).count()
    };
    cluster.effects.clear();
    assert_eq!((told(cluster.later(5)), told(cluster.later(280))), (0, 1));
    assert_eq!(cluster.verdict(), None);
    cluster.later(15);
    assert_eq!(cluster.verdict(), verdict(End::NoWorkers, 0, 0, 2));
}

#[test]
fn a_host_that_comes_in_time_goes_on() {
    let mut cluster = Cluster::with(waits_for_hosts(300));
    cluster.starting(1).submit(1).join(1, 1).loses(1, true).later(290).join(2, 1);
    assert_eq!(cluster.starts(), [(2, 2, 0)]);
    cluster.later(25).ends(2, 2, completed());
    assert_eq!(cluster.verdict(), verdict(End::Done, 1, 0, 0));
}

#[test]
fn tasks_of_hosts_that_are_silent_for_too_long_are_cancelled_with_their_sessions() {
    let mut cluster = Cluster::with(waits_for_hosts(40));
    cluster.starting(1).submit(3).join(1, 2).begins(1, 1).later(45);
    assert_eq!(cluster.verdict(), verdict(End::NoWorkers, 0, 0, 3));
    assert!(cluster.effects.contains(&Effect::EndSession { worker: WorkerId(1) }));
}

#[test]
fn hosts_that_were_never_there_are_waited_for_if_that_is_asked_for() {
    let config = Config { waits_at_start: true, ..waits_for_hosts(60) };
    let mut cluster = Cluster::with(config);
    cluster.starting(1).submit(1).later(90);
    assert_eq!(cluster.verdict(), None, "a start that is under way is waited for");
    cluster.fails_to_start(1).later(5);
    assert_eq!(cluster.verdict(), verdict(End::NoWorkers, 0, 0, 1));
}

#[test]
fn titans_own_sleep_is_no_absence_of_hosts() {
    let mut cluster = Cluster::with(waits_for_hosts(60));
    cluster.starting(1).submit(1).join(1, 1).loses(1, true).fails_to_start(1).later(5);
    cluster.now = cluster.now + Duration::from_secs(3_600);
    cluster.fails_to_start(1).on(Event::Tick);
    assert_eq!(cluster.verdict(), None);
    cluster.later(60);
    assert_eq!(cluster.verdict(), verdict(End::NoWorkers, 0, 0, 1));
}

#[test]
fn what_only_a_host_could_do_that_is_away_for_too_long_fails_and_the_rest_is_done() {
    let mut cluster = Cluster::with(waits_for_hosts(60));
    let request = Request { cpus: 4, ..Request::default() };
    let of_big = JobSpec { request, ..spec(1) };
    cluster.starting(1).starting(2).on(Event::Submit(vec![of_big, spec(1)])).join(1, 4).join(2, 1);
    cluster.loses(1, true).fails_to_start(1);
    for _ in 0..11 {
        cluster.on(Event::Heard { worker: WorkerId(2) }).later(5);
    }
    assert_eq!(cluster.manager.counts().failed, 0);
    cluster.on(Event::Heard { worker: WorkerId(2) }).later(10);
    assert_eq!(cluster.manager.counts().failed, 1);
    let of_rest = cluster.manager.attempts.keys().next().unwrap().number;
    cluster.ends(2, of_rest, completed());
    assert_eq!(cluster.verdict(), verdict(End::Done, 1, 1, 0));
}

#[test]
fn a_host_that_comes_when_nobody_waits_for_it_any_more_works_all_the_same() {
    let mut cluster = Cluster::with(waits_for_hosts(60));
    cluster.starting(1).starting(2).submit(9).join(1, 1).join(2, 1).loses(1, true).fails_to_start(1);
    for _ in 0..14 {
        cluster.on(Event::Heard { worker: WorkerId(2) }).later(5);
    }
    cluster.join(1 + 2, 1);
    assert!(!cluster.starts().is_empty());
}

#[test]
fn fewer_hosts_than_a_batch_is_to_begin_with_are_not_waited_for_for_ever() {
    let config = Config { waits_at_start: true, min_workers: 2, ..waits_for_hosts(60) };
    let mut cluster = Cluster::with(config);
    cluster.starting(1).starting(2).submit(1).join(1, 1).fails_to_start(2);
    for _ in 0..11 {
        cluster.on(Event::Heard { worker: WorkerId(1) }).later(5);
    }
    assert_eq!(cluster.verdict(), None);
    cluster.on(Event::Heard { worker: WorkerId(1) }).later(5);
    assert_eq!(cluster.verdict(), verdict(End::NoWorkers, 0, 0, 1));
}
