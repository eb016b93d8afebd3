//! titan: many machines, one command.

#![forbid(unsafe_code)]

mod args;
mod batch;
mod batch_file;
mod commands;
mod config;
mod driver;
mod exit;
mod files;
mod json;
mod launch;
mod output;
mod paths;
mod progress;
mod runtime;
mod state;
mod tell;
mod template;

use std::io::Write;
use std::panic;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use batch::start::Start;
use exit::Failure;

fn main() -> ExitCode {
    // Before anything else: an agent has threads, a panic hook and a way to end of its own.
    if commands::agent::is_asked_for() {
        return commands::agent::run();
    }
    let outcome = panic::catch_unwind(|| match commands::is_version_asked_for() {
        true => commands::version(),
        false => Cli::try_parse().map_err(|error| commands::told_by_parser(&error)).and_then(dispatch),
    });
    let code = match outcome {
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => report(&failure),
        Err(_) => {
            let _ = writeln!(std::io::stderr(), "error: this is a bug of titan; the lines above say where");
            exit::BUG
        }
    };
    ExitCode::from(code)
}

fn dispatch(cli: Cli) -> Result<u8, Failure> {
    match cli.command {
        Some(Command::Run(args)) => commands::run::run(&args, anew()),
        Some(Command::Batch(args)) => commands::batch::run(&args, anew()),
        Some(Command::Map(args)) => commands::map::run(&args, anew()),
        Some(Command::Resume(args)) => commands::resume::run(&args),
        Some(Command::Batches(args)) => commands::batches::run(&args),
        Some(Command::Status(args)) => commands::status::run(&args),
        Some(Command::Logs(args)) => commands::logs::run(&args),
        Some(Command::Cancel(args)) => commands::cancel::run(&args),
        Some(Command::Export(args)) => commands::export::run(&args),
        Some(Command::Clean(args)) => commands::clean::run(&args),
        Some(Command::Hosts(args)) => commands::hosts::run(&args),
        Some(Command::Bench(args)) => commands::bench::run(&args),
        Some(Command::Init(args)) => commands::init::run(&args),
        Some(Command::Completions { shell }) => commands::completions::run(shell),
        Some(Command::Man) => commands::man::run(),
        Some(Command::Agent) => unreachable!("main has looked for it before it parsed anything"),
        None => commands::overview(),
    }
}

/// A batch that begins as it was typed.
fn anew() -> Start {
    Start::New { words: std::env::args_os().skip(1).collect() }
}

fn report(failure: &Failure) -> u8 {
    if let Some(message) = &failure.message {
        // A stderr that nobody reads is no reason to end otherwise.
        let _ = writeln!(std::io::stderr(), "{message}");
    }
    failure.code
}
