//! How long it takes until something runs, and until a batch of one task is over, against what the system takes for the parts
//! that can't be left out.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::Bench;
use super::figure::{Subject, Target};
use super::hyperqueue::{self, HyperQueue};
use super::runner::Runner;
use crate::launch::child::is_program;

/// Syncs and spawns that are measured for one sample; their mean counts.
const PARTS: u32 = 20;

/// What a batch of one task may take: syncs of a small file, and processes.
const SYNCS: f64 = 6.0;
const SPAWNS: f64 = 10.0;

pub(super) fn measure(bench: &mut Bench<'_>) -> io::Result<()> {
    let first = milliseconds("start to first task running, local", "titan --version", Target::AtMost(5.0, 3.0));
    bench.add(first, |runner| {
        let version = runner.titan(&["--version"], "")?.seconds;
        let begun = wall_clock();
        let ran = runner.map(&["date", ":::", "+%s.%N"], "")?;
        let said: f64 = String::from_utf8_lossy(&ran.stdout).trim().parse().map_err(io::Error::other)?;
        Ok(((said - begun) * 1e3, version * 1e3))
    })?;
    let whole = milliseconds(ONE, "titan --version, 6 syncs, 10 processes", Target::AtMost(1.0, 0.8));
    bench.add(whole, |runner| {
        let version = runner.titan(&["--version"], "")?.seconds;
        let bound = version + SYNCS * sync_seconds(runner.folder())? + SPAWNS * spawn_seconds(runner)?;
        Ok((runner.map(&["true", ":::", "1"], "")?.seconds * 1e3, bound * 1e3))
    })?;
    if bench.args.peers && is_program("parallel") {
        bench.add(milliseconds(ONE, "parallel true ::: 1", Target::AtMost(1.0, 0.5)), |runner| {
            let theirs = runner.program(&["parallel", "true", ":::", "1"], "")?.seconds;
            Ok((runner.map(&["true", ":::", "1"], "")?.seconds * 1e3, theirs * 1e3))
        })?;
    }
    if bench.args.peers && hyperqueue::is_installed() {
        bench.add(milliseconds(ONE, "hq submit --wait true, its server up", Target::AtMost(1.0, 0.5)), |runner| {
            let hyperqueue = HyperQueue::start(runner)?;
            // Its worker has begun with nothing yet.
            hyperqueue.submit_one(&["true"])?;
            let theirs = hyperqueue.submit_one(&["true"])?.seconds;
            // titan has the machine to itself.
            drop(hyperqueue);
            Ok((runner.map(&["true", ":::", "1"], "")?.seconds * 1e3, theirs * 1e3))
        })?;
    }
    Ok(())
}

/// A batch of one task, the whole of it.
const ONE: &str = "titan map -- true ::: 1";

fn milliseconds(name: &str, bound: &str, target: Target) -> Subject {
    Subject { section: "start", name: name.to_owned(), unit: "ms", bound: bound.to_owned(), target }
}

/// Seconds since 1970, as `date` has them.
#[expect(clippy::disallowed_methods, reason = "compared with what another process says; nothing is decided by it")]
fn wall_clock() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// What it takes to write a little and sync it.
fn sync_seconds(folder: &Path) -> io::Result<f64> {
    let path = folder.join("synced");
    let mut file = File::create(&path)?;
    let start = Instant::now();
    for _ in 0..PARTS {
        file.write_all(&[0; 100])?;
        file.sync_data()?;
    }
    let seconds = start.elapsed().as_secs_f64() / f64::from(PARTS);
    std::fs::remove_file(&path).map(|()| seconds)
}

/// What a process with two captured pipes takes.
fn spawn_seconds(runner: &Runner) -> io::Result<f64> {
    let start = Instant::now();
    for _ in 0..PARTS {
        runner.program(&["true"], "")?;
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(PARTS))
}
