//! What happened, line by line: a hash of all of it, and the last lines for whoever has to find out why.

use std::collections::VecDeque;

use titan_proto::time::Timestamp;

/// Lines that are kept.
const KEPT_LINES: usize = 50;

/// The story of one run.
#[derive(Debug, Default)]
pub(super) struct Trace {
    hash: u64,
    tail: VecDeque<String>,
}

impl Trace {
    /// One more line.
    pub(super) fn note(&mut self, now: Timestamp, line: &str) {
        let micros = now.as_micros();
        let line = format!("{:>4}.{:06} {line}", micros / 1_000_000, micros % 1_000_000);
        self.hash = line.bytes().fold(self.hash ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        if self.tail.len() == KEPT_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// Two runs with the same hash did the same.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines.
    pub(super) fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }
}
