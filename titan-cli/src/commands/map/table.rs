//! The values of tasks, from when they are taken until their task is told of: what a task runs is made of them when it is
//! started. Bounded: who adds values waits until tasks have ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use titan_proto::command::{CommandTask, Word};
use titan_proto::id::TaskId;

use super::files::Declared;
use super::template::Template;
use crate::config::text::printable;
use crate::driver::TaskSource;
use crate::files::{Input, TaskFiles};
use crate::output::{Book, Concluded};
use crate::progress::TaskNames;

/// Characters of a command that are shown in one line.
const MAX_SHOWN_CHARS: usize = 120;

/// The values of one task.
pub(super) type Values = Vec<Vec<u8>>;

/// What is known of the tasks that are under way.
pub(super) struct Table {
    template: Template,
    files: Declared,
    stdin: Option<Vec<u8>>,
    inner: Mutex<Inner>,
    has_room: Condvar,
    /// Tasks that may be under way at once.
    max_open: usize,
}

#[derive(Default)]
struct Inner {
    values: BTreeMap<u32, Values>,
    /// Tasks that haven't ended.
    open: usize,
    /// Tasks that were ever added.
    added: u32,
}

impl Table {
    pub(super) fn new(template: Template, files: Declared, stdin: Option<Vec<u8>>, max_open: usize) -> Self {
        Self { template, files, stdin, inner: Mutex::default(), has_room: Condvar::new(), max_open }
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
        self.files.of_task(values, u64::from(index) + 1)
    }

    fn words(&self, index: u32) -> Option<Vec<Word>> {
        let values = self.lock().values.get(&index).cloned()?;
        Some(self.template.words(&values, u64::from(index) + 1))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book for Table {
    fn conclude(&self, index: u32) -> Concluded {
        let mut inner = self.lock();
        inner.open -= 1;
        let values = inner.values.remove(&index).unwrap_or_default();
        drop(inner);
        self.has_room.notify_all();
        let command = self.command_line(&values, index);
        let outputs = self.files_of(&values, index).map(|files| files.outputs).unwrap_or_default();
        Concluded { values, command, outputs }
    }
}

impl TaskNames for Table {
    fn number(&self, task: TaskId) -> u64 {
        u64::from(task.index) + 1
    }

    fn command(&self, task: TaskId) -> Option<String> {
        let values = self.lock().values.get(&task.index).cloned()?;
        let line = self.command_line(&values, task.index);
        let line = printable(&String::from_utf8_lossy(&line));
        let mut shown: String = line.chars().take(MAX_SHOWN_CHARS).collect();
        if shown.len() < line.len() {
            shown.push('…');
        }
        Some(shown)
    }
}

/// The table as the driver sees it.
pub(super) struct TableSource(pub(super) Arc<Table>);

impl TaskSource for TableSource {
    fn command(&self, index: u32) -> Option<Box<CommandTask>> {
        let words = self.0.words(index)?;
        Some(Box::new(CommandTask {
            words,
            env: Vec::new(),
            stdin: self.0.stdin.clone(),
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
