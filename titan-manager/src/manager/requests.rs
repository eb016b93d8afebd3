//! Tasks that wait for what no host has, now or ever: they FAIL, and say what is missing and where.

use std::collections::BTreeMap;

use titan_proto::id::TaskId;
use titan_proto::message::MAX_REASON_CHARS;

use super::Manager;
use crate::effect::Effect;
use crate::event::{Capacity, Condition, HostId, Request};
use crate::worker::{HostState, Worker};

/// Most hosts that a reason lists.
const MOST_LISTED_HOSTS: usize = 8;

impl Manager {
    /// Fails what waits and can run nowhere. Looks only after something has changed that could make it so. Returns whether
    /// anything failed.
    pub(super) fn fail_unmeetable(&mut self, effects: &mut Vec<Effect>) -> bool {
        if !std::mem::take(&mut self.recheck) || self.is_stopping() {
            return false;
        }
        let heads: Vec<TaskId> = self.queue.heads().filter(|&task| self.is_unmeetable(task)).collect();
        for &head in &heads {
            let reason = self.unmet_reason(head);
            for task in self.queue.take_alike(head) {
                self.fail_task(task, reason.clone(), None, effects);
            }
        }
        !heads.is_empty()
    }

    /// Whether hosts are up, none that could have it is being started, and none of them can ever meet what a task asks for.
    /// Slots that are too small for all its tasks are another matter: such a batch has no workers.
    pub(super) fn is_unmeetable(&self, task: TaskId) -> bool {
        let is_out = |host| self.is_excluded(task, host);
        let request = &self.job(task.job).spec.request;
        let may_come = |(&host, state): (_, &HostState)| *state == HostState::Starting && !is_out(host);
        let is_turned_away = !self.exclusions(task).is_empty();
        self.has_usable_hosts()
            && !self.workers.is_empty()
            && !self.workers.values().any(|worker| self.could_take(task, worker))
            && (is_turned_away || !self.workers.values().any(|worker| worker.capacity.meets(request)))
            && !self.hosts.iter().any(may_come)
    }

    /// Whether that worker could take that task if nothing else ran.
    pub(super) fn could_take(&self, task: TaskId, worker: &Worker) -> bool {
        let spec = &self.job(task.job).spec;
        !self.is_excluded(task, worker.host)
            && worker.slot_bytes() >= spec.slot_memory_bytes
            && worker.capacity.meets(&spec.request)
    }

    /// Whether a host has turned that task away, or fails its job's setup.
    pub(super) fn is_excluded(&self, task: TaskId, host: HostId) -> bool {
        self.job(task.job).unusable.contains_key(&host)
            || self.troubles.get(&task).is_some_and(|trouble| trouble.lacks.contains_key(&host))
    }

    /// Which hosts have, and in which words.
    fn exclusions(&self, task: TaskId) -> BTreeMap<HostId, &str> {
        let own = self.troubles.get(&task).into_iter().flat_map(|trouble| &trouble.lacks);
        own.chain(&self.job(task.job).unusable).map(|(host, reason)| (*host, reason.as_str())).collect()
    }

    /// Why a task can run nowhere: what hosts said that they lack, or what no host has.
    pub(super) fn unmet_reason(&self, task: TaskId) -> String {
        let request = &self.job(task.job).spec.request;
        let lacks = self.exclusions(task);
        if lacks.is_empty() {
            return self.too_much(request);
        }
        let mut listed: Vec<&str> = lacks.values().copied().take(MOST_LISTED_HOSTS).collect();
        let more = format!("and on {} more hosts", lacks.len() - listed.len());
        if lacks.len() > listed.len() {
            listed.push(&more);
        }
        let has_others = self.workers.values().any(|worker| !lacks.contains_key(&worker.host));
        if has_others {
            listed.push("no other host meets its request");
        }
        listed.join("; ").chars().take(MAX_REASON_CHARS).collect()
    }

    fn too_much(&self, request: &Request) -> String {
        let size = |worker: &&Worker| (worker.capacity.most_cores(), worker.capacity.memory_bytes);
        let meets_where = |worker: &&Worker| {
            let wanted = Request { wanted: request.wanted.clone(), ..Request::default() };
            worker.capacity.meets(&wanted)
        };
        let of_those = self.workers.values().filter(meets_where).max_by_key(size);
        let largest = of_those.or_else(|| self.workers.values().max_by_key(size));
        let largest = largest.map_or_else(String::new, |worker| {
            let only_labels = Request { wanted: request.wanted.clone(), ..Request::default() } == *request;
            match only_labels {
                true => format!("; the labels of one are {}", labels_of(&worker.capacity)),
                false => format!("; the largest{} has {}", name_of(worker), what_it_has(&worker.capacity, request)),
            }
        });
        format!("no host can meet its request ({}){largest}", what_is_asked(request))
    }
}

fn name_of(worker: &Worker) -> String {
    worker.capacity.labels.get("name").map_or_else(String::new, |name| format!(", {name},"))
}

pub(super) fn what_is_asked(request: &Request) -> String {
    let cpus = (request.cpus > 0).then(|| format!("{} cores", request.cpus));
    let memory = (request.memory_bytes > 0).then(|| format!("{} of memory", memory(request.memory_bytes)));
    let resources = request.resources.iter().map(|(name, number)| format!("{name}={number}"));
    let wanted = (!request.wanted.is_empty()).then(|| {
        let conditions: Vec<String> = request.wanted.iter().map(condition).collect();
        format!("where {}", conditions.join(","))
    });
    cpus.into_iter().chain(memory).chain(resources).chain(wanted).collect::<Vec<_>>().join(", ")
}

fn labels_of(capacity: &Capacity) -> String {
    let label = |(label, value): (&String, &String)| match value.is_empty() {
        true => label.clone(),
        false => format!("{label}={value}"),
    };
    capacity.labels.iter().map(label).collect::<Vec<_>>().join(",")
}

fn what_it_has(capacity: &Capacity, request: &Request) -> String {
    let first = [format!("{} cores", capacity.most_cores()), format!("{} of memory", memory(capacity.memory_bytes))];
    let resources = request.resources.keys().map(|name| format!("{name}={}", capacity.of(name)));
    first.into_iter().chain(resources).collect::<Vec<_>>().join(", ")
}

fn condition(condition: &Condition) -> String {
    let not = if condition.negated { "!" } else { "" };
    let value = condition.value.as_ref().map_or_else(String::new, |value| format!("={value}"));
    format!("{not}{}{value}", condition.label)
}

/// In GiB if it is that many, as people ask for it; otherwise in MiB, rounded up.
fn memory(bytes: u64) -> String {
    match bytes {
        1.. if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ => format!("{} MiB", bytes.div_ceil(1 << 20)),
    }
}
