//! What a task asked for beside a slot: cores that it is kept on, counted resources, memory, niceness; and what every task
//! gets so that the agent outlives it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use titan_proto::command::CommandJob;

use super::Attempt;
use super::cgroup::{Cgroups, TaskCgroup};
use super::environment::Environment;
use super::exhaustion::Exhaustion;

/// How much sooner than the agent a task is to be taken when memory ends: by half of the machine's memory.
const OOM_SCORE_ABOVE: i32 = 500;
/// The kernel's largest.
const MOST_OOM_SCORE: i32 = 1_000;

/// Which cores and which pieces of each resource are given out.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    taken: Mutex<Taken>,
    /// Looked for by the first task that asks for memory.
    cgroups: OnceLock<Option<Cgroups>>,
    exhaustion: Exhaustion,
}

#[derive(Debug, Default)]
struct Taken {
    cores: BTreeSet<usize>,
    resources: BTreeMap<String, BTreeSet<u32>>,
}

/// What one attempt has of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    cores: Vec<usize>,
    resources: Vec<(String, Vec<u32>)>,
}

impl Shares {
    /// Takes what a task of that job asks for: the lowest numbers that are free. The manager has counted them.
    pub(super) fn take(self: &Arc<Self>, job: &CommandJob) -> Share {
        let mut taken = self.lock();
        let cores = free_cores(&taken.cores, job.cpus as usize);
        taken.cores.extend(&cores);
        let mut resources = Vec::new();
        for (name, count) in &job.resources {
            let used = taken.resources.entry(name.clone()).or_default();
            let numbers: Vec<u32> = (0..).filter(|number| !used.contains(number)).take(*count as usize).collect();
            used.extend(&numbers);
            resources.push((name.clone(), numbers));
        }
        drop(taken);
        Share { shares: Arc::clone(self), cores, resources }
    }

    /// A cgroup that bounds the attempt's memory, if it asked for that and the host lets us make one.
    pub(super) fn bound_memory(&self, attempt: &Attempt) -> Option<TaskCgroup> {
        let most = attempt.job.spec.memory_bytes;
        let cgroups = (most > 0).then(|| self.cgroups.get_or_init(|| Cgroups::find(attempt.scratch.word())))?;
        cgroups.as_ref()?.make(attempt.id, most).ok()
    }

    /// Whether the kernel has just ended something because the machine had no memory left.
    pub(super) fn was_memory_exhausted(&self) -> bool {
        self.exhaustion.was_just_now()
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cores that this process may use and that nobody has; fewer if there aren't as many.
fn free_cores(taken: &BTreeSet<usize>, count: usize) -> Vec<usize> {
    if count == 0 {
        return Vec::new();
    }
    let Ok(usable) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|core| usable.is_set(*core) && !taken.contains(core)).take(count).collect()
}

/// Whether a job's attempts leave something set for their threads.
pub(super) fn marks_thread(job: &CommandJob) -> bool {
    job.cpus > 0 || job.nice != 0
}

impl Share {
    /// Tells the task what it has.
    pub(super) fn tell(&self, environment: &mut Environment) {
        if !self.cores.is_empty() && environment.get("OMP_NUM_THREADS").is_none() {
            environment.set("OMP_NUM_THREADS", self.cores.len().to_string());
        }
        for (name, numbers) in &self.resources {
            let list = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
            if name == "gpu" {
                environment.set("CUDA_VISIBLE_DEVICES", &list);
            }
            let name: String = name.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            environment.set(format!("TITAN_RESOURCE_{name}"), list);
        }
    }

    /// Sets it for this thread and for what it starts.
    pub(super) fn apply(&self, nice: i32) {
        if !self.cores.is_empty() {
            let mut set = CpuSet::new();
            self.cores.iter().for_each(|core| set.set(*core));
            // A core that went offline meanwhile is no reason to fail a task.
            let _ = sched_setaffinity(None, &set);
        }
        if nice != 0 {
            // Less than it is needs a privilege: then it stays as it is.
            let _ = rustix::process::nice(nice);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.lock();
        for core in &self.cores {
            taken.cores.remove(core);
        }
        for (name, numbers) in &self.resources {
            if let Some(used) = taken.resources.get_mut(name) {
                used.retain(|number| !numbers.contains(number));
            }
        }
    }
}

/// What a task's `oom_score_adj` is to be: when the machine's memory ends, the kernel is to take it, and what it starts, before
/// the agent. A process can be made easier to take without a privilege.
pub(super) fn oom_score() -> &'static CStr {
    static SCORE: OnceLock<CString> = OnceLock::new();
    SCORE.get_or_init(|| {
        let own = fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|own| own.trim().parse().ok());
        let score = own.unwrap_or(0) + OOM_SCORE_ABOVE;
        CString::new(score.min(MOST_OOM_SCORE).to_string()).expect("a number has no NUL")
    })
}

/// `3.1 GiB`.
pub(super) fn human_bytes(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return format!("{bytes} B");
    };
    let tenths = (u128::from(bytes) * 10 + u128::from(unit) / 2) / u128::from(unit);
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        tenth => format!("{}.{tenth} {name}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(human_bytes(3 << 30), "3 GiB");
        assert_eq!(human_bytes((31 << 30) / 10), "3.1 GiB");
        assert_eq!(human_bytes(1_000), "1000 B");
    }

    #[test]
    fn resources_are_given_out_once_and_come_back() {
        let shares = Arc::new(Shares::default());
        let job = CommandJob { resources: vec![("gpu".to_owned(), 2)], ..job() };
        let first = shares.take(&job);
        let second = shares.take(&job);
        assert_eq!((&first.resources[0].1, &second.resources[0].1), (&vec![0, 1], &vec![2, 3]));
        drop(first);
        assert_eq!(shares.take(&job).resources[0].1, [0, 1]);
        let mut environment = Environment::default();
        second.tell(&mut environment);
        assert_eq!(environment.get("CUDA_VISIBLE_DEVICES"), Some(OsStr::new("2,3")));
        assert_eq!(environment.get("TITAN_RESOURCE_GPU"), Some(OsStr::new("2,3")));
    }

    fn job() -> CommandJob {
        CommandJob {
            name: String::new(),
            env: Vec::new(),
            setup: None,
            workdir: titan_proto::command::Workdir::Inherited,
            timeout_ms: 0,
            kill_after_ms: 0,
            nice: 0,
            cpus: 0,
            memory_bytes: 0,
            resources: Vec::new(),
            captures: true,
        }
    }
}
