//! What can be asked of the manager: for progress, and for tests.

use titan_proto::id::{AttemptId, TaskId};
use titan_proto::time::Timestamp;

use super::requests::what_is_asked;
use super::{Ended, Manager};
use crate::event::HostId;
use crate::task::{Gate, Lifecycle, TaskState};
use crate::worker::{Health, Phase};

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
    /// Whether there may be more than those.
    pub is_growing: bool,
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
    /// Whether it gets no tasks because of its host's faults.
    pub is_quarantined: bool,
}

impl Manager {
    /// Whether an attempt's outcome counts.
    pub fn is_live(&self, attempt: AttemptId) -> bool {
        self.attempts.get(&attempt).is_some_and(|held| held.phase.is_live())
    }

    /// When time alone will change something, so that a tick then finds something to do.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let released = self.held.values().map(|hold| hold.until).min();
        released
            .into_iter()
            .chain(self.delayed_until)
            .chain(self.next_release())
            .min()
            .filter(|_| self.verdict.is_none())
    }

    /// Where that task is in its life.
    pub fn lifecycle(&self, task: TaskId) -> Lifecycle {
        match self.task(task).state {
            TaskState::Pending => Lifecycle::Pending,
            TaskState::Live(live) if live.iter().any(|attempt| self.attempts[&attempt].phase == Phase::Running) => {
                Lifecycle::Running
            }
            TaskState::Live(_) => Lifecycle::Scheduled,
            TaskState::Committing => Lifecycle::Running,
            TaskState::Completed => Lifecycle::Completed,
            TaskState::Failed => Lifecycle::Failed,
            TaskState::Cancelled => Lifecycle::Cancelled,
        }
    }

    /// How many tasks are in each state.
    pub fn counts(&self) -> Counts {
        let Ended { completed, failed, cancelled } = self.ended;
        let running = self.commits.len() as u64;
        let is_growing = self.jobs.iter().any(|job| !job.spec.closed);
        let mut counts =
            Counts { total: self.total(), is_growing, running, completed, failed, cancelled, ..Counts::default() };
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

    /// Why tasks wait that could otherwise run, a clause for each reason: for other jobs, for what a task asks for, for hosts.
    pub fn waits(&self) -> Vec<String> {
        let mut waits = Vec::new();
        for job in self.jobs.iter().filter(|job| !job.is_over()) {
            let names = |each: bool| -> Vec<&str> {
                let after = job.spec.after.iter().filter(|after| after.each == each && !self.job(after.job).is_over());
                after.map(|after| self.job(after.job).spec.name.as_str()).collect()
            };
            let (whole, each) = (names(false), names(true));
            if job.gate == Gate::Waiting && !whole.is_empty() {
                waits.push(format!("{} waits for {}", job.spec.name, whole.join(", ")));
            } else if !each.is_empty() {
                waits.push(format!("{} waits for {}, task by task", job.spec.name, each.join(", ")));
            }
        }
        if let Some(reservation) = self.reservation.filter(|reservation| self.queue.contains(reservation.task)) {
            let job = &self.job(reservation.task.job).spec;
            let asked = what_is_asked(&job.request);
            let number = u64::from(reservation.task.index) + 1;
            if !asked.is_empty() {
                waits.push(format!("task {number} of {} waits until a host has {asked} free", job.name));
            }
        }
        if !self.held.is_empty() {
            waits.push("what ran on a lost host waits until it has certainly ended there".to_owned());
        }
        let mut up = self.workers.values().filter(|worker| worker.health == Health::Healthy).peekable();
        if !self.queue.is_empty() && up.peek().is_some() && up.all(|worker| worker.is_throttled(&self.config)) {
            waits.push("every host is busier, or has less memory free, than it may for a new task".to_owned());
        }
        if !self.queue.is_empty() && self.workers.healthy() == 0 {
            waits.push("no host is up: one is waited for".to_owned());
        }
        waits
    }

    /// The workers, in the order of their joining.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> + '_ {
        self.workers.values().map(|worker| {
            let runs = |id: &&AttemptId| self.attempts[id].phase == Phase::Running;
            let running = worker.attempts.iter().filter(runs).count() as u32;
            let waiting = worker.held() - running;
            WorkerView {
                host: worker.host,
                health: worker.health,
                slots: worker.capacity.slots,
                running,
                waiting,
                is_quarantined: self.is_quarantined(worker.host),
            }
        })
    }
}
