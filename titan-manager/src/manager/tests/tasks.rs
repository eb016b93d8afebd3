//! A task's way: placement, queues, outcomes, retries.

use super::*;

#[test]
fn a_task_goes_through_its_whole_life() {
    let mut cluster = Cluster::new();
    cluster.submit(1);
    assert_eq!(cluster.manager.lifecycle(task(0)), Lifecycle::Pending);
    cluster.join(1, 1);
    assert_eq!(cluster.manager.lifecycle(task(0)), Lifecycle::Scheduled);
    cluster.says(1, ToManager::Started { attempt: attempt(1) });
    assert_eq!(cluster.manager.lifecycle(task(0)), Lifecycle::Running);
    cluster.ends(1, 1, completed());
    assert_eq!(cluster.manager.lifecycle(task(0)), Lifecycle::Completed);
    let verdict = Verdict { end: End::Done, completed: 1, failed: 0, cancelled: 0 };
    assert_eq!(cluster.verdict(), Some(verdict));
}

#[test]
fn an_outcome_is_recorded_before_it_is_acknowledged_and_delivered() {
    let mut cluster = Cluster::new();
    cluster.submit(1).join(1, 1).ends(1, 1, completed());
    let place = |wanted: fn(&Effect) -> bool| cluster.effects.iter().position(wanted).unwrap();
    let keep = place(|effect| matches!(effect, Effect::Keep { .. }));
    let record = place(|effect| matches!(effect, Effect::Record(Record::Ended { .. })));
    let deliver = place(|effect| matches!(effect, Effect::Deliver { .. }));
    let acknowledge = place(|effect| matches!(effect, Effect::Send { message: ToAgent::Acknowledge { .. }, .. }));
    assert!(keep < record && record < deliver && record < acknowledge);
}

#[test]
fn free_slots_are_filled_before_queues() {
    let mut cluster = Cluster::new();
    cluster.on(Event::HostStarting { host: HostId(1) }).on(Event::HostStarting { host: HostId(2) });
    cluster.join(1, 2).join(2, 1).submit(9);
    let starts = cluster.starts();
    let mut first: Vec<u32> = starts[..3].iter().map(|start| start.0).collect();
    first.sort_unstable();
    assert_eq!(first, [1, 1, 2]);
    let held = |number| starts.iter().filter(|start| start.0 == number).count();
    assert_eq!((held(1), held(2)), (4, 2), "a queue is at most as long as the slots are many");
}

#[test]
fn a_queue_is_no_longer_than_a_fair_share_of_what_waits() {
    let mut cluster = Cluster::new();
    for host in 1..=4 {
        cluster.on(Event::HostStarting { host: HostId(host) });
    }
    cluster.submit(8).join(1, 4);
    assert_eq!(cluster.starts().len(), 5, "4 run, and of the 4 that wait one is a fair share");
}

#[test]
fn an_idle_worker_gets_what_another_has_not_begun() {
    let mut cluster = Cluster::new();
    cluster.submit(6).join(1, 3).ends(1, 1, completed()).ends(1, 2, completed());
    assert_eq!(cluster.manager.counts().scheduled, 4, "three can run and one waits in line");
    cluster.join(2, 1);
    assert!(cluster.sent(&ToAgent::Recall { attempt: attempt(6) }));
    cluster.says(1, ToManager::Recalled { attempt: attempt(6) });
    assert_eq!(cluster.starts(), [(2, 7, 5)]);
}

#[test]
fn what_already_runs_is_left_where_it_is() {
    let mut cluster = Cluster::new();
    cluster.submit(2).join(1, 1).join(2, 1);
    assert!(cluster.sent(&ToAgent::Recall { attempt: attempt(2) }));
    cluster.says(1, ToManager::Started { attempt: attempt(2) });
    cluster.says(1, ToManager::AlreadyStarted { attempt: attempt(2) });
    assert_eq!(cluster.starts(), []);
    assert_eq!(cluster.manager.lifecycle(task(1)), Lifecycle::Running);
}

