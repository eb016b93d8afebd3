//! Memory that the kernel itself bounds: a cgroup (version 2) for each task that asked for memory, where this user may make
//! them. That is so in a cgroup that was delegated and holds the agent alone; the user's systemd makes one when it is asked.
//! Names begin with titan's and the agent's own, so that the watcher can clean up after an agent that was killed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, getpid, getppid, getuid};
use titan_proto::id::AttemptId;

use super::tree;

/// How long systemd may take to make a scope and to move the agent there.
const SCOPE_SPAN: Duration = Duration::from_secs(5);
/// Between two looks whether it has, or whether the processes of a cgroup are gone.
const LOOK_SPAN: Duration = Duration::from_millis(10);
/// How long processes that were killed may take to leave.
const LEAVE_SPAN: Duration = Duration::from_secs(2);

/// A cgroup that is divided among tasks.
#[derive(Debug)]
pub(super) struct Cgroups {
    base: PathBuf,
    word: String,
}

impl Cgroups {
    /// Finds one, or has one made, and takes the agent out of the way; None where this user may not bound memory.
    pub(super) fn find(word: &str) -> Option<Self> {
        let root = mount()?;
        if !has_memory(&root.join("cgroup.controllers")) {
            return None;
        }
        let here = |base| Self { base, word: word.to_owned() };
        let divided = |base: PathBuf| Some(here(base)).filter(|cgroups| cgroups.divide().is_ok());
        divided(own(&root)?).or_else(|| {
            ask_for_scope(word)?;
            divided(own(&root)?)
        })
    }

    /// Hands the memory controller on to what is below. Processes may only be in the leaves: the agent goes to one.
    fn divide(&self) -> io::Result<()> {
        let leaf = self.named("agent");
        fs::create_dir(&leaf)?;
        let handed_on = self.move_to(&leaf).and_then(|()| fs::write(self.control(), "+memory"));
        if handed_on.is_err() {
            let _ = leave(&self.base, &leaf);
        }
        handed_on
    }

    fn move_to(&self, leaf: &Path) -> io::Result<()> {
        // The root of all may hold processes beside its children.
        if !self.base.join("cgroup.type").exists() {
            return Ok(());
        }
        let watcher = getppid().ok_or(io::ErrorKind::NotFound)?;
        let is_ours = |pid: &Pid| *pid == watcher || *pid == getpid() || tree::descendants().contains(pid);
        let inside = tree::pids_in(&self.base.join("cgroup.procs"));
        if !inside.iter().all(is_ours) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        inside.into_iter().try_for_each(|pid| enter(leaf, pid))
    }

    /// A cgroup for an attempt that has so much.
    pub(super) fn make(&self, attempt: AttemptId, memory_bytes: u64) -> io::Result<TaskCgroup> {
        let made = TaskCgroup { folder: self.named(&attempt.to_string()) };
        fs::create_dir(&made.folder)?;
        fs::write(made.folder.join("memory.max"), memory_bytes.to_string())?;
        // Memory that was asked for is not to be had on a disk; and all of a task goes, not the largest of it. Older kernels
        // and those without swap lack these.
        for (name, value) in [("memory.swap.max", "0"), ("memory.oom.group", "1")] {
            let _ = fs::write(made.folder.join(name), value);
        }
        Ok(made)
    }

    fn named(&self, rest: &str) -> PathBuf {
        self.base.join(format!("{}{rest}", prefix(&self.word)))
    }

    fn control(&self) -> PathBuf {
        self.base.join("cgroup.subtree_control")
    }
}

/// One task's.
#[derive(Debug)]
pub(super) struct TaskCgroup {
    folder: PathBuf,
}

impl TaskCgroup {
    /// Its `cgroup.procs`, open for writing: a process that writes `0` there belongs to it, and so does all that it starts.
    pub(super) fn procs(&self) -> io::Result<File> {
        File::options().write(true).open(self.folder.join("cgroup.procs"))
    }

    /// Whether the kernel has ended the task because it wanted more.
    pub(super) fn was_too_large(&self) -> bool {
        let events = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        events.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|times| times != "0"))
    }

    /// Ends all that is in it, at once.
    pub(super) fn kill(&self) {
        kill(&self.folder);
    }
}

