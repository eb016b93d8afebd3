//! Managers that go on where an earlier one was when it died.

use super::*;
use crate::journal::Past;

impl Cluster {
    /// The manager dies, and another one goes on with what was noted.
    fn dies(self, retries_failed: bool) -> Self {
        let epoch = Epoch(2);
        let mut journal = self.journal;
        journal.push(Entry::Began {
            epoch,
            boot: "boot".into(),
            hosts: Vec::new(),
            jobs: Vec::new(),
            plan: BlobId([0; 32]),
            retries_failed,
            at_ms: 0,
        });
        let mut past = Past::of(journal.clone());
        past.epoch = Epoch(1);
        let manager = Manager::resumed(Config { epoch, ..config() }, past);
        Self { manager, journal, ..self }
    }

    fn tells(&mut self, index: u32) -> &mut Self {
        self.journal.push(Entry::Told { task: task(index) });
        self
    }
}

fn with(change: impl FnOnce(&mut JobSpec)) -> Event {
    let mut spec = JobSpec { retries: 0, ..spec(4) };
    change(&mut spec);
    Event::Submit(vec![spec])
}

fn tasks_started(cluster: &Cluster) -> Vec<u32> {
    cluster.starts().into_iter().map(|(_, _, task)| task).collect()
}

#[test]
fn what_is_completed_is_never_run_again_and_told_once_more_only_if_it_wasnt() {
    let mut cluster = Cluster::new();
    cluster.join(1, 2).on(with(|_| ()));
    cluster.ends(1, 1, completed()).ends(1, 2, completed()).tells(0);
    let mut cluster = cluster.dies(false);
    cluster.on(with(|_| ()));
    let told: Vec<u32> = cluster.delivered().iter().map(|end| end.task.index).collect();
    assert_eq!(told, [1]);
    cluster.join(2, 4);
    assert_eq!(tasks_started(&cluster), [2, 3]);
    let first = |effect: &Effect| match effect {
        Effect::Send { message: ToAgent::Start { attempt, .. }, .. } => Some(*attempt),
        _ => None,
    };
    let started: Vec<AttemptId> = cluster.effects.iter().filter_map(first).collect();
    assert!(started.iter().all(|attempt| attempt.epoch == Epoch(2)), "{started:?}");
    for attempt in started {
        cluster.says(2, ToManager::Finished { attempt, outcome: completed(), process: None });
    }
    assert_eq!(cluster.verdict(), verdict(End::Done, 4, 0, 0));
}

#[test]
fn what_was_kept_is_put_in_its_place_without_a_worker() {
    let mut cluster = Cluster::new();
    cluster.join(1, 1).on(with(|spec| (spec.tasks, spec.commits) = (1, true))).ends(1, 1, completed());
    let mut cluster = cluster.dies(false);
    cluster.on(with(|spec| (spec.tasks, spec.commits) = (1, true)));
    assert!(cluster.effects.contains(&Effect::Commit { task: task(0) }));
    cluster.on(Event::Committed { task: task(0), problem: None });
    let [end] = cluster.delivered()[..] else { panic!("{:?}", cluster.effects) };
    assert_eq!((end.attempt, end.host, end.state), (Some(attempt(1)), Some(HostId(1)), Lifecycle::Completed));
    assert_eq!(cluster.verdict(), verdict(End::Done, 1, 0, 0));
}

#[test]
fn what_failed_stays_failed_unless_it_is_to_be_tried_again() {
    let died = || {
        let mut cluster = Cluster::new();
        cluster.join(1, 4).on(with(|_| ()));
        cluster.ends(1, 1, Outcome::failed("exit 1")).tells(0).on(Event::Cancel);
        cluster
    };
    let mut cluster = died().dies(false);
    cluster.on(with(|_| ())).join(2, 4);
    assert_eq!(cluster.manager.lifecycle(task(0)), Lifecycle::Failed);
    assert_eq!(cluster.manager.counts().scheduled, 3);
    let mut cluster = died().dies(true);
    cluster.on(with(|_| ())).join(2, 4);
    assert_eq!(cluster.manager.counts().scheduled, 4);
}

#[test]
fn tries_that_failed_count_in_the_next_life() {
    let mut cluster = Cluster::new();
    let twice = || with(|spec| (spec.tasks, spec.retries) = (1, 1));
    cluster.join(1, 1).on(twice()).ends(1, 1, Outcome::failed("exit 1"));
    let mut cluster = cluster.dies(false);
    cluster.on(twice()).join(2, 1);
    let attempt = AttemptId { epoch: Epoch(2), number: 1 };
    let outcome = Outcome::failed("exit 1");
    cluster.says(2, ToManager::Finished { attempt, outcome, process: None });
    assert_eq!(cluster.verdict(), verdict(End::Done, 0, 1, 0));
    assert_eq!(cluster.delivered()[0].attempts, 2);
}

#[test]
fn what_may_not_run_twice_waits_until_the_lease_of_the_earlier_agent_is_over() {
    let lost = || with(|spec| (spec.tasks, spec.rerun) = (2, Rerun::Lost));
    let mut cluster = Cluster::new();
    cluster.join(1, 2).on(lost()).begins(1, 1);
    let mut cluster = cluster.dies(false);
    cluster.on(lost());
    // One runs, and one may have begun unheard.
    let span = config().lease + Duration::from_secs(10);
    let held = |cluster: &Cluster| {
        let left = span - Duration::from_secs(10);
        cluster.reported(&Report::Held { host: HostId(1), tasks: 2, span: left })
    };
    assert!(!held(&cluster), "its host is there a moment later, most often");
    cluster.join(2, 4);
    assert_eq!(cluster.starts(), []);
    assert!(held(cluster.later(10)));
    cluster.later(span.as_secs() - 10).join(3, 4);
    assert_eq!(cluster.starts().len(), 2);
}

