//! What requests take of workers: slots are counted elsewhere, cores, memory and resources here.

use std::collections::BTreeMap;

use crate::event::{Capacity, Condition, Request};
use crate::worker::Worker;

/// What the attempts that a worker holds take of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Those that were asked for, and one for each attempt that didn't ask.
    pub(crate) cores: u32,
    pub(crate) memory_bytes: u64,
    /// Names whose number is 0 aren't there.
    pub(crate) resources: BTreeMap<String, u32>,
    /// Attempts that take more than one core and a slot.
    pub(crate) large: u32,
}

impl Used {
    pub(crate) fn add(&mut self, request: &Request) {
        self.cores += request.cores();
        self.memory_bytes += request.memory_bytes;
        self.large += u32::from(request.is_large());
        for (name, number) in request.resources.iter().filter(|(_, number)| **number > 0) {
            *self.resources.entry(name.clone()).or_default() += number;
        }
    }

    pub(crate) fn remove(&mut self, request: &Request) {
        self.cores -= request.cores();
        self.memory_bytes -= request.memory_bytes;
        self.large -= u32::from(request.is_large());
        for (name, number) in request.resources.iter().filter(|(_, number)| **number > 0) {
            let left = self.resources.get_mut(name).expect("what is given back was taken");
            *left -= number;
            if *left == 0 {
                self.resources.remove(name);
            }
        }
    }

    fn of(&self, resource: &str) -> u32 {
        self.resources.get(resource).copied().unwrap_or(0)
    }
}

impl Request {
    /// The cores that count as used while it is held.
    pub(crate) fn cores(&self) -> u32 {
        self.cpus.max(1)
    }

    /// Whether it takes more than one core and a slot: it is never queued on a worker.
    pub(crate) fn is_large(&self) -> bool {
        self.cpus > 1 || self.memory_bytes > 0 || self.resources.values().any(|&number| number > 0)
    }
}

impl Capacity {
    /// The cores that tasks can have; somebody who gives a machine more slots than cores wants them used.
    pub(crate) fn most_cores(&self) -> u32 {
        self.cores.max(self.slots)
    }

    pub(crate) fn of(&self, resource: &str) -> u32 {
        self.resources.get(resource).copied().unwrap_or(0)
    }

    /// Whether it could meet that request if nothing else ran.
    pub fn meets(&self, request: &Request) -> bool {
        request.cpus <= self.most_cores()
            && request.memory_bytes <= self.memory_bytes
            && request.resources.iter().all(|(name, &number)| number <= self.of(name))
            && request.wanted.iter().all(|condition| self.holds(condition))
    }

    fn holds(&self, condition: &Condition) -> bool {
        let value = self.labels.get(&condition.label);
        let matches = value.is_some_and(|value| condition.value.as_ref().is_none_or(|wanted| wanted == value));
        matches != condition.negated
    }
}

impl Worker {
    /// Whether all that is asked for beside a slot is free now.
    pub(crate) fn has_free(&self, request: &Request) -> bool {
        let (used, capacity) = (&self.used, &self.capacity);
        let has_cores = request.cpus == 0 || used.cores.saturating_add(request.cpus) <= capacity.most_cores();
        let has = |name: &str, number: u32| number == 0 || used.of(name).saturating_add(number) <= capacity.of(name);
        has_cores
            && used.memory_bytes.saturating_add(request.memory_bytes) <= capacity.memory_bytes
            && request.resources.iter().all(|(name, &number)| has(name, number))
    }

    /// Whether it may be queued there beyond the slots: it starts by itself when a slot is free, so a slot must be all that
    /// it needs then.
    pub(crate) fn may_queue(&self, request: &Request) -> bool {
        !request.is_large() && (request.cpus == 0 || self.used.large == 0)
    }

    /// Cores and memory that are missing now.
    pub(crate) fn missing(&self, request: &Request) -> (u32, u64) {
        let cores = self.used.cores.saturating_add(request.cpus).saturating_sub(self.capacity.most_cores());
        let memory_bytes =
            self.used.memory_bytes.saturating_add(request.memory_bytes).saturating_sub(self.capacity.memory_bytes);
        (cores, memory_bytes)
    }
}
