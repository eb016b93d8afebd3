//! What the entries of a journal come to: how far each task is, and what has to be told of it yet.

use std::collections::{BTreeMap, BTreeSet};

use titan_proto::files::BlobId;
use titan_proto::id::{AttemptId, Epoch, JobId, TaskId};
use titan_proto::message::ResultSummary;

use super::entry::{Entry, JobName, PlacedFile};
use crate::effect::{End, Kept, Record, TaskEnd, Verdict};
use crate::event::HostId;
use crate::task::Lifecycle;

/// A batch as its journal has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// The epoch of its last manager; 0: none has begun.
    pub epoch: Epoch,
    /// The names of all hosts that it has ever had.
    pub hosts: Vec<String>,
    /// Its jobs, as people call them.
    pub names: Vec<JobName>,
    /// When its first manager began, for people: ms since 1970.
    pub began_ms: u64,
    /// Where its last manager lived: the boot of its machine, as the system names it.
    pub boot: String,
    /// Whether starts of attempts may be missing, because that machine has stopped: they aren't synced.
    pub may_lack: bool,
    /// How its last manager's life has ended, if it has come to an end.
    pub ended: Option<PastEnd>,
    /// Whether the manager before the one that begins has left agents that nobody has told goodbye.
    pub may_have_agents: bool,
    plan: Option<BlobId>,
    pub(crate) jobs: BTreeMap<JobId, PastJob>,
    pub(crate) tasks: BTreeMap<TaskId, PastTask>,
    /// Attempts that may still run somewhere.
    pub(crate) given: BTreeMap<AttemptId, (TaskId, HostId)>,
    /// The values of tasks whose end isn't told yet.
    values: BTreeMap<TaskId, Vec<Vec<u8>>>,
    placed: BTreeMap<TaskId, Vec<PlacedFile>>,
}

/// How a manager's life has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastEnd {
    /// What it has come to.
    pub verdict: Verdict,
    /// What titan told whoever had started it.
    pub exit_code: u8,
    /// Nothing is left to be gone on with.
    pub is_final: bool,
    /// When, for people: ms since 1970.
    pub at_ms: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PastJob {
    pub(crate) tasks: u32,
    pub(crate) is_closed: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PastTask {
    pub(crate) state: PastState,
    /// Attempts that failed by themselves.
    pub(crate) failures: u32,
    /// Attempts that were started.
    pub(crate) tried: u32,
    /// Whether its state is known to have been on the disk, and with it all that was waited for.
    is_sure: bool,
}

/// How far a task is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum PastState {
    /// It hasn't ended.
    #[default]
    Open,
    /// It has run well, and its result is to be put in its places.
    Kept(Box<Kept>),
    /// It has ended.
    Ended(Box<PastTaskEnd>),
    /// It is COMPLETED, and that is told.
    Settled,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PastTaskEnd {
    pub(crate) end: TaskEnd,
    /// Its result, if it is COMPLETED.
    pub(crate) summary: Option<ResultSummary>,
    /// Whether that is told; it stays for summaries.
    pub(crate) is_told: bool,
    /// The attempt that had run well before it was CANCELLED.
    kept: Option<Kept>,
}

/// A result that has to be in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastResult {
    /// The task.
    pub task: TaskId,
    /// What its result has to be.
    pub summary: ResultSummary,
    /// Whether its entry was on the disk once; otherwise nobody was told of it.
    pub is_sure: bool,
    /// Whether a computation made it, and not a process: then it needn't have been on the disk, and can be made again.
    pub is_computed: bool,
}

