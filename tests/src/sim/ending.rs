//! What must be true when a batch is over: everything said was heard, nobody works on, and all part at a goodbye.

use std::time::Duration;

use titan_manager::WorkerId;
use titan_proto::time::Timestamp;

use super::host::Machine;
use super::wire::Side;
use super::world::World;

/// What the network, a stop and a tick may add to a lease.
const SLACK: Duration = Duration::from_secs(20);
/// The lease of an agent that hasn't been told of another.
const FIRST_LEASE: Duration = Duration::from_secs(60);
/// Without a lease an agent ends when the network tells it that its connection is gone.
const WITHOUT_LEASE: Duration = Duration::from_secs(100);

impl World {
    /// Lets whatever is under way come to its end, and looks whether it has.
    pub(super) fn settle(&mut self) {
        let lease = self.scenario.config.lease;
        let patience = if lease.is_zero() { WITHOUT_LEASE } else { lease.max(FIRST_LEASE) };
        let until = self.last_hindrance() + patience + SLACK;
        while self.now < until {
            self.step();
        }
        let workers: Vec<WorkerId> = self.agents.keys().copied().collect();
        for worker in workers {
            match self.is_well_connected(worker) {
                true if self.desks[&worker].is_late => {}
                true => self.check_idle(worker),
                false => assert!(self.agents[&worker].is_gone, "{worker:?} lives on without titan"),
            }
        }
    }

    /// When everybody is awake, thawed and within reach again.
    fn last_hindrance(&self) -> Timestamp {
        let frozen = self.machines.values().map(Machine::out_of_reach_until);
        let silent = self
            .links
            .values()
            .filter(|link| link.is_open)
            .flat_map(|link| [Side::Manager, Side::Agent].map(|side| link.silent_until(side).unwrap_or_default()));
        frozen.chain(silent).fold(self.now.max(self.asleep_until).max(self.hindered_until), Ord::max)
    }

    fn is_well_connected(&self, worker: WorkerId) -> bool {
        let link = self.link_of(worker, Side::Manager);
        link.is_some() && link == self.link_of(worker, Side::Agent) && self.links[&link.expect("just seen")].is_open
    }

    fn check_idle(&self, worker: WorkerId) {
        let (agent, desk) = (&self.agents[&worker], &self.desks[&worker]);
        assert_eq!(agent.core.running(), 0, "{worker:?} works on");
        assert!(agent.computing.is_empty(), "{worker:?} computes on");
        assert!(desk.unheard.is_empty(), "{worker:?} hasn't heard everything");
        assert!(agent.unheard.is_empty() && agent.unheard_after_bulk.is_empty(), "{worker:?} wasn't heard");
        assert!(desk.desk.session.is_idle() && agent.session.is_idle(), "{worker:?}'s session has something left over");
    }

    /// titan says goodbye; whoever hears it ends at once.
    pub(super) fn part(&mut self) {
        let workers: Vec<WorkerId> = self.desks.keys().copied().collect();
        let connected: Vec<WorkerId> = workers.into_iter().filter(|&worker| self.is_well_connected(worker)).collect();
        for &worker in &connected {
            self.desks.get_mut(&worker).expect("it is connected").desk.session.say_goodbye();
            self.touched.insert((worker, Side::Manager));
        }
        let until = self.now + Duration::from_secs(5);
        while self.now < until {
            self.step();
        }
        for worker in connected {
            let agent = &self.agents[&worker];
            assert!(agent.is_gone && agent.said_goodbye, "{worker:?} stays after the goodbye");
        }
    }
}
