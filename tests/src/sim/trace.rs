//! What happened, line by line: a hash of all of it, and the last lines for whoever has to find out why.

use std::collections::VecDeque;

use titan_proto::time::Timestamp;

/// Lines that are kept unless `TITAN_SIM_LINES` says otherwise.
const KEPT_LINES: usize = 50;

/// The story of one run.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    tail: VecDeque<String>,
    kept_lines: usize,
}

impl Trace {
    /// Before anything has happened.
    pub(super) fn new() -> Self {
        let wanted = std::env::var("TITAN_SIM_LINES").ok().and_then(|lines| lines.parse().ok());
        Self { hash: 0, tail: VecDeque::new(), kept_lines: wanted.unwrap_or(KEPT_LINES) }
    }

    /// One more line.
    pub(super) fn note(&mut self, now: Timestamp, line: &str) {
        let micros = now.as_micros();
        let line = format!("{:>4}.{:06} {line}", micros / 1_000_000, micros % 1_000_000);
        self.hash = line.bytes().fold(self.hash ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        if self.tail.len() == self.kept_lines {
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
