//! titan's side: the driver of the simulated world. Feeds the manager, carries its effects out in order, and talks to each
//! worker through the real desk.

use std::collections::VecDeque;
use std::time::Duration;

use titan_agent::admission::{Admission, Conversation, admit};
use titan_manager::desk::{Desk, Heard, Results, Unkept};
use titan_manager::{Effect, Event, HostId, MAX_DEPTH, Report, WorkerId};
use titan_proto::codec;
use titan_proto::frame::{Decoder, Frame, FrameKind, Received};
use titan_proto::id::{AttemptId, SessionId};
use titan_proto::message::{Configure, Held, Outcome, ResultSummary, ToAgent, ToManager};
use titan_proto::session::Session;
use titan_proto::time::Timestamp;

use super::Sabotage;
use super::host::AgentSide;
use super::model::Tried;
use super::spool::Spool;
use super::tasks::{LACKS, SETUP};
use super::wire::{LinkId, Side};
use super::world::{Happening, PULSE, World};

/// Signs of life without a message are passed on this often at most.
const HEARD_SPAN: Duration = Duration::from_millis(200);

/// What titan has for one worker.
#[derive(Debug)]
pub(super) struct TitanSide {
    pub(super) host: HostId,
    pub(super) desk: Desk,
    pub(super) decoder: Decoder,
    pub(super) link: Option<LinkId>,
    /// What was said and hasn't been heard, in order.
    pub(super) unheard: VecDeque<Vec<u8>>,
    pub(super) most_parts: usize,
    /// Whether the manager knows of it: an agent that is taken over says first what it has.
    is_joined: bool,
    /// Whether it came when the batch was over: the goodbye ends what it runs.
    pub(super) is_late: bool,
    heard_at: Timestamp,
    /// When anything came last.
    read_at: Timestamp,
}

impl TitanSide {
    fn say(&mut self, message: &ToAgent, kept: &mut Kept<'_>) {
        self.unheard.push_back(codec::encode(message).expect("simulated messages are short"));
        self.desk.say(message, kept).expect("simulated messages are short");
    }
}

/// The model's place for results, as one session sees it.
struct Kept<'m> {
    spool: &'m mut Spool,
    worker: WorkerId,
    most_parts: usize,
    /// Titan's own fault: it doesn't look whether results are whole.
    trusts: bool,
}

impl Results for Kept<'_> {
    fn append(&mut self, attempt: AttemptId, data: &[u8]) -> Result<(), Unkept> {
        self.spool.append(self.worker, attempt, data, self.most_parts).map_err(Unkept::Sender)
    }

    fn finish(&mut self, attempt: AttemptId, outcome: Outcome, summary: ResultSummary) -> Outcome {
        let is_whole = self.spool.finish(self.worker, attempt, summary, self.most_parts);
        if is_whole == Ok(true) || self.trusts { outcome } else { Outcome::failed("its result arrived damaged") }
    }

    fn abandon(&mut self, attempt: AttemptId) {
        self.spool.abandon(attempt);
    }
}

impl World {
    /// Gives the manager an event, judges what it makes of it, and carries that out.
    pub(super) fn tell(&mut self, event: Event) {
        if !self.life.is_up {
            return;
        }
        self.note(&format!("{event:?}"));
        self.model.observe(self.now, &event);
        let mut effects = Vec::new();
        self.manager.handle(self.now, event, &mut effects);
        self.manager.check();
        self.sabotage.spoil(&mut effects);
        for effect in &effects {
            self.note(&format!("  {effect:?}"));
        }
        self.model.judge(&effects, &self.manager);
        let life = self.life.number;
        for effect in effects {
            if self.life.is_up && self.life.number == life {
                self.pass(effect);
            }
        }
        let wake = self.manager.next_wake();
        if wake != self.wake_at {
            self.wake_at = wake;
            wake.into_iter().for_each(|at| self.at(at, Happening::Wake));
        }
    }

