//! What the tasks of a job ask for, against what is known of hosts before they are asked: what isn't known may be there.

use std::collections::BTreeMap;
use std::ops::Range;

use titan_manager::{Capacity, Request};

use super::Job;
use crate::config::cluster::{Cluster, Host, Reach};
use crate::config::jobs::Slots;
use crate::config::labels::labels;
use crate::config::toml_file::Problems;
use crate::config::units::human_size;

/// A host, as far as it is known: what isn't is without a bound.
#[derive(Debug, Clone)]
pub(crate) struct KnownHost {
    pub(crate) capacity: Capacity,
    /// This machine: it is known what system it has.
    pub(crate) is_here: bool,
}

impl KnownHost {
    /// The hosts of a cluster.
    pub(crate) fn all(cluster: &Cluster) -> Vec<Self> {
        let share = cluster.local_share_bytes();
        cluster.hosts.iter().map(|host| Self::of(host, share)).collect()
    }

    fn of(host: &Host, share: u64) -> Self {
        let is_here = host.reach == Reach::Local;
        let cores = if is_here { titan_agent::machine::cores() } else { u32::MAX };
        let memory_bytes = host.memory.unwrap_or(u64::MAX);
        let target = if is_here { titan_agent::machine::target() } else { String::new() };
        let slots = match host.slots {
            Slots::Exactly(slots) => slots,
            Slots::Cores | Slots::Jobs(_) => 0,
        };
        let capacity = Capacity {
            slots,
            cores,
            memory_bytes: if is_here { memory_bytes.min(share) } else { memory_bytes },
            resources: host.resources.clone(),
            labels: labels(&host.name, &target, &host.labels),
        };
        Self { capacity, is_here }
    }

    /// Whether it may have what a task asks for: what isn't known may be there.
    pub(crate) fn may_meet(&self, request: &Request) -> bool {
        let mut request = request.clone();
        if !self.is_here {
            request.wanted.retain(|condition| !["os", "arch"].contains(&condition.label.as_str()));
        }
        self.capacity.meets(&request)
    }
}

/// Notes what no host can meet, key by key; or that none has all of it at once.
pub(super) fn check(job: &Job, hosts: &[KnownHost], problems: &mut Problems) {
    let request = job.request();
    if hosts.is_empty() || hosts.iter().any(|host| host.may_meet(&request)) {
        return;
    }
    let none = Request::default;
    let alone: [(Range<usize>, Request, String, String); 3] = [
        (
            job.places.cpus.clone(),
            Request { cpus: request.cpus, ..none() },
            format!("{} cores", request.cpus),
            most(hosts, |capacity| u64::from(capacity.cores.max(capacity.slots)), |cores| cores.to_string()),
        ),
        (
            job.places.memory.clone(),
            Request { memory_bytes: request.memory_bytes, ..none() },
            human_size(request.memory_bytes),
            most(hosts, |capacity| capacity.memory_bytes, human_size),
        ),
        (
            job.places.wanted.clone(),
            Request { wanted: request.wanted.clone(), ..none() },
            "these labels".to_owned(),
            "labels are keys of the cluster file: labels = [\"audio\"]".to_owned(),
        ),
    ];
    let of_resources = request.resources.iter().map(|(name, count)| {
        let resources = BTreeMap::from([(name.clone(), *count)]);
        let has = |capacity: &Capacity| -> u64 { capacity.resources.get(name).copied().unwrap_or(0).into() };
        let largest = match hosts.iter().any(|host| has(&host.capacity) > 0) {
            true => most(hosts, has, |count| count.to_string()),
            false => format!("resources are keys of the cluster file: resources = {{ {name} = {count} }}"),
        };
        (job.places.resources.clone(), Request { resources, ..none() }, format!("{count} of '{name}'"), largest)
    });
    let before = problems.len();
    for (place, part, what, label) in alone.into_iter().chain(of_resources) {
        if !hosts.iter().any(|host| host.may_meet(&part)) {
            problems.add(place, format!("no host has {what} for a task of '{}'", job.name), label);
        }
    }
    if problems.len() == before {
        let message = format!("no host has all that a task of '{}' asks for", job.name);
        problems.add(job.places.name.clone(), message, "each of it is somewhere, but not together");
    }
}

fn most(hosts: &[KnownHost], of: impl Fn(&Capacity) -> u64, shown: impl Fn(u64) -> String) -> String {
    let most = hosts.iter().map(|host| of(&host.capacity)).max().unwrap_or(0);
    format!("the largest has {}", shown(most))
}
