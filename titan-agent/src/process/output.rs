//! What a task writes, on its way to the manager: records, and a bound on how many bytes of them wait here. A task whose
//! output nobody takes stops writing, and nothing else stops.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use titan_proto::capture::{Channel, HEADER_BYTES, MAX_RECORD_BYTES, header};

/// Output of all tasks that waits to be sent or acknowledged: enough for any link's round trip.
const MAX_WAITING_BYTES: u64 = 4 << 20;
/// A piece that is read at once: with its header no more than a pipe holds.
pub(crate) const PIECE_BYTES: usize = MAX_RECORD_BYTES - HEADER_BYTES;

/// How many bytes of output wait.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    waiting: Mutex<Waiting>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// On their way to who sends.
    read_bytes: u64,
    /// There, or sent and not acknowledged.
    sent_bytes: u64,
}

impl Waiting {
    fn is_full(&self) -> bool {
        self.read_bytes + self.sent_bytes >= MAX_WAITING_BYTES
    }
}

impl Budget {
    /// Waits for room, but not longer than that; whether there is some.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        let full = |waiting: &mut Waiting| waiting.is_full();
        let (waiting, _) =
            self.freed.wait_timeout_while(self.lock(), patience, full).unwrap_or_else(PoisonError::into_inner);
        !waiting.is_full()
    }

    fn add(&self, bytes: usize) {
        self.lock().read_bytes += bytes as u64;
    }

    /// Told by who sends: it has got another piece.
    pub(crate) fn handed_over(&self, bytes: usize) {
        self.lock().read_bytes -= bytes as u64;
    }

    /// Told by who sends: that many bytes wait there.
    pub(crate) fn set_sent(&self, bytes: u64) {
        let mut waiting = self.lock();
        waiting.sent_bytes = bytes;
        if !waiting.is_full() {
            self.freed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where one attempt's output goes.
pub(crate) struct Sink {
    budget: Arc<Budget>,
    chunk: Box<dyn Fn(Vec<u8>) -> bool + Send>,
    bytes: u64,
    crc: crc32fast::Hasher,
}

impl Sink {
    pub(crate) fn new(budget: Arc<Budget>, chunk: Box<dyn Fn(Vec<u8>) -> bool + Send>) -> Self {
        Self { budget, chunk, bytes: 0, crc: crc32fast::Hasher::new() }
    }

    /// Whether a piece would be taken now, after waiting that long at most.
    pub(crate) fn has_room(&self, patience: Duration) -> bool {
        self.budget.wait(patience)
    }

    /// Takes a piece that was read; it is counted until it has arrived.
    pub(crate) fn take(&mut self, channel: Channel, piece: &[u8]) {
        let mut record = Vec::with_capacity(HEADER_BYTES + piece.len());
        record.extend_from_slice(&header(channel, piece.len() as u32));
        record.extend_from_slice(piece);
        self.bytes += record.len() as u64;
        self.crc.update(&record);
        self.budget.add(record.len());
        (self.chunk)(record);
    }

    /// Length and CRC-32 of all that was taken.
    pub(crate) fn total(&self) -> (u64, u32) {
        (self.bytes, self.crc.clone().finalize())
    }
}
