//! What can be typed. Doc comments are the help; what a value means is worked out elsewhere.

mod options;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::commands::bench::Section;
use crate::commands::kernel_command::KernelChoice;
use crate::config::units::parse_duration;

pub(crate) use options::*;

/// Turn the machines you can already `ssh` into, into one computer, for the duration of one command.
#[derive(Debug, Parser)]
#[command(name = "titan", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArgs),
    Map(Box<MapArgs>),
    Batch(BatchArgs),
    Resume(ResumeArgs),
    Batches(BatchesArgs),
    Status(StatusArgs),
    Logs(LogsArgs),
    Cancel(CancelArgs),
    Export(ExportArgs),
    Clean(CleanArgs),
    Hosts(HostsArgs),
    Init(InitArgs),
    Bench(BenchArgs),
    /// Print completions for a shell
    #[command(after_help = "Examples:\n  titan completions bash >> ~/.bash_completion")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Examples:\n  titan man | man -l -")]
    Man,
    /// Serve one session on stdin and stdout
    #[command(hide = true)]
    Agent,
}

/// Run a kernel: a computation that is built into titan
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    subcommand_help_heading = "Kernels",
    subcommand_value_name = "KERNEL",
    allow_external_subcommands = true,
    after_help = "Examples:\n  titan run mandelbrot                          4096 × 4096 pixels on this machine\n  titan run mandelbrot --hosts render1,render2  the same picture, from two machines"
)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) common: CommonOptions,
    /// Show what would be done, one line a task, and contact no host
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) dry_run: bool,
    #[command(subcommand)]
    pub(crate) kernel: KernelChoice,
}

/// Run a command once for each value, on all machines
#[derive(Debug, Args)]
#[command(
    override_usage = "titan map [OPTION…] [--] COMMAND [ARG…] [SOURCE…]\n       titan map [OPTION…] -s SCRIPT [SOURCE…]\n\nSOURCE: ::: VALUE…  or  :::: FILE…  (- is stdin); :::+ and ::::+ pair with the source before.\nWithout a source the values are the lines of stdin.",
    after_help = MAP_EXAMPLES
)]
pub(crate) struct MapArgs {
    /// The command, its arguments and the sources of values; from here on nothing is titan's option
    #[arg(value_name = "COMMAND", trailing_var_arg = true, hide = true)]
    pub(crate) words: Vec<OsString>,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
    #[command(flatten)]
    pub(crate) values: ValueOptions,
    #[command(flatten)]
    pub(crate) files: FileOptions,
    #[command(flatten)]
    pub(crate) process: ProcessOptions,
    #[command(flatten)]
    pub(crate) printing: PrintingOptions,
    #[command(flatten)]
    pub(crate) gnu: GnuOptions,
}

const MAP_EXAMPLES: &str = "\
Examples:
  titan map gzip -9 {} ::: *.log                  every file, as many at once as there are cores
  titan map -k --tag wc -l ::: a.txt b.txt        output in order, each line after its value
  titan map -s 'sort {} | uniq -c > {.}.count' ::: *.txt
  seq 100 | titan map ./simulate --seed {}        values from stdin, one a line
  titan map --hosts render1,render2 --each-host uptime

