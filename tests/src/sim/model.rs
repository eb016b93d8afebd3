//! What must be true, said a second time and more simply than the manager says it: fed with the same events, it judges each
//! effect. What it knows is what titan has been told; what agents really do is the world's to judge.

use std::collections::{BTreeMap, BTreeSet};

use titan_manager::{Capacity, Event, HostId, JobSpec, Manager, Verdict, WorkerId};
use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::{Outcome, ToManager};

use super::spool::Spool;
use super::tasks::Manners;

/// The state that the rules in `rules` judge by.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) min_workers: u32,
    pub(super) crash_limit: u32,
    pub(super) manners: Manners,
    pub(super) jobs: Vec<JobSpec>,
    pub(super) tasks: BTreeMap<TaskId, Known>,
    pub(super) attempts: BTreeMap<AttemptId, Tried>,
    pub(super) workers: BTreeMap<WorkerId, Agent>,
    pub(super) hosts: BTreeMap<HostId, Place>,
    pub(super) begun: bool,
    pub(super) cancelled: bool,
    /// Whether the batch is being ended because it can't go on.
    pub(super) given_up: bool,
    pub(super) spool: Spool,
    pub(super) verdict: Option<Verdict>,
    /// The outcome that is being handled, and whether it counts.
    pub(super) outcome: Option<Answer>,
    pub(super) acknowledged: Vec<AttemptId>,
}

/// A task, as far as titan has recorded and told it.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) end: Option<End>,
    pub(super) told: Option<Told>,
    pub(super) failures: u32,
    pub(super) losses: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    Failed,
    Cancelled,
}

/// What the sink was told of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Delivered,
    Missing,
}

/// An attempt, as far as titan has been told of it.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) task: TaskId,
    pub(super) worker: WorkerId,
    pub(super) has_started: bool,
    /// Whether it may still run or begin: its worker lives and has neither ended it nor given it back.
    pub(super) is_open: bool,
}

/// A worker.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) host: HostId,
    pub(super) capacity: Capacity,
    pub(super) is_lost: bool,
    pub(super) has_lied: bool,
    pub(super) jobs: BTreeSet<JobId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Starting,
    Up(WorkerId),
    Down,
}

/// An outcome that a worker reports.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) attempt: AttemptId,
    pub(super) outcome: Outcome,
    pub(super) counts: bool,
}

impl Model {
    pub(super) fn new(min_workers: u32, crash_limit: u32, manners: Manners) -> Self {
        Self {
            min_workers,
            crash_limit,
            manners,
            jobs: Vec::new(),
            tasks: BTreeMap::new(),
            attempts: BTreeMap::new(),
            workers: BTreeMap::new(),
            hosts: BTreeMap::new(),
            begun: false,
            cancelled: false,
            given_up: false,
            spool: Spool::default(),
            verdict: None,
            outcome: None,
            acknowledged: Vec::new(),
        }
    }

    /// Takes an event before the manager does.
    pub(super) fn observe(&mut self, event: &Event) {
        self.outcome = None;
        self.acknowledged.clear();
        match event {
            Event::Submit(spec) => {
                self.jobs.push(spec.clone());
                self.add_tasks(self.jobs.len() - 1, 0, spec.tasks);
            }
            Event::Grow { job, tasks } => {
                let job = job.0 as usize;
                let before = self.jobs[job].tasks;
                self.jobs[job].tasks += tasks;
                self.add_tasks(job, before, before + tasks);
            }
            Event::Close { job } => self.jobs[job.0 as usize].closed = true,
            Event::HostStarting { host } => drop(self.hosts.insert(*host, Place::Starting)),
            Event::HostDown { host } => {
                if let Some(Place::Up(worker)) = self.hosts.insert(*host, Place::Down) {
                    self.lose(worker);
                }
            }
            Event::WorkerJoined { host, worker, capacity } => self.join(*host, *worker, *capacity),
            Event::Message { worker, message } => self.hear(*worker, message),
            Event::SessionLost { worker } => self.on_session_lost(*worker),
            Event::Cancel => self.cancelled = true,
            Event::Heard { .. } | Event::Tick => {}
        }
    }

