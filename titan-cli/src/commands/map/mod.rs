//! `titan map COMMAND`: a command, once for each value.
//!
//! # Layout
//! - this file: from arguments to a batch.
//! - [`template`]: from a command and values to words.
//! - [`feed`], [`table`]: values as they are taken, and those of the tasks under way.
//! - [`files`]: what tasks are given and leave.
//! - [`each_host`]: the command once on every host instead.
//! - [`checks`], [`dry_run`]: what can be said before anything starts.

mod checks;
mod dry_run;
mod each_host;
mod feed;
mod files;
mod table;
mod template;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use titan_manager::{JobSpec, Request, Rerun};
use titan_proto::command::{CommandJob, Workdir};
use titan_proto::message::Work as TaskWork;
use tokio::sync::mpsc;

use crate::args::{MapArgs, ProcessOptions};
use crate::batch::{Batch, Rules, Work};
use crate::batch_file::KnownHost;
use crate::config::cluster::{Cluster, Reach};
use crate::config::place::{Place, PlaceSource};
use crate::driver::BatchJob;
use crate::driver::batch_dir::BatchDir;
use crate::exit::{self, Failure};
use crate::files::Committed;
use crate::output::failures::Examples;
use crate::output::joblog::JobLog;
use crate::output::printer::{Desk, Manners};
use crate::output::results::{self, ResultsFolder};
use crate::progress::{Manner, Progress};

use each_host::OnHosts;
use files::Declared;
use table::{Table, TableSource};
use template::{Asked, Source};

/// Tasks that are read ahead of those that run: enough that no slot waits, few enough that memory is bounded.
const MAX_OPEN_TASKS: usize = 10_000;
/// GNU parallel's word for a folder of the task's own.
const GNU_SCRATCH: &str = "...";
/// Fed tasks that wait for the driver.
const MAX_FED: usize = 256;

/// Runs a command for each value.
pub(crate) fn run(args: &MapArgs) -> Result<u8, Failure> {
    let Place { source, mut cluster } = crate::commands::resolve_place(&args.common.place)?;
    crate::commands::run::override_schedule(&mut cluster.scheduler, &args.common.schedule)?;
    checks::check(args)?;
    let asked = Asked::of(args, &cluster)?;
    let job = command_job(args, &cluster, &asked.files)?;
    if !args.files.no_stage_check && job.workdir == Workdir::Scratch {
        let command = asked.template.command_words(asked.first.as_deref().unwrap_or_default());
        files::check_staged(&cluster, &asked.files, &command, asked.first.as_ref())?;
    }
    if args.printing.dry_run {
        let rerun = rerun(&job, &asked.files);
        return dry_run::dry_run(asked, &source.to_string(), &cluster, rerun);
    }
    let directory = crate::batch::create_directory()?;
    let in_scratch = job.workdir == Workdir::Scratch;
    let spec = JobSpec {
        name: "map".to_owned(),
        tasks: 0,
        closed: false,
        retries: cluster.scheduler.retries.unwrap_or(0),
        slot_memory_bytes: 0,
        request: request(&args.process),
        rerun: rerun(&job, &asked.files),
        work: TaskWork::Command(job.clone()),
        priority: 0,
        group: 1,
        after: Vec::new(),
        commits: asked.files.has_outputs(),
    };
    let Asked { template, mut files, values, total, .. } = asked;
    if args.process.stdin.as_deref() == Some(OsStr::new("-")) {
        files.set_stdin(keep_stdin(&directory)?);
    }
    if args.process.each_host {
        leave_out_others(&mut cluster, &spec.request)?;
        let hosts = cluster.hosts.iter().map(|host| host.name.clone()).collect();
        let all = Arc::new(OnHosts { template, files, in_scratch, hosts });
        let batch = batch(args, &source, &cluster, &directory, Manner::commands(Arc::clone(&all) as _));
        let work = |progress: &Progress| each_host::work(args, &cluster, &directory, &spec, &job, &all, progress);
        return batch.run(work, || Ok(Vec::new()));
    }
    let table = Arc::new(Table::new(template, files, in_scratch, MAX_OPEN_TASKS));
    let batch = batch(args, &source, &cluster, &directory, Manner::commands(Arc::clone(&table) as _));
    let work = |progress: &Progress| work(args, &cluster, &directory, spec, &table, values, total, progress);
    batch.run(work, || Ok(Vec::new()))
}

/// Leaves the hosts that a command is for.
fn leave_out_others(cluster: &mut Cluster, request: &Request) -> Result<(), Failure> {
    let known = KnownHost::all(cluster);
    let mut known = known.iter();
    cluster.hosts.retain(|_| known.next().is_some_and(|host| host.may_meet(request)));
    match cluster.hosts.is_empty() {
        true => Err(Failure::plain(exit::USAGE, "no host has what is asked for")),
        false => Ok(()),
    }
}

fn batch<'a>(
    args: &'a MapArgs,
    source: &PlaceSource,
    cluster: &'a Cluster,
    directory: &'a BatchDir,
    manner: Manner,
) -> Batch<'a> {
    // Where nobody looks, and where it is as always, nothing is said of it.
    let is_looked_at = io::IsTerminal::is_terminal(&io::stderr()) || args.common.noise.verbose > 0;
    let is_told = *source != PlaceSource::Default && is_looked_at;
    Batch {
        name: "map",
        noise: &args.common.noise,
        manner,
        source: is_told.then(|| source.to_string()),
        cluster,
        directory,
        rules: rules(&args.process),
        smaller_tasks_hint: None,
    }
}

