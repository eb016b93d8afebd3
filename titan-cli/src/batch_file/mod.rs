//! The batch file: what `titan batch` is to do, read from TOML and checked as far as it can be without running it. All that
//! is wrong is told at once, each with its place.
//!
//! # Layout
//! - this file: what a batch file says.
//! - [`axis`]: arrays and their values.
//! - [`template`]: `{axis}` in texts.
//! - [`job`]: one `[[job]]`, its keys and those of `[defaults]`.
//! - [`check`]: what only several jobs together can be wrong in; [`requests`]: what no host can meet.

mod axis;
mod check;
mod job;
mod requests;
pub(crate) mod template;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use titan_manager::{Condition, Request, Rerun};
use toml::Spanned;
use toml::de::DeValue;

use crate::config::toml_file::{ConfigError, Problems, Rules, Section, parse_document, read_text};
use crate::state::specification::RecordedFile;
use axis::{Axis, Sets};
pub(crate) use check::has_files;
pub(crate) use requests::KnownHost;
use template::{ShellTemplate, Template};

/// More tasks than this need to be meant.
pub(crate) const MAX_UNASKED_TASKS: u64 = 10_000_000;

/// A batch file.
#[derive(Debug)]
pub(crate) struct BatchFile {
    pub(crate) name: String,
    /// The folder that all local paths are relative to.
    pub(crate) base: PathBuf,
    /// In the order in which they can be submitted: each after those that it waits for.
    pub(crate) jobs: Vec<Job>,
    /// The sets that it takes from elsewhere, in the order in which they were read.
    sets: VecDeque<Vec<Vec<u8>>>,
    /// The file's name and text, for what is found wrong later.
    file: String,
    text: String,
}

impl BatchFile {
    /// The file as it is kept for whoever goes on with the batch.
    pub(crate) fn record(&self, path: &Path) -> RecordedFile {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        RecordedFile { path: path.into_os_string().into_vec(), text: self.text.clone(), sets: self.sets.clone() }
    }

    /// The file itself, if there were no problems, and all of them otherwise.
    pub(crate) fn unless_any(self, problems: Problems) -> Result<Self, ConfigError> {
        let (file, text) = (self.file.clone(), self.text.clone());
        problems.unless_any(&file, &text, self)
    }
}

/// A job.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) what: What,
    pub(crate) axes: Vec<Axis>,
    /// Axes go in step.
    pub(crate) link: bool,
    pub(crate) inputs: Vec<InputSpec>,
    pub(crate) outputs: Vec<Template>,
    pub(crate) stdin: Option<Template>,
    pub(crate) env: Vec<(String, Template)>,
    pub(crate) workdir: Option<Template>,
    pub(crate) setup: Option<String>,
    pub(crate) cpus: Option<u32>,
    pub(crate) memory: Option<u64>,
    pub(crate) resources: BTreeMap<String, u32>,
    pub(crate) wanted: Vec<Condition>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: Option<u32>,
    pub(crate) priority: i32,
    pub(crate) rerun: Option<Rerun>,
    pub(crate) after: Vec<After>,
    pub(crate) places: Places,
    /// Nothing is wrong with it by itself.
    is_sound: bool,
    /// This one of its array alone.
    pub(crate) only: Option<u32>,
}

/// Where in the file things are, for what is found wrong later.
#[derive(Debug, Default, Clone)]
pub(crate) struct Places {
    pub(crate) name: Range<usize>,
    pub(crate) what: Range<usize>,
    pub(crate) inputs: Vec<Range<usize>>,
    pub(crate) outputs: Vec<Range<usize>>,
    pub(crate) cpus: Range<usize>,
    pub(crate) memory: Range<usize>,
    pub(crate) resources: Range<usize>,
    pub(crate) wanted: Range<usize>,
    pub(crate) params: Range<usize>,
    pub(crate) workdir: Range<usize>,
    pub(crate) stdin: Range<usize>,
}

/// What the tasks of a job run.
#[derive(Debug)]
pub(crate) enum What {
    Command(Vec<Template>),
    Shell(ShellTemplate),
    Kernel { name: String, params: Vec<(String, Template)> },
}

/// What a job is given.
#[derive(Debug, PartialEq)]
pub(crate) enum InputSpec {
    /// A path, folder or pattern; the same path there.
    Path(Template),
    /// Another path there.
    Mapped { from: Template, to: Template },
    /// All that a job has committed, by its place in the file's list.
    OfJob(usize),
}

