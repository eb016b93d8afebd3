//! A kernel's job: each index of its array is one whole run of the kernel, of one task or several, with parameters and an
//! output of its own, which the kernel's sink writes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use kernels::{Kernel, OutputKind, OutputSpec, Plan, Request, SinkReport};
use titan_manager::TaskEnd;
use titan_proto::id::{JobId, TaskId};
use titan_proto::message::{Part, Work};

use crate::batch_file::Job;
use crate::batch_file::template::Template;
use crate::driver::TaskSource;
use crate::driver::batch_dir::Temporaries;
use crate::driver::outputs::{Outputs, Target, folder_of};
use crate::driver::sink::JobSink;
use crate::driver::spool::{Reader, Spool, named};
use crate::files::commit::Placed;
use crate::files::{self, Committed, TaskFiles};
use crate::output::printer::Desk;

/// The option that splits a run into tasks: a frame of a film is one task unless more is asked for.
const TILES: (&str, &str) = ("tiles", "1x1");

/// Runs of a job that are planned before anything starts.
const MAX_LOOKED_AT: u64 = 1_000;

/// The runs of a job.
pub(super) struct KernelRuns {
    job: Arc<Job>,
    kernel: &'static dyn Kernel,
    params: Vec<(String, Template)>,
    /// Tasks of each run.
    group: u32,
    first: Vec<u8>,
    task_memory_bytes: u64,
}

impl KernelRuns {
    /// Plans the runs, or of very many the first ones and the last.
    ///
    /// # Errors
    /// What is wrong, and what to do about it if that is known.
    pub(super) fn new(
        job: Arc<Job>,
        kernel: &'static dyn Kernel,
        params: &[(String, Template)],
    ) -> Result<Self, (String, String)> {
        let mut runs = Self { job, kernel, params: params.to_vec(), group: 1, first: Vec::new(), task_memory_bytes: 0 };
        let count = runs.job.count();
        // All, unless that would take long: the others are taken to be like them.
        let looked_at = (0..count.min(MAX_LOOKED_AT) as u32).chain(count.checked_sub(1).map(|last| last as u32));
        for index in looked_at.collect::<BTreeSet<u32>>() {
            let plan = runs.plan(index).map_err(|(problem, hint)| {
                let number = u64::from(runs.job.number(index)) + 1;
                (format!("job '{}', run {number}: {problem}", runs.job.name), hint)
            })?;
            if index == 0 {
                (runs.group, runs.first) = (plan.tasks(), plan.params());
            }
            runs.task_memory_bytes = runs.task_memory_bytes.max(plan.task_memory_bytes());
        }
        runs.check_count()?;
        Ok(runs)
    }

    fn check_count(&self) -> Result<(), (String, String)> {
        let (count, group, name) = (self.job.count(), u64::from(self.group), &self.job.name);
        if count.saturating_mul(group) < u64::from(u32::MAX) {
            return Ok(());
        }
        let problem = format!("job '{name}': {count} runs of {group} tasks each are too many");
        Err((problem, "fewer tiles, or more than one batch".to_owned()))
    }

    /// How many tasks all runs have.
    pub(super) fn tasks(&self) -> u32 {
        self.job.count() as u32 * self.group
    }

    /// Tasks of each run.
    pub(super) fn group(&self) -> u32 {
        self.group
    }

    /// The most memory that a task takes, in bytes.
    pub(super) fn task_memory_bytes(&self) -> u64 {
        self.task_memory_bytes
    }

    /// The work of the first run.
    pub(super) fn first_work(&self) -> Work {
        let timeout_ms = super::timeout_ms(&self.job);
        Work::Kernel { name: self.kernel.name().to_owned(), params: self.first.clone(), timeout_ms }
    }

