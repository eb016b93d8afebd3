//! Where records go. In memory for now: the order (a record before the acknowledgement that follows it) is already kept.

use titan_manager::Record;

/// The records of this batch, in order.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    records: Vec<Record>,
}

impl Journal {
    /// Appends one.
    pub(crate) fn append(&mut self, record: Record) {
        self.records.push(record);
    }
}