/// A job that this one waits for, by its place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct After {
    pub(crate) job: usize,
    pub(crate) each: bool,
    pub(crate) any_end: bool,
    pub(crate) place: Range<usize>,
}

impl Job {
    /// What a task of it takes of a host beside a slot.
    pub(crate) fn request(&self) -> Request {
        Request {
            cpus: self.cpus.unwrap_or(0),
            memory_bytes: self.memory.unwrap_or(0),
            resources: self.resources.clone(),
            wanted: self.wanted.clone(),
        }
    }

    /// The place in its array of the task of that index.
    pub(crate) fn number(&self, index: u32) -> u32 {
        self.only.unwrap_or(index)
    }

    /// How many tasks it has.
    pub(crate) fn count(&self) -> u64 {
        if self.only.is_some() { 1 } else { self.whole_count() }
    }

    /// How many its array has.
    pub(crate) fn whole_count(&self) -> u64 {
        if self.link {
            return self.axes.first().map_or(1, |axis| axis.set.count());
        }
        self.axes.iter().map(|axis| axis.set.count()).fold(1, u64::saturating_mul)
    }

    /// The values of the task of that index, an axis each.
    pub(crate) fn values(&self, index: u32) -> Vec<Vec<u8>> {
        let mut rest = u64::from(self.number(index));
        let mut values: Vec<Vec<u8>> = Vec::with_capacity(self.axes.len());
        for axis in self.axes.iter().rev() {
            let count = axis.set.count();
            values.push(axis.set.value(if self.link { rest } else { rest % count }));
            rest = if self.link { rest } else { rest / count };
        }
        values.reverse();
        values
    }
}

/// The keys of the file itself.
const FILE: Rules = Rules {
    name: "a batch file",
    keys: &["name", "base", "defaults", "job"],
    instead_of: &[("jobs", "job"), ("default", "defaults"), ("task", "job"), ("tasks", "job")],
};

/// What a file is checked against that isn't in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// More than ten million tasks are meant.
    pub(crate) yes: bool,
    /// What is known of the hosts; none: nothing is judged by them.
    pub(crate) hosts: Vec<KnownHost>,
    /// Of a batch that is gone on with: the file as it was.
    pub(crate) recorded: Option<RecordedFile>,
}

/// Reads a batch file.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn read(path: &Path, surroundings: &Surroundings) -> Result<BatchFile, ConfigError> {
    let file = path.display().to_string();
    let text = match &surroundings.recorded {
        Some(recorded) => recorded.text.clone(),
        None => read_text(path, &file, "name a batch file, as in: titan batch nightly.toml")?,
    };
    parse(path, &file, &text, surroundings)
}

fn parse(path: &Path, file: &str, text: &str, surroundings: &Surroundings) -> Result<BatchFile, ConfigError> {
    let document = parse_document(text, file)?;
    let mut problems = Problems::default();
    let mut top = Section::open(&FILE, &document, &mut problems);
    let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = top.string("name").unwrap_or_else(stem);
    let folder = path.parent().unwrap_or(Path::new(""));
    let base = folder.join(top.path("base").unwrap_or_default());
    let base = if base.as_os_str().is_empty() { PathBuf::from(".") } else { base };
    if top.has("base") && !base.is_dir() {
        top.refuse("base", format!("there is no folder {}", base.display()), "make it first");
    }
    let defaults = top.value("defaults");
    let jobs = top.value("job");
    let jobs = match jobs.map(Spanned::get_ref) {
        Some(DeValue::Array(jobs)) if !jobs.is_empty() => jobs.iter().collect(),
        Some(_) => {
            top.refuse("job", "job must be an array of tables", "write [[job]]");
            Vec::new()
        }
        None => {
            problems.add(0..0, "there is no job", "begin one with [[job]]");
            Vec::new()
        }
    };
    let names = job::names(&jobs, &mut problems);
    let defaults = defaults.and_then(|defaults| job::Shared::of_defaults(defaults, &mut problems)).unwrap_or_default();
    let mut sets = Sets::of(surroundings.recorded.as_ref());
    let read = |job| job::read(job, &names, &defaults, &base, &mut sets, &mut problems);
    let jobs: Option<Vec<Job>> = jobs.iter().copied().map(read).collect();
    // What is no table can't be numbered.
    let jobs = jobs.map_or_else(Vec::new, |jobs| check::check(jobs, &base, surroundings, &mut problems));
    let sets = sets.read;
    BatchFile { name, base, jobs, sets, file: file.to_owned(), text: text.to_owned() }.unless_any(problems)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
