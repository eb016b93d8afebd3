//! The most memory that a process has had. Not what `wait4` tells: that begins with what its parent had when it was spawned.

use std::fs;
use std::process::Child;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What it takes last is missed for so long at most.
const LOOK_SPAN: Duration = Duration::from_millis(10);

/// Looks at a process until that has ended.
pub(super) struct Memory {
    thread: JoinHandle<u64>,
}

impl Memory {
    /// Begins with a process that hasn't been waited for.
    pub(super) fn watch(child: &Child) -> Self {
        let file = format!("/proc/{}/status", child.id());
        let look = move || {
            let mut peak = 0;
            // An ended process has no memory, even before it is waited for.
            while let Some(bytes) = fs::read_to_string(&file).ok().and_then(|status| peak_in(&status)) {
                peak = bytes;
                thread::sleep(LOOK_SPAN);
            }
            peak
        };
        Self { thread: thread::spawn(look) }
    }

    /// Its most, once it has ended, in bytes.
    pub(super) fn peak_bytes(self) -> u64 {
        self.thread.join().expect("it only reads")
    }
}

/// The high-water mark of a `/proc/PID/status`, in bytes.
pub(super) fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_counts() {
        assert_eq!(peak_in("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 4 kB\n"), Some(2 << 20));
        assert_eq!(peak_in("Name:\tx\nState:\tZ (zombie)\n"), None);
    }
}