    /// What has to do with results and records, the model has carried out while it judged.
    pub(super) fn carry_out(&mut self, effect: Effect) {
        self.enter(&effect);
        match effect {
            Effect::Send { worker, message } => {
                let message = self.adopted(worker, message);
                self.happened.recalls += u64::from(matches!(message, ToAgent::Recall { .. }));
                let trusts = self.sabotage == Sabotage::TrustsResults;
                if let Some(side) = self.desks.get_mut(&worker) {
                    let (spool, most_parts) = (&mut self.model.spool, side.most_parts);
                    side.say(&message, &mut Kept { spool, worker, most_parts, trusts });
                    self.touched.insert((worker, Side::Manager));
                }
            }
            Effect::Commit { task } => {
                let span = self.random.millis(0, 3_000);
                let is_good = self.random.chance(97);
                self.after(span, Happening::Committed(task, is_good));
            }
            Effect::EndSession { worker } => {
                self.happened.silenced += 1;
                self.after(Duration::from_millis(1), Happening::SessionOver(worker));
                self.end_session(worker);
            }
            Effect::Report(Report::Unhealthy { .. }) => self.happened.unhealthy += 1,
            Effect::Report(Report::Late { .. }) => self.happened.late += 1,
            Effect::Report(Report::AttemptFailed { .. }) => self.happened.failures += 1,
            Effect::Report(Report::HostLacks { .. }) => self.happened.lacks += 1,
            Effect::Report(Report::Held { tasks, .. }) => self.happened.held += u64::from(tasks),
            Effect::Report(Report::Quarantined { .. }) => self.happened.quarantines += 1,
            Effect::Report(Report::NoneUp { .. }) => self.happened.absences += 1,
            Effect::Report(Report::Adopted { .. }) => self.happened.adopted += 1,
            Effect::Record(record) => self.record(record),
            Effect::Finished(_) => self.is_finished = true,
            Effect::Report(_) | Effect::Keep { .. } | Effect::Discard { .. } | Effect::Deliver(_) => {}
        }
    }

    /// Who takes an attempt over says what is here of it.
    fn adopted(&mut self, worker: WorkerId, message: ToAgent) -> ToAgent {
        let ToAgent::Adopt { attempt, task, .. } = message else { return message };
        let mut have = self.model.spool.left_bytes(attempt);
        if self.sabotage == Sabotage::OverstatesWhatItHas {
            have += 10;
        }
        self.model.spool.adopt(worker, attempt);
        ToAgent::Adopt { attempt, task, have }
    }

    /// titan has a way to a host: to the agent that lives there, or to one that it starts.
    pub(super) fn on_launch(&mut self, host: HostId) {
        let machine = &self.machines[&host];
        if machine.is_down {
            return self.tell(Event::HostDown { host });
        }
        let until = machine.out_of_reach_until();
        if until > self.now {
            self.at(until, Happening::Launch(host));
            return self.tell(Event::StartFailed { host });
        }
        let living = self.agents.iter().find(|(_, agent)| agent.host == host && !agent.is_gone);
        let Some((&worker, agent)) = living else { return self.start_agent(host) };
        let session = SessionId(self.random.draw());
        let asked = Conversation { session, epoch: self.life.epoch };
        match admit(Some(agent.conversation), asked, agent.conversation.epoch < self.life.epoch) {
            Admission::TakesOver => self.take_over(worker, asked),
            Admission::Ends => {
                self.die(worker, "its titan has given it up");
                let span = self.random.millis(100, 2_000);
                self.after(span, Happening::Launch(host));
            }
            other => panic!("{worker:?} takes titan for {other:?}"),
        }
    }

