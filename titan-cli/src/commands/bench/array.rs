//! An array of a million tasks: how soon it begins, what a task takes of memory and of the journal, and how soon it is gone on with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Bench;
use super::figure::{Subject, Target};
use super::hyperqueue::{self, HyperQueue};
use super::runner::{Runner, Stopped};

/// Tasks of the array, and of the one that shows what titan takes without any.
const MANY: u32 = 1_000_000;
const ONE: u32 = 1;
/// Bytes of the journal at which about half of the tasks are done.
const HALF_JOURNAL_BYTES: u64 = 14_000_000;
/// What HyperQueue takes, as it was measured elsewhere: seconds until a million tasks are accepted, and bytes for each.
const HYPERQUEUE_SECONDS: f64 = 1.0;
const HYPERQUEUE_BYTES: f64 = 343.0;
/// What is promised of the journal.
const JOURNAL_BYTES: f64 = 100.0;
/// What is said when the first task begins.
const STARTS: &str = " starts on ";

pub(super) fn measure(bench: &mut Bench<'_>) -> io::Result<()> {
    let first = "a million tasks, until the first begins";
    let elsewhere = |what: &str| format!("HyperQueue's {what}, measured elsewhere");
    bench.add(subject(first, "s", elsewhere("acceptance"), Target::AtMost(1.0, 0.3)), |runner| {
        Ok((first_of_many(runner)?, HYPERQUEUE_SECONDS))
    })?;
    let memory = "memory of titan for each of them";
    bench.add(subject(memory, "bytes", elsewhere("bytes"), Target::AtMost(0.875, 0.44)), |runner| {
        Ok((bytes_each(runner)?, HYPERQUEUE_BYTES))
    })?;
    if bench.args.peers && hyperqueue::is_installed() {
        bench.add(subject(first, "s", "hq submit".to_owned(), Target::AtMost(1.0, 0.3)), |runner| {
            let theirs = HyperQueue::start(runner)?.submit(&[], MANY, &["true"])?.seconds;
            Ok((first_of_many(runner)?, theirs))
        })?;
        let bound = "HyperQueue's server, when it has just taken them".to_owned();
        bench.add(subject(memory, "bytes", bound, Target::AtMost(0.875, 0.44)), |runner| {
            let hyperqueue = HyperQueue::start(runner)?;
            let base = hyperqueue.server_bytes()?;
            hyperqueue.submit(&[], MANY, &["true"])?;
            let theirs = hyperqueue.server_bytes()?.saturating_sub(base);
            drop(hyperqueue);
            Ok((bytes_each(runner)?, theirs as f64 / f64::from(MANY)))
        })?;
    }
    bench.add(
        subject("journal for each", "bytes", "what is promised".to_owned(), Target::AtMost(1.0, 0.8)),
        |runner| {
            let (many, journal) = half(runner)?;
            Ok((fs::metadata(journal)?.len() as f64 / many.completed.max(1) as f64, JOURNAL_BYTES))
        },
    )?;
    let bound = "three times reading its journal, and 1 s".to_owned();
    bench.add(subject("half of them done, until the next begins", "s", bound, Target::AtMost(1.0, 0.5)), |runner| {
        let (_, journal) = half(runner)?;
        let batch = journal.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        let begun = Instant::now();
        fs::read(&journal)?;
        let bound = 1.0 + 3.0 * begun.elapsed().as_secs_f64();
        Ok((runner.until_said(&["resume", &batch, "-v"], STARTS)?, bound))
    })
}

/// What titan takes of memory for each task, half way, in bytes.
fn bytes_each(runner: &Runner) -> io::Result<f64> {
    let (many, _) = half(runner)?;
    let base = runner.until(&words(&run(ONE), &[]), || false)?;
    Ok(many.peak_bytes.saturating_sub(base.peak_bytes) as f64 / f64::from(MANY))
}

/// Seconds until the first of them begins.
fn first_of_many(runner: &Runner) -> io::Result<f64> {
    runner.until_said(&words(&run(MANY), &["-v"]), STARTS)
}

fn subject(name: &str, unit: &'static str, bound: String, target: Target) -> Subject {
    Subject { section: "array", name: name.to_owned(), unit, bound, target }
}

fn run(tasks: u32) -> Vec<String> {
    ["run", "noop", "--local", "--tasks", &tasks.to_string()].map(str::to_owned).to_vec()
}

fn words<'w>(run: &'w [String], more: &[&'w str]) -> Vec<&'w str> {
    run.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

/// An array that was stopped when half of it was done, and its journal.
fn half(runner: &Runner) -> io::Result<(Stopped, PathBuf)> {
    runner.forget_batches()?;
    let stopped = runner.until(&words(&run(MANY), &[]), || {
        let journal = runner.journal();
        journal.and_then(|journal| fs::metadata(journal).ok()).is_some_and(|about| about.len() >= HALF_JOURNAL_BYTES)
    })?;
    let journal = runner.journal().ok_or_else(|| io::Error::other("a stopped batch has no journal"))?;
    Ok((stopped, journal))
}
