//! `titan run KERNEL`: checks what can be checked here, then drives the batch and puts the outputs in their places.

mod checks;
mod dry_run;
mod space;

pub(crate) use dry_run::show_slots;

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use titan_manager::JobSpec;
use titan_proto::id::JobId;
use titan_proto::message::Work as TaskWork;
use tokio::sync::mpsc;

use crate::args::{RunArgs, ScheduleOptions};
use crate::batch::reuse::Reuse;
use crate::batch::start::Start;
use crate::batch::{Batch, Rules, Work};
use crate::config::cluster::Scheduler;
use crate::config::place::{Origin, Place};
use crate::driver::outputs::Outputs;
use crate::driver::sink::KernelSink;
use crate::driver::{BatchJob, KernelTasks};
use crate::exit::{self, Failure};
use crate::files::Committed;
use crate::output::failures::Examples;
use crate::progress::Manner;

/// Further tries of a kernel's task where nothing else was said.
pub(crate) const KERNEL_RETRIES: u32 = 2;

/// Runs a kernel.
pub(crate) fn run(args: &RunArgs, mut start: Start) -> Result<u8, Failure> {
    let kernel = args.kernel.known()?;
    let Place { source, mut cluster, found } = super::resolve_start(&args.common.place, &mut start)?;
    override_schedule(&mut cluster.scheduler, &args.common.schedule)?;
    let targets = checks::targets(kernel);
    checks::stdout(&targets, args)?;
    checks::folders(&targets)?;
    // What the work was divided for when it began stays, whatever the hosts are.
    let slots = start.recorded().map_or_else(|| checks::guessed_slots(&cluster), |recorded| recorded.slots);
    let plan = checks::plan(kernel, &targets, slots)?;
    if args.dry_run && args.common.noise.json {
        let hint = "leave out --json: a dry run prints one line a task";
        return Err(Failure::hinted(exit::USAGE, "a dry run has no JSON", hint));
    }
    if args.dry_run {
        return dry_run::dry_run(&*plan, &source.to_string(), &cluster);
    }
    checks::targets_writable(&targets)?;
    checks::local_memory(&*plan, &cluster)?;
    let name = kernel.kernel.name();
    let begun = start.begin(name, args.common.state.batch_dir.as_ref(), &cluster, |specification| {
        specification.cluster = recorded(found);
        specification.slots = slots;
    })?;
    let directory = &begun.directory;
    space::check(&*plan, directory.path(), &targets)?;
    let outputs = Outputs::new(targets, directory.id().to_string(), directory.temporaries());
    let work = TaskWork::Kernel { name: name.to_owned(), params: plan.params(), timeout_ms: 0 };
    let spec = JobSpec {
        retries: cluster.scheduler.retries.unwrap_or(KERNEL_RETRIES),
        slot_memory_bytes: plan.task_memory_bytes(),
        ..JobSpec::new(name, work, plan.tasks())
    };
    let batch = Batch {
        name,
        noise: &args.common.noise,
        manner: Manner::kernel(),
        source: Some(source.to_string()),
        cluster: &cluster,
        directory,
        batch_dir: args.common.state.batch_dir.as_deref(),
        past: begun.past,
        retries_failed: begun.retries_failed,
        rules: Rules::default(),
        smaller_tasks_hint: Some(plan.smaller_tasks_hint().to_owned()),
    };
    let work = || {
        let sink = plan.sink(Box::new(outputs.clone()))?;
        let sink = KernelSink { sink: Some(sink), results: directory.spool().reader(JobId(0)) };
        let (_, fed) = mpsc::channel(1);
        Ok(Work {
            jobs: vec![BatchJob { spec, source: Box::new(KernelTasks) }],
            sinks: vec![Box::new(sink)],
            fed,
            root: PathBuf::new(),
            committed: Committed::default(),
            examples: Examples::default(),
            max_result_bytes: (0..plan.tasks()).map(|task| plan.result_bytes(task)).max().unwrap_or(0),
            reuse: Reuse::default(),
            is_one: true,
        })
    };
    batch.run(|_, _| work(), || outputs.commit())
}

/// A cluster file that was found, as it is kept for whoever goes on with the batch.
pub(crate) fn recorded(found: Option<(PathBuf, Origin)>) -> Option<(Vec<u8>, Origin)> {
    found.map(|(path, origin)| (path.into_os_string().into_vec(), origin))
}

pub(crate) fn override_schedule(scheduler: &mut Scheduler, options: &ScheduleOptions) -> Result<(), Failure> {
    scheduler.policy = options.policy.unwrap_or(scheduler.policy);
    scheduler.heartbeat = options.heartbeat.unwrap_or(scheduler.heartbeat);
    scheduler.unhealthy_after = options.unhealthy_after.unwrap_or(scheduler.unhealthy_after);
    scheduler.lease = options.lease.unwrap_or(scheduler.lease);
    scheduler.wait_for_hosts = options.wait_for_hosts.or(scheduler.wait_for_hosts);
    scheduler.quarantine = options.quarantine.unwrap_or(scheduler.quarantine);
    scheduler.retries = options.retries.or(scheduler.retries);
    scheduler.speculates = options.speculate.unwrap_or(scheduler.speculates);
    scheduler.check().map_err(|error| Failure::hinted(exit::USAGE, &error, error.remedy()))
}