    fn start_agent(&mut self, host: HostId) {
        let worker = WorkerId(self.agents.len() as u32 + 1);
        let link = self.connect(worker, host);
        let conversation = Conversation { session: SessionId(self.random.draw()), epoch: self.life.epoch };
        let slots = self.scenario.hosts[host.0 as usize].slots;
        self.agents.insert(worker, AgentSide::new((host, slots), conversation, link, self.now));
        self.after(PULSE, Happening::AgentTick(worker));
        self.seat(worker, host, link);
        self.join(worker, vec![]);
    }

    /// An agent of an earlier titan is this one's now; what it has, it says first.
    fn take_over(&mut self, worker: WorkerId, asked: Conversation) {
        let agent = &self.agents[&worker];
        let host = agent.host;
        let link = self.connect(worker, host);
        self.note(&format!("{worker:?} is taken over"));
        self.seat(worker, host, link);
        self.agent_is_taken_over(worker, asked, link);
    }

    /// The manager hears of a worker.
    fn join(&mut self, worker: WorkerId, held: Vec<Held>) {
        let side = self.desks.get_mut(&worker).expect("it has a seat");
        (side.is_joined, side.is_late) = (true, self.model.verdict.is_some());
        side.most_parts += held.len();
        let host = side.host;
        let capacity = self.scenario.hosts[host.0 as usize].capacity();
        self.tell(Event::WorkerJoined { host, worker, capacity, is_alone: true, held });
    }

    /// titan has a place for a worker and tells it how to work.
    fn seat(&mut self, worker: WorkerId, host: HostId, link: LinkId) {
        let plan = &self.scenario.hosts[host.0 as usize];
        let capacity = plan.capacity();
        let config = &self.scenario.config;
        let millis = |span: Duration| span.as_millis() as u64;
        let configure = Configure {
            batch: "simulated".into(),
            host: format!("host{}", host.0),
            slots: capacity.slots,
            heartbeat_ms: millis(config.heartbeat),
            // The agent's is the one that counts.
            lease_ms: millis(config.lease) * if self.sabotage == Sabotage::StretchesTheLease { 3 } else { 1 },
            cache_bytes: 0,
            reports_load: false,
        };
        let most_parts = (capacity.slots * (1 + MAX_DEPTH)) as usize + 2;
        let mut side = TitanSide {
            host,
            desk: Desk::new(Session::new(self.now, config.heartbeat)),
            decoder: Decoder::default(),
            link: Some(link),
            unheard: VecDeque::new(),
            most_parts,
            is_joined: false,
            is_late: false,
            heard_at: self.now,
            read_at: self.now,
        };
        let spool = &mut self.model.spool;
        side.say(&ToAgent::Configure(configure), &mut Kept { spool, worker, most_parts, trusts: false });
        self.desks.insert(worker, side);
        self.touched.insert((worker, Side::Manager));
    }

    /// Handles all frames that are complete.
    pub(super) fn desk_receives(&mut self, worker: WorkerId, bytes: &[u8]) {
        let side = self.desks.get_mut(&worker).expect("it has a link");
        side.read_at = self.now;
        side.decoder.push(bytes);
        while let Some(desk) = self.desks.get_mut(&worker).filter(|desk| desk.link.is_some()) {
            let taken = match desk.decoder.next_frame() {
                Ok(None) => return,
                Ok(Some(Received::Goodbye)) => Err("an agent says goodbye".to_owned()),
                Ok(Some(Received::Frame(frame))) => match self.desk_takes(worker, frame) {
                    Err(reason) => return self.end_broken(worker, &reason),
                    Ok(()) => Ok(()),
                },
                Err(error) => Err(error.to_string()),
            };
            self.touched.insert((worker, Side::Manager));
            if let Err(reason) = taken {
                self.note(&format!("titan closes {worker:?}'s connection: {reason}"));
                self.happened.protocol_errors += 1;
                self.close_desk(worker);
            }
        }
    }

