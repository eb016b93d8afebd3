//! A kernel's job: each index of its array is one whole run of the kernel, of one task or several, with parameters and an
//! output of its own, which the kernel's sink writes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use kernels::{Kernel, OutputKind, OutputSpec, Plan, Request, SinkReport};
use titan_manager::journal::{Entry, PlacedContent, PlacedFile};
use titan_manager::{Lifecycle, TaskEnd};
use titan_proto::files::BlobId;
use titan_proto::id::{JobId, TaskId};
use titan_proto::message::{Part, Work};

use super::tasks::identity_of;
use crate::batch_file::Job;
use crate::batch_file::template::Template;
use crate::driver::TaskSource;
use crate::driver::outputs::{Outputs, Target};
use crate::driver::sink::JobSink;
use crate::files::commit::{self, Placed};
use crate::files::contents::hash_of;
use crate::files::reuse::Reuse;
use crate::files::{self, Committed, TaskFiles};
use crate::output::printer::Outlet;
use crate::paths::{folder_of, named};
use crate::state::dir::Temporaries;
use crate::state::journal::Journal;
use crate::state::spool::{Reader, Spool};

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

    fn identity(&self, index: u32) -> Option<BlobId> {
        let plan = self.plan(index / self.group).ok()?;
        let target = self.target(index / self.group);
        let target = target.as_os_str().as_bytes();
        let kernel = ("kernel", self.kernel.name(), kernels::VERSION);
        Some(identity_of(&(kernel, plan.params(), self.group, index % self.group, target)))
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
    journal: Journal,
    /// Runs that are written, and when that is on the disk: what they were made of goes then.
    removable: VecDeque<(u64, u32)>,
    reuse: Reuse,
    /// Runs whose output is in its place already.
    in_place: BTreeSet<u32>,
}

struct Run {
    /// None: no task has ended well yet, or one has ended badly, and then the run writes nothing.
    open: Option<Open>,
    is_spoiled: bool,
    /// Tasks that haven't run.
    left: u32,
    /// Tasks of whose end it wasn't told.
    untold: u32,
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
    pub(super) fn new(runs: Arc<KernelRuns>, job: JobId, outlet: &Outlet<'_>) -> Self {
        let group = runs.group();
        let placed = outlet.past.placed().filter(|(task, _)| task.job == job);
        Self {
            runs,
            job,
            root: outlet.root.clone(),
            batch: outlet.directory.id().to_string(),
            temporaries: outlet.directory.temporaries(),
            spool: outlet.directory.spool(),
            committed: outlet.committed.clone(),
            runs_under_way: BTreeMap::new(),
            told: BTreeSet::new(),
            journal: outlet.directory.journal().clone(),
            removable: VecDeque::new(),
            reuse: outlet.reuse.clone(),
            in_place: placed.map(|(task, _)| task.index / group).collect(),
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
        let group = self.runs.group();
        let new = Run { open: None, is_spoiled: false, left: group, untold: group };
        self.runs_under_way.remove(&number).unwrap_or(new)
    }

    /// One more task of a run has run well.
    fn add(&mut self, number: u32, task: u32, run: &mut Run) -> io::Result<()> {
        let is_needed = !run.is_spoiled && !self.in_place.contains(&number);
        let taken = if is_needed { self.completed(number, task, run) } else { Ok(()) };
        if taken.is_err() {
            run.spoil();
        }
        taken.and(self.count_down(number, run))
    }

    /// One more task of a run is done with. With the last one the run is written.
    fn count_down(&mut self, number: u32, run: &mut Run) -> io::Result<()> {
        run.left -= 1;
        match run.open.take_if(|_| run.left == 0) {
            Some(open) => self.put(number, open),
            None => Ok(()),
        }
    }

    /// All is told of a run. What it was made of stays if there is no output: one of its tasks may be tried again.
    fn conclude(&mut self, number: u32, run: &Run) {
        if !run.is_spoiled {
            let told: Vec<Entry> = self.tasks_of(number).map(|task| Entry::Told { task }).collect();
            let noted = self.journal.note(told, None);
            self.removable.push_back((noted, number));
        }
        let durable = self.journal.durable_now();
        while let Some((_, number)) = self.removable.pop_front_if(|(noted, _)| *noted <= durable) {
            self.tasks_of(number).for_each(|task| self.spool.remove(task));
        }
    }

    /// The output of a task's run is there: an earlier batch has made it.
    fn take_over(&mut self, task: TaskId, files: &[PlacedFile]) {
        let placed: Vec<Placed> = files.iter().map(Placed::of_journal).collect();
        placed.iter().for_each(|file| self.committed.add(self.job, file));
        commit::note(&self.journal, task, &placed);
        self.in_place.insert(task.index / self.runs.group());
    }

    fn tasks_of(&self, number: u32) -> impl Iterator<Item = TaskId> + use<> {
        let (job, group) = (self.job, self.runs.group());
        (number * group..(number + 1) * group).map(move |index| TaskId { job, index })
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
        let mut placed = Vec::new();
        for path in outputs.commit()? {
            let content = PlacedContent::File(hash_of(&path)?);
            // A path below the task's folder, as a command's would be.
            let place = path.strip_prefix(&folder).unwrap_or(&path).as_os_str().as_bytes().to_vec();
            let path = path.strip_prefix(&self.root).unwrap_or(&path).to_owned();
            placed.push(Placed { path, place, content });
        }
        placed.iter().for_each(|file| self.committed.add(self.job, file));
        let last = self.tasks_of(run).last().expect("a run has a task");
        commit::note(&self.journal, last, &placed);
        Ok(())
    }
}

impl JobSink for RunsSink {
    /// The last of its tasks puts the run's output in its place.
    fn commit(&mut self, task: TaskId) -> io::Result<()> {
        let group = self.runs.group();
        let (number, index) = (task.index / group, task.index % group);
        let mut run = self.take_run(number);
        let added = match self.reuse.files_of(task) {
            Some(files) => {
                self.take_over(task, &files);
                self.count_down(number, &mut run)
            }
            None => self.add(number, index, &mut run),
        };
        self.told.insert(task.index);
        self.runs_under_way.insert(number, run);
        added
    }

    fn ended(&mut self, end: TaskEnd) -> io::Result<()> {
        let group = self.runs.group();
        let (number, index) = (end.task.index / group, end.task.index % group);
        let mut run = self.take_run(number);
        // Of one that has run well `commit` has been told, unless that was an earlier titan's.
        if !self.told.remove(&end.task.index) {
            if end.state == Lifecycle::Completed {
                self.add(number, index, &mut run)?;
            } else {
                run.spoil();
                self.count_down(number, &mut run)?;
            }
        }
        run.untold -= 1;
        match run.untold {
            0 => self.conclude(number, &run),
            _ => drop(self.runs_under_way.insert(number, run)),
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
