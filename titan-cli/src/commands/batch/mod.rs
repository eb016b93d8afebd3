//! `titan batch FILE.toml`: jobs of commands and kernels that wait for each other.
//!
//! # Layout
//! - this file: from a batch file to a batch.
//! - [`tasks`]: what each task of a command's job runs, is given and leaves.
//! - [`runs`]: a kernel's job: each task of its array is a run with parameters and an output of its own.
//! - [`earlier`]: what an earlier batch of the file has made.
//! - [`dry_run`]: what would be run.

mod dry_run;
mod earlier;
mod runs;
mod tasks;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use titan_manager::journal::Past;
use titan_manager::{Dependency, JobSpec, Rerun};
use titan_proto::command::{CommandJob, Secret, Workdir};
use titan_proto::id::{JobId, TaskId};
use titan_proto::message::Work as TaskWork;
use tokio::sync::mpsc;

use crate::args::BatchArgs;
use crate::batch::start::Start;
use crate::batch::{Batch, Context, KILL_AFTER, Rules, Work};
use crate::batch_file::{self, BatchFile, InputSpec, Job, KnownHost, Surroundings, What, has_files};
use crate::config::cluster::{Cluster, Reach};
use crate::config::place::Place;
use crate::config::text::{counted, printable};
use crate::config::toml_file::Problems;
use crate::driver::BatchJob;
use crate::driver::sink::JobSink;
use crate::exit::{self, Failure};
use crate::files::reuse::Reuse;
use crate::output::failures::Examples;
use crate::output::printer::{Manners, Outlet};
use crate::progress::{Manner, TaskNames};
use crate::template::shell;

use runs::{KernelRuns, RunsSink};
use tasks::CommandTasks;

/// Runs a batch file.
pub(crate) fn run(args: &BatchArgs, mut start: Start) -> Result<u8, Failure> {
    if (args.check || args.dry_run) && args.common.noise.json {
        let hint = "leave out --json: a dry run prints each task, a check what is wrong";
        return Err(Failure::hinted(exit::USAGE, "neither a dry run nor a check has JSON", hint));
    }
    let Place { source, mut cluster, found } = crate::commands::place::resolve_start(&args.common.place, &mut start)?;
    crate::commands::place::override_schedule(&mut cluster.scheduler, &args.common.schedule)?;
    let recorded = start.recorded().and_then(|recorded| recorded.file.clone());
    let surroundings = Surroundings { yes: args.yes, hosts: KnownHost::all(&cluster), recorded };
    let file = batch_file::read(&args.file, &surroundings).map_err(|error| Failure::complete(exit::USAGE, error))?;
    let recorded = file.record(&args.file);
    let file = only(file, args.only.as_deref())?;
    let mut plan = Plan::of(file, &cluster)?;
    if args.check {
        let tasks = plan.jobs.iter().map(|job| u64::from(job.tasks())).sum();
        let (jobs, tasks) = (counted(plan.jobs.len() as u64, "job"), counted(tasks, "task"));
        crate::tell::to_stderr(&format!("{}: {jobs}, {tasks}, nothing wrong", args.file.display()));
        return Ok(exit::SUCCESS);
    }
    if args.dry_run {
        return dry_run::dry_run(&plan, &source.to_string(), &cluster);
    }
    earlier::warn(args, &plan, &recorded, start.id())?;
    plan.reuse = earlier::reuse(args, &plan, &recorded, start.recorded().is_none())?;
    let begun = start.begin(&plan.name, args.common.state.batch_dir.as_ref(), &cluster, |specification| {
        specification.cluster = crate::commands::place::recorded(found);
        specification.file = Some(recorded);
    })?;
    let file = shell::for_paste(&[args.file.as_os_str().as_bytes().to_vec()]);
    let names = Arc::new(Names {
        jobs: plan.jobs.iter().map(|job| (Arc::clone(&job.job), job.group())).collect(),
        file: String::from_utf8_lossy(&file).into_owned(),
    });
    let batch = Batch {
        name: &plan.name,
        noise: &args.common.noise,
        manner: Manner::batch(names),
        source: Some(source.to_string()),
        cluster: &cluster,
        directory: &begun.directory,
        batch_dir: args.common.state.batch_dir.as_deref(),
        past: begun.past,
        retries_failed: begun.retries_failed,
        rules: Rules::default(),
        smaller_tasks_hint: None,
    };
    let work = |context: &Context<'_>, past: &mut Past| plan.work(args.common.noise.json, &cluster, context, past);
    batch.run(work, || Ok(Vec::new()))
}

