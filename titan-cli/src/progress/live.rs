//! How far a batch is, as it is written for whoever asks from elsewhere.

use std::collections::BTreeMap;
use std::time::Instant;

use titan_manager::{HostId, Manager};
use titan_proto::id::TaskId;

use super::tally::{HostState, Running, Tally};
use crate::state::live::{Live, LiveFailure, LiveTask, LiveWorker};

/// Tasks that run and are named.
const MAX_RUNNING: usize = 1_000;
/// Tasks of one kind of failure that are named.
const MAX_FAILED: usize = 10;
/// Kinds of failures.
const MAX_KINDS: usize = 100;

/// Everything that is known now.
pub(super) fn live(tally: &Tally, manager: &Manager, label: impl Fn(TaskId) -> String) -> Live {
    let counts = manager.counts();
    let mut running: BTreeMap<HostId, Vec<LiveTask>> = BTreeMap::new();
    for Running { task, host, since, attempt } in tally.running().take(MAX_RUNNING) {
        running.entry(host).or_default().push(LiveTask {
            job: task.job.0,
            task: task.index,
            label: label(task),
            attempt: attempt.to_string(),
            seconds: since.elapsed().as_secs_f64(),
        });
    }
    let hosts = tally.hosts.iter().zip(0..).filter(|(host, _)| host.state != HostState::LeftOut);
    let workers = hosts.map(|(host, number)| LiveWorker {
        host: host.name.clone(),
        state: host.word().to_owned(),
        completed: host.done,
        faults: host.faults,
        reason: host.trouble.as_ref().filter(|_| !host.is_well()).map(|(reason, _)| reason.clone()),
        running: running.remove(&HostId(number)).unwrap_or_default(),
    });
    let workers = workers.collect();
    let failures = tally.failures.iter().take(MAX_KINDS).map(|kind| LiveFailure {
        reason: kind.reason.clone(),
        state: if kind.is_cancelled { "CANCELLED" } else { "FAILED" }.to_owned(),
        count: kind.tasks.len() as u64,
        tasks: kind.tasks.iter().take(MAX_FAILED).map(|task| label(*task)).collect(),
    });
    Live {
        total: counts.total,
        is_growing: counts.is_growing,
        scheduled: counts.scheduled,
        running: counts.running,
        completed: counts.completed,
        failed: counts.failed,
        cancelled: counts.cancelled,
        retries: tally.retries,
        seconds: (Instant::now() - tally.begun).as_secs_f64(),
        workers,
        waits: manager.waits(),
        failures: failures.collect(),
    }
}
