//! What must be true, said a second time and more simply than the manager says it: fed with the same events, it judges each
//! effect. What it knows is what titan has been told; what agents really do is the world's to judge.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use titan_manager::{Capacity, Config, Dependency, Event, Halt, HaltWhy, HostId, JobSpec, Manager, Verdict, WorkerId};
use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::{HeldState, Outcome, ToManager};
use titan_proto::time::Timestamp;

use super::spool::Spool;
use super::tasks::Manners;

/// The state that the rules in `rules` judge by.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) min_workers: u32,
    pub(super) crash_limit: u32,
    pub(super) speculates: bool,
    pub(super) halt: Option<Halt>,
    /// Whether what it waits for has happened.
    pub(super) is_halted: bool,
    pub(super) manners: Manners,
    pub(super) jobs: Vec<JobSpec>,
    /// Jobs whose setup fails on a host, as far as titan has been told.
    pub(super) setups: BTreeSet<(JobId, HostId)>,
    pub(super) tasks: BTreeMap<TaskId, Known>,
    /// What an earlier titan has noted of tasks, until their job has them.
    pub(super) past: BTreeMap<TaskId, Known>,
    /// Whether a titan died before this one.
    pub(super) is_resumed: bool,
    pub(super) attempts: BTreeMap<AttemptId, Tried>,
    pub(super) workers: BTreeMap<WorkerId, Agent>,
    pub(super) hosts: BTreeMap<HostId, Place>,
    pub(super) begun: bool,
    wait_for_hosts: Duration,
    /// Hosts that get no tasks because of their faults.
    pub(super) quarantined: BTreeSet<HostId>,
    /// Hosts that are away and since when, by a clock that doesn't know when titan slept.
    away: BTreeMap<HostId, Timestamp>,
    now: Timestamp,
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
    /// Whether it is recorded that its result is kept and its files are to get their places.
    pub(super) is_kept: bool,
    pub(super) commit: Option<Commit>,
    pub(super) failures: u32,
    pub(super) losses: u32,
    /// Hosts that lack what it needs.
    pub(super) lacks: BTreeSet<HostId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    Failed,
    Cancelled,
}

impl Known {
    /// Whether an attempt at it still counts.
    fn is_open(&self) -> bool {
        self.end.is_none() && self.commit.is_none()
    }
}

/// How far a task's files are on the way to their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    UnderWay,
    Done,
    Failed,
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
    /// Whether it was given back.
    pub(super) never_began: bool,
    /// Whether it is of an earlier titan: it may have ended already.
    pub(super) is_adopted: bool,
    /// Whether its end may be that of its task: it wasn't taken over only to be cancelled.
    pub(super) counts: bool,
    /// Whether only its outcome is missing.
    pub(super) has_ended: bool,
}

