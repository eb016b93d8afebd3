//! An array of a million tasks: how soon it begins, what a task takes of memory and of the journal, and how soon it is gone on with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Bench;
use super::figure::{Subject, Target};
use super::runner::{Runner, Stopped};

/// Tasks of the array, and of the one that shows what titan takes without any.
const MANY: &str = "1000000";
const ONE: &str = "1";
/// Bytes of the journal at which about half of the tasks are done.
const HALF_JOURNAL_BYTES: u64 = 18_500_000;
/// What HyperQueue takes, as it was measured elsewhere: seconds until a million tasks are accepted, and bytes for each.
const HYPERQUEUE_SECONDS: f64 = 1.0;
const HYPERQUEUE_BYTES: f64 = 343.0;
/// What is promised of the journal.
const JOURNAL_BYTES: f64 = 100.0;
/// What is said when the first task begins.
const STARTS: &str = " starts on ";

pub(super) fn measure(bench: &mut Bench<'_>) -> io::Result<()> {
    let first = "a million tasks, until the first begins";
    let hyperqueue = |what: &str| format!("HyperQueue's {what}, measured elsewhere");
    bench.add(subject(first, "s", hyperqueue("acceptance"), Target::AtMost(1.0, 0.3)), |runner| {
        Ok((runner.until_said(&run(MANY, &["-v"]), STARTS)?, HYPERQUEUE_SECONDS))
    })?;
    bench.add(
        subject("memory of titan for each of them", "bytes", hyperqueue("bytes"), Target::AtMost(0.875, 0.44)),
        |runner| {
            let (many, _) = half(runner)?;
            let base = runner.until(&run(ONE, &[]), || false)?;
            let bytes = many.peak_bytes.saturating_sub(base.peak_bytes) as f64;
            Ok((bytes / MANY.parse::<f64>().expect("a number"), HYPERQUEUE_BYTES))
        },
    )?;
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

fn subject(name: &str, unit: &'static str, bound: String, target: Target) -> Subject {
    Subject { section: "array", name: name.to_owned(), unit, bound, target }
}

fn run<'w>(tasks: &'w str, more: &[&'w str]) -> Vec<&'w str> {
    let mut words = vec!["run", "noop", "--local", "--tasks", tasks];
    words.extend(more);
    words
}

/// An array that was stopped when half of it was done, and its journal.
fn half(runner: &Runner) -> io::Result<(Stopped, PathBuf)> {
    runner.forget_batches()?;
    let stopped = runner.until(&run(MANY, &[]), || {
        let journal = runner.journal();
        journal.and_then(|journal| fs::metadata(journal).ok()).is_some_and(|about| about.len() >= HALF_JOURNAL_BYTES)
    })?;
    let journal = runner.journal().ok_or_else(|| io::Error::other("a stopped batch has no journal"))?;
    Ok((stopped, journal))
}
