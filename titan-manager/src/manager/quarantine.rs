//! Hosts with faults of their own: an agent that ends again and again, a full disk, memory that is used up, a setup that
//! fails. What only some tasks miss there is none. After some in a row a host gets no tasks for a while, if there are others;
//! each time for longer. A task that ends well there ends the row. It is never the last one: what nobody else can do, it does.

use titan_proto::id::TaskId;
use titan_proto::time::Timestamp;

use super::Manager;
use crate::effect::{Effect, Record, Report};
use crate::event::HostId;
use crate::worker::{Health, HostState, Worker};

/// So many faults in a row are no accident. Fewer would take a host away for one bad moment, more would cost more tasks their
/// time.
const FAULTS_IN_A_ROW: u32 = 3;
/// A host that comes back and fails again stays away twice as long, up to so many times the first span.
const LONGEST_FACTOR: u32 = 16;

/// What is held against a host.
#[derive(Debug, Default)]
pub(super) struct HostFaults {
    /// Faults since a task last ended well there.
    row: u32,
    /// How often it was kept away in that row.
    times: u32,
    /// Until when it gets nothing.
    until: Option<Timestamp>,
}

impl Manager {
    /// Something went wrong on a host that is no task's own fault.
    pub(super) fn count_host_fault(&mut self, now: Timestamp, host: HostId, reason: &str, effects: &mut Vec<Effect>) {
        if self.is_stopping() {
            return;
        }
        effects.push(Effect::Record(Record::HostFault { host }));
        effects.push(Effect::Report(Report::HostFault { host }));
        let faults = self.faults.entry(host).or_default();
        faults.row += 1;
        let (row, is_away) = (faults.row, faults.until.is_some());
        let is_due = row >= FAULTS_IN_A_ROW && !is_away && !self.config.quarantine.is_zero();
        if !is_due || !self.has_others(host) || self.is_needed(host) {
            return;
        }
        let faults = self.faults.get_mut(&host).expect("it has just been made");
        let factor = 2_u32.saturating_pow(faults.times).min(LONGEST_FACTOR);
        let span = self.config.quarantine.saturating_mul(factor);
        faults.times += 1;
        faults.until = Some(now + span);
        effects.push(Effect::Report(Report::Quarantined { host, faults: row, reason: reason.to_owned(), span }));
        self.take_back_from(host, effects);
    }

    /// A task has ended well there.
    pub(super) fn clear_host_faults(&mut self, host: HostId) {
        if let Some(faults) = self.faults.get_mut(&host).filter(|faults| faults.until.is_none()) {
            (faults.row, faults.times) = (0, 0);
        }
    }

    /// Hosts whose time is over, or that are needed, get tasks again.
    pub(super) fn review_quarantines(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let away: Vec<(HostId, Timestamp)> =
            self.faults.iter().filter_map(|(&host, faults)| Some((host, faults.until?))).collect();
        for (host, until) in away {
            let is_over = until <= now;
            if is_over || self.is_needed(host) {
                let faults = self.faults.get_mut(&host).expect("it is away");
                faults.until = None;
                // The next fault sends it away again.
                faults.row = FAULTS_IN_A_ROW - 1;
                effects.push(Effect::Report(Report::Released { host, is_needed: !is_over }));
            }
        }
    }

    /// When the next host gets tasks again.
    pub(super) fn next_release(&self) -> Option<Timestamp> {
        self.faults.values().filter_map(|faults| faults.until).min()
    }

    pub(super) fn is_quarantined(&self, host: HostId) -> bool {
        self.faults.get(&host).is_some_and(|faults| faults.until.is_some())
    }

    fn worker_on(&self, host: HostId) -> Option<&Worker> {
        match self.hosts.get(&host) {
            Some(HostState::Up(worker)) => self.workers.get(*worker),
            _ => None,
        }
    }

    /// A worker that gets tasks, on another host than that.
    fn works_elsewhere(&self, host: HostId) -> impl Fn(&&Worker) -> bool {
        move |worker| worker.host != host && self.gets_tasks(worker)
    }

    fn has_others(&self, host: HostId) -> bool {
        self.workers.values().any(|worker| self.works_elsewhere(host)(&worker))
    }

    /// Whether something waits that it could do, and nobody else.
    pub(super) fn is_needed(&self, host: HostId) -> bool {
        let here = self.worker_on(host).filter(|worker| worker.health == Health::Healthy);
        let Some(here) = here else { return false };
        let others = || self.workers.values().filter(self.works_elsewhere(host));
        let only_here =
            |task: TaskId| self.could_take(task, here) && !others().any(|worker| self.could_take(task, worker));
        self.queue.heads().any(only_here)
    }

    /// What hasn't begun there goes elsewhere.
    fn take_back_from(&mut self, host: HostId, effects: &mut Vec<Effect>) {
        let held = self.worker_on(host).map(|worker| worker.attempts.iter().copied().collect());
        self.take_back(held.unwrap_or_default(), effects);
    }
}
