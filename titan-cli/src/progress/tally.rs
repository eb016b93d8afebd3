//! What is counted while a batch runs, for progress and for the summary. Prints nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use titan_manager::{HostId, Lifecycle, Report, TaskEnd};
use titan_proto::id::{AttemptId, TaskId};

use crate::driver::note::Note;
use crate::launch::Lasting;

/// Failures of one kind that are told apart from others.
const MAX_FAILURE_KINDS: usize = 1_000;

/// What is known of one host.
#[derive(Debug, Clone)]
pub(crate) struct HostTally {
    pub(crate) name: String,
    pub(crate) state: HostState,
    /// Tasks that it completed.
    pub(crate) done: u64,
    /// Tasks that it runs now.
    pub(crate) running: u64,
    /// Bytes of agent that were sent to it.
    pub(crate) sent_bytes: u64,
    /// Why it isn't up, with the remedy; or why it wasn't at some time.
    pub(crate) trouble: Option<(String, Option<String>)>,
    /// Whether it was ever there.
    pub(crate) has_joined: bool,
    /// Whether it was never there, for a reason that only a person can change.
    pub(crate) is_hopeless: bool,
    /// Whether its slots have less memory than any task needs.
    pub(crate) is_too_small: bool,
    /// Times that something went wrong there that was no task's own fault.
    pub(crate) faults: u64,
    /// Whether it gets no tasks for a while because of those.
    pub(crate) is_quarantined: bool,
}

impl HostTally {
    /// What it is doing, in a word or two for people and for JSON.
    pub(crate) fn word(&self) -> &'static str {
        if self.state == HostState::Healthy && self.is_quarantined { "quarantined" } else { self.state.word() }
    }

    /// Whether it was there, and its agent may be yet.
    pub(crate) fn was_lost(&self) -> bool {
        matches!(self.state, HostState::Unhealthy | HostState::Away | HostState::Restarting)
    }

    /// Whether it is there and gets tasks.
    pub(crate) fn is_well(&self) -> bool {
        self.state == HostState::Healthy && !self.is_quarantined
    }
}

/// What a host is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostState {
    Starting,
    Healthy,
    Unhealthy,
    Restarting,
    /// Its connection is gone, and its agent goes on.
    Away,
    Down,
    /// It belonged to the batch in an earlier life.
    LeftOut,
}

impl HostState {
    fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Restarting => "restarting",
            Self::Away => "away",
            Self::Down => "down",
            Self::LeftOut => "left out",
        }
    }
}

/// An attempt that runs, and since when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running {
    pub(crate) task: TaskId,
    pub(crate) host: HostId,
    pub(crate) since: Instant,
    pub(crate) attempt: AttemptId,
}

/// Identical failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailureKind {
    /// CANCELLED, because something that they waited for ended badly; otherwise FAILED.
    pub(crate) is_cancelled: bool,
    /// Of the first of them.
    pub(crate) reason: String,
    /// Whether others name other things.
    pub(crate) is_varied: bool,
    pub(crate) tasks: Vec<TaskId>,
    /// Where they were tried last.
    pub(crate) hosts: BTreeSet<HostId>,
}

/// Counts and times of a batch.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) begun: Instant,
    pub(crate) hosts: Vec<HostTally>,
    pub(crate) first_start: Option<Instant>,
    /// When the last task came to its end, good or bad.
    pub(crate) last_end: Option<Instant>,
    /// Time that completed attempts computed, summed.
    pub(crate) compute: Duration,
    /// Time from their starts to their completions as seen here, summed.
    pub(crate) turnaround: Duration,
    /// Attempts that failed or were lost while they ran, and were followed by another.
    pub(crate) retries: u64,
    pub(crate) completed: u64,
    /// Tasks that weren't run, since an earlier batch had made what they leave.
    pub(crate) kept: u64,
    pub(crate) failures: Vec<FailureKind>,
    /// Whether a signal has asked titan to end.
    pub(crate) is_stopping: bool,
    /// Attempts that run, and since when, by task, and then by host.
    running: BTreeMap<(TaskId, HostId), (AttemptId, Instant)>,
}

