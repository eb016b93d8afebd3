//! Scheduling cases in a few lines each: a cluster of workers that answer as told.

use std::time::Duration;

use titan_proto::id::{AttemptId, Epoch, JobId, TaskId};
use titan_proto::message::{Outcome, ResultSummary, ToAgent, ToManager, Work};
use titan_proto::time::Timestamp;

use super::*;
use crate::effect::Report;
use crate::event::Capacity;
use crate::policy::PolicyKind;

struct Cluster {
    manager: Manager,
    now: Timestamp,
    effects: Vec<Effect>,
}

impl Cluster {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Self { manager: Manager::new(config), now: Timestamp::default(), effects: Vec::new() }
    }

    fn on(&mut self, event: Event) -> &mut Self {
        self.effects.clear();
        self.manager.handle(self.now, event, &mut self.effects);
        self.manager.check();
        self
    }

    fn later(&mut self, seconds: u64) -> &mut Self {
        for _ in 0..seconds / 5 {
            self.now = self.now + Duration::from_secs(5);
            self.manager.handle(self.now, Event::Tick, &mut self.effects);
            self.manager.check();
        }
        self
    }

    fn submit(&mut self, tasks: u32) -> &mut Self {
        self.on(Event::Submit(spec(tasks)))
    }

    fn join(&mut self, number: u32, slots: u32) -> &mut Self {
        let capacity = Capacity { slots, memory_bytes: u64::from(slots) << 30 };
        self.on(Event::WorkerJoined { host: HostId(number), worker: WorkerId(number), capacity })
    }

    fn says(&mut self, worker: u32, message: ToManager) -> &mut Self {
        self.on(Event::Message { worker: WorkerId(worker), message })
    }

    fn ends(&mut self, worker: u32, number: u32, outcome: Outcome) -> &mut Self {
        self.says(worker, ToManager::Finished { attempt: attempt(number), outcome })
    }

    /// (worker, attempt, task) of each start in the last effects.
    fn starts(&self) -> Vec<(u32, u32, u32)> {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Send { worker, message: ToAgent::Start { attempt, task } } => {
                    Some((worker.0, attempt.number, task.index))
                }
                _ => None,
            })
            .collect()
    }

    fn sent(&self, wanted: &ToAgent) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Send { message, .. } if message == wanted))
    }

    fn verdict(&self) -> Option<Verdict> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Finished(verdict) => Some(*verdict),
            _ => None,
        })
    }
}

fn spec(tasks: u32) -> JobSpec {
    let work = Work::Kernel { name: "test".into(), params: vec![] };
    JobSpec { work, tasks, closed: true, retries: 2, task_memory_bytes: 0, rerunnable: true }
}

fn attempt(number: u32) -> AttemptId {
    AttemptId { epoch: Epoch(1), number }
}

fn task(index: u32) -> TaskId {
    TaskId { job: JobId(0), index }
}

fn completed() -> Outcome {
    Outcome::Completed(ResultSummary { bytes: 1, crc: 2, compute_us: 3 })
}

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
    let record = place(|effect| matches!(effect, Effect::Record(Record::Completed { .. })));
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
    assert!(cluster.effects.contains(&Effect::Missing { task: task(0) }));
}

#[test]
fn a_failed_attempt_is_tried_again_on_the_only_worker() {
    let mut cluster = Cluster::new();
    cluster.submit(1).join(1, 1).ends(1, 1, Outcome::failed("no"));
    assert_eq!(cluster.starts(), [(1, 2, 0)]);
}

#[test]
fn a_lost_worker_gives_its_tasks_back() {
    let mut cluster = Cluster::new();
    cluster.submit(4).join(1, 2).on(Event::SessionLost { worker: WorkerId(1) });
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
        cluster.on(Event::SessionLost { worker: WorkerId(number) });
    }
    assert_eq!(cluster.verdict().map(|verdict| verdict.failed), Some(1));
}

#[test]
fn losses_before_a_task_began_do_not_count() {
    let mut cluster = Cluster::new();
    cluster.submit(1);
    for number in 1..=9 {
        cluster.join(number, 1).on(Event::SessionLost { worker: WorkerId(number) });
    }
    assert_eq!(cluster.verdict(), None);
}

#[test]
fn nothing_starts_before_min_workers_are_there() {
    let mut cluster = Cluster::with(Config { min_workers: 2, ..Config::default() });
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
    let mut cluster = Cluster::with(Config { min_workers: 2, ..Config::default() });
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
    cluster.on(Event::Submit(JobSpec { task_memory_bytes: 2 << 30, ..spec(1) }));
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
    cluster.submit(1).on(Event::Submit(JobSpec { task_memory_bytes: 2 << 30, ..spec(2) })).join(1, 1);
    assert_eq!(cluster.verdict(), None, "the small one runs");
    cluster.ends(1, 1, completed());
    let verdict = Verdict { end: End::NoWorkers, completed: 1, failed: 0, cancelled: 2 };
    assert_eq!(cluster.verdict(), Some(verdict));
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
    cluster.on(Event::Submit(JobSpec { closed: false, ..spec(1) })).join(1, 1).ends(1, 1, completed());
    assert_eq!(cluster.verdict(), None);
    cluster.on(Event::Grow { job: JobId(0), tasks: 1 });
    assert_eq!(cluster.starts(), [(1, 2, 1)]);
    cluster.on(Event::Close { job: JobId(0) }).ends(1, 2, completed());
    assert_eq!(cluster.verdict().map(|verdict| verdict.completed), Some(2));
}

#[test]
fn round_robin_takes_turns() {
    let mut cluster = Cluster::with(Config { policy: PolicyKind::RoundRobin, ..Config::default() });
    cluster.join(1, 4).join(2, 4).submit(4);
    let workers: Vec<u32> = cluster.starts().iter().map(|start| start.0).collect();
    assert_eq!(workers, [1, 2, 1, 2]);
}

#[test]
fn a_million_tasks_are_small() {
    let mut cluster = Cluster::new();
    cluster.manager.handle(cluster.now, Event::Submit(spec(1_000_000)), &mut cluster.effects);
    assert!(size_of::<Task>() <= 40, "{}", size_of::<Task>());
    assert_eq!(cluster.manager.counts().total, 1_000_000);
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
