//! Reading processes and listening sockets from a /proc.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A running process, by the pid that its own host knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its pid: inside the host's pid namespace, or the machine's for one of the laptop's.
    pub pid: u32,
    /// Its arguments, the program's name first.
    pub args: Vec<String>,
}

impl Process {
    /// The arguments with spaces between them.
    pub fn line(&self) -> String {
        self.args.join(" ")
    }
}

/// All processes that a procfs shows and `wanted` takes, given each one's folder there. A zombie doesn't run.
pub(super) fn read(proc: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<Process> {
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut processes: Vec<Process> = pids.filter_map(|pid| read_one(proc, pid, &wanted)).collect();
    processes.sort();
    processes
}

fn read_one(proc: &Path, pid: u32, wanted: &impl Fn(&Path) -> bool) -> Option<Process> {
    let dir = proc.join(pid.to_string());
    if !wanted(&dir) || stat_fields(&dir)?.starts_with('Z') {
        return None;
    }
    let bytes = fs::read(dir.join("cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut args: Vec<String> = text.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
    if bytes.is_empty() {
        args = vec![fs::read_to_string(dir.join("comm")).ok()?.trim_end().to_owned()];
    }
    Some(Process { pid, args })
}

/// All descendants of a process, by the machine's /proc.
pub(super) fn descendants_of(ancestor: u32) -> Vec<Process> {
    let mut found = children_of(ancestor);
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(children_of(process.pid));
        next += 1;
    }
    found
}

/// The children of a process, by the machine's /proc.
pub(super) fn children_of(parent: u32) -> Vec<Process> {
    let is_child = |dir: &Path| {
        let fields = stat_fields(dir).unwrap_or_default();
        fields.split(' ').nth(1).and_then(|field| field.parse().ok()) == Some(parent)
    };
    read(Path::new("/proc"), is_child)
}

/// Signals one of the machine's processes; one that has ended meanwhile isn't an error.
pub(super) fn signal(process: &Process, signal: Signal) {
    if let Some(pid) = Pid::from_raw(process.pid as i32) {
        let _ = kill_process(pid, signal);
    }
}

/// What follows the program's name in a process's `stat`: its state, its parent's pid, ...
fn stat_fields(dir: &Path) -> Option<String> {
    let stat = fs::read_to_string(dir.join("stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.to_owned())
}

/// The sockets that take what comes from outside, in the network of the process whose /proc folder is `dir`: TCP
/// listeners and unconnected UDP, each as the kernel writes its address: `tcp 0101D50A:0016`.
pub(super) fn read_listeners(dir: &Path) -> BTreeSet<String> {
    // The kernel's numbers for a listening TCP socket, and for a UDP socket without a peer.
    let tables = [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")];
    tables.into_iter().flat_map(|(table, state)| read_sockets(dir, table, state)).collect()
}

fn read_sockets(dir: &Path, table: &str, wanted_state: &str) -> Vec<String> {
    let text = fs::read_to_string(dir.join("net").join(table)).unwrap_or_default();
    let row = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next()?, fields.nth(1)?);
        (state == wanted_state).then(|| format!("{table} {local}"))
    };
    text.lines().skip(1).filter_map(row).collect()
}
