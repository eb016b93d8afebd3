//! How far a batch is, for people and programs that ask from elsewhere: by its titan's own words if one works on it, otherwise by its
//! journal. Changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use titan_manager::journal::past::PastEnd;
use titan_manager::journal::{self, Entry, JobName, Past};
use titan_manager::{Lifecycle, Record, TaskEnd};
use titan_proto::id::TaskId;

use super::Stored;
use super::dir::{Holder, holder};
use super::ended::{BatchState, EndMark};
use super::live::{Live, LiveFailure, LiveWorker};
use crate::exit::{self, Failure};
use crate::paths::named;

/// Tasks of one kind of failure that are named.
const MAX_FAILED: usize = 10;

/// How far a batch is.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) state: BatchState,
    /// Who works on it.
    pub(crate) holder: Option<Holder>,
    /// How its last life has ended.
    pub(crate) end: Option<PastEnd>,
    pub(crate) live: Live,
}

/// The same, but only its numbers.
#[derive(Debug)]
pub(crate) struct Brief {
    pub(crate) state: BatchState,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) total: u64,
    pub(crate) is_growing: bool,
    pub(crate) exit_code: Option<u8>,
}

impl View {
    /// Looks at a batch.
    pub(crate) fn of(batch: &Stored) -> Result<Self, Failure> {
        let holder = holder(&batch.path);
        if let (Some(holder), Some(live)) = (&holder, Live::read(&batch.path)) {
            let holder = Some(holder.clone());
            return Ok(Self { state: BatchState::Running, holder, end: None, live });
        }
        let mut history = History::default();
        read(&batch.path, |entry| history.add(entry))?;
        let state = match (&holder, history.past.ended) {
            (Some(_), _) => BatchState::Running,
            (None, ended) => state_of(ended, EndMark::read(&batch.path).as_ref()),
        };
        let end = history.past.ended.filter(|_| holder.is_none());
        Ok(Self { state, holder, end, live: history.live() })
    }
}

impl Brief {
    /// Looks at a batch; None: it can't be read.
    pub(crate) fn of(batch: &Stored) -> Option<Self> {
        let holder = holder(&batch.path);
        if let (None, Some(EndMark { state, verdict, exit_code, .. })) = (&holder, EndMark::read(&batch.path)) {
            let total = verdict.completed + verdict.failed + verdict.cancelled;
            let (completed, failed) = (verdict.completed, verdict.failed);
            return Some(Self { state, completed, failed, total, is_growing: false, exit_code: Some(exit_code) });
        }
        let live = holder.is_some().then(|| Live::read(&batch.path)).flatten();
        if let Some(Live { completed, failed, total, is_growing, .. }) = live {
            let state = BatchState::Running;
            return Some(Self { state, completed, failed, total, is_growing, exit_code: None });
        }
        let mut past = Past::default();
        read(&batch.path, |entry| past.add(entry, true)).ok()?;
        let counts = past.counts();
        let state = if holder.is_some() { BatchState::Running } else { state_of(past.ended, None) };
        Some(Self {
            state,
            completed: counts.completed,
            failed: counts.failed,
            total: counts.total,
            is_growing: counts.is_growing,
            exit_code: past.ended.map(|ended| ended.exit_code),
        })
    }
}

fn state_of(ended: Option<PastEnd>, mark: Option<&EndMark>) -> BatchState {
    match (ended, mark) {
        (_, Some(mark)) => mark.state,
        (Some(PastEnd { is_final: true, exit_code, .. }), None) if exit_code == exit::SUCCESS => BatchState::Completed,
        (Some(PastEnd { is_final: true, verdict, .. }), None) if verdict.end == titan_manager::End::Cancelled => {
            BatchState::Cancelled
        }
        (Some(PastEnd { is_final: true, .. }), None) => BatchState::Failed,
        _ => BatchState::Interrupted,
    }
}

/// Hands on all entries of a batch's journal; somebody may still write it.
pub(crate) fn read(batch: &Path, mut take: impl FnMut(Entry)) -> Result<(), Failure> {
    let path = batch.join(super::journal::FILE);
    let bytes = fs::read(&path).map_err(|error| cannot(&named(&path, &error)))?;
    let read = journal::read(&bytes, |entry, _| take(entry));
    read.map(drop).map_err(|damage| cannot(&format!("{}: {damage}", path.display())))
}

