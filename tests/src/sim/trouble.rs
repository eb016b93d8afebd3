//! Carries faults out, and what follows from them for connections.

use std::time::Duration;

use titan_agent::core::Event as AgentEvent;
use titan_manager::{Event, HostId, WorkerId};
use titan_proto::id::AttemptId;
use titan_proto::message::{Outcome, ToManager};

use super::faults::{Fault, Lie};
use super::wire::{LinkId, Side};
use super::world::{Happening, World};

/// A network's own patience with a connection over which nothing passes, where no lease bounds it.
const NETWORK_PATIENCE: Duration = Duration::from_secs(90);

impl World {
    pub(super) fn go_wrong(&mut self, fault: Fault) {
        self.note(&format!("{fault:?}"));
        match fault {
            Fault::Drop { host, agent_notices } => {
                if let Some(id) = self.current_link(host) {
                    self.cut(id, agent_notices);
                }
            }
            Fault::Silence { host, deaf, span, cuts } => self.silence(host, deaf, span, cuts),
            Fault::Crash { host } => {
                if let Some(worker) = self.current_worker(host) {
                    self.die(worker, "it crashes");
                }
            }
            Fault::Freeze { host, span } => {
                let machine = self.machines.get_mut(&HostId(host)).expect("hosts stay");
                machine.frozen_until = machine.frozen_until.max(self.now + span);
            }
            Fault::GoDown { host } => self.go_down(HostId(host)),
            Fault::Tamper { host, toward, tamper } => {
                if let Some(id) = self.current_link(host) {
                    self.links.get_mut(&id).expect("links stay").toward(toward).tamper = Some(tamper);
                    // A frame that is missing at the end, or a length that is too long, only time can tell.
                    self.after(NETWORK_PATIENCE, Happening::Cut(id));
                    self.hindered_until = self.hindered_until.max(self.now + NETWORK_PATIENCE);
                }
            }
            Fault::Lie { host, lie } => self.lie(host, lie),
            Fault::ManagerSleep { span } => self.asleep_until = self.asleep_until.max(self.now + span),
            Fault::Cancel => self.tell(Event::Cancel),
            Fault::Partition { host, to, span } => {
                let machine = self.machines.get_mut(&HostId(host)).expect("hosts stay");
                if to != Some(Side::Manager) {
                    machine.deaf_until = machine.deaf_until.max(self.now + span);
                }
                if to != Some(Side::Agent) {
                    machine.mute_until = machine.mute_until.max(self.now + span);
                }
            }
            Fault::TitanDies { power, back_after } if self.life.is_up => self.titan_dies(power, back_after),
            Fault::TitanDies { .. } => {}
            Fault::Disk(fault) => self.break_disk(fault),
            Fault::Ghost { host } => {
                if let Some(worker) = self.current_worker(host) {
                    self.ghost_speaks(worker);
                }
            }
        }
    }

    /// The newest agent on that host that isn't gone.
    fn current_worker(&self, host: u32) -> Option<WorkerId> {
        let here = self.agents.iter().filter(|(_, agent)| agent.host == HostId(host) && !agent.is_gone);
        here.map(|(worker, _)| *worker).next_back()
    }

    fn current_link(&self, host: u32) -> Option<LinkId> {
        self.current_worker(host).and_then(|worker| self.link_of(worker, Side::Manager))
    }

    /// A connection is gone with what was in flight; its ends learn of it at their own times.
    pub(super) fn cut(&mut self, id: LinkId, agent_notices: Option<Duration>) {
        let link = self.links.get_mut(&id).expect("links stay");
        if !std::mem::replace(&mut link.is_open, false) {
            return;
        }
        self.note(&format!("{id:?} is cut"));
        let manager_notices = self.random.millis(0, 3_000);
        self.after(manager_notices, Happening::Noticed(id, Side::Manager));
        let bounded_by_lease = !self.scenario.config.lease.is_zero();
        if let Some(span) = agent_notices.or((!bounded_by_lease).then_some(NETWORK_PATIENCE)) {
            self.after(span, Happening::Noticed(id, Side::Agent));
        }
    }

