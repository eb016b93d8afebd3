//! Workers that join, fall silent, speak again and are lost; hosts that are started and given up.

use std::collections::BTreeSet;

use titan_proto::id::{AttemptId, TaskId};
use titan_proto::time::Timestamp;

use super::Manager;
use super::hold::Holder;
use crate::effect::{Effect, Report};
use crate::event::{Capacity, HostId, Rerun, WorkerId};
use crate::worker::{Health, HostState, Worker};

impl Manager {
    pub(super) fn on_host_starting(&mut self, now: Timestamp, host: HostId) {
        if self.config.waits_at_start {
            self.wait_for_host(host, now);
        }
        self.hosts.set(host, HostState::Starting);
    }

    pub(super) fn on_host_down(&mut self, now: Timestamp, host: HostId, effects: &mut Vec<Effect>) {
        if let Some(HostState::Up(worker)) = self.hosts.get(&host).copied() {
            self.lose(now, worker, false, effects);
        }
        self.hosts.set(host, HostState::Down);
        self.away.remove(&host);
        self.recheck = true;
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
        if let Some(HostState::Up(before)) = self.hosts.set(host, HostState::Up(worker)) {
            self.lose(now, before, false, effects);
            self.hosts.set(host, HostState::Up(worker));
        }
        self.recheck = true;
        self.away.remove(&host);
        let joined = Worker::new(host, capacity, now);
        if let Some(task_bytes) = self.smallest_task_bytes().filter(|&bytes| bytes > joined.slot_bytes()) {
            let slot_bytes = joined.slot_bytes();
            effects.push(Effect::Report(Report::TooSmall { host, slot_bytes, task_bytes }));
        }
        self.workers.insert(worker, joined);
    }

    fn smallest_task_bytes(&self) -> Option<u64> {
        self.jobs.iter().map(|job| job.spec.slot_memory_bytes).min()
    }

    pub(super) fn on_heard(&mut self, now: Timestamp, worker: WorkerId, effects: &mut Vec<Effect>) {
        let before = self.workers.change(worker, |heard| {
            heard.last_heard = now;
            heard.is_absent = false;
            std::mem::replace(&mut heard.health, Health::Healthy)
        });
        if before != Some(Health::Unhealthy) {
            return;
        }
        let heard = &self.workers[&worker];
        effects.push(Effect::Report(Report::HealthyAgain { host: heard.host }));
        for held in heard.attempts.iter().map(|attempt| self.attempts[attempt]) {
            if held.phase.is_live() {
                self.queue.withdraw(held.task);
            }
        }
    }