fn cannot(problem: &dyn std::fmt::Display) -> Failure {
    Failure::plain(exit::CANNOT_WRITE, format!("cannot read what has come of the batch: {problem}"))
}

/// What people call a task.
pub(crate) fn label(names: &[JobName], task: TaskId) -> String {
    let none = JobName::default();
    let JobName { name, group } = names.get(task.job.0 as usize).unwrap_or(&none);
    let group = (*group).max(1);
    let (number, part) = (u64::from(task.index / group) + 1, task.index % group + 1);
    let part = if group > 1 { format!(" ({part} of {group})") } else { String::new() };
    if names.len() <= 1 { format!("{number}{part}") } else { format!("{name} {number}{part}") }
}

/// What a journal tells of a batch as a whole.
#[derive(Default)]
struct History {
    past: Past,
    /// Of each host, how many tasks it has completed.
    done: BTreeMap<u32, u64>,
    /// Of each host, how often something went wrong there that was no task's own fault.
    faults: BTreeMap<u32, u64>,
    retries: u64,
    failed: BTreeMap<TaskId, TaskEnd>,
    times: [Option<u64>; 2],
}

impl History {
    fn add(&mut self, entry: Entry) {
        let at = match &entry {
            Entry::Began { at_ms, .. } | Entry::Manager { at_ms, .. } | Entry::Ended { at_ms, .. } => Some(*at_ms),
            _ => None,
        };
        self.times[0] = self.times[0].or(at);
        self.times[1] = at.or(self.times[1]);
        match &entry {
            Entry::Began { retries_failed: true, .. } => self.failed.clear(),
            Entry::Manager { record: Record::Ended { end, .. }, .. } => match end.state {
                Lifecycle::Completed => {
                    if let Some(host) = end.host {
                        *self.done.entry(host.0).or_default() += 1;
                    }
                    self.failed.remove(&end.task);
                }
                Lifecycle::Failed => drop(self.failed.insert(end.task, end.clone())),
                _ => {}
            },
            Entry::Manager { record: Record::AttemptFailed { is_its_own: true, .. }, .. } => self.retries += 1,
            Entry::Manager { record: Record::HostFault { host }, .. } => {
                *self.faults.entry(host.0).or_default() += 1;
            }
            _ => {}
        }
        self.past.add(entry, true);
    }

    fn live(&self) -> Live {
        let counts = self.past.counts();
        let mut kinds: BTreeMap<&str, Vec<TaskId>> = BTreeMap::new();
        for end in self.failed.values() {
            kinds.entry(end.reason.as_deref().unwrap_or_default()).or_default().push(end.task);
        }
        let failures = kinds.into_iter().map(|(reason, tasks)| LiveFailure {
            reason: reason.to_owned(),
            state: "FAILED".to_owned(),
            count: tasks.len() as u64,
            tasks: tasks.iter().take(MAX_FAILED).map(|task| label(&self.past.names, *task)).collect(),
        });
        let workers = self.past.hosts.iter().zip(0_u32..).map(|(host, number)| LiveWorker {
            host: host.clone(),
            state: "ended".to_owned(),
            completed: self.done.get(&number).copied().unwrap_or(0),
            faults: self.faults.get(&number).copied().unwrap_or(0),
            reason: None,
            running: Vec::new(),
        });
        let span_ms = self.times[1].zip(self.times[0]).map_or(0, |(last, first)| last.saturating_sub(first));
        Live {
            total: counts.total,
            is_growing: counts.is_growing,
            completed: counts.completed,
            failed: counts.failed,
            cancelled: counts.cancelled,
            retries: self.retries.saturating_sub(counts.failed),
            seconds: span_ms as f64 / 1e3,
            workers: workers.collect(),
            failures: failures.collect(),
            ..Live::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use titan_proto::id::JobId;

    use super::*;

    #[test]
    fn tasks_are_called_as_progress_calls_them() {
        let name = |name: &str, group| JobName { name: name.to_owned(), group };
        let task = |job, index| TaskId { job: JobId(job), index };
        assert_eq!(label(&[name("map", 1)], task(0, 6)), "7");
        let jobs = [name("frame", 4), name("join", 1)];
        assert_eq!([label(&jobs, task(0, 5)), label(&jobs, task(1, 0))], ["frame 2 (2 of 4)", "join 1"]);
    }
}
