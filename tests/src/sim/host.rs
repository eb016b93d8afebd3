//! An agent's side: the real core and session, a pool that computes in virtual time, and the process's end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use titan_agent::admission::{Admission, Conversation, admit};
use titan_agent::core::{Agent, Computed, Effect, Event, Exit};
use titan_manager::{HostId, Rerun, WorkerId};
use titan_proto::codec;
use titan_proto::frame::{Decoder, Frame, Received};
use titan_proto::id::{AttemptId, Epoch, SessionId, TaskId};
use titan_proto::message::{Held, Part, ToAgent, ToManager};
use titan_proto::session::{Incoming, Session};
use titan_proto::time::Timestamp;

use super::Sabotage;
use super::tasks::{self, LACKS, Quirk, SETUP};
use super::wire::{LinkId, Side};
use super::world::{Happening, PULSE, World};

/// The heartbeat before titan has set one.
const FIRST_HEARTBEAT: Duration = Duration::from_secs(10);

/// A host, whatever agents run on it.
#[derive(Debug, Default)]
pub(super) struct Machine {
    pub(super) is_down: bool,
    pub(super) frozen_until: Timestamp,
    /// Nothing passes between it and titan, by whatever connection: what titan sends, what it sends.
    pub(super) deaf_until: Timestamp,
    pub(super) mute_until: Timestamp,
}

impl Machine {
    /// Until when nobody gets an answer from it.
    pub(super) fn out_of_reach_until(&self) -> Timestamp {
        self.frozen_until.max(self.deaf_until).max(self.mute_until)
    }
}

/// One agent's process.
#[derive(Debug)]
pub(super) struct AgentSide {
    pub(super) host: HostId,
    pub(super) core: Agent,
    pub(super) session: Session,
    pub(super) decoder: Decoder,
    pub(super) link: Option<LinkId>,
    /// With whom it speaks.
    pub(super) conversation: Conversation,
    /// Attempts of an earlier titan of which nobody has said yet that they go on.
    unadopted: BTreeSet<AttemptId>,
    pub(super) slots: u32,
    pub(super) is_gone: bool,
    pub(super) said_goodbye: bool,
    pub(super) computing: BTreeMap<AttemptId, Computing>,
    /// Outcomes that it has reported, for agents that repeat themselves.
    pub(super) outcomes: Vec<ToManager>,
    /// What was said and hasn't been heard, in order: messages, and those that follow a result.
    pub(super) unheard: VecDeque<Vec<u8>>,
    pub(super) unheard_after_bulk: VecDeque<Vec<u8>>,
}

/// A computation.
#[derive(Debug)]
pub(super) struct Computing {
    pub(super) task: TaskId,
    number: u32,
    is_stopped: bool,
}

impl AgentSide {
    pub(super) fn new((host, slots): (HostId, u32), conversation: Conversation, link: LinkId, now: Timestamp) -> Self {
        Self {
            host,
            conversation,
            unadopted: BTreeSet::new(),
            core: Agent::new(now),
            session: Session::new(now, FIRST_HEARTBEAT),
            decoder: Decoder::default(),
            link: Some(link),
            slots,
            is_gone: false,
            said_goodbye: false,
            computing: BTreeMap::new(),
            outcomes: Vec::new(),
            unheard: VecDeque::new(),
            unheard_after_bulk: VecDeque::new(),
        }
    }

    /// Says something, whether it is so or not.
    pub(super) fn say(&mut self, message: &ToManager) {
        let bytes = codec::encode(message).expect("simulated messages are short");
        self.unheard.push_back(bytes.clone());
        self.session.send(bytes);
    }

    fn say_after(&mut self, attempt: AttemptId, result: Bytes, then: &ToManager) {
        let bytes = codec::encode(then).expect("simulated messages are short");
        self.unheard_after_bulk.push_back(bytes.clone());
        self.session.send_bulk(attempt.stream(), result, bytes);
    }

    /// titan has heard that: nothing before it is missing, and it didn't come before.
    pub(super) fn was_heard(&mut self, bytes: &[u8], has_lied: bool) {
        for said in [&mut self.unheard, &mut self.unheard_after_bulk] {
            // Who says the same in both ways has two that are first.
            let place = said.iter().position(|said| said == bytes);
            if let Some(place) = place.filter(|place| *place == 0 || has_lied) {
                said.remove(place);
                return;
            }
        }
        panic!("titan hears what an agent didn't say next: {:?}", codec::decode::<ToManager>(bytes));
    }
}

