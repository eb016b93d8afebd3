//! How a batch comes to its end: a person cancels it, what `--halt` waits for has happened, nobody is left to work, or all
//! is done.

use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::ToAgent;
use titan_proto::time::Timestamp;

use super::{Ended, Manager};
use crate::config::{Halt, HaltWhy};
use crate::effect::{Effect, End, Verdict};
use crate::task::{Job, TaskState};
use crate::worker::{Attempt, Phase};

/// Why no more tasks start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Cancelled,
    Halted(HaltWhy),
}

/// A part of the tasks says something only when so many have ended.
const FEWEST_FOR_PERCENT: u64 = 3;

impl Manager {
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    pub(super) fn on_cancel(&mut self, effects: &mut Vec<Effect>) {
        self.stop = Some(Stop::Cancelled);
        self.cancel_pending(effects);
        self.stop_running(effects);
    }

    pub(super) fn halt_if_due(&mut self, effects: &mut Vec<Effect>) {
        let Some(Halt { now, why }) = self.config.halt.filter(|halt| !self.is_stopping() && self.is_due(halt.why))
        else {
            return;
        };
        self.stop = Some(Stop::Halted(why));
        self.cancel_pending(effects);
        match now {
            true => self.stop_running(effects),
            false => self.take_back_all(effects),
        }
    }

    /// Tasks that were CANCELLED because of others don't count: nothing was tried.
    fn is_due(&self, why: HaltWhy) -> bool {
        let Ended { completed, failed, .. } = self.ended;
        let ended = completed + failed;
        match why {
            HaltWhy::Failed(least) => failed >= least,
            HaltWhy::Completed(least) => completed >= least,
            HaltWhy::Ended(least) => ended >= least,
            HaltWhy::FailedPercent(percent) => {
                ended >= FEWEST_FOR_PERCENT && failed > 0 && failed * 100 >= ended * u64::from(percent)
            }
        }
    }

    /// The last first: what is queued has gone before what runs makes room for it.
    fn stop_running(&self, effects: &mut Vec<Effect>) {
        for (&attempt, held) in self.attempts.iter().rev().filter(|(_, held)| held.phase.is_live()) {
            effects.push(Effect::Send { worker: held.worker, message: ToAgent::Cancel { attempt } });
        }
    }

    /// What waits in a worker's queue mustn't start any more.
    fn take_back_all(&mut self, effects: &mut Vec<Effect>) {
        self.take_back(self.attempts.keys().copied().collect(), effects);
    }

    /// Asks those of these attempts back that haven't begun.
    pub(super) fn take_back(&mut self, attempts: Vec<AttemptId>, effects: &mut Vec<Effect>) {
        for attempt in attempts {
            let Attempt { phase, worker, .. } = self.attempts[&attempt];
            if phase == Phase::Scheduled {
                self.set_phase(attempt, Phase::Recalling);
                effects.push(Effect::Send { worker, message: ToAgent::Recall { attempt } });
            }
        }
    }

    pub(super) fn cancel_pending(&mut self, effects: &mut Vec<Effect>) {
        let mut waiting = self.queue.drain();
        waiting.extend(std::mem::take(&mut self.held).into_values().flat_map(|hold| hold.tasks));
        waiting.extend(self.tasks_that_may_wait_for_others());
        for task in waiting {
            if self.task(task).state == TaskState::Pending {
                self.cancel_task(task, None, effects);
            }
        }
        self.just_ended.clear();
    }

    fn tasks_that_may_wait_for_others(&self) -> Vec<TaskId> {
        let waits = |(_, job): &(usize, &Job)| !job.spec.after.is_empty();
        let tasks = |(number, job): (usize, &Job)| {
            (0..job.tasks.len() as u32).map(move |index| TaskId { job: JobId(number as u32), index })
        };
        self.jobs.iter().enumerate().filter(waits).flat_map(tasks).collect()
    }

    pub(super) fn finish(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let end = match self.all_ended() {
            true => self.end(),
            // What is being put in its places needs no worker.
            false if !self.is_stopping() && self.commits.is_empty() && self.has_no_workers() => End::NoWorkers,
            false => return,
        };
        if end == End::NoWorkers {
            self.stop = Some(Stop::Cancelled);
            self.give_up_workers(now, effects);
            self.cancel_pending(effects);
        }
        let Ended { completed, failed, cancelled } = self.ended;
        let verdict = Verdict { end, completed, failed, cancelled };
        self.verdict = Some(verdict);
        effects.push(Effect::Finished(verdict));
    }

    fn end(&self) -> End {
        match self.stop {
            None => End::Done,
            Some(Stop::Cancelled) => End::Cancelled,
            Some(Stop::Halted(HaltWhy::Completed(_))) => End::Halted(true),
            Some(Stop::Halted(HaltWhy::Ended(_))) => End::Halted(self.ended.failed == 0),
            Some(Stop::Halted(HaltWhy::Failed(_) | HaltWhy::FailedPercent(_))) => End::Halted(false),
        }
    }

    fn all_ended(&self) -> bool {
        let Ended { completed, failed, cancelled } = self.ended;
        !self.jobs.is_empty()
            && (self.is_stopping() || self.jobs.iter().all(|job| job.spec.closed))
            && completed + failed + cancelled == self.total()
    }
}
