//! How long it takes until something runs, and until a batch of one task is over, against what the system takes for the parts
//! that can't be left out.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::Bench;
use super::figure::{Figure, Target};
use super::runner::is_installed;
use super::samples::Samples;

/// Syncs and spawns that are measured for one sample; their mean counts.
const PARTS: u32 = 20;

/// What a batch of one task may take: syncs of a small file, and processes.
const SYNCS: f64 = 6.0;
const SPAWNS: f64 = 10.0;

pub(super) fn measure(bench: &mut Bench<'_>) -> io::Result<()> {
    first_task(bench)?;
    one_task(bench)?;
    if bench.args.peers && is_installed("parallel") {
        peer(bench, &["parallel", "true", ":::", "1"])?;
    }
    Ok(())
}

/// Start to first task running.
fn first_task(bench: &mut Bench<'_>) -> io::Result<()> {
    let (mut measured, mut bounds) = (Vec::new(), Vec::new());
    let ratio = Samples::take(bench.args.runs, || {
        let version = bench.runner.titan(&["--version"], "")?.seconds;
        let begun = wall_clock();
        let ran = batch_of_one(bench, &["date", ":::", "+%s.%N"])?;
        let said: f64 = String::from_utf8_lossy(&ran.stdout).trim().parse().map_err(io::Error::other)?;
        measured.push((said - begun) * 1e3);
        bounds.push(version * 1e3);
        io::Result::Ok((said - begun) / version)
    })?;
    bench.add(Figure {
        section: "start",
        name: "start to first task running, local".to_owned(),
        measured: Samples::new(measured).median(),
        unit: "ms",
        bound: "titan --version".to_owned(),
        bound_value: Samples::new(bounds).median(),
        ratio,
        target: Target::AtMost(5.0, 3.0),
    });
    Ok(())
}

/// Seconds since 1970, as `date` has them.
#[expect(clippy::disallowed_methods, reason = "compared with what another process says; nothing is decided by it")]
fn wall_clock() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A batch of one task, the whole of it.
fn one_task(bench: &mut Bench<'_>) -> io::Result<()> {
    let (mut measured, mut bounds) = (Vec::new(), Vec::new());
    let ratio = Samples::take(bench.args.runs, || {
        let version = bench.runner.titan(&["--version"], "")?.seconds;
        let bound = version + SYNCS * sync_seconds(bench.runner.folder())? + SPAWNS * spawn_seconds(bench)?;
        let seconds = batch_of_one(bench, &["true", ":::", "1"])?.seconds;
        measured.push(seconds * 1e3);
        bounds.push(bound * 1e3);
        io::Result::Ok(seconds / bound)
    })?;
    bench.add(Figure {
        section: "start",
        name: "titan map -- true ::: 1".to_owned(),
        measured: Samples::new(measured).median(),
        unit: "ms",
        bound: "titan --version, 6 syncs, 10 processes".to_owned(),
        bound_value: Samples::new(bounds).median(),
        ratio,
        target: Target::AtMost(1.0, 0.8),
    });
    Ok(())
}

/// The same by another program.
fn peer(bench: &mut Bench<'_>, words: &[&str]) -> io::Result<()> {
    let (mut measured, mut theirs) = (Vec::new(), Vec::new());
    let ratio = Samples::take(bench.args.runs, || {
        let their = bench.runner.program(words, "")?.seconds;
        let own = batch_of_one(bench, &["true", ":::", "1"])?.seconds;
        measured.push(own * 1e3);
        theirs.push(their * 1e3);
        io::Result::Ok(own / their)
    })?;
    bench.add(Figure {
        section: "start",
        name: "titan map -- true ::: 1".to_owned(),
        measured: Samples::new(measured).median(),
        unit: "ms",
        bound: words.join(" "),
        bound_value: Samples::new(theirs).median(),
        ratio,
        target: Target::AtMost(1.0, 0.5),
    });
    Ok(())
}

fn batch_of_one(bench: &Bench<'_>, command: &[&str]) -> io::Result<super::runner::Ran> {
    let batches = bench.runner.folder().join("batches");
    let batches = batches.to_string_lossy();
    let mut words = vec!["map", "--local", "--batch-dir", &batches, "--"];
    words.extend(command);
    bench.runner.titan(&words, "")
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
fn spawn_seconds(bench: &Bench<'_>) -> io::Result<f64> {
    let start = Instant::now();
    for _ in 0..PARTS {
        bench.runner.program(&["true"], "")?;
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(PARTS))
}
