//! The thread that takes values from their sources as there is room for more tasks, and tells the driver of them.

use std::sync::Arc;
use std::thread;

use titan_manager::journal::{Entry, Past};
use titan_proto::id::{JobId, TaskId};
use tokio::sync::mpsc;

use super::table::{Table, Values};
use crate::config::text::cut;
use crate::driver::Fed;
use crate::state::journal::Journal;

/// The only job of a map.
pub(super) const JOB: JobId = JobId(0);
/// A job has no more tasks than this: a task is numbered in 32 bits.
const MAX_TASKS: u32 = u32::MAX - 1;
/// Bytes that the values of one task may have: far more than a process can be given as arguments.
const MAX_TASK_BYTES: usize = 512 << 10;
/// Characters of a value that are shown.
const MAX_SHOWN_CHARS: usize = 80;

/// What an earlier titan has taken.
pub(super) struct Before {
    /// The values of each task; None: all is told of it.
    tasks: Vec<Option<Values>>,
    /// There are no more.
    is_closed: bool,
}

impl Before {
    pub(super) fn of(past: &mut Past) -> Self {
        let tasks = 0..past.taken(JOB);
        let tasks = tasks.map(|index| {
            let task = TaskId { job: JOB, index };
            if past.is_told(task) { None } else { past.values(task) }
        });
        Self { tasks: tasks.collect(), is_closed: past.is_closed(JOB) }
    }
}

/// Starts the thread.
pub(super) fn start(
    table: Arc<Table>,
    values: impl Iterator<Item = Result<Values, String>> + Send + 'static,
    before: Before,
    journal: Journal,
    fed: mpsc::Sender<Fed>,
) -> std::io::Result<()> {
    let feed = move || {
        let last = match feed(&table, values, before, &journal, &fed) {
            Ok(()) => Fed::Closed { job: JOB },
            Err(reason) => Fed::Failed { job: JOB, reason },
        };
        // It fails only when the batch is over.
        let _ = fed.blocking_send(last);
    };
    thread::Builder::new().name("values".to_owned()).spawn(feed).map(drop)
}

fn feed(
    table: &Table,
    mut values: impl Iterator<Item = Result<Values, String>>,
    Before { tasks, is_closed }: Before,
    journal: &Journal,
    fed: &mpsc::Sender<Fed>,
) -> Result<(), String> {
    let is_known = |tasks: &[Option<Values>]| tasks.iter().any(Option::is_some);
    let to_compare = if is_closed || !is_known(&tasks) { Vec::new() } else { tasks.clone() };
    let taken = tasks.len() as u32;
    tasks.into_iter().for_each(|values| table.add_again(values));
    if taken > 0 && fed.blocking_send(Fed::More { job: JOB, tasks: taken }).is_err() {
        return Ok(());
    }
    if is_closed {
        return Ok(());
    }
    skip_taken(&mut values, taken, &to_compare)?;
    for values in values {
        let values = values?;
        if table.added() >= MAX_TASKS {
            return Err(format!("a batch has {MAX_TASKS} tasks at most"));
        }
        if values.iter().map(Vec::len).sum::<usize>() > MAX_TASK_BYTES {
            return Err(format!("the values of task {} are too long for a command", table.added() + 1));
        }
        let task = TaskId { job: JOB, index: table.added() };
        journal.note([Entry::Taken { task, values: values.clone() }], None);
        table.add(values);
        if fed.blocking_send(Fed::More { job: JOB, tasks: 1 }).is_err() {
            // The batch is over.
            return Ok(());
        }
    }
    Ok(())
}

/// Passes over what an earlier titan has taken, as far as the sources still have it.
fn skip_taken(
    values: &mut impl Iterator<Item = Result<Values, String>>,
    taken: u32,
    known: &[Option<Values>],
) -> Result<(), String> {
    for index in 0..taken as usize {
        let Some(value) = values.next() else { return Ok(()) };
        let (now, before) = (value?, known.get(index).and_then(Option::as_ref));
        if before.is_some_and(|before| *before != now) {
            let shown = |values: &Values| cut(&String::from_utf8_lossy(&values.join(&b' ')), MAX_SHOWN_CHARS);
            let before = before.map(shown).unwrap_or_default();
            return Err(format!("value {} was '{before}' and is '{}' now", index + 1, shown(&now)));
        }
    }
    Ok(())
}
