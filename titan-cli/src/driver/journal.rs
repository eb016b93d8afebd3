//! Where records go. In memory for now: the order (a record before the acknowledgement that follows it) is already kept.
//! Nobody can read them after a crash, so only the last ones are kept, and a batch without end takes no memory without end.

use std::collections::VecDeque;

use titan_manager::Record;

/// Records that are kept.
const MAX_RECORDS: usize = 1_000;

/// The last records of this batch, in order.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    records: VecDeque<Record>,
}

impl Journal {
    /// Appends one.
    pub(crate) fn append(&mut self, record: Record) {
        if self.records.len() >= MAX_RECORDS {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }
}
