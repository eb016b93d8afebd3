//! titan's lives: its journal and what waits for it, its death in the middle of everything, and the next titan that goes on.

use std::time::Duration;

use titan_manager::journal::{Entry, Gate, Journal, JournalError, Past};
use titan_manager::{Effect, Event, Lifecycle, Manager, Record, Rerun};
use titan_proto::files::BlobId;
use titan_proto::id::{AttemptId, Epoch, JobId, TaskId};
use titan_proto::message::ToAgent;
use titan_proto::time::Timestamp;

use super::Sabotage;
use super::disk::Disk;
use super::faults::Fault;
use super::ledger::known_of;
use super::wire::Side;
use super::world::{Happening, World};

/// What titan keeps of itself.
#[derive(Debug)]
pub(super) struct Life {
    /// Counts from 1; happenings of an earlier one concern nobody.
    pub(super) number: u32,
    pub(super) epoch: Epoch,
    pub(super) is_up: bool,
    disk: Disk,
    journal: Option<Journal<Disk>>,
    gate: Gate,
    /// The last frame that was written.
    noted: u64,
    /// Results that have to be on the disk with the frames that aren't.
    rests_on: Vec<TaskId>,
    sync: Option<Sync>,
    /// Attempts whose good end is noted.
    concluded: Vec<(AttemptId, TaskId)>,
    boots: u32,
}

/// A sync under way.
#[derive(Debug)]
struct Sync {
    frame: u64,
    length: usize,
    results: Vec<TaskId>,
}

impl Life {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            number: 0,
            epoch,
            is_up: false,
            disk: Disk::default(),
            journal: None,
            gate: Gate::default(),
            noted: 0,
            rests_on: Vec::new(),
            sync: None,
            concluded: Vec::new(),
            boots: 0,
        }
    }
}

impl World {
    /// A titan begins: what the journal says, what its manager makes of it, and which hosts it starts.
    pub(super) fn begin_life(&mut self) {
        let (mut past, mut entries) = (Past::default(), Vec::new());
        let forgets = self.sabotage == Sabotage::ForgetsAFrame;
        let opened = Journal::open(self.life.disk.clone(), |entry, is_sure| {
            if forgets && matches!(entry, Entry::Manager { record: Record::Ended { .. }, .. }) && entries.len() % 7 == 3
            {
                return entries.push(Entry::Told { task: TaskId { job: JobId(u32::MAX), index: 0 } });
            }
            past.add(entry.clone(), is_sure);
            entries.push(entry);
        });
        let mut journal = opened.unwrap_or_else(|error| panic!("the journal can't be read: {error}"));
        let is_resumed = past.epoch != Epoch::default();
        let mut begins = Vec::new();
        let known = self.recover(&mut past, &entries, &mut begins);
        self.life.number += 1;
        self.life.epoch = if is_resumed { self.next_epoch(past.epoch) } else { self.scenario.config.epoch };
        let began = Entry::Began {
            epoch: self.life.epoch,
            boot: format!("boot {}", self.life.boots),
            hosts: (0..self.scenario.hosts.len()).map(|host| format!("host{host}")).collect(),
            jobs: Vec::new(),
            plan: BlobId([0; 32]),
            retries_failed: false,
            at_ms: 0,
        };
        begins.push(began.clone());
        let begun = journal.append(&begins).and_then(|_| journal.sync());
        let Ok(written) = begun else { return self.die_of_its_disk() };
        let before = past.epoch;
        past.add(began, true);
        past.epoch = before;
        self.life.noted = written;
        self.life.gate = Gate::new(written);
        self.life.journal = Some(journal);
        self.life.is_up = true;
        let config =
            titan_manager::Config { epoch: self.life.epoch, waits_at_start: is_resumed, ..self.manager_config() };
        if is_resumed {
            self.note(&format!("titan goes on, for the {}. time", self.life.number - 1));
            let totals =
                (0..self.scenario.jobs.len() as u32).map(|job| (past.tasks_of(JobId(job)), past.is_closed(JobId(job))));
            self.job_events = self.scenario.job_events_after(&totals.collect::<Vec<_>>());
            if self.sabotage == Sabotage::ForgetsWhatRuns {
                past = Past::of(entries.into_iter().filter(|entry| !is_given(entry)));
                (past.may_lack, past.epoch) = (false, before);
            }
            self.model.begin_life(self.now, known);
            self.manager = Manager::resumed(config, past);
            // Who has cancelled once does so again.
            let cancels = |(after, fault): &(Duration, Fault)| {
                *fault == Fault::Cancel && Timestamp::default() + *after <= self.now
            };
            if let Some(number) = self.scenario.faults.iter().position(cancels) {
                let span = self.random.millis(0, 8_000);
                self.after(span, Happening::Fault(number));
            }
        } else {
            self.job_events = self.scenario.job_events();
            self.manager = Manager::new(config);
        }
        self.begin();
    }

