//! Workers that join, fall silent, speak again and are lost; hosts that are started and given up.

use std::collections::BTreeSet;

use titan_proto::id::{AttemptId, TaskId};
use titan_proto::time::Timestamp;

use super::Manager;
use crate::effect::{Effect, Report};
use crate::event::{Capacity, HostId, WorkerId};
use crate::worker::{Health, HostState, Worker};

impl Manager {
    pub(super) fn on_host_starting(&mut self, host: HostId) {
        self.hosts.insert(host, HostState::Starting);
    }

    pub(super) fn on_host_down(&mut self, host: HostId, effects: &mut Vec<Effect>) {
        if let Some(HostState::Up(worker)) = self.hosts.get(&host).copied() {
            self.lose(worker, effects);
        }
        self.hosts.insert(host, HostState::Down);
    }

    pub(super) fn on_worker_joined(
        &mut self,
        now: Timestamp,
        host: HostId,
        worker: WorkerId,
        capacity: Capacity,
        effects: &mut Vec<Effect>,
    ) {
        assert!(capacity.slots > 0, "a worker has a slot");
        if let Some(HostState::Up(before)) = self.hosts.insert(host, HostState::Up(worker)) {
            self.lose(before, effects);
            self.hosts.insert(host, HostState::Up(worker));
        }
        let joined = Worker {
            host,
            capacity,
            health: Health::Healthy,
            last_heard: now,
            attempts: BTreeSet::new(),
            jobs: BTreeSet::new(),
        };
        if let Some(task_bytes) = self.smallest_task_bytes().filter(|&bytes| bytes > joined.slot_bytes()) {
            let slot_bytes = joined.slot_bytes();
            effects.push(Effect::Report(Report::TooSmall { host, slot_bytes, task_bytes }));
        }
        let before = self.workers.insert(worker, joined);
        assert!(before.is_none(), "a worker's name is used once");
    }

    fn smallest_task_bytes(&self) -> Option<u64> {
        self.jobs.iter().map(|job| job.spec.task_memory_bytes).min()
    }

    pub(super) fn on_heard(&mut self, now: Timestamp, worker: WorkerId, effects: &mut Vec<Effect>) {
        let Some(heard) = self.workers.get_mut(&worker) else { return };
        heard.last_heard = now;
        if heard.health == Health::Unhealthy {
            heard.health = Health::Healthy;
            effects.push(Effect::Report(Report::HealthyAgain { host: heard.host }));
            for attempt in heard.attempts.clone() {
                self.queue.withdraw(self.attempts[&attempt].task);
            }
        }
    }

    pub(super) fn on_tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.forgive_own_gap(now);
        let silent: Vec<WorkerId> = self
            .workers
            .iter()
            .filter(|(_, worker)| now.since(worker.last_heard) >= self.config.unhealthy_after)
            .map(|(&id, _)| id)
            .collect();
        for worker in silent {
            self.on_silence(now, worker, effects);
        }
    }

    /// Time in which this side itself slept is no silence of the others: what they said meanwhile is still to be read.
    fn forgive_own_gap(&mut self, now: Timestamp) {
        let since = self.last_tick.replace(now).map_or(self.config.tick, |last| now.since(last));
        if since > self.config.tick * 2 {
            for worker in self.workers.values_mut() {
                worker.last_heard = now.min(worker.last_heard + (since - self.config.tick));
            }
        }
    }

    fn on_silence(&mut self, now: Timestamp, worker: WorkerId, effects: &mut Vec<Effect>) {
        let silent = now.since(self.workers[&worker].last_heard);
        if silent >= self.config.silence_limit() {
            self.on_session_lost(worker, effects);
            effects.push(Effect::EndSession { worker });
        } else if self.workers[&worker].health == Health::Healthy {
            let host = self.workers[&worker].host;
            let given_back = self.give_to_others(worker);
            effects.push(Effect::Report(Report::Unhealthy { host, silent, given_back }));
        }
    }

    /// What an UNHEALTHY worker holds and may run twice, waits for another one too.
    fn give_to_others(&mut self, worker: WorkerId) -> u32 {
        let silent = self.workers.get_mut(&worker).expect("only workers fall silent");
        silent.health = Health::Unhealthy;
        let mut given = 0;
        for attempt in silent.attempts.clone() {
            let held = self.attempts[&attempt];
            let has_one_attempt = self.task(held.task).state.live().count() == 1;
            if held.phase.is_live() && has_one_attempt && self.job(held.task.job).spec.rerunnable && !self.cancelled {
                self.queue.give_back(held.task);
                given += 1;
            }
        }
        given
    }

    pub(super) fn on_session_lost(&mut self, worker: WorkerId, effects: &mut Vec<Effect>) {
        let Some(host) = self.lose(worker, effects) else { return };
        self.hosts.insert(host, HostState::Starting);
    }

    /// Forgets a worker and gives back what it held.
    fn lose(&mut self, worker: WorkerId, effects: &mut Vec<Effect>) -> Option<HostId> {
        let held: Vec<AttemptId> = self.workers.get(&worker)?.attempts.iter().copied().collect();
        let host = self.workers.remove(&worker)?.host;
        let mut given_back = 0;
        for attempt in held {
            given_back += u32::from(self.on_attempt_lost(attempt, host, effects));
        }
        effects.push(Effect::Report(Report::Lost { host, given_back }));
        Some(host)
    }

    /// Whether nobody is left who could run anything, or too few to begin.
    pub(super) fn has_no_workers(&self) -> bool {
        if self.hosts.is_empty() || self.jobs.is_empty() {
            return false;
        }
        let usable = self.hosts.values().filter(|host| self.is_usable(**host)).count() as u64;
        usable == 0 || (!self.begun && usable < u64::from(self.config.min_workers)) || self.waits_for_nobody()
    }

    /// Whether all that is left are tasks that no host is large enough for, though some were for others.
    fn waits_for_nobody(&self) -> bool {
        let may_change = !self.attempts.is_empty()
            || self.queue.len() == 0
            || self.hosts.values().any(|host| *host == HostState::Starting)
            || self.jobs.iter().any(|job| !job.spec.closed);
        let is_too_large = |task: TaskId| {
            let task_bytes = self.job(task.job).spec.task_memory_bytes;
            self.workers.values().all(|worker| worker.slot_bytes() < task_bytes)
        };
        !may_change && self.queue.heads().all(is_too_large)
    }

    fn is_usable(&self, host: HostState) -> bool {
        match host {
            HostState::Starting => true,
            HostState::Down => false,
            HostState::Up(worker) => {
                self.smallest_task_bytes().is_none_or(|bytes| self.workers[&worker].slot_bytes() >= bytes)
            }
        }
    }
}