    /// An agent that does what no agent does: there is nothing to go on with.
    fn end_broken(&mut self, worker: WorkerId, reason: &str) {
        self.note(&format!("titan ends {worker:?}'s session: {reason}"));
        self.happened.protocol_errors += 1;
        let is_joined = self.desks[&worker].is_joined;
        self.end_session(worker);
        match is_joined {
            true => self.on_session_over(worker),
            false => self.after(PULSE, Happening::Launch(self.agents[&worker].host)),
        }
    }

    fn desk_takes(&mut self, worker: WorkerId, mut frame: Frame) -> Result<(), String> {
        let side = self.desks.get_mut(&worker).expect("it has read a frame");
        if self.sabotage == Sabotage::AcceptsAnyFrame && frame.sequence > 0 {
            frame.sequence = side.desk.session.last_seen() + 1;
        }
        let said = (frame.kind == FrameKind::Control).then(|| frame.payload.clone());
        let before = side.desk.session.last_seen();
        let (spool, most_parts) = (&mut self.model.spool, side.most_parts);
        let trusts = self.sabotage == Sabotage::TrustsResults;
        let heard = side.desk.on_frame(self.now, frame, &mut Kept { spool, worker, most_parts, trusts });
        // Whatever titan makes of it: it was the next.
        let is_joined = side.is_joined;
        if let Some(bytes) = said.filter(|_| side.desk.session.last_seen() > before) {
            for _ in 0..1 + u32::from(self.sabotage == Sabotage::HearsTwice) {
                let has_lied = self.model.workers.get(&worker).is_some_and(|agent| agent.has_lied);
                self.agents.get_mut(&worker).expect("agents stay").was_heard(&bytes, has_lied);
            }
        }
        match heard.map_err(|error| error.to_string())? {
            Heard::Message(ToManager::Holds { held }) if !is_joined => self.join(worker, held),
            Heard::Message(other) if !is_joined => return Err(format!("{other:?} comes first")),
            Heard::Message(message) => self.pass_on(worker, by_host(message)),
            Heard::Nothing if !is_joined => {}
            Heard::Nothing => self.hear(worker),
        }
        Ok(())
    }

    fn hear(&mut self, worker: WorkerId) {
        let desk = self.desks.get_mut(&worker).expect("it has read a frame");
        if self.now.since(desk.heard_at) >= HEARD_SPAN {
            desk.heard_at = self.now;
            self.tell(Event::Heard { worker });
        }
    }

    fn pass_on(&mut self, worker: WorkerId, message: ToManager) {
        let is_outcome = matches!(message, ToManager::Finished { .. });
        if is_outcome && self.sabotage == Sabotage::LosesOutcomes {
            return;
        }
        let (worker, message) = match self.sabotage {
            Sabotage::FencesNoAttempt => self.as_of_another(worker, message),
            _ => (worker, message),
        };
        self.tell(Event::Message { worker, message });
    }

    /// An outcome, as that of another attempt at the same task, if there is one.
    fn as_of_another(&self, worker: WorkerId, message: ToManager) -> (WorkerId, ToManager) {
        let ToManager::Finished { attempt, ref outcome, process } = message else { return (worker, message) };
        let task = self.model.attempts.get(&attempt).map(|tried| tried.task);
        let is_another =
            |other: AttemptId, tried: &Tried| other != attempt && Some(tried.task) == task && tried.is_open;
        match self.model.attempts.iter().find(|(other, tried)| is_another(**other, tried)) {
            Some((&attempt, tried)) => {
                (tried.worker, ToManager::Finished { attempt, outcome: outcome.clone(), process })
            }
            None => (worker, message),
        }
    }

    /// titan's end of a connection is over: the session goes on over another one, or ends with it.
    pub(super) fn close_desk(&mut self, worker: WorkerId) {
        let Some(id) = self.desks.get_mut(&worker).and_then(|desk| desk.link.take()) else { return };
        self.close_link(id, Side::Agent);
        if !self.desks[&worker].is_joined {
            self.end_session(worker);
            let host = self.agents[&worker].host;
            self.after(PULSE, Happening::Launch(host));
        } else if self.scenario.resumes {
            let span = self.random.millis(50, 8_000);
            self.after(span, Happening::Resume(worker));
        } else {
            self.end_session(worker);
            self.on_session_over(worker);
        }
    }

