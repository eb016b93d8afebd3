//! Options that several commands share, by what they are about.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use titan_manager::policy::PolicyKind;
use titan_manager::{Halt, LoadLimit};

use crate::config::cluster::{parse_policy, parse_speculate};
use crate::config::jobs::{Jobs, parse_jobs};
use crate::config::place::{PlaceArgs, parse_local};
use crate::config::rules::{Wanted, parse_halt, parse_load, parse_resource, parse_where};
use crate::config::units::{parse_duration, parse_size, parse_timeout};

/// Not a doc comment: its brackets would be links.
const HOSTS_HELP: &str =
    "Hosts, separated by commas: [SLOTS/][USER@]HOST[:PORT], `:` is this machine; with --cluster, names from that file";

/// Options of GNU parallel: those that change nothing here, and those that are refused with titan's way.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option that may be given")]
pub(crate) struct GnuOptions {
    /// Progress is shown on a terminal anyway
    #[arg(long, hide = true)]
    pub(crate) bar: bool,
    #[arg(long, hide = true)]
    pub(crate) eta: bool,
    #[arg(long, hide = true)]
    pub(crate) pipe: bool,
    #[arg(long, alias = "pipe-part", hide = true)]
    pub(crate) pipepart: bool,
    #[arg(short = 'X', long, hide = true)]
    pub(crate) xargs: bool,
    #[arg(long, hide = true)]
    pub(crate) transfer: bool,
    /// There is nothing to be quiet about
    #[arg(long, hide = true)]
    pub(crate) will_cite: bool,
    #[arg(short = 'm', hide = true)]
    pub(crate) many: bool,
    #[arg(long, hide = true)]
    pub(crate) tmux: bool,
    #[arg(long, alias = "sem", hide = true)]
    pub(crate) semaphore: bool,
    #[arg(short = 'u', long, hide = true)]
    pub(crate) ungroup: bool,
    #[arg(long, alias = "onall", hide = true)]
    pub(crate) nonall: bool,
    #[arg(long, alias = "slf", hide = true, value_name = "FILE")]
    pub(crate) sshloginfile: Option<OsString>,
    #[arg(short = 'L', long, hide = true, value_name = "N")]
    pub(crate) max_lines: Option<OsString>,
    #[arg(long, hide = true, value_name = "STR")]
    pub(crate) tagstring: Option<OsString>,
    #[arg(long, hide = true)]
    pub(crate) plus: bool,
    #[arg(long, hide = true, value_name = "STR")]
    pub(crate) rpl: Option<OsString>,
    #[arg(long, hide = true, value_name = "STR")]
    pub(crate) trim: Option<OsString>,
    #[arg(long, hide = true)]
    pub(crate) files: bool,
    /// What was sent goes anyway
    #[arg(long, hide = true)]
    pub(crate) cleanup: bool,
    /// Output is never mixed anyway
    #[arg(long, hide = true)]
    pub(crate) group: bool,
}

/// Where values come from and how they become arguments.
#[derive(Debug, Args)]
#[command(next_help_heading = "Values")]
pub(crate) struct ValueOptions {
    /// Run a line of sh; values are quoted as their place in it needs
    #[arg(short = 's', long, value_name = "SCRIPT")]
    pub(crate) script: Option<OsString>,
    /// Take values from a file, one a line; - is stdin
    #[arg(short = 'a', long = "arg-file", value_name = "FILE")]
    pub(crate) arg_files: Vec<OsString>,
    /// Values end with NUL, not with a newline
    #[arg(short = '0', long = "null")]
    pub(crate) nul: bool,
    /// Values end with this character; \n, \t and \0 are known
    #[arg(short, long, value_name = "CHAR", conflicts_with = "nul")]
    pub(crate) delimiter: Option<String>,
    /// Skip empty values
    #[arg(short = 'r', long)]
    pub(crate) no_run_if_empty: bool,
    /// N values for each task; 0: one value, which isn't appended
    #[arg(
        short = 'n',
        short_alias = 'N',
        long,
        alias = "max-replace-args",
        value_name = "N",
        allow_negative_numbers = true
    )]
    pub(crate) max_args: Option<u32>,
    /// This instead of {}
    #[arg(short = 'I', long, value_name = "STR")]
    pub(crate) replace: Option<OsString>,
    /// Take all sources in step, not their product
    #[arg(long, alias = "xapply")]
    pub(crate) link: bool,
    /// This instead of :::
    #[arg(long, value_name = "STR")]
    pub(crate) arg_sep: Option<OsString>,
    /// Split each value into columns at this text: {1}, {2}, …
    #[arg(short = 'C', long, value_name = "STR")]
    pub(crate) colsep: Option<OsString>,
    /// The first value of each source names its columns: {name}
    #[arg(long, value_name = ":", value_parser = [":"])]
    pub(crate) header: Option<String>,
    /// Run the tasks in a random order
    #[arg(long)]
    pub(crate) shuf: bool,
}

