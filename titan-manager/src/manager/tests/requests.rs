//! What tasks ask for beside a slot, and what workers have.

use super::*;
use crate::config::LoadLimit;
use crate::event::Condition;

fn asks(tasks: u32, request: Request) -> Event {
    Event::Submit(vec![JobSpec { request, ..spec(tasks) }])
}

fn cpus(cpus: u32) -> Request {
    Request { cpus, ..Request::default() }
}

fn gpus(number: u32) -> Request {
    Request { resources: [("gpu".to_owned(), number)].into(), ..Request::default() }
}

fn labelled(slots: u32, labels: &[(&str, &str)]) -> Capacity {
    let labels = labels.iter().map(|&(label, value)| (label.to_owned(), value.to_owned()));
    Capacity { labels: labels.collect(), ..capacity(slots) }
}

fn started(cluster: &Cluster) -> usize {
    cluster.starts().len()
}

#[test]
fn tasks_that_ask_for_cores_share_them_with_those_that_do_not() {
    let mut cluster = Cluster::new();
    cluster.submit(1).on(asks(5, cpus(2))).join(1, 6);
    assert_eq!(started(&cluster), 3, "1 + 2 + 2 of 6 cores, and none is queued");
    cluster.ends(1, 1, completed());
    assert_eq!(started(&cluster), 1);
}

#[test]
fn memory_is_reserved_and_never_queued_for() {
    let mut cluster = Cluster::new();
    cluster.on(asks(9, Request { memory_bytes: 3 << 30, ..Request::default() })).join(1, 8);
    assert_eq!(started(&cluster), 2, "two of 3 GiB in 8 GiB");
}

#[test]
fn a_counted_resource_is_given_to_as_many_as_there_are() {
    let resources = [("gpu".to_owned(), 2)].into();
    let mut cluster = Cluster::new();
    cluster.on(asks(5, gpus(1))).join_with(1, Capacity { resources, ..capacity(4) });
    assert_eq!(started(&cluster), 2);
    cluster.ends(1, 1, completed());
    assert_eq!(started(&cluster), 1);
}

#[test]
fn what_is_held_counts_until_its_outcome_even_if_it_is_to_stop() {
    let resources: std::collections::BTreeMap<String, u32> = [("gpu".to_owned(), 1)].into();
    let with_gpu = || Capacity { resources: resources.clone(), ..capacity(4) };
    let mut cluster = Cluster::new();
    cluster.on(asks(2, gpus(1))).join_with(1, with_gpu()).begins(1, 1);
    cluster.later(15).join_with(2, with_gpu()).later(15);
    assert_eq!(started(&cluster), 1);
    cluster.on(Event::Heard { worker: WorkerId(1) }).ends(1, 1, completed());
    assert_eq!(cluster.starts().iter().filter(|start| start.0 == 2).count(), 0);
}

#[test]
fn labels_must_match() {
    let where_gpu = |negated| Condition { label: "gpu".into(), value: None, negated };
    let is_linux = Condition { label: "os".into(), value: Some("linux".into()), negated: false };
    let mut cluster = Cluster::new();
    cluster.join_with(1, labelled(2, &[("os", "linux")])).join_with(2, labelled(2, &[("os", "linux"), ("gpu", "")]));
    cluster.on(asks(1, Request { wanted: vec![where_gpu(false), is_linux.clone()], ..Request::default() }));
    assert_eq!(cluster.starts()[0].0, 2);
    cluster.on(asks(1, Request { wanted: vec![where_gpu(true), is_linux], ..Request::default() }));
    assert_eq!(cluster.starts()[0].0, 1);
}

#[test]
fn small_tasks_do_not_starve_a_large_one() {
    let mut cluster = Cluster::new();
    cluster.join(1, 2).submit(1).on(asks(1, cpus(2))).submit(50);
    assert_eq!(started(&cluster), 0, "the second slot is kept for the large one");
    cluster.ends(1, 1, completed());
    assert_eq!(cluster.starts()[0], (1, 2, 0));
    assert_eq!(cluster.manager.task(TaskId { job: JobId(1), index: 0 }).tried, 1);
    assert!(started(&cluster) > 1, "then the small ones go on, in the other slot");
}

#[test]
fn a_reservation_keeps_one_worker_only() {
    let mut cluster = Cluster::new();
    cluster.join(1, 2).join(2, 2).submit(4).on(asks(1, cpus(2))).submit(50);
    cluster.ends(1, 1, completed());
    let freed = started(&cluster);
    cluster.ends(2, 2, completed());
    assert_eq!(freed + started(&cluster), 1, "one worker runs dry, the other goes on");
}