    /// A way over which nothing has come for two heartbeats is taken for dead, though it may only be silent.
    pub(super) fn close_silent(&mut self) {
        let silence = self.scenario.config.heartbeat * 2 + PULSE;
        if !self.scenario.resumes || self.asleep_until + silence > self.now {
            return;
        }
        let is_silent = |side: &TitanSide| side.link.is_some() && self.now.since(side.read_at) > silence;
        let silent = self.desks.iter().filter(|(_, side)| is_silent(side));
        for worker in silent.map(|(worker, _)| *worker).collect::<Vec<_>>() {
            self.note(&format!("{worker:?} is silent"));
            self.close_desk(worker);
        }
    }

    /// titan forgets a worker.
    fn end_session(&mut self, worker: WorkerId) {
        let Some(desk) = self.desks.remove(&worker) else { return };
        self.model.spool.end_session(worker);
        if let Some(id) = desk.link {
            self.close_link(id, Side::Agent);
        }
    }

    /// The manager is told, and the host is started afresh or given up.
    pub(super) fn on_session_over(&mut self, worker: WorkerId) {
        self.happened.losses += u64::from(self.model.verdict.is_none());
        // Sometimes titan sees the process end; sometimes only the connection.
        let is_dead = self.agents[&worker].is_gone && self.random.chance(50);
        let is_dead = is_dead || self.sabotage == Sabotage::ForgetsLeases;
        self.tell(Event::SessionLost { worker, is_dead });
        let host = self.agents[&worker].host;
        let gives_up = self.random.chance(self.scenario.hosts[host.0 as usize].gives_up_percent);
        let span = self.random.millis(250, 5_000);
        self.after(span, if gives_up { Happening::GiveUp(host) } else { Happening::Launch(host) });
    }

    /// titan has another connection to the host: the session goes on if its agent is there.
    pub(super) fn on_resume(&mut self, worker: WorkerId) {
        let Some(desk) = self.desks.get(&worker).filter(|desk| desk.link.is_none()) else { return };
        let (host, agent) = (desk.host, &self.agents[&worker]);
        let machine = &self.machines[&host];
        if agent.is_gone {
            self.end_session(worker);
            return self.on_session_over(worker);
        }
        let until = machine.out_of_reach_until();
        if until > self.now {
            return self.at(until, Happening::Resume(worker));
        }
        let link = self.connect(worker, host);
        self.happened.resumed += 1;
        self.note(&format!("{worker:?}'s session goes on"));
        let agent = self.agents.get_mut(&worker).expect("agents stay");
        let desk = self.desks.get_mut(&worker).expect("it was there");
        let (seen_here, seen_there) = (desk.desk.session.last_seen(), agent.session.last_seen());
        desk.desk.session.resume(self.now, seen_there).expect("titan forgets nothing");
        agent.session.resume(self.now, seen_here).expect("an agent forgets nothing");
        (desk.decoder, agent.decoder) = (Decoder::default(), Decoder::default());
        (desk.link, agent.link) = (Some(link), Some(link));
        desk.read_at = self.now;
        self.touched.extend([(worker, Side::Manager), (worker, Side::Agent)]);
    }
}

/// The simulated agents have words for what only commands can say: that their host lacks something, or fails a setup.
fn by_host(message: ToManager) -> ToManager {
    let ToManager::Finished { attempt, outcome, process } = message else { return message };
    let outcome = match outcome {
        Outcome::Failed { reason, .. } if reason.starts_with(LACKS) => Outcome::failed_by_host(reason),
        Outcome::Failed { reason, .. } if reason.starts_with(SETUP) => Outcome::setup_failed(reason),
        other => other,
    };
    ToManager::Finished { attempt, outcome, process }
}