#[test]
fn an_agent_that_knows_itself_alone_on_its_host_releases_what_waited_for_the_one_before() {
    let lost = || with(|spec| (spec.tasks, spec.rerun) = (2, Rerun::Lost));
    let mut cluster = Cluster::new();
    cluster.join(1, 2).on(lost());
    let mut cluster = cluster.dies(false);
    cluster.on(lost()).join(2, 4);
    assert_eq!(cluster.starts(), []);
    let (host, worker) = (HostId(1), WorkerId(3));
    cluster.on(Event::WorkerJoined { host, worker, capacity: capacity(1), is_alone: true, held: vec![] });
    assert_eq!(cluster.starts().len(), 2);
}

#[test]
fn what_still_runs_goes_on_for_the_next_manager_and_what_is_over_is_forgotten() {
    let lost = || with(|spec| (spec.tasks, spec.rerun) = (3, Rerun::Lost));
    let mut cluster = Cluster::new();
    cluster.join(1, 3).on(lost()).begins(1, 1).begins(1, 2).ends(1, 3, completed());
    let mut cluster = cluster.dies(false);
    cluster.on(lost());
    let held = |number, index| Held { attempt: attempt(number), task: task(index), state: HeldState::Runs, from: 0 };
    let held = vec![held(1, 0), held(3, 2), held(9, 77)];
    let (host, worker) = (HostId(1), WorkerId(2));
    cluster.on(Event::WorkerJoined { host, worker, capacity: capacity(3), is_alone: true, held });
    assert!(cluster.sent(&ToAgent::Adopt { attempt: attempt(1), task: task(0), have: 0 }));
    // What it goes on with for nothing is stopped, and heard of until it has; nobody knows what the last one is.
    assert!(cluster.sent(&ToAgent::Cancel { attempt: attempt(3) }));
    assert!(cluster.sent(&ToAgent::Forget { attempt: attempt(9) }));
    // What the agent hasn't any more is started again, there and then.
    assert_eq!(cluster.starts(), [(2, 1, 1)]);
    cluster.ends(2, 1, completed());
    assert_eq!(cluster.manager.lifecycle(task(0)), Lifecycle::Completed);
    assert_eq!(cluster.delivered()[0].attempt, Some(attempt(1)));
}

#[test]
fn of_two_attempts_at_a_task_on_one_host_one_is_stopped() {
    let mut cluster = Cluster::new();
    cluster.join(1, 2).submit(1);
    let mut cluster = cluster.dies(false);
    cluster.submit(1);
    let held =
        [1, 2].map(|number| Held { attempt: attempt(number), task: task(0), state: HeldState::Runs, from: 0 }).to_vec();
    let (host, worker) = (HostId(1), WorkerId(2));
    cluster.on(Event::WorkerJoined { host, worker, capacity: capacity(2), is_alone: false, held });
    assert!(cluster.sent(&ToAgent::Adopt { attempt: attempt(1), task: task(0), have: 0 }));
    assert!(cluster.sent(&ToAgent::Cancel { attempt: attempt(2) }));
}

#[test]
fn what_is_known_to_be_over_is_waited_for_by_nobody() {
    let lost = || with(|spec| spec.rerun = Rerun::Lost);
    let mut cluster = Cluster::new();
    cluster.join(1, 4).on(lost()).loses(1, true);
    let mut cluster = cluster.dies(false);
    cluster.on(lost()).join(2, 4);
    assert_eq!(cluster.starts().len(), 4);
}

#[test]
fn what_waited_for_others_goes_on_waiting_or_not() {
    let chain = || {
        let after = vec![Dependency { job: JobId(0), each: false, any_end: false }];
        Event::Submit(vec![JobSpec { retries: 0, ..spec(2) }, JobSpec { after, ..spec(1) }])
    };
    let mut cluster = Cluster::new();
    cluster.join(1, 2).on(chain()).ends(1, 1, completed());
    let mut half = cluster.dies(false);
    half.on(chain()).join(2, 4);
    assert_eq!(half.starts(), [(2, 1, 1)]);
    let attempt = AttemptId { epoch: Epoch(2), number: 1 };
    half.says(2, ToManager::Finished { attempt, outcome: completed(), process: None });
    assert_eq!(half.starts(), [(2, 2, 0)]);
    let mut cluster = Cluster::new();
    cluster.join(1, 2).on(chain()).ends(1, 1, completed()).ends(1, 2, completed());
    let mut whole = cluster.dies(false);
    whole.on(chain()).join(2, 4);
    assert_eq!(whole.starts(), [(2, 1, 0)]);
}

#[test]
fn a_batch_that_is_over_ends_at_once() {
    let mut cluster = Cluster::new();
    cluster.join(1, 4).on(with(|_| ()));
    for number in 1..=4 {
        cluster.ends(1, number, completed()).tells(number - 1);
    }
    let mut cluster = cluster.dies(false);
    cluster.on(with(|_| ()));
    assert_eq!(cluster.verdict(), verdict(End::Done, 4, 0, 0));
}
