//! The fault matrix: a batch over real sshd is in the middle of its tasks, one thing goes wrong, and what titan promises holds.
//!
//! A [`Row`] says what goes wrong and what is to come of it. All rows assert the same: some tasks were COMPLETED and others RUNNING
//! when it happened; these went on, or were tried again; the results are byte for byte those of a run in which nothing goes
//! wrong; the exit code; that nothing is left anywhere. What each has seen is printed, with the time that it took.
//!
//! # Layout
//! - this file: rows, and playing them side by side.
//! - [`batch`]: the two batches that they are played with.
//! - [`stage`]: one row while it is played. `proof`: what is asserted of it.
//! - [`version`]: a titan of another version.

pub mod batch;
mod proof;
pub mod stage;
pub mod version;

use crate::rig::{self, Rig};
use crate::scene::{ClusterText, Scene};
pub use batch::Kind;
pub use stage::Stage;
use std::env;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Commands and kernels.
pub const BOTH: &[Kind] = &[Kind::Command, Kind::Kernel];
/// Commands alone.
pub const COMMANDS: &[Kind] = &[Kind::Command];
/// Kernels alone.
pub const KERNELS: &[Kind] = &[Kind::Kernel];

/// With this variable only rows are played whose name holds its value.
const ONLY_VARIABLE: &str = "TITAN_MATRIX_ONLY";
/// Rows at once: they wait more than they compute.
const ROWS_AT_ONCE: usize = 6;

/// One fault, and what is to come of it.
#[derive(Clone, Copy)]
pub struct Row {
    /// What goes wrong, as docs/reliability.md names it.
    pub name: &'static str,
    /// The kinds of batch that it is played with.
    pub kinds: &'static [Kind],
    /// Makes the hosts.
    pub rig: fn() -> Rig,
    /// How they are reached; the second argument is what is to go wrong in their agents.
    pub cluster: fn(&Scene, &str) -> ClusterText,
    /// How long silence is borne.
    pub pace: Pace,
    /// Further options of the batch.
    pub options: &'static [&'static str],
    /// What a command does at once.
    pub begins: &'static str,
    /// What it does first when it may end.
    pub ends: &'static str,
    /// What it prints then: of this the results are made.
    pub script: &'static str,
    /// How long a tile takes, in ms.
    pub slow_ms: u32,
    /// The hosts that are in the middle of tasks when it happens.
    pub struck: &'static [&'static str],
    /// Makes it happen, and ends it if it is to end.
    pub strike: fn(&mut Stage),
    /// What becomes of the tasks that ran on the struck hosts.
    pub recovery: Recovery,
    /// Takes away what was brought, after the batch's end.
    pub mend: fn(&Stage),
}

/// What becomes of tasks that run when something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// They go on as the same attempts, in the same processes.
    GoesOn,
    /// They are tried again.
    NewAttempt,
}

/// How long silence is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A host is UNHEALTHY after 8 s, and its lease is 30 s.
    Steady,
    /// A host is UNHEALTHY after 2 s, and its lease is 30 s.
    Watchful,
    /// A host is UNHEALTHY after 2 s, and its lease is 5 s.
    Hasty,
}

/// What a row has shown.
struct Seen {
    title: String,
    /// From the fault, or its end if it lasts, until titan has recovered; None: the row has failed.
    took: Option<Duration>,
}

impl Row {
    /// A fault in the middle of a batch of either kind on two hosts, of which beta is struck, whose tasks go on.
    pub const fn new(name: &'static str, strike: fn(&mut Stage)) -> Self {
        Self {
            name,
            kinds: BOTH,
            rig: two_hosts,
            cluster: by_ssh,
            pace: Pace::Steady,
            options: &[],
            begins: ":",
            ends: ":",
            script: "seq {} 500; echo {} >&2",
            slow_ms: 300,
            struck: &["beta"],
            strike,
            recovery: Recovery::GoesOn,
            mend: |_| {},
        }
    }

    fn title(&self, kind: Kind) -> String {
        format!("{} ({kind})", self.name)
    }

    fn play(&self, kind: Kind) -> Duration {
        let mut stage = Stage::set(self, kind);
        stage.wait_until_midway();
        (self.strike)(&mut stage);
        stage.restart_clock_once();
        stage.wait_for_recovery();
        stage.prove()
    }
}

impl Pace {
    /// How long an agent works on unheard.
    pub fn lease(self) -> Duration {
        match self {
            Self::Steady | Self::Watchful => Duration::from_secs(30),
            Self::Hasty => Duration::from_secs(5),
        }
    }

    fn set(self, cluster: ClusterText) -> ClusterText {
        let unhealthy_after = if self == Self::Steady { "8s" } else { "2s" };
        cluster
            .ssh("connect_timeout = '2s'")
            .scheduler("tick = '100ms'")
            .scheduler("heartbeat = '300ms'")
            .scheduler("speculate = 'off'")
            .scheduler(&format!("unhealthy_after = '{unhealthy_after}'"))
            .scheduler(&format!("lease = '{}s'", self.lease().as_secs()))
    }
}

fn two_hosts() -> Rig {
    Rig::new(2)
}

/// All hosts of the scene, by ssh.
pub fn by_ssh(scene: &Scene, faults: &str) -> ClusterText {
    scene.rig.hosts().iter().fold(ClusterText::new(), |cluster, host| cluster.host(host.name(), faults))
}

/// The same, but the tiles of beta take long: titan acts before they are done.
pub fn by_ssh_with_a_slow_beta(_: &Scene, faults: &str) -> ClusterText {
    let of_beta = if faults.is_empty() { "" } else { "slow:8000" };
    ClusterText::new().host("alpha", faults).host("beta", of_beta)
}

/// Plays all rows, several at once, and says what each has seen.
///
/// # Panics
/// With the names of those that failed.
#[track_caller]
pub fn play(rows: &[Row]) {
    if rig::skipped() {
        return;
    }
    let only = env::var(ONLY_VARIABLE).unwrap_or_default();
    let plays: Vec<(&Row, Kind)> = rows.iter().flat_map(|row| row.kinds.iter().map(move |kind| (row, *kind))).collect();
    let plays: Vec<_> = plays.into_iter().filter(|(row, kind)| row.title(*kind).contains(&only)).collect();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..ROWS_AT_ONCE {
            scope.spawn(|| {
                while let Some((row, kind)) = plays.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let seen = play_one(row, *kind);
                    seen.print(row.recovery);
                    if seen.took.is_none() {
                        failed.lock().expect("no row panics here").push(seen.title);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no row panics here");
    assert!(failed.is_empty(), "{} of {} rows failed: {failed:#?}", failed.len(), plays.len());
}

/// Plays a row on a thread of its own, whose panic is that row's failure and is printed with its name.
fn play_one(row: &Row, kind: Kind) -> Seen {
    let title = row.title(kind);
    let took = thread::scope(|scope| {
        let thread = thread::Builder::new().name(title.clone()).spawn_scoped(scope, || row.play(kind));
        thread.expect("there is room for a thread").join().ok()
    });
    Seen { title, took }
}

impl Seen {
    fn print(&self, recovery: Recovery) {
        let seen = match (self.took, recovery) {
            (None, _) => "FAILED".to_owned(),
            (Some(took), Recovery::GoesOn) => format!("goes on after {:.2} s", took.as_secs_f64()),
            (Some(took), Recovery::NewAttempt) => format!("tried again after {:.2} s", took.as_secs_f64()),
        };
        // Not println: the test harness would swallow that.
        let _ = writeln!(io::stderr(), "matrix: {}: {seen}", self.title);
    }
}
