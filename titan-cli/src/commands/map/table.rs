//! The values of tasks, from when they are taken until their task is told of: what a task runs is made of them when it is
//! started. Bounded: who adds values waits until tasks are told of.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use titan_proto::command::CommandTask;
use titan_proto::id::TaskId;
use titan_proto::message::Part;

use super::files::Declared;
use super::template::Template;
use crate::driver::TaskSource;
use crate::files::{Input, Output, TaskFiles};
use crate::output::{Book, Concluded};
use crate::progress::TaskNames;

/// The values of one task.
pub(super) type Values = Vec<Vec<u8>>;

/// What is known of the tasks that are under way.
pub(super) struct Table {
    template: Template,
    files: Declared,
    /// Tasks run in folders of their own.
    in_scratch: bool,
    inner: Mutex<Inner>,
    has_room: Condvar,
    /// Tasks that may be under way, or wait to be told of.
    max_open: usize,
}

#[derive(Default)]
struct Inner {
    values: BTreeMap<u32, Values>,
    /// Tasks that haven't been told of.
    open: usize,
    /// Tasks that were ever added.
    added: u32,
}

impl Table {
    pub(super) fn new(template: Template, files: Declared, in_scratch: bool, max_open: usize) -> Self {
        Self { template, files, in_scratch, inner: Mutex::default(), has_room: Condvar::new(), max_open }
    }

    /// Adds a task; waits until there is room for it.
    pub(super) fn add(&self, values: Values) {
        let mut inner = self.lock();
        while inner.open >= self.max_open {
            inner = self.has_room.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        let index = inner.added;
        inner.values.insert(index, values);
        inner.added += 1;
        inner.open += 1;
    }

    /// Adds a task that an earlier titan had, whether there is room or not; None: it is over.
    pub(super) fn add_again(&self, values: Option<Values>) {
        let mut inner = self.lock();
        let index = inner.added;
        inner.added += 1;
        if let Some(values) = values {
            inner.values.insert(index, values);
            inner.open += 1;
        }
    }

    /// How many tasks were added so far.
    pub(super) fn added(&self) -> u32 {
        self.lock().added
    }

    /// What a task of these values runs, for people: can be pasted into sh.
    fn command_line(&self, values: &[Vec<u8>], index: u32) -> Vec<u8> {
        let words = self.template.words(values, u64::from(index) + 1);
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.for_slot(1)).collect();
        self.template.shown(&words)
    }

    /// The files of a task of these values, but for those that all are given.
    fn files_of(&self, values: &[Vec<u8>], index: u32) -> Result<TaskFiles, String> {
        self.files.of_task(values, u64::from(index) + 1, self.in_scratch)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book for Table {
    fn outputs(&self, index: u32) -> Vec<Output> {
        self.files_of(&self.values(index), index).map(|files| files.outputs).unwrap_or_default()
    }

    fn conclude(&self, index: u32) -> Concluded {
        let mut inner = self.lock();
        inner.open = inner.open.saturating_sub(1);
        let values = inner.values.remove(&index).unwrap_or_default();
        drop(inner);
        self.has_room.notify_all();
        let command = self.command_line(&values, index);
        Concluded { values, command }
    }

    fn values(&self, index: u32) -> Vec<Vec<u8>> {
        self.lock().values.get(&index).cloned().unwrap_or_default()
    }
}

impl TaskNames for Table {
    fn label(&self, task: TaskId) -> String {
        (u64::from(task.index) + 1).to_string()
    }

    fn command(&self, task: TaskId) -> Option<Vec<u8>> {
        let values = self.lock().values.get(&task.index).cloned()?;
        Some(self.command_line(&values, task.index))
    }
}

/// The table as the driver sees it.
pub(super) struct TableSource(pub(super) Arc<Table>);

impl TaskSource for TableSource {
    fn part(&self, index: u32) -> Part {
        let values = self.0.lock().values.get(&index).cloned();
        let sequence = u64::from(index) + 1;
        let words = values.as_ref().map(|values| self.0.template.words(values, sequence)).unwrap_or_default();
        let stdin = self.0.files.stdin(values.as_deref().unwrap_or_default(), sequence, self.0.in_scratch);
        Part::Command(Box::new(CommandTask {
            words,
            number: sequence,
            env: Vec::new(),
            folder: None,
            stdin,
            inputs: Vec::new(),
            outputs: Vec::new(),
        }))
    }

    fn files(&self, index: u32) -> Result<TaskFiles, String> {
        let values = self.0.lock().values.get(&index).cloned();
        values.map_or(Ok(TaskFiles::default()), |values| self.0.files_of(&values, index))
    }

    fn base(&self) -> &[Input] {
        &self.0.files.base
    }
}