Replacement strings: {} the value, {.} without extension, {/} base name, {//} folder, {/.} both,
{1} {2.} by source, {#} number of the task, {%} slot.

Exit codes: 0 all completed, 1 some failed, 2 usage, 3 no usable worker, 4 titan couldn't write
here, 129, 130, 143 ended by a signal, 141 the reader of stdout left.";

/// Run the jobs of a file: commands and kernels that wait for each other
#[derive(Debug, Args)]
#[command(after_help = BATCH_EXAMPLES)]
pub(crate) struct BatchArgs {
    /// The batch file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
    /// Tell all that is wrong with the file, and run nothing
    #[arg(long)]
    pub(crate) check: bool,
    /// Run this job alone, or the N-th of its array; what it is given has to be there
    #[arg(long, value_name = "JOB[:N]")]
    pub(crate) only: Option<String>,
    /// A job may have more than ten million tasks
    #[arg(long)]
    pub(crate) yes: bool,
    /// Keep what an earlier batch of this file has made and is still the same: command, environment, contents of inputs, outputs
    #[arg(long, conflicts_with = "fresh")]
    pub(crate) reuse: bool,
    /// Run every task, and don't tell what could be kept
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Show each task as it could be pasted into sh, and run none
    #[arg(long, help_heading = "Output")]
    pub(crate) dry_run: bool,
}

const BATCH_EXAMPLES: &str = "\
Examples:
  titan batch nightly.toml                      its jobs, each when those before it have ended
  titan batch --check nightly.toml              all that is wrong with it, with line and column
  titan batch --dry-run nightly.toml | less     each of its tasks
  titan batch --only stamp film.toml            one job again
  titan batch --only stamp:7 film.toml          the 7th of its array again
  titan batch --reuse film.toml                 only what has changed since the last time

A file, whose keys are all in docs/batch-file.md:
  [[job]]
  name = \"pack\"
  array = { file = { glob = \"logs/*.log\" } }
  shell = \"gzip -9 < {file} > {file}.gz\"
  inputs = [\"{file}\"]
  outputs = [\"{file}.gz\"]

Exit codes: 0 all completed, 1 some failed, 2 usage, 3 no usable worker, 4 titan couldn't write
here, 129, 130, 143 ended by a signal.";

/// Go on with a batch that was interrupted: what is COMPLETED isn't run again
#[derive(Debug, Args)]
#[command(after_help = RESUME_EXAMPLES)]
pub(crate) struct ResumeArgs {
    /// The batch's id, a beginning of it, or its name [default: your newest batch that isn't over]
    #[arg(value_name = "BATCH")]
    pub(crate) batch: Option<String>,
    /// Try tasks again that have FAILED
    #[arg(long)]
    pub(crate) retry_failed: bool,
    /// How long to wait when no host is up, instead of what held before
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true)]
    pub(crate) wait_for_hosts: Option<Duration>,
    #[command(flatten)]
    pub(crate) place: PlaceOptions,
    #[command(flatten)]
    pub(crate) noise: NoiseOptions,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

const RESUME_EXAMPLES: &str = "\
Examples:
  titan resume                        the newest batch that isn't over
  titan resume k3f9 --retry-failed    what has FAILED too
  titan resume k3f9 --hosts render3   the rest on other hosts

It runs as it was begun: in the same folder, on the same hosts, with the same options.
Exit codes: those of the command that has begun the batch.";

/// List your batches: those that run, that can be gone on with, and that are over
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  titan batches\n  titan batches --json | jq '.batches[] | select(.state == \"INTERRUPTED\") | .batch'"
)]
pub(crate) struct BatchesArgs {
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Print one JSON object instead of the table
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// Tell how far a batch is: its tasks by host, what waits for what, failures
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  titan status                    your newest batch\n  titan status k3f9 -f            until it ends; Ctrl-C only leaves\n  titan status --exit-code k3f9   with the exit code of the batch"
)]
pub(crate) struct StatusArgs {
    /// The batch's id, a beginning of it, or its name [default: your newest]
    #[arg(value_name = "BATCH")]
    pub(crate) batch: Option<String>,
    /// Tell it again when it changes, until the batch ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// End with the exit code of the batch; 1 while it has none
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// Tell what has happened in a batch, or what one of its tasks has written
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  titan logs k3f9             what has happened, a line each\n  titan logs -f k3f9          and what happens, until it ends\n  titan logs k3f9 17          what task 17 has written\n  titan logs film stamp:7     what the 7th of job stamp has written"
)]
pub(crate) struct LogsArgs {
    /// The batch's id, a beginning of it, or its name
    #[arg(value_name = "BATCH")]
    pub(crate) batch: String,
    /// A task: its number, or JOB:NUMBER
    #[arg(value_name = "TASK")]
    pub(crate) task: Option<String>,
    /// Go on with what comes, until the batch ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Print one JSON object for each line
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// End a batch for good: what runs is stopped, and it can't be gone on with
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  titan cancel k3f9")]
pub(crate) struct CancelArgs {
    /// The batch's id, a beginning of it, or its name
    #[arg(value_name = "BATCH")]
    pub(crate) batch: String,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// Print a table of all tasks of a batch and how they ended
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  titan export k3f9 > tasks.csv\n  titan export k3f9 --json | jq .state")]
pub(crate) struct ExportArgs {
    /// The batch's id, a beginning of it, or its name
    #[arg(value_name = "BATCH")]
    pub(crate) batch: String,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// A table with a header, as RFC 4180 has it; the default
    #[arg(long, help_heading = "Output", conflicts_with = "json")]
    pub(crate) csv: bool,
    /// One JSON object for each task
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// Remove batches that are over, and what titan keeps on hosts for later batches
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  titan clean --dry-run         what would go, and how large it is\n  titan clean                   batches that are over, and caches here\n  titan clean --hosts render1   caches on that host too"
)]
pub(crate) struct CleanArgs {
    #[command(flatten)]
    pub(crate) place: PlaceOptions,
    /// Tell what would go, and remove nothing
    #[arg(long, help_heading = "Output")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// Look at the hosts: reachable, how fast, what they have; nothing is sent to them
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  titan hosts                      those of ./cluster.toml\n  titan hosts --hosts render1,me@10.0.0.7:2222\n\nExit codes: 0 all usable, 1 some, 3 none."
)]
pub(crate) struct HostsArgs {
    #[command(flatten)]
    pub(crate) place: PlaceOptions,
    /// Print one JSON object instead of the table
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// Write a commented cluster.toml here, then look at its hosts
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  titan init render1 render2   a file with two hosts\n  titan init                   the hosts of your ssh config, commented out"
)]
pub(crate) struct InitArgs {
    /// Hosts, as you would give them to ssh
    #[arg(value_name = "HOST")]
    pub(crate) hosts: Vec<String>,
}

