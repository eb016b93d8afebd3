//! What can't be taken back, over all lives of titan: what somebody was told, what agents have forgotten, what has got its place.
//! A journal that doesn't say the same has lost something.

use std::collections::BTreeMap;

use titan_manager::journal::Entry;
use titan_manager::{Lifecycle, Record, TaskEnd};
use titan_proto::id::{AttemptId, TaskId};

use super::model::{End, Known, Told};

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// How tasks have ended, as people were told.
    seen: BTreeMap<TaskId, End>,
    /// Attempts that have run well, and that their agents have forgotten.
    forgotten: BTreeMap<AttemptId, TaskId>,
    /// Whose files are in their places.
    placed: BTreeMap<TaskId, AttemptId>,
}

impl Ledger {
    /// People are told how a task has ended.
    pub(super) fn see(&mut self, end: &TaskEnd) {
        let reached = match end.state {
            Lifecycle::Completed => End::Completed,
            Lifecycle::Failed => End::Failed,
            // It can be gone on with.
            _ => return,
        };
        let before = self.seen.insert(end.task, reached);
        assert!(before.is_none_or(|before| before == reached), "{} has ended twice: {before:?}, {reached:?}", end.task);
    }

    /// An agent forgets an attempt that has run well.
    pub(super) fn forget(&mut self, attempt: AttemptId, task: TaskId) {
        self.forgotten.insert(attempt, task);
    }

    /// The files of a task get their places.
    pub(super) fn place(&mut self, task: TaskId, attempt: AttemptId) {
        let before = self.placed.insert(task, attempt);
        assert!(before.is_none_or(|before| before == attempt), "two attempts of {task} leave their files");
    }

    /// A task is given to a worker.
    pub(super) fn start(&self, task: TaskId) {
        assert!(!self.seen.contains_key(&task), "{task} runs again, and people know its end");
    }

    /// What was known of a task is so no more: its result is gone.
    pub(super) fn reopen(&mut self, task: TaskId) {
        self.seen.remove(&task);
        self.forgotten.retain(|_, forgotten| *forgotten != task);
    }

    /// A journal must know all of this.
    pub(super) fn check(&self, past: &BTreeMap<TaskId, Known>) {
        for (task, end) in &self.seen {
            let known = past.get(task).and_then(|known| known.end);
            assert_eq!(known, Some(*end), "the journal has lost the end of {task}");
        }
        for (attempt, task) in &self.forgotten {
            let is_known = past.get(task).is_some_and(|known| known.end.is_some() || known.is_kept);
            assert!(is_known, "the journal has lost {attempt} of {task}, which its agent has forgotten");
        }
    }
}

/// What the entries of a journal say of each task.
pub(super) fn known_of(entries: &[Entry]) -> BTreeMap<TaskId, Known> {
    let mut tasks: BTreeMap<TaskId, Known> = BTreeMap::new();
    for entry in entries {
        match entry {
            Entry::Began { .. } => tasks.values_mut().for_each(reopen),
            Entry::Manager { record: Record::Kept(kept), .. } => tasks.entry(kept.task).or_default().is_kept = true,
            Entry::Manager { record: Record::AttemptFailed { task, is_its_own, .. }, .. } => {
                tasks.entry(*task).or_default().failures += u32::from(*is_its_own);
            }
            Entry::Manager { record: Record::Ended { end, .. }, .. } => {
                let known = tasks.entry(end.task).or_default();
                known.end = match end.state {
                    Lifecycle::Completed => Some(End::Completed),
                    Lifecycle::Failed => Some(End::Failed),
                    _ => Some(End::Cancelled),
                };
            }
            Entry::Reopened { task } => {
                let known = tasks.entry(*task).or_default();
                (known.end, known.told, known.is_kept) = (None, None, false);
            }
            Entry::Told { task } => {
                let known = tasks.entry(*task).or_default();
                known.told = match known.end {
                    Some(End::Completed) => Some(Told::Delivered),
                    _ => Some(Told::Missing),
                };
            }
            _ => {}
        }
    }
    tasks.values_mut().for_each(reopen);
    tasks
}

/// What was CANCELLED waits again.
fn reopen(known: &mut Known) {
    if known.end == Some(End::Cancelled) {
        (known.end, known.told, known.failures) = (None, None, 0);
    }
}
