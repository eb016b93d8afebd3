//! What tasks do, as pure functions of the seed and the task: how long they take, what they make, how they misbehave.

use std::time::Duration;

use titan_proto::id::{JobId, TaskId};

use super::random::Random;

/// How a simulated task begins to say that its job's setup fails.
pub const SETUP: &str = "setup failed";
/// How a simulated task begins to say that its host lacks what it needs.
pub(super) const LACKS: &str = "lacking";

/// How tasks of a world behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manners {
    /// Decides which task does what.
    pub seed: u64,
    /// Longest time that a task takes, in ms.
    pub longest_ms: u64,
    /// Tasks of a hundred that fail, panic or make a damaged result, at first or always.
    pub fail_percent: u64,
    /// Tasks of a hundred that take their agent down, at first or always.
    pub kill_percent: u64,
    /// Tasks of a hundred that run until they are stopped.
    pub endless_percent: u64,
    /// Of a hundred pairs of job and host, on how many the job's setup fails.
    pub setup_percent: u64,
    /// Of a hundred pairs of task and host, how many don't fit together: the host lacks something.
    pub lack_percent: u64,
    /// Tasks of a hundred whose result needs many frames.
    pub large_percent: u64,
}

/// What one task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// How long it computes.
    pub span: Duration,
    /// Length of its result.
    pub bytes: usize,
    /// What is wrong with it.
    pub quirk: Quirk,
    /// How many of its tries the quirk spoils.
    pub times: u32,
}

/// What can be wrong with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quirk {
    /// Nothing.
    None,
    /// It fails.
    Fails,
    /// It panics, and its agent lives on.
    Panics,
    /// Its checksum is wrong.
    Damaged,
    /// It takes its agent down.
    KillsAgent,
    /// It runs until it is stopped.
    NeverEnds,
}

impl Manners {
    /// What that task does.
    pub fn of(&self, task: TaskId) -> Behaviour {
        let mut random = Random::new(self.seed ^ (u64::from(task.job.0) << 40) ^ (u64::from(task.index) << 8));
        let bytes = match random.chance(self.large_percent) {
            true => random.between(40_000, 160_000),
            false => random.between(0, 2_000),
        };
        let drawn = random.between(0, 99);
        let kill_below = self.fail_percent + self.kill_percent;
        let quirk = match drawn {
            _ if drawn < self.fail_percent => random.pick(&[Quirk::Fails, Quirk::Panics, Quirk::Damaged]),
            _ if drawn < kill_below => Quirk::KillsAgent,
            _ if drawn < kill_below + self.endless_percent => Quirk::NeverEnds,
            _ => Quirk::None,
        };
        let times = random.pick(&[1, 1, 2, u32::MAX]);
        Behaviour { span: random.millis(1, self.longest_ms), bytes: bytes as usize, quirk, times }
    }
}

impl Manners {
    /// Whether that job's setup fails on that host; on the first it never does.
    pub fn fails_setup(&self, job: JobId, host: u32) -> bool {
        let mut random = Random::new(!self.seed ^ (u64::from(job.0) << 32) ^ 0x5e7);
        (0..host).fold(false, |_, _| random.chance(self.setup_percent))
    }

    /// Whether that host lacks what that task needs; the first never does.
    pub fn lacks(&self, task: TaskId, host: u32) -> bool {
        let mut random = Random::new(!self.seed ^ (u64::from(task.job.0) << 48) ^ (u64::from(task.index) << 16));
        (0..host).fold(false, |_, _| random.chance(self.lack_percent))
    }
}

impl Behaviour {
    /// Whether that try, from 1, is spoiled.
    pub fn spoils(&self, number: u32) -> bool {
        self.quirk != Quirk::None && number <= self.times
    }
}

/// A task's result: nobody who computes it makes another.
pub fn result(task: TaskId, bytes: usize) -> Vec<u8> {
    let mut random = Random::new(u64::from(task.job.0) << 32 | u64::from(task.index));
    let mut data = Vec::with_capacity(bytes + 8);
    while data.len() < bytes {
        data.extend_from_slice(&random.draw().to_le_bytes());
    }
    data.truncate(bytes);
    data
}

/// The number that an agent sends with a result and titan compares. Both ends of the simulation agree on it; which
/// function it is doesn't matter here.
pub fn checksum(data: &[u8]) -> u32 {
    let words = data.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    let hash =
        words.fold(data.len() as u64, |hash, word| (hash ^ word).rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (hash >> 32) as u32
}
