//! Tasks that have a past: a manager that goes on with a batch takes what earlier ones have noted of a task when its job has it
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use titan_proto::id::{JobId, TaskId};
use titan_proto::message::{Held, HeldState, ToAgent};
use titan_proto::time::Timestamp;

use super::Manager;
use super::commit::Commit;
use super::hold::Holder;
use crate::config::Config;
use crate::effect::{Effect, Kept, Record, Report};
use crate::event::{HostId, WorkerId};
use crate::journal::Past;
use crate::journal::past::{PastState, PastTask};
use crate::task::{Lifecycle, TaskState, Tried};
use crate::worker::{Attempt, Phase};

impl Manager {
    /// A manager that goes on with a batch. Its epoch must be higher than that of the one before.
    pub fn resumed(config: Config, past: Past) -> Self {
        assert!(config.epoch > past.epoch, "each manager has an epoch of its own");
        let places = if past.may_lack { 0..past.hosts.len() as u32 } else { 0..0 };
        let past_given = past.given.into_values().collect();
        Self {
            past: past.tasks,
            past_given,
            past_places: places.map(HostId).collect(),
            is_resumed: true,
            ..Self::new(config)
        }
    }

    /// Takes what is known of these tasks, which a job has now. Whether anything was.
    pub(super) fn recall(&mut self, now: Timestamp, job: JobId, tasks: Range<u32>, effects: &mut Vec<Effect>) -> bool {
        if self.past.is_empty() && self.past_given.is_empty() && self.past_places.is_empty() {
            return false;
        }
        let of_range = TaskId { job, index: tasks.start }..TaskId { job, index: tasks.end };
        for (task, past) in self.past.extract_if(of_range.clone(), |_, _| true).collect::<Vec<_>>() {
            self.recall_task(task, past, effects);
        }
        let mut held: BTreeMap<HostId, BTreeSet<TaskId>> = BTreeMap::new();
        for (task, host) in self.past_given.extract_if(of_range, |_, _| true).collect::<Vec<_>>() {
            if self.must_hold(task) {
                held.entry(host).or_default().insert(task);
            }
        }
        for &host in &self.past_places {
            let may_run = tasks.clone().map(|index| TaskId { job, index }).filter(|task| self.must_hold(*task));
            held.entry(host).or_default().extend(may_run);
        }
        for (host, tasks) in held {
            self.hold(now, (Holder::Past(host), host), tasks, effects);
        }
        true
    }

    /// An attempt of an earlier manager is still there: it goes on if its task may have it.
    pub(super) fn adopt(&mut self, now: Timestamp, worker: WorkerId, held: Held, effects: &mut Vec<Effect>) {
        let Held { attempt, task, state, .. } = held;
        let forget = Effect::Send { worker, message: ToAgent::Forget { attempt } };
        let host = self.workers[&worker].host;
        if attempt.epoch >= self.config.epoch || self.attempts.contains_key(&attempt) {
            return effects.push(forget);
        }
        if self.jobs.get(task.job.0 as usize).is_none_or(|job| job.tasks.get(task.index).is_none()) {
            // It may come to be one, and this attempt takes its time to end.
            self.past_given.insert(task, host);
            return effects.push(forget);
        }
        let runs_here = self.task(task).state.live().any(|live| self.attempts[&live].worker == worker);
        let may_have_it = match self.task(task).state {
            TaskState::Pending => true,
            // Not two on one host: no manager gives them so.
            TaskState::Live(_) if self.is_stopping() || runs_here => false,
            TaskState::Live(live) if live.second.is_some() => false,
            // A journal that has lost its end doesn't know that another attempt came after one that has ended.
            TaskState::Live(live) => self.may_run_twice(task) || self.attempts[&live.first].has_ended,
            TaskState::Committing | TaskState::Completed | TaskState::Failed | TaskState::Cancelled => false,
        };
        let phase = match state {
            HeldState::Ended if !may_have_it => return effects.push(forget),
            HeldState::Runs | HeldState::Stops if !may_have_it => Phase::Cancelling,
            HeldState::Ended | HeldState::Stops => Phase::Stopping,
            HeldState::Runs => Phase::Running,
        };
        let (since, has_ended) = ((phase == Phase::Running).then_some(now), state == HeldState::Ended);
        self.attempts.insert(attempt, Attempt { task, worker, phase, since, has_ended });
        let request = &self.jobs[task.job.0 as usize].spec.request;
        self.workers.change(worker, |holder| {
            holder.attempts.insert(attempt);
            if !has_ended {
                holder.used.add(request);
            }
        });
        effects.push(Effect::Send { worker, message: ToAgent::Adopt { attempt, task, have: 0 } });
        if phase == Phase::Cancelling {
            return effects.push(Effect::Send { worker, message: ToAgent::Cancel { attempt } });
        }
        // An earlier manager had as many workers as it wanted.
        self.begun = true;
        self.queue.remove(task);
        if !has_ended {
            self.release_from_holds(task);
        }
        let of_task = self.task_mut(task);
        of_task.state = of_task.state.with(attempt);
        of_task.tried += 1;
        // Whatever another attempt has missed there.
        if let Some(trouble) = self.troubles.get_mut(&task) {
            trouble.lacks.remove(&host);
        }
        if !self.may_run_twice(task) {
            effects.push(Effect::Record(Record::Given { task, attempt, host }));
        }
        if phase == Phase::Running {
            effects.push(Effect::Report(Report::Adopted { task, attempt, host }));
        }
    }

    fn recall_task(
        &mut self,
        task: TaskId,
        PastTask { state, failures, tried, .. }: PastTask,
        effects: &mut Vec<Effect>,
    ) {
        let of_task = self.task_mut(task);
        (of_task.failures, of_task.tried) = (failures, tried);
        match state {
            PastState::Open => {}
            PastState::Kept(kept) => {
                let Kept { attempt, host, process, summary, .. } = *kept;
                of_task.state = TaskState::Committing;
                let tried = Tried { task, attempt, host, process };
                self.commits.insert(task, Commit { tried, summary });
                effects.push(Effect::Commit { task });
            }
            PastState::Ended(past) => {
                self.recall_end(task, past.end.state);
                if !past.is_told {
                    effects.push(Effect::Deliver(past.end));
                }
            }
            PastState::Settled => self.recall_end(task, Lifecycle::Completed),
        }
    }

    fn recall_end(&mut self, task: TaskId, state: Lifecycle) {
        let state = match state {
            Lifecycle::Completed => TaskState::Completed,
            Lifecycle::Failed => TaskState::Failed,
            // What was CANCELLED waits again; nothing else is an end.
            _ => return,
        };
        self.task_mut(task).state = state;
        self.count_ended(task, state);
    }
}
