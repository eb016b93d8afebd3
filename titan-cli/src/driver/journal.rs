//! What a batch has come to, in order. In memory for now; the order is already as it has to be: a record before the
//! acknowledgement that follows it, values before the task that is made of them, a manifest before the first rename. Nobody can
//! read it after a crash, so only the last lines are kept, and a batch without end takes no memory without end.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use titan_manager::Record;
use titan_proto::files::BlobId;
use titan_proto::id::TaskId;

/// Entries of lines that are kept: a manifest has one for each of its files.
const MAX_ENTRIES: usize = 1_000;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// What the manager says.
    Manager(Record),
    /// A task is made of these values, which were taken from where they come from.
    Taken { task: TaskId, values: Vec<Vec<u8>> },
    /// All that a task left is whole, under temporary names: from here on its outputs can be put in their places, as often as it
    /// takes.
    Manifest { task: TaskId, files: Vec<Output> },
    /// They have their places.
    Committed { task: TaskId },
}

/// A file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) temporary: PathBuf,
    pub(crate) target: PathBuf,
    /// Its content; None for a link.
    pub(crate) blob: Option<BlobId>,
}

/// The last lines of this batch, in order; shared by all who write some.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    lines: VecDeque<Line>,
    entries: usize,
}

impl Line {
    fn entries(&self) -> usize {
        match self {
            Self::Manifest { files, .. } => 1 + files.len(),
            _ => 1,
        }
    }
}

impl Journal {
    /// Appends one.
    pub(crate) fn append(&self, line: Line) {
        let mut kept = self.lock();
        kept.entries += line.entries();
        kept.lines.push_back(line);
        while kept.entries > MAX_ENTRIES
            && let Some(first) = kept.lines.pop_front()
        {
            kept.entries -= first.entries();
        }
    }

    /// What is kept of it.
    #[cfg(test)]
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lock().lines.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use titan_proto::id::JobId;

    use super::*;

    #[test]
    fn only_the_last_lines_are_kept_however_much_is_in_them() {
        let journal = Journal::default();
        let task = |index| TaskId { job: JobId(0), index };
        for index in 0..5_000 {
            journal.append(Line::Taken { task: task(index), values: Vec::new() });
        }
        assert_eq!(journal.lines().len(), MAX_ENTRIES);
        let file = Output { temporary: PathBuf::new(), target: PathBuf::new(), blob: None };
        journal.append(Line::Manifest { task: task(1), files: vec![file; 10 * MAX_ENTRIES] });
        journal.append(Line::Committed { task: task(1) });
        assert_eq!(journal.lines(), [Line::Committed { task: task(1) }]);
    }
}
