//! Names and numbers of batches, sessions, jobs, tasks and attempts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names one invocation of titan: four or more lower-case letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(String);

impl BatchId {
    /// Fewest characters that a name has.
    pub const MIN_CHARS: usize = 4;
    /// Most characters that a name has: more is no name of ours.
    pub const MAX_CHARS: usize = 32;

    /// The name, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (Self::MIN_CHARS..=Self::MAX_CHARS).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        (fits && plain).then(|| Self(text.to_owned()))
    }

    /// Four characters made of a random number; letters and digits that look alike are left out.
    pub fn from_random(random: u64) -> Self {
        const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789z";
        let character = |place: u32| char::from(ALPHABET[(random >> (place * 5)) as usize % ALPHABET.len()]);
        Self((0..4).map(character).collect())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The conversation between one manager and one agent, whatever connections it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// The number of a manager's life for one batch; a higher one takes over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u32);

/// A job of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u32);

/// A task of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The job.
    pub job: JobId,
    /// The task's place in it, from 0.
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job.0, self.index)
    }
}

/// One try at a task. An outcome counts only if it names a live attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The manager's life that started it.
    pub epoch: Epoch,
    /// Unique within that life, never used again.
    pub number: u32,
}

impl AttemptId {
    /// The name of this attempt's bulk stream on a session.
    pub fn stream(self) -> u64 {
        u64::from(self.epoch.0) << 32 | u64::from(self.number)
    }

    /// The attempt whose stream has that name.
    pub fn from_stream(stream: u64) -> Self {
        Self { epoch: Epoch((stream >> 32) as u32), number: stream as u32 }
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch.0, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_and_its_stream_name_each_other() {
        let attempt = AttemptId { epoch: Epoch(7), number: u32::MAX };
        assert_eq!(AttemptId::from_stream(attempt.stream()), attempt);
    }

    #[test]
    fn a_batch_id_is_four_or_more_letters_and_digits() {
        assert!(BatchId::parse("k3f9").is_some());
        for wrong in ["k3f", "K3F9", "k3f9/", "../x", ""] {
            assert_eq!(BatchId::parse(wrong), None, "{wrong}");
        }
        assert!(BatchId::parse(BatchId::from_random(u64::MAX).as_str()).is_some());
    }
}
