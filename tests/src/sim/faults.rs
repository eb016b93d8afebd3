//! What goes wrong in a world, and when.

use std::time::Duration;

use super::disk::DiskFault;
use super::random::Random;
use super::scenario::Mix;
use super::wire::{Side, Tamper};

/// The time in which things go wrong, in ms.
const FAULT_SPAN_MS: u64 = 45_000;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A connection is cut, and what was in flight is lost.
    Drop {
        /// The host.
        host: u32,
        /// How long the agent takes to notice; None: only silence tells it.
        agent_notices: Option<Duration>,
    },
    /// Nothing arrives any more, in one direction or both; nothing is lost if it heals.
    Silence {
        /// The host.
        host: u32,
        /// The end that hears nothing; None: both.
        deaf: Option<Side>,
        /// How long it lasts.
        span: Duration,
        /// Whether the connection is cut in the end, instead of healed.
        cuts: bool,
    },
    /// An agent's process is gone.
    Crash {
        /// The host.
        host: u32,
    },
    /// A host does nothing for a while, and then everything at once.
    Freeze {
        /// The host.
        host: u32,
        /// How long.
        span: Duration,
    },
    /// A host goes for good.
    GoDown {
        /// The host.
        host: u32,
    },
    /// The next frame on a connection is spoiled.
    Tamper {
        /// The host.
        host: u32,
        /// The end that reads it.
        toward: Side,
        /// How it is spoiled.
        tamper: Tamper,
    },
    /// An agent says what isn't so.
    Lie {
        /// The host.
        host: u32,
        /// What it says.
        lie: Lie,
    },
    /// titan itself does nothing for a while.
    ManagerSleep {
        /// How long.
        span: Duration,
    },
    /// A person cancels the batch.
    Cancel,
    /// Nothing passes between a host and titan, by whatever connection.
    Partition {
        /// The host.
        host: u32,
        /// The end that nothing reaches; None: neither.
        to: Option<Side>,
        /// How long.
        span: Duration,
    },
    /// titan's process ends, from one step to the next; somebody resumes the batch.
    TitanDies {
        /// Whether its machine loses its power.
        power: bool,
        /// When another one goes on.
        back_after: Duration,
    },
    /// The disk under the journal does something wrong.
    Disk(DiskFault),
    /// A titan of an earlier life speaks to a host's agent.
    Ghost {
        /// The host.
        host: u32,
    },
}

/// What a misbehaving agent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// An outcome that it has said before.
    FinishedAgain,
    /// An outcome of an attempt that nobody knows.
    FinishedUnknown,
    /// An outcome of an attempt that another worker holds.
    FinishedOfAnother,
    /// That it gives back an attempt that it runs.
    RecalledRunning,
    /// That it runs an attempt that nobody knows.
    StartedUnknown,
}

/// A row of faults of that mix; in most worlds host 0 is spared.
pub(super) fn schedule(random: &mut Random, mix: Mix, hosts: u32) -> Vec<(Duration, Fault)> {
    let number = match mix {
        Mix::Calm => 0,
        Mix::Cancels => random.between(0, 3),
        Mix::Storm => random.between(8, 40),
        Mix::Restarts | Mix::Disks => random.between(1, 8),
        _ => random.between(2, 20),
    };
    let first = if hosts > 1 && random.chance(80) { 1 } else { 0 };
    let mut faults: Vec<_> = (0..number)
        .map(|_| {
            let host = random.between(first, u64::from(hosts) - 1) as u32;
            (when(random), fault(random, mix, host))
        })
        .collect();
    if mix == Mix::Cancels || (mix == Mix::Storm && random.chance(20)) {
        faults.push((when(random), Fault::Cancel));
    }
    faults
}

/// Half of them early, when there is most to disturb.
fn when(random: &mut Random) -> Duration {
    let last = random.pick(&[3_000, 10_000, FAULT_SPAN_MS]);
    random.millis(0, last)
}

fn fault(random: &mut Random, mix: Mix, host: u32) -> Fault {
    match mix {
        Mix::Calm | Mix::Drops | Mix::Resumes => cut(random, host),
        Mix::Silences => silence(random, host),
        Mix::Crashes => crash(random, host),
        Mix::Freezes => freeze(random, host),
        Mix::Corruption => Fault::Tamper { host, toward: side(random), tamper: tamper(random) },
        Mix::Liars => Fault::Lie { host, lie: lie(random) },
        Mix::Restarts => restart(random, host),
        Mix::Partitions => partition(random, host),
        Mix::Disks => match random.chance(60) {
            true => disk(random),
            false => restart(random, host),
        },
        Mix::Cancels | Mix::Storm => match random.between(0, 9) {
            7 => restart(random, host),
            8 => partition(random, host),
            9 => disk(random),
            0 => cut(random, host),
            1 => silence(random, host),
            2 => crash(random, host),
            3 => freeze(random, host),
            4 => Fault::Tamper { host, toward: side(random), tamper: tamper(random) },
            5 => Fault::Lie { host, lie: lie(random) },
            _ => Fault::GoDown { host },
        },
    }
}

fn restart(random: &mut Random, host: u32) -> Fault {
    if random.chance(15) {
        return Fault::Ghost { host };
    }
    let longest = random.pick(&[500, 5_000, 90_000]);
    Fault::TitanDies { power: random.chance(30), back_after: random.millis(50, longest) }
}

fn partition(random: &mut Random, host: u32) -> Fault {
    let to = random.pick(&[None, Some(Side::Manager), Some(Side::Agent)]);
    let longest = random.pick(&[5_000, 40_000, 200_000]);
    Fault::Partition { host, to, span: random.millis(500, longest) }
}

fn disk(random: &mut Random) -> Fault {
    Fault::Disk(random.pick(&[DiskFault::Write, DiskFault::Sync]))
}

fn cut(random: &mut Random, host: u32) -> Fault {
    let agent_notices = match random.between(0, 9) {
        0 => None,
        1..=3 => Some(random.millis(1_000, 60_000)),
        _ => Some(random.millis(0, 100)),
    };
    Fault::Drop { host, agent_notices }
}

fn silence(random: &mut Random, host: u32) -> Fault {
    let deaf = random.pick(&[None, Some(Side::Manager), Some(Side::Agent)]);
    let span = random.millis(1_000, 120_000);
    Fault::Silence { host, deaf, span, cuts: random.chance(40) }
}

fn crash(random: &mut Random, host: u32) -> Fault {
    if random.chance(15) { Fault::GoDown { host } } else { Fault::Crash { host } }
}

fn freeze(random: &mut Random, host: u32) -> Fault {
    match random.chance(25) {
        true => Fault::ManagerSleep { span: random.millis(3_000, 100_000) },
        false => Fault::Freeze { host, span: random.millis(500, 100_000) },
    }
}

fn side(random: &mut Random) -> Side {
    random.pick(&[Side::Manager, Side::Agent])
}

fn tamper(random: &mut Random) -> Tamper {
    random.pick(&[Tamper::Corrupt, Tamper::Repeat, Tamper::Skip])
}

fn lie(random: &mut Random) -> Lie {
    random.pick(&[
        Lie::FinishedAgain,
        Lie::FinishedAgain,
        Lie::FinishedUnknown,
        Lie::FinishedOfAnother,
        Lie::RecalledRunning,
        Lie::StartedUnknown,
    ])
}