    fn next_epoch(&self, before: Epoch) -> Epoch {
        match self.sabotage {
            // An epoch that isn't on the disk before it is used.
            Sabotage::KeepsItsEpoch => Epoch(before.0),
            _ => Epoch(before.0 + 1),
        }
    }

    /// What the manager is told of the lease.
    fn manager_config(&self) -> titan_manager::Config {
        let mut config = self.scenario.config.clone();
        if self.sabotage == Sabotage::MistakesTheLease {
            config.lease /= 4;
        }
        config
    }

    /// Holds what the journal says against what can't be taken back, and its results against the spool.
    fn recover(
        &mut self,
        past: &mut Past,
        entries: &[Entry],
        reopened: &mut Vec<Entry>,
    ) -> std::collections::BTreeMap<TaskId, super::model::Known> {
        let mut known = known_of(entries);
        for result in past.results() {
            if self.model.spool.check(result.task, result.summary) {
                continue;
            }
            let may_be_gone = !result.is_sure || !self.is_worth_a_sync(result.task);
            assert!(may_be_gone, "the result of {} was on the disk and is gone", result.task);
            self.ledger.reopen(result.task);
            past.reopen(result.task);
            reopened.push(Entry::Reopened { task: result.task });
            let of_task = known.entry(result.task).or_default();
            (of_task.end, of_task.told, of_task.is_kept) = (None, None, false);
        }
        self.ledger.check(&known);
        self.model.spool.retain(|task| known.get(&task).is_some_and(|known| known.is_kept || known.end.is_some()));
        known
    }

    /// An effect goes through the gate.
    pub(super) fn pass(&mut self, effect: Effect) {
        let is_early = match self.sabotage {
            Sabotage::AcknowledgesBeforeSync => is_acknowledge(&effect),
            Sabotage::CommitsBeforeSync => matches!(effect, Effect::Commit { .. }),
            Sabotage::TellsBeforeSync => matches!(effect, Effect::Deliver(_)),
            _ => false,
        };
        let noted = if is_early { 0 } else { self.life.noted };
        if is_early {
            self.carry_out(effect);
        } else if let Some(effect) = self.life.gate.pass(noted, effect) {
            self.carry_out(effect);
        }
    }

    /// Writes to the journal, and has it synced soon.
    pub(super) fn journal(&mut self, entry: Entry) {
        let Some(journal) = &mut self.life.journal else { return };
        match journal.append(&[entry]) {
            Ok(written) => self.life.noted = written,
            Err(error) => return self.on_journal_failed(&error),
        }
        self.begin_sync();
    }

    fn begin_sync(&mut self) {
        let Some(journal) = self.life.journal.as_ref().filter(|_| self.life.sync.is_none()) else { return };
        let results = match self.sabotage {
            Sabotage::SyncsNoResults => Vec::new(),
            _ => std::mem::take(&mut self.life.rests_on),
        };
        self.life.sync = Some(Sync { frame: journal.written(), length: self.life.disk.length(), results });
        let longest = if self.random.chance(10) { 2_000 } else { 20 };
        let span = self.random.millis(0, longest);
        self.after(span, Happening::Synced);
    }

    pub(super) fn on_synced(&mut self) {
        let Some(Sync { frame, length, results }) = self.life.sync.take() else { return };
        let synced = match self.sabotage {
            Sabotage::SyncsNothing => Ok(()),
            _ => self.life.disk.sync_to(length),
        };
        if let Err(error) = synced {
            return self.on_journal_failed(&JournalError::Disk(error));
        }
        self.model.spool.sync(&results);
        if let Some(journal) = &mut self.life.journal {
            journal.note_synced(frame);
        }
        self.life.gate.note_durable(frame);
        let life = self.life.number;
        while let Some(effect) = self.life.gate.next_due().filter(|_| self.life.number == life) {
            self.carry_out(effect);
        }
        if self.life.noted > frame {
            self.begin_sync();
        }
    }

