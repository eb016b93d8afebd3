//! The tasks that wait for a worker. A million fresh ones take no more memory than one: they are a range.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use titan_proto::id::{JobId, TaskId};

/// Pending tasks: those of higher priority first; among equals those that came back, then fresh ones in order.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Of each job.
    priorities: Vec<Reverse<i32>>,
    returned: BTreeSet<(Reverse<i32>, TaskId)>,
    /// Of each job that has any.
    fresh: BTreeMap<(Reverse<i32>, JobId), Fresh>,
}

/// A job's tasks that haven't been given to anybody.
#[derive(Debug, Default)]
struct Fresh {
    range: Range<u32>,
    /// Those that became ready one by one.
    single: BTreeSet<u32>,
}

impl Fresh {
    fn first(&self) -> Option<u32> {
        let of_range = (!self.range.is_empty()).then_some(self.range.start);
        of_range.into_iter().chain(self.single.first().copied()).min()
    }

    fn len(&self) -> u64 {
        u64::from(self.range.end - self.range.start) + self.single.len() as u64
    }

    fn contains(&self, index: u32) -> bool {
        self.range.contains(&index) || self.single.contains(&index)
    }

    fn take(&mut self, index: u32) {
        assert_eq!(self.first(), Some(index), "fresh tasks are taken in order");
        if !self.single.remove(&index) {
            self.range.start += 1;
        }
    }
}

impl Queue {
    /// The next job, which has no tasks yet.
    pub(crate) fn add_job(&mut self, priority: i32) {
        self.priorities.push(Reverse(priority));
    }

    fn key(&self, job: JobId) -> (Reverse<i32>, JobId) {
        (self.priorities[job.0 as usize], job)
    }

    fn returned_key(&self, task: TaskId) -> (Reverse<i32>, TaskId) {
        (self.priorities[task.job.0 as usize], task)
    }

    /// More fresh tasks of a job, after those that it has.
    pub(crate) fn grow(&mut self, job: JobId, tasks: Range<u32>) {
        if tasks.is_empty() {
            return;
        }
        let fresh = self.fresh.entry(self.key(job)).or_default();
        if fresh.range.is_empty() {
            fresh.range = tasks;
        } else {
            match fresh.range.end == tasks.start {
                true => fresh.range.end = tasks.end,
                // One of them was taken out of the range.
                false => fresh.single.extend(tasks),
            }
        }
    }

    /// One more fresh task of a job whose tasks don't come in order.
    pub(crate) fn add(&mut self, task: TaskId) {
        self.fresh.entry(self.key(task.job)).or_default().single.insert(task.index);
    }

    /// A task waits again.
    pub(crate) fn give_back(&mut self, task: TaskId) {
        self.returned.insert(self.returned_key(task));
    }

    /// A task that was given back doesn't wait any more.
    pub(crate) fn withdraw(&mut self, task: TaskId) {
        self.returned.remove(&self.returned_key(task));
    }

    /// A task doesn't wait any more, wherever in the queue it is.
    pub(crate) fn remove(&mut self, task: TaskId) {
        self.withdraw(task);
        let key = self.key(task.job);
        let Some(fresh) = self.fresh.get_mut(&key) else { return };
        if !fresh.single.remove(&task.index) && fresh.range.contains(&task.index) {
            // Those after it stand alone from now on.
            fresh.single.extend(task.index + 1..fresh.range.end);
            fresh.range.end = task.index;
        }
        if fresh.len() == 0 {
            self.fresh.remove(&key);
        }
    }

    /// Takes a task that [`Queue::heads`] named.
    pub(crate) fn take(&mut self, task: TaskId) {
        if self.returned.remove(&self.returned_key(task)) {
            return;
        }
        let key = self.key(task.job);
        let fresh = self.fresh.get_mut(&key).expect("a head is of a job that has fresh tasks");
        fresh.take(task.index);
        if fresh.len() == 0 {
            self.fresh.remove(&key);
        }
    }

