//! What a task writes, on its way to the manager: records, and a bound on how many bytes of them wait here, in memory and beyond
//! that on the disk. A task whose output nobody takes stops writing when both are full, and nothing else stops.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use titan_proto::capture::{Channel, HEADER_BYTES, MAX_RECORD_BYTES, header};

use super::ScratchRoot;
use super::overflow::{Overflow, Shelf};

/// Output of all tasks that waits to be sent or acknowledged: enough for any link's round trip.
const MAX_WAITING_BYTES: u64 = 4 << 20;
/// A manager that takes more within this span is waited for: a detour over the disk would cost more than it gains.
const QUICK_SPAN: Duration = Duration::from_millis(5);
/// One that wasn't is not waited for again before.
const SLOW_SPAN: Duration = Duration::from_millis(200);
/// A piece that is read at once: with its header no more than a pipe holds.
pub(crate) const PIECE_BYTES: usize = MAX_RECORD_BYTES - HEADER_BYTES;

/// How many bytes of output wait.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    waiting: Mutex<Waiting>,
    freed: Condvar,
    /// What waits on the disk.
    shelf: Shelf,
}

#[derive(Debug, Default)]
struct Waiting {
    /// On their way to who sends.
    read_bytes: u64,
    /// There, or sent and not acknowledged.
    sent_bytes: u64,
    /// How many wait for room.
    waiters: usize,
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
        let mut waiting = self.lock();
        waiting.waiters += 1;
        waiting = self.freed.wait_timeout_while(waiting, patience, full).unwrap_or_else(PoisonError::into_inner).0;
        waiting.waiters -= 1;
        !waiting.is_full()
    }

    fn is_full(&self) -> bool {
        self.lock().is_full()
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
        if waiting.waiters > 0 && !waiting.is_full() {
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
    overflow: Overflow,
    /// What came last and found no room on the disk either.
    spare: VecDeque<Vec<u8>>,
    /// The manager was waited for in vain: it isn't until then.
    slow_until: Option<Instant>,
}

impl Sink {
    pub(crate) fn new(
        budget: Arc<Budget>,
        scratch: Arc<ScratchRoot>,
        chunk: Box<dyn Fn(Vec<u8>) -> bool + Send>,
    ) -> Self {
        let (overflow, spare) = (Overflow::new(scratch), VecDeque::new());
        Self { budget, chunk, bytes: 0, crc: crc32fast::Hasher::new(), overflow, spare, slow_until: None }
    }

    /// Whether a piece would be taken now, after waiting that long at most.
    pub(crate) fn has_room(&mut self, patience: Duration) -> bool {
        if self.flush(Duration::ZERO) && !self.budget.is_full() {
            return true;
        }
        if self.slow_until.is_none_or(|until| Instant::now() >= until) {
            if self.budget.wait(patience.min(QUICK_SPAN)) {
                return self.flush(Duration::ZERO) && !self.budget.is_full();
            }
            self.slow_until = Some(Instant::now() + SLOW_SPAN);
        }
        if self.spare.is_empty() && self.overflow.has_room(&self.budget.shelf) {
            return true;
        }
        self.budget.wait(patience);
        self.flush(Duration::ZERO) && !self.budget.is_full()
    }

    /// Hands on what waits here, as far as there is room within that time; whether that was all.
    pub(crate) fn flush(&mut self, patience: Duration) -> bool {
        self.hand_on_waiting();
        if self.is_flushed() || !self.budget.wait(patience) {
            return self.is_flushed();
        }
        self.hand_on_waiting();
        self.is_flushed()
    }

    /// Whether nothing waits here.
    pub(crate) fn is_flushed(&self) -> bool {
        self.spare.is_empty() && self.overflow.is_empty()
    }

    /// Whether something that was taken is lost: a disk has failed.
    pub(crate) fn is_lost(&self) -> bool {
        self.overflow.is_lost()
    }

    /// Takes a piece that was read; it is counted until it has arrived.
    pub(crate) fn take(&mut self, channel: Channel, piece: &[u8]) {
        let mut record = Vec::with_capacity(HEADER_BYTES + piece.len());
        record.extend_from_slice(&header(channel, piece.len() as u32));
        record.extend_from_slice(piece);
        self.bytes += record.len() as u64;
        self.crc.update(&record);
        if self.is_flushed() && !self.budget.is_full() {
            self.hand_on(record);
        } else if !self.spare.is_empty() || !self.overflow.put(&record, &self.budget.shelf) {
            self.spare.push_back(record);
        }
    }

    /// Length and CRC-32 of all that was taken.
    pub(crate) fn total(&self) -> (u64, u32) {
        (self.bytes, self.crc.clone().finalize())
    }

    fn hand_on_waiting(&mut self) {
        while !self.budget.is_full() {
            let next = self.overflow.take(PIECE_BYTES, &self.budget.shelf).or_else(|| self.spare.pop_front());
            let Some(piece) = next else { return };
            self.hand_on(piece);
        }
    }

    fn hand_on(&self, piece: Vec<u8>) {
        self.budget.add(piece.len());
        (self.chunk)(piece);
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.overflow.forget(&self.budget.shelf);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A sink, what it hands on, and its budget.
    fn sink(word: &str) -> (Sink, mpsc::Receiver<Vec<u8>>, Arc<Budget>) {
        let budget = Arc::new(Budget::default());
        let (sender, receiver) = mpsc::channel();
        let chunk = move |bytes| sender.send(bytes).is_ok();
        let scratch = Arc::new(ScratchRoot::named(&scratch_word(word)));
        (Sink::new(Arc::clone(&budget), scratch, Box::new(chunk)), receiver, budget)
    }

    fn scratch_word(word: &str) -> String {
        format!("{word}-{}", std::process::id())
    }

    fn piece(number: u8) -> Vec<u8> {
        vec![number; PIECE_BYTES]
    }

    /// Everything that comes, as the manager would take it: what is sent is acknowledged.
    fn all(mut sink: Sink, receiver: &mpsc::Receiver<Vec<u8>>, budget: &Budget) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let is_flushed = sink.flush(Duration::ZERO);
            for piece in receiver.try_iter() {
                budget.handed_over(piece.len());
                bytes.extend(piece);
            }
            if is_flushed {
                let (length, crc) = sink.total();
                assert_eq!((bytes.len() as u64, crc32fast::hash(&bytes)), (length, crc));
                return bytes;
            }
        }
    }

    #[test]
    fn what_nobody_takes_waits_on_the_disk_and_comes_in_order() {
        let (mut sink, receiver, budget) = sink("waits");
        for number in 0..200 {
            assert!(sink.has_room(Duration::ZERO), "piece {number}");
            sink.take(Channel::Stdout, &piece(number));
        }
        assert!(!sink.is_flushed() && budget.is_full());
        let bytes = all(sink, &receiver, &budget);
        let numbers: Vec<u8> = bytes.chunks(MAX_RECORD_BYTES).map(|record| record[HEADER_BYTES]).collect();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());
        assert_eq!(budget.shelf.bytes(), 0);
        ScratchRoot::named(&scratch_word("waits")).remove_all();
    }

    #[test]
    fn without_a_disk_a_task_waits_and_what_it_had_written_already_is_not_lost() {
        let (mut sink, receiver, budget) = sink("full");
        sink.overflow.give_up();
        let mut number = 0;
        while sink.has_room(Duration::ZERO) {
            sink.take(Channel::Stdout, &piece(number));
            number += 1;
        }
        assert!(u64::from(number) * (PIECE_BYTES as u64) < MAX_WAITING_BYTES + PIECE_BYTES as u64);
        // The other pipe was read at the same time.
        sink.take(Channel::Stderr, b"last");
        let begun = Instant::now();
        assert!(!sink.has_room(Duration::from_millis(50)));
        assert!(begun.elapsed() >= Duration::from_millis(50), "who asks again and again would do nothing else");
        assert!(all(sink, &receiver, &budget).ends_with(b"last"));
    }
}
