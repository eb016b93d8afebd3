//! The traits that every kernel implements. They know nothing of hosts, sessions, files or arguments' syntax.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// A named computation: a pure function from parameters and a task's index to bytes.
pub trait Kernel: Sync {
    /// What a person types after `titan run`.
    fn name(&self) -> &'static str;

    /// One line for lists.
    fn about(&self) -> &'static str;

    /// Examples for `--help`: complete command lines, each with what it makes.
    fn examples(&self) -> &'static str;

    /// The options that set parameters.
    fn options(&self) -> &'static [OptionSpec];

    /// The options that name outputs.
    fn outputs(&self) -> &'static [OutputSpec];

    /// Turns what a person asked for into a plan.
    ///
    /// # Errors
    /// The option that is wrong, why, and what to type instead.
    fn plan(&self, request: &Request) -> Result<Box<dyn Plan>, OptionError>;

    /// Reads a plan's parameter bytes, on the host that is to compute.
    ///
    /// # Errors
    /// The bytes aren't this kernel's parameters, or hold values outside their bounds.
    fn load(&self, params: &[u8]) -> Result<Box<dyn Compute>, ComputeError>;
}

/// What a person asked for: option values as typed, the outputs that are wanted, and how much can run at once.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Long option name (no dashes) to value, only those that were given.
    pub options: BTreeMap<String, String>,
    /// The outputs (by option name) that will be written.
    pub outputs: BTreeSet<String>,
    /// Tasks that can run at once, over all hosts; a hint for splitting.
    pub slots: u32,
}

/// An option that sets a parameter.
#[derive(Debug, Clone, Copy)]
pub struct OptionSpec {
    /// Long name without dashes.
    pub name: &'static str,
    /// What stands for the value in help: `RE,IM`.
    pub value: &'static str,
    /// The default as a person would type it; None where there is none of its own.
    pub default: Option<&'static str>,
    /// One or two sentences.
    pub help: &'static str,
    /// The values that may be given, where they form a list.
    pub choices: &'static [&'static str],
}

/// An option that names an output.
#[derive(Debug, Clone, Copy)]
pub struct OutputSpec {
    /// Long name without dashes.
    pub name: &'static str,
    /// One-letter form.
    pub short: Option<char>,
    /// What stands for the value in help: `FILE.png`.
    pub value: &'static str,
    /// Where it goes if nothing is said; None: not written.
    pub default: Option<&'static str>,
    /// One file, or a folder of several.
    pub kind: OutputKind,
    /// One or two sentences.
    pub help: &'static str,
}

/// What an output is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// One file.
    File,
    /// A folder that the sink fills with named files.
    Folder,
}

/// A batch's worth of tasks, worked out before any host is contacted.
pub trait Plan: Send {
    /// What each host needs to compute any task; opaque to everybody else.
    fn params(&self) -> Vec<u8>;

    /// Number of tasks; they are 0..tasks().
    fn tasks(&self) -> u32;

    /// One line about a task for `--dry-run`: number, then what it covers, separated by tabs.
    fn describe(&self, task: u32) -> String;

    /// Length of that task's result in bytes.
    fn result_bytes(&self, task: u32) -> u64;

    /// The most memory that one task takes while it is computed, result included, in bytes.
    fn task_memory_bytes(&self) -> u64;

    /// What to change when a task needs more memory than a slot has: `use --tiles auto`.
    fn smaller_tasks_hint(&self) -> &'static str;

    /// What to change when all results and outputs need more disk than there is: `a smaller --size`.
    fn smaller_batch_hint(&self) -> &'static str;

    /// An upper estimate of what the wanted outputs take on disk, in bytes: (option name, bytes).
    fn output_bytes(&self) -> Vec<(&'static str, u64)>;

    /// The thing that writes the outputs.
    ///
    /// # Errors
    /// An output couldn't be created.
    fn sink(&self, outputs: Box<dyn Outputs>) -> io::Result<Box<dyn Sink>>;
}

/// A plan loaded on a host.
pub trait Compute: Send + Sync {
    /// Computes one task on the calling thread, looking at `cancel` at least every 100 ms.
    ///
    /// # Errors
    /// Cancelled, or the task can't be computed.
    fn compute(&self, task: u32, cancel: &Cancel) -> Result<Vec<u8>, ComputeError>;
}

/// Takes results in any order and writes outputs. Never sees where a result was computed.
pub trait Sink: Send {
    /// This task's result can be read from `results` from now on. Each task is either announced here or by
    /// [`Sink::missing`], once. The sink writes what has become writable.
    ///
    /// # Errors
    /// A result couldn't be read or an output couldn't be written.
    fn completed(&mut self, task: u32, results: &dyn Results) -> io::Result<()>;

    /// This task will never have a result: the sink marks its place.
    ///
    /// # Errors
    /// An output couldn't be written.
    fn missing(&mut self, task: u32, results: &dyn Results) -> io::Result<()>;

    /// Called once, after every task was announced: ends all outputs.
    ///
    /// # Errors
    /// An output couldn't be written.
    fn finish(self: Box<Self>) -> io::Result<SinkReport>;
}

/// Read access to the results that have been announced.
pub trait Results {
    /// Fills `buffer` from `offset` within that task's result.
    ///
    /// # Errors
    /// The result isn't there or is shorter than asked for.
    fn read_at(&self, task: u32, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// Creates outputs by the name of their option.
pub trait Outputs: Send {
    /// Opens an output for writing from its start to its end: `file` is None for an output of kind
    /// [`OutputKind::File`], and a plain file name for one of kind [`OutputKind::Folder`].
    /// Dropping the writer closes the file; it gets its final name when the batch ends.
    ///
    /// # Errors
    /// The file can't be created.
    fn create(&mut self, output: &str, file: Option<&str>) -> io::Result<Box<dyn io::Write + Send>>;
}

/// What a sink knows at the end, for the summary: named totals such as `pixels` and `iterations`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkReport {
    /// Name and total.
    pub totals: Vec<(&'static str, u64)>,
}

/// Set once, looked at often: tells a computation to stop.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Cancel {
    /// Asks the computation to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the computation should stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a task has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComputeError {
    /// [`Cancel`] was set.
    #[error("cancelled")]
    Cancelled,
    /// The parameter bytes are not this kernel's.
    #[error("bad parameters: {reason}")]
    BadParams {
        /// What is wrong with them.
        reason: String,
    },
    /// The task's index is outside the plan.
    #[error("no task {task}: the plan has {tasks}")]
    NoSuchTask {
        /// The index asked for.
        task: u32,
        /// How many there are.
        tasks: u32,
    },
    /// The computation came to nothing that is a result.
    #[error("{reason}")]
    NoResult {
        /// What became of it, and what to change: a sentence for people.
        reason: String,
    },
}

/// An option's value that can't be used: printed as one line with a hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--{option}: {reason}")]
pub struct OptionError {
    /// Long name of the option, without dashes.
    pub option: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to type instead.
    pub hint: Option<String>,
}
