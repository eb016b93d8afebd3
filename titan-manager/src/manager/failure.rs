//! Attempts that failed or were lost: whether their task is tried again, and where it is not.

use titan_proto::id::{AttemptId, TaskId};
use titan_proto::message::Fault;
use titan_proto::time::Timestamp;

use super::Manager;
use crate::effect::{Effect, Record, Report};
use crate::event::HostId;
use crate::task::{TaskState, Tried};
use crate::worker::{Health, HostState, Phase};

/// A task that was lost so often isn't given again to the host that lost it last, where there is another.
const LOSSES_TO_AVOID: u32 = 2;

/// How an attempt failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) fault: Fault,
    /// Whether what it wrote until then is there.
    pub(super) has_result: bool,
}

impl Manager {
    pub(super) fn on_attempt_failed(
        &mut self,
        now: Timestamp,
        tried: Tried,
        failure: Failure,
        effects: &mut Vec<Effect>,
    ) {
        let Tried { task, attempt, host, .. } = tried;
        let Failure { reason, fault, has_result } = failure;
        let is_its_own = match fault {
            Fault::Task => true,
            // There is nowhere else: it counts as a try.
            Fault::Machine => !self.may_go_elsewhere(task, host),
            Fault::Host | Fault::Setup => false,
        };
        // A job's setup that fails does so for each of its tasks: that is one fault.
        let is_known = fault == Fault::Setup && self.job(task.job).unusable.contains_key(&host);
        self.detach(task, attempt);
        let (report, end) = match fault {
            _ if is_its_own => self.count_failure(tried, &reason),
            Fault::Task | Fault::Machine => self.send_elsewhere(tried, &reason),
            Fault::Host => self.exclude(tried, &reason),
            Fault::Setup => self.exclude_from_job(tried, &reason),
        };
        let kept = end.as_ref().map(|_| tried).filter(|_| has_result);
        effects.push(match kept {
            Some(_) => Effect::Keep { attempt, task, is_empty: false },
            None => Effect::Discard { attempt },
        });
        effects.push(Effect::Record(Record::AttemptFailed { task, attempt, host, reason: reason.clone(), is_its_own }));
        effects.push(Effect::Report(report));
        match end {
            Some(reason) => self.fail_task(task, reason, kept, effects),
            None => self.wait_again(task, effects),
        }
        if matches!(fault, Fault::Machine | Fault::Setup) && !is_known {
            self.count_host_fault(now, host, &reason, effects);
        }
    }

    /// The task's own failure. What to report, and the reason if that was its last try.
    fn count_failure(&mut self, tried: Tried, reason: &str) -> (Report, Option<String>) {
        let Tried { task, host, process, .. } = tried;
        let of = self.job(task.job).spec.retries + 1;
        let state = self.task_mut(task);
        state.failures += 1;
        let attempt = state.failures;
        let trouble = self.troubles.entry(task).or_default();
        (trouble.avoid, trouble.last_failed) = (Some(host), Some(tried));
        let report = Report::AttemptFailed { task, host, reason: reason.to_owned(), attempt, of, process };
        (report, (attempt >= of).then(|| reason.to_owned()))
    }

    /// Whether another host than that could take a task, or may come to.
    fn may_go_elsewhere(&self, task: TaskId, host: HostId) -> bool {
        self.hosts.iter().filter(|(other, _)| **other != host).any(|(other, state)| match state {
            HostState::Starting => !self.is_excluded(task, *other),
            HostState::Up(worker) => self.could_take(task, &self.workers[worker]),
            HostState::Absent | HostState::Down => false,
        })
    }

    /// The host lacks what the task needs. What to report, and the reason if nobody is left who could have it.
    fn exclude(&mut self, tried: Tried, reason: &str) -> (Report, Option<String>) {
        *self.jobs[tried.task.job.0 as usize].lacks.entry(tried.host).or_default() += 1;
        self.send_elsewhere(tried, reason)
    }

    /// A task doesn't go to that host any more. What to report, and the reason if nobody is left who could have it.
    fn send_elsewhere(&mut self, tried: Tried, reason: &str) -> (Report, Option<String>) {
        let Tried { task, host, .. } = tried;
        let trouble = self.troubles.entry(task).or_default();
        trouble.last_failed = Some(tried);
        trouble.lacks.insert(host, reason.to_owned());
        (Report::HostLacks { task, host, reason: reason.to_owned() }, self.end_if_unmeetable(task))
    }

    /// None of the job's tasks can run on the host. What to report, and the reason if nobody is left who could run them.
    fn exclude_from_job(&mut self, tried: Tried, reason: &str) -> (Report, Option<String>) {
        let Tried { task, host, .. } = tried;
        self.jobs[task.job.0 as usize].unusable.insert(host, reason.to_owned());
        self.troubles.entry(task).or_default().last_failed = Some(tried);
        self.recheck = true;
        (Report::SetupFailed { task, host, reason: reason.to_owned() }, self.end_if_unmeetable(task))
    }

    fn end_if_unmeetable(&self, task: TaskId) -> Option<String> {
        let is_over = self.task(task).state == TaskState::Pending && self.is_unmeetable(task);
        is_over.then(|| self.unmet_reason(task))
    }

    /// An attempt went with its worker. The task, if that attempt was live and the task goes on.
    pub(super) fn on_attempt_lost(
        &mut self,
        attempt: AttemptId,
        host: HostId,
        effects: &mut Vec<Effect>,
    ) -> Option<TaskId> {
        let held = self.release(attempt);
        effects.push(Effect::Discard { attempt });
        if !held.phase.is_live() {
            return None;
        }
        self.detach(held.task, attempt);
        let task = self.task_mut(held.task);
        task.losses += u32::from(held.phase == Phase::Running);
        let (losses, state) = (task.losses, task.state);
        // One may be the network's; a task that goes with its host again and again goes elsewhere.
        if losses >= LOSSES_TO_AVOID {
            self.troubles.entry(held.task).or_default().avoid = Some(host);
        }
        if losses < self.config.crash_limit || state != TaskState::Pending {
            return Some(held.task);
        }
        let reason = format!("{losses} of its attempts were lost with the agent that ran them");
        self.fail_task(held.task, reason, None, effects);
        None
    }

    /// A task without a live attempt goes back to the queue, or is CANCELLED if no more start.
    pub(super) fn wait_again(&mut self, task: TaskId, effects: &mut Vec<Effect>) {
        if self.task(task).state != TaskState::Pending {
            self.wait_beside_silent(task);
            return;
        }
        if self.is_stopping() {
            self.cancel_task(task, None, effects);
        } else if self.is_held(task) {
            // It may run on a lost agent, and whoever waits for that one's end gives it back.
        } else if self.may_begin(task) {
            self.queue.give_back(task);
        } else {
            // An earlier manager had started it when what it waits for was there.
            self.look_at_task(task, effects);
        }
    }

    /// A task whose only attempt left is on a silent worker is for others too, as when that worker fell silent.
    fn wait_beside_silent(&mut self, task: TaskId) {
        let silent = |attempt: AttemptId| {
            let worker = self.attempts[&attempt].worker;
            self.workers.get(worker).is_some_and(|worker| worker.health == Health::Unhealthy)
        };
        let is_alone = self.task(task).state.live().count() == 1 && self.task(task).state.live().all(silent);
        if is_alone && self.may_be_helped(task) && !self.is_stopping() {
            self.queue.give_back(task);
        }
    }
}
