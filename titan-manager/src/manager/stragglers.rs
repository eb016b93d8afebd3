//! The tail of a batch: when nothing waits and slots are idle, the slowest tasks that may run twice get a second attempt. The
//! first completion counts, and ends the other.

use std::time::Duration;

use titan_proto::id::{AttemptId, TaskId};
use titan_proto::time::Timestamp;

use super::Manager;
use crate::effect::{Effect, Report};
use crate::worker::{Health, Phase};

impl Manager {
    /// Gives stragglers to idle slots, the slowest first.
    pub(super) fn help_stragglers(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let waits = !self.queue.is_empty() || !self.held.is_empty() || self.is_stopping() || !self.begun;
        if waits || !self.config.speculates || self.config.has_gate() || !self.config.start_delay.is_zero() {
            return;
        }
        let mut slow = self.stragglers(now);
        slow.sort_by_key(|(_, span)| std::cmp::Reverse(*span));
        for (task, span) in slow {
            let Some(worker) = self.find_worker(task, 0, None) else { continue };
            let host = self.workers[&worker].host;
            effects.push(Effect::Report(Report::Speculated { task, host, span }));
            self.queue.give_back(task);
            self.start(now, task, worker, effects);
        }
    }

    /// Tasks that run much longer than others of their job, alone, on a HEALTHY worker; and for how long.
    fn stragglers(&self, now: Timestamp) -> Vec<(TaskId, Duration)> {
        let limits: Vec<Option<Duration>> = self.jobs.iter().map(|job| job.pace.straggles_after()).collect();
        let straggler = |(_, attempt): (&AttemptId, &crate::worker::Attempt)| {
            let task = attempt.task;
            let span = now.since(attempt.since.filter(|_| attempt.phase == Phase::Running)?);
            let is_slow = limits[task.job.0 as usize].is_some_and(|limit| span > limit);
            let is_alone = self.task(task).state.live().count() == 1;
            let is_well = self.workers[&attempt.worker].health == Health::Healthy;
            (is_slow && is_alone && is_well && self.may_be_helped(task)).then_some((task, span))
        };
        self.attempts.iter().filter_map(straggler).collect()
    }
}