    /// The options of a run, as a person would type them.
    pub(super) fn options(&self, run: u32) -> BTreeMap<String, String> {
        let run = self.job.number(run);
        let values = self.job.values(run);
        let text = |template: &Template| String::from_utf8_lossy(&template.text(&values, run)).into_owned();
        let mut options: BTreeMap<String, String> =
            self.params.iter().map(|(name, template)| (name.clone(), text(template))).collect();
        if self.kernel.options().iter().any(|option| option.name == TILES.0) {
            options.entry(TILES.0.to_owned()).or_insert_with(|| TILES.1.to_owned());
        }
        options
    }

    /// What a run leaves.
    ///
    /// # Errors
    /// Its path can't be: a sentence.
    fn leaves(&self, run: u32) -> Result<files::Output, String> {
        let run = self.job.number(run);
        let values = self.job.values(run);
        let text = self.job.outputs.first().map(|output| output.text(&values, run)).unwrap_or_default();
        files::Output::new(&text, false)
    }

    /// Where the output of a run goes.
    pub(super) fn target(&self, run: u32) -> PathBuf {
        self.leaves(run).map(|output| output.target(&output.pattern.text)).unwrap_or_default()
    }

    /// The output that a run writes.
    pub(super) fn output(&self) -> &'static OutputSpec {
        self.kernel.outputs().iter().find(|output| output.default.is_some()).unwrap_or(&self.kernel.outputs()[0])
    }

    /// The name of its kernel.
    pub(super) fn kernel(&self) -> &'static str {
        self.kernel.name()
    }

    fn plan(&self, run: u32) -> Result<Box<dyn Plan>, (String, String)> {
        let outputs = BTreeSet::from([self.output().name.to_owned()]);
        let request = Request { options: self.options(run), outputs, slots: 1 };
        let plan = self.kernel.plan(&request);
        let plan = plan.map_err(|error| (error.to_string(), error.hint.clone().unwrap_or_default()))?;
        if run > 0 && plan.tasks() != self.group {
            let problem = format!("it has {} tasks and the first run has {}", plan.tasks(), self.group);
            return Err((problem, "all runs of a job have as many".to_owned()));
        }
        Ok(plan)
    }
}

impl TaskSource for Arc<KernelRuns> {
    fn part(&self, index: u32) -> Part {
        // What can't be planned isn't begun: `files` says why.
        let params = self.plan(index / self.group).map(|plan| plan.params()).unwrap_or_default();
        Part::Run { params, index: index % self.group }
    }

    fn files(&self, index: u32) -> Result<TaskFiles, String> {
        self.plan(index / self.group).map(|_| TaskFiles::default()).map_err(|(problem, _)| problem)
    }
}

/// The sinks of all runs that are under way. A run writes its output when all of its tasks have ended well, and otherwise nothing.
pub(super) struct RunsSink {
    runs: Arc<KernelRuns>,
    job: JobId,
    root: PathBuf,
    batch: String,
    temporaries: Temporaries,
    spool: Spool,
    committed: Committed,
    runs_under_way: BTreeMap<u32, Run>,
    /// Tasks that have run well and whose end is to be told yet.
    told: BTreeSet<u32>,
}

struct Run {
    /// None: no task has ended well yet, or one has ended badly, and then the run writes nothing.
    open: Option<Open>,
    is_spoiled: bool,
    /// Tasks that haven't ended.
    left: u32,
}

struct Open {
    sink: Box<dyn kernels::Sink>,
    outputs: Outputs,
}

impl Run {
    /// One of its tasks ended badly, or its output can't be written.
    fn spoil(&mut self) {
        self.is_spoiled = true;
        if let Some(open) = self.open.take() {
            open.outputs.abandon();
        }
    }
}

