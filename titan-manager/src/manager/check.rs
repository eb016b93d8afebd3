//! Every cross-reference of the state. Called by tests after each step.

use std::collections::BTreeSet;

use titan_proto::id::{AttemptId, JobId, TaskId};

use super::{Ended, Manager};
use crate::task::TaskState;
use crate::worker::{Health, HostState};

impl Manager {
    /// Panics, naming it, at the first thing in the state that contradicts another.
    pub fn check(&self) {
        self.check_attempts();
        self.check_workers();
        let mut ended = Ended::default();
        for (number, job) in self.jobs.iter().enumerate() {
            for index in 0..job.tasks.len() as u32 {
                self.check_task(TaskId { job: JobId(number as u32), index }, &mut ended);
            }
        }
        assert_eq!(self.ended, ended, "the counters of final states");
    }

    fn check_attempts(&self) {
        for (id, attempt) in &self.attempts {
            let worker = self.workers.get(&attempt.worker).unwrap_or_else(|| panic!("{id} is held by nobody"));
            assert!(worker.attempts.contains(id), "{id} is unknown to its worker");
            let counts = self.task(attempt.task).state.live().any(|live| live == *id);
            assert_eq!(counts, attempt.phase.is_live(), "{id} is {:?}, its task disagrees", attempt.phase);
            assert!(id.number < self.next_attempt, "{id} was never given out");
        }
    }

    fn check_workers(&self) {
        let mut seen: BTreeSet<AttemptId> = BTreeSet::new();
        for (id, worker) in &self.workers {
            assert_eq!(self.hosts[&worker.host], HostState::Up(*id), "{id:?}'s host");
            for attempt in &worker.attempts {
                assert!(seen.insert(*attempt), "{attempt} is held twice");
                assert_eq!(self.attempts[attempt].worker, *id, "{attempt}");
            }
            let most = worker.capacity.slots * 2;
            assert!(worker.held() <= most, "{id:?} holds {} with {} slots", worker.held(), worker.capacity.slots);
        }
        assert_eq!(seen.len(), self.attempts.len(), "attempts without a worker");
    }

    fn check_task(&self, task: TaskId, ended: &mut Ended) {
        let state = self.task(task).state;
        let waits = self.queue.contains(task);
        match state {
            TaskState::Pending => assert!(waits, "{task} is PENDING and waits nowhere"),
            TaskState::Live(live) => {
                assert!(live.iter().all(|attempt| self.attempts[&attempt].task == task), "{task}'s attempts");
                assert!(live.second.is_none() || self.job(task.job).spec.rerunnable, "{task} runs twice");
                let silent =
                    |attempt: AttemptId| self.workers[&self.attempts[&attempt].worker].health == Health::Unhealthy;
                assert!(!waits || live.iter().all(silent), "{task} waits though a healthy worker has it");
            }
            TaskState::Completed => ended.completed += 1,
            TaskState::Failed => ended.failed += 1,
            TaskState::Cancelled => ended.cancelled += 1,
        }
        assert!(!state.is_final() || (!waits && !self.avoid.contains_key(&task)), "{task} is over and still waits");
    }
}
