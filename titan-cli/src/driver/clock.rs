//! The only clock that decisions are made by: monotonic, its origin the start of this titan.

use std::time::Instant;

use titan_proto::time::Timestamp;

/// Turns instants into the logic's timestamps and back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// This moment.
    pub(crate) fn now(self) -> Timestamp {
        Timestamp::default() + self.origin.elapsed()
    }

    /// The instant of a timestamp.
    pub(crate) fn instant(self, at: Timestamp) -> Instant {
        self.origin + at.since(Timestamp::default())
    }
}
