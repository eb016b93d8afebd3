//! What workers say of attempts, and what the end of an attempt means for its task.

use std::time::Duration;

use titan_proto::command::ProcessEnd;
use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::{Fault, Outcome, ResultSummary, ToAgent, ToManager};
use titan_proto::time::Timestamp;

use super::Manager;
use super::failure::Failure;
use crate::effect::{Effect, Record, Report, TaskEnd};
use crate::event::WorkerId;
use crate::task::{TaskState, Tried, Trouble};
use crate::worker::{Attempt, Load, Phase};

/// What a worker says of an attempt's end.
struct Said {
    attempt: AttemptId,
    outcome: Outcome,
    process: Option<ProcessEnd>,
}

impl Manager {
    pub(super) fn on_message(
        &mut self,
        now: Timestamp,
        worker: WorkerId,
        message: ToManager,
        effects: &mut Vec<Effect>,
    ) {
        if !self.workers.contains(worker) {
            // What a lost worker sends last counts for nothing.
            if let ToManager::Finished { attempt, .. } = message
                && !self.attempts.contains_key(&attempt)
            {
                effects.push(Effect::Discard { attempt });
            }
            return;
        }
        match message {
            ToManager::Started { attempt } => self.on_started(now, worker, attempt, effects),
            ToManager::Finished { attempt, outcome, process } => {
                self.on_finished(now, worker, Said { attempt, outcome, process }, effects);
            }
            ToManager::Recalled { attempt } => self.on_recalled(worker, attempt, effects),
            ToManager::AlreadyStarted { attempt } => self.on_already_started(now, worker, attempt),
            // Files are the affair of who drives.
            ToManager::Want { .. } | ToManager::Holds { .. } => {}
            ToManager::Load { load_hundredths, free_memory_bytes } => {
                self.workers.change(worker, |worker| worker.load = Some(Load { load_hundredths, free_memory_bytes }));
            }
        }
    }

    fn on_started(&mut self, now: Timestamp, worker: WorkerId, attempt: AttemptId, effects: &mut Vec<Effect>) {
        let Some(held) = self.held_mut(worker, attempt) else { return };
        held.since.get_or_insert(now);
        if held.phase.is_live() {
            let task = held.task;
            self.set_phase(attempt, Phase::Running);
            let host = self.workers[&worker].host;
            effects.push(Effect::Report(Report::Started { task, attempt, host }));
        }
    }

    fn on_already_started(&mut self, now: Timestamp, worker: WorkerId, attempt: AttemptId) {
        let Some(held) = self.held_mut(worker, attempt) else { return };
        held.since.get_or_insert(now);
        if held.phase == Phase::Recalling {
            self.set_phase(attempt, Phase::Running);
        }
    }

    fn on_recalled(&mut self, worker: WorkerId, attempt: AttemptId, effects: &mut Vec<Effect>) {
        // Who has said that it runs can't give it back: that agent is wrong, and the attempt may still run.
        if self.held_mut(worker, attempt).is_none_or(|held| held.phase == Phase::Running) {
            return;
        }
        let held = self.release(attempt);
        self.note_over(held.task, attempt, effects);
        self.never_began(held.task, attempt);
        if held.phase.is_live() {
            self.detach(held.task, attempt);
            self.wait_again(held.task, effects);
        }
    }

    /// A start of this manager's was none; what an earlier one has started counts as it is.
    fn never_began(&mut self, task: TaskId, attempt: AttemptId) {
        if attempt.epoch == self.config.epoch && !self.task(task).state.is_final() {
            self.task_mut(task).tried -= 1;
        }
    }

