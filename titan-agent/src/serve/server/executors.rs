//! Who does what the agent has decided: the pool computes, and commands are processes.

use std::sync::Arc;
use std::time::Duration;

use titan_proto::id::{AttemptId, JobId};
use titan_proto::message::{Outcome, Part, Work};

use super::starts::Start;
use crate::compute::Pool;
use crate::faults::Faults;
use crate::process::output::Budget;
use crate::process::{Here, Listener, Processes, ScratchRoot};

/// Where commands follow each other, what is said of them is said together this often: each time that the manager is woken
/// takes as long as a short task.
pub(super) const GATHERING_SPAN: Duration = Duration::from_millis(10);
/// The same where they are computations, many of which end within a moment.
const SHORT_GATHERING_SPAN: Duration = Duration::from_millis(1);

/// Both kinds, once a manager has said how many slots there are. Each attempt belongs to one of them.
pub(super) struct Executors {
    pool: Pool,
    processes: Processes,
}

impl Executors {
    /// Those of a host with that many slots; the listener hears of what they do.
    pub(super) fn new(
        here: Here,
        slots: u32,
        scratch: Arc<ScratchRoot>,
        budget: Arc<Budget>,
        faults: Arc<Faults>,
        listener: Arc<dyn Listener>,
    ) -> Self {
        let pool = Pool::new(slots, faults, Arc::clone(&listener));
        Self { pool, processes: Processes::new(here, slots, scratch, budget, listener) }
    }

    /// There are so many slots from now on; what runs goes on.
    pub(super) fn set_slots(&self, slots: u32) {
        self.processes.set_slots(slots);
        self.pool.set_slots(slots);
    }

    /// Nothing begins from then on, by the time since the machine's boot.
    pub(super) fn set_until(&self, until: Option<Duration>) {
        self.processes.set_until(until);
        self.pool.set_until(until);
    }

    /// Notes what a job's tasks share.
    pub(super) fn prepare(&mut self, job: JobId, work: Work) {
        match work {
            Work::Kernel { name, params, timeout_ms } => self.pool.prepare(job, &name, &params, timeout_ms),
            Work::Command(spec) => self.processes.prepare(job, spec),
        }
    }

    /// Starts an attempt; a computation begins when they are [roused](Self::rouse).
    ///
    /// # Errors
    /// It can't begin: nothing more is heard of it.
    pub(super) fn start(&mut self, start: Start) -> Result<(), Outcome> {
        let Start { attempt, task, tried, part, staged, waits } = start;
        match part {
            Part::Command(command) => self.processes.start((attempt, task, tried), *command, staged, waits),
            Part::OfJob => self.pool.start(attempt, task),
            Part::Run { params, index } => self.pool.start_run(attempt, task.job, &params, index),
        }
    }

    /// Computations begin that were started.
    pub(super) fn rouse(&self) {
        self.pool.rouse();
    }

    /// Whether an attempt is a command that hadn't begun; it never will, and nothing is heard of it.
    pub(super) fn withdraw(&mut self, attempt: AttemptId) -> bool {
        self.processes.withdraw(attempt)
    }

    /// Ends an attempt. Whether it hadn't begun: then nothing is heard of it.
    pub(super) fn stop(&mut self, attempt: AttemptId) -> bool {
        if self.processes.has(attempt) {
            return self.processes.stop(attempt);
        }
        self.pool.stop(attempt);
        false
    }

    /// Forgets an attempt that has ended.
    pub(super) fn ended(&mut self, attempt: AttemptId) {
        if self.processes.has(attempt) {
            self.processes.ended(attempt);
        } else {
            self.pool.ended(attempt);
        }
    }

    /// How long what is said of them may wait for more.
    pub(super) fn gathering(&self) -> Duration {
        if self.processes.has_backlog() {
            GATHERING_SPAN
        } else if self.pool.has_backlog() {
            SHORT_GATHERING_SPAN
        } else {
            Duration::ZERO
        }
    }

    /// What is to be done now and then.
    pub(super) fn look_around(&self) {
        self.pool.look_around();
        self.processes.look_around();
    }
}
