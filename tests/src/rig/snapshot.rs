//! What there is on the laptop and the hosts, before and after: the proof that nothing is left.

use super::processes::Process;
use super::wait::holds_within;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What one machine of a rig has.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Its processes, without the rig's own.
    pub processes: Vec<Process>,
    /// Everything in the folders in which something could be left.
    pub files: BTreeSet<PathBuf>,
    /// The addresses on which something listens, as the kernel writes them.
    pub listeners: BTreeSet<String>,
}

/// What a snapshot can be taken of: a [`Rig`](super::Rig) or a [`LoopbackSshd`](super::LoopbackSshd).
pub trait Observable {
    /// What each machine that runs has now, by its name.
    fn inventories(&self) -> BTreeMap<String, Inventory>;
}

/// The processes, files and listening sockets of all machines that are switched on.
#[derive(Clone, Debug)]
pub struct Snapshot {
    machines: BTreeMap<String, Inventory>,
}

impl Snapshot {
    /// Looks at everything now.
    pub fn take(rig: &impl Observable) -> Self {
        Self { machines: rig.inventories() }
    }

    /// Waits until the rig is as it was: no new process, file or listening socket, and no file gone, except paths that
    /// `allowed` takes. (Paths on the laptop are inside its folders; on hosts they are as the host sees them.) Hosts that
    /// are now switched off, or were then, aren't compared.
    ///
    /// # Panics
    /// With a list of the differences, when `deadline` is over.
    #[track_caller]
    pub fn assert_nothing_left(&self, rig: &impl Observable, deadline: Duration, allowed: impl Fn(&Path) -> bool) {
        let mut differences = String::new();
        let same = holds_within(deadline, || {
            differences = self.differences(&Self::take(rig), &allowed);
            differences.is_empty()
        });
        assert!(same, "not as it was, after {deadline:?}:\n{differences}");
    }

    /// The differences between this and a later look, one line each; empty when there are none.
    pub fn differences(&self, later: &Self, allowed: impl Fn(&Path) -> bool) -> String {
        let mut text = String::new();
        for (machine, now) in &later.machines {
            if let Some(before) = self.machines.get(machine) {
                before.write_differences(machine, now, &allowed, &mut text);
            }
        }
        text
    }
}

impl Inventory {
    fn write_differences(&self, machine: &str, now: &Self, allowed: &impl Fn(&Path) -> bool, text: &mut String) {
        for process in now.processes.iter().filter(|process| !self.processes.contains(process)) {
            let _ = writeln!(text, "  {machine}: process {}: {}", process.pid, process.line());
        }
        for listener in now.listeners.difference(&self.listeners) {
            let _ = writeln!(text, "  {machine}: listens on {listener}");
        }
        for path in now.files.difference(&self.files).filter(|path| !allowed(path)) {
            let _ = writeln!(text, "  {machine}: new file {}", path.display());
        }
        for path in self.files.difference(&now.files).filter(|path| !allowed(path)) {
            let _ = writeln!(text, "  {machine}: lost file {}", path.display());
        }
    }
}
