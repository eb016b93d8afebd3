//! The state, the one door to it, and the way of each event. What events mean for placement, outcomes and health stands in
//! the modules below; nothing else changes the state.

mod check;
mod health;
mod outcome;
mod placement;

use std::collections::BTreeMap;

use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::ToAgent;
use titan_proto::time::Timestamp;

use crate::config::Config;
use crate::effect::{Effect, End, Record, Verdict};
use crate::event::{Event, HostId, JobSpec, WorkerId};
use crate::policy::Policy;
use crate::queue::Queue;
use crate::task::{Job, Lifecycle, Task, TaskState};
use crate::worker::{Attempt, Health, HostState, Phase, Worker};

/// Decides. Fed by [`Manager::handle`], read by anybody.
#[derive(Debug)]
pub struct Manager {
    config: Config,
    policy: Box<dyn Policy>,
    jobs: Vec<Job>,
    queue: Queue,
    /// The host on which a task failed or was lost last: it goes elsewhere where there is an elsewhere.
    avoid: BTreeMap<TaskId, HostId>,
    attempts: BTreeMap<AttemptId, Attempt>,
    next_attempt: u32,
    hosts: BTreeMap<HostId, HostState>,
    workers: BTreeMap<WorkerId, Worker>,
    last_tick: Option<Timestamp>,
    /// Whether `min_workers` were HEALTHY at once; stays true.
    begun: bool,
    cancelled: bool,
    ended: Ended,
    verdict: Option<Verdict>,
}

/// How many tasks are in each final state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ended {
    completed: u64,
    failed: u64,
    cancelled: u64,
}

/// How many tasks are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tasks of all jobs so far.
    pub total: u64,
    /// SCHEDULED.
    pub scheduled: u64,
    /// RUNNING.
    pub running: u64,
    /// COMPLETED.
    pub completed: u64,
    /// FAILED.
    pub failed: u64,
    /// CANCELLED.
    pub cancelled: u64,
}

/// What can be told of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerView {
    /// Its host.
    pub host: HostId,
    /// Whether it gets new work.
    pub health: Health,
    /// Its slots.
    pub slots: u32,
    /// Attempts that it says it runs.
    pub running: u32,
    /// Attempts that it holds beyond those.
    pub waiting: u32,
}

impl Manager {
    /// A manager to which nothing has happened yet.
    pub fn new(config: Config) -> Self {
        Self {
            policy: config.policy.build(),
            config,
            jobs: Vec::new(),
            queue: Queue::default(),
            avoid: BTreeMap::new(),
            attempts: BTreeMap::new(),
            next_attempt: 1,
            hosts: BTreeMap::new(),
            workers: BTreeMap::new(),
            last_tick: None,
            begun: false,
            cancelled: false,
            ended: Ended::default(),
            verdict: None,
        }
    }

    /// Takes an event and appends what is to be done about it, in order. After [`Effect::Finished`] nothing changes any
    /// more.
    pub fn handle(&mut self, now: Timestamp, event: Event, effects: &mut Vec<Effect>) {
        if self.verdict.is_some() {
            return;
        }
        match event {
            Event::Submit(spec) => self.on_submit(spec, effects),
            Event::Grow { job, tasks } => self.on_grow(job, tasks, effects),
            Event::Close { job } => self.on_close(job, effects),
            Event::HostStarting { host } => self.on_host_starting(host),
            Event::HostDown { host } => self.on_host_down(host, effects),
            Event::WorkerJoined { host, worker, capacity } => {
                self.on_worker_joined(now, host, worker, capacity, effects);
            }
            Event::Message { worker, message } => {
                self.on_heard(now, worker, effects);
                self.on_message(worker, message, effects);
            }
            Event::Heard { worker } => self.on_heard(now, worker, effects),
            Event::SessionLost { worker } => self.on_session_lost(worker, effects),
            Event::Cancel => self.on_cancel(effects),
            Event::Tick => self.on_tick(now, effects),
        }
        self.place(effects);
        self.take_back_for_idle(effects);
        self.finish(effects);
    }

    fn on_submit(&mut self, spec: JobSpec, effects: &mut Vec<Effect>) {
        let job = JobId(self.jobs.len() as u32);
        let (tasks, closed) = (spec.tasks, spec.closed);
        self.jobs.push(Job { spec: JobSpec { closed: false, ..spec }, tasks: Vec::new() });
        effects.push(Effect::Record(Record::Submitted { job, tasks }));
        self.add_tasks(job, tasks);
        if closed {
            self.on_close(job, effects);
        }
        if self.cancelled {
            self.cancel_pending(effects);
        }
    }

