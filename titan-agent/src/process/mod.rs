//! Commands: each task is a tree of processes with a group of its own, whose output goes out while it runs, and which ends
//! as a whole.
//!
//! # Layout
//! - this file: which jobs and attempts there are, and who hears of them.
//! - [`run`]: one attempt from its spawn to its end.
//! - [`command`]: words, environment and folder → a program.
//! - [`environment`]: what a task, or a setup, sees in its environment.
//! - [`spawn`]: a program → a process.
//! - [`tree`]: who belongs to a task, and how all of it is ended.
//! - [`output`]: what is read from a task, as records, with a bound on what waits; [`overflow`]: on the disk, when it is more.
//! - [`limits`]: cores, niceness, counted resources, who goes first when memory ends.
//! - [`cgroup`]: memory that the kernel bounds, where it may be asked to; [`exhaustion`]: whether it has just ended something.
//! - [`setup`]: what a host wants to be run before a job's first task.
//! - [`scratch`]: folders that go with their attempt.
//! - [`watcher`]: the process above the agent that ends what is left when the agent has died; [`lease`]: and an agent that stands
//!   still when its lease is over.

mod cgroup;
mod command;
mod environment;
mod exhaustion;
pub(crate) mod lease;
mod limits;
pub(crate) mod output;
mod overflow;
mod run;
mod scratch;
mod setup;
mod spawn;
mod tree;
pub(crate) mod watcher;

use std::collections::BTreeMap;
use std::io::{self, PipeReader, PipeWriter};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Rlimit;
use titan_proto::command::{CommandJob, CommandTask};
use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::Outcome;

use crate::core::Computed;
use crate::crew::{Backlog, Crew, Turn};
use crate::descriptors;
use crate::files::Staged;
use environment::Inherited;
use limits::Shares;
use output::{Budget, Sink};
pub(crate) use scratch::ScratchRoot;
pub(crate) use tree::{end_everything, reap_orphans};

/// What a running attempt has open: two pipes of its output, both ends of the one that stops it, its process, and while it is
/// spawned the ends that become its own, its cgroup's file and, the child alone, that of its `oom_score_adj`.
const FILES_EACH: u64 = 10;

/// Stack of an attempt's thread: it reads two pipes, a piece of 64 KiB at a time.
const STACK_BYTES: usize = 256 << 10;

/// Output that is worth being passed on at once, in bytes.
const URGENT_BYTES: usize = 4 << 10;

/// What an attempt's thread tells.
pub(crate) enum AttemptNews {
    /// It begins, having waited for a slot.
    Begun,
    /// It has written something.
    Wrote(Vec<u8>),
    /// It has ended.
    Ended(Computed),
}

/// Hears of attempts, on their threads. `can_wait`: nothing waits for what is made of it.
pub(crate) trait Listener: Send + Sync {
    /// In the order in which things happen to an attempt. False: nobody is there any more.
    fn hear(&self, attempt: AttemptId, news: AttemptNews, can_wait: bool) -> bool;
}

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
    pub(crate) environment: Mutex<Option<Result<Arc<Inherited>, String>>>,
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
    pub(crate) open_files: Option<Rlimit>,
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
    /// Those that run, or wait for a slot.
    started: BTreeMap<AttemptId, Arc<Stop>>,
    crew: Crew,
    listener: Arc<dyn Listener>,
    scratch: Arc<ScratchRoot>,
    shares: Arc<Shares>,
    budget: Arc<Budget>,
    open_files: Option<Rlimit>,
}

/// Where the deciding thread tells an attempt's thread to end the task.
#[derive(Default)]
struct Stop(Mutex<StopState>);

#[derive(Default)]
struct StopState {
    is_stopped: bool,
    /// Closed, it tells a thread that has begun.
    pipe: Option<PipeWriter>,
}

impl Stop {
    /// What the attempt's thread is told by; None: it is told already.
    fn begin(&self) -> io::Result<Option<PipeReader>> {
        let mut state = self.lock();
        if state.is_stopped {
            return Ok(None);
        }
        let (stopped, stop) = io::pipe()?;
        state.pipe = Some(stop);
        Ok(Some(stopped))
    }

    fn stop(&self) {
        let mut state = self.lock();
        state.is_stopped = true;
        state.pipe = None;
    }

    /// The attempt has ended: its pipe isn't open until somebody has heard of that.
    fn end(&self) {
        self.lock().pipe = None;
    }

    fn lock(&self) -> MutexGuard<'_, StopState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Processes {
    pub(crate) fn new(
        here: Here,
        slots: u32,
        scratch: Arc<ScratchRoot>,
        budget: Arc<Budget>,
        listener: Arc<dyn Listener>,
    ) -> Self {
        let before = descriptors::limit();
        descriptors::make_room(slots.into(), FILES_EACH);
        let told = std::env::var(descriptors::VARIABLE).ok().and_then(|limit| limit.parse().ok());
        let open_files = told.or(before).filter(|own| Some(*own) != descriptors::limit()).map(descriptors::lowered);
        let crew = Crew::new(slots, |_| "task".to_owned(), STACK_BYTES);
        let (jobs, started, shares) = (BTreeMap::new(), BTreeMap::new(), Arc::default());
        Self { here, jobs, started, crew, listener, scratch, shares, budget, open_files }
    }