    fn add_tasks(&mut self, job: usize, from: u32, to: u32) {
        let job = JobId(job as u32);
        self.tasks.extend((from..to).map(|index| (TaskId { job, index }, Known::default())));
    }

    fn join(&mut self, host: HostId, worker: WorkerId, capacity: Capacity) {
        if let Some(Place::Up(before)) = self.hosts.insert(host, Place::Up(worker)) {
            self.lose(before);
        }
        let agent = Agent { host, capacity, is_lost: false, has_lied: false, jobs: BTreeSet::new() };
        assert!(self.workers.insert(worker, agent).is_none(), "a worker's name is used twice");
    }

    fn hear(&mut self, worker: WorkerId, message: &ToManager) {
        match message {
            ToManager::Started { attempt } | ToManager::AlreadyStarted { attempt } => {
                if let Some(tried) = self.held(worker, *attempt) {
                    tried.has_started = true;
                }
            }
            ToManager::Recalled { attempt } => {
                // Who says that it runs can't give it back: that is a lie, and it may still run.
                if let Some(tried) = self.held(worker, *attempt).filter(|tried| !tried.has_started) {
                    tried.is_open = false;
                }
            }
            ToManager::Finished { attempt, outcome } => {
                let ended = self.held(worker, *attempt).map(|tried| {
                    tried.is_open = false;
                    tried.task
                });
                let counts = ended.is_some_and(|task| self.tasks[&task].end.is_none());
                self.outcome = Some(Answer { attempt: *attempt, outcome: outcome.clone(), counts });
            }
        }
    }

    /// The attempt, if that worker has it.
    fn held(&mut self, worker: WorkerId, attempt: AttemptId) -> Option<&mut Tried> {
        self.attempts.get_mut(&attempt).filter(|tried| tried.worker == worker && tried.is_open)
    }

    /// A worker's session is over.
    pub(super) fn on_session_lost(&mut self, worker: WorkerId) {
        let host = self.workers[&worker].host;
        if self.hosts[&host] == Place::Up(worker) {
            self.hosts.insert(host, Place::Starting);
        }
        self.lose(worker);
    }

    fn lose(&mut self, worker: WorkerId) {
        let agent = self.workers.get_mut(&worker).expect("only workers are lost");
        if std::mem::replace(&mut agent.is_lost, true) {
            return;
        }
        for tried in self.attempts.values_mut().filter(|tried| tried.worker == worker && tried.is_open) {
            tried.is_open = false;
            let task = self.tasks.get_mut(&tried.task).expect("attempts are of tasks");
            task.losses += u32::from(tried.has_started && task.end.is_none());
        }
    }

    /// Whether that worker is large enough for something that isn't over.
    fn is_useful(&self, worker: WorkerId) -> bool {
        let Capacity { slots, memory_bytes } = self.workers[&worker].capacity;
        let slot_bytes = memory_bytes / u64::from(slots);
        let fits = |job: JobId| self.jobs[job.0 as usize].task_memory_bytes <= slot_bytes;
        let may_grow = (0..self.jobs.len() as u32).any(|job| !self.jobs[job as usize].closed && fits(JobId(job)));
        may_grow || self.tasks.iter().any(|(task, known)| known.end.is_none() && fits(task.job))
    }

    /// Whether the batch can't go on: nobody is there or coming who could do anything, or too few from the beginning.
    pub(super) fn is_hopeless(&self) -> bool {
        let useful = |place: &&Place| match **place {
            Place::Starting => true,
            Place::Up(worker) => self.is_useful(worker),
            Place::Down => false,
        };
        let useful = self.hosts.values().filter(useful).count();
        useful == 0 || (!self.begun && useful < self.min_workers as usize)
    }

    /// Takes note of how many workers are HEALTHY after a step.
    pub(super) fn note_health(&mut self, manager: &Manager) {
        let healthy = manager.workers().filter(|view| view.health == titan_manager::Health::Healthy).count();
        self.begun |= healthy >= self.min_workers as usize;
    }
}
