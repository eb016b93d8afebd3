//! What can be typed. Doc comments are the help; what a value means is worked out elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::commands::kernel_command::KernelChoice;
use crate::config::cluster::parse_policy;
use crate::config::jobs::{Jobs, parse_jobs};
use crate::config::place::{PlaceArgs, parse_local};
use crate::config::units::parse_duration;
use titan_manager::policy::PolicyKind;

/// Turn the machines you can already `ssh` into, into one computer, for the duration of one command.
#[derive(Debug, Parser)]
#[command(name = "titan", version, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArgs),
    Hosts(HostsArgs),
    Init(InitArgs),
    /// Print completions for a shell
    #[command(after_help = "Examples:\n  titan completions bash > ~/.local/share/bash-completion/completions/titan")]
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
    pub(crate) place: PlaceOptions,
    #[command(flatten)]
    pub(crate) schedule: ScheduleOptions,
    #[command(flatten)]
    pub(crate) noise: NoiseOptions,
    /// Show what would be done, one line a task, and contact no host
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) dry_run: bool,
    #[command(subcommand)]
    pub(crate) kernel: KernelChoice,
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

/// Not a doc comment: its brackets would be links.
const HOSTS_HELP: &str =
    "Hosts, separated by commas: [SLOTS/][USER@]HOST[:PORT], `:` is this machine; with --cluster, names from that file";

/// Where to run; the same for every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where to run")]
pub(crate) struct PlaceOptions {
    /// The file that names the hosts [default: $TITAN_CLUSTER, ./cluster.toml, then the user's own]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) cluster: Option<PathBuf>,
    #[arg(short = 'S', long, value_name = "LIST", global = true, help = HOSTS_HELP)]
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
    /// Which worker gets the next task [default: least-loaded]
    #[arg(long, value_name = "POLICY", value_parser = parse_policy, global = true)]
    pub(crate) policy: Option<PolicyKind>,
    /// The longest silence that either side leaves [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true, global = true)]
    pub(crate) heartbeat: Option<Duration>,
    /// Silence after which a worker gets no new work [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true, global = true)]
    pub(crate) unhealthy_after: Option<Duration>,
    /// How long an agent works on without hearing from titan; 0: it ends with its channel [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true, global = true)]
    pub(crate) lease: Option<Duration>,
    /// Further tries of a task after the first [default: 2 for kernels]
    #[arg(long, value_name = "N", allow_negative_numbers = true, global = true)]
    pub(crate) retries: Option<u32>,
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