#[test]
fn a_request_that_no_host_can_meet_fails_and_names_the_largest() {
    let mut cluster = Cluster::new();
    cluster.starting(2).on(asks(2, cpus(16))).submit(1).join_with(1, labelled(4, &[("name", "render1")]));
    assert_eq!(cluster.manager.counts().failed, 0, "host 2 may be larger");
    cluster.down(2);
    let end = cluster.delivered()[0];
    let reason = "no host can meet its request (16 cores); the largest, render1, has 4 cores, 4 GiB of memory";
    assert_eq!((end.state, end.reason.as_deref(), end.attempts), (Lifecycle::Failed, Some(reason), 0));
    cluster.ends(1, 1, completed());
    assert_eq!(cluster.verdict(), verdict(End::Done, 1, 2, 0));
}

#[test]
fn a_busy_machine_gets_no_new_task_until_it_is_back() {
    let mut cluster = Cluster::with(Config { max_load: Some(LoadLimit::PercentOfCores(100)), ..config() });
    let load = |load_hundredths| ToManager::Load { load_hundredths, free_memory_bytes: 0 };
    cluster.join(1, 2).submit(3);
    assert_eq!(started(&cluster), 0, "nothing is known of its load");
    cluster.says(1, load(10));
    assert_eq!(started(&cluster), 2, "and nothing is queued");
    cluster.says(1, load(201)).ends(1, 1, completed());
    assert_eq!(started(&cluster), 0);
    cluster.says(1, load(200));
    assert_eq!(started(&cluster), 1);
}

#[test]
fn a_machine_short_of_memory_gets_no_new_task() {
    let mut cluster = Cluster::with(Config { min_free_memory_bytes: Some(1 << 30), ..config() });
    cluster.join(1, 1).says(1, ToManager::Load { load_hundredths: 0, free_memory_bytes: 1 << 29 }).submit(1);
    assert_eq!(started(&cluster), 0);
    cluster.join(2, 1).says(2, ToManager::Load { load_hundredths: 0, free_memory_bytes: 1 << 31 });
    assert_eq!(cluster.starts(), [(2, 1, 0)]);
}

#[test]
fn starts_keep_their_distance() {
    let mut cluster = Cluster::with(Config { start_delay: Duration::from_secs(5), ..config() });
    cluster.join(1, 4).submit(3);
    assert_eq!(started(&cluster), 1);
    assert_eq!(cluster.manager.next_wake(), Some(cluster.now + Duration::from_secs(5)));
    cluster.effects.clear();
    cluster.later(5);
    assert_eq!(started(&cluster), 1);
    cluster.effects.clear();
    cluster.later(5);
    assert_eq!((started(&cluster), cluster.manager.next_wake()), (1, None));
}

#[test]
fn a_full_worker_is_no_reason_to_wake_up() {
    let mut cluster = Cluster::with(Config { start_delay: Duration::from_secs(5), ..config() });
    cluster.join(1, 1).submit(3).later(5);
    assert_eq!(cluster.manager.next_wake(), None);
}

#[test]
fn what_one_host_has_isnt_taken_back_for_an_idle_one_that_lacks_everything() {
    let mut cluster = Cluster::new();
    cluster.join(1, 1).join(2, 1).submit(40);
    // Host 1 answers at once to all that it is told, host 2 works on its first task.
    for _ in 0..200 {
        let told: Vec<(u32, ToAgent)> = cluster
            .effects
            .drain(..)
            .filter_map(|effect| match effect {
                Effect::Send { worker, message } => Some((worker.0, message)),
                _ => None,
            })
            .collect();
        if told.is_empty() {
            return;
        }
        let mut next = Vec::new();
        for (worker, message) in told {
            let outcome = Outcome::failed_by_host("no disk");
            match message {
                ToAgent::Start { attempt, .. } if worker == 1 => {
                    let finished = ToManager::Finished { attempt, outcome, process: None };
                    next.append(&mut cluster.says(worker, finished).effects);
                }
                ToAgent::Recall { attempt } => {
                    next.append(&mut cluster.says(worker, ToManager::Recalled { attempt }).effects);
                }
                _ => {}
            }
        }
        cluster.effects = next;
    }
    panic!("tasks go back and forth without end");
}
