//! The tasks of one job. Of those at its beginning that are over only how they ended is kept, as runs of the same end, so that
//! a job that grows for ever takes no memory for ever.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};

use crate::task::{Task, TaskState};

const COMPLETED: Task = Task::ended(TaskState::Completed);
const FAILED: Task = Task::ended(TaskState::Failed);
const CANCELLED: Task = Task::ended(TaskState::Cancelled);

/// Tasks by their index.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    /// How forgotten tasks ended: the index after the last of a run, and the end.
    forgotten: Vec<(u32, TaskState)>,
    /// The first task that isn't forgotten.
    first: u32,
    known: VecDeque<Task>,
}

impl Tasks {
    /// How many there are, forgotten ones included.
    pub(crate) fn len(&self) -> usize {
        self.first as usize + self.known.len()
    }

    /// That task, if there is one; of a forgotten one only its state is true.
    pub(crate) fn get(&self, index: u32) -> Option<&Task> {
        match index.checked_sub(self.first) {
            Some(place) => self.known.get(place as usize),
            None => {
                let run = self.forgotten.partition_point(|(end, _)| *end <= index);
                Some(match self.forgotten[run].1 {
                    TaskState::Failed => &FAILED,
                    TaskState::Cancelled => &CANCELLED,
                    _ => &COMPLETED,
                })
            }
        }
    }

    /// Adds that many new tasks, and forgets those at the beginning that are over.
    pub(crate) fn grow(&mut self, tasks: u32) {
        while let Some(ended) = self.known.front().map(|task| task.state).filter(|state| state.is_final()) {
            self.known.pop_front();
            self.first += 1;
            match self.forgotten.last_mut() {
                Some((end, state)) if *state == ended => *end = self.first,
                _ => self.forgotten.push((self.first, ended)),
            }
        }
        self.known.extend(std::iter::repeat_n(Task::default(), tasks as usize));
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Task> {
        (0..self.len() as u32).filter_map(|index| self.get(index))
    }
}

impl Index<u32> for Tasks {
    type Output = Task;

    fn index(&self, index: u32) -> &Task {
        self.get(index).expect("a task that is named is there")
    }
}

impl IndexMut<u32> for Tasks {
    fn index_mut(&mut self, index: u32) -> &mut Task {
        let place = index.checked_sub(self.first).expect("a task that is over doesn't change");
        &mut self.known[place as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_remembered_in_runs() {
        let mut tasks = Tasks::default();
        let ends = [TaskState::Completed, TaskState::Completed, TaskState::Failed, TaskState::Cancelled];
        for (index, end) in ends.into_iter().cycle().take(400).enumerate() {
            tasks.grow(1);
            tasks[index as u32].state = end;
        }
        tasks.grow(1);
        assert_eq!((tasks.len(), tasks.known.len(), tasks.forgotten.len()), (401, 1, 300));
        for (index, end) in ends.into_iter().cycle().take(400).enumerate() {
            assert_eq!(tasks[index as u32].state, end, "task {index}");
        }
        assert_eq!(tasks.iter().filter(|task| task.state.is_final()).count(), 400);
        assert!(tasks.get(401).is_none());
    }

    #[test]
    fn what_runs_keeps_all_after_it() {
        let mut tasks = Tasks::default();
        tasks.grow(3);
        tasks[1].state = TaskState::Completed;
        tasks.grow(1);
        assert_eq!((tasks.len(), tasks.known.len()), (4, 4));
    }
}
