//! Jobs and tasks that wait for others.

use super::*;

fn after(job: u32, each: bool, any_end: bool) -> Vec<Dependency> {
    vec![Dependency { job: JobId(job), each, any_end }]
}

fn waiting(tasks: u32, after: Vec<Dependency>) -> Event {
    Event::Submit(vec![JobSpec { after, retries: 0, ..spec(tasks) }])
}

/// (job, task) of each start in the last effects.
fn started(cluster: &Cluster) -> Vec<(u32, u32)> {
    let start = |effect: &Effect| match effect {
        Effect::Send { message: ToAgent::Start { task, .. }, .. } => Some((task.job.0, task.index)),
        _ => None,
    };
    cluster.effects.iter().filter_map(start).collect()
}

#[test]
fn a_job_waits_for_all_of_another() {
    let mut cluster = Cluster::new();
    cluster.join(1, 4).submit(2).on(waiting(2, after(0, false, false)));
    assert_eq!(started(&cluster), []);
    cluster.ends(1, 1, completed());
    assert_eq!(started(&cluster), []);
    cluster.ends(1, 2, completed());
    assert_eq!(started(&cluster), [(1, 0), (1, 1)]);
}

#[test]
fn each_task_waits_for_its_own_only() {
    let mut cluster = Cluster::new();
    cluster.join(1, 3).submit(3).on(waiting(3, after(0, true, false)));
    cluster.ends(1, 2, completed());
    assert_eq!(started(&cluster), [(1, 1)]);
    cluster.ends(1, 1, completed());
    assert_eq!(started(&cluster), [(1, 0)]);
}

#[test]
fn a_failure_cancels_what_waits_for_it_and_all_that_waits_for_that() {
    let mut cluster = Cluster::new();
    cluster.on(waiting(3, vec![])).on(waiting(3, after(0, true, false))).on(waiting(3, after(1, true, false)));
    cluster.on(waiting(1, after(2, false, true))).on(waiting(1, after(2, false, false))).join(1, 3);
    cluster.ends(1, 2, Outcome::failed("no"));
    let cancelled: Vec<_> = cluster.delivered().iter().map(|end| (end.task.job.0, end.reason.clone())).collect();
    let because = |job, reason: &str| (job, Some(reason.to_owned()));
    let expected = [
        because(0, "no"),
        because(1, "task 2 of job FAILED"),
        because(2, "task 2 of job CANCELLED"),
        because(4, "task 2 of job CANCELLED"),
    ];
    assert_eq!(cancelled, expected);
    for number in [1, 3, 4, 5, 6, 7] {
        cluster.ends(1, number, completed());
    }
    assert_eq!(started(&cluster), [(3, 0)], "any end will do for it");
    cluster.ends(1, 8, completed());
    assert_eq!(cluster.verdict(), verdict(End::Done, 7, 1, 3));
}

#[test]
fn a_job_that_may_grow_is_waited_for_until_it_is_closed() {
    let mut cluster = Cluster::new();
    cluster.on(Event::Submit(vec![JobSpec { closed: false, ..spec(1) }])).on(waiting(1, after(0, false, false)));
    cluster.join(1, 1).ends(1, 1, completed());
    assert_eq!(started(&cluster), []);
    cluster.on(Event::Grow { job: JobId(0), tasks: 1 }).ends(1, 2, completed());
    assert_eq!(started(&cluster), []);
    cluster.on(Event::Close { job: JobId(0) });
    assert_eq!(started(&cluster), [(1, 0)]);
}

#[test]
fn a_growing_job_waits_task_by_task() {
    let mut cluster = Cluster::new();
    cluster.submit(2).on(Event::Submit(vec![JobSpec { closed: false, after: after(0, true, false), ..spec(0) }]));
    cluster.join(1, 2).ends(1, 1, completed()).on(Event::Grow { job: JobId(1), tasks: 3 });
    assert_eq!(started(&cluster), [(1, 0)]);
    assert_eq!(cluster.delivered()[0].reason.as_deref(), Some("job has no task 3"));
    cluster.ends(1, 2, completed());
    assert_eq!(started(&cluster), [(1, 1)]);
}

#[test]
fn a_job_after_one_that_is_over_starts_at_once_or_never() {
    let mut cluster = Cluster::new();
    cluster.join(1, 1).on(Event::Submit(vec![JobSpec { closed: false, ..spec(0) }]));
    cluster.on(waiting(1, vec![])).ends(1, 1, Outcome::failed("no"));
    cluster.on(waiting(2, after(1, false, false)));
    assert_eq!(cluster.delivered().len(), 2);
    cluster.on(waiting(1, after(1, false, true)));
    assert_eq!(started(&cluster), [(3, 0)]);
}

#[test]
fn a_million_tasks_that_wait_for_a_million_others_go_one_by_one() {
    let mut cluster = Cluster::new();
    for event in [Event::Submit(vec![spec(1_000_000)]), waiting(1_000_000, after(0, true, false))] {
        cluster.manager.handle(cluster.now, event, &mut cluster.effects);
    }
    let join = Event::WorkerJoined {
        host: HostId(1),
        worker: WorkerId(1),
        capacity: capacity(4),
        is_alone: false,
        held: vec![],
    };
    cluster.manager.handle(cluster.now, join, &mut cluster.effects);
    let message = ToManager::Finished { attempt: attempt(1), outcome: completed(), process: None };
    let mut effects = Vec::new();
    cluster.manager.handle(cluster.now, Event::Message { worker: WorkerId(1), message }, &mut effects);
    assert_eq!(cluster.manager.queue.len(), 1_000_000 - 8);
}

#[test]
fn what_waits_for_each_waits_for_a_group() {
    let mut cluster = Cluster::new();
    cluster.on(Event::Submit(vec![JobSpec { group: 2, ..spec(4) }])).on(waiting(2, after(0, true, false))).join(1, 4);
    cluster.ends(1, 1, completed());
    assert_eq!(cluster.starts().len(), 0, "half of the first group is still under way");
    cluster.ends(1, 2, completed());
    assert_eq!(cluster.starts().iter().map(|start| start.2).collect::<Vec<_>>(), [0], "the first group is over");
}

#[test]
fn why_tasks_wait_can_be_told() {
    let mut cluster = Cluster::new();
    let named = |name: &str, after| Event::Submit(vec![JobSpec { name: name.into(), after, ..spec(2) }]);
    cluster.on(named("first", vec![])).on(named("second", after(0, false, false)));
    assert_eq!(cluster.manager.waits(), ["second waits for first", "no host is up: one is waited for"]);
    cluster.on(named("third", after(0, true, false))).join(1, 4);
    assert_eq!(cluster.manager.waits(), ["second waits for first", "third waits for first, task by task"]);
    cluster.ends(1, 1, completed()).ends(1, 2, completed());
    assert_eq!(cluster.manager.waits(), [] as [&str; 0]);
}