impl World {
    /// Gives an agent an event and carries out what it decides.
    pub(super) fn tell_agent(&mut self, worker: WorkerId, event: Event) {
        let agent = self.agents.get_mut(&worker).expect("agents stay");
        if agent.is_gone {
            return;
        }
        let mut effects = Vec::new();
        agent.core.handle(self.now, event, &mut effects);
        self.touched.insert((worker, Side::Agent));
        for effect in effects {
            self.carry_out_there(worker, effect);
        }
    }

    fn carry_out_there(&mut self, worker: WorkerId, effect: Effect) {
        let agent = self.agents.get_mut(&worker).expect("agents stay");
        match effect {
            Effect::Configure(configure) => {
                agent.session.set_heartbeat(Duration::from_millis(configure.heartbeat_ms.max(1)));
            }
            Effect::Prepare { .. } => {}
            Effect::Drop { attempt } => drop(agent.unadopted.remove(&attempt)),
            Effect::SayAgain { attempt, have, result, then } => {
                agent.unadopted.remove(&attempt);
                if let Some(then) = then {
                    let rest = result[result.len().min(have as usize)..].to_vec();
                    agent.say_after(attempt, rest.into(), &then);
                }
            }
            Effect::Send(ToManager::Finished { attempt, .. }) if agent.unadopted.contains(&attempt) => {}
            Effect::SendResult { attempt, .. } if agent.unadopted.contains(&attempt) => {}
            Effect::Files { .. } | Effect::Stage { .. } | Effect::Piece { .. } | Effect::Release { .. } => {
                unreachable!("no simulated task has files")
            }
            Effect::Send(ToManager::Recalled { attempt }) if self.sabotage == Sabotage::RunsWhatItGaveBack => {
                agent.say(&ToManager::Recalled { attempt });
                let task = self.model.attempts[&attempt].task;
                self.compute(worker, attempt, task);
            }
            Effect::Send(message) => {
                if matches!(message, ToManager::Finished { .. }) {
                    agent.outcomes.push(message.clone());
                }
                agent.say(&message);
            }
            Effect::SendResult { attempt, result, then } => {
                agent.outcomes.push(then.clone());
                agent.say_after(attempt, result, &then);
            }
            Effect::Start { attempt, task, waits: false, .. } => self.compute(worker, attempt, task),
            Effect::Start { waits: true, .. } | Effect::Withdraw { .. } => {
                unreachable!("no simulated task is a command")
            }
            Effect::Stop { attempt } => self.stop(worker, attempt),
            Effect::Exit(exit) => {
                agent.said_goodbye = exit == Exit::Goodbye;
                self.happened.leases_over += u64::from(exit == Exit::LeaseOver);
                assert!(!matches!(exit, Exit::Protocol { .. }), "titan does what no manager does: {exit:?}");
                self.die(worker, &format!("{exit:?}"));
            }
        }
    }

    /// A titan of a later life takes an agent over: what hasn't begun is dropped, what has is told.
    pub(super) fn agent_is_taken_over(&mut self, worker: WorkerId, asked: Conversation, link: LinkId) {
        let session = Session::new(self.now, FIRST_HEARTBEAT);
        let agent = self.agents.get_mut(&worker).expect("agents stay");
        (agent.session, agent.decoder, agent.link) = (session, Decoder::default(), Some(link));
        agent.conversation = asked;
        agent.unheard.clear();
        agent.unheard_after_bulk.clear();
        self.tell_agent(worker, Event::TakenOver);
        let agent = self.agents.get_mut(&worker).expect("agents stay");
        let held = agent.core.held();
        agent.unadopted = held.iter().map(|(attempt, ..)| *attempt).collect();
        let held = held.into_iter().map(|(attempt, task, state)| Held { attempt, task, state, from: 0 }).collect();
        agent.say(&ToManager::Holds { held });
    }

    /// A titan of an earlier life says hello, and gives orders if somebody listens.
    pub(super) fn ghost_speaks(&mut self, worker: WorkerId) {
        let agent = &self.agents[&worker];
        let before = Epoch(agent.conversation.epoch.0.saturating_sub(1));
        let asked = Conversation { session: SessionId(self.random.draw()), epoch: before };
        let mut admission = admit(Some(agent.conversation), asked, true);
        if self.sabotage == Sabotage::FencesNoEpoch {
            admission = Admission::GoesOn;
        }
        if admission == Admission::IsOver {
            self.happened.refused += 1;
            return;
        }
        let Some((&task, _)) = self.model.tasks.iter().find(|(_, known)| known.end.is_some()) else { return };
        let attempt = AttemptId { epoch: before, number: 1 << 29 };
        self.tell_agent(worker, Event::Message(ToAgent::Start { attempt, task, tried: 1, part: Part::OfJob }));
    }