    /// titan's machine is gone: nobody says that a connection is closed, and only the lease, or the network, ends it.
    pub(super) fn fall_silent(&mut self, id: LinkId) {
        self.links.get_mut(&id).expect("links stay").is_open = false;
        if self.scenario.config.lease.is_zero() {
            self.after(NETWORK_PATIENCE, Happening::Noticed(id, Side::Agent));
        }
    }

    /// One end has closed a connection: nothing passes any more, and the other end learns of it.
    pub(super) fn close_link(&mut self, id: LinkId, other: Side) {
        let link = self.links.get_mut(&id).expect("links stay");
        if std::mem::replace(&mut link.is_open, false) {
            let span = self.random.millis(1, 300);
            self.after(span, Happening::Noticed(id, other));
        }
    }

    /// An agent's process is gone: titan reads what it had written, and then the end.
    pub(super) fn hang_up(&mut self, id: LinkId) {
        let last_due = self.links.get_mut(&id).expect("links stay").to_manager.last_due();
        self.at(last_due.max(self.now) + Duration::from_millis(1), Happening::Noticed(id, Side::Manager));
    }

    pub(super) fn on_noticed(&mut self, id: LinkId, side: Side) {
        let worker = self.links[&id].worker;
        if self.link_of(worker, side) != Some(id) {
            return;
        }
        self.note(&format!("{side:?} notices that {id:?} of {worker:?} is gone"));
        match side {
            Side::Manager => self.close_desk(worker),
            Side::Agent if self.scenario.resumes => self.close_agent(worker),
            Side::Agent => self.tell_agent(worker, AgentEvent::ChannelClosed),
        }
    }

    fn silence(&mut self, host: u32, deaf: Option<Side>, span: Duration, cuts: bool) {
        let Some(id) = self.current_link(host) else { return };
        let until = self.now + span;
        for side in [Side::Manager, Side::Agent] {
            if deaf.is_none_or(|deaf| deaf == side) {
                let pipe = self.links.get_mut(&id).expect("links stay").toward(side);
                pipe.silent_until = pipe.silent_until.max(Some(until));
            }
        }
        if cuts {
            self.at(until, Happening::Cut(id));
        }
    }

    fn go_down(&mut self, host: HostId) {
        self.machines.get_mut(&host).expect("hosts stay").is_down = true;
        let here: Vec<WorkerId> =
            self.agents.iter().filter(|(_, agent)| agent.host == host).map(|(worker, _)| *worker).collect();
        for worker in here {
            if let Some(id) = self.link_of(worker, Side::Agent) {
                self.links.get_mut(&id).expect("links stay").is_open = false;
                // Without power nobody says that a connection is closed: then silence has to tell.
                if self.random.chance(50) {
                    self.after(Duration::from_millis(500), Happening::Noticed(id, Side::Manager));
                }
                self.agents.get_mut(&worker).expect("agents stay").link = None;
            }
            self.die(worker, "its host is down");
        }
    }

    fn lie(&mut self, host: u32, lie: Lie) {
        let Some(worker) = self.current_worker(host) else { return };
        let unknown = AttemptId { epoch: self.scenario.config.epoch, number: 1 << 30 };
        let failed = |attempt| ToManager::Finished { attempt, outcome: Outcome::failed("a lie"), process: None };
        let agent = &self.agents[&worker];
        let said = match lie {
            Lie::FinishedAgain => agent.outcomes.last().cloned(),
            Lie::FinishedUnknown => Some(failed(unknown)),
            Lie::FinishedOfAnother => {
                let others = self.agents.iter().filter(|(other, agent)| **other != worker && !agent.is_gone);
                others.flat_map(|(_, agent)| agent.computing.keys()).next().map(|attempt| failed(*attempt))
            }
            Lie::RecalledRunning => agent.computing.keys().next().map(|&attempt| ToManager::Recalled { attempt }),
            Lie::StartedUnknown => Some(ToManager::Started { attempt: unknown }),
        };
        if let Some(said) = said {
            self.note(&format!("    {worker:?} lies: {said:?}"));
            self.model.workers.get_mut(&worker).expect("agents are workers").has_lied = true;
            self.agents.get_mut(&worker).expect("agents stay").say(&said);
            self.touched.insert((worker, Side::Agent));
        }
    }
}