impl Past {
    /// What these entries, in order, come to.
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut past = Self::default();
        entries.into_iter().for_each(|entry| past.add(entry, true));
        past
    }

    /// One more entry, and whether it is known to have been on the disk.
    pub fn add(&mut self, entry: Entry, is_sure: bool) {
        match entry {
            Entry::Began { epoch, boot, hosts, jobs, plan, retries_failed, at_ms } => {
                if self.epoch == Epoch::default() {
                    self.began_ms = at_ms;
                } else if boot != self.boot || boot.is_empty() {
                    self.may_lack = true;
                }
                let has_parted = self.ended.is_some_and(|ended| ended.verdict.end != End::NoWorkers);
                let is_first = self.epoch == Epoch::default();
                (self.epoch, self.boot, self.hosts, self.names, self.ended) = (epoch, boot, hosts, jobs, None);
                self.plan.get_or_insert(plan);
                self.reopen_stopped(retries_failed);
                // An agent that couldn't be reached at the end has heard no goodbye: what it runs isn't over.
                let is_open = |task| self.tasks.get(task).is_none_or(|past| past.state == PastState::Open);
                let may_run = self.given.values().any(|(task, _)| is_open(task));
                self.may_have_agents = !is_first && (!has_parted || may_run);
            }
            Entry::Manager { record, .. } => self.add_record(record, is_sure),
            Entry::Taken { task, values } => drop(self.values.insert(task, values)),
            Entry::Identified { .. } => {}
            Entry::Reopened { task } => self.reopen(task),
            Entry::Placed { task, files } => self.placed.entry(task).or_default().extend(files),
            Entry::Told { task } => {
                let of_task = self.task(task);
                match &mut of_task.state {
                    PastState::Ended(end) if end.end.state == Lifecycle::Completed => {
                        of_task.state = PastState::Settled;
                        self.values.remove(&task);
                    }
                    // It may be tried again, and is in summaries.
                    PastState::Ended(end) if end.end.state == Lifecycle::Failed => end.is_told = true,
                    _ => {}
                }
            }
            Entry::Ended { verdict, exit_code, is_final, at_ms } => {
                self.ended = Some(PastEnd { verdict, exit_code, is_final, at_ms });
            }
        }
    }

    fn add_record(&mut self, record: Record, is_sure: bool) {
        match record {
            Record::Grown { job, tasks } => self.job(job).tasks = self.job(job).tasks.max(tasks),
            Record::Closed { job } => self.job(job).is_closed = true,
            Record::Given { task, attempt, host } => drop(self.given.insert(attempt, (task, host))),
            Record::HostFault { .. } => {}
            Record::Over { attempt } => drop(self.given.remove(&attempt)),
            Record::Kept(kept) => {
                self.given.remove(&kept.attempt);
                self.placed.remove(&kept.task);
                let task = self.task(kept.task);
                task.tried += 1;
                (task.state, task.is_sure) = (PastState::Kept(Box::new(kept)), is_sure);
            }
            Record::AttemptFailed { task, attempt, is_its_own, .. } => {
                self.given.remove(&attempt);
                let task = self.task(task);
                task.failures += u32::from(is_its_own);
                task.tried += u32::from(is_its_own);
            }
            Record::Ended { end, summary } => {
                if let Some(attempt) = end.attempt {
                    self.given.remove(&attempt);
                }
                let task = self.task(end.task);
                let kept = match &task.state {
                    PastState::Kept(kept) => Some(**kept),
                    _ => None,
                };
                (task.tried, task.is_sure) = (end.attempts, is_sure);
                task.state = PastState::Ended(Box::new(PastTaskEnd { end, summary, is_told: false, kept }));
            }
        }
    }

    /// A number that stands for what its tasks are; None: it hasn't begun.
    pub fn plan(&self) -> Option<BlobId> {
        self.plan
    }

    /// Another manager goes on: what was CANCELLED waits again, and what FAILED too if that is asked for.
    pub fn reopen_stopped(&mut self, retries_failed: bool) {
        self.tasks.values_mut().for_each(|task| task.reopen(retries_failed));
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.epoch == Epoch::default() && self.jobs.is_empty() && self.values.is_empty()
    }

    /// How many tasks a job has.
    pub fn tasks_of(&self, job: JobId) -> u32 {
        self.jobs.get(&job).map_or(0, |job| job.tasks)
    }

    /// Whether a job has all its tasks.
    pub fn is_closed(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|job| job.is_closed)
    }

    /// Whether there is nothing more to tell of a task.
    pub fn is_told(&self, task: TaskId) -> bool {
        self.tasks.get(&task).is_some_and(PastTask::is_told)
    }

    /// How tasks FAILED of which there is nothing more to tell.
    pub fn failed(&self) -> impl Iterator<Item = &TaskEnd> {
        self.tasks.values().filter_map(|task| match &task.state {
            PastState::Ended(end) if end.is_told => Some(&end.end),
            _ => None,
        })
    }

    /// The tasks of a job of which there is nothing more to tell.
    pub fn told(&self, job: JobId) -> BTreeSet<u32> {
        let of_job = self.tasks.range(TaskId { job, index: 0 }..=TaskId { job, index: u32::MAX });
        of_job.filter(|(_, task)| task.is_told()).map(|(task, _)| task.index).collect()
    }

    /// How many tasks of a job were made of values.
    pub fn taken(&self, job: JobId) -> u32 {
        let of_values = self.values.range(TaskId { job, index: 0 }..=TaskId { job, index: u32::MAX });
        // Those of tasks that are told of are forgotten, and were taken before.
        let last = of_values.last().map_or(0, |(task, _)| task.index + 1);
        last.max(self.tasks_of(job))
    }

    /// The values of a task whose end isn't told yet.
    pub fn values(&mut self, task: TaskId) -> Option<Vec<Vec<u8>>> {
        self.values.remove(&task)
    }

    /// All tasks that have left files which are in their places, and these.
    pub fn placed(&self) -> impl Iterator<Item = (TaskId, &[PlacedFile])> {
        self.placed.iter().map(|(task, files)| (*task, &files[..]))
    }

    /// How many tasks are in which final state, and how many there are.
    pub fn counts(&self) -> PastCounts {
        let mut counts = PastCounts {
            total: self.jobs.values().map(|job| u64::from(job.tasks)).sum(),
            is_growing: self.jobs.values().any(|job| !job.is_closed),
            ..PastCounts::default()
        };
        for task in self.tasks.values() {
            match task.lifecycle() {
                Lifecycle::Completed => counts.completed += 1,
                Lifecycle::Failed => counts.failed += 1,
                Lifecycle::Cancelled => counts.cancelled += 1,
                _ => {}
            }
        }
        if self.ended.is_some() {
            // Those that were never tried have no entry of their own.
            counts.cancelled = counts.total.saturating_sub(counts.completed + counts.failed);
        }
        counts
    }

    /// The results that have to be in the spool for the batch to be gone on with.
    pub fn results(&self) -> Vec<PastResult> {
        let result = |(task, past): (&TaskId, &PastTask)| {
            let (summary, is_computed) = match &past.state {
                PastState::Kept(kept) => (Some(kept.summary), false),
                PastState::Ended(past) if !past.is_told => {
                    let process = past.end.process.or(past.kept.and_then(|kept| kept.process));
                    (past.summary.or(past.kept.map(|kept| kept.summary)), process.is_none())
                }
                PastState::Ended(_) | PastState::Open | PastState::Settled => (None, false),
            };
            let summary = summary.filter(|summary| summary.bytes > 0);
            summary.map(|summary| PastResult { task: *task, summary, is_sure: past.is_sure, is_computed })
        };
        self.tasks.iter().filter_map(result).collect()
    }

    /// A task's result isn't there: it has to run again.
    pub fn reopen(&mut self, task: TaskId) {
        self.task(task).state = PastState::Open;
        self.placed.remove(&task);
    }

    fn job(&mut self, job: JobId) -> &mut PastJob {
        self.jobs.entry(job).or_default()
    }

    fn task(&mut self, task: TaskId) -> &mut PastTask {
        self.tasks.entry(task).or_default()
    }
}