impl RunsSink {
    pub(super) fn new(runs: Arc<KernelRuns>, job: JobId, desk: &Desk<'_>) -> Self {
        Self {
            runs,
            job,
            root: desk.root.clone(),
            batch: desk.directory.id().to_string(),
            temporaries: desk.directory.temporaries(),
            spool: desk.directory.spool(),
            committed: desk.committed.clone(),
            runs_under_way: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    fn open(&self, run: u32) -> io::Result<Open> {
        let plan = self.runs.plan(run).map_err(|(problem, _)| io::Error::other(problem))?;
        let output = self.runs.output();
        let path = self.root.join(self.runs.target(run));
        let target = match output.kind {
            OutputKind::File => {
                std::fs::create_dir_all(folder_of(&path)).map_err(|error| named(&path, &error))?;
                Target::File(path)
            }
            OutputKind::Folder => Target::Folder(path),
        };
        let targets = BTreeMap::from([(output.name.to_owned(), target)]);
        let outputs = Outputs::new(targets, self.batch.clone(), self.temporaries.clone());
        let sink = plan.sink(Box::new(outputs.clone()))?;
        Ok(Open { sink, outputs })
    }

    fn completed(&self, number: u32, task: u32, run: &mut Run) -> io::Result<()> {
        let open = match &mut run.open {
            Some(open) => open,
            none => none.insert(self.open(number)?),
        };
        let results = RunResults { reader: self.spool.reader(self.job), first: number * self.runs.group() };
        open.sink.completed(task, &results)
    }

    fn take_run(&mut self, number: u32) -> Run {
        let new = Run { open: None, is_spoiled: false, left: self.runs.group() };
        self.runs_under_way.remove(&number).unwrap_or(new)
    }

    /// One more task of a run is done with. With the last one the run is written, and what it was made of goes.
    fn count_down(&mut self, number: u32, mut run: Run) -> io::Result<()> {
        run.left -= 1;
        if run.left > 0 {
            self.runs_under_way.insert(number, run);
            return Ok(());
        }
        let written = run.open.map_or(Ok(()), |open| self.put(number, open));
        for task in 0..self.runs.group() {
            self.spool.remove(TaskId { job: self.job, index: number * self.runs.group() + task });
        }
        written
    }

    fn put(&self, run: u32, open: Open) -> io::Result<()> {
        let outputs = open.outputs.clone();
        let put = self.finish_run(run, open);
        if put.is_err() {
            outputs.abandon();
        }
        put
    }

    fn finish_run(&self, run: u32, Open { sink, outputs }: Open) -> io::Result<()> {
        sink.finish()?;
        let leaves = self.runs.leaves(run).map_err(io::Error::other)?;
        let folder = self.root.join(&leaves.folder);
        for path in outputs.commit()? {
            // A path below the task's folder, as a command's would be.
            let place = path.strip_prefix(&folder).unwrap_or(&path).as_os_str().as_bytes().to_vec();
            let path = path.strip_prefix(&self.root).unwrap_or(&path).to_owned();
            self.committed.add(self.job, &Placed { path, place, is_folder: false });
        }
        Ok(())
    }
}

impl JobSink for RunsSink {
    /// The last of its tasks puts the run's output in its place.
    fn commit(&mut self, task: TaskId) -> io::Result<()> {
        let group = self.runs.group();
        let (number, index) = (task.index / group, task.index % group);
        let mut run = self.take_run(number);
        let taken = if run.is_spoiled { Ok(()) } else { self.completed(number, index, &mut run) };
        if taken.is_err() {
            run.spoil();
        }
        self.told.insert(task.index);
        let ended = self.count_down(number, run);
        taken.and(ended)
    }

    fn ended(&mut self, end: TaskEnd) -> io::Result<()> {
        // Of one that has run well, `commit` has been told.
        if !self.told.remove(&end.task.index) {
            let number = end.task.index / self.runs.group();
            let mut run = self.take_run(number);
            run.spoil();
            self.count_down(number, run)?;
        }
        Ok(())
    }

    fn finish(&mut self, _complete: bool) -> io::Result<Option<SinkReport>> {
        Ok(None)
    }
}

/// The results of one run, numbered from 0.
struct RunResults {
    reader: Reader,
    first: u32,
}

impl kernels::Results for RunResults {
    fn read_at(&self, task: u32, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.reader.read_at(self.first + task, offset, buffer)
    }
}
