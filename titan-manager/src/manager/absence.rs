//! No host is up: hosts are tried again, and how long that may go on.

use std::time::Duration;

use titan_proto::time::Timestamp;

use super::Manager;
use crate::effect::{Effect, Report};
use crate::event::WorkerId;
use crate::worker::{Health, HostState, Worker};

/// An agent that ends is started afresh within that time, most often, and nothing is said of it.
const SHORT: Duration = Duration::from_secs(10);

impl Manager {
    /// The last sign of life, if no worker is HEALTHY. None, too, before there was any.
    fn none_up_since(&self) -> Option<Timestamp> {
        let is_up = self.workers.values().any(|worker| worker.health == Health::Healthy);
        self.last_heard.filter(|_| !is_up)
    }

    /// When no host has been up for too long, if none is.
    pub(super) fn absence_ends(&self) -> Option<Timestamp> {
        self.none_up_since().map(|since| since + self.config.wait_for_hosts)
    }

    /// Says once that no host is up.
    pub(super) fn notice_absence(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(since) = self.none_up_since() else {
            self.is_absence_told = false;
            return;
        };
        let absent = now.since(since);
        let may_come = self.hosts.values().any(|host| *host != HostState::Down);
        if self.is_absence_told || absent < SHORT || absent >= self.config.wait_for_hosts || !may_come {
            return;
        }
        self.is_absence_told = true;
        effects.push(Effect::Report(Report::NoneUp { span: self.config.wait_for_hosts - absent }));
    }

    /// Nobody waits any more for what workers hold. Those that are there still get their goodbye.
    pub(super) fn give_up_workers(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let holds = |(&id, worker): (&WorkerId, &Worker)| (worker.held() > 0).then_some(id);
        for worker in self.workers.iter().filter_map(holds).collect::<Vec<WorkerId>>() {
            let is_silent = self.workers[&worker].health == Health::Unhealthy;
            self.on_session_lost(now, worker, false, effects);
            effects.extend(is_silent.then_some(Effect::EndSession { worker }));
        }
    }
}
