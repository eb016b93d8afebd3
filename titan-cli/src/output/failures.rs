//! For each kind of failure one example: what the task wrote to stderr at last, and how to run it alone.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use titan_manager::Lifecycle;
use titan_proto::capture::Channel;

use super::printer::each_piece;
use super::record::TaskRecord;
use crate::state::spool::Spool;

/// Kinds of which an example is kept.
const MAX_KINDS: usize = 100;
/// Bytes of its stderr that are looked at, from its end.
const MAX_TAIL_BYTES: usize = 2_000;

/// One failed task as an example of its kind.
#[derive(Debug, Clone)]
pub(crate) struct Example {
    /// The last line of its stderr that isn't empty.
    pub(crate) stderr: Option<String>,
    /// What it ran; can be pasted into sh.
    pub(crate) command: String,
}

/// Examples by the reason that is told for their kind. A clone is the same collection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Examples(Arc<Mutex<BTreeMap<String, Example>>>);

impl Examples {
    /// Looks at a task that has ended: if it is the first of its kind to fail it becomes the example.
    pub(super) fn look_at(&self, record: &TaskRecord, spool: &Spool) -> io::Result<()> {
        let Some(reason) = record.end.reason.as_ref().filter(|_| record.end.state == Lifecycle::Failed) else {
            return Ok(());
        };
        let mut examples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if examples.len() >= MAX_KINDS || examples.contains_key(reason) {
            return Ok(());
        }
        let mut tail: Vec<u8> = Vec::new();
        each_piece(spool, record, |channel, bytes| {
            if channel == Channel::Stderr {
                tail.extend_from_slice(bytes);
                let beyond = tail.len().saturating_sub(MAX_TAIL_BYTES);
                tail.drain(..beyond);
            }
            Ok(())
        })?;
        let text = String::from_utf8_lossy(&tail).into_owned();
        let stderr = text.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned);
        let command = String::from_utf8_lossy(&record.asked.command).into_owned();
        examples.insert(reason.clone(), Example { stderr, command });
        Ok(())
    }

    /// The example of that kind.
    pub(crate) fn of(&self, reason: &str) -> Option<Example> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(reason).cloned()
    }
}
