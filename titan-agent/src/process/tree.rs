//! Who belongs to a task, and how all of it is ended: its process group, its descendants, and what made a session of its own
//! and was re-parented to us, found by titan's values in its environment. The agent is a subreaper for that.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, test_kill_process_group, waitpid,
};

use super::cgroup::TaskCgroup;

/// Looks for what is left of a task come this often.
const LOOK_SPAN: Duration = Duration::from_millis(10);
/// Looks for processes that were born while others were ended: each look finds the children of the last.
const MAX_LOOKS: u32 = 1_000;

/// A task's processes.
#[derive(Debug)]
pub(super) struct Tree {
    root: Pid,
    marks: Vec<Vec<u8>>,
    cgroup: Option<TaskCgroup>,
}

impl Tree {
    /// The tree of a process that leads a group.
    pub(super) fn new(root: Pid, marks: Vec<Vec<u8>>, cgroup: Option<TaskCgroup>) -> Self {
        Self { root, marks, cgroup }
    }

    /// Asks all of it to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
        // Stopped ones can't end before they go on.
        self.signal(Signal::CONT);
    }

    /// Ends all of it.
    pub(super) fn kill(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        self.signal(Signal::KILL);
    }

    /// After the root's exit: ends what is left, with SIGTERM first.
    pub(super) fn end_rest(&self, kill_after: Duration) {
        if self.is_gone() {
            return;
        }
        self.terminate();
        let kill_at = Instant::now() + kill_after;
        while !self.is_gone() && Instant::now() < kill_at {
            std::thread::sleep(LOOK_SPAN);
        }
        for _ in 0..MAX_LOOKS {
            if self.is_gone() {
                return;
            }
            self.kill();
            std::thread::sleep(LOOK_SPAN);
        }
    }

    /// Its memory as the kernel bounds it, if it does.
    pub(super) fn cgroup(&self) -> Option<&TaskCgroup> {
        self.cgroup.as_ref()
    }

    /// Resident memory of all of it, in bytes. What is shared counts for each.
    pub(super) fn resident_bytes(&self) -> u64 {
        let page = rustix::param::page_size() as u64;
        let resident = |pid: Pid| -> Option<u64> {
            let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
            statm.split_ascii_whitespace().nth(1)?.parse().ok()
        };
        self.members().into_iter().filter_map(resident).sum::<u64>() * page
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.root, signal);
        for pid in self.members() {
            if pid != self.root {
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Whether nothing of it runs any more.
    fn is_gone(&self) -> bool {
        // What an exited process leaves becomes ours before its exit is seen: without any such there is nothing to look for.
        if is_subreaper() && own_orphans().into_iter().all(is_zombie) {
            return true;
        }
        // The root is a zombie until it is waited for, and alone in its group then.
        let group_lives = test_kill_process_group(self.root).is_ok() && group_has_others(self.root);
        !group_lives && self.orphans().is_empty()
    }

    /// All of it: the root, what descends from it, and marked orphans with what descends from them.
    fn members(&self) -> HashSet<Pid> {
        let mut found = HashSet::from([self.root]);
        found.extend(self.orphans());
        let mut next: Vec<Pid> = found.iter().copied().collect();
        while let Some(pid) = next.pop() {
            next.extend(children(pid).into_iter().filter(|child| found.insert(*child)));
        }
        found
    }

    fn orphans(&self) -> Vec<Pid> {
        own_orphans().into_iter().filter(|pid| !is_zombie(*pid) && self.has_marks(*pid)).collect()
    }

    fn has_marks(&self, pid: Pid) -> bool {
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
        let variables: BTreeSet<&[u8]> = environment.split(|byte| *byte == 0).collect();
        self.marks.iter().all(|mark| variables.contains(&mark[..]))
    }
}

/// Whether processes that lose their parents become ours.
fn is_subreaper() -> bool {
    static IS_SUBREAPER: OnceLock<bool> = OnceLock::new();
    *IS_SUBREAPER.get_or_init(|| matches!(rustix::process::child_subreaper(), Ok(Some(_))))
}

/// Whether a group has members beside its leader that aren't zombies: asked only when the leader has exited.
fn group_has_others(leader: Pid) -> bool {
    let is_member = |pid: Pid| stat_of(pid).is_some_and(|stat| stat.group == leader && !stat.is_zombie);
    if is_subreaper() {
        // Whoever is left is an orphan, or below one.
        let mut left = own_orphans();
        while let Some(pid) = left.pop() {
            if is_member(pid) {
                return true;
            }
            left.extend(children(pid));
        }
        return false;
    }
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    let mut pids = entries.flatten().filter_map(|entry| parse_pid(entry.file_name().to_str()?));
    pids.any(|pid| pid != leader && is_member(pid))
}

fn parse_pid(text: &str) -> Option<Pid> {
    text.parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)
}

struct Stat {
    is_zombie: bool,
    group: Pid,
}

fn stat_of(pid: Pid) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split_ascii_whitespace();
    let is_zombie = matches!(fields.next()?, "Z" | "X");
    // One that is just going has -1.
    let group = parse_pid(fields.nth(1)?)?;
    Some(Stat { is_zombie, group })
}

fn is_zombie(pid: Pid) -> bool {
    stat_of(pid).is_none_or(|stat| stat.is_zombie)
}

/// Children of a process, of all of its threads.
fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads.flatten().flat_map(|thread| pids_in(&thread.path().join("children"))).collect()
}

/// Processes that lost their parents and became ours: the kernel gives them to the main thread, which starts none itself.
fn own_orphans() -> Vec<Pid> {
    static FILE: OnceLock<File> = OnceLock::new();
    if FILE.get().is_none()
        && let Ok(file) = File::open(format!("/proc/self/task/{}/children", std::process::id()))
    {
        let _ = FILE.set(file);
    }
    let Some(file) = FILE.get() else { return Vec::new() };
    let (mut text, mut piece) = (Vec::new(), [0; 4 << 10]);
    while let Ok(length @ 1..) = file.read_at(&mut piece, text.len() as u64) {
        text.extend_from_slice(&piece[..length]);
    }
    pids_of(&String::from_utf8_lossy(&text))
}

pub(super) fn pids_in(file: &std::path::Path) -> Vec<Pid> {
    pids_of(&fs::read_to_string(file).unwrap_or_default())
}

fn pids_of(text: &str) -> Vec<Pid> {
    text.split_ascii_whitespace().filter_map(parse_pid).collect()
}

/// Everything below this process.
pub(super) fn descendants() -> Vec<Pid> {
    let mut found = children(getpid());
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children(*pid));
        next += 1;
    }
    found
}

/// Ends everything that the agent has started, when it ends itself. Its watcher finds the rest, if there still is one.
pub(crate) fn end_everything() {
    for _ in 0..MAX_LOOKS {
        let living: Vec<Pid> = descendants().into_iter().filter(|pid| !is_zombie(*pid)).collect();
        if living.is_empty() {
            return;
        }
        for pid in living {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Takes leave of orphans that have ended.
pub(crate) fn reap_orphans() {
    for pid in own_orphans().into_iter().filter(|pid| is_zombie(*pid)) {
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}
