//! Hosts that are away: they are tried again as long as the batch goes on, and waited for no longer than they may be. With
//! nobody left to wait for, the batch ends and can be resumed.

use std::time::Duration;

use titan_proto::time::Timestamp;

use super::Manager;
use crate::effect::{Effect, Report};
use crate::event::{HostId, WorkerId};
use crate::worker::{Health, HostState, Worker};

/// An agent that ends is started afresh within that time, most often, and nothing is said of it.
const SHORT: Duration = Duration::from_secs(10);

/// A host that is away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Away {
    /// Its last sign of life, or the batch's beginning.
    since: Timestamp,
    /// Whether a start has failed since: one that is under way is waited for, however long it takes.
    has_failed: bool,
}

impl Manager {
    /// A host that isn't there now is waited for, but not for ever.
    pub(super) fn wait_for_host(&mut self, host: HostId, since: Timestamp) {
        self.away.insert(host, Away { since, has_failed: false });
    }

    pub(super) fn on_start_failed(&mut self, host: HostId) {
        if let Some(away) = self.away.get_mut(&host) {
            away.has_failed = true;
        }
    }

    /// Time in which this side itself slept doesn't count.
    pub(super) fn forgive_absences(&mut self, now: Timestamp, span: Duration) {
        self.away.values_mut().for_each(|away| away.since = now.min(away.since + span));
    }

    /// Called now and then: who is away for too long, and whether anybody is up.
    pub(super) fn review_absences(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let patience = self.config.wait_for_hosts;
        let is_late = |worker: &Worker| {
            worker.health == Health::Unhealthy && !worker.is_absent && now.since(worker.last_heard) >= patience
        };
        let late: Vec<WorkerId> = self.workers.iter().filter(|(_, worker)| is_late(worker)).map(|(id, _)| id).collect();
        for worker in late {
            self.workers.change(worker, |worker| worker.is_absent = true);
        }
        for (&host, away) in &self.away {
            if self.hosts[&host] == HostState::Starting && away.has_failed && now.since(away.since) >= patience {
                self.hosts.set(host, HostState::Absent);
                self.recheck = true;
            }
        }
        self.notice_absence(now, effects);
    }

    /// Says once that no host is up, and for how long yet one is waited for.
    fn notice_absence(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let is_up = self.workers.healthy() > 0;
        let heard = self.workers.values().map(|worker| worker.last_heard);
        let last = heard.chain(self.away.values().map(|away| away.since)).max();
        let Some(absent) = last.filter(|_| !is_up).map(|last| now.since(last)) else {
            self.is_absence_told = false;
            return;
        };
        let is_silent = self.workers.values().any(|worker| worker.health == Health::Unhealthy);
        let is_short = absent < SHORT && !is_silent;
        if self.is_absence_told || is_short || absent >= self.config.wait_for_hosts {
            return;
        }
        self.is_absence_told = true;
        effects.push(Effect::Report(Report::NoneUp { span: self.config.wait_for_hosts - absent }));
    }

    /// Nobody waits any more for what workers hold. Those that are there still get their goodbye.
    pub(super) fn give_up_workers(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let holds = |(id, worker): (WorkerId, &Worker)| (worker.held() > 0).then_some(id);
        for worker in self.workers.iter().filter_map(holds).collect::<Vec<WorkerId>>() {
            let is_silent = self.workers[&worker].health == Health::Unhealthy;
            self.on_session_lost(now, worker, false, effects);
            effects.extend(is_silent.then_some(Effect::EndSession { worker }));
        }
    }
}