impl Tally {
    /// A batch on hosts of these names that begins now.
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        let host = |name| HostTally {
            name,
            state: HostState::Starting,
            done: 0,
            running: 0,
            sent_bytes: 0,
            trouble: None,
            has_joined: false,
            is_hopeless: false,
            is_too_small: false,
            faults: 0,
            is_quarantined: false,
        };
        Self {
            begun: Instant::now(),
            hosts: names.into_iter().map(host).collect(),
            first_start: None,
            last_end: None,
            compute: Duration::ZERO,
            turnaround: Duration::ZERO,
            retries: 0,
            completed: 0,
            kept: 0,
            failures: Vec::new(),
            is_stopping: false,
            running: BTreeMap::new(),
        }
    }

    /// Hosts that the batch had, and has no more.
    pub(crate) fn leave_out(&mut self, is_gone: impl Fn(&str) -> bool) {
        for host in self.hosts.iter_mut().filter(|host| is_gone(&host.name)) {
            host.state = HostState::LeftOut;
        }
    }

    /// Hosts that the batch has.
    pub(crate) fn present(&self) -> impl Iterator<Item = &HostTally> {
        self.hosts.iter().filter(|host| host.state != HostState::LeftOut)
    }

    /// What runs where, and since when.
    pub(crate) fn running(&self) -> impl Iterator<Item = Running> + '_ {
        self.running.iter().map(|(&(task, host), &(attempt, since))| Running { task, host, since, attempt })
    }

    /// Name of a host.
    pub(crate) fn name(&self, host: HostId) -> &str {
        &self.hosts[host.0 as usize].name
    }

    fn host(&mut self, host: HostId) -> &mut HostTally {
        &mut self.hosts[host.0 as usize]
    }

    /// Counts what happened.
    pub(crate) fn note(&mut self, note: &Note) {
        match note {
            Note::Joined { host, joined } => {
                let tally = self.host(*host);
                tally.state = HostState::Healthy;
                (tally.has_joined, tally.is_hopeless) = (true, false);
                tally.sent_bytes += joined.story.sent_bytes.unwrap_or(0);
            }
            Note::Trouble { host, error } => {
                self.host(*host).trouble = Some((error.reason.clone(), error.hint.clone()));
            }
            Note::Lost { host, reason } => {
                let host = self.host(*host);
                // Why it can't be reached says more than that it wasn't heard.
                let is_known = host.state != HostState::Healthy && host.trouble.is_some();
                host.state = HostState::Restarting;
                if !is_known {
                    host.trouble = Some((reason.clone(), None));
                }
            }
            Note::Down { host, error } => {
                let host = self.host(*host);
                host.state = HostState::Down;
                host.is_hopeless = !host.has_joined && error.lasting == Lasting::Permanent;
                host.trouble = Some((error.reason.clone(), error.hint.clone()));
            }
            Note::Away { host, reason } => {
                self.host(*host).state = HostState::Away;
                self.host(*host).trouble = Some((reason.clone(), None));
            }
            Note::Back { host } => self.host(*host).state = HostState::Healthy,
            Note::Manager(report) => self.report(report),
            Note::Missed(end) => {
                self.add_missed(end);
                self.stop_running(end.task, None);
                self.last_end = Some(Instant::now());
            }
            Note::Stopping(_) | Note::Cancelling => self.is_stopping = true,
            Note::NoMoreTasks { .. } | Note::Said { .. } => {}
        }
    }

    fn report(&mut self, report: &Report) {
        match report {
            Report::Started { task, host, attempt } | Report::Adopted { task, host, attempt } => {
                self.on_started(*task, *host, *attempt);
            }
            Report::Completed { task, host, compute, .. } => self.on_completed(*task, *host, *compute),
            Report::AttemptFailed { task, host, attempt, of, .. } => {
                self.retries += u64::from(attempt < of);
                self.stop_running(*task, Some(*host));
            }
            Report::Unhealthy { host, .. } => self.host(*host).state = HostState::Unhealthy,
            Report::HealthyAgain { host } => self.host(*host).state = HostState::Healthy,
            Report::Lost { host, .. } => self.on_lost(*host),
            Report::TooSmall { host, slot_bytes, task_bytes } => {
                let size = crate::config::units::human_size;
                let reason = format!("its slots have {} each, a task needs {}", size(*slot_bytes), size(*task_bytes));
                self.host(*host).trouble = Some((reason, None));
                self.host(*host).is_too_small = true;
            }
            Report::HostLacks { task, host, .. } => self.stop_running(*task, Some(*host)),
            Report::HostFault { host } => self.host(*host).faults += 1,
            Report::Quarantined { host, faults, reason, .. } => {
                self.host(*host).is_quarantined = true;
                self.host(*host).trouble = Some((format!("{faults} faults in a row, the last: {reason}"), None));
            }
            Report::Released { host, .. } => self.host(*host).is_quarantined = false,
            Report::SetupFailed { task, host, reason } => {
                self.stop_running(*task, Some(*host));
                self.host(*host).trouble = Some((reason.clone(), None));
            }
            Report::NoneUp { .. } | Report::Late { .. } | Report::Held { .. } | Report::Speculated { .. } => {}
        }
    }

    fn on_started(&mut self, task: TaskId, host: HostId, attempt: AttemptId) {
        let now = Instant::now();
        self.first_start.get_or_insert(now);
        if self.running.insert((task, host), (attempt, now)).is_none() {
            self.host(host).running += 1;
        }
    }

    fn on_completed(&mut self, task: TaskId, host: HostId, compute: Duration) {
        let now = Instant::now();
        self.completed += 1;
        self.last_end = Some(now);
        self.host(host).done += 1;
        self.compute += compute;
        self.turnaround += self.running.get(&(task, host)).map_or(compute, |(_, since)| now - *since);
        self.stop_running(task, None);
    }

    fn on_lost(&mut self, host: HostId) {
        self.retries += self.host(host).running;
        self.host(host).running = 0;
        self.running.retain(|(_, at), _| *at != host);
    }

    /// A task doesn't run any more on that host, or on any.
    fn stop_running(&mut self, task: TaskId, only: Option<HostId>) {
        let (first, last) = match only {
            Some(host) => (host, host),
            None => (HostId(0), HostId(u32::MAX)),
        };
        while let Some((&(_, host), _)) = self.running.range((task, first)..=(task, last)).next() {
            self.running.remove(&(task, host));
            self.host(host).running -= 1;
        }
    }

    /// A task ended otherwise than COMPLETED.
    pub(crate) fn add_missed(&mut self, end: &TaskEnd) {
        let is_cancelled = end.state == Lifecycle::Cancelled;
        // What was cancelled as a whole is told as a whole.
        let Some(reason) = &end.reason else { return };
        let like = kind_of(reason);
        let is_like = |kind: &&mut FailureKind| {
            kind.is_cancelled == is_cancelled && (kind.reason == *reason || kind_of(&kind.reason) == like)
        };
        if let Some(kind) = self.failures.iter_mut().find(is_like) {
            kind.is_varied |= kind.reason != *reason;
            kind.tasks.push(end.task);
            kind.hosts.extend(end.host);
        } else if self.failures.len() < MAX_FAILURE_KINDS {
            let hosts = end.host.into_iter().collect();
            let (reason, is_varied, tasks) = (reason.clone(), false, vec![end.task]);
            self.failures.push(FailureKind { is_cancelled, reason, is_varied, tasks, hosts });
        }
    }

    /// Time until the end, if it can be told: not before some tasks are done, and not when the last ones run, since how
    /// long those take is just what isn't known.
    pub(crate) fn remaining(&self, waiting: u64) -> Option<Duration> {
        const ENOUGH: u64 = 4;
        if self.completed < ENOUGH || waiting == 0 {
            return None;
        }
        let spent = self.first_start?.elapsed();
        let running: u64 = self.hosts.iter().map(|host| host.running).sum();
        let left = waiting as f64 + running as f64 / 2.0;
        Some(spent.mul_f64(left / self.completed as f64))
    }

    /// How the wall time divides.
    pub(crate) fn division(&self, ended: Instant) -> Division {
        let first = self.first_start.unwrap_or(ended);
        let last = self.last_end.unwrap_or(first).max(first);
        let work = last - first;
        let share = match self.turnaround.as_secs_f64() {
            0.0 => 1.0,
            turnaround => (self.compute.as_secs_f64() / turnaround).clamp(0.0, 1.0),
        };
        let compute = work.mul_f64(share);
        Division { start_up: first - self.begun, compute, transfer: work - compute, encoding: ended - last }
    }
}