#[test]
fn a_failed_attempt_is_tried_again_elsewhere_until_its_retries_are_used_up() {
    let mut cluster = Cluster::new();
    cluster.submit(1).join(1, 1).join(2, 1);
    cluster.ends(1, 1, Outcome::failed("no"));
    assert_eq!(cluster.starts(), [(2, 2, 0)]);
    cluster.ends(2, 2, Outcome::failed("no"));
    assert_eq!(cluster.starts(), [(1, 3, 0)]);
    cluster.ends(1, 3, Outcome::failed("never"));
    let verdict = Verdict { end: End::Done, completed: 0, failed: 1, cancelled: 0 };
    assert_eq!(cluster.verdict(), Some(verdict));
    let end = cluster.delivered()[0];
    assert_eq!((end.state, end.attempt, end.attempts), (Lifecycle::Failed, Some(attempt(3)), 3));
    assert_eq!((end.host, end.has_result, end.reason.as_deref()), (Some(HostId(1)), false, Some("never")));
}

#[test]
fn a_failed_attempt_is_tried_again_on_the_only_worker() {
    let mut cluster = Cluster::new();
    cluster.submit(1).join(1, 1).ends(1, 1, Outcome::failed("no"));
    assert_eq!(cluster.starts(), [(1, 2, 0)]);
}

#[test]
fn a_job_that_comes_after_the_cancel_is_cancelled() {
    let mut cluster = Cluster::new();
    cluster.submit(1).join(1, 1).on(Event::Cancel).submit(2);
    cluster.ends(1, 1, Outcome::Cancelled);
    let verdict = Verdict { end: End::Cancelled, completed: 0, failed: 0, cancelled: 3 };
    assert_eq!(cluster.verdict(), Some(verdict));
}

#[test]
fn cancel_keeps_outcomes_that_are_in_and_ends_when_the_workers_have_stopped() {
    let mut cluster = Cluster::new();
    cluster.submit(5).join(1, 2).on(Event::Cancel);
    assert!(cluster.sent(&ToAgent::Cancel { attempt: attempt(1) }));
    cluster.ends(1, 1, completed());
    for number in 2..=4 {
        assert_eq!(cluster.verdict(), None);
        cluster.ends(1, number, Outcome::Cancelled);
    }
    let verdict = Verdict { end: End::Cancelled, completed: 1, failed: 0, cancelled: 4 };
    assert_eq!(cluster.verdict(), Some(verdict));
}

#[test]
fn a_job_grows_until_it_is_closed() {
    let mut cluster = Cluster::new();
    cluster.on(Event::Submit(vec![JobSpec { closed: false, ..spec(1) }])).join(1, 1).ends(1, 1, completed());
    assert_eq!(cluster.verdict(), None);
    cluster.on(Event::Grow { job: JobId(0), tasks: 1 });
    assert_eq!(cluster.starts(), [(1, 2, 1)]);
    cluster.on(Event::Close { job: JobId(0) }).ends(1, 2, completed());
    assert_eq!(cluster.verdict().map(|verdict| verdict.completed), Some(2));
}

#[test]
fn round_robin_takes_turns() {
    let mut cluster = Cluster::with(Config { policy: PolicyKind::RoundRobin, ..config() });
    cluster.join(1, 4).join(2, 4).submit(4);
    let workers: Vec<u32> = cluster.starts().iter().map(|start| start.0).collect();
    assert_eq!(workers, [1, 2, 1, 2]);
}

#[test]
fn a_million_tasks_are_small() {
    let mut cluster = Cluster::new();
    cluster.manager.handle(cluster.now, Event::Submit(vec![spec(1_000_000)]), &mut cluster.effects);
    assert!(size_of::<Task>() <= 40, "{}", size_of::<Task>());
    assert_eq!(cluster.manager.counts().total, 1_000_000);
}

