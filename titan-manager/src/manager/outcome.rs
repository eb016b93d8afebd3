//! What workers say of attempts, and what the end of an attempt means for its task.

use std::time::Duration;

use titan_proto::id::{AttemptId, TaskId};
use titan_proto::message::{Outcome, ResultSummary, ToAgent, ToManager};

use super::Manager;
use crate::effect::{Effect, Record, Report};
use crate::event::{HostId, WorkerId};
use crate::task::TaskState;
use crate::worker::{Attempt, Health, Phase};

impl Manager {
    pub(super) fn on_message(&mut self, worker: WorkerId, message: ToManager, effects: &mut Vec<Effect>) {
        if !self.workers.contains_key(&worker) {
            return;
        }
        match message {
            ToManager::Started { attempt } => self.on_started(worker, attempt, effects),
            ToManager::Finished { attempt, outcome } => self.on_finished(worker, attempt, outcome, effects),
            ToManager::Recalled { attempt } => self.on_recalled(worker, attempt, effects),
            ToManager::AlreadyStarted { attempt } => self.on_already_started(worker, attempt),
        }
    }

    fn on_started(&mut self, worker: WorkerId, attempt: AttemptId, effects: &mut Vec<Effect>) {
        let Some(held) = self.held_mut(worker, attempt) else { return };
        if held.phase.is_live() {
            held.phase = Phase::Running;
            let task = held.task;
            let host = self.workers[&worker].host;
            effects.push(Effect::Report(Report::Started { task, attempt, host }));
        }
    }

    fn on_already_started(&mut self, worker: WorkerId, attempt: AttemptId) {
        if let Some(held) = self.held_mut(worker, attempt)
            && held.phase == Phase::Recalling
        {
            held.phase = Phase::Running;
        }
    }

    fn on_recalled(&mut self, worker: WorkerId, attempt: AttemptId, effects: &mut Vec<Effect>) {
        // Who has said that it runs can't give it back: that agent is wrong, and the attempt may still run.
        if self.held_mut(worker, attempt).is_none_or(|held| held.phase == Phase::Running) {
            return;
        }
        let held = self.release(attempt);
        if held.phase.is_live() {
            self.detach(held.task, attempt);
            self.wait_again(held.task, effects);
        }
    }

    fn on_finished(&mut self, worker: WorkerId, attempt: AttemptId, outcome: Outcome, effects: &mut Vec<Effect>) {
        let host = self.workers[&worker].host;
        let live = self.held_mut(worker, attempt).map(|held| held.phase.is_live());
        if live.is_some() {
            let held = self.release(attempt);
            if held.phase.is_live() {
                self.on_live_outcome(held.task, attempt, host, outcome, effects);
            }
        }
        if live != Some(true) {
            // What another worker sends under that name is that worker's.
            if !self.attempts.contains_key(&attempt) {
                effects.push(Effect::Discard { attempt });
            }
            effects.push(Effect::Report(Report::Late { attempt, host }));
        }
        effects.push(Effect::Send { worker, message: ToAgent::Acknowledge { attempt } });
    }

    fn on_live_outcome(
        &mut self,
        task: TaskId,
        attempt: AttemptId,
        host: HostId,
        outcome: Outcome,
        effects: &mut Vec<Effect>,
    ) {
        match outcome {
            Outcome::Completed(summary) => self.complete(task, attempt, host, summary, effects),
            Outcome::Failed { reason } => self.on_attempt_failed(task, attempt, host, reason, effects),
            Outcome::Cancelled if self.cancelled => {
                effects.push(Effect::Discard { attempt });
                self.detach(task, attempt);
                self.wait_again(task, effects);
            }
            Outcome::Cancelled => {
                let reason = "the agent stopped it without being asked".to_owned();
                self.on_attempt_failed(task, attempt, host, reason, effects);
            }
        }
    }

    fn complete(
        &mut self,
        task: TaskId,
        attempt: AttemptId,
        host: HostId,
        summary: ResultSummary,
        effects: &mut Vec<Effect>,
    ) {
        let ResultSummary { bytes, crc, compute_us } = summary;
        self.end_task(task, TaskState::Completed, Some(attempt), effects);
        self.ended.completed += 1;
        effects.push(Effect::Keep { attempt, task });
        effects.push(Effect::Record(Record::Completed { task, attempt, bytes, crc }));
        effects.push(Effect::Deliver { task });
        let compute = Duration::from_micros(compute_us);
        effects.push(Effect::Report(Report::Completed { task, attempt, host, compute }));
    }

