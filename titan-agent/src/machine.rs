//! What this machine can do: its cores, its memory, its target.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What a build of this program is for: `x86_64-linux`.
pub fn target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// Cores that this process may use: its affinity and its cgroup's quota are honoured.
pub fn cores() -> u32 {
    thread::available_parallelism().map_or(1, |cores| cores.get() as u32)
}

/// Memory that this process may use, in bytes: the machine's, or its cgroup's limit if that is less.
pub fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    let total = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
    cgroup_limit_bytes().map_or(total, |limit| limit.min(total))
}

/// The smallest `memory.max` from this process's cgroup (version 2) up to the root.
fn cgroup_limit_bytes() -> Option<u64> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = membership.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    root.join(path)
        .ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(|folder| fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse().ok())
        .min()
}

/// The load average over one minute × 100, and memory that new processes could have, in bytes.
pub fn load() -> (u32, u64) {
    let average = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let average: f64 = average.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0);
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free_kib =
        info.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse().ok());
    ((average * 100.0) as u32, free_kib.map_or(u64::MAX, |kib: u64| kib << 10))
}

/// Time since the machine was started, what it slept included.
pub fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

/// What this boot of the machine is called; empty: nobody knows.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_machine_has_cores_and_memory() {
        assert!(super::cores() >= 1);
        assert!(super::memory_bytes() > 1 << 20);
    }
}