/// Leaves one job, or one of its array, which then waits for nothing: what it is given has to be there.
fn only(mut file: BatchFile, name: Option<&str>) -> Result<BatchFile, Failure> {
    let Some(name) = name else { return Ok(file) };
    let (name, number) = name.split_once(':').map_or((name, None), |(name, number)| (name, Some(number)));
    let Some(place) = file.jobs.iter().position(|job| job.name == name) else {
        let names = file.jobs.iter().map(|job| job.name.as_str());
        let hint = match crate::config::suggest::nearest(name, names.clone()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
        };
        return Err(Failure::hinted(exit::USAGE, format!("--only: there is no job '{}'", printable(name)), hint));
    };
    // The outputs of others are named one by one, as they have to be there.
    let outputs_of = |other: &Job| -> Vec<InputSpec> {
        let of_task = |index: u32| {
            let values = other.values(index);
            other.outputs.iter().map(move |output| InputSpec::Path(output.fixed(&values, index)))
        };
        (0..other.count() as u32).flat_map(of_task).collect()
    };
    let of_others = |input: &InputSpec| match input {
        InputSpec::OfJob(other) => outputs_of(&file.jobs[*other]),
        _ => Vec::new(),
    };
    let named: Vec<InputSpec> = file.jobs[place].inputs.iter().flat_map(of_others).collect();
    let mut job = file.jobs.swap_remove(place);
    if let Some(number) = number {
        let count = job.whole_count();
        let index = number.parse::<u64>().ok().filter(|number| (1..=count).contains(number));
        let index = index.and_then(|number| u32::try_from(number - 1).ok());
        job.only = Some(index.ok_or_else(|| {
            let problem = format!("--only: job '{name}' has no task {}", printable(number));
            let hint = if count == 0 { "its array is empty".to_owned() } else { format!("it has 1 to {count}") };
            Failure::hinted(exit::USAGE, problem, hint)
        })?);
    }
    job.inputs.retain(|input| !matches!(input, InputSpec::OfJob(_)));
    job.inputs.extend(named);
    job.after.clear();
    file.jobs = vec![job];
    Ok(file)
}

/// A batch that is ready to run.
pub(super) struct Plan {
    name: String,
    /// Absolute.
    root: PathBuf,
    jobs: Vec<PlannedJob>,
    /// What needn't be made again.
    reuse: Reuse,
}

/// One of its jobs.
pub(super) struct PlannedJob {
    job: Arc<Job>,
    kind: Kind,
}

/// What its tasks are.
enum Kind {
    /// `root`: what a relative workdir is relative to, where it isn't the host's affair.
    Commands {
        workdir: Workdir,
        root: Option<PathBuf>,
    },
    Runs(Arc<KernelRuns>),
}

impl PlannedJob {
    /// How many tasks it has.
    fn tasks(&self) -> u32 {
        match &self.kind {
            Kind::Runs(runs) => runs.tasks(),
            Kind::Commands { .. } => self.job.count() as u32,
        }
    }

    /// How many tasks make one of its array.
    fn group(&self) -> u32 {
        match &self.kind {
            Kind::Runs(runs) => runs.group(),
            Kind::Commands { .. } => 1,
        }
    }
}

impl Plan {
    fn of(mut file: BatchFile, cluster: &Cluster) -> Result<Self, Failure> {
        let root = fs::canonicalize(&file.base)
            .map_err(|error| Failure::plain(exit::USAGE, format!("cannot enter {}: {error}", file.base.display())))?;
        let is_here = cluster.hosts.iter().all(|host| host.reach == Reach::Local);
        let (mut planned, mut problems) = (Vec::new(), Problems::default());
        for job in std::mem::take(&mut file.jobs) {
            let job = Arc::new(job);
            let kind = match &job.what {
                What::Kernel { name, params } => {
                    let kernel = kernels::find(name).expect("the file was checked to name one");
                    KernelRuns::new(Arc::clone(&job), kernel, params).map(|runs| Kind::Runs(Arc::new(runs)))
                }
                _ => Ok(Kind::Commands {
                    workdir: workdir(&job, !is_here || has_files(&job), &root),
                    root: is_here.then(|| root.clone()),
                }),
            };
            match kind {
                Err((problem, remedy)) => problems.add(job.places.params.clone(), problem, remedy),
                Ok(kind) => planned.push(PlannedJob { job, kind }),
            }
        }
        let file = file.unless_any(problems).map_err(|error| Failure::complete(exit::USAGE, error))?;
        Ok(Self { name: file.name, root, jobs: planned, reuse: Reuse::default() })
    }

