//! The workers, and the order in which they are asked for room: those with a free slot as the policy ranks them, then those whose queues
//! are short. So a placement looks at few workers, however many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Index;

use crate::event::WorkerId;
use crate::policy::{Policy, PolicyKind, Rank, Room, SHARE_BITS, share};
use crate::worker::{Health, Worker};

/// All workers.
#[derive(Debug)]
pub(crate) struct Roster {
    workers: BTreeMap<WorkerId, Worker>,
    policy: Box<dyn Policy>,
    /// Healthy ones with a free slot.
    idle: BTreeSet<(Rank, WorkerId)>,
    /// Healthy ones without: what they hold beyond their slots and wasn't asked back, for each of these.
    full: BTreeSet<(u64, WorkerId)>,
    /// How many workers have so many slots.
    slots: BTreeMap<u32, usize>,
}

/// Where a worker stands in the orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Nowhere,
    Idle(Rank),
    Full(u64),
}

impl Roster {
    pub(crate) fn new(policy: PolicyKind) -> Self {
        Self {
            workers: BTreeMap::new(),
            policy: policy.build(),
            idle: BTreeSet::new(),
            full: BTreeSet::new(),
            slots: BTreeMap::new(),
        }
    }

    pub(crate) fn get(&self, worker: WorkerId) -> Option<&Worker> {
        self.workers.get(&worker)
    }

    pub(crate) fn contains(&self, worker: WorkerId) -> bool {
        self.workers.contains_key(&worker)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// In the order of their joining.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.workers.iter().map(|(id, worker)| (*id, worker))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values()
    }

    /// How many are HEALTHY.
    pub(crate) fn healthy(&self) -> usize {
        self.idle.len() + self.full.len()
    }

    pub(crate) fn insert(&mut self, id: WorkerId, worker: Worker) {
        *self.slots.entry(worker.capacity.slots).or_default() += 1;
        self.enter(id, self.place_of(&worker));
        let before = self.workers.insert(id, worker);
        assert!(before.is_none(), "a worker's name is used once");
    }

    pub(crate) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.workers.remove(&id)?;
        let place = self.place_of(&worker);
        self.leave(id, place);
        let alike = self.slots.get_mut(&worker.capacity.slots).expect("it was counted");
        *alike -= 1;
        if *alike == 0 {
            self.slots.remove(&worker.capacity.slots);
        }
        Some(worker)
    }

    /// Changes a worker, if it is there. Its slots stay as they are.
    pub(crate) fn change<T>(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker) -> T) -> Option<T> {
        let before = self.place_of(self.workers.get(&id)?);
        let worker = self.workers.get_mut(&id)?;
        let changed = change(worker);
        let after = self.place_of(&self.workers[&id]);
        if before != after {
            self.leave(id, before);
            self.enter(id, after);
        }
        Some(changed)
    }

    /// The healthy workers with a free slot, in the order in which the policy would take them.
    pub(crate) fn idle(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        let first = self.policy.last().map_or((Rank::MIN, WorkerId(0)), |last| (Rank::MIN, WorkerId(last.0 + 1)));
        let ids = self.idle.range(first..).chain(self.idle.range(..first)).map(|(_, id)| *id);
        ids.map(|id| (id, &self.workers[&id]))
    }

    /// A policy's pick was taken.
    pub(crate) fn picked(&mut self, worker: WorkerId) {
        self.policy.picked(worker);
    }

    /// The healthy workers without a free slot that may have room for another attempt, the shortest queue first: those with fewer than
    /// `beyond` beyond their slots and fewer than `depth` for each slot, and a few others.
    pub(crate) fn shortest_queues(&self, beyond: u32, depth: u32) -> impl Iterator<Item = (WorkerId, &Worker)> {
        let fewest_slots = u128::from(self.slots.keys().next().copied().unwrap_or(1));
        let may_have_room = move |length: u64| {
            length >> SHARE_BITS < u64::from(depth)
                && (u128::from(length) * fewest_slots) >> SHARE_BITS < u128::from(beyond)
        };
        self.full.iter().take_while(move |(length, _)| may_have_room(*length)).map(|(_, id)| (*id, &self.workers[id]))
    }

    /// The healthy workers that hold more than their slots and what was asked back, the longest queue first.
    pub(crate) fn longest_queues(&self) -> impl Iterator<Item = &Worker> {
        self.full.iter().rev().take_while(|(length, _)| *length > 0).map(|(_, id)| &self.workers[id])
    }

    fn place_of(&self, worker: &Worker) -> Place {
        if worker.health != Health::Healthy {
            return Place::Nowhere;
        }
        if !worker.has_slot() {
            return Place::Full(share(worker.left_in_queue(), worker.capacity.slots));
        }
        Place::Idle(self.policy.rank(&Room {
            slots: worker.capacity.slots,
            held: worker.held(),
            cores_left: worker.capacity.most_cores().saturating_sub(worker.used.cores),
            memory_bytes_left: worker.capacity.memory_bytes.saturating_sub(worker.used.memory_bytes),
        }))
    }

    fn enter(&mut self, id: WorkerId, place: Place) {
        match place {
            Place::Nowhere => {}
            Place::Idle(rank) => drop(self.idle.insert((rank, id))),
            Place::Full(length) => drop(self.full.insert((length, id))),
        }
    }

    fn leave(&mut self, id: WorkerId, place: Place) {
        match place {
            Place::Nowhere => {}
            Place::Idle(rank) => drop(self.idle.remove(&(rank, id))),
            Place::Full(length) => drop(self.full.remove(&(length, id))),
        }
    }

    /// Panics if the orders aren't those of the workers.
    pub(crate) fn check(&self) {
        let mut healthy = 0;
        for (&id, worker) in &self.workers {
            let place = self.place_of(worker);
            healthy += usize::from(place != Place::Nowhere);
            let is_there = match place {
                Place::Nowhere => true,
                Place::Idle(rank) => self.idle.contains(&(rank, id)),
                Place::Full(length) => self.full.contains(&(length, id)),
            };
            assert!(is_there, "{id:?} isn't where it belongs: {place:?}");
        }
        assert_eq!(self.healthy(), healthy, "healthy workers");
        assert_eq!(self.slots.values().sum::<usize>(), self.workers.len(), "workers by slots");
    }
}