#[test]
fn an_outcome_of_anothers_attempt_does_not_touch_its_result() {
    let mut cluster = Cluster::new();
    cluster.submit(1).join(1, 1).join(2, 1).ends(2, 1, completed());
    assert!(!cluster.effects.contains(&Effect::Discard { attempt: attempt(1) }));
    cluster.ends(1, 1, completed());
    assert_eq!(cluster.manager.counts().completed, 1);
}

#[test]
fn what_runs_cannot_be_given_back() {
    let mut cluster = Cluster::new();
    cluster.submit(1).join(1, 1).join(2, 1).says(1, ToManager::Started { attempt: attempt(1) });
    cluster.says(1, ToManager::Recalled { attempt: attempt(1) });
    assert_eq!(cluster.starts(), []);
    assert_eq!(cluster.manager.lifecycle(task(0)), Lifecycle::Running);
}

#[test]
fn a_failure_for_good_keeps_what_its_last_attempt_wrote() {
    let failed = || {
        let result = Some(ResultSummary { bytes: 1, crc: 2, compute_us: 3 });
        Outcome::Failed { reason: "exit 3".into(), fault: Fault::Task, result }
    };
    let mut cluster = Cluster::new();
    cluster.on(Event::Submit(vec![JobSpec { retries: 1, ..spec(1) }])).join(1, 1).ends(1, 1, failed());
    assert!(cluster.effects.contains(&Effect::Discard { attempt: attempt(1) }), "another try follows");
    cluster.ends(1, 2, failed());
    let place = |wanted: fn(&Effect) -> bool| cluster.effects.iter().position(wanted).unwrap();
    let keep = place(|effect| matches!(effect, Effect::Keep { .. }));
    assert!(keep < place(|effect| matches!(effect, Effect::Record(_))));
    let end = cluster.delivered()[0];
    assert_eq!((end.has_result, end.attempt, end.state), (true, Some(attempt(2)), Lifecycle::Failed));
}

#[test]
fn an_attempt_is_told_which_try_it_is_and_lost_ones_count() {
    let mut cluster = Cluster::new();
    cluster.submit(1).join(1, 1).loses(1, true).join(2, 1).ends(2, 2, Outcome::failed("no"));
    let third = ToAgent::Start { attempt: attempt(3), task: task(0), tried: 3, part: Part::OfJob };
    assert!(cluster.sent(&third), "{:?}", cluster.effects);
}

#[test]
fn what_was_given_back_is_no_try() {
    let mut cluster = Cluster::new();
    cluster.submit(2).join(1, 1).join(2, 1).says(1, ToManager::Recalled { attempt: attempt(2) });
    let again = ToAgent::Start { attempt: attempt(3), task: task(1), tried: 1, part: Part::OfJob };
    assert!(cluster.sent(&again), "{:?}", cluster.effects);
}

#[test]
fn higher_priority_goes_first_and_what_came_back_before_its_equals() {
    let mut cluster = Cluster::new();
    cluster.submit(2).on(Event::Submit(vec![JobSpec { priority: 1, ..spec(2) }])).join(1, 1);
    let jobs = |cluster: &Cluster| -> Vec<u32> {
        let start = |effect: &Effect| match effect {
            Effect::Send { message: ToAgent::Start { task, .. }, .. } => Some(task.job.0),
            _ => None,
        };
        cluster.effects.iter().filter_map(start).collect()
    };
    assert_eq!(jobs(&cluster), [1, 1], "one runs, one is queued");
    cluster.ends(1, 1, Outcome::failed("no"));
    assert_eq!(jobs(&cluster), [1], "its second try goes before the other job");
}

#[test]
fn bin_packing_fills_one_worker_before_the_next() {
    let mut cluster = Cluster::with(Config { policy: PolicyKind::BinPacking, ..config() });
    cluster.join(1, 4).join(2, 2).submit(3);
    let workers: Vec<u32> = cluster.starts().iter().map(|start| start.0).collect();
    assert_eq!(workers, [2, 2, 1]);
}