    fn work(&self, json: bool, cluster: &Cluster, context: &Context<'_>, past: &Past) -> io::Result<Work> {
        let outlet = Outlet {
            hosts: context.hosts,
            directory: context.directory,
            past,
            root: self.root.clone(),
            stage: context.progress.stage(),
            manners: Manners { is_mute: json, ..Manners::default() },
            reuse: self.reuse.clone(),
            committed: Outlet::committed_before(past),
            examples: Examples::default(),
        };
        let mut jobs = Vec::new();
        let mut sinks: Vec<Box<dyn JobSink>> = Vec::new();
        for (number, planned) in self.jobs.iter().enumerate() {
            let id = JobId(number as u32);
            let spec = self.spec(planned, cluster);
            match &planned.kind {
                Kind::Runs(runs) => {
                    jobs.push(BatchJob { spec, source: Box::new(Arc::clone(runs)) });
                    sinks.push(Box::new(RunsSink::new(Arc::clone(runs), id, &outlet)));
                }
                Kind::Commands { workdir, root } => {
                    let in_scratch = *workdir == Workdir::Scratch;
                    let tasks = Arc::new(CommandTasks::new(Arc::clone(&planned.job), in_scratch, root.clone()));
                    sinks.push(Box::new(outlet.printer(number, Arc::clone(&tasks) as _)?));
                    jobs.push(BatchJob { spec, source: Box::new(tasks) });
                }
            }
        }
        let (_, fed) = mpsc::channel(1);
        let Outlet { root, committed, examples, reuse, .. } = outlet;
        Ok(Work { jobs, sinks, fed, root, committed, examples, max_result_bytes: u64::MAX, reuse, is_one: false })
    }

    fn spec(&self, planned: &PlannedJob, cluster: &Cluster) -> JobSpec {
        let job = &planned.job;
        let dependency = |after: &batch_file::After| Dependency {
            job: JobId(after.job as u32),
            each: after.each,
            any_end: after.any_end,
        };
        let group = planned.group();
        let (work, slot_memory_bytes, rerun, retries) = match &planned.kind {
            Kind::Runs(runs) => {
                (runs.first_work(), runs.task_memory_bytes(), Rerun::Anytime, crate::commands::run::KERNEL_RETRIES)
            }
            Kind::Commands { workdir, .. } => {
                let may_rerun = *workdir == Workdir::Scratch && !job.outputs.is_empty();
                let rerun = if may_rerun { Rerun::Anytime } else { Rerun::Lost };
                (TaskWork::Command(command_job(job, workdir.clone())), 0, rerun, 0)
            }
        };
        JobSpec {
            name: job.name.clone(),
            work,
            tasks: planned.tasks(),
            closed: true,
            retries: job.retries.or(cluster.scheduler.retries).unwrap_or(retries),
            slot_memory_bytes,
            request: job.request(),
            rerun: job.rerun.unwrap_or(rerun),
            priority: job.priority,
            group,
            after: job.after.iter().map(dependency).collect(),
            commits: !job.outputs.is_empty(),
        }
    }
}

fn workdir(job: &Job, in_scratch: bool, root: &Path) -> Workdir {
    match &job.workdir {
        // Each task says its own.
        Some(_) => Workdir::Inherited,
        None if in_scratch => Workdir::Scratch,
        None => Workdir::Folder(root.as_os_str().as_bytes().to_vec()),
    }
}

fn command_job(job: &Job, workdir: Workdir) -> CommandJob {
    let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    CommandJob {
        name: job.name.clone(),
        env: Vec::new(),
        setup: job.setup.as_ref().map(|setup| Secret(setup.as_bytes().to_vec())),
        workdir,
        timeout_ms: timeout_ms(job),
        kill_after_ms: millis(KILL_AFTER),
        nice: 0,
        cpus: job.cpus.unwrap_or(0),
        memory_bytes: job.memory.unwrap_or(0),
        resources: job.resources.iter().map(|(name, count)| (name.clone(), *count)).collect(),
        captures: true,
    }
}

/// How long a task of a job may run; 0: as long as it likes.
fn timeout_ms(job: &Job) -> u64 {
    job.timeout.map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1))
}

/// How people know tasks of a batch.
struct Names {
    /// Each job, and how many tasks make one of its array.
    jobs: Vec<(Arc<Job>, u32)>,
    /// The batch file, as it can be pasted into sh.
    file: String,
}

impl TaskNames for Names {
    fn label(&self, task: TaskId) -> String {
        let (job, group) = &self.jobs[task.job.0 as usize];
        let (index, part) = (u64::from(job.number(task.index / group)) + 1, task.index % group + 1);
        let index = if job.axes.is_empty() { String::new() } else { format!(" {index}") };
        let part = if *group == 1 { String::new() } else { format!(" ({part} of {group})") };
        format!("{}{index}{part}", job.name)
    }

    fn alone(&self, task: TaskId) -> Option<String> {
        let (job, group) = &self.jobs[task.job.0 as usize];
        let number = u64::from(job.number(task.index / group)) + 1;
        let number = if job.axes.is_empty() { String::new() } else { format!(":{number}") };
        Some(format!("titan batch --only {}{number} {}", job.name, self.file))
    }

    fn command(&self, task: TaskId) -> Option<Vec<u8>> {
        tasks::command_line(&self.jobs[task.job.0 as usize].0, task.index)
    }
}
