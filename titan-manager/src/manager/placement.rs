//! Pending tasks → workers. Free slots first; then a short queue on each worker, so that a round trip never leaves a core
//! idle; and back from those queues when another worker is idle.
//!
//! A large request isn't starved by small ones: the first task in the queue's order that finds no room, though a worker is
//! large enough for it, reserves the one that lacks least of what it asks for. Nothing that comes after it in that order
//! starts there until it fits. There is one reservation at a time, and it stays where it is as long as that makes sense: so
//! at most one worker runs dry, and only as long as what it holds takes.

use std::collections::BTreeSet;

use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::{Part, ToAgent};
use titan_proto::time::Timestamp;

use super::Manager;
use crate::effect::{Effect, Record};
use crate::event::{HostId, Rerun, WorkerId};
use crate::task::TaskState;
use crate::worker::{Attempt, Health, Phase, Worker};

/// A host that so many tasks of a job in a row say lacks what they need, gets no more of that job while others can. Fewer
/// would give it up for one odd task, more would send it what it only turns away.
const LACKS_TO_AVOID: u32 = 3;

/// A worker that is kept for the first task that finds no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reservation {
    pub(super) task: TaskId,
    pub(super) worker: WorkerId,
}

impl Manager {
    /// Gives pending tasks to workers until nobody has room for any, or the next one has to wait.
    pub(super) fn place(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.begun |= self.workers.healthy() as u64 >= u64::from(self.config.min_workers);
        self.delayed_until = None;
        while self.begun && !self.is_stopping() && !self.queue.is_empty() {
            self.delayed_until = self.last_start.map(|last| last + self.config.start_delay).filter(|&at| at > now);
            if self.delayed_until.is_some() {
                return;
            }
            let Some((task, worker)) = self.next_placement() else { return };
            self.start(now, task, worker, effects);
        }
    }

    fn next_placement(&mut self) -> Option<(TaskId, WorkerId)> {
        let prefill = self.prefill_limit();
        let has_place =
            |(_, worker): (WorkerId, &Worker)| self.gets_tasks(worker) && worker.has_place(prefill, self.deepest);
        if !self.workers.idle().any(has_place) && !self.workers.shortest_queues(prefill, self.deepest).any(has_place) {
            return None;
        }
        let (placement, reservation) = self.find_placement(prefill);
        self.reservation = reservation.or(self.reservation);
        placement
    }

    /// The first task that somebody could take, and who; and what the first one before it that nobody could take reserves.
    fn find_placement(&self, prefill: u32) -> (Option<(TaskId, WorkerId)>, Option<Reservation>) {
        let mut reservation: Option<Reservation> = None;
        let mut without_room: BTreeSet<JobId> = BTreeSet::new();
        for task in self.queue.heads() {
            if without_room.contains(&task.job) {
                continue;
            }
            let reserved = reservation.map(|reservation| reservation.worker);
            let is_second_attempt = self.task(task).state != TaskState::Pending;
            let own_prefill = if is_second_attempt { 0 } else { prefill };
            if let Some(worker) = self.find_worker(task, own_prefill, reserved) {
                return (Some((task, worker)), reservation);
            }
            reservation = reservation.or_else(|| self.reserve(task));
            if !self.has_room_for_others(task.job, prefill) {
                without_room.insert(task.job);
            }
        }
        (None, reservation)
    }

    /// Whether some worker has room for tasks of that job, whatever a single one of them has been through.
    fn has_room_for_others(&self, job: JobId, prefill: u32) -> bool {
        let has_room = |worker: &Worker, prefill| self.gets_tasks(worker) && self.has_room(job, worker, prefill);
        self.workers.idle().any(|(_, worker)| has_room(worker, 0))
            || self.workers.shortest_queues(prefill, self.deepest).any(|(_, worker)| has_room(worker, prefill))
    }

    /// The worker that lacks least of what a task asks for; the one that it had if that still makes sense.
    fn reserve(&self, task: TaskId) -> Option<Reservation> {
        if self.task(task).state != TaskState::Pending {
            return None;
        }
        let request = &self.job(task.job).spec.request;
        let suits = self.suits(task);
        let is_able = |worker: &Worker| suits(worker) && !worker.is_throttled(&self.config);
        let before = self.reservation.filter(|before| before.task == task);
        if let Some(before) = before.filter(|before| self.workers.get(before.worker).is_some_and(is_able)) {
            return Some(before);
        }
        let able = self.workers.iter().filter(|(_, worker)| is_able(worker));
        let (worker, _) = able.min_by_key(|(id, worker)| (worker.missing(request), worker.held(), *id))?;
        Some(Reservation { task, worker })
    }

    /// How many attempts a worker may hold beyond its slots, if its slots and the tasks' pace allow as many: a fair share of
    /// what waits. None, if it has to be seen at each start whether it may be.
    fn prefill_limit(&self) -> u32 {
        let config = &self.config;
        // What is queued may start before a halt is known.
        if !config.start_delay.is_zero() || config.has_gate() || config.halt.is_some() {
            return 0;
        }
        u32::try_from(self.queue.len() / self.hosts.expected().max(1)).unwrap_or(u32::MAX)
    }