    /// Takes a head, and if it is fresh, all that are like it.
    pub(crate) fn take_alike(&mut self, head: TaskId) -> Vec<TaskId> {
        if self.returned.remove(&self.returned_key(head)) {
            return vec![head];
        }
        let fresh = self.fresh.remove(&self.key(head.job)).unwrap_or_default();
        fresh.range.chain(fresh.single).map(|index| TaskId { job: head.job, index }).collect()
    }

    /// The tasks that may go next, in order: each that came back, and the first fresh one of each job. The other fresh
    /// ones of a job are like its first.
    pub(crate) fn heads(&self) -> impl Iterator<Item = TaskId> + '_ {
        let of_job = |(&(priority, job), fresh): (&(Reverse<i32>, JobId), &Fresh)| {
            fresh.first().map(|index| (priority, TaskId { job, index }))
        };
        let mut fresh = self.fresh.iter().filter_map(of_job).peekable();
        let mut returned = self.returned.iter().copied().peekable();
        std::iter::from_fn(move || {
            let takes_fresh = match (returned.peek(), fresh.peek()) {
                (Some((of_returned, _)), Some((of_fresh, _))) => of_fresh < of_returned,
                (of_returned, _) => of_returned.is_none(),
            };
            let next = if takes_fresh { fresh.next() } else { returned.next() };
            next.map(|(_, task)| task)
        })
    }

    /// How many wait.
    pub(crate) fn len(&self) -> u64 {
        self.returned.len() as u64 + self.fresh.values().map(Fresh::len).sum::<u64>()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.fresh.is_empty()
    }

    /// Whether that task waits.
    pub(crate) fn contains(&self, task: TaskId) -> bool {
        self.returned.contains(&self.returned_key(task))
            || self.fresh.get(&self.key(task.job)).is_some_and(|fresh| fresh.contains(task.index))
    }

    /// Empties the queue and returns what waited.
    pub(crate) fn drain(&mut self) -> Vec<TaskId> {
        let mut all: Vec<TaskId> = std::mem::take(&mut self.returned).into_iter().map(|(_, task)| task).collect();
        for ((_, job), fresh) in std::mem::take(&mut self.fresh) {
            all.extend(fresh.range.chain(fresh.single).map(|index| TaskId { job, index }));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(job: u32, index: u32) -> TaskId {
        TaskId { job: JobId(job), index }
    }

    #[test]
    fn priority_comes_first_then_what_came_back_then_the_order_of_submission() {
        let mut queue = Queue::default();
        for priority in [0, 5, 0] {
            queue.add_job(priority);
        }
        for job in 0..3 {
            queue.grow(JobId(job), 0..3);
        }
        queue.take(task(2, 0));
        queue.give_back(task(2, 0));
        let heads: Vec<TaskId> = queue.heads().collect();
        assert_eq!(heads, [task(1, 0), task(2, 0), task(0, 0), task(2, 1)]);
        assert_eq!(queue.len(), 9);
        assert_eq!(queue.take_alike(task(2, 0)), [task(2, 0)]);
        assert_eq!(queue.take_alike(task(1, 0)).len(), 3);
        assert_eq!(queue.drain().len(), 5);
    }

    #[test]
    fn a_task_is_taken_out_of_the_middle_and_the_others_stay_in_order() {
        let mut queue = Queue::default();
        queue.add_job(0);
        queue.grow(JobId(0), 0..5);
        queue.remove(task(0, 2));
        queue.remove(task(0, 9));
        queue.grow(JobId(0), 5..6);
        assert!(!queue.contains(task(0, 2)));
        let mut order = Vec::new();
        while let Some(head) = { queue.heads().next() } {
            queue.take(head);
            order.push(head.index);
        }
        assert_eq!(order, [0, 1, 3, 4, 5]);
    }

    #[test]
    fn tasks_that_become_ready_one_by_one_go_in_order_too() {
        let mut queue = Queue::default();
        queue.add_job(0);
        queue.add(task(0, 7));
        queue.add(task(0, 2));
        assert_eq!(queue.heads().next(), Some(task(0, 2)));
        queue.take(task(0, 2));
        queue.take(task(0, 7));
        assert!(queue.is_empty());
    }
}
