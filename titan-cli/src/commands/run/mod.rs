//! `titan run KERNEL`: checks what can be checked here, then drives the batch and puts the outputs in their places.

mod checks;
mod dry_run;
mod space;

use std::path::PathBuf;

use titan_manager::JobSpec;
use titan_proto::id::JobId;
use titan_proto::message::Work as TaskWork;
use tokio::sync::mpsc;

use super::place;
use crate::args::RunArgs;
use crate::batch::start::Start;
use crate::batch::{Batch, Rules, Work};
use crate::config::place::Place;
use crate::driver::outputs::Outputs;
use crate::driver::sink::KernelSink;
use crate::driver::{BatchJob, KernelTasks};
use crate::exit::{self, Failure};
use crate::files::Committed;
use crate::files::reuse::Reuse;
use crate::output::failures::Examples;
use crate::progress::Manner;

/// Further tries of a kernel's task where nothing else was said.
pub(crate) const KERNEL_RETRIES: u32 = 2;

/// Runs a kernel.
pub(crate) fn run(args: &RunArgs, mut start: Start) -> Result<u8, Failure> {
    let kernel = args.kernel.known()?;
    let Place { source, mut cluster, found } = place::resolve_start(&args.common.place, &mut start)?;
    place::override_schedule(&mut cluster.scheduler, &args.common.schedule)?;
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
        specification.cluster = place::recorded(found);
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
