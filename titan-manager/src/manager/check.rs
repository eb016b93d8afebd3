//! Every cross-reference of the state. Called by tests after each step.

use std::collections::BTreeSet;

use titan_proto::id::{AttemptId, JobId, TaskId};

use super::{Ended, Manager};
use crate::event::Rerun;
use crate::pace::MAX_DEPTH;
use crate::room::Used;
use crate::task::TaskState;
use crate::worker::{Attempt, Health, HostState, Phase, Worker};

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
            let over = job.tasks.iter().filter(|task| task.state.is_final()).count();
            assert_eq!(job.ended as usize, over, "job {number}'s counter of what is over");
        }
        let is_committing = |task: &TaskId| self.task(*task).state == TaskState::Committing;
        assert!(self.commits.keys().all(is_committing), "what is committed is over");
        for host in self.hosts.keys().filter(|host| self.is_quarantined(**host)) {
            assert!(!self.is_needed(*host), "{host:?} is in quarantine, and nobody else can do what waits");
        }
        assert!(self.just_ended.is_empty(), "nobody has looked at what ended");
        assert_eq!(self.ended, ended, "the counters of final states");
    }

    fn check_attempts(&self) {
        for (id, attempt) in &self.attempts {
            let worker = self.workers.get(attempt.worker).unwrap_or_else(|| panic!("{id} is held by nobody"));
            assert!(worker.attempts.contains(id), "{id} is unknown to its worker");
            let counts = self.task(attempt.task).state.live().any(|live| live == *id);
            assert_eq!(counts, attempt.phase.is_live(), "{id} is {:?}, its task disagrees", attempt.phase);
            let is_ours = id.epoch == self.config.epoch;
            assert!(!is_ours || id.number < self.next_attempt, "{id} was never given out");
        }
    }

    fn check_workers(&self) {
        self.workers.check();
        let expected = self.hosts.values().filter(|state| state.is_expected()).count() as u64;
        assert_eq!(self.hosts.expected(), expected, "hosts that are there, or may be");
        let recalling = self.attempts.values().filter(|attempt| attempt.phase == Phase::Recalling).count();
        assert_eq!(self.recalling as usize, recalling, "attempts that were asked back");
        let mut seen: BTreeSet<AttemptId> = BTreeSet::new();
        for (id, worker) in self.workers.iter() {
            assert_eq!(self.hosts[&worker.host], HostState::Up(id), "{id:?}'s host");
            let is_recalled = |attempt: &&AttemptId| self.attempts[attempt].phase == Phase::Recalling;
            let recalled = worker.attempts.iter().filter(is_recalled).count();
            assert_eq!(worker.recalled as usize, recalled, "what {id:?} was asked for");
            for attempt in &worker.attempts {
                assert!(seen.insert(*attempt), "{attempt} is held twice");
                assert_eq!(self.attempts[attempt].worker, id, "{attempt}");
            }
            let most = worker.capacity.slots * (1 + MAX_DEPTH);
            // What was adopted may have ended long ago.
            let held = worker.attempts.iter().filter(|attempt| attempt.epoch == self.config.epoch).count();
            assert!(held <= most as usize, "{id:?} holds {held} with {} slots", worker.capacity.slots);
            self.check_capacity(worker);
        }
        assert_eq!(seen.len(), self.attempts.len(), "attempts without a worker");
    }

    fn check_capacity(&self, worker: &Worker) {
        let mut used = Used::default();
        let (mut asked, host) = (0, worker.host);
        for attempt in &worker.attempts {
            let Attempt { task, has_ended, .. } = self.attempts[attempt];
            if has_ended {
                continue;
            }
            let request = &self.job(task.job).spec.request;
            used.add(request);
            asked += request.cpus;
            assert!(worker.capacity.meets(request), "{host:?} can't have {attempt} of {task}");
        }
        assert_eq!(worker.used, used, "what is taken of {host:?}");
        assert!(used.memory_bytes <= worker.capacity.memory_bytes, "{host:?}'s memory");
        assert!(
            used.resources.iter().all(|(name, &number)| number <= worker.capacity.of(name)),
            "{host:?}'s resources"
        );
        let has_queue = worker.queued() > 0 && used.large == 0;
        assert!(has_queue || asked <= worker.capacity.most_cores(), "{host:?} has fewer cores than {asked}");
    }

    fn check_task(&self, task: TaskId, ended: &mut Ended) {
        let state = self.task(task).state;
        let waits = self.queue.contains(task);
        match state {
            TaskState::Pending => self.check_pending(task, waits),
            TaskState::Live(live) => {
                assert!(live.iter().all(|attempt| self.attempts[&attempt].task == task), "{task}'s attempts");
                let running = live.iter().filter(|attempt| !self.attempts[attempt].has_ended).count();
                assert!(running <= 1 || self.may_run_twice(task), "{task} runs twice");
                assert!(running == 0 || !self.is_held(task), "{task} is held though it runs");
                let silent =
                    |attempt: AttemptId| self.workers[&self.attempts[&attempt].worker].health == Health::Unhealthy;
                assert!(!waits || live.iter().all(silent), "{task} waits though a healthy worker has it");
                assert!(self.task(task).tried > 0, "{task} was never tried");
                self.check_troubles(task);
            }
            TaskState::Committing => {
                assert!(self.commits.contains_key(&task), "{task} is committed by nobody");
                assert!(!waits && self.job(task.job).spec.commits, "{task} has nothing to commit, or waits");
            }
            TaskState::Completed => ended.completed += 1,
            TaskState::Failed => ended.failed += 1,
            TaskState::Cancelled => ended.cancelled += 1,
        }
        let is_forgotten = !waits && !self.troubles.contains_key(&task) && !self.is_held(task);
        assert!(!state.is_final() || is_forgotten, "{task} is over and still waits");
    }

    /// A PENDING task waits in exactly one place: the queue, or for a lost agent's end, another task, or both.
    fn check_pending(&self, task: TaskId, waits: bool) {
        let held = self.is_held(task);
        assert!(!held || self.job(task.job).spec.rerun == Rerun::Lost, "{task} needn't be held");
        let waits_for_others = !self.may_begin(task);
        assert_ne!(waits, held || waits_for_others, "{task} is PENDING and waits {waits}");
        assert!(!self.is_stopping(), "{task} is PENDING though nothing more starts");
    }

    /// No task is where it can't be.
    fn check_troubles(&self, task: TaskId) {
        let Some(trouble) = self.troubles.get(&task) else { return };
        for attempt in self.task(task).state.live() {
            let host = self.workers[&self.attempts[&attempt].worker].host;
            assert!(!trouble.lacks.contains_key(&host), "{task} is on {host:?}, which lacks what it needs");
        }
    }
}