/// A worker.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) host: HostId,
    pub(super) capacity: Capacity,
    pub(super) is_lost: bool,
    pub(super) has_lied: bool,
    last_heard: Timestamp,
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
    pub(super) fn new(config: &Config, manners: Manners) -> Self {
        Self {
            min_workers: config.min_workers,
            crash_limit: config.crash_limit,
            speculates: config.speculates,
            halt: config.halt,
            is_halted: false,
            manners,
            jobs: Vec::new(),
            setups: BTreeSet::new(),
            tasks: BTreeMap::new(),
            past: BTreeMap::new(),
            is_resumed: false,
            attempts: BTreeMap::new(),
            workers: BTreeMap::new(),
            hosts: BTreeMap::new(),
            begun: false,
            wait_for_hosts: config.wait_for_hosts,
            quarantined: BTreeSet::new(),
            away: BTreeMap::new(),
            now: Timestamp::default(),
            cancelled: false,
            given_up: false,
            spool: Spool::default(),
            verdict: None,
            outcome: None,
            acknowledged: Vec::new(),
        }
    }

    /// Another titan goes on, and knows what the journal says.
    pub(super) fn begin_life(&mut self, now: Timestamp, past: BTreeMap<TaskId, Known>) {
        (self.past, self.is_resumed) = (past, true);
        self.jobs.clear();
        self.setups.clear();
        self.tasks.clear();
        self.hosts.clear();
        self.workers.values_mut().for_each(|agent| (agent.is_lost, agent.jobs) = (true, BTreeSet::new()));
        self.attempts.values_mut().for_each(|tried| tried.is_open = false);
        (self.begun, self.cancelled, self.given_up, self.is_halted) = (false, false, false, false);
        self.now = now;
        self.away.clear();
        self.quarantined.clear();
        (self.verdict, self.outcome) = (None, None);
    }

    /// Takes an event before the manager does.
    pub(super) fn observe(&mut self, now: Timestamp, event: &Event) {
        self.now = now;
        if let Event::Heard { worker } | Event::Message { worker, .. } = event
            && let Some(agent) = self.workers.get_mut(worker)
        {
            agent.last_heard = now;
        }
        self.outcome = None;
        self.acknowledged.clear();
        match event {
            Event::Submit(specs) => {
                for spec in specs {
                    self.jobs.push(spec.clone());
                    self.add_tasks(self.jobs.len() - 1, 0, spec.tasks);
                }
                self.is_halted |= self.is_resumed && self.must_halt();
            }
            Event::Grow { job, tasks } => {
                let job = job.0 as usize;
                let before = self.jobs[job].tasks;
                self.jobs[job].tasks += tasks;
                self.add_tasks(job, before, before + tasks);
                self.is_halted |= self.is_resumed && self.must_halt();
            }
            Event::Close { job } => self.jobs[job.0 as usize].closed = true,
            Event::HostStarting { host } => {
                self.hosts.insert(*host, Place::Starting);
                if self.is_resumed {
                    self.away.insert(*host, now);
                }
            }
            Event::StartFailed { .. } => {}
            Event::HostDown { host } => {
                if let Some(Place::Up(worker)) = self.hosts.insert(*host, Place::Down) {
                    self.lose(worker);
                }
            }
            Event::WorkerJoined { host, worker, capacity, held, .. } => {
                self.away.remove(host);
                self.join(*host, *worker, capacity.clone());
                for held in held {
                    if let Some(tried) = self.attempts.get_mut(&held.attempt) {
                        tried.has_ended = held.state == HeldState::Ended;
                    }
                }
            }
            Event::Message { worker, message } => self.hear(*worker, message),
            Event::SessionLost { worker, .. } => self.on_session_lost(*worker),
            Event::Cancel | Event::Abandon => self.cancelled = true,
            Event::Committed { task, problem } => {
                let known = self.tasks.get_mut(task).expect("only tasks are committed");
                known.commit = Some(match problem {
                    None => Commit::Done,
                    Some(_) => Commit::Failed,
                });
            }
            Event::Heard { .. } | Event::Tick => {}
        }
    }

    fn add_tasks(&mut self, job: usize, from: u32, to: u32) {
        let job = JobId(job as u32);
        for task in (from..to).map(|index| TaskId { job, index }) {
            let known = self.past.remove(&task).unwrap_or_default();
            self.tasks.insert(task, known);
        }
    }

    fn join(&mut self, host: HostId, worker: WorkerId, capacity: Capacity) {
        if let Some(Place::Up(before)) = self.hosts.insert(host, Place::Up(worker)) {
            self.lose(before);
        }
        // An agent that lives on keeps its name under the next titan.
        let before = self.workers.remove(&worker);
        assert!(before.as_ref().is_none_or(|before| before.is_lost), "a worker's name is used twice");
        let has_lied = before.is_some_and(|before| before.has_lied);
        let (last_heard, jobs) = (self.now, BTreeSet::new());
        self.workers.insert(worker, Agent { host, capacity, is_lost: false, has_lied, last_heard, jobs });
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
                    (tried.is_open, tried.never_began) = (false, true);
                }
            }
            ToManager::Load { .. } | ToManager::Want { .. } | ToManager::Holds { .. } => {}
            ToManager::Finished { attempt, outcome, .. } => {
                let ended = self.held(worker, *attempt).map(|tried| {
                    tried.is_open = false;
                    tried.never_began = *outcome == Outcome::Cancelled && !tried.has_started;
                    (tried.task, tried.counts)
                });
                let counts = ended.is_some_and(|(task, counts)| counts && self.tasks[&task].is_open());
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
            self.away.insert(host, self.workers[&worker].last_heard);
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
            task.losses += u32::from(tried.has_started && tried.counts && task.is_open());
        }
    }

    /// Whether that worker is large enough for something that isn't over.
    fn is_useful(&self, worker: WorkerId) -> bool {
        let fits = |job: JobId| {
            let (spec, capacity) = (&self.jobs[job.0 as usize], &self.workers[&worker].capacity);
            spec.slot_memory_bytes <= capacity.memory_bytes / u64::from(capacity.slots) && meets(spec, capacity)
        };
        let may_grow = (0..self.jobs.len() as u32).any(|job| !self.jobs[job as usize].closed && fits(JobId(job)));
        // What waits for others is as useful as those.
        let has_use = |task: TaskId, known: &Known| known.end.is_none() && fits(task.job) && self.may_begin(task);
        may_grow || self.tasks.iter().any(|(task, known)| has_use(*task, known))
    }

    /// Whether the batch can't go on: nobody is there or coming who could do anything, or too few from the beginning, or nobody
    /// has been there for too long.
    pub(super) fn is_hopeless(&self) -> bool {
        let useful = |(host, place): &(&HostId, &Place)| match **place {
            _ if self.is_absent(**host) => false,
            Place::Starting => !self.fails_all_setups(**host),
            Place::Up(worker) => self.is_useful(worker) && (self.holds_some(worker) || !self.fails_all_setups(**host)),
            Place::Down => false,
        };
        let useful = self.hosts.iter().filter(useful).count();
        useful == 0 || (!self.begun && useful < self.min_workers as usize)
    }

    /// Whether a host has been away, or silent, for so long that nobody needs to wait for it.
    fn is_absent(&self, host: HostId) -> bool {
        let last = match self.hosts[&host] {
            Place::Up(worker) => Some(self.workers[&worker].last_heard),
            Place::Starting | Place::Down => self.away.get(&host).copied(),
        };
        last.is_some_and(|last| self.now.since(last) >= self.wait_for_hosts)
    }

    fn fails_all_setups(&self, host: HostId) -> bool {
        (0..self.jobs.len() as u32).all(|job| self.setups.contains(&(JobId(job), host)))
    }

    fn holds_some(&self, worker: WorkerId) -> bool {
        self.attempts.values().any(|tried| tried.worker == worker && tried.is_open)
    }

    /// Takes note of how many workers are HEALTHY after a step.
    pub(super) fn note_health(&mut self, manager: &Manager) {
        let healthy = manager.workers().filter(|view| view.health == titan_manager::Health::Healthy).count();
        self.begun |= healthy >= self.min_workers as usize;
    }

    /// Whether the batch is to be halted now.
    pub(super) fn must_halt(&self) -> bool {
        let count = |end| self.tasks.values().filter(|known| known.end == Some(end)).count() as u64;
        let (completed, failed) = (count(End::Completed), count(End::Failed));
        self.halt.is_some_and(|halt| match halt.why {
            HaltWhy::Failed(least) => failed >= least,
            HaltWhy::FailedPercent(percent) => {
                completed + failed >= 3 && failed * 100 >= (completed + failed) * u64::from(percent)
            }
            HaltWhy::Completed(least) => completed >= least,
            HaltWhy::Ended(least) => completed + failed >= least,
        })
    }

    /// How a task's dependencies are: all that ended, and whether one will never let it go.
    fn dependencies(&self, task: TaskId) -> impl Iterator<Item = (Dependency, Vec<Option<End>>, bool)> + '_ {
        self.jobs[task.job.0 as usize].after.iter().map(move |dependency| {
            let other = &self.jobs[dependency.job.0 as usize];
            let of_job = self.tasks.range(TaskId { job: dependency.job, index: 0 }..);
            let of_job = of_job.take_while(|(id, _)| id.job == dependency.job);
            let wanted = of_job.filter(|(id, _)| !dependency.each || id.index == task.index);
            let ends: Vec<Option<End>> = wanted.map(|(_, known)| known.end).collect();
            let has_all = if dependency.each { !ends.is_empty() } else { other.closed };
            (*dependency, ends, has_all)
        })
    }

    /// Whether all that a task waits for has ended as it should.
    pub(super) fn may_begin(&self, task: TaskId) -> bool {
        self.dependencies(task).all(|(dependency, ends, has_all)| {
            let is_good = |end: &Option<End>| end.is_some_and(|end| dependency.any_end || end == End::Completed);
            has_all && ends.iter().all(is_good)
        })
    }

    /// Whether something that a task waits for can't end as it should.
    pub(super) fn is_doomed(&self, task: TaskId) -> bool {
        self.dependencies(task).any(|(dependency, ends, _)| {
            let is_bad = |end: &Option<End>| matches!(end, Some(End::Failed | End::Cancelled)) && !dependency.any_end;
            let other = &self.jobs[dependency.job.0 as usize];
            let is_missing = dependency.each && ends.is_empty() && other.closed;
            is_missing || ends.iter().any(is_bad)
        })
    }

    /// Whether a host has said that it lacks what a task needs, or fails its job's setup.
    pub(super) fn is_excluded(&self, task: TaskId, host: HostId) -> bool {
        self.tasks[&task].lacks.contains(&host) || self.setups.contains(&(task.job, host))
    }

    /// Whether no host that is up, and none that is coming, can ever run a task.
    pub(super) fn is_for_nobody(&self, task: TaskId) -> bool {
        let spec = &self.jobs[task.job.0 as usize];
        !self.hosts.iter().filter(|(host, _)| !self.is_excluded(task, **host)).any(|(host, place)| match place {
            Place::Starting => !self.is_absent(*host),
            Place::Up(worker) => {
                let capacity = &self.workers[worker].capacity;
                let has_slot = spec.slot_memory_bytes <= capacity.memory_bytes / u64::from(capacity.slots);
                meets(spec, capacity) && (has_slot || !self.hosts.keys().any(|host| self.is_excluded(task, *host)))
            }
            Place::Down => false,
        })
    }

    /// Whether what a worker holds is within what it has.
    pub(super) fn check_capacity(&self, worker: WorkerId) {
        let capacity = &self.workers[&worker].capacity;
        let held = self.attempts.values().filter(|tried| tried.worker == worker && tried.is_open && !tried.is_adopted);
        let requests: Vec<_> = held.map(|tried| &self.jobs[tried.task.job.0 as usize].request).collect();
        let memory_bytes: u64 = requests.iter().map(|request| request.memory_bytes).sum();
        assert!(memory_bytes <= capacity.memory_bytes, "{worker:?} is given more than its memory");
        for (name, number) in &capacity.resources {
            let given: u32 = requests.iter().filter_map(|request| request.resources.get(name)).sum();
            assert!(given <= *number, "{worker:?} is given {given} {name}");
        }
        let large: u32 = requests.iter().filter(|request| request.cpus > 1).map(|request| request.cpus).sum();
        assert!(large <= capacity.cores.max(capacity.slots), "{worker:?} is given {large} cores");
    }
}

/// Whether a worker has all that tasks of a job ask for.
pub(super) fn meets(spec: &JobSpec, capacity: &Capacity) -> bool {
    let request = &spec.request;
    let has = |(name, number): (&String, &u32)| capacity.resources.get(name).is_some_and(|have| have >= number);
    let holds = |label: &String| capacity.labels.contains_key(label);
    request.cpus <= capacity.cores.max(capacity.slots)
        && request.memory_bytes <= capacity.memory_bytes
        && request.resources.iter().all(has)
        && request.wanted.iter().all(|condition| holds(&condition.label) != condition.negated)
}
