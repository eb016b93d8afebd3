//! Scheduling cases in a few lines each: a cluster of workers that answer as told.

use std::time::Duration;

use titan_proto::files::BlobId;
use titan_proto::id::{AttemptId, Epoch, JobId, TaskId};
use titan_proto::message::{Fault, Held, HeldState, Outcome, Part, ResultSummary, ToAgent, ToManager, Work};
use titan_proto::time::Timestamp;

use super::*;
use crate::effect::{End, Kept, Record, Report, TaskEnd};
use crate::event::{Capacity, Dependency, JobSpec, Request, Rerun, WorkerId};
use crate::journal::Entry;
use crate::policy::PolicyKind;
use crate::task::Lifecycle;
use crate::worker::Health;

mod commits;
mod dependencies;
mod fuzz;
mod holds;
mod hosts;
mod lacks;
mod quarantines;
mod requests;
mod resumes;
mod stops;
mod stragglers;
mod tasks;

/// The lease of these cases is a minute.
fn config() -> Config {
    Config { lease: Duration::from_secs(60), ..Config::default() }
}

struct Cluster {
    manager: Manager,
    now: Timestamp,
    effects: Vec<Effect>,
    /// All that was recorded.
    journal: Vec<Entry>,
}

impl Cluster {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: Config) -> Self {
        let began = Entry::Began {
            epoch: config.epoch,
            boot: "boot".into(),
            hosts: Vec::new(),
            jobs: Vec::new(),
            plan: BlobId([0; 32]),
            retries_failed: false,
            at_ms: 0,
        };
        let (now, effects) = (Timestamp::default(), Vec::new());
        Self { manager: Manager::new(config), now, effects, journal: vec![began] }
    }

    fn on(&mut self, event: Event) -> &mut Self {
        self.effects.clear();
        self.manager.handle(self.now, event, &mut self.effects);
        self.manager.check();
        let records = self.effects.iter().filter_map(|effect| match effect {
            Effect::Record(record) => Some(Entry::Manager { record: record.clone(), at_ms: 0 }),
            _ => None,
        });
        self.journal.extend(records);
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
        self.on(Event::Submit(vec![spec(tasks)]))
    }

    fn join(&mut self, number: u32, slots: u32) -> &mut Self {
        self.join_with(number, capacity(slots))
    }

    fn join_with(&mut self, number: u32, capacity: Capacity) -> &mut Self {
        self.on(Event::WorkerJoined {
            host: HostId(number),
            worker: WorkerId(number),
            capacity,
            is_alone: false,
            held: vec![],
        })
    }

    fn starting(&mut self, number: u32) -> &mut Self {
        self.on(Event::HostStarting { host: HostId(number) })
    }

    fn down(&mut self, number: u32) -> &mut Self {
        self.on(Event::HostDown { host: HostId(number) })
    }

    fn fails_to_start(&mut self, number: u32) -> &mut Self {
        self.on(Event::StartFailed { host: HostId(number) })
    }

    fn loses(&mut self, worker: u32, is_dead: bool) -> &mut Self {
        self.on(Event::SessionLost { worker: WorkerId(worker), is_dead })
    }

    fn begins(&mut self, worker: u32, number: u32) -> &mut Self {
        self.says(worker, ToManager::Started { attempt: attempt(number) })
    }

    fn says(&mut self, worker: u32, message: ToManager) -> &mut Self {
        self.on(Event::Message { worker: WorkerId(worker), message })
    }

    fn ends(&mut self, worker: u32, number: u32, outcome: Outcome) -> &mut Self {
        self.says(worker, ToManager::Finished { attempt: attempt(number), outcome, process: None })
    }

    /// (worker, attempt, task) of each start in the last effects.
    fn starts(&self) -> Vec<(u32, u32, u32)> {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Send { worker, message: ToAgent::Start { attempt, task, .. } } => {
                    Some((worker.0, attempt.number, task.index))
                }
                _ => None,
            })
            .collect()
    }

    fn sent(&self, wanted: &ToAgent) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Send { message, .. } if message == wanted))
    }

    fn reported(&self, wanted: &Report) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Report(report) if report == wanted))
    }

    /// What the sink was told in the last effects.
    fn delivered(&self) -> Vec<&TaskEnd> {
        let told = self.effects.iter().filter_map(|effect| match effect {
            Effect::Deliver(end) => Some(end),
            _ => None,
        });
        told.collect()
    }

    fn verdict(&self) -> Option<Verdict> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Finished(verdict) => Some(*verdict),
            _ => None,
        })
    }
}

fn spec(tasks: u32) -> JobSpec {
    let work = Work::Kernel { name: "test".into(), params: vec![], timeout_ms: 0 };
    JobSpec { retries: 2, ..JobSpec::new("job", work, tasks) }
}

fn capacity(slots: u32) -> Capacity {
    Capacity { slots, cores: slots, memory_bytes: u64::from(slots) << 30, ..Capacity::default() }
}

fn verdict(end: End, completed: u64, failed: u64, cancelled: u64) -> Option<Verdict> {
    Some(Verdict { end, completed, failed, cancelled })
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
