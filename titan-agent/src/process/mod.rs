//! Commands: each task is a tree of processes with a group of its own, whose output goes out while it runs, and which ends
//! as a whole.
//!
//! # Layout
//! - this file: which jobs and attempts there are; one thread for each running attempt.
//! - [`crew`]: the threads.
//! - [`run`]: one attempt from its spawn to its end.
//! - [`command`]: words, environment and folder → a program that can be spawned.
//! - [`tree`]: who belongs to a task, and how all of it is ended.
//! - [`output`]: what is read from a task, as records, with a bound on what waits.
//! - [`limits`]: cores, niceness, counted resources, who goes first when memory ends.
//! - [`cgroup`]: memory that the kernel bounds, where it may be asked to.
//! - [`setup`]: what a host wants to be run before a job's first task.
//! - [`scratch`]: folders that go with their attempt.
//! - [`watcher`]: the process above the agent that ends what is left when the agent has died; [`lease`]: and an agent that stands
//!   still when its lease is over.

mod cgroup;
mod command;
mod crew;
mod exhaustion;
pub(crate) mod lease;
mod limits;
pub(crate) mod output;
mod overflow;
mod run;
mod scratch;
mod setup;
mod tree;
pub(crate) mod watcher;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, PipeWriter};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

use titan_proto::command::{CommandJob, CommandTask};
use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::Outcome;

use crate::core::Computed;
use crate::descriptors;
use crate::files::Staged;
use crew::Crew;
use limits::Shares;
use output::{Budget, Sink};
pub(crate) use scratch::ScratchRoot;
pub(crate) use tree::{end_everything, reap_orphans};

/// What a running attempt has open: two pipes of its output, both ends of the one that stops it, its process, and while it is
/// spawned the ends that become its own.
const FILES_EACH: u64 = 8;

/// What every attempt is told of where it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Here {
    pub(crate) batch: String,
    pub(crate) host: String,
}

/// A job and what its setup left, once that has run.
#[derive(Debug)]
pub(crate) struct LoadedJob {
    pub(crate) spec: CommandJob,
    pub(crate) environment: Mutex<Option<Result<Arc<command::Variables>, String>>>,
    pub(crate) found: command::Found,
}

/// Everything that an attempt's thread needs.
pub(crate) struct Attempt {
    pub(crate) id: AttemptId,
    pub(crate) task: TaskId,
    pub(crate) tried: u32,
    /// From 1; no two running attempts have the same.
    pub(crate) slot: u32,
    pub(crate) job: Arc<LoadedJob>,
    pub(crate) command: CommandTask,
    pub(crate) staged: Staged,
    pub(crate) here: Here,
    pub(crate) scratch: Arc<ScratchRoot>,
    pub(crate) shares: Arc<Shares>,
    /// How many files it may open, if that isn't as many as the agent.
    pub(crate) open_files: Option<u64>,
    pub(crate) sink: Sink,
}

/// What is said of a task that took longer than it may.
pub(crate) fn timed_out(timeout_ms: u64) -> String {
    match timeout_ms.is_multiple_of(1_000) {
        true => format!("timed out after {}s", timeout_ms / 1_000),
        false => format!("timed out after {timeout_ms}ms"),
    }
}

/// The commands that run.
pub(crate) struct Processes {
    here: Here,
    jobs: BTreeMap<JobId, Arc<LoadedJob>>,
    running: BTreeMap<AttemptId, Running>,
    crew: Crew,
    slots: BTreeSet<u32>,
    scratch: Arc<ScratchRoot>,
    shares: Arc<Shares>,
    budget: Arc<Budget>,
    open_files: Option<u64>,
}

/// A running attempt, as the deciding thread sees it.
struct Running {
    slot: u32,
    /// Closed, it tells the attempt's thread to end the task.
    stop: Option<PipeWriter>,
}