    fn on_grow(&mut self, job: JobId, tasks: u32, effects: &mut Vec<Effect>) {
        assert!(!self.job(job).spec.closed, "a closed job grows");
        effects.push(Effect::Record(Record::Grown { job, tasks }));
        self.add_tasks(job, tasks);
        if self.cancelled {
            self.cancel_pending(effects);
        }
    }

    fn add_tasks(&mut self, job: JobId, tasks: u32) {
        self.queue.grow(job, tasks);
        let slot = &mut self.jobs[job.0 as usize];
        slot.tasks.resize(slot.tasks.len() + tasks as usize, Task::default());
        slot.spec.tasks = slot.tasks.len() as u32;
    }

    fn on_close(&mut self, job: JobId, effects: &mut Vec<Effect>) {
        self.jobs[job.0 as usize].spec.closed = true;
        effects.push(Effect::Record(Record::Closed { job }));
    }

    fn on_cancel(&mut self, effects: &mut Vec<Effect>) {
        self.cancelled = true;
        self.cancel_pending(effects);
        let live: Vec<AttemptId> =
            self.attempts.iter().filter(|(_, attempt)| attempt.phase.is_live()).map(|(&id, _)| id).collect();
        for attempt in live {
            let worker = self.attempts[&attempt].worker;
            effects.push(Effect::Send { worker, message: ToAgent::Cancel { attempt } });
        }
    }

    fn cancel_pending(&mut self, effects: &mut Vec<Effect>) {
        for task in self.queue.drain() {
            if self.task(task).state == TaskState::Pending {
                self.cancel_task(task, effects);
            }
        }
    }

    fn finish(&mut self, effects: &mut Vec<Effect>) {
        let end = match self.all_ended() {
            true if self.cancelled => End::Cancelled,
            true => End::Done,
            false if self.has_no_workers() => End::NoWorkers,
            false => return,
        };
        if end == End::NoWorkers {
            self.cancelled = true;
            self.cancel_pending(effects);
        }
        let Ended { completed, failed, cancelled } = self.ended;
        let verdict = Verdict { end, completed, failed, cancelled };
        self.verdict = Some(verdict);
        effects.push(Effect::Finished(verdict));
    }

    fn all_ended(&self) -> bool {
        let Ended { completed, failed, cancelled } = self.ended;
        !self.jobs.is_empty()
            && (self.cancelled || self.jobs.iter().all(|job| job.spec.closed))
            && completed + failed + cancelled == self.total()
    }

    fn total(&self) -> u64 {
        self.jobs.iter().map(|job| job.tasks.len() as u64).sum()
    }

    fn job(&self, job: JobId) -> &Job {
        &self.jobs[job.0 as usize]
    }

    fn task(&self, task: TaskId) -> &Task {
        &self.jobs[task.job.0 as usize].tasks[task.index as usize]
    }

    fn task_mut(&mut self, task: TaskId) -> &mut Task {
        &mut self.jobs[task.job.0 as usize].tasks[task.index as usize]
    }

    /// Where that task is in its life.
    pub fn lifecycle(&self, task: TaskId) -> Lifecycle {
        match self.task(task).state {
            TaskState::Pending => Lifecycle::Pending,
            TaskState::Live(live) if live.iter().any(|attempt| self.attempts[&attempt].phase == Phase::Running) => {
                Lifecycle::Running
            }
            TaskState::Live(_) => Lifecycle::Scheduled,
            TaskState::Completed => Lifecycle::Completed,
            TaskState::Failed => Lifecycle::Failed,
            TaskState::Cancelled => Lifecycle::Cancelled,
        }
    }

    /// How many tasks are in each state.
    pub fn counts(&self) -> Counts {
        let Ended { completed, failed, cancelled } = self.ended;
        let mut counts = Counts { total: self.total(), completed, failed, cancelled, ..Counts::default() };
        for (&id, attempt) in &self.attempts {
            let TaskState::Live(live) = self.task(attempt.task).state else { continue };
            if live.first == id {
                match self.lifecycle(attempt.task) {
                    Lifecycle::Running => counts.running += 1,
                    _ => counts.scheduled += 1,
                }
            }
        }
        counts
    }

    /// The workers, in the order of their joining.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> + '_ {
        self.workers.values().map(|worker| {
            let runs = |id: &&AttemptId| self.attempts[id].phase == Phase::Running;
            let running = worker.attempts.iter().filter(runs).count() as u32;
            let waiting = worker.held() - running;
            WorkerView { host: worker.host, health: worker.health, slots: worker.capacity.slots, running, waiting }
        })
    }
}

#[cfg(test)]
mod tests;