    /// Notes what a job's tasks share.
    pub(crate) fn prepare(&mut self, job: JobId, spec: CommandJob) {
        self.jobs
            .insert(job, Arc::new(LoadedJob { spec, environment: Mutex::default(), found: command::Found::default() }));
    }

    /// Starts an attempt; if it `waits`, in the next slot that is free, and then it is heard of when it begins. Its output and its end are
    /// heard of, unless it is withdrawn.
    ///
    /// # Errors
    /// It can't begin: nothing more is heard.
    pub(crate) fn start(
        &mut self,
        (id, task, tried): (AttemptId, TaskId, u32),
        command: CommandTask,
        staged: Staged,
        waits: bool,
    ) -> Result<(), Outcome> {
        let Some(job) = self.jobs.get(&task.job).cloned() else {
            return Err(Outcome::failed("its job was never described"));
        };
        let teller = Teller { attempt: id, listener: Arc::clone(&self.listener), backlog: self.crew.backlog() };
        let chunk = teller.clone();
        let chunk = move |bytes: Vec<u8>| {
            let is_little = bytes.len() < URGENT_BYTES;
            chunk.tell(AttemptNews::Wrote(bytes), is_little)
        };
        let mut attempt = Attempt {
            id,
            task,
            tried,
            slot: 0,
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
        let stop = Arc::new(Stop::default());
        self.started.insert(id, Arc::clone(&stop));
        let work = move |turn: &Turn<'_>| {
            attempt.slot = turn.slot;
            if waits {
                teller.tell(AttemptNews::Begun, true);
            }
            let ended = panic::catch_unwind(AssertUnwindSafe(|| run_unless_stopped(attempt, &stop)));
            let ends_thread = marks_thread || ended.is_err();
            if ends_thread {
                turn.end_thread();
            }
            let panicked = |_| Computed::failed("a bug of titan's agent: its thread panicked");
            teller.tell(AttemptNews::Ended(ended.unwrap_or_else(panicked)), !ends_thread);
        };
        self.crew.give(id, waits, work).map_err(|error| {
            self.ended(id);
            lacks("thread", &self.here.host, &error)
        })
    }

    /// Ends an attempt. Whether it hadn't begun: then nothing is heard of it.
    pub(crate) fn stop(&mut self, attempt: AttemptId) -> bool {
        if self.withdraw(attempt) {
            return true;
        }
        if let Some(stop) = self.started.get(&attempt) {
            stop.stop();
        }
        false
    }

    /// Whether an attempt hadn't begun; it never will, and nothing is heard of it.
    pub(crate) fn withdraw(&mut self, attempt: AttemptId) -> bool {
        let is_withdrawn = self.crew.withdraw(attempt);
        if is_withdrawn {
            self.ended(attempt);
        }
        is_withdrawn
    }

    /// There are so many slots from now on.
    pub(crate) fn set_slots(&self, slots: u32) {
        descriptors::make_room(slots.into(), FILES_EACH);
        self.crew.set_max_threads(slots);
    }

    /// Nothing begins from then on, by the time since the machine's boot.
    pub(crate) fn set_until(&self, until: Option<Duration>) {
        self.crew.set_until(until);
    }

    /// Whether attempts wait for slots.
    pub(crate) fn has_backlog(&self) -> bool {
        self.crew.backlog().has_more()
    }

    /// What is to be looked at now and then.
    pub(crate) fn look_around(&self) {
        self.crew.replace_ended();
        if !self.started.is_empty() {
            self.shares.was_memory_exhausted();
        }
    }

    /// Whether that attempt is a command's, and was started.
    pub(crate) fn has(&self, attempt: AttemptId) -> bool {
        self.started.contains_key(&attempt)
    }

    /// Forgets an attempt that has ended.
    pub(crate) fn ended(&mut self, attempt: AttemptId) {
        self.started.remove(&attempt);
        self.crew.replace_ended();
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.started.values().for_each(|stop| stop.stop());
    }
}

/// The way from an attempt's thread to who listens.
#[derive(Clone)]
struct Teller {
    attempt: AttemptId,
    listener: Arc<dyn Listener>,
    backlog: Backlog,
}

impl Teller {
    /// While others wait for slots nobody waits for what is made of the news, if it is little.
    fn tell(&self, news: AttemptNews, is_little: bool) -> bool {
        self.listener.hear(self.attempt, news, is_little && self.backlog.has_more())
    }
}

/// Runs an attempt to its end.
fn run_unless_stopped(attempt: Attempt, stop: &Stop) -> Computed {
    match stop.begin() {
        Ok(Some(stopped)) => {
            let ended = run::run(attempt, &stopped);
            stop.end();
            ended
        }
        Ok(None) => Computed::Cancelled,
        Err(error) => Computed::ended(lacks("pipe", &attempt.here.host, &error)),
    }
}

fn lacks(what: &str, host: &str, error: &io::Error) -> Outcome {
    Outcome::failed_by_machine(format!("no {what} for another task on {host}: {error}{}", run::hint(error)))
}
