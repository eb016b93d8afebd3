//! Tasks that have run well and whose files are being put in their places. They are COMPLETED only when these are there, so
//! that who waits for them finds them.

use titan_proto::id::TaskId;
use titan_proto::message::ResultSummary;
use titan_proto::time::Timestamp;

use super::Manager;
use crate::effect::{Effect, Kept, Record, Report};
use crate::event::WorkerId;
use crate::task::{TaskState, Tried};

/// What a task waits with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Commit {
    pub(super) tried: Tried,
    pub(super) summary: ResultSummary,
}

impl Manager {
    /// The attempt's result is kept, and its worker is done with it.
    pub(super) fn commit(&mut self, tried: Tried, summary: ResultSummary, effects: &mut Vec<Effect>) {
        let Tried { task, attempt, host, process } = tried;
        self.leave_workers(task, TaskState::Committing, Some(attempt), effects);
        self.commits.insert(task, Commit { tried, summary });
        effects.push(Effect::Record(Record::Kept(Kept { task, attempt, host, process, summary })));
        effects.push(Effect::Commit { task });
    }

    pub(super) fn on_committed(&mut self, task: TaskId, problem: Option<String>, effects: &mut Vec<Effect>) {
        let Some(Commit { tried, summary }) = self.commits.remove(&task) else { return };
        match problem {
            None => self.complete(tried, summary, effects),
            Some(reason) => {
                let (Tried { host, process, .. }, number) = (tried, self.task(task).failures + 1);
                let (report, reason) = (reason.clone(), reason);
                effects.push(Effect::Report(Report::AttemptFailed {
                    task,
                    host,
                    reason: report,
                    attempt: number,
                    of: number,
                    process,
                }));
                self.fail_task(task, reason, Some(tried), effects);
            }
        }
    }

    pub(super) fn on_abandon(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.on_cancel(effects);
        for worker in self.workers.iter().map(|(id, _)| id).collect::<Vec<WorkerId>>() {
            self.on_session_lost(now, worker, true, effects);
        }
        for task in std::mem::take(&mut self.commits).into_keys() {
            self.cancel_task(task, None, effects);
        }
    }
}
