//! Virtual time, and the way of each happening to whoever it concerns.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use titan_manager::{Event, HostId, Manager, WorkerId};
use titan_proto::id::{AttemptId, TaskId};
use titan_proto::time::Timestamp;

use super::desk::TitanSide;
use super::faults::Fault;
use super::host::{AgentSide, Machine};
use super::ledger::Ledger;
use super::life::Life;
use super::model::Model;
use super::random::Random;
use super::scenario::Scenario;
use super::trace::Trace;
use super::wire::{Link, LinkId, Side};
use super::{Ended, Happened, Sabotage};

/// How often each side looks at its clock.
pub(super) const PULSE: Duration = Duration::from_millis(500);
/// No batch of this size may take longer, whatever goes wrong.
const LONGEST_BATCH: Duration = Duration::from_secs(3 * 3_600);
/// More steps than any world needs: it turns on the spot.
const MOST_STEPS: u64 = 1_000_000;

/// Something that is going to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Happening {
    /// The manager's tick.
    ManagerTick,
    /// titan looks for heartbeats that are due.
    Pulse,
    /// An agent's tick.
    AgentTick(WorkerId),
    /// Bytes may have reached an end.
    Arrive(LinkId, Side),
    /// An end may write again.
    Written(LinkId, Side),
    /// An end learns that its connection is gone.
    Noticed(LinkId, Side),
    /// A connection is cut.
    Cut(LinkId),
    /// A computation has ended.
    Computed(WorkerId, AttemptId),
    /// An agent dies.
    Die(WorkerId),
    /// A host's agent says hello.
    Launch(HostId),
    /// titan tries to go on with a session.
    Resume(WorkerId),
    /// The files of a task are in their places, or can't be.
    Committed(TaskId, bool),
    /// A session that the manager gave up is over.
    SessionOver(WorkerId),
    /// A host is given up.
    GiveUp(HostId),
    /// The manager wanted to look at its clock now.
    Wake,
    /// Whoever gives titan its jobs goes on.
    Jobs,
    /// A sync has come to its end.
    Synced,
    /// There is nothing more to tell of a task.
    Told(TaskId),
    /// Another titan goes on.
    TitanReturns,
    /// Something goes wrong.
    Fault(usize),
}

impl Happening {
    /// Whether it is titan that does it: it dies with it.
    fn is_titans(self) -> bool {
        match self {
            Self::ManagerTick
            | Self::Pulse
            | Self::Launch(_)
            | Self::Resume(_)
            | Self::Committed(..)
            | Self::SessionOver(_)
            | Self::GiveUp(_)
            | Self::Wake
            | Self::Jobs
            | Self::Synced
            | Self::Told(_) => true,
            Self::AgentTick(_)
            | Self::Arrive(..)
            | Self::Written(..)
            | Self::Noticed(..)
            | Self::Cut(_)
            | Self::Computed(..)
            | Self::Die(_)
            | Self::TitanReturns
            | Self::Fault(_) => false,
        }
    }
}

/// Everything there is.
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) scenario: Scenario,
    pub(super) random: Random,
    pub(super) trace: Trace,
    pub(super) happened: Happened,
    pub(super) sabotage: Sabotage,
    pub(super) manager: Manager,
    pub(super) model: Model,
    pub(super) life: Life,
    pub(super) ledger: Ledger,
    /// Whether people know how it ended.
    pub(super) is_finished: bool,
    pub(super) desks: BTreeMap<WorkerId, TitanSide>,
    pub(super) agents: BTreeMap<WorkerId, AgentSide>,
    pub(super) machines: BTreeMap<HostId, Machine>,
    pub(super) links: BTreeMap<LinkId, Link>,
    /// When the manager wants to look at its clock.
    pub(super) wake_at: Option<Timestamp>,
    /// titan does nothing before.
    pub(super) asleep_until: Timestamp,
    /// A connection may be broken until then without anybody's knowing.
    pub(super) hindered_until: Timestamp,
    /// How often each task has begun to compute anywhere.
    pub(super) tries: BTreeMap<TaskId, u32>,
    pub(super) executed: BTreeSet<AttemptId>,
    /// Who may have something to write.
    pub(super) touched: BTreeSet<(WorkerId, Side)>,
    /// What is still to be told of jobs, in order.
    pub(super) job_events: VecDeque<(Duration, Event)>,
    /// Each with its place among those of one moment, and titan's life.
    heap: BinaryHeap<Reverse<(Timestamp, u64, u32, Happening)>>,
    next_place: u64,
}