    fn compute(&mut self, worker: WorkerId, attempt: AttemptId, task: TaskId) {
        assert!(self.executed.insert(attempt), "{attempt} runs twice");
        let epoch = self.agents[&worker].conversation.epoch;
        assert_eq!(attempt.epoch, epoch, "{attempt} of {task} begins for a titan of another life");
        self.check_alone(worker, attempt, task);
        self.happened.computed += 1;
        let tries = self.tries.entry(task).or_default();
        *tries += 1;
        let number = *tries;
        let agent = self.agents.get_mut(&worker).expect("agents stay");
        agent.computing.insert(attempt, Computing { task, number, is_stopped: false });
        let (running, slots) = (agent.computing.len(), agent.slots as usize);
        assert!(running <= slots, "{worker:?} runs {running} tasks in {slots} slots");
        self.check_room(worker);
        self.note(&format!("    {worker:?} computes {attempt} of {task}, try {number}"));
        let behaviour = self.scenario.manners.of(task);
        match behaviour.quirk {
            Quirk::NeverEnds if behaviour.spoils(number) => {}
            Quirk::KillsAgent if behaviour.spoils(number) => {
                let span = self.random.millis(100, 300);
                self.after(span, Happening::Die(worker));
            }
            _ => self.after(behaviour.span, Happening::Computed(worker, attempt)),
        }
    }

    /// What runs on a host together is within what it has.
    fn check_room(&self, worker: WorkerId) {
        let agent = &self.agents[&worker];
        let plan = &self.scenario.hosts[agent.host.0 as usize];
        let requests = || {
            let job = |computing: &Computing| computing.task.job.0 as usize;
            agent.computing.values().map(move |computing| &self.scenario.jobs[job(computing)].spec.request)
        };
        let memory_bytes: u64 = requests().map(|request| request.memory_bytes).sum();
        let gpus: u32 = requests().filter_map(|request| request.resources.get("gpu")).sum();
        let has_room = memory_bytes <= plan.memory_bytes && gpus <= plan.gpus;
        assert!(
            has_room || self.model.workers[&worker].has_lied,
            "{worker:?} runs what needs {memory_bytes} B and {gpus} gpu"
        );
    }

    /// A task that mustn't run twice runs nowhere else. Nothing can be promised of agents that lie, of a host that stood
    /// still and looks at its clock a moment later, and where no lease ends an agent whose connection is gone unnoticed.
    fn check_alone(&mut self, worker: WorkerId, attempt: AttemptId, task: TaskId) {
        if self.model.jobs[task.job.0 as usize].rerun == Rerun::Anytime || self.model.workers[&worker].has_lied {
            return;
        }
        for (other, agent) in self.agents.iter().filter(|(other, agent)| **other != worker && !agent.is_gone) {
            if agent.computing.values().any(|computing| computing.task == task) {
                let frozen_until = |host: HostId| self.machines[&host].frozen_until;
                let thawed = frozen_until(agent.host).max(frozen_until(self.agents[&worker].host)) + PULSE * 3;
                let is_odd = self.model.workers[other].has_lied || thawed > self.now;
                let has_lease = !self.scenario.config.lease.is_zero();
                assert!(is_odd || !has_lease, "{attempt} of {task} begins while {other:?} runs it");
                self.happened.overlaps += 1;
            }
        }
    }

    fn stop(&mut self, worker: WorkerId, attempt: AttemptId) {
        let agent = self.agents.get_mut(&worker).expect("agents stay");
        let computing = agent.computing.get_mut(&attempt).expect("only what runs is stopped");
        let behaviour = self.scenario.manners.of(computing.task);
        let is_endless = matches!(behaviour.quirk, Quirk::NeverEnds | Quirk::KillsAgent);
        // A stop may come too late for what is about to end by itself.
        computing.is_stopped = is_endless || self.random.chance(70);
        if computing.is_stopped {
            let span = self.random.millis(1, 50);
            self.after(span, Happening::Computed(worker, attempt));
        }
    }

