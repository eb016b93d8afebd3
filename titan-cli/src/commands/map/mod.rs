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

use titan_manager::journal::Past;
use titan_manager::{JobSpec, Request, Rerun};
use titan_proto::command::{CommandJob, Secret, Workdir};
use titan_proto::message::Work as TaskWork;
use tokio::sync::mpsc;

use crate::args::{MapArgs, PrintingOptions, ProcessOptions};
use crate::batch::start::Start;
use crate::batch::{Batch, Context, Rules, Work};
use crate::batch_file::KnownHost;
use crate::config::cluster::{Cluster, Reach};
use crate::config::place::{Place, PlaceSource};
use crate::driver::BatchJob;
use crate::exit::{self, Failure};
use crate::files::reuse::Reuse;
use crate::output::failures::Examples;
use crate::output::joblog::JobLog;
use crate::output::printer::{Manners, Outlet};
use crate::output::results::{self, ResultsFolder};
use crate::progress::Manner;
use crate::state::dir::BatchDir;

use each_host::OnHosts;
use feed::Before;
use files::Declared;
use table::{Table, TableSource};
use template::{Asked, Source};

/// Tasks that are read ahead of those that run: enough that no slot waits, few enough that memory is bounded.
const MAX_OPEN_TASKS: usize = 10_000;
/// The same where output is printed in order: tasks that have ended wait for those before them.
const MAX_OPEN_TASKS_IN_ORDER: usize = 100_000;
/// GNU parallel's word for a folder of the task's own.
const GNU_SCRATCH: &str = "...";
/// Fed tasks that wait for the driver.
const MAX_FED: usize = 256;

/// Runs a command for each value.
pub(crate) fn run(args: &MapArgs, mut start: Start) -> Result<u8, Failure> {
    let Place { source, mut cluster, found } = crate::commands::place::resolve_start(&args.common.place, &mut start)?;
    crate::commands::place::override_schedule(&mut cluster.scheduler, &args.common.schedule)?;
    checks::check(args, start.recorded().is_none())?;
    let seed = start.recorded().map_or_else(template::seed, |recorded| recorded.seed);
    let asked = Asked::of(args, &cluster, seed, &start)?;
    let variables = match start.recorded() {
        Some(recorded) => recorded.variables.clone(),
        None => checks::variables(&args.process.env)?,
    };
    let job = command_job(args, &cluster, &asked.files, variables.clone())?;
    if !args.files.no_stage_check && job.workdir == Workdir::Scratch {
        let command = asked.template.command_words(asked.first.as_deref().unwrap_or_default());
        files::check_staged(&cluster, &asked.files, &command, asked.first.as_ref())?;
    }
    if args.printing.dry_run {
        let rerun = rerun(&job, &asked.files);
        return dry_run::dry_run(asked, &source.to_string(), &cluster, rerun);
    }
    let is_resumed = start.recorded().is_some();
    let begun = start.begin("map", args.common.state.batch_dir.as_ref(), &cluster, |specification| {
        specification.cluster = crate::commands::place::recorded(found);
        specification.variables = variables;
        specification.seed = seed;
        specification.names = asked.names.clone();
        specification.stdin = asked.stdin.clone();
    })?;
    let directory = &begun.directory;
    let in_scratch = job.workdir == Workdir::Scratch;
    let spec = JobSpec {
        closed: false,
        retries: cluster.scheduler.retries.unwrap_or(0),
        request: request(&args.process),
        rerun: rerun(&job, &asked.files),
        commits: asked.files.has_outputs(),
        ..JobSpec::new("map", TaskWork::Command(job.clone()), 0)
    };
    let Asked { template, mut files, values, total, .. } = asked;
    if args.process.stdin.as_deref() == Some(OsStr::new("-")) {
        files.set_stdin(keep_stdin(directory, is_resumed)?);
    }
    if args.process.each_host {
        leave_out_others(&mut cluster, &spec.request)?;
        let hosts = cluster.hosts.iter().map(|host| host.name.clone()).collect();
        let all = Arc::new(OnHosts { template, files, in_scratch, hosts });
        let manner = Manner::commands(Arc::clone(&all) as _);
        let batch = batch(args, &source, &cluster, &begun.directory, begun.past, begun.retries_failed, manner);
        let work = |context: &Context<'_>, past: &mut Past| each_host::work(args, context, past, &spec, &job, &all);
        return batch.run(work, || Ok(Vec::new()));
    }
    let max_open = if args.printing.keep_order { MAX_OPEN_TASKS_IN_ORDER } else { MAX_OPEN_TASKS };
    let table = Arc::new(Table::new(template, files, in_scratch, max_open));
    let manner = Manner::commands(Arc::clone(&table) as _);
    let batch = batch(args, &source, &cluster, &begun.directory, begun.past, begun.retries_failed, manner);
    let work = |context: &Context<'_>, past: &mut Past| work(args, context, past, spec, &table, values, total);
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
    past: Past,
    retries_failed: bool,
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
        batch_dir: args.common.state.batch_dir.as_deref(),
        past,
        retries_failed,
        rules: rules(&args.process),
        smaller_tasks_hint: None,
    }
}

