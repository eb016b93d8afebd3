//! `titan bench`: measures titan on this machine, each figure beside what bounds it, in the same run.
//!
//! # Layout
//! `figure` is a ratio with its target, measured several times, and prints; `samples` are what that gave. The sections: `kernel` (shares of the
//! floating-point limit), `picture` (a whole command, and PNG), `start` (start-up, one task), `tasks` (processes and
//! kernel tasks a second, and the peers), `array` (a million tasks), `hosts` (all that goes over ssh). `runner` runs titan and others as a user would, and `memory`
//! watches what they take; `hyperqueue` is that peer, which needs a server.

mod array;
mod figure;
mod hosts;
mod hyperqueue;
mod kernel;
mod memory;
mod picture;
mod runner;
mod samples;
mod start;
mod tasks;

use std::path::PathBuf;
use std::{fs, io, process, thread};

use clap::ValueEnum;
use serde_json::json;

use crate::args::BenchArgs;
use crate::config::place::Place;
use crate::driver::signals::Signals;
use crate::exit::{self, Failure};
use crate::json::line;
use crate::tell::to_stderr;
use figure::{Figure, Subject};
use kernels::mandelbrot::escape::Simd;
use runner::{Lasting, Runner};

/// A part of what is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// Shares of what a core's floating-point units can do
    Kernel,
    /// A whole picture by one command, and PNG encoding
    Picture,
    /// Start-up, and a batch of one task
    Start,
    /// Tasks a second
    Tasks,
    /// An array of a million tasks
    Array,
    /// Over ssh: start-up, copies, output, files; wants --hosts or --cluster
    Hosts,
}

/// What every section needs.
struct Bench<'a> {
    args: &'a BenchArgs,
    runner: Runner,
    figures: Vec<Figure>,
}

impl Bench<'_> {
    /// Cores, each of which is kept busy.
    fn cores() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// Measures a figure and keeps it.
    fn add(&mut self, subject: Subject, mut measure: impl FnMut(&Runner) -> io::Result<(f64, f64)>) -> io::Result<()> {
        let figure = Figure::take(subject, self.args.runs, || measure(&self.runner))?;
        if !self.args.json {
            to_stderr(&format!("titan: {}", figure.sentence()));
        }
        self.figures.push(figure);
        Ok(())
    }
}

/// Measures, and prints what came of it.
pub(crate) fn run(args: &BenchArgs) -> Result<u8, Failure> {
    let place = place(args)?;
    let runner = Runner::new().map_err(|error| Failure::plain(exit::CANNOT_WRITE, error))?;
    leave_nothing_when_ended(runner.folder().to_owned(), runner.lasting());
    let mut bench = Bench { args, runner, figures: Vec::new() };
    let wanted = |section| args.sections.is_empty() || args.sections.contains(&section);
    for &section in Section::value_variants() {
        if wanted(section) {
            measure(&mut bench, section, place.as_ref()).map_err(|error| Failure::plain(exit::TASKS_FAILED, error))?;
        }
    }
    let missed = bench.figures.iter().filter(|figure| figure.is_far_off()).count();
    crate::tell::print(&if args.json { json_text(&bench.figures) } else { figure::table(&bench.figures) })?;
    if args.check && missed > 0 {
        let message = format!("{missed} of {} figures are worse than half of what is promised", bench.figures.len());
        return Err(Failure::hinted(exit::TASKS_FAILED, message, "those are marked '!!'; see docs/performance.md"));
    }
    Ok(exit::SUCCESS)
}

/// Whoever ends a measurement before its time finds no folder of it, and nothing that runs.
fn leave_nothing_when_ended(folder: PathBuf, lasting: Lasting) {
    thread::spawn(move || {
        let ending = crate::runtime::block_on(async {
            let mut signals = Signals::listen().map_err(|error| Failure::plain(exit::CANNOT_WRITE, error))?;
            Ok(signals.next().await)
        });
        if let Ok(ending) = ending {
            lasting.end();
            let _ = fs::remove_dir_all(folder);
            process::exit(ending.exit_code().into());
        }
    });
}

/// The hosts to measure, if any were named.
fn place(args: &BenchArgs) -> Result<Option<Place>, Failure> {
    let options = args.place();
    if options.cluster.is_some() || !options.hosts.is_empty() {
        return Ok(Some(super::place::resolve_place(&options)?));
    }
    if args.sections.contains(&Section::Hosts) {
        let hint = "say which: --hosts render1, or --cluster FILE";
        return Err(Failure::hinted(exit::USAGE, "the section `hosts` measures hosts, and none are named", hint));
    }
    Ok(None)
}

fn measure(bench: &mut Bench<'_>, section: Section, place: Option<&Place>) -> io::Result<()> {
    match section {
        Section::Kernel => kernel::measure(bench),
        Section::Picture => picture::measure(bench),
        Section::Start => start::measure(bench),
        Section::Tasks => tasks::measure(bench),
        Section::Array => array::measure(bench),
        Section::Hosts => place.map_or(Ok(()), |place| hosts::measure(bench, place)),
    }
}

fn json_text(figures: &[Figure]) -> String {
    let body = json!({
        "cores": Bench::cores(),
        "simd": Simd::chosen().name(),
        "figures": figures.iter().map(Figure::json).collect::<Vec<_>>(),
    });
    format!("{}\n", line("bench", body))
}