    /// The worker that is to take that task now: one with a free slot, by the policy; otherwise the shortest queue, with as many beyond
    /// its slots.
    pub(super) fn find_worker(&self, task: TaskId, prefill: u32, reserved: Option<WorkerId>) -> Option<WorkerId> {
        let suits = self.suits(task);
        let could = |id: WorkerId, worker: &Worker, prefill: u32| {
            Some(id) != reserved && self.has_room(task.job, worker, prefill) && suits(worker)
        };
        let idle = self.workers.idle().find(|(id, worker)| could(*id, worker, 0));
        let queue =
            || self.workers.shortest_queues(prefill, self.deepest).find(|(id, worker)| could(*id, worker, prefill));
        idle.or_else(queue).map(|(id, _)| id)
    }

    /// Whether a worker could take that task as things are, but for what else it holds.
    fn suits(&self, task: TaskId) -> impl Fn(&Worker) -> bool {
        // Who holds it already counts: a task isn't taken from there to go where it wouldn't have gone.
        let could = |worker: &&Worker| self.gets_tasks(worker) && self.could_take(task, worker);
        let is_avoiding =
            self.avoids_any(task) && self.workers.values().filter(could).any(|worker| !self.avoids(task, worker.host));
        move |worker| self.fits(task, worker) && !(is_avoiding && self.avoids(task, worker.host))
    }

    fn avoids_any(&self, task: TaskId) -> bool {
        self.troubles.get(&task).is_some_and(|trouble| trouble.avoid.is_some()) || !self.job(task.job).lacks.is_empty()
    }

    /// Whether a task shouldn't go to that host if there is another one.
    fn avoids(&self, task: TaskId, host: HostId) -> bool {
        let lacks = &self.job(task.job).lacks;
        self.troubles.get(&task).is_some_and(|trouble| trouble.avoid == Some(host))
            || lacks.get(&host).is_some_and(|&times| times >= LACKS_TO_AVOID)
    }

    /// Whether a worker is there and its host isn't kept away.
    pub(super) fn gets_tasks(&self, worker: &Worker) -> bool {
        worker.health == Health::Healthy && !self.is_quarantined(worker.host)
    }

    /// Whether that worker could take that task if nothing else ran there.
    fn fits(&self, task: TaskId, worker: &Worker) -> bool {
        let holds_it = self.task(task).state.live().any(|attempt| worker.attempts.contains(&attempt));
        self.gets_tasks(worker) && !holds_it && self.could_take(task, worker)
    }

    /// Whether a worker has a place and all that tasks of that job ask for, now.
    fn has_room(&self, job: JobId, worker: &Worker, prefill: u32) -> bool {
        let request = &self.job(job).spec.request;
        let depth = self.job(job).pace.depth();
        let may_queue = prefill > 0 && worker.may_queue(request) && worker.has_place(prefill, depth);
        let may_start = worker.has_slot() && worker.has_free(request);
        (may_start || may_queue) && !worker.is_throttled(&self.config)
    }

    pub(super) fn start(&mut self, now: Timestamp, task: TaskId, worker: WorkerId, effects: &mut Vec<Effect>) {
        let attempt = AttemptId { epoch: self.config.epoch, number: self.next_attempt };
        self.next_attempt += 1;
        self.last_start = Some(now);
        self.queue.take(task);
        self.workers.picked(worker);
        self.attempts.insert(attempt, Attempt { task, worker, phase: Phase::Scheduled, since: None, has_ended: false });
        let state = self.task_mut(task);
        state.state = state.state.with(attempt);
        state.tried += 1;
        let tried = state.tried;
        let host = self.workers[&worker].host;
        let spec = &self.jobs[task.job.0 as usize].spec;
        let is_new = self.workers.change(worker, |holder| {
            holder.attempts.insert(attempt);
            holder.used.add(&spec.request);
            holder.jobs.insert(task.job)
        });
        if is_new.expect("who is found is there") {
            effects.push(Effect::Send { worker, message: ToAgent::Job { job: task.job, work: spec.work.clone() } });
        }
        if spec.rerun == Rerun::Lost {
            effects.push(Effect::Record(Record::Given { task, attempt, host }));
        }
        effects.push(Effect::Send { worker, message: ToAgent::Start { attempt, task, tried, part: Part::OfJob } });
    }

    /// When a worker is idle and nothing that waits can go there: asks others to give back what they haven't begun.
    pub(super) fn take_back_for_idle(&mut self, effects: &mut Vec<Effect>) {
        if self.delayed_until.is_some() || self.is_stopping() || !self.begun {
            return;
        }
        if self.workers.longest_queues().next().is_none() {
            return;
        }
        let idle = self.workers.idle().filter(|(_, worker)| self.gets_tasks(worker));
        let idle: u32 = idle.map(|(_, worker)| worker.free_slots()).sum();
        for _ in self.recalling..idle {
            let Some(attempt) = self.longest_queue_end() else { return };
            let worker = self.attempts[&attempt].worker;
            self.set_phase(attempt, Phase::Recalling);
            effects.push(Effect::Send { worker, message: ToAgent::Recall { attempt } });
        }
    }

    /// The last attempt of the longest queue that a free slot elsewhere could take.
    fn longest_queue_end(&self) -> Option<AttemptId> {
        let waits = |reservation: &Reservation| self.queue.contains(reservation.task);
        let reserved = self.reservation.filter(waits).map(|reservation| reservation.worker);
        self.workers.longest_queues().find_map(|donor| {
            donor.attempts.iter().rev().copied().find(|id| {
                let attempt = &self.attempts[id];
                attempt.phase == Phase::Scheduled && self.find_worker(attempt.task, 0, reserved).is_some()
            })
        })
    }
}
