//! What the manager wants is done: things are told to workers, noted, kept and handed to the sink.

use std::path::PathBuf;
use std::time::Duration;

use titan_manager::journal::{Entry, Identity};
use titan_manager::{Effect, Event, Lifecycle, Record, WorkerId};
use titan_proto::files::BlobId;
use titan_proto::id::{AttemptId, TaskId};
use titan_proto::message::{Outcome, Part, ResultSummary, ToAgent, ToManager};

use super::Driver;
use super::host::Command;
use super::note::Note;
use super::staging::{StagedStart, Start};
use crate::state::now_ms;

/// What took a computation less than this isn't put on the disk at once: the system does that within half a minute, and after a power
/// cut what it hasn't is made again.
const WORTH_A_SYNC: Duration = Duration::from_secs(1);

impl Driver<'_> {
    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { worker, message } => {
                self.tell_said(worker, true, &message);
                self.send(worker, message);
            }
            Effect::Keep { is_empty: true, .. } => {}
            Effect::Keep { attempt, task, .. } => {
                if let Err(error) = self.spool.keep(attempt, task) {
                    self.ended.write_error = Some(error);
                }
            }
            Effect::Discard { attempt } => self.sink.discard(attempt, &self.spool),
            Effect::Commit { task } => self.sink.commit(task),
            Effect::Record(record) => {
                let rests_on = self.result_of(&record);
                let entry = Entry::Manager { record, at_ms: now_ms() };
                self.noted = self.journal.note_soon([entry], rests_on);
            }
            Effect::Deliver(end) => {
                if end.state != Lifecycle::Completed {
                    self.tell(&Note::Missed(end.clone()));
                }
                self.sink.ended_task(end);
            }
            Effect::EndSession { worker } => {
                if let Some(mut connected) = self.connections.remove(&worker) {
                    connected.outbox.push(Command::GiveUp);
                    let _ = connected.commands.send(connected.outbox);
                }
            }
            Effect::Report(report) => self.tell(&Note::Manager(report)),
            Effect::Finished(verdict) => self.ended.verdict = Some(verdict),
        }
    }

    /// The file that a record rests on: none, if it is empty, or made again sooner than waited for.
    fn result_of(&self, record: &Record) -> Option<PathBuf> {
        match record {
            Record::Ended { end, summary: Some(summary) } if end.process.is_none() && !is_worth_a_sync(summary) => None,
            Record::Kept(kept) if kept.summary.bytes > 0 => Some(self.spool.path(kept.task)),
            Record::Ended { end, summary } if end.has_result && summary.is_none_or(|summary| summary.bytes > 0) => {
                Some(self.spool.path(end.task))
            }
            _ => None,
        }
    }

    /// What a task of a command is told has been put together.
    pub(super) fn on_staged(&mut self, staged: StagedStart) {
        if self.staging.withdraw(staged.attempt) {
            self.on_ready(staged);
            self.handle_all(self.clock.now());
        }
    }

    fn on_ready(&mut self, staged: StagedStart) {
        let StagedStart { worker, attempt, task, identity, start } = staged;
        match start {
            Ok(_) if self.needs_not_run(task, identity) => self.answer_done(worker, attempt),
            Ok(start) => self.pass_on(worker, Command::Start(start)),
            Err(reason) => {
                self.answer(worker, ToManager::Finished { attempt, outcome: Outcome::failed(reason), process: None });
            }
        }
    }

    /// Whether what a task would leave is there already. Notes which task it is.
    fn needs_not_run(&mut self, task: TaskId, identity: Option<BlobId>) -> bool {
        let Some(identity) = identity.map(Identity::of) else { return false };
        self.journal.note_soon([Entry::Identified { task, identity }], None);
        self.reuse.take(task, identity)
    }

    /// A task has its result without having run.
    fn answer_done(&mut self, worker: WorkerId, attempt: AttemptId) {
        let outcome = Outcome::Completed(ResultSummary { bytes: 0, crc: crc32fast::hash(b""), compute_us: 0 });
        self.answer(worker, ToManager::Finished { attempt, outcome, process: None });
    }

    /// Says something for a worker that hasn't heard of an attempt yet.
    fn answer(&mut self, worker: WorkerId, message: ToManager) {
        self.events.push_back(Event::Message { worker, message });
    }

    /// An attempt that wasn't told to its worker yet is stopped here.
    fn send(&mut self, worker: WorkerId, message: ToAgent) {
        match message {
            ToAgent::Start { attempt, task, tried, part: Part::OfJob } => self.start(worker, attempt, task, tried),
            ToAgent::Recall { attempt } if self.staging.withdraw(attempt) => {
                self.answer(worker, ToManager::Recalled { attempt });
            }
            ToAgent::Cancel { attempt } if self.staging.withdraw(attempt) => {
                let outcome = Outcome::Cancelled;
                self.answer(worker, ToManager::Finished { attempt, outcome, process: None });
            }
            ToAgent::Adopt { attempt, task, .. } => {
                self.sink.begun(attempt, task);
                let files = self.sources[task.job.0 as usize].files(task.index).unwrap_or_default();
                let check = self.staging.check(task, files);
                self.pass_on(worker, Command::Adopt { attempt, task, check });
            }
            message => self.pass_on(worker, Command::Send(message)),
        }
    }

    fn pass_on(&mut self, worker: WorkerId, command: Command) {
        if let Some(connected) = self.connections.get_mut(&worker) {
            connected.outbox.push(command);
        }
    }

    /// Notes and sends what has come of the last events, in this order: what can't be noted isn't sent. Sending fails only if a
    /// connection has just ended, and `Lost` is on its way.
    pub(super) fn send_out(&mut self) {
        self.sink.send_out();
        if !self.journal.flush() {
            return;
        }
        for connected in self.connections.values_mut().filter(|connected| !connected.outbox.is_empty()) {
            let _ = connected.commands.send(std::mem::take(&mut connected.outbox));
        }
    }

    /// A task is put together, and told to its worker.
    fn start(&mut self, worker: WorkerId, attempt: AttemptId, task: TaskId, tried: u32) {
        let Some(is_local) = self.connections.get(&worker).map(|connected| connected.is_local) else { return };
        self.sink.begun(attempt, task);
        let source = &self.sources[task.job.0 as usize];
        let (identity, files) = (source.identity(task.index), source.files(task.index));
        match source.part(task.index) {
            Part::Command(command) => {
                let start = Start { worker, is_local, attempt, task, tried, command, files, identity };
                if let Some(staged) = self.staging.begin(start, source.base()) {
                    self.on_ready(staged);
                }
            }
            _ if files.is_ok() && self.needs_not_run(task, identity) => self.answer_done(worker, attempt),
            part => match files {
                Ok(_) => self.pass_on(worker, Command::Send(ToAgent::Start { attempt, task, tried, part })),
                Err(reason) => {
                    let outcome = Outcome::failed(reason);
                    self.answer(worker, ToManager::Finished { attempt, outcome, process: None });
                }
            },
        }
    }
}

fn is_worth_a_sync(summary: &ResultSummary) -> bool {
    Duration::from_micros(summary.compute_us) >= WORTH_A_SYNC
}