    /// Takes note of what a record rests on and concludes.
    pub(super) fn record(&mut self, record: Record) {
        match &record {
            Record::Kept(kept) => {
                self.life.rests_on.push(kept.task);
                self.life.concluded.push((kept.attempt, kept.task));
            }
            Record::Ended { end, .. } if end.state == Lifecycle::Completed => {
                if self.is_worth_a_sync(end.task) {
                    self.life.rests_on.push(end.task);
                }
                self.life.concluded.extend(end.attempt.map(|attempt| (attempt, end.task)));
            }
            _ => {}
        }
        self.journal(Entry::Manager { record, at_ms: 0 });
    }

    /// Whether a task's result has to be on the disk before its record: others are made again.
    fn is_worth_a_sync(&self, task: TaskId) -> bool {
        self.model.jobs[task.job.0 as usize].rerun != Rerun::Anytime
    }

    /// What an effect makes known for good.
    pub(super) fn enter(&mut self, effect: &Effect) {
        match effect {
            Effect::Deliver(end) => {
                self.ledger.see(end);
                let span = self.random.millis(1, 500);
                // What is CANCELLED waits again for whoever goes on: nobody notes that it was told.
                if end.state != Lifecycle::Cancelled {
                    self.after(span, Happening::Told(end.task));
                }
            }
            Effect::Send { message: ToAgent::Acknowledge { attempt }, .. } => {
                if let Some((attempt, task)) = self.life.concluded.iter().find(|(concluded, _)| concluded == attempt) {
                    self.ledger.forget(*attempt, *task);
                }
            }
            Effect::Send { message: ToAgent::Start { task, .. }, .. } => self.ledger.start(*task),
            _ => {}
        }
    }

    fn on_journal_failed(&mut self, error: &JournalError) {
        self.note(&format!("the journal fails: {error}"));
        self.happened.disk_failures += 1;
        match self.is_finished {
            // People know how it ended; what isn't noted is told once more.
            true => self.life.journal = None,
            false => self.die_of_its_disk(),
        }
    }

    /// titan ends with an error, and marks the batch as one whose journal may lack something; somebody makes room and goes on.
    fn die_of_its_disk(&mut self) {
        let span = self.random.millis(1_000, 60_000);
        self.titan_dies(false, span);
        self.life.boots += 1;
        // What a failed sync leaves is as uncertain as what a power cut does.
        self.life.disk.power_cut(&mut self.random);
        self.model.spool.power_cut(&mut self.random);
    }

    /// titan is gone, from one step to the next.
    pub(super) fn titan_dies(&mut self, power: bool, back_after: Duration) {
        self.note(&format!("titan dies; power: {power}"));
        self.happened.titan_deaths += 1;
        self.life.is_up = false;
        (self.life.journal, self.life.sync) = (None, None);
        self.life.gate = Gate::default();
        self.life.rests_on.clear();
        self.life.concluded.clear();
        for (worker, desk) in std::mem::take(&mut self.desks) {
            match desk.link {
                Some(id) if power => self.fall_silent(id),
                Some(id) => self.close_link(id, Side::Agent),
                None => {}
            }
            self.touched.remove(&(worker, Side::Manager));
        }
        self.model.spool.leave_parts();
        if power {
            self.life.boots += 1;
            self.life.disk.power_cut(&mut self.random);
            self.model.spool.power_cut(&mut self.random);
        }
        self.wake_at = None;
        self.after(back_after, Happening::TitanReturns);
    }

    pub(super) fn on_titan_returns(&mut self) {
        if !self.life.is_up {
            self.life.disk.mend();
            self.begin_life();
        }
    }

    /// The disk under the journal goes wrong.
    pub(super) fn break_disk(&self, fault: super::disk::DiskFault) {
        self.life.disk.break_with(fault);
    }

    /// Happens in every life: who was told of a task's end notes that.
    pub(super) fn on_told(&mut self, task: TaskId) {
        self.journal(Entry::Told { task });
    }

    /// The files of a task are in their places, or can't be.
    pub(super) fn on_committed(&mut self, task: TaskId, is_good: bool) {
        if is_good {
            let attempt = self.model.spool.kept_of(task).unwrap_or_else(|| panic!("nothing is there of {task}"));
            self.ledger.place(task, attempt);
        }
        let problem = (!is_good).then(|| "no room".to_owned());
        self.tell(Event::Committed { task, problem });
    }
}

fn is_acknowledge(effect: &Effect) -> bool {
    matches!(effect, Effect::Send { message: ToAgent::Acknowledge { .. }, .. })
}

fn is_given(entry: &Entry) -> bool {
    matches!(entry, Entry::Manager { record: Record::Given { .. }, .. })
}
