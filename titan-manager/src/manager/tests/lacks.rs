//! Hosts that lack what a task needs.

use super::*;

fn lacks(host: u32) -> Outcome {
    Outcome::failed_by_host(format!("ffmpeg isn't found on render{host}"))
}

#[test]
fn a_host_that_lacks_something_costs_no_try_and_is_never_asked_again() {
    let mut cluster = Cluster::new();
    cluster.on(Event::Submit(vec![JobSpec { retries: 0, ..spec(1) }])).join(1, 1).join(2, 1).ends(1, 1, lacks(1));
    let reason = "ffmpeg isn't found on render1".to_owned();
    assert!(cluster.reported(&Report::HostLacks { task: task(0), host: HostId(1), reason }));
    assert_eq!(cluster.starts(), [(2, 2, 0)]);
    cluster.loses(2, true);
    assert_eq!(cluster.starts(), [], "host 2 may come back");
    cluster.join(3, 1).ends(3, 3, completed());
    assert_eq!(cluster.verdict(), verdict(End::Done, 1, 0, 0));
}

#[test]
fn a_task_that_every_host_lacks_something_for_fails_and_lists_them() {
    let mut cluster = Cluster::new();
    cluster.submit(1).join(1, 1).join(2, 1).ends(1, 1, lacks(1)).ends(2, 2, lacks(2));
    assert_eq!(cluster.verdict(), verdict(End::Done, 0, 1, 0));
    let end = cluster.delivered()[0];
    let listed = "ffmpeg isn't found on render1; ffmpeg isn't found on render2";
    assert_eq!((end.reason.as_deref(), end.attempt, end.attempts), (Some(listed), Some(attempt(2)), 2));
}

#[test]
fn a_host_that_is_being_started_may_have_it() {
    let mut cluster = Cluster::new();
    cluster.starting(2).submit(1).join(1, 1).ends(1, 1, lacks(1));
    assert_eq!(cluster.verdict(), None);
    cluster.down(2);
    assert_eq!(cluster.verdict(), verdict(End::Done, 0, 1, 0));
    assert_eq!(cluster.delivered()[0].reason.as_deref(), Some("ffmpeg isn't found on render1"));
}

#[test]
fn the_list_of_hosts_is_bounded() {
    let mut cluster = Cluster::new();
    cluster.submit(1);
    for host in 1..=40 {
        cluster.starting(host);
    }
    for host in 1..=40 {
        let long = format!("no ffmpeg on {host} {}", "x".repeat(1_000));
        cluster.join(host, 1).ends(host, host, Outcome::failed_by_host(long));
    }
    let reason = cluster.delivered()[0].reason.clone().unwrap();
    assert!(reason.chars().count() <= 2_000, "{}", reason.len());
}

#[test]
fn a_host_that_turns_away_one_task_after_another_is_spared_the_rest() {
    let mut cluster = Cluster::new();
    cluster.submit(100).join(1, 1).join(2, 1);
    let mut turned_away = 0;
    for _ in 0..20 {
        let on_first = cluster.manager.attempts.iter().find(|(_, held)| held.worker == WorkerId(1));
        let Some((&held, _)) = on_first else { break };
        cluster.ends(1, held.number, lacks(1));
        turned_away += 1;
    }
    assert!((3..=4).contains(&turned_away), "{turned_away}");
    assert_eq!(cluster.manager.ended.failed, 0);
}

fn setup_fails(host: u32) -> Outcome {
    Outcome::setup_failed(format!("setup failed on render{host} (exit status: 1): no module"))
}

#[test]
fn a_host_on_which_a_jobs_setup_fails_gets_no_more_of_that_job() {
    let mut cluster = Cluster::new();
    cluster.submit(50).submit(2).join(1, 1).join(2, 1);
    cluster.starts();
    cluster.ends(1, 1, setup_fails(1));
    let reason = "setup failed on render1 (exit status: 1): no module".to_owned();
    assert!(cluster.reported(&Report::SetupFailed { task: task(0), host: HostId(1), reason }));
    let on_first = cluster.manager.attempts.values().filter(|held| held.worker == WorkerId(1));
    let of_first_job = on_first.filter(|held| held.task.job == JobId(0)).count();
    assert!(of_first_job <= 1, "{of_first_job}: only what was on its way");
    for _ in 0..200 {
        let Some((&id, held)) = cluster.manager.attempts.iter().next() else { break };
        let (worker, job) = (held.worker.0, held.task.job);
        let outcome = if worker == 1 && job == JobId(0) { setup_fails(1) } else { completed() };
        cluster.ends(worker, id.number, outcome);
    }
    assert_eq!(cluster.verdict(), verdict(End::Done, 52, 0, 0));
}

#[test]
fn a_batch_whose_setup_fails_on_every_host_has_no_workers() {
    let mut cluster = Cluster::new();
    cluster.submit(3).join(1, 1).join(2, 1);
    for _ in 0..6 {
        let Some((&id, held)) = cluster.manager.attempts.iter().next() else { break };
        let worker = held.worker.0;
        cluster.ends(worker, id.number, setup_fails(worker));
    }
    assert_eq!(cluster.verdict(), verdict(End::NoWorkers, 0, 0, 3));
}

#[test]
fn a_task_whose_hosts_fail_its_setup_or_lack_something_fails_and_lists_both() {
    let mut cluster = Cluster::new();
    cluster.submit(1).submit(1).join(1, 1).join(2, 1);
    cluster.ends(1, 1, setup_fails(1)).ends(2, 2, completed());
    cluster.ends(2, 3, lacks(2));
    let end = cluster.delivered().into_iter().find(|end| end.task == task(0)).unwrap();
    let listed = "setup failed on render1 (exit status: 1): no module; ffmpeg isn't found on render2";
    assert_eq!(end.reason.as_deref(), Some(listed));
}