    fn on_finished(
        &mut self,
        now: Timestamp,
        worker: WorkerId,
        Said { attempt, outcome, process }: Said,
        effects: &mut Vec<Effect>,
    ) {
        let host = self.workers[&worker].host;
        let held = self.held_mut(worker, attempt).map(|held| *held);
        if held.is_some() {
            self.release(attempt);
        }
        if let Some(Attempt { task, phase, since, .. }) = held.filter(|held| held.phase.is_live()) {
            if let (Outcome::Completed(_), Some(since)) = (&outcome, since) {
                self.note_pace(task.job, now.since(since));
            }
            if outcome == Outcome::Cancelled && phase != Phase::Running {
                self.never_began(task, attempt);
            }
            let was_stopped = self.is_stopping() || phase == Phase::Stopping;
            self.on_live_outcome(now, Tried { task, attempt, host, process }, outcome, was_stopped, effects);
        } else {
            if let Some(Attempt { task, since: None, .. }) = held
                && outcome == Outcome::Cancelled
            {
                self.never_began(task, attempt);
            }
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
        now: Timestamp,
        tried: Tried,
        outcome: Outcome,
        was_stopped: bool,
        effects: &mut Vec<Effect>,
    ) {
        match outcome {
            Outcome::Completed(summary) => self.on_success(tried, summary, effects),
            Outcome::Failed { reason, fault, result } => {
                let failure = Failure { reason, fault, has_result: result.is_some() };
                self.on_attempt_failed(now, tried, failure, effects);
            }
            Outcome::Cancelled if was_stopped => {
                effects.push(Effect::Discard { attempt: tried.attempt });
                self.note_over(tried.task, tried.attempt, effects);
                self.detach(tried.task, tried.attempt);
                self.wait_again(tried.task, effects);
            }
            Outcome::Cancelled => {
                let reason = "the agent stopped it without being asked".to_owned();
                let failure = Failure { reason, fault: Fault::Task, has_result: false };
                self.on_attempt_failed(now, tried, failure, effects);
            }
        }
    }

    fn on_success(&mut self, tried: Tried, summary: ResultSummary, effects: &mut Vec<Effect>) {
        let Tried { task, attempt, host, .. } = tried;
        self.jobs[task.job.0 as usize].lacks.remove(&host);
        self.clear_host_faults(host);
        effects.push(Effect::Keep { attempt, task, is_empty: summary.bytes == 0 });
        match self.job(task.job).spec.commits {
            true => self.commit(tried, summary, effects),
            false => self.complete(tried, summary, effects),
        }
    }

    pub(super) fn complete(&mut self, tried: Tried, summary: ResultSummary, effects: &mut Vec<Effect>) {
        let Tried { task, attempt, host, process } = tried;
        self.end_task(task, TaskState::Completed, Some(attempt), effects);
        conclude(self.task_end(task, Some(tried), true, None), Some(summary), effects);
        let compute = Duration::from_micros(summary.compute_us);
        effects.push(Effect::Report(Report::Completed { task, attempt, host, compute, process }));
    }

    pub(super) fn fail_task(&mut self, task: TaskId, reason: String, kept: Option<Tried>, effects: &mut Vec<Effect>) {
        let last_failed = self.end_task(task, TaskState::Failed, None, effects).last_failed;
        conclude(self.task_end(task, kept.or(last_failed), kept.is_some(), Some(reason)), None, effects);
    }

    pub(super) fn cancel_task(&mut self, task: TaskId, reason: Option<String>, effects: &mut Vec<Effect>) {
        let last_failed = self.end_task(task, TaskState::Cancelled, None, effects).last_failed;
        conclude(self.task_end(task, last_failed, false, reason), None, effects);
    }

    /// How a task has ended; `last` is the attempt that counts or the last one that failed.
    fn task_end(&self, task: TaskId, last: Option<Tried>, has_result: bool, reason: Option<String>) -> TaskEnd {
        TaskEnd {
            task,
            state: self.lifecycle(task),
            attempt: last.map(|tried| tried.attempt),
            attempts: self.task(task).tried,
            host: last.map(|tried| tried.host),
            has_result,
            process: last.and_then(|tried| tried.process),
            reason,
        }
    }

    /// Puts a task into a final state; attempts other than the one that counted are stopped.
    fn end_task(
        &mut self,
        task: TaskId,
        state: TaskState,
        counted: Option<AttemptId>,
        effects: &mut Vec<Effect>,
    ) -> Trouble {
        assert!(state.is_final(), "{task} ends as {state:?}");
        self.leave_workers(task, state, counted, effects);
        self.count_ended(task, state);
        self.troubles.remove(&task).unwrap_or_default()
    }

    /// Puts a task into a state in which no worker has to do with it.
    pub(super) fn leave_workers(
        &mut self,
        task: TaskId,
        state: TaskState,
        counted: Option<AttemptId>,
        effects: &mut Vec<Effect>,
    ) {
        let before = std::mem::replace(&mut self.task_mut(task).state, state);
        assert!(!before.is_final(), "{task} goes from {before:?} to {state:?}");
        self.queue.withdraw(task);
        self.release_from_holds(task);
        for attempt in before.live().filter(|&attempt| Some(attempt) != counted) {
            self.set_phase(attempt, Phase::Cancelling);
            let worker = self.attempts[&attempt].worker;
            effects.push(Effect::Send { worker, message: ToAgent::Cancel { attempt } });
        }
    }

    pub(super) fn count_ended(&mut self, task: TaskId, state: TaskState) {
        match state {
            TaskState::Completed => self.ended.completed += 1,
            TaskState::Failed => self.ended.failed += 1,
            _ => self.ended.cancelled += 1,
        }
        let job = &mut self.jobs[task.job.0 as usize];
        job.ended += 1;
        if state != TaskState::Completed {
            job.spoiled.get_or_insert(task.index);
        }
        if !job.dependents.is_empty() {
            self.just_ended.push(task);
        }
    }

    /// Whoever goes on with the batch needn't wait for that attempt.
    pub(super) fn note_over(&self, task: TaskId, attempt: AttemptId, effects: &mut Vec<Effect>) {
        if !self.may_run_twice(task) {
            effects.push(Effect::Record(Record::Over { attempt }));
        }
    }

    pub(super) fn detach(&mut self, task: TaskId, attempt: AttemptId) {
        let state = self.task(task).state.without(attempt);
        self.task_mut(task).state = state;
    }

    /// The attempt, if that worker holds it.
    fn held_mut(&mut self, worker: WorkerId, attempt: AttemptId) -> Option<&mut Attempt> {
        self.attempts.get_mut(&attempt).filter(|held| held.worker == worker)
    }

    /// A task of that job took that long.
    fn note_pace(&mut self, job: JobId, span: Duration) {
        let pace = &mut self.jobs[job.0 as usize].pace;
        let before = pace.depth();
        pace.add(span);
        if pace.depth() != before {
            self.deepest = self.jobs.iter().map(|job| job.pace.depth()).max().unwrap_or(1);
        }
    }

    /// Forgets an attempt that its worker doesn't hold any more.
    pub(super) fn release(&mut self, attempt: AttemptId) -> Attempt {
        let held = self.attempts.remove(&attempt).expect("only held attempts are released");
        let was_recalled = u32::from(held.phase == Phase::Recalling);
        self.recalling -= was_recalled;
        let request = &self.jobs[held.task.job.0 as usize].spec.request;
        self.workers.change(held.worker, |worker| {
            worker.attempts.remove(&attempt);
            worker.recalled -= was_recalled;
            if !held.has_ended {
                worker.used.remove(request);
            }
        });
        held
    }
}

/// Notes the end of a task, if the journal has it, and tells its sink.
fn conclude(end: TaskEnd, summary: Option<ResultSummary>, effects: &mut Vec<Effect>) {
    if end.is_noted() {
        effects.push(Effect::Record(Record::Ended { end: end.clone(), summary }));
    }
    effects.push(Effect::Deliver(end));
}