    fn on_attempt_failed(
        &mut self,
        task: TaskId,
        attempt: AttemptId,
        host: HostId,
        reason: String,
        effects: &mut Vec<Effect>,
    ) {
        self.detach(task, attempt);
        let of = self.job(task.job).spec.retries + 1;
        let state = self.task_mut(task);
        state.failures += 1;
        let failures = state.failures;
        effects.push(Effect::Discard { attempt });
        effects.push(Effect::Record(Record::AttemptFailed { task, attempt, reason: reason.clone() }));
        let report = Report::AttemptFailed { task, host, reason: reason.clone(), attempt: failures, of };
        effects.push(Effect::Report(report));
        if failures >= of {
            self.fail_task(task, reason, effects);
        } else {
            self.avoid.insert(task, host);
            self.wait_again(task, effects);
        }
    }

    /// An attempt went with its worker.
    pub(super) fn on_attempt_lost(&mut self, attempt: AttemptId, host: HostId, effects: &mut Vec<Effect>) -> bool {
        let held = self.release(attempt);
        effects.push(Effect::Discard { attempt });
        if !held.phase.is_live() {
            return false;
        }
        self.detach(held.task, attempt);
        self.avoid.insert(held.task, host);
        let task = self.task_mut(held.task);
        task.losses += u32::from(held.phase == Phase::Running);
        let (losses, state) = (task.losses, task.state);
        if losses >= self.config.crash_limit && state == TaskState::Pending {
            let reason = format!("{losses} of its attempts were lost with the agent that ran them");
            self.fail_task(held.task, reason, effects);
        } else {
            self.wait_again(held.task, effects);
        }
        true
    }

    /// A task without a live attempt goes back to the queue, or is CANCELLED if the batch is.
    fn wait_again(&mut self, task: TaskId, effects: &mut Vec<Effect>) {
        if self.task(task).state != TaskState::Pending {
            self.wait_beside_silent(task);
            return;
        }
        if self.cancelled {
            self.cancel_task(task, effects);
        } else {
            self.queue.give_back(task);
        }
    }

    /// A task whose only attempt left is on a silent worker is for others too, as when that worker fell silent.
    fn wait_beside_silent(&mut self, task: TaskId) {
        let silent = |attempt: AttemptId| {
            let worker = self.attempts[&attempt].worker;
            self.workers.get(&worker).is_some_and(|worker| worker.health == Health::Unhealthy)
        };
        let is_alone = self.task(task).state.live().count() == 1 && self.task(task).state.live().all(silent);
        if is_alone && self.job(task.job).spec.rerunnable && !self.cancelled {
            self.queue.give_back(task);
        }
    }

    fn fail_task(&mut self, task: TaskId, reason: String, effects: &mut Vec<Effect>) {
        self.end_task(task, TaskState::Failed, None, effects);
        self.ended.failed += 1;
        effects.push(Effect::Record(Record::Failed { task, reason: reason.clone() }));
        effects.push(Effect::Missing { task });
        effects.push(Effect::Report(Report::Failed { task, reason }));
    }

    pub(super) fn cancel_task(&mut self, task: TaskId, effects: &mut Vec<Effect>) {
        self.end_task(task, TaskState::Cancelled, None, effects);
        self.ended.cancelled += 1;
        effects.push(Effect::Record(Record::Cancelled { task }));
        effects.push(Effect::Missing { task });
    }

    /// Puts a task into a final state; attempts other than the one that counted are stopped.
    fn end_task(&mut self, task: TaskId, state: TaskState, counted: Option<AttemptId>, effects: &mut Vec<Effect>) {
        let before = std::mem::replace(&mut self.task_mut(task).state, state);
        assert!(state.is_final() && !before.is_final(), "{task} goes from {before:?} to {state:?}");
        self.queue.withdraw(task);
        self.avoid.remove(&task);
        for attempt in before.live().filter(|&attempt| Some(attempt) != counted) {
            let held = self.attempts.get_mut(&attempt).expect("a live attempt is held");
            held.phase = Phase::Cancelling;
            effects.push(Effect::Send { worker: held.worker, message: ToAgent::Cancel { attempt } });
        }
    }

    fn detach(&mut self, task: TaskId, attempt: AttemptId) {
        let state = self.task(task).state.without(attempt);
        self.task_mut(task).state = state;
    }

    /// The attempt, if that worker holds it.
    fn held_mut(&mut self, worker: WorkerId, attempt: AttemptId) -> Option<&mut Attempt> {
        self.attempts.get_mut(&attempt).filter(|held| held.worker == worker)
    }

    /// Forgets an attempt that its worker doesn't hold any more.
    fn release(&mut self, attempt: AttemptId) -> Attempt {
        let held = self.attempts.remove(&attempt).expect("only held attempts are released");
        if let Some(worker) = self.workers.get_mut(&held.worker) {
            worker.attempts.remove(&attempt);
        }
        held
    }
}