impl Drop for TaskCgroup {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// After the agent's end, for its watcher: removes what the agent has made.
pub(super) fn clean_up(word: &str) {
    let Some(here) = mount().and_then(|root| own(&root)) else { return };
    let prefix = prefix(word);
    let is_named = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    let base = if is_named(&here) { here.parent().unwrap_or(&here) } else { &here };
    let made: Vec<PathBuf> = fs::read_dir(base)
        .map(|entries| entries.flatten().map(|entry| entry.path()).filter(|path| is_named(path)).collect())
        .unwrap_or_default();
    for folder in made.iter().filter(|folder| **folder != here) {
        remove(folder);
    }
    if base != here {
        let _ = leave(base, &here);
    }
}

/// Goes back to where it came from, which can hold processes again then.
fn leave(base: &Path, leaf: &Path) -> io::Result<()> {
    let _ = fs::write(base.join("cgroup.subtree_control"), "-memory");
    tree::pids_in(&leaf.join("cgroup.procs")).into_iter().try_for_each(|pid| enter(base, pid))?;
    fs::remove_dir(leaf)
}

fn enter(folder: &Path, pid: Pid) -> io::Result<()> {
    fs::write(folder.join("cgroup.procs"), pid.to_string())
}

fn kill(folder: &Path) {
    let _ = fs::write(folder.join("cgroup.kill"), "1");
}

fn remove(folder: &Path) {
    let until = Instant::now() + LEAVE_SPAN;
    while fs::remove_dir(folder).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
        && Instant::now() < until
    {
        kill(folder);
        thread::sleep(LOOK_SPAN);
    }
}

fn prefix(word: &str) -> String {
    format!("titan-{word}.")
}

/// Where version 2 is mounted.
fn mount() -> Option<PathBuf> {
    find_mount(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// The fifth field of a line is where it is mounted, and after a `-` comes what it is.
fn find_mount(mounts: &str) -> Option<PathBuf> {
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// This process's.
fn own(root: &Path) -> Option<PathBuf> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = membership.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(root.join(path)).filter(|folder| folder.is_dir())
}

fn has_memory(list: &Path) -> bool {
    fs::read_to_string(list).is_ok_and(|names| names.split_ascii_whitespace().any(|name| name == "memory"))
}

/// Asks systemd for a scope of the agent's own, with its watcher; returns when both are there.
fn ask_for_scope(word: &str) -> Option<()> {
    let watcher = getppid()?;
    let unit = format!("titan-{word}.scope");
    // The system's own does that for root alone.
    let managers = if getuid().is_root() { &["--user", "--system"][..] } else { &["--user"] };
    let manager = managers.iter().find(|manager| start_scope(manager, &unit, watcher))?;
    let until = Instant::now() + SCOPE_SPAN;
    // Until then systemd moves them, and would move them again.
    while !says_yes(Command::new("systemctl").args([manager, "--quiet", "is-active", &unit])) {
        if Instant::now() > until {
            return None;
        }
        thread::sleep(LOOK_SPAN);
    }
    Some(())
}

fn start_scope(manager: &str, unit: &str, watcher: Pid) -> bool {
    let call = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
    let mut busctl = Command::new("busctl");
    busctl
        .args([manager, "--quiet", "--timeout=5", "call"])
        .args(call)
        .args(["StartTransientUnit", "ssa(sv)a(sa(sv))"]);
    busctl.args([unit, "fail", "3", "PIDs", "au", "2"]).args([watcher, getpid()].map(|pid| pid.to_string()));
    busctl.args(["Delegate", "b", "1", "CollectMode", "s", "inactive-or-failed", "0"]);
    says_yes(&mut busctl)
}

fn says_yes(asked: &mut Command) -> bool {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        asked.env("XDG_RUNTIME_DIR", format!("/run/user/{}", getuid().as_raw()));
    }
    let status = asked.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_is_found_alone_and_beside_version_1() {
        let alone = "25 30 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(find_mount(alone), Some("/sys/fs/cgroup".into()));
        let beside = "33 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      42 24 0:36 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n";
        assert_eq!(find_mount(beside), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(find_mount("33 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"), None);
    }

    #[test]
    fn a_verdict_is_read_from_the_counters() {
        let folder = tempfile::tempdir().unwrap();
        let cgroup = TaskCgroup { folder: folder.path().join("task") };
        assert!(!cgroup.was_too_large());
        fs::create_dir(&cgroup.folder).unwrap();
        let say = |text: &str| fs::write(cgroup.folder.join("memory.events"), text).unwrap();
        say("low 0\nhigh 0\nmax 12\noom 0\noom_kill 0\noom_group_kill 0\n");
        assert!(!cgroup.was_too_large());
        say("low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 1\n");
        assert!(cgroup.was_too_large());
        fs::remove_dir_all(&cgroup.folder).unwrap();
    }
}
