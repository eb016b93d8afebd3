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
use crate::policy::Candidate;
use crate::task::TaskState;
use crate::worker::{Attempt, Health, HostState, Phase, Worker};

/// A host that so many tasks of a job in a row say lacks what they need, gets no more of that job while others can. Fewer
/// would give it up for one odd task, more would send it what it only turns away.
const LACKS_TO_AVOID: u32 = 3;

/// A worker that is kept for the first task that finds no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reservation {
    pub(super) task: TaskId,
    pub(super) worker: WorkerId,
}

/// A task, and who could take it now.
type Placeable = (TaskId, Vec<Candidate>);

impl Manager {
    /// Gives pending tasks to workers until nobody has room for any, or the next one has to wait.
    pub(super) fn place(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let healthy = self.workers.values().filter(|worker| worker.health == Health::Healthy).count();
        self.begun |= healthy as u64 >= u64::from(self.config.min_workers);
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
        let deepest = self.deepest;
        if !self.workers.values().any(|worker| self.gets_tasks(worker) && worker.has_place(prefill, deepest)) {
            return None;
        }
        let (placeable, reservation) = self.find_placeable(prefill);
        self.reservation = reservation.or(self.reservation);
        let (task, candidates) = placeable?;
        Some((task, self.policy.pick(&candidates)))
    }

    /// The first task that somebody could take, and what the first one before it that nobody could take reserves.
    fn find_placeable(&self, prefill: u32) -> (Option<Placeable>, Option<Reservation>) {
        let mut reservation: Option<Reservation> = None;
        let mut without_room: BTreeSet<JobId> = BTreeSet::new();
        for task in self.queue.heads() {
            if without_room.contains(&task.job) {
                continue;
            }
            let reserved = reservation.map(|reservation| reservation.worker);
            let candidates = self.candidates_or_queues(task, prefill, reserved);
            if !candidates.is_empty() {
                return (Some((task, candidates)), reservation);
            }
            reservation = reservation.or_else(|| self.reserve(task));
            if !self.has_room_for_others(task.job, prefill) {
                without_room.insert(task.job);
            }
        }
        (None, reservation)
    }

    fn candidates_or_queues(&self, task: TaskId, prefill: u32, reserved: Option<WorkerId>) -> Vec<Candidate> {
        let candidates = self.candidates(task, 0, reserved);
        let is_second_attempt = self.task(task).state != TaskState::Pending;
        if candidates.is_empty() && prefill > 0 && !is_second_attempt {
            return self.candidates(task, prefill, reserved);
        }
        candidates
    }

    /// Whether some worker has room for tasks of that job, whatever a single one of them has been through.
    fn has_room_for_others(&self, job: JobId, prefill: u32) -> bool {
        let has_room = |worker: &Worker| self.has_room(job, worker, 0) || self.has_room(job, worker, prefill);
        self.workers.values().any(|worker| self.gets_tasks(worker) && has_room(worker))
    }

    /// The worker that lacks least of what a task asks for; the one that it had if that still makes sense.
    fn reserve(&self, task: TaskId) -> Option<Reservation> {
        if self.task(task).state != TaskState::Pending {
            return None;
        }
        let request = &self.job(task.job).spec.request;
        let able = self.eligible(task).filter(|(_, worker)| !worker.is_throttled(&self.config));
        let before = self.reservation.filter(|before| before.task == task).map(|before| before.worker);
        let (&worker, _) =
            able.min_by_key(|(id, worker)| (Some(**id) != before, worker.missing(request), worker.held(), **id))?;
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
        let expected =
            self.hosts.values().filter(|host| !matches!(host, HostState::Absent | HostState::Down)).count().max(1);
        u32::try_from(self.queue.len() / expected as u64).unwrap_or(u32::MAX)
    }

    /// The workers that could take that task now, with that many attempts beyond their slots.
    pub(super) fn candidates(&self, task: TaskId, prefill: u32, reserved: Option<WorkerId>) -> Vec<Candidate> {
        let request = &self.job(task.job).spec.request;
        self.eligible(task)
            .filter(|(id, worker)| Some(**id) != reserved && self.has_room(task.job, worker, prefill))
            .map(|(&id, worker)| Candidate {
                worker: id,
                slots: worker.capacity.slots,
                held: worker.held(),
                cores_left: worker.capacity.most_cores().saturating_sub(worker.used.cores + request.cores()),
                memory_bytes_left: worker
                    .capacity
                    .memory_bytes
                    .saturating_sub(worker.used.memory_bytes + request.memory_bytes),
            })
            .collect()
    }

    /// The workers that could take that task as things are, but for what else they hold.
    fn eligible(&self, task: TaskId) -> impl Iterator<Item = (&WorkerId, &Worker)> {
        let fit = move |(_, worker): &(&WorkerId, &Worker)| self.fits(task, worker);
        // Who holds it already counts: a task isn't taken from there to go where it wouldn't have gone.
        let could = |worker: &&Worker| self.gets_tasks(worker) && self.could_take(task, worker);
        let has_elsewhere = self.workers.values().filter(could).any(|worker| !self.avoids(task, worker.host));
        self.workers.iter().filter(fit).filter(move |(_, worker)| !has_elsewhere || !self.avoids(task, worker.host))
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
        self.attempts.insert(attempt, Attempt { task, worker, phase: Phase::Scheduled, since: None, has_ended: false });
        let state = self.task_mut(task);
        state.state = state.state.with(attempt);
        state.tried += 1;
        let tried = state.tried;
        let host = self.workers[&worker].host;
        let spec = &self.jobs[task.job.0 as usize].spec;
        let holder = self.workers.get_mut(&worker).expect("a policy picks one of the candidates");
        holder.attempts.insert(attempt);
        holder.used.add(&spec.request);
        if holder.jobs.insert(task.job) {
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
        let idle: u32 = self.workers.values().filter(|worker| self.gets_tasks(worker)).map(Worker::free_slots).sum();
        if idle == 0 {
            return;
        }
        let asked = self.attempts.values().filter(|attempt| attempt.phase == Phase::Recalling).count() as u32;
        for _ in asked..idle {
            let Some(attempt) = self.longest_queue_end() else { return };
            let held = self.attempts.get_mut(&attempt).expect("the queue's end is an attempt");
            held.phase = Phase::Recalling;
            effects.push(Effect::Send { worker: held.worker, message: ToAgent::Recall { attempt } });
        }
    }

    /// The last attempt of the longest queue that a free slot elsewhere could take.
    fn longest_queue_end(&self) -> Option<AttemptId> {
        let queued = |worker: &Worker| {
            let recalled = worker.attempts.iter().filter(|id| self.attempts[id].phase == Phase::Recalling).count();
            worker.queued().saturating_sub(recalled as u32)
        };
        let mut donors: Vec<&Worker> =
            self.workers.values().filter(|worker| worker.health == Health::Healthy && queued(worker) > 0).collect();
        donors.sort_by_cached_key(|worker| std::cmp::Reverse(queued(worker)));
        let waits = |reservation: &Reservation| self.queue.contains(reservation.task);
        let reserved = self.reservation.filter(waits).map(|reservation| reservation.worker);
        donors.into_iter().find_map(|donor| {
            donor.attempts.iter().rev().copied().find(|id| {
                let attempt = &self.attempts[id];
                attempt.phase == Phase::Scheduled && !self.candidates(attempt.task, 0, reserved).is_empty()
            })
        })
    }
}