impl Processes {
    pub(crate) fn new(here: Here, slots: u32, scratch: Arc<ScratchRoot>, budget: Arc<Budget>) -> Self {
        let before = descriptors::limit();
        descriptors::make_room(slots.into(), FILES_EACH);
        let told = std::env::var(descriptors::VARIABLE).ok().and_then(|limit| limit.parse().ok());
        let open_files = told.or(before).filter(|own| Some(*own) != descriptors::limit());
        let (jobs, running, slots) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let crew = Crew::default();
        Self { here, jobs, running, crew, slots, scratch, shares: Arc::default(), budget, open_files }
    }

    /// Notes what a job's tasks share.
    pub(crate) fn prepare(&mut self, job: JobId, spec: CommandJob) {
        self.jobs
            .insert(job, Arc::new(LoadedJob { spec, environment: Mutex::default(), found: command::Found::default() }));
    }

    #[expect(clippy::too_many_arguments, reason = "an attempt and its two ways back")]
    /// Starts an attempt on a thread that it has for itself. `chunk` is called there with what it writes, `done` when it has ended.
    ///
    /// # Errors
    /// It can't begin: neither is called.
    pub(crate) fn start(
        &mut self,
        id: AttemptId,
        task: TaskId,
        tried: u32,
        command: CommandTask,
        staged: Staged,
        chunk: impl Fn(Vec<u8>) -> bool + Send + 'static,
        done: impl FnOnce(Computed) + Send + 'static,
    ) -> Result<(), Outcome> {
        let Some(job) = self.jobs.get(&task.job).cloned() else {
            return Err(Outcome::failed("its job was never described"));
        };
        let host = self.here.host.clone();
        let lacks = |what: &str, error: &io::Error| {
            Outcome::failed_by_machine(format!("no {what} for another task on {host}: {error}{}", run::hint(error)))
        };
        let (stopped, stop) = io::pipe().map_err(|error| lacks("pipe", &error))?;
        let slot = self.take_slot();
        let attempt = Attempt {
            id,
            task,
            tried,
            slot,
            job,
            command,
            staged,
            here: self.here.clone(),
            scratch: Arc::clone(&self.scratch),
            shares: Arc::clone(&self.shares),
            open_files: self.open_files,
            sink: Sink::new(Arc::clone(&self.budget), Arc::clone(&self.scratch), Box::new(chunk)),
        };
        let marks_thread = limits::marks_thread(&attempt.job.spec);
        let work = move |turn: &crew::Turn<'_>| {
            let ended = panic::catch_unwind(AssertUnwindSafe(|| run::run(attempt, &stopped)));
            drop(stopped);
            if ended.is_ok() && !marks_thread {
                turn.over();
            }
            done(ended.unwrap_or_else(|_| Computed::failed("a bug of titan's agent: its thread panicked")));
        };
        self.running.insert(id, Running { slot, stop: Some(stop) });
        self.crew.run(work).map_err(|error| {
            self.ended(id);
            lacks("thread", &error)
        })
    }

    /// Ends an attempt; `done` follows all the same.
    pub(crate) fn stop(&mut self, attempt: AttemptId) {
        if let Some(running) = self.running.get_mut(&attempt) {
            running.stop = None;
        }
    }

    /// What is to be looked at now and then.
    pub(crate) fn look_around(&self) {
        if !self.running.is_empty() {
            self.shares.was_memory_exhausted();
        }
    }

    /// Whether that attempt is a command's, and runs.
    pub(crate) fn runs(&self, attempt: AttemptId) -> bool {
        self.running.contains_key(&attempt)
    }

    /// Forgets an attempt that has ended.
    pub(crate) fn ended(&mut self, attempt: AttemptId) {
        if let Some(running) = self.running.remove(&attempt) {
            self.slots.remove(&running.slot);
        }
    }

    fn take_slot(&mut self) -> u32 {
        let slot = (1..).find(|slot| !self.slots.contains(slot)).expect("there are more numbers than slots");
        self.slots.insert(slot);
        slot
    }
}
