//! Kernels run: on as many threads as slots, shared with nobody else. A kernel that panics is a failed task;
//! the agent lives on.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use kernels::{Cancel, Compute, ComputeError};
use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::Outcome;

use crate::core::Computed;
use crate::crew::Crew;
use crate::faults::Faults;
use crate::process::{AttemptNews, Listener, timed_out};

/// Of computations that wait for threads, so many are heard of together.
const HEARD_TOGETHER: usize = 128;

/// Stack of a thread: what std's have.
const STACK_BYTES: usize = 2 << 20;

/// What the names of the pool's threads begin with.
pub(crate) const SLOT_THREAD: &str = "slot-";

/// A job's kernel: its name, what it makes of the job's parameters, and how long a task may compute.
struct Loaded {
    name: String,
    of_job: Result<Arc<dyn Compute>, String>,
    timeout_ms: u64,
}

/// A computation, as both the deciding thread and its own see it.
#[derive(Default)]
struct Running {
    cancel: Cancel,
    timeout_ms: u64,
    /// When it began, if it has.
    begun: OnceLock<Instant>,
    is_overdue: AtomicBool,
}

/// Loaded jobs, running computations, and the threads for them.
pub(crate) struct Pool {
    crew: Crew,
    /// Computations that were handed to the threads and haven't ended.
    unended: Arc<AtomicUsize>,
    listener: Arc<dyn Listener>,
    jobs: BTreeMap<JobId, Loaded>,
    running: BTreeMap<AttemptId, Arc<Running>>,
    faults: Arc<Faults>,
}

impl Pool {
    /// A pool of that many threads; the listener hears of what has ended on them.
    pub(crate) fn new(slots: u32, faults: Arc<Faults>, listener: Arc<dyn Listener>) -> Self {
        let crew = Crew::new(slots, |number| format!("{SLOT_THREAD}{number}"), STACK_BYTES);
        let (jobs, running) = (BTreeMap::new(), BTreeMap::new());
        Self { crew, unended: Arc::default(), listener, jobs, running, faults }
    }

    /// Loads a job's kernel. What is wrong with it becomes the failure of each of its tasks.
    pub(crate) fn prepare(&mut self, job: JobId, name: &str, params: &[u8], timeout_ms: u64) {
        self.jobs.insert(job, Loaded { name: name.to_owned(), of_job: load(name, params), timeout_ms });
    }

    /// There are so many slots from now on.
    pub(crate) fn set_slots(&self, slots: u32) {
        self.crew.set_max_threads(slots);
    }

    /// Nothing begins from then on, by the time since the machine's boot.
    pub(crate) fn set_until(&self, until: Option<Duration>) {
        self.crew.set_until(until);
    }

    /// Starts a computation of a job.
    ///
    /// # Errors
    /// It can't begin: nothing more is heard.
    pub(crate) fn start(&mut self, attempt: AttemptId, task: TaskId) -> Result<(), Outcome> {
        let kernel = self.jobs.get(&task.job).map_or_else(unknown, |loaded| loaded.of_job.clone());
        self.spawn(attempt, task, kernel)
    }

    /// Starts a computation of a run that has parameters of its own: they are loaded for this task alone, and forgotten.
    ///
    /// # Errors
    /// It can't begin: nothing more is heard.
    pub(crate) fn start_run(
        &mut self,
        attempt: AttemptId,
        job: JobId,
        params: &[u8],
        index: u32,
    ) -> Result<(), Outcome> {
        let kernel = self.jobs.get(&job).map_or_else(unknown, |loaded| load(&loaded.name, params));
        self.spawn(attempt, TaskId { job, index }, kernel)
    }

    fn spawn(
        &mut self,
        attempt: AttemptId,
        task: TaskId,
        kernel: Result<Arc<dyn Compute>, String>,
    ) -> Result<(), Outcome> {
        let timeout_ms = self.jobs.get(&task.job).map_or(0, |loaded| loaded.timeout_ms);
        let running = Arc::new(Running { timeout_ms, ..Running::default() });
        if let Some(stopped) = self.running.insert(attempt, Arc::clone(&running))
            && stopped.cancel.is_set()
        {
            running.cancel.set();
        }
        let (faults, unended) = (Arc::clone(&self.faults), Arc::clone(&self.unended));
        let listener = Arc::clone(&self.listener);
        unended.fetch_add(1, Ordering::Relaxed);
        let given = self.crew.give_quietly(attempt, true, move |_| {
            let end = match kernel {
                Ok(kernel) => compute(&*kernel, task.index, &running, &faults),
                Err(reason) => Computed::Failed { reason },
            };
            let left = unended.fetch_sub(1, Ordering::Relaxed) - 1;
            listener.hear(attempt, AttemptNews::Ended(end), left % HEARD_TOGETHER != 0);
        });
        given.map_err(|error| {
            self.unended.fetch_sub(1, Ordering::Relaxed);
            self.ended(attempt);
            Outcome::failed_by_machine(format!("no thread for another computation: {error}"))
        })
    }

    /// Whether computations wait for threads.
    pub(crate) fn has_backlog(&self) -> bool {
        self.crew.backlog().has_more()
    }

    /// Threads begin what was started.
    pub(crate) fn rouse(&self) {
        self.crew.rouse();
    }

    /// Asks a computation to stop: one that runs, or one that is to be started yet and then finds itself stopped.
    pub(crate) fn stop(&mut self, attempt: AttemptId) {
        self.running.entry(attempt).or_default().cancel.set();
    }

    /// What is to be looked at now and then: a thread that couldn't be made may be made now, and what has computed for longer than it
    /// may is stopped.
    pub(crate) fn look_around(&self) {
        self.crew.replace_ended();
        for running in self.running.values().filter(|running| running.timeout_ms > 0) {
            let most = Duration::from_millis(running.timeout_ms);
            if running.begun.get().is_some_and(|begun| begun.elapsed() >= most) {
                running.is_overdue.store(true, Ordering::Relaxed);
                running.cancel.set();
            }
        }
    }

    /// Forgets a computation that has ended.
    pub(crate) fn ended(&mut self, attempt: AttemptId) {
        self.running.remove(&attempt);
    }
}

fn load(name: &str, params: &[u8]) -> Result<Arc<dyn Compute>, String> {
    match kernels::find(name) {
        Some(kernel) => kernel.load(params).map(Arc::from).map_err(|error| error.to_string()),
        None => Err(format!("this agent has no kernel '{name}'")),
    }
}

fn unknown() -> Result<Arc<dyn Compute>, String> {
    Err("its job was never described".to_owned())
}

fn compute(kernel: &dyn Compute, task: u32, running: &Running, faults: &Faults) -> Computed {
    let (started, cancel) = (Instant::now(), &running.cancel);
    let _ = running.begun.set(started);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        faults.before(task, cancel)?;
        kernel.compute(task, cancel)
    }));
    match outcome {
        Ok(Ok(result)) => {
            let crc = crc32fast::hash(&result);
            Computed::Completed { result: result.into(), crc, compute: started.elapsed() }
        }
        Ok(Err(ComputeError::Cancelled)) if running.is_overdue.load(Ordering::Relaxed) => {
            Computed::Failed { reason: timed_out(running.timeout_ms) }
        }
        Ok(Err(ComputeError::Cancelled)) => Computed::Cancelled,
        Ok(Err(error)) => Computed::Failed { reason: error.to_string() },
        Err(payload) => Computed::Failed { reason: format!("the kernel panicked: {}", panic_text(&*payload)) },
    }
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
