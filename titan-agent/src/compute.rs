//! The pool that kernels run on: as many threads as slots, shared with nobody else. A kernel that panics is a failed task;
//! the agent lives on.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use kernels::{Cancel, Compute, ComputeError};
use titan_proto::id::{AttemptId, JobId, TaskId};

use crate::core::Computed;
use crate::faults::Faults;
use crate::process::timed_out;

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
    threads: rayon::ThreadPool,
    jobs: BTreeMap<JobId, Loaded>,
    running: BTreeMap<AttemptId, Arc<Running>>,
    faults: Arc<Faults>,
}

impl Pool {
    /// A pool of that many threads.
    pub(crate) fn new(slots: u32, faults: Arc<Faults>) -> Result<Self, rayon::ThreadPoolBuildError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(slots as usize)
            .thread_name(|number| format!("{SLOT_THREAD}{number}"))
            .build()?;
        Ok(Self { threads, jobs: BTreeMap::new(), running: BTreeMap::new(), faults })
    }

    /// Loads a job's kernel. What is wrong with it becomes the failure of each of its tasks.
    pub(crate) fn prepare(&mut self, job: JobId, name: &str, params: &[u8], timeout_ms: u64) {
        self.jobs.insert(job, Loaded { name: name.to_owned(), of_job: load(name, params), timeout_ms });
    }

    /// Starts a computation of a job; `done` is called on its thread when it has ended.
    pub(crate) fn start(&mut self, attempt: AttemptId, task: TaskId, done: impl FnOnce(Computed) + Send + 'static) {
        let kernel = self.jobs.get(&task.job).map_or_else(unknown, |loaded| loaded.of_job.clone());
        self.spawn(attempt, task, kernel, done);
    }

    /// Starts a computation of a run that has parameters of its own: they are loaded for this task alone, and forgotten.
    pub(crate) fn start_run(
        &mut self,
        attempt: AttemptId,
        job: JobId,
        params: &[u8],
        index: u32,
        done: impl FnOnce(Computed) + Send + 'static,
    ) {
        let kernel = self.jobs.get(&job).map_or_else(unknown, |loaded| load(&loaded.name, params));
        self.spawn(attempt, TaskId { job, index }, kernel, done);
    }

    fn spawn(
        &mut self,
        attempt: AttemptId,
        task: TaskId,
        kernel: Result<Arc<dyn Compute>, String>,
        done: impl FnOnce(Computed) + Send + 'static,
    ) {
        let timeout_ms = self.jobs.get(&task.job).map_or(0, |loaded| loaded.timeout_ms);
        let running = Arc::new(Running { timeout_ms, ..Running::default() });
        if let Some(stopped) = self.running.insert(attempt, Arc::clone(&running))
            && stopped.cancel.is_set()
        {
            running.cancel.set();
        }
        let faults = Arc::clone(&self.faults);
        self.threads.spawn(move || {
            done(match kernel {
                Ok(kernel) => compute(&*kernel, task.index, &running, &faults),
                Err(reason) => Computed::Failed { reason },
            });
        });
    }

    /// Asks a computation to stop: one that runs, or one that is to be started yet and then finds itself stopped.
    pub(crate) fn stop(&mut self, attempt: AttemptId) {
        self.running.entry(attempt).or_default().cancel.set();
    }

    /// Stops what has computed for longer than it may.
    pub(crate) fn end_overdue(&self) {
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
