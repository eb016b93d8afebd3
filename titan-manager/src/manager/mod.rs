//! The state, the one door to it, and the way of each event. What events mean for placement, outcomes and health stands in
//! the modules below; nothing else changes the state.

mod absence;
mod check;
mod commit;
mod failure;
mod health;
mod hold;
mod jobs;
mod outcome;
mod placement;
mod quarantine;
mod requests;
mod resume;
mod stop;
mod stragglers;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::time::Timestamp;

use crate::config::Config;
use crate::effect::{Effect, Verdict};
use crate::event::{Event, HostId};
use crate::journal::past::PastTask;
use crate::queue::Queue;
use crate::roster::Roster;
use crate::task::{Job, Task, Trouble};
use crate::worker::{Attempt, Hosts, Phase};
use absence::Away;
use commit::Commit;
use hold::{Hold, Holder};
use placement::Reservation;
use quarantine::HostFaults;
use stop::Stop;

pub use view::{Counts, WorkerView};

/// Decides. Fed by [`Manager::handle`], read by anybody.
#[derive(Debug)]
pub struct Manager {
    config: Config,
    jobs: Vec<Job>,
    queue: Queue,
    /// PENDING tasks that may still run on an agent that was lost.
    held: BTreeMap<Holder, Hold>,
    /// Tasks that are only waiting for what they left to be put in its places.
    commits: BTreeMap<TaskId, Commit>,
    troubles: BTreeMap<TaskId, Trouble>,
    /// Whether there was a manager before this one.
    is_resumed: bool,
    /// What tasks have come to under earlier managers, until their job has them.
    past: BTreeMap<TaskId, PastTask>,
    /// Attempts of earlier managers that may still run.
    past_given: BTreeMap<TaskId, HostId>,
    /// Hosts on which earlier managers may have started anything, as their journal may lack it.
    past_places: BTreeSet<HostId>,
    /// Tasks that are over and for which others wait, until those have been looked at.
    just_ended: Vec<TaskId>,
    /// Whether a task may wait that no host can ever take.
    recheck: bool,
    attempts: BTreeMap<AttemptId, Attempt>,
    /// How many of them were asked back and haven't answered.
    recalling: u32,
    next_attempt: u32,
    hosts: Hosts,
    workers: Roster,
    /// What is held against hosts.
    faults: BTreeMap<HostId, HostFaults>,
    last_tick: Option<Timestamp>,
    last_start: Option<Timestamp>,
    /// Until when a task that waits must wait because another one has just started.
    delayed_until: Option<Timestamp>,
    reservation: Option<Reservation>,
    /// Hosts that aren't there now, and were, or are waited for from the beginning.
    away: BTreeMap<HostId, Away>,
    /// Whether it was told that no host is up.
    is_absence_told: bool,
    /// Whether `min_workers` were HEALTHY at once; stays true.
    begun: bool,
    /// The most attempts beyond its slots that a worker may hold for each slot, of any job.
    deepest: u32,
    /// Why no more tasks start.
    stop: Option<Stop>,
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

impl Manager {
    /// A manager to which nothing has happened yet.
    pub fn new(config: Config) -> Self {
        Self {
            workers: Roster::new(config.policy),
            config,
            jobs: Vec::new(),
            queue: Queue::default(),
            held: BTreeMap::new(),
            commits: BTreeMap::new(),
            troubles: BTreeMap::new(),
            past: BTreeMap::new(),
            is_resumed: false,
            past_given: BTreeMap::new(),
            past_places: BTreeSet::new(),
            just_ended: Vec::new(),
            recheck: false,
            attempts: BTreeMap::new(),
            recalling: 0,
            next_attempt: 1,
            hosts: Hosts::default(),
            faults: BTreeMap::new(),
            last_tick: None,
            last_start: None,
            delayed_until: None,
            reservation: None,
            away: BTreeMap::new(),
            is_absence_told: false,
            begun: false,
            deepest: 1,
            stop: None,
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
        let is_tick = event == Event::Tick;
        self.release_due(now, effects);
        self.on_event(now, event, effects);
        self.follow(effects);
        self.halt_if_due(effects);
        self.review_quarantines(now, effects);
        self.place(now, effects);
        if is_tick {
            // Not before all that waits has had its turn.
            self.help_stragglers(now, effects);
        }
        self.take_back_for_idle(effects);
        self.finish(now, effects);
    }

    fn on_event(&mut self, now: Timestamp, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Submit(specs) => specs.into_iter().for_each(|spec| self.on_submit(now, spec, effects)),
            Event::Grow { job, tasks } => self.on_grow(now, job, tasks, effects),
            Event::Close { job } => self.on_close(job, effects),
            Event::HostStarting { host } => self.on_host_starting(now, host),
            Event::StartFailed { host } => self.on_start_failed(host),
            Event::HostDown { host } => self.on_host_down(now, host, effects),
            Event::WorkerJoined { host, worker, capacity, is_alone, held } => {
                self.on_worker_joined(now, host, worker, capacity, effects);
                if is_alone {
                    self.release_host(host, effects);
                }
                for held in &held {
                    self.adopt(now, worker, *held, effects);
                }
            }
            Event::Message { worker, message } => {
                self.on_heard(now, worker, effects);
                self.on_message(now, worker, message, effects);
            }
            Event::Heard { worker } => self.on_heard(now, worker, effects),
            Event::SessionLost { worker, is_dead } => self.on_session_lost(now, worker, is_dead, effects),
            Event::Committed { task, problem } => self.on_committed(task, problem, effects),
            Event::Cancel => self.on_cancel(effects),
            Event::Abandon => self.on_abandon(now, effects),
            Event::Tick => self.on_tick(now, effects),
        }
    }

    /// What an event means for tasks that wait for others, or for a host that can take them, until it means no more.
    fn follow(&mut self, effects: &mut Vec<Effect>) {
        loop {
            self.follow_dependencies(effects);
            if !self.fail_unmeetable(effects) {
                return;
            }
        }
    }

    fn total(&self) -> u64 {
        self.jobs.iter().map(|job| job.tasks.len() as u64).sum()
    }

    fn set_phase(&mut self, attempt: AttemptId, phase: Phase) {
        let held = self.attempts.get_mut(&attempt).expect("only held attempts have a phase");
        let before = std::mem::replace(&mut held.phase, phase);
        let (was, is) = (u32::from(before == Phase::Recalling), u32::from(phase == Phase::Recalling));
        if was != is {
            self.recalling = self.recalling + is - was;
            self.workers.change(held.worker, |worker| worker.recalled = worker.recalled + is - was);
        }
    }

    fn job(&self, job: JobId) -> &Job {
        &self.jobs[job.0 as usize]
    }

    fn task(&self, task: TaskId) -> &Task {
        &self.jobs[task.job.0 as usize].tasks[task.index]
    }

    fn task_mut(&mut self, task: TaskId) -> &mut Task {
        &mut self.jobs[task.job.0 as usize].tasks[task.index]
    }
}

#[cfg(test)]
mod tests;
