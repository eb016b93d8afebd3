//! The tasks that wait for a worker. A million fresh ones take no more memory than one: they are a range.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use titan_proto::id::{JobId, TaskId};

/// Pending tasks: those that came back go first, then fresh ones in order.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    returned: BTreeSet<TaskId>,
    fresh: BTreeMap<JobId, Range<u32>>,
}

impl Queue {
    /// More fresh tasks of a job, after those that it has.
    pub(crate) fn grow(&mut self, job: JobId, tasks: u32) {
        let range = self.fresh.entry(job).or_insert(0..0);
        range.end += tasks;
    }

    /// A task waits again.
    pub(crate) fn give_back(&mut self, task: TaskId) {
        self.returned.insert(task);
    }

    /// A task that was given back doesn't wait any more.
    pub(crate) fn withdraw(&mut self, task: TaskId) {
        self.returned.remove(&task);
    }

    /// Takes a task that [`Queue::heads`] named.
    pub(crate) fn take(&mut self, task: TaskId) {
        if self.returned.remove(&task) {
            return;
        }
        let range = self.fresh.get_mut(&task.job).expect("a head is of a job that has fresh tasks");
        assert_eq!(range.start, task.index, "fresh tasks are taken in order");
        range.start += 1;
    }

    /// The tasks that may go next: each that came back, and the first fresh one of each job. The other fresh ones of a job
    /// are like its first.
    pub(crate) fn heads(&self) -> impl Iterator<Item = TaskId> + '_ {
        let fresh = self.fresh.iter().filter(|(_, range)| !range.is_empty());
        self.returned.iter().copied().chain(fresh.map(|(&job, range)| TaskId { job, index: range.start }))
    }

    /// How many wait.
    pub(crate) fn len(&self) -> u64 {
        self.returned.len() as u64 + self.fresh.values().map(|range| u64::from(range.end - range.start)).sum::<u64>()
    }

    /// Whether that task waits.
    pub(crate) fn contains(&self, task: TaskId) -> bool {
        self.returned.contains(&task) || self.fresh.get(&task.job).is_some_and(|range| range.contains(&task.index))
    }

    /// Empties the queue and returns what waited.
    pub(crate) fn drain(&mut self) -> Vec<TaskId> {
        let mut all: Vec<TaskId> = std::mem::take(&mut self.returned).into_iter().collect();
        for (&job, range) in &mut self.fresh {
            all.extend(range.clone().map(|index| TaskId { job, index }));
            range.start = range.end;
        }
        all
    }
}
