//! Pending tasks → workers. Free slots first; then a short queue on each worker, so that a round trip never leaves a core
//! idle; and back from those queues when another worker is idle.

use titan_proto::id::{AttemptId, TaskId};
use titan_proto::message::ToAgent;

use super::Manager;
use crate::effect::Effect;
use crate::event::WorkerId;
use crate::policy::Candidate;
use crate::task::TaskState;
use crate::worker::{Attempt, Health, HostState, Phase, Worker};

impl Manager {
    /// Gives pending tasks to workers until nobody has room for any.
    pub(super) fn place(&mut self, effects: &mut Vec<Effect>) {
        let healthy = self.workers.values().filter(|worker| worker.health == Health::Healthy).count();
        self.begun |= healthy as u64 >= u64::from(self.config.min_workers);
        if !self.begun || self.cancelled {
            return;
        }
        while let Some((task, worker)) = self.next_placement() {
            self.start(task, worker, effects);
        }
    }

    fn next_placement(&mut self) -> Option<(TaskId, WorkerId)> {
        let prefill = self.prefill_limit();
        let has_room = |worker: &Worker| worker.held() < worker.capacity.slots + prefill.min(worker.capacity.slots);
        if !self.workers.values().any(has_room) {
            return None;
        }
        let (task, candidates) = self.queue.heads().find_map(|task| {
            let mut candidates = self.candidates(task, 0);
            let is_second_attempt = self.task(task).state != TaskState::Pending;
            if candidates.is_empty() && prefill > 0 && !is_second_attempt {
                candidates = self.candidates(task, prefill);
            }
            (!candidates.is_empty()).then_some((task, candidates))
        })?;
        Some((task, self.policy.pick(&candidates)))
    }

    /// How many attempts a worker may hold beyond its slots, if it has as many slots: a fair share of what waits.
    fn prefill_limit(&self) -> u32 {
        let expected = self.hosts.values().filter(|host| **host != HostState::Down).count().max(1);
        u32::try_from(self.queue.len() / expected as u64).unwrap_or(u32::MAX)
    }

    /// The workers that could take that task now, with that many attempts beyond their slots.
    fn candidates(&self, task: TaskId, prefill: u32) -> Vec<Candidate> {
        let fit = |(_, worker): &(&WorkerId, &Worker)| self.fits(task, worker);
        let avoided = self.avoid.get(&task).copied();
        let has_elsewhere = self.workers.iter().filter(fit).any(|(_, worker)| Some(worker.host) != avoided);
        self.workers
            .iter()
            .filter(fit)
            .filter(|(_, worker)| !has_elsewhere || Some(worker.host) != avoided)
            .filter(|(_, worker)| worker.held() < worker.capacity.slots + prefill.min(worker.capacity.slots))
            .map(|(&id, worker)| Candidate { worker: id, slots: worker.capacity.slots, held: worker.held() })
            .collect()
    }

    /// Whether that worker could ever take that task as things are.
    fn fits(&self, task: TaskId, worker: &Worker) -> bool {
        let holds_it = self.task(task).state.live().any(|attempt| worker.attempts.contains(&attempt));
        let large_enough = worker.slot_bytes() >= self.job(task.job).spec.task_memory_bytes;
        worker.health == Health::Healthy && large_enough && !holds_it
    }

    fn start(&mut self, task: TaskId, worker: WorkerId, effects: &mut Vec<Effect>) {
        let attempt = AttemptId { epoch: self.config.epoch, number: self.next_attempt };
        self.next_attempt += 1;
        self.queue.take(task);
        self.attempts.insert(attempt, Attempt { task, worker, phase: Phase::Scheduled });
        let state = self.task(task).state.with(attempt);
        self.task_mut(task).state = state;
        let holder = self.workers.get_mut(&worker).expect("a policy picks one of the candidates");
        holder.attempts.insert(attempt);
        if holder.jobs.insert(task.job) {
            let work = self.jobs[task.job.0 as usize].spec.work.clone();
            effects.push(Effect::Send { worker, message: ToAgent::Job { job: task.job, work } });
        }
        effects.push(Effect::Send { worker, message: ToAgent::Start { attempt, task } });
    }

    /// When nothing waits any more and a worker is idle: asks others to give back what they haven't begun.
    pub(super) fn take_back_for_idle(&mut self, effects: &mut Vec<Effect>) {
        if self.queue.len() > 0 || self.cancelled || !self.begun {
            return;
        }
        let healthy = self.workers.values().filter(|worker| worker.health == Health::Healthy);
        let idle: u32 = healthy.map(Worker::free_slots).sum();
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
        donors.sort_by_key(|worker| std::cmp::Reverse(queued(worker)));
        donors.into_iter().find_map(|donor| {
            donor.attempts.iter().rev().copied().find(|id| {
                let attempt = &self.attempts[id];
                attempt.phase == Phase::Scheduled && !self.candidates(attempt.task, 0).is_empty()
            })
        })
    }
}