/// What tasks are given and leave.
#[derive(Debug, Args)]
#[command(next_help_heading = "Files")]
pub(crate) struct FileOptions {
    /// Give each task these files, folders or globs: same path there; DIR/./PATH is PATH there
    #[arg(short = 'i', long = "input", aliases = ["transferfile", "tf"], value_name = "PATTERN")]
    pub(crate) inputs: Vec<OsString>,
    /// Take these back from each task that completed; one that isn't made fails the task
    #[arg(short = 'o', long = "output", alias = "return", value_name = "PATTERN")]
    pub(crate) outputs: Vec<OsString>,
    /// Give each task its value's file and take this back: -i {} -o PATTERN
    #[arg(long, value_name = "PATTERN")]
    pub(crate) trc: Vec<OsString>,
    /// Give all tasks this file or folder; sent to each host once
    #[arg(long, aliases = ["basefile", "bf"], value_name = "FILE")]
    pub(crate) base: Vec<OsString>,
    /// Don't look whether a value or the program is a file here that isn't given to tasks
    #[arg(long)]
    pub(crate) no_stage_check: bool,
}

/// How the processes of tasks run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tasks")]
pub(crate) struct ProcessOptions {
    /// Run in that folder of every host
    #[arg(long, visible_alias = "wd", value_name = "DIR")]
    pub(crate) workdir: Option<OsString>,
    /// Run the command once on every host, without values; each line of output after the host's name
    #[arg(long, conflicts_with_all = ["results", "joblog"])]
    pub(crate) each_host: bool,
    /// A variable for tasks; without a value it is copied from here
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<OsString>,
    /// Run once on each host under sh before the first task; what it leaves in the environment is the tasks'
    #[arg(long, value_name = "SCRIPT")]
    pub(crate) setup: Option<OsString>,
    /// A file here that each task reads as its stdin; - is titan's own [default: /dev/null]
    #[arg(long, value_name = "FILE")]
    pub(crate) stdin: Option<OsString>,
    /// End a task that runs longer than this
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Duration>,
    /// From SIGTERM to SIGKILL when a task is ended
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5s", allow_hyphen_values = true)]
    pub(crate) kill_after: Duration,
    /// When to end early: now|soon, then fail=N, fail=N%, success=N or done=N
    #[arg(long, alias = "halt-on-error", value_name = "WHEN,WHY", value_parser = parse_halt)]
    pub(crate) halt: Option<Halt>,
    /// Least time between two starts
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true)]
    pub(crate) delay: Option<Duration>,
    /// Added to the niceness of tasks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(-20..=19), allow_negative_numbers = true)]
    pub(crate) nice: Option<i32>,
    /// No new task on a host whose load average is above this; N% of its cores
    #[arg(long, value_name = "N|N%", value_parser = parse_load, allow_hyphen_values = true)]
    pub(crate) load: Option<LoadLimit>,
    /// No new task on a host with less free memory
    #[arg(long, value_name = "SIZE", value_parser = parse_size, allow_hyphen_values = true)]
    pub(crate) memfree: Option<u64>,
    /// Cores for each task, which it is kept on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096), allow_negative_numbers = true)]
    pub(crate) cpus: Option<u32>,
    /// Memory for each task: reserved, and a task that takes more is ended
    #[arg(long, value_name = "SIZE", value_parser = parse_size, allow_hyphen_values = true)]
    pub(crate) memory: Option<u64>,
    /// So many of a host's named resources for each task
    #[arg(long = "resource", value_name = "NAME=N", value_parser = parse_resource)]
    pub(crate) resources: Vec<(String, u32)>,
    /// Only on hosts for which all of these hold
    #[arg(long = "where", value_name = "A,!B,K=V", value_parser = parse_where)]
    pub(crate) wanted: Vec<Wanted>,
}

