//! The thread that takes values from their sources as there is room for more tasks, and tells the driver of them.

use std::sync::Arc;
use std::thread;

use titan_proto::id::{JobId, TaskId};
use tokio::sync::mpsc;

use super::table::{Table, Values};
use crate::driver::Fed;
use crate::driver::journal::{Journal, Line};

/// The only job of a map.
pub(super) const JOB: JobId = JobId(0);
/// A job has no more tasks than this: a task is numbered in 32 bits.
const MAX_TASKS: u32 = u32::MAX - 1;

/// Starts the thread.
pub(super) fn start(
    table: Arc<Table>,
    values: impl Iterator<Item = Result<Values, String>> + Send + 'static,
    journal: Journal,
    fed: mpsc::Sender<Fed>,
) -> std::io::Result<()> {
    thread::Builder::new().name("values".to_owned()).spawn(move || feed(&table, values, &journal, &fed)).map(drop)
}

fn feed(
    table: &Table,
    values: impl Iterator<Item = Result<Values, String>>,
    journal: &Journal,
    fed: &mpsc::Sender<Fed>,
) {
    for values in values {
        let said = match values {
            Err(reason) => return drop(fed.blocking_send(Fed::Failed { job: JOB, reason })),
            Ok(_) if table.added() >= MAX_TASKS => {
                let reason = format!("a batch has {MAX_TASKS} tasks at most");
                return drop(fed.blocking_send(Fed::Failed { job: JOB, reason }));
            }
            Ok(values) => {
                let task = TaskId { job: JOB, index: table.added() };
                journal.append(Line::Taken { task, values: values.clone() });
                table.add(values);
                fed.blocking_send(Fed::More { job: JOB, tasks: 1 })
            }
        };
        if said.is_err() {
            // The batch is over.
            return;
        }
    }
    let _ = fed.blocking_send(Fed::Closed { job: JOB });
}
