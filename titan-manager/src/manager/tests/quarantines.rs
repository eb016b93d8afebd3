//! Hosts with faults of their own.

use super::*;

const SPAN: Duration = Duration::from_secs(300);

fn of_host() -> Outcome {
    Outcome::failed_by_machine("no scratch folder on render1: No space left on device")
}

/// Two hosts with a slot each; the first has a fault with each task that it is given, the second is as slow as can be.
fn with_faults(tasks: u32, faults: u32) -> Cluster {
    let mut cluster = Cluster::with(Config { speculates: false, ..config() });
    cluster.starting(1).starting(2);
    cluster.submit(tasks);
    cluster.join(1, 1).join(2, 1);
    for _ in 0..faults {
        cluster.fails_on_first();
    }
    cluster
}

impl Cluster {
    /// What the first host holds fails there.
    fn fails_on_first(&mut self) -> &mut Self {
        let number = self.first_of_first();
        self.ends(1, number, of_host())
    }

    fn first_of_first(&self) -> u32 {
        let held = self.manager.attempts.iter().find(|(_, held)| held.worker == WorkerId(1));
        held.expect("the first host has a task").0.number
    }

    fn is_away(&self) -> bool {
        self.manager.workers().any(|view| view.host == HostId(1) && view.is_quarantined)
    }

    fn heard(&mut self, seconds: u64) -> &mut Self {
        for _ in 0..seconds / 5 {
            self.on(Event::Heard { worker: WorkerId(1) }).on(Event::Heard { worker: WorkerId(2) }).later(5);
        }
        self
    }
}

fn quarantined(faults: u32, span: Duration) -> Report {
    let reason = "no scratch folder on render1: No space left on device".to_owned();
    Report::Quarantined { host: HostId(1), faults, reason, span }
}

#[test]
fn three_faults_in_a_row_send_a_host_away_for_a_while() {
    let mut cluster = with_faults(9, 3);
    assert!(cluster.reported(&quarantined(3, SPAN)) && cluster.is_away());
    let queued = cluster.first_of_first();
    assert!(cluster.sent(&ToAgent::Recall { attempt: attempt(queued) }));
    cluster.says(1, ToManager::Recalled { attempt: attempt(queued) });
    assert_eq!(cluster.manager.workers().map(|view| view.running + view.waiting).collect::<Vec<_>>(), [0, 2]);
    cluster.heard(295);
    assert!(cluster.is_away());
    cluster.heard(5);
    assert!(!cluster.is_away());
    cluster.fails_on_first();
    assert!(cluster.reported(&quarantined(3, SPAN * 2)), "the next fault sends it away again, for longer");
}

#[test]
fn a_task_that_ends_well_ends_the_row() {
    let mut cluster = with_faults(9, 2);
    let number = cluster.first_of_first();
    cluster.ends(1, number, completed());
    cluster.fails_on_first().fails_on_first();
    assert!(!cluster.is_away());
    cluster.fails_on_first();
    assert!(cluster.is_away());
}

#[test]
fn the_last_host_is_never_sent_away() {
    let mut cluster = with_faults(9, 3);
    assert!(cluster.is_away());
    for _ in 0..5 {
        let (attempt, _) = cluster.manager.attempts.iter().find(|(_, held)| held.worker == WorkerId(2)).unwrap();
        let number = attempt.number;
        cluster.ends(2, number, of_host());
        assert!(cluster.manager.workers().any(|view| !view.is_quarantined));
    }
}

#[test]
fn where_there_is_nowhere_else_a_fault_of_the_host_is_a_try() {
    let mut cluster = Cluster::with(config());
    cluster.submit(1).join(1, 1);
    for failures in 1..=3 {
        let number = cluster.first_of_first();
        cluster.ends(1, number, of_host());
        assert_eq!(cluster.manager.counts().failed, u64::from(failures == 3));
    }
}

#[test]
fn a_task_goes_back_to_no_host_that_was_in_trouble_while_another_may_come() {
    let mut cluster = Cluster::with(config());
    cluster.starting(1).starting(2).submit(1).join(1, 1);
    let number = cluster.first_of_first();
    cluster.ends(1, number, of_host());
    assert_eq!(cluster.starts(), []);
    cluster.join(2, 1);
    for failures in 1..=3 {
        let (attempt, held) = cluster.manager.attempts.iter().next().unwrap();
        let (number, worker) = (attempt.number, held.worker);
        assert_eq!(worker, WorkerId(2), "and there each trouble is a try");
        cluster.ends(2, number, of_host());
        assert_eq!(cluster.manager.counts().failed, u64::from(failures == 3));
    }
}

#[test]
fn what_a_host_lacks_for_some_tasks_is_no_fault_of_its_own() {
    let mut cluster = Cluster::with(config());
    cluster.submit(9).join(1, 1).join(2, 1);
    for _ in 0..4 {
        if cluster.manager.attempts.values().any(|held| held.worker == WorkerId(1)) {
            let number = cluster.first_of_first();
            cluster.ends(1, number, Outcome::failed_by_host("ffmpeg isn't found"));
        }
    }
    assert!(!cluster.is_away());
}

#[test]
fn a_host_comes_back_when_something_waits_that_nobody_else_can_do() {
    let mut cluster = with_faults(9, 3);
    assert!(cluster.is_away());
    cluster.loses(2, true);
    assert!(cluster.reported(&Report::Released { host: HostId(1), is_needed: true }) && !cluster.is_away());
}

#[test]
fn agents_that_are_lost_again_and_again_are_faults_too() {
    let mut cluster = Cluster::with(config());
    cluster.starting(1).starting(9).submit(40).join(9, 1);
    for worker in 1..=3 {
        cluster.on(Event::WorkerJoined {
            host: HostId(1),
            worker: WorkerId(worker),
            capacity: capacity(1),
            is_alone: true,
            held: vec![],
        });
        cluster.loses(worker, true);
    }
    let reason = "its agent was lost".to_owned();
    assert!(cluster.reported(&Report::Quarantined { host: HostId(1), faults: 3, reason, span: SPAN }));
}

#[test]
fn without_a_span_no_host_is_sent_away() {
    let mut cluster = Cluster::with(Config { quarantine: Duration::ZERO, ..config() });
    cluster.submit(9).join(1, 1).join(2, 1);
    for _ in 0..5 {
        cluster.fails_on_first();
    }
    assert!(!cluster.is_away());
}

#[test]
fn the_longest_span_does_not_overflow() {
    let mut cluster = Cluster::with(Config { quarantine: Duration::MAX, ..config() });
    cluster.submit(9).join(1, 1).join(2, 1);
    for _ in 0..3 {
        cluster.fails_on_first();
    }
    assert!(cluster.is_away());
}