    pub(super) fn on_tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.forgive_own_gap(now);
        let silent: Vec<WorkerId> = self
            .workers
            .iter()
            .filter(|(_, worker)| now.since(worker.last_heard) >= self.config.unhealthy_after)
            .map(|(id, _)| id)
            .collect();
        for worker in silent {
            self.on_silence(now, worker, effects);
        }
        self.review_absences(now, effects);
        self.tell_holds(now, effects);
    }

    /// Time in which this side itself slept is no silence of the others: what they said meanwhile is still to be read.
    fn forgive_own_gap(&mut self, now: Timestamp) {
        let since = self.last_tick.replace(now).map_or(self.config.tick, |last| now.since(last));
        if since > self.config.tick * 2 {
            let span = since - self.config.tick;
            for worker in self.workers.iter().map(|(id, _)| id).collect::<Vec<WorkerId>>() {
                self.workers.change(worker, |worker| worker.last_heard = now.min(worker.last_heard + span));
            }
            self.forgive_absences(now, span);
        }
    }

    fn on_silence(&mut self, now: Timestamp, worker: WorkerId, effects: &mut Vec<Effect>) {
        let silent = now.since(self.workers[&worker].last_heard);
        if silent >= self.config.silence_limit() {
            self.on_session_lost(now, worker, false, effects);
            effects.push(Effect::EndSession { worker });
        } else if self.workers[&worker].health == Health::Healthy {
            let host = self.workers[&worker].host;
            let given_back = self.give_to_others(worker);
            effects.push(Effect::Report(Report::Unhealthy { host, silent, given_back }));
        }
    }

    /// What an UNHEALTHY worker holds and may run twice, waits for another one too.
    fn give_to_others(&mut self, worker: WorkerId) -> u32 {
        self.workers.change(worker, |silent| silent.health = Health::Unhealthy);
        let mut given = 0;
        for attempt in self.workers[&worker].attempts.clone() {
            let held = self.attempts[&attempt];
            let has_one_attempt = self.task(held.task).state.live().count() == 1;
            if held.phase.is_live() && has_one_attempt && self.may_be_helped(held.task) && !self.is_stopping() {
                self.queue.give_back(held.task);
                given += 1;
            }
        }
        given
    }

    /// Whether another attempt at a task that has one may be started.
    pub(super) fn may_be_helped(&self, task: TaskId) -> bool {
        self.may_run_twice(task) && self.may_begin(task)
    }

    pub(super) fn may_run_twice(&self, task: TaskId) -> bool {
        self.job(task.job).spec.rerun == Rerun::Anytime
    }

    /// Also comes for one that is lost already, when it is known to be dead at last.
    pub(super) fn on_session_lost(
        &mut self,
        now: Timestamp,
        worker: WorkerId,
        is_dead: bool,
        effects: &mut Vec<Effect>,
    ) {
        let last_heard = self.workers.get(worker).map(|worker| worker.last_heard);
        if let (Some(host), Some(last_heard)) = (self.lose(now, worker, is_dead, effects), last_heard) {
            self.hosts.set(host, HostState::Starting);
            self.wait_for_host(host, last_heard);
            self.count_host_fault(now, host, "its agent was lost", effects);
        } else if is_dead {
            self.release_held(Holder::Worker(worker), effects);
        }
    }

    /// Forgets a worker and gives back what it held, at once or when it can't run there any more.
    fn lose(&mut self, now: Timestamp, worker: WorkerId, is_dead: bool, effects: &mut Vec<Effect>) -> Option<HostId> {
        let lost: Vec<AttemptId> = self.workers.get(worker)?.attempts.iter().copied().collect();
        let host = self.workers.remove(worker)?.host;
        self.recheck = true;
        let (mut given_back, mut held) = (0, BTreeSet::new());
        for attempt in lost {
            if is_dead {
                self.note_over(self.attempts[&attempt].task, attempt, effects);
            }
            match self.on_attempt_lost(attempt, host, effects) {
                Some(task) if !is_dead && self.must_hold(task) => drop(held.insert(task)),
                Some(task) => {
                    self.wait_again(task, effects);
                    given_back += 1;
                }
                None => {}
            }
        }
        effects.push(Effect::Report(Report::Lost { host, given_back }));
        self.hold(now, (Holder::Worker(worker), host), held, effects);
        Some(host)
    }

    /// Whether nobody is left who could run anything, or too few to begin.
    pub(super) fn has_no_workers(&self) -> bool {
        if self.hosts.is_empty() || self.jobs.is_empty() {
            return false;
        }
        let needed = if self.begun { 1 } else { self.config.min_workers.max(1) as usize };
        self.usable_hosts().take(needed).count() < needed || self.waits_for_nobody()
    }

    /// Whether there is a host that is up, or may be, and on which not every job's setup has failed.
    pub(super) fn has_usable_hosts(&self) -> bool {
        self.hosts.iter().any(|(host, state)| self.is_usable(*state) && !self.fails_all_setups(*host))
    }

    fn fails_all_setups(&self, host: HostId) -> bool {
        self.jobs.iter().all(|job| job.unusable.contains_key(&host))
    }

    /// Hosts that may end a task yet: what a useless one holds says one after the other that it can't run there.
    fn usable_hosts(&self) -> impl Iterator<Item = HostId> {
        let holds_some = |state: HostState| matches!(state, HostState::Up(worker) if self.workers[&worker].held() > 0);
        let is_left = move |(host, state): &(&HostId, &HostState)| {
            self.is_usable(**state) && (holds_some(**state) || !self.fails_all_setups(**host))
        };
        self.hosts.iter().filter(is_left).map(|(host, _)| *host)
    }

    /// Whether all that is left are tasks that no host is large enough for, though some were for others.
    fn waits_for_nobody(&self) -> bool {
        let may_change = !self.attempts.is_empty()
            || !self.held.is_empty()
            || self.queue.is_empty()
            || self.hosts.values().any(|host| *host == HostState::Starting)
            || self.jobs.iter().any(|job| !job.spec.closed);
        let is_for_nobody = |task: TaskId| !self.workers.values().any(|worker| self.could_take(task, worker));
        !may_change && self.queue.heads().all(is_for_nobody)
    }

    fn is_usable(&self, host: HostState) -> bool {
        match host {
            HostState::Starting => true,
            HostState::Absent | HostState::Down => false,
            HostState::Up(worker) if self.workers[&worker].is_absent => false,
            HostState::Up(worker) => {
                self.smallest_task_bytes().is_none_or(|bytes| self.workers[&worker].slot_bytes() >= bytes)
            }
        }
    }
}