fn outlet<'a>(args: &MapArgs, context: &Context<'a>, past: &'a Past, tags: bool) -> io::Result<Outlet<'a>> {
    let manners = Manners {
        keeps_order: args.printing.keep_order,
        tags,
        is_mute: args.printing.no_output,
        json: args.common.noise.json,
        is_live: args.printing.line_buffer,
    };
    Ok(Outlet {
        hosts: context.hosts,
        directory: context.directory,
        past,
        root: std::env::current_dir()?,
        stage: context.progress.stage(),
        manners,
        reuse: Reuse::default(),
        committed: Outlet::committed_before(past),
        examples: Examples::default(),
    })
}

fn work(
    args: &MapArgs,
    context: &Context<'_>,
    past: &mut Past,
    spec: JobSpec,
    table: &Arc<Table>,
    values: Source,
    total: Option<u64>,
) -> io::Result<Work> {
    let before = Before::of(past);
    let outlet = outlet(args, context, past, args.printing.tag)?;
    let (results, joblog) = logs(args, past, total)?;
    let printer = outlet.printer(0, Arc::clone(table) as _)?.with_logs(results, joblog);
    let Outlet { root, committed, examples, .. } = outlet;
    let (sender, fed) = mpsc::channel(MAX_FED);
    feed::start(Arc::clone(table), values, before, context.directory.journal().clone(), sender)?;
    Ok(Work {
        jobs: vec![BatchJob { spec, source: Box::new(TableSource(Arc::clone(table))) }],
        sinks: vec![Box::new(printer)],
        fed,
        root,
        committed,
        examples,
        max_result_bytes: u64::MAX,
        reuse: Reuse::default(),
        is_one: false,
    })
}

/// `--results` and `--joblog`, begun or gone on with.
fn logs(args: &MapArgs, past: &Past, total: Option<u64>) -> io::Result<(Option<ResultsFolder>, Option<JobLog>)> {
    let PrintingOptions { results, joblog, .. } = &args.printing;
    let results = results.as_deref().map(|path| match past.is_empty() {
        true => ResultsFolder::create(path, total),
        false => ResultsFolder::resume(path, total, &past.told(feed::JOB)),
    });
    let joblog = joblog.as_deref().map(|path| match past.is_empty() {
        true => JobLog::create(path),
        false => JobLog::resume(path),
    });
    Ok((results.transpose()?, joblog.transpose()?))
}

fn command_job(
    args: &MapArgs,
    cluster: &Cluster,
    files: &Declared,
    env: Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<CommandJob, Failure> {
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
        env: env.into_iter().map(|(name, value)| (name, Secret(value))).collect(),
        setup: options.setup.as_ref().map(|setup| Secret(setup.as_bytes().to_vec())),
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

/// Keeps titan's own stdin in a file, for every task to read. A batch that is gone on with has it already.
fn keep_stdin(directory: &BatchDir, is_resumed: bool) -> Result<Vec<u8>, Failure> {
    let path = directory.path().join("stdin");
    let keep = || {
        let mut file = crate::state::make_file(&path)?;
        io::copy(&mut io::stdin().lock(), &mut file)?;
        file.sync_all()
    };
    let kept = if is_resumed && path.exists() { Ok(()) } else { keep() };
    kept.map_err(|error| Failure::plain(exit::CANNOT_WRITE, format!("cannot keep stdin for tasks: {error}")))?;
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
