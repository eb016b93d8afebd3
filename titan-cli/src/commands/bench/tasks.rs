//! Processes a second: `true N` with its output captured, journal on, against a loop that does nothing but start as many at
//! once and read their two pipes. (With an argument: `true` without one does less.)

use std::io;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use super::Bench;
use super::figure::{Subject, Target};
use super::runner::Runner;
use crate::launch::child::is_program;

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
        if bench.args.peers && is_program(words[0]) {
            let slots = Bench::cores().to_string();
            let words: Vec<&str> = words.iter().map(|&word| if word == SLOTS { &slots } else { word }).collect();
            against(bench, name, Target::AtLeast(multiple, multiple), |runner| {
                Ok(f64::from(tasks) / runner.program(&words, &numbers(tasks))?.seconds)
            })?;
        }
    }
    Ok(())
}

/// titan, from the start of the command to its end, against something else.
fn against(
    bench: &mut Bench<'_>,
    bound: &str,
    target: Target,
    their_rate: impl Fn(&Runner) -> io::Result<f64>,
) -> io::Result<()> {
    let name = "processes, output captured, journal on".to_owned();
    bench.add(Subject { section: "tasks", name, unit: "/s", bound: bound.to_owned(), target }, |runner| {
        let theirs = their_rate(runner)?;
        Ok((f64::from(TASKS) / runner.map(&["true"], &numbers(TASKS))?.seconds, theirs))
    })
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
