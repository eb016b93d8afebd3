//! Processes a second: `true N` with its output captured, journal on, against a loop that does nothing but start as many at
//! once and read their two pipes. (With an argument: `true` without one does less.)

use std::io;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use super::Bench;
use super::figure::{Figure, Target};
use super::runner::is_installed;
use super::samples::Samples;

/// Tasks of a run.
const TASKS: u32 = 3000;

/// Tasks of a run of a slower program.
const FEW_TASKS: u32 = 300;

/// Other programs that do this: their name, their words, tasks, and what titan is to be at least, as a multiple.
const PEERS: &[(&str, &[&str], u32, f64)] = &[
    ("xargs -P", &["xargs", "-P", SLOTS, "-n", "1", "true"], TASKS, 1.1),
    ("GNU parallel", &["parallel", "-j", SLOTS, "true"], FEW_TASKS, 5.0),
];

/// Stands for the number of cores.
const SLOTS: &str = "{slots}";

pub(super) fn measure(bench: &mut Bench<'_>) -> io::Result<()> {
    against(bench, "a loop of spawns with two pipes", Target::AtLeast(0.85, 0.92), |_| bare(TASKS))?;
    for &(name, words, tasks, multiple) in PEERS {
        if bench.args.peers && is_installed(words[0]) {
            let slots = Bench::cores().to_string();
            let words: Vec<&str> = words.iter().map(|&word| if word == SLOTS { &slots } else { word }).collect();
            against(bench, name, Target::AtLeast(multiple, multiple), |bench| {
                Ok(f64::from(tasks) / bench.runner.program(&words, &numbers(tasks))?.seconds)
            })?;
        }
    }
    Ok(())
}

fn against(
    bench: &mut Bench<'_>,
    bound: &str,
    target: Target,
    their_rate: impl Fn(&Bench<'_>) -> io::Result<f64>,
) -> io::Result<()> {
    let (mut measured, mut bounds) = (Vec::new(), Vec::new());
    let ratio = Samples::take(bench.args.runs, || {
        let (theirs, own) = (their_rate(bench)?, own_rate(bench)?);
        measured.push(own);
        bounds.push(theirs);
        io::Result::Ok(own / theirs)
    })?;
    bench.add(Figure {
        section: "tasks",
        name: "processes, output captured, journal on".to_owned(),
        measured: Samples::new(measured).median(),
        unit: "/s",
        bound: bound.to_owned(),
        bound_value: Samples::new(bounds).median(),
        ratio,
        target,
    });
    Ok(())
}

/// titan's, from the start of the command to its end.
fn own_rate(bench: &Bench<'_>) -> io::Result<f64> {
    let batches = bench.runner.folder().join("batches");
    let words = ["map", "--local", "--batch-dir", &batches.to_string_lossy(), "--", "true"];
    Ok(f64::from(TASKS) / bench.runner.titan(&words, &numbers(TASKS))?.seconds)
}

/// That many processes, one at a time on each core.
fn bare(tasks: u32) -> io::Result<f64> {
    let (begun, start) = (AtomicU32::new(0), Instant::now());
    let work = || -> io::Result<()> {
        while begun.fetch_add(1, Ordering::Relaxed) < tasks {
            Command::new("true")
                .arg("1")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .output()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..Bench::cores()).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it calls only the system"))
    })?;
    Ok(f64::from(tasks) / start.elapsed().as_secs_f64())
}

fn numbers(tasks: u32) -> String {
    (0..tasks).map(|number| format!("{number}\n")).collect()
}