/// Measure titan on this machine, each figure beside what bounds it
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  titan bench                      everything, about three minutes\n  titan bench kernel --runs 3      how near the kernel is to what the CPU can do\n  titan bench tasks start --peers  beside the other programs of the kind that are installed\n  titan bench hosts -S render1     start-up, output and files over ssh, against plain ssh\n\nFigures that miss what is promised are marked '!', those by more than a factor of two '!!'.\nExit codes: 0 measured, 1 something couldn't be, or with --check a figure is marked '!!'."
)]
pub(crate) struct BenchArgs {
    /// What to measure [default: all of it]
    #[arg(value_name = "SECTION")]
    pub(crate) sections: Vec<Section>,
    /// How often each figure is measured, after once to warm up; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) runs: u32,
    /// Measure other programs as well: xargs, GNU parallel, as far as they are installed
    #[arg(long)]
    pub(crate) peers: bool,
    /// Measure these hosts as well, against plain ssh; separated by commas, as for the other commands
    #[arg(short = 'S', long, value_name = "LIST")]
    pub(crate) hosts: Vec<String>,
    /// Measure the hosts of this file as well; with --hosts those of them
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster: Option<PathBuf>,
    /// End with exit code 1 if a figure is worse than half of what is promised
    #[arg(long)]
    pub(crate) check: bool,
    /// Print one JSON object instead of the table
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

impl BenchArgs {
    /// Where the hosts are that are measured.
    pub(crate) fn place(&self) -> PlaceOptions {
        PlaceOptions { cluster: self.cluster.clone(), hosts: self.hosts.clone(), local: None, jobs: None }
    }
}