impl Index<&WorkerId> for Roster {
    type Output = Worker;

    fn index(&self, worker: &WorkerId) -> &Worker {
        &self.workers[worker]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap as Map;

    use titan_proto::id::{AttemptId, Epoch};
    use titan_proto::time::Timestamp;

    use super::*;
    use crate::event::{Capacity, HostId};

    fn attempt(number: u32) -> AttemptId {
        AttemptId { epoch: Epoch(1), number }
    }

    fn roster(policy: PolicyKind, slots: &[u32]) -> Roster {
        let mut roster = Roster::new(policy);
        for (number, &slots) in slots.iter().enumerate() {
            let capacity = Capacity { slots, cores: slots, memory_bytes: 1 << 30, ..Capacity::default() };
            let worker = Worker::new(HostId(number as u32), capacity, Timestamp::default());
            roster.insert(WorkerId(number as u32), worker);
        }
        roster
    }

    fn give(roster: &mut Roster, worker: u32, attempts: std::ops::Range<u32>) {
        roster.change(WorkerId(worker), |worker| worker.attempts.extend(attempts.map(attempt)));
        roster.check();
    }

    #[test]
    fn the_idle_come_as_the_policy_ranks_them() {
        let order = |roster: &Roster| roster.idle().map(|(id, _)| id.0).collect::<Vec<_>>();
        let mut loaded = roster(PolicyKind::LeastLoaded, &[2, 8, 4]);
        assert_eq!(order(&loaded), [1, 2, 0], "among equals the larger");
        give(&mut loaded, 1, 0..4);
        give(&mut loaded, 2, 10..13);
        assert_eq!(order(&loaded), [0, 1, 2]);
        give(&mut loaded, 0, 20..22);
        assert_eq!(order(&loaded), [1, 2], "one without a free slot isn't idle");

        let mut turns = roster(PolicyKind::RoundRobin, &[4, 4, 4]);
        turns.picked(WorkerId(0));
        assert_eq!(order(&turns), [1, 2, 0]);
        turns.picked(WorkerId(2));
        assert_eq!(order(&turns), [0, 1, 2], "after the last comes the first");
        turns.picked(WorkerId(1));
        turns.remove(WorkerId(1));
        assert_eq!(order(&turns), [2, 0], "after one that has gone the next");
    }

    #[test]
    fn the_shortest_queue_comes_first_and_those_that_are_too_long_not_at_all() {
        let mut roster = roster(PolicyKind::LeastLoaded, &[2, 2, 2, 2]);
        for (worker, held) in [(0, 5), (1, 3), (2, 2), (3, 1)] {
            give(&mut roster, worker, worker * 10..worker * 10 + held);
        }
        let shortest = |beyond, depth| roster.shortest_queues(beyond, depth).map(|(id, _)| id.0).collect::<Vec<_>>();
        assert_eq!(shortest(9, 9), [2, 1, 0]);
        assert_eq!(shortest(9, 1), [2, 1], "no more than one for each slot");
        assert_eq!(shortest(1, 9), [2], "no more than one");
        assert_eq!(shortest(0, 9), []);
        assert_eq!(roster.longest_queues().map(|worker| worker.host.0).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn who_falls_silent_or_goes_has_no_room() {
        let mut roster = roster(PolicyKind::BinPacking, &[2, 2]);
        roster.change(WorkerId(0), |worker| worker.health = Health::Unhealthy);
        roster.check();
        assert_eq!((roster.healthy(), roster.idle().count()), (1, 1));
        roster.change(WorkerId(0), |worker| worker.health = Health::Healthy);
        assert!(roster.remove(WorkerId(1)).is_some() && roster.remove(WorkerId(1)).is_none());
        roster.check();
        assert_eq!(roster.change(WorkerId(1), |_| ()), None);
        assert_eq!(roster.slots, Map::from([(2, 1)]));
    }
}