/// How many tasks of a batch are in which final state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PastCounts {
    /// All of them.
    pub total: u64,
    /// COMPLETED.
    pub completed: u64,
    /// FAILED.
    pub failed: u64,
    /// CANCELLED.
    pub cancelled: u64,
    /// Whether there may be more than those.
    pub is_growing: bool,
}

impl PastTask {
    /// Another manager begins: what was CANCELLED waits again, and what FAILED too if that is asked for.
    fn reopen(&mut self, retries_failed: bool) {
        let kept = match &self.state {
            PastState::Ended(end) if end.end.state == Lifecycle::Cancelled => end.kept,
            PastState::Ended(end) if end.end.state == Lifecycle::Failed && retries_failed => end.kept,
            _ => return,
        };
        self.failures = 0;
        self.state = kept.map_or(PastState::Open, |kept| PastState::Kept(Box::new(kept)));
    }

    pub(crate) fn lifecycle(&self) -> Lifecycle {
        match &self.state {
            PastState::Open => Lifecycle::Pending,
            PastState::Kept(_) => Lifecycle::Running,
            PastState::Ended(end) => end.end.state,
            PastState::Settled => Lifecycle::Completed,
        }
    }

    fn is_told(&self) -> bool {
        match &self.state {
            PastState::Settled => true,
            PastState::Ended(end) => end.is_told,
            PastState::Open | PastState::Kept(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId { job: JobId(0), index: 0 };

    fn began(epoch: u32, retries_failed: bool) -> Entry {
        Entry::Began {
            epoch: Epoch(epoch),
            boot: "boot".into(),
            hosts: vec!["a".into()],
            jobs: Vec::new(),
            plan: BlobId([0; 32]),
            retries_failed,
            at_ms: 1,
        }
    }

    fn record(record: Record) -> Entry {
        Entry::Manager { record, at_ms: 0 }
    }

    fn ended(state: Lifecycle) -> Entry {
        let end = TaskEnd {
            task: TASK,
            state,
            attempt: None,
            attempts: 1,
            host: None,
            has_result: false,
            process: None,
            reason: None,
        };
        record(Record::Ended { end, summary: None })
    }

    fn kept() -> Kept {
        let summary = ResultSummary { bytes: 1, crc: 2, compute_us: 3 };
        let attempt = AttemptId { epoch: Epoch(1), number: 1 };
        Kept { task: TASK, attempt, host: HostId(0), process: None, summary }
    }

    fn state_after(entries: &[Entry]) -> PastState {
        let grown = record(Record::Grown { job: JobId(0), tasks: 1 });
        let past = Past::of([began(1, false), grown].into_iter().chain(entries.iter().cloned()));
        past.tasks.get(&TASK).map(|task| task.state.clone()).unwrap_or_default()
    }

    #[test]
    fn what_is_completed_stays_and_what_was_stopped_waits_again() {
        let told = Entry::Told { task: TASK };
        let completed = [ended(Lifecycle::Completed), told.clone(), began(2, true)];
        assert_eq!(state_after(&completed), PastState::Settled);
        assert_eq!(state_after(&[ended(Lifecycle::Cancelled), told.clone(), began(2, false)]), PastState::Open);
        let failed = [ended(Lifecycle::Failed), told];
        let is_failed = |state| matches!(state, PastState::Ended(end) if end.is_told);
        assert!(is_failed(state_after(&failed)));
        assert_eq!(state_after(&[&failed[..], &[began(2, true)]].concat()), PastState::Open);
        assert!(is_failed(state_after(&[&failed[..], &[began(2, false)]].concat())));
    }

    #[test]
    fn a_result_that_is_kept_is_put_in_its_place_by_the_next_manager() {
        let kept_state = PastState::Kept(Box::new(kept()));
        let noted = record(Record::Kept(kept()));
        assert_eq!(state_after(&[noted.clone(), began(2, false)]), kept_state);
        assert_eq!(state_after(&[noted, ended(Lifecycle::Cancelled), began(2, false)]), kept_state);
    }

    #[test]
    fn what_may_still_run_is_known_by_its_attempt() {
        let attempt = |number| AttemptId { epoch: Epoch(1), number };
        let given = |number| record(Record::Given { task: TASK, attempt: attempt(number), host: HostId(0) });
        let past = Past::of([given(1), given(2), record(Record::Over { attempt: attempt(1) })]);
        assert_eq!(past.given.keys().copied().collect::<Vec<_>>(), [attempt(2)]);
    }

    #[test]
    fn an_agent_that_heard_no_goodbye_is_waited_for() {
        let attempt = AttemptId { epoch: Epoch(1), number: 1 };
        let given = record(Record::Given { task: TASK, attempt, host: HostId(0) });
        let over_by = |end| Entry::Ended {
            verdict: Verdict { end, completed: 0, failed: 0, cancelled: 1 },
            exit_code: 130,
            is_final: false,
            at_ms: 5,
        };
        let may_have_agents =
            |entries: &[Entry]| Past::of([began(1, false)].into_iter().chain(entries.iter().cloned())).may_have_agents;
        let resumed = || began(2, false);
        assert!(!may_have_agents(&[]), "it is the first manager");
        assert!(may_have_agents(&[resumed()]), "the first one has crashed");
        assert!(may_have_agents(&[over_by(End::NoWorkers), resumed()]));
        assert!(!may_have_agents(&[over_by(End::Cancelled), resumed()]));
        assert!(may_have_agents(&[given.clone(), over_by(End::Cancelled), resumed()]), "its host was out of reach");
        let over = record(Record::Over { attempt });
        assert!(!may_have_agents(&[given.clone(), over, over_by(End::Cancelled), resumed()]));
        let elsewhere = [given, ended(Lifecycle::Completed), over_by(End::Cancelled), resumed()];
        assert!(!may_have_agents(&elsewhere), "another attempt has brought its task to its end");
    }

    #[test]
    fn totals_are_told_again_without_harm_and_values_stay_until_their_task_is_told_of() {
        let grown = || record(Record::Grown { job: JobId(0), tasks: 2 });
        let taken = |index| Entry::Taken { task: TaskId { index, ..TASK }, values: vec![vec![1]] };
        let entries = [began(1, false), taken(0), grown(), began(2, false), taken(1), taken(2), grown()];
        let entries = entries.into_iter().chain([ended(Lifecycle::Completed), Entry::Told { task: TASK }]);
        let mut past = Past::of(entries);
        assert_eq!((past.counts().total, past.taken(JobId(0))), (2, 3));
        assert_eq!((past.values(TASK), past.values(TaskId { index: 2, ..TASK })), (None, Some(vec![vec![1]])));
        let verdict = Verdict { end: End::Done, completed: 1, failed: 0, cancelled: 0 };
        past.add(Entry::Ended { verdict, exit_code: 0, is_final: true, at_ms: 5 }, true);
        assert!(past.ended.is_some_and(|ended| ended.is_final));
        let counts = past.counts();
        assert_eq!((counts.completed, counts.cancelled), (1, 1), "what was never tried is CANCELLED when all is over");
    }
}