impl World {
    pub(super) fn new(scenario: Scenario, sabotage: Sabotage) -> Self {
        let config = scenario.config.clone();
        let hosts = 0..scenario.hosts.len() as u32;
        Self {
            now: Timestamp::default(),
            random: Random::new(!scenario.seed),
            trace: Trace::new(),
            happened: Happened::default(),
            sabotage,
            model: Model::new(&config, scenario.manners),
            life: Life::new(config.epoch),
            ledger: Ledger::default(),
            is_finished: false,
            manager: Manager::new(config),
            desks: BTreeMap::new(),
            agents: BTreeMap::new(),
            machines: hosts.map(|host| (HostId(host), Machine::default())).collect(),
            links: BTreeMap::new(),
            wake_at: None,
            asleep_until: Timestamp::default(),
            hindered_until: Timestamp::default(),
            tries: BTreeMap::new(),
            executed: BTreeSet::new(),
            touched: BTreeSet::new(),
            job_events: VecDeque::new(),
            heap: BinaryHeap::new(),
            next_place: 0,
            scenario,
        }
    }

    /// From the first host to the last goodbye.
    pub(super) fn run(&mut self) -> Ended {
        self.begin_life();
        for (number, (span, _)) in self.scenario.faults.clone().into_iter().enumerate() {
            self.after(span, Happening::Fault(number));
        }
        while !self.is_finished {
            assert!(self.now < Timestamp::default() + LONGEST_BATCH, "the batch doesn't end");
            self.step();
        }
        let after = self.now.since(Timestamp::default());
        self.settle();
        self.part();
        let verdict = self.model.verdict.expect("the loop above has waited for it");
        Ended { verdict, trace: self.trace.hash(), after, happened: self.happened }
    }

    /// titan begins to start hosts and to give its manager jobs.
    pub(super) fn begin(&mut self) {
        for (number, plan) in self.scenario.hosts.clone().into_iter().enumerate() {
            let host = HostId(number as u32);
            self.tell(Event::HostStarting { host });
            match plan.joins_after {
                Some(span) => self.after(span, Happening::Launch(host)),
                None => {
                    let span = self.random.millis(100, 20_000);
                    self.after(span, Happening::GiveUp(host));
                }
            }
        }
        if self.life.number > 1
            && let Some((_, event)) = self.job_events.pop_front()
        {
            self.tell(event);
        }
        for (span, _) in self.job_events.clone() {
            self.after(span, Happening::Jobs);
        }
        self.after(self.scenario.config.tick, Happening::ManagerTick);
        self.after(PULSE, Happening::Pulse);
    }

    /// Lets something happen after a while.
    pub(super) fn after(&mut self, span: Duration, happening: Happening) {
        self.at(self.now + span, happening);
    }

    pub(super) fn at(&mut self, at: Timestamp, happening: Happening) {
        self.heap.push(Reverse((at, self.next_place, self.life.number, happening)));
        self.next_place += 1;
    }

    pub(super) fn note(&mut self, line: &str) {
        self.trace.note(self.now, line);
    }

    /// The next happening.
    pub(super) fn step(&mut self) {
        let Reverse((at, _, life, happening)) = self.heap.pop().expect("ticks never end");
        self.now = at;
        self.happened.steps += 1;
        assert!(self.happened.steps < MOST_STEPS, "the world turns on the spot");
        if happening.is_titans() && !(self.life.is_up && self.life.number == life) {
            return;
        }
        match self.held_back_until(happening) {
            Some(until) => self.at(until, happening),
            None => self.happen(happening),
        }
        for (worker, side) in std::mem::take(&mut self.touched) {
            self.transmit(worker, side);
        }
    }

    /// Until when whoever is concerned can't take part: asleep, frozen, or out of reach.
    fn held_back_until(&self, happening: Happening) -> Option<Timestamp> {
        let of_agent = |worker: &WorkerId| self.machines[&self.agents[worker].host].frozen_until;
        let of_side = |link: &LinkId, side: Side| match side {
            Side::Manager => self.asleep_until,
            Side::Agent => of_agent(&self.links[link].worker),
        };
        let of_way = |link: &LinkId, side: Side| {
            let machine = &self.machines[&self.agents[&self.links[link].worker].host];
            match side {
                Side::Manager => machine.mute_until,
                Side::Agent => machine.deaf_until,
            }
        };
        let until = match &happening {
            Happening::Arrive(link, side) | Happening::Noticed(link, side) => {
                let silent_until = self.links[link].silent_until(*side);
                of_side(link, *side).max(of_way(link, *side)).max(silent_until.unwrap_or_default())
            }
            Happening::Written(link, side) => of_side(link, *side),
            Happening::AgentTick(worker) | Happening::Computed(worker, _) => of_agent(worker),
            Happening::Cut(_) | Happening::Die(_) => return None,
            Happening::Fault(number) if self.scenario.faults[*number].1 != Fault::Cancel => return None,
            Happening::TitanReturns => return None,
            _ => self.asleep_until,
        };
        (until > self.now).then_some(until)
    }