/// A reason without the names in it, which is what failures of one kind have in common: without what is in quotes, what
/// follows "output", and the number after a "task" at its beginning.
fn kind_of(reason: &str) -> String {
    let mut kind: Vec<&str> = Vec::new();
    let mut in_quotes = false;
    for word in reason.split(' ') {
        let bare = word.trim_end_matches([':', ',', ';', '.']);
        let begins = !in_quotes && word.starts_with('\'');
        if in_quotes || begins {
            in_quotes = !bare.ends_with('\'') || (begins && bare.len() == 1);
            kind.extend(begins.then_some("''"));
        } else if kind.last() == Some(&"output") || kind == ["task"] {
            kind.push("''");
        } else {
            kind.push(word);
        }
    }
    kind.join(" ")
}

/// The parts of the wall time; together they are all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Division {
    /// Until the first task ran.
    pub(crate) start_up: Duration,
    /// The part of the time from the first start to the last completion that tasks were computed in.
    pub(crate) compute: Duration,
    /// The rest of that time.
    pub(crate) transfer: Duration,
    /// After the last completion: encoding what hadn't been, flushing, renaming.
    pub(crate) encoding: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_one_kind_differ_in_names_only() {
        for (one, other) in [
            ("its input 'a b' isn't there", "its input 'c' isn't there"),
            ("it made no output o/7", "it made no output o/8"),
            ("cannot write its output a: No space left", "cannot write its output b: No space left"),
            ("task 1 of a FAILED", "task 22 of a FAILED"),
        ] {
            assert_eq!(kind_of(one), kind_of(other));
        }
        for (one, other) in
            [("exit 3", "exit 4"), ("can't open 'a' here", "can't open 'a' there"), ("task 1 of a", "task 1 of b")]
        {
            assert_ne!(kind_of(one), kind_of(other));
        }
    }
}