/// What is done with what tasks write.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct PrintingOptions {
    /// Print output in the order of the tasks
    #[arg(short, long)]
    pub(crate) keep_order: bool,
    /// Each line of output after the task's values and a TAB
    #[arg(long)]
    pub(crate) tag: bool,
    /// Print lines as they are written, of every try, not when a task ends
    #[arg(long, aliases = ["lb", "linebuffer"], conflicts_with_all = ["keep_order", "no_output", "json"])]
    pub(crate) line_buffer: bool,
    /// Print nothing of what tasks write
    #[arg(long)]
    pub(crate) no_output: bool,
    /// Write each task's output and a table into a new folder
    #[arg(long, value_name = "DIR")]
    pub(crate) results: Option<PathBuf>,
    /// Write a log of the tasks, with GNU parallel's columns
    #[arg(long, value_name = "FILE")]
    pub(crate) joblog: Option<PathBuf>,
    /// Show each task as it could be pasted into sh, and run none
    #[arg(long, alias = "dryrun")]
    pub(crate) dry_run: bool,
}

/// What every command has that runs a batch.
#[derive(Debug, Args)]
pub(crate) struct CommonOptions {
    #[command(flatten)]
    pub(crate) place: PlaceOptions,
    #[command(flatten)]
    pub(crate) schedule: ScheduleOptions,
    #[command(flatten)]
    pub(crate) noise: NoiseOptions,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// Where batches are kept; the same for every command that has to do with them.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// Keep batches in this folder [default: titan/batches in your state directory]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Batches")]
    pub(crate) batch_dir: Option<PathBuf>,
}

/// Where to run; the same for every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where to run")]
pub(crate) struct PlaceOptions {
    /// The file that names the hosts [default: $TITAN_CLUSTER, ./cluster.toml, then the user's own]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) cluster: Option<PathBuf>,
    #[arg(short = 'S', long, alias = "sshlogin", value_name = "LIST", global = true, help = HOSTS_HELP)]
    pub(crate) hosts: Vec<String>,
    /// This machine: N agents that divide its cores, or one with all
    #[arg(long, value_name = "N", num_args = 0..=1, value_parser = parse_local, global = true)]
    #[expect(clippy::option_option, reason = "not given, given, given with a number")]
    pub(crate) local: Option<Option<u32>>,
    /// Tasks at once on each host: N, N% of its cores, +N or -N [default: 100%]
    #[arg(
        short,
        long,
        visible_alias = "slots",
        alias = "max-procs",
        short_alias = 'P',
        value_name = "N",
        value_parser = parse_jobs,
        allow_hyphen_values = true,
        global = true
    )]
    pub(crate) jobs: Option<Jobs>,
}

impl PlaceOptions {
    /// The same for the resolution of places.
    pub(crate) fn to_place_args(&self) -> PlaceArgs {
        PlaceArgs { cluster: self.cluster.clone(), hosts: self.hosts.clone(), local: self.local, jobs: self.jobs }
    }
}

/// How tasks are given to workers; over what the cluster file says.
#[derive(Debug, Args)]
#[command(next_help_heading = "Scheduling")]
pub(crate) struct ScheduleOptions {
    /// Which worker gets the next task: least-loaded, round-robin or bin-packing [default: least-loaded]
    #[arg(long, value_name = "POLICY", value_parser = parse_policy, global = true)]
    pub(crate) policy: Option<PolicyKind>,
    /// The longest silence that either side leaves [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true, global = true)]
    pub(crate) heartbeat: Option<Duration>,
    /// Silence after which a worker gets no new work [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true, global = true)]
    pub(crate) unhealthy_after: Option<Duration>,
    /// How long an agent works on without hearing from titan; 0: it ends with its channel [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true, global = true)]
    pub(crate) lease: Option<Duration>,
    /// How long to wait when no host is up; given, it holds for the beginning too [default: the lease]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true, global = true)]
    pub(crate) wait_for_hosts: Option<Duration>,
    /// How long a host with three faults of its own in a row gets no tasks; 0: it goes on getting them [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true, global = true)]
    pub(crate) quarantine: Option<Duration>,
    /// Further tries of a task after the first [default: 0; for kernels 2]
    #[arg(long, value_name = "N", allow_negative_numbers = true, global = true)]
    pub(crate) retries: Option<u32>,
    /// At the end idle slots try the slowest tasks too, if these may run twice: auto or off [default: auto]
    #[arg(long, value_name = "HOW", value_parser = parse_speculate, global = true)]
    pub(crate) speculate: Option<bool>,
}

/// What is said while it runs, and at the end.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct NoiseOptions {
    /// How progress is shown on stderr
    #[arg(long, value_name = "HOW", default_value = "auto", global = true)]
    pub(crate) progress: ProgressMode,
    /// Print one JSON object on stdout at the end
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Only errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// More: each start and end of a task; twice: the sessions too
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// Bars on a terminal, lines elsewhere
    Auto,
    /// Bars
    Bar,
    /// Lines, at growing distances
    Plain,
    /// Events, one JSON object a line
    Json,
    /// Nothing
    None,
}