    fn happen(&mut self, happening: Happening) {
        let is_over = self.is_finished;
        match happening {
            Happening::ManagerTick => {
                self.after(self.scenario.config.tick, Happening::ManagerTick);
                self.tell(Event::Tick);
            }
            Happening::Wake if self.wake_at.is_some_and(|at| at <= self.now) => self.tell(Event::Tick),
            Happening::Pulse => {
                self.after(PULSE, Happening::Pulse);
                self.touched.extend(self.desks.keys().map(|worker| (*worker, Side::Manager)));
                self.close_silent();
            }
            Happening::AgentTick(worker) => self.on_agent_tick(worker),
            Happening::Arrive(link, side) => self.on_arrival(link, side),
            Happening::Written(link, side) => self.on_written(link, side),
            Happening::Noticed(link, side) => self.on_noticed(link, side),
            Happening::Cut(link) => self.cut(link, Some(Duration::ZERO)),
            Happening::Computed(worker, attempt) => self.on_computed(worker, attempt),
            Happening::Die(worker) => self.die(worker, "it dies"),
            Happening::SessionOver(worker) => self.on_session_over(worker),
            Happening::Committed(task, is_good) => self.on_committed(task, is_good),
            Happening::Synced => self.on_synced(),
            Happening::Told(task) => self.on_told(task),
            Happening::TitanReturns => self.on_titan_returns(),
            Happening::Launch(host) if !is_over => self.on_launch(host),
            Happening::Resume(worker) => self.on_resume(worker),
            Happening::GiveUp(host) if !is_over => self.tell(Event::HostDown { host }),
            Happening::Jobs if !is_over => {
                let (_, event) = self.job_events.pop_front().expect("there are as many happenings as events");
                self.tell(event);
            }
            Happening::Fault(number) if !is_over => self.go_wrong(self.scenario.faults[number].1),
            _ => {}
        }
    }

    /// Bytes that an end reads, if its connection still is its connection.
    fn on_arrival(&mut self, id: LinkId, side: Side) {
        let worker = self.links[&id].worker;
        while self.links[&id].is_open && self.link_of(worker, side) == Some(id) {
            let pipe = self.links.get_mut(&id).expect("links stay").toward(side);
            let Some(bytes) = pipe.take_due(self.now) else { return };
            match side {
                Side::Manager => self.desk_receives(worker, &bytes),
                Side::Agent => self.agent_receives(worker, &bytes),
            }
            let must_be_closed = self.links.get_mut(&id).expect("links stay").toward(side).must_be_closed();
            let is_used = self.link_of(worker, side) == Some(id);
            assert!(!must_be_closed || !is_used, "{side:?} goes on with {worker:?} after a spoiled frame");
        }
    }

    fn on_written(&mut self, id: LinkId, side: Side) {
        let link = self.links.get_mut(&id).expect("links stay");
        link.from(side).is_busy = false;
        self.touched.insert((link.worker, side));
    }

    /// The connection that an end uses.
    pub(super) fn link_of(&self, worker: WorkerId, side: Side) -> Option<LinkId> {
        match side {
            Side::Manager => self.desks.get(&worker)?.link,
            Side::Agent => self.agents.get(&worker).filter(|agent| !agent.is_gone)?.link,
        }
    }

    /// Writes what an end has to write, if it may.
    fn transmit(&mut self, worker: WorkerId, side: Side) {
        let Some(id) = self.link_of(worker, side) else { return };
        let pipe = self.links.get_mut(&id).expect("links stay").from(side);
        if pipe.is_busy {
            return;
        }
        let session = match side {
            Side::Manager => &mut self.desks.get_mut(&worker).expect("it has a link").desk.session,
            Side::Agent => &mut self.agents.get_mut(&worker).expect("it has a link").session,
        };
        let Some(bytes) = session.poll_transmit(self.now) else { return };
        pipe.is_busy = true;
        let (written, dues) = pipe.write(self.now, bytes);
        self.at(written, Happening::Written(id, side));
        for due in dues {
            self.at(due, Happening::Arrive(id, side.other()));
        }
    }

    /// A new connection between these two.
    pub(super) fn connect(&mut self, worker: WorkerId, host: HostId) -> LinkId {
        let id = LinkId(self.links.len() as u32);
        let speed = self.scenario.hosts[host.0 as usize].speed;
        let link = Link::new(worker, self.now, speed, &mut self.random);
        self.links.insert(id, link);
        id
    }
}