fn desk<'a>(
    args: &MapArgs,
    cluster: &'a Cluster,
    directory: &'a BatchDir,
    tags: bool,
    progress: &Progress,
) -> io::Result<Desk<'a>> {
    let manners = Manners {
        keeps_order: args.printing.keep_order,
        tags,
        is_mute: args.printing.no_output,
        json: args.common.noise.json,
        is_live: args.printing.line_buffer,
    };
    Ok(Desk {
        cluster,
        directory,
        root: std::env::current_dir()?,
        stage: progress.stage(),
        manners,
        committed: Committed::default(),
        examples: Examples::default(),
    })
}

#[expect(clippy::too_many_arguments, reason = "all that one batch is made of, once")]
fn work(
    args: &MapArgs,
    cluster: &Cluster,
    directory: &BatchDir,
    spec: JobSpec,
    table: &Arc<Table>,
    values: Source,
    total: Option<u64>,
    progress: &Progress,
) -> io::Result<Work> {
    let desk = desk(args, cluster, directory, args.printing.tag, progress)?;
    let results = args.printing.results.as_deref().map(|path| ResultsFolder::create(path, total)).transpose()?;
    let joblog = args.printing.joblog.as_deref().map(JobLog::create).transpose()?;
    let printer = desk.printer(0, Arc::clone(table) as _)?.with_logs(results, joblog);
    let (sender, fed) = mpsc::channel(MAX_FED);
    feed::start(Arc::clone(table), values, directory.journal(), sender)?;
    Ok(Work {
        jobs: vec![BatchJob { spec, source: Box::new(TableSource(Arc::clone(table))) }],
        sinks: vec![Box::new(printer)],
        fed,
        root: desk.root,
        committed: desk.committed,
        examples: desk.examples,
        max_result_bytes: u64::MAX,
        is_one: false,
    })
}

fn command_job(args: &MapArgs, cluster: &Cluster, files: &Declared) -> Result<CommandJob, Failure> {
    let options = &args.process;
    let is_here = cluster.hosts.iter().all(|host| host.reach == Reach::Local);
    let workdir = match &options.workdir {
        Some(folder) if folder != GNU_SCRATCH && !files.is_empty() => {
            let problem =
                format!("--workdir {}: with -i, -o or --base tasks run in folders of their own", folder.display());
            let hint = "leave out --workdir, or for a disk that all hosts share leave out the files";
            return Err(Failure::hinted(exit::USAGE, problem, hint));
        }
        Some(folder) if folder != GNU_SCRATCH => Workdir::Folder(checks::workdir(folder, is_here)?),
        _ if !files.is_empty() || options.workdir.is_some() => Workdir::Scratch,
        // A host's own folder is the agent's.
        _ if is_here || cluster.hosts.iter().all(|host| host.workdir.is_some()) => Workdir::Inherited,
        _ => Workdir::Scratch,
    };
    let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Ok(CommandJob {
        name: "map".to_owned(),
        env: checks::variables(&options.env)?,
        setup: options.setup.as_ref().map(|setup| setup.as_bytes().to_vec()),
        workdir,
        timeout_ms: options.timeout.map_or(0, |span| millis(span).max(1)),
        kill_after_ms: millis(options.kill_after),
        nice: options.nice.unwrap_or(0),
        cpus: options.cpus.unwrap_or(0),
        memory_bytes: options.memory.unwrap_or(0),
        resources: options.resources.clone(),
        captures: !args.printing.no_output || args.printing.results.is_some(),
    })
}

/// Keeps titan's own stdin in a file, for every task to read.
fn keep_stdin(directory: &BatchDir) -> Result<Vec<u8>, Failure> {
    let path = directory.path().join("stdin");
    let keep = || io::copy(&mut io::stdin().lock(), &mut std::fs::File::create(&path)?);
    keep().map_err(|error| Failure::plain(exit::CANNOT_WRITE, format!("cannot keep stdin for tasks: {error}")))?;
    Ok(path.as_os_str().as_bytes().to_vec())
}

/// What leaves nothing but declared outputs may run twice.
fn rerun(job: &CommandJob, files: &Declared) -> Rerun {
    if job.workdir == Workdir::Scratch && files.has_outputs() { Rerun::Anytime } else { Rerun::Lost }
}

fn request(options: &ProcessOptions) -> Request {
    Request {
        cpus: options.cpus.unwrap_or(0),
        memory_bytes: options.memory.unwrap_or(0),
        resources: options.resources.iter().cloned().collect(),
        wanted: options.wanted.iter().flat_map(|wanted| wanted.0.clone()).collect(),
    }
}

fn rules(options: &ProcessOptions) -> Rules {
    Rules {
        halt: options.halt,
        start_delay: options.delay.unwrap_or_default(),
        max_load: options.load,
        min_free_memory_bytes: options.memfree,
        kill_after: options.kill_after,
    }
}

/// Whether a folder of results could be made there.
fn check_results(path: &Path) -> Result<(), Failure> {
    results::check(path).map_err(|problem| {
        Failure::hinted(exit::USAGE, format!("--results: {problem}"), "name a new folder, or an empty one")
    })
}
