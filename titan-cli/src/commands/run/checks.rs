//! What can be checked before any host is contacted: options, outputs, memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use kernels::{OutputKind, Plan, Request};
use titan_proto::codec::MAX_MESSAGE_BYTES;

use crate::args::RunArgs;
use crate::commands::kernel_command::KernelCommand;
use crate::config::cluster::{Cluster, Host, Reach};
use crate::config::units::human_size;
use crate::driver::outputs::{self, Target};
use crate::exit::{self, Failure};

/// What a host is taken to have, for splitting, before its agent has said it.
const GUESSED_CORES: u32 = 8;

/// What a picture may be named after that isn't what titan writes.
const OTHER_PICTURES: [&str; 8] = ["jpg", "jpeg", "gif", "bmp", "webp", "tif", "tiff", "svg"];

/// Where each wanted output goes.
pub(super) fn targets(kernel: &KernelCommand) -> BTreeMap<String, Target> {
    let kind = |name: &str| kernel.kernel.outputs().iter().find(|spec| spec.name == name).map(|spec| spec.kind);
    let target = |(name, value): (&String, &String)| {
        let target = match kind(name) {
            Some(OutputKind::File) if value == "-" => Target::Stdout,
            Some(OutputKind::Folder) => Target::Folder(PathBuf::from(value)),
            _ => Target::File(PathBuf::from(value)),
        };
        (name.clone(), target)
    };
    kernel.outputs.iter().map(target).collect()
}

/// Whether an output may go to stdout.
pub(super) fn stdout(targets: &BTreeMap<String, Target>, args: &RunArgs) -> Result<(), Failure> {
    let to_stdout = targets.values().filter(|target| **target == Target::Stdout).count();
    if to_stdout == 0 || args.dry_run {
        return Ok(());
    }
    if to_stdout > 1 {
        return Err(Failure::plain(exit::USAGE, "only one output can go to stdout"));
    }
    if args.common.noise.json {
        return Err(Failure::hinted(exit::USAGE, "with --json stdout holds only JSON", "name a file instead of -"));
    }
    if io::stdout().is_terminal() {
        return Err(Failure::hinted(exit::USAGE, "stdout is a terminal", "name a file instead of -, or pipe it on"));
    }
    Ok(())
}

/// The kernel's plan.
pub(super) fn plan(
    kernel: &KernelCommand,
    targets: &BTreeMap<String, Target>,
    slots: u32,
) -> Result<Box<dyn Plan>, Failure> {
    let outputs: BTreeSet<String> = targets.keys().cloned().collect();
    let request = Request { options: kernel.options.clone(), outputs, slots };
    let plan = kernel.kernel.plan(&request).map_err(|error| match &error.hint {
        Some(hint) => Failure::hinted(exit::USAGE, &error, hint),
        None => Failure::plain(exit::USAGE, &error),
    })?;
    let bytes = plan.params().len();
    if bytes > MAX_MESSAGE_BYTES / 2 {
        return Err(Failure::plain(
            exit::USAGE,
            format!("the parameters take {bytes} bytes, which is too many to send"),
        ));
    }
    Ok(plan)
}

/// The slots that work is divided for.
pub(super) fn guessed_slots(cluster: &Cluster) -> u32 {
    let slots = |host: &Host| match host.reach {
        Reach::Local => host.slots.resolve(titan_agent::machine::cores()),
        _ => host.slots.resolve(GUESSED_CORES),
    };
    cluster.hosts.iter().map(slots).fold(0, u32::saturating_add)
}

/// A folder of files is no stream of bytes, and one called - is hardly meant.
pub(super) fn folders(targets: &BTreeMap<String, Target>) -> Result<(), Failure> {
    let is_dash = |target: &Target| matches!(target, Target::Folder(path) if path.as_os_str() == "-");
    match targets.iter().find(|(_, target)| is_dash(target)) {
        Some((name, _)) => {
            let problem = format!("--{name}: a folder can't go to stdout");
            Err(Failure::hinted(exit::USAGE, problem, "name a folder instead of -; ./- is one"))
        }
        None => Ok(()),
    }
}

/// Whether every output could be written.
pub(super) fn targets_writable(targets: &BTreeMap<String, Target>) -> Result<(), Failure> {
    let mut places: BTreeMap<PathBuf, &str> = BTreeMap::new();
    for (name, target) in targets {
        let Some(path) = target.path() else { continue };
        if let Some(other) = places.insert(outputs::place_of(path), name) {
            let problem = format!("--{other} and --{name} both go to {}", path.display());
            return Err(Failure::hinted(exit::USAGE, problem, "give each a name of its own"));
        }
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        if extension.is_some_and(|extension| OTHER_PICTURES.contains(&extension.as_str())) {
            let problem = format!("--{name} {}: pictures are written as PNG", path.display());
            let hint = format!("name it {}", path.with_extension("png").display());
            return Err(Failure::hinted(exit::USAGE, problem, hint));
        }
        outputs::check(target).map_err(|reason| Failure::plain(exit::USAGE, format!("--{name}: {reason}")))?;
    }
    Ok(())
}

/// What this machine's agents have can be known before any of them runs.
pub(super) fn local_memory(plan: &dyn Plan, cluster: &Cluster) -> Result<(), Failure> {
    let (needed, share) = (plan.task_memory_bytes(), cluster.local_share_bytes());
    let fits = |host: &Host| match host.reach {
        Reach::Local => {
            let slots = u64::from(host.slots.resolve(titan_agent::machine::cores()));
            host.memory.unwrap_or(u64::MAX).min(share) / slots >= needed
        }
        _ => true,
    };
    if cluster.hosts.iter().any(fits) {
        return Ok(());
    }
    let problem = format!("a task needs {} of memory, more than any slot here has", human_size(needed));
    Err(Failure::hinted(exit::USAGE, problem, plan.smaller_tasks_hint()))
}