    pub(super) fn on_computed(&mut self, worker: WorkerId, attempt: AttemptId) {
        let agent = self.agents.get_mut(&worker).expect("agents stay");
        let Some(computing) = agent.computing.remove(&attempt).filter(|_| !agent.is_gone) else { return };
        let behaviour = self.scenario.manners.of(computing.task);
        let lacks = self.scenario.manners.lacks(computing.task, agent.host.0);
        let fails_setup = self.scenario.manners.fails_setup(computing.task.job, agent.host.0);
        let failed = |reason: &str| Computed::Failed { reason: reason.to_owned() };
        let completed = |crc_error: u32| {
            let result = tasks::result(computing.task, behaviour.bytes);
            let crc = tasks::checksum(&result) ^ crc_error;
            Computed::Completed { result: result.into(), crc, compute: behaviour.span }
        };
        let end = match behaviour.quirk {
            _ if computing.is_stopped => Computed::Cancelled,
            _ if fails_setup => failed(&format!("{SETUP} on host {}", agent.host.0)),
            _ if lacks => failed(&format!("{LACKS} on host {}", agent.host.0)),
            Quirk::Fails if behaviour.spoils(computing.number) => failed("told to fail"),
            Quirk::Panics if behaviour.spoils(computing.number) => failed("the kernel panicked: told to"),
            Quirk::Damaged if behaviour.spoils(computing.number) => completed(1),
            _ => completed(0),
        };
        self.tell_agent(worker, Event::Computed { attempt, end });
    }

    pub(super) fn on_agent_tick(&mut self, worker: WorkerId) {
        if !self.agents[&worker].is_gone {
            self.after(PULSE, Happening::AgentTick(worker));
            self.tell_agent(worker, Event::Tick);
        }
    }

    /// Handles all frames that are complete.
    pub(super) fn agent_receives(&mut self, worker: WorkerId, bytes: &[u8]) {
        self.agents.get_mut(&worker).expect("agents stay").decoder.push(bytes);
        while self.link_of(worker, Side::Agent).is_some() {
            let agent = self.agents.get_mut(&worker).expect("agents stay");
            let heard = match agent.decoder.next_frame() {
                Ok(None) => return,
                Ok(Some(Received::Goodbye)) => Ok(Event::Goodbye),
                Ok(Some(Received::Frame(frame))) => self.agent_takes(worker, frame),
                Err(error) => Err(error.to_string()),
            };
            match heard {
                Ok(event) => self.tell_agent(worker, event),
                Err(reason) => {
                    self.note(&format!("{worker:?} closes its connection: {reason}"));
                    self.happened.protocol_errors += 1;
                    self.close_agent(worker);
                }
            }
        }
    }

    fn agent_takes(&mut self, worker: WorkerId, frame: Frame) -> Result<Event, String> {
        let agent = self.agents.get_mut(&worker).expect("agents stay");
        match agent.session.on_frame(self.now, frame).map_err(|error| error.to_string())? {
            Incoming::Control(bytes) => {
                let desk = self.desks.get_mut(&worker);
                let said = desk.map(|desk| desk.unheard.pop_front());
                assert!(
                    said.is_none_or(|said| said.as_deref() == Some(&bytes[..])),
                    "{worker:?} hears what wasn't said next"
                );
                codec::decode(&bytes).map(Event::Message).map_err(|error| error.to_string())
            }
            Incoming::Bulk { .. } | Incoming::Heartbeat => Ok(Event::Heard),
        }
    }

    /// An agent's end of a connection is over: it waits for another one, or ends with it.
    pub(super) fn close_agent(&mut self, worker: WorkerId) {
        if !self.scenario.resumes {
            return self.die(worker, "its connection is broken");
        }
        if let Some(id) = self.agents.get_mut(&worker).and_then(|agent| agent.link.take()) {
            self.close_link(id, Side::Manager);
        }
    }

    /// A process ends, with all that it knows; what it had written still arrives.
    pub(super) fn die(&mut self, worker: WorkerId, why: &str) {
        let agent = self.agents.get_mut(&worker).expect("agents stay");
        if std::mem::replace(&mut agent.is_gone, true) {
            return;
        }
        agent.computing.clear();
        let link = agent.link.take();
        self.note(&format!("    {worker:?} is gone: {why}"));
        if let Some(id) = link {
            self.hang_up(id);
        }
    }
}
