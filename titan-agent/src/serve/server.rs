//! Carries an agent's decisions out: one thread decides, each connection has one that reads and one that writes, and the pool
//! computes. Whatever blocks, the deciding thread doesn't.

mod conversation;
mod effects;
mod executors;
mod starts;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use titan_proto::codec;
use titan_proto::frame::Received;
use titan_proto::id::AttemptId;
use titan_proto::message::ToManager;
use titan_proto::session::{Incoming, Session};
use titan_proto::time::Timestamp;

use self::executors::{Executors, GATHERING_SPAN};
use self::starts::Starts;
use super::handover::{self, Handed};
use super::inbox::{Inbox, Poster};
use super::line::{Line, LineId, LineNews, Stage, spawn};
use super::{Options, meeting};
use crate::admission::Conversation;
use crate::core::{Agent, Computed, Event, Exit, MAX_TICK};
use crate::faults::Faults;
use crate::files::{Files, Order, Staged, Told};
use crate::machine;
use crate::process::lease::Teller;
use crate::process::output::Budget;
use crate::process::{AttemptNews, Listener, ScratchRoot, end_everything, reap_orphans};

/// Happenings that may wait for the deciding thread: beyond it readers and kernels wait.
const MAX_WAITING: usize = 1024;
/// How often a load is told.
const LOAD_SPAN: Duration = Duration::from_secs(1);
/// With more output than this on its way nothing waits.
const GATHERED_BYTES: u64 = 16 << 10;
/// The heartbeat before a manager has set one.
const FIRST_HEARTBEAT: Duration = Duration::from_secs(10);

/// What reaches the deciding thread.
enum Happening {
    /// A bridge has given the streams of a connection.
    Accepted {
        streams: (Handed, Handed),
        bridge: UnixStream,
    },
    Line(LineId, LineNews),
    Begun(AttemptId),
    Chunk(AttemptId, Vec<u8>),
    Computed(AttemptId, Computed),
    Files(Told),
}

/// Serves one session over these streams, until either ends.
pub(super) fn serve(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    options: &Options,
) -> Result<Exit, String> {
    let happenings = Inbox::new(MAX_WAITING);
    let mut server = Server::new(options, happenings.poster(), false);
    server.open_line((input, output), None)?;
    server.run(&happenings)
}

/// Serves whoever connects, one session over as many connections as it takes.
pub(super) fn serve_all(listener: UnixListener, options: &Options) -> Result<Exit, String> {
    let happenings = Inbox::new(MAX_WAITING);
    let accepted = happenings.poster();
    spawn("listener", move || {
        for bridge in listener.incoming().flatten().filter(meeting::is_own) {
            let streams = match handover::take(&bridge) {
                Ok(streams) => streams,
                Err(error) => {
                    eprintln!("titan-agent: a connection without streams: {error}");
                    continue;
                }
            };
            if !accepted.post(Happening::Accepted { streams, bridge }) {
                return;
            }
        }
    })?;
    Server::new(options, happenings.poster(), true).run(&happenings)
}

/// The deciding thread.
struct Server {
    agent: Agent,
    session: Session,
    /// The conversation that `session` is, once a manager has said hello.
    current: Option<Conversation>,
    /// The connection, if there is one.
    line: Option<Line>,
    next_line: u64,
    /// Whether another connection may come when one has ended.
    listens: bool,
    /// Nobody has ever said hello: it doesn't wait for ever.
    alone_until: Instant,
    build: String,
    /// Its time counts what the machine sleeps: the lease goes on then.
    begun: Duration,
    /// Where the watcher is told of the lease, and what it was told last.
    teller: Option<Teller>,
    told: (Timestamp, Duration),
    executors: Option<Executors>,
    files: Option<Files>,
    /// What attempts are given that haven't begun.
    staged: BTreeMap<AttemptId, Staged>,
    /// Bounds what commands have written and the manager hasn't acknowledged.
    budget: Arc<Budget>,
    scratch: Arc<ScratchRoot>,
    /// The watcher: without it nobody would clean up.
    parent: Option<Pid>,
    reports_load: bool,
    last_load: Timestamp,
    faults: Arc<Faults>,
    poster: Poster<Happening>,
    /// Bytes of their streams that attempts have given out.
    handed: BTreeMap<AttemptId, u64>,
    /// Attempts of an earlier manager of which nobody has said yet that they go on, and what that one hasn't acknowledged.
    unadopted: BTreeMap<AttemptId, Vec<u8>>,
    starts: Starts,
    /// Nothing that can wait is sent before.
    gathers_until: Timestamp,
    exit: Option<Exit>,
}

impl Server {
    fn new(options: &Options, poster: Poster<Happening>, listens: bool) -> Self {
        Self {
            agent: Agent::new(Timestamp::default()),
            session: Session::new(Timestamp::default(), FIRST_HEARTBEAT),
            current: None,
            line: None,
            next_line: 1,
            listens,
            alone_until: Instant::now() + super::line::HANDSHAKE_SPAN,
            build: options.build.clone(),
            begun: machine::since_boot(),
            teller: options.is_watched.then(Teller::inherited).flatten(),
            told: (Timestamp::default(), Duration::ZERO),
            executors: None,
            files: None,
            staged: BTreeMap::new(),
            budget: Arc::default(),
            scratch: Arc::new(ScratchRoot::named(&options.scratch)),
            parent: options.is_watched.then(rustix::process::getppid).flatten(),
            reports_load: false,
            last_load: Timestamp::default(),
            faults: Arc::new(options.faults.clone()),
            poster,
            handed: BTreeMap::new(),
            unadopted: BTreeMap::new(),
            starts: Starts::default(),
            gathers_until: Timestamp::default(),
            exit: None,
        }
    }

    /// A connection begins. What came over the one before is all that counts of it: this side says now what that was.
    fn open_line(
        &mut self,
        streams: (impl Read + Send + 'static, impl Write + Send + 'static),
        bridge: Option<UnixStream>,
    ) -> Result<(), String> {
        let id = LineId(self.next_line);
        self.next_line += 1;
        let poster = self.poster.clone();
        let tell = move |id, news| poster.post(Happening::Line(id, news));
        self.line = Some(Line::open(id, streams, bridge, self.hello().encode(), tell)?);
        Ok(())
    }

    fn on_line(&mut self, id: LineId, news: LineNews) -> Result<(), String> {
        // A connection that has had its successor counts for nothing.
        let Some(line) = self.line.as_mut().filter(|line| line.id == id) else { return Ok(()) };
        match news {
            LineNews::Bytes(more) => match &mut line.stage {
                Stage::Greeting { bytes, .. } => {
                    bytes.extend(more);
                    self.greet()
                }
                Stage::Talking(decoder) => {
                    decoder.push(&more);
                    self.receive()
                }
            },
            LineNews::Written => {
                line.is_busy = false;
                self.starts.have_left();
                Ok(())
            }
            LineNews::ReadEnded | LineNews::WriteFailed => self.close_line(),
        }
    }

    /// The connection is gone.
    fn close_line(&mut self) -> Result<(), String> {
        self.line = None;
        if !self.listens || self.current.is_none() {
            self.exit = Some(Exit::ChannelClosed);
            return Ok(());
        }
        self.decide(Event::ChannelClosed)
    }

    fn run(mut self, happenings: &Inbox<Happening>) -> Result<Exit, String> {
        let exit = self.work(happenings);
        // What waits for a slot never begins.
        drop(self.executors.take());
        // An agent that is a part of another program has no business with that program's children.
        if self.parent.is_some() {
            end_everything();
        }
        self.scratch.remove_all();
        exit
    }

    fn work(&mut self, happenings: &Inbox<Happening>) -> Result<Exit, String> {
        let mut next_tick = self.now();
        loop {
            if let Some(exit) = self.exit.take() {
                return Ok(exit);
            }
            self.start_ready()?;
            let wake = self.transmit().map_or(next_tick, |again| again.min(next_tick));
            // What has come together is answered together.
            for happening in happenings.take(wake.since(self.now()), self.gathering()) {
                self.on_happening(happening)?;
            }
            if self.now() >= next_tick {
                // A channel that takes nothing is no reason to be idle.
                self.starts.leave();
                self.starts.have_left();
                self.decide(Event::Tick)?;
                self.look_around()?;
                next_tick = self.now() + MAX_TICK / 4;
            }
        }
    }

    /// How long what can wait may wait.
    fn gathering(&self) -> Duration {
        self.executors.as_ref().map_or(Duration::ZERO, Executors::gathering)
    }

    fn now(&self) -> Timestamp {
        Timestamp::default() + machine::since_boot().saturating_sub(self.begun)
    }

    fn on_happening(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Accepted { streams, bridge } => self.open_line(streams, Some(bridge)),
            Happening::Line(id, news) => self.on_line(id, news),
            Happening::Begun(attempt) => self.decide(Event::Begun { attempt }),
            Happening::Chunk(attempt, bytes) => {
                self.budget.handed_over(bytes.len());
                *self.handed.entry(attempt).or_default() += bytes.len() as u64;
                match self.unadopted.get_mut(&attempt) {
                    Some(rest) => rest.extend(bytes),
                    None => self.session.send_chunk(attempt.stream(), bytes.into()),
                }
                Ok(())
            }
            Happening::Computed(attempt, end) => {
                if let Some(executors) = &mut self.executors {
                    executors.ended(attempt);
                }
                self.decide(Event::Computed { attempt, end })
            }
            Happening::Files(Told::Want { stream, blob, offset, bytes }) => {
                self.session.send(encode(&ToManager::Want { stream, blob, offset, bytes }));
                Ok(())
            }
            Happening::Files(Told::Staged { attempt, staged }) => {
                let failure = match staged {
                    Ok(staged) => {
                        self.staged.insert(attempt, staged);
                        None
                    }
                    Err(outcome) => Some(outcome),
                };
                self.decide(Event::Staged { attempt, failure })
            }
        }
    }

    fn order(&self, order: Order) {
        if let Some(files) = &self.files {
            files.order(order);
        }
    }

    fn receive(&mut self) -> Result<(), String> {
        while let Some(Line { stage: Stage::Talking(decoder), .. }) = &mut self.line {
            let event = match decoder.next_frame() {
                Ok(None) => break,
                // Another connection may do better.
                Err(_) if self.listens => return self.close_line(),
                Err(error) => return Err(error.to_string()),
                Ok(Some(Received::Goodbye)) => Event::Goodbye,
                Ok(Some(Received::Frame(frame))) => {
                    match self.session.on_frame(self.now(), frame).map_err(|error| error.to_string())? {
                        Incoming::Control(bytes) => {
                            Event::Message(codec::decode(&bytes).map_err(|error| error.to_string())?)
                        }
                        Incoming::Bulk { stream, data } => {
                            self.order(Order::Bytes { stream, data });
                            Event::Heard
                        }
                        Incoming::Heartbeat => Event::Heard,
                    }
                }
            };
            self.decide(event)?;
        }
        // A new length counts at once, and what was heard from the next look around on.
        if self.agent.lease().1 != self.told.1 {
            self.tell_lease();
        }
        self.bound_begins();
        Ok(())
    }

    /// Whether something may go out now.
    fn can_write(&self) -> bool {
        matches!(&self.line, Some(Line { stage: Stage::Talking(_), is_busy: false, .. }))
    }

    /// Sends what is to be sent now. When to look again, if nothing happens before; None: while a write is under way nothing is
    /// added to it, so a heartbeat that is due has to wait.
    fn transmit(&mut self) -> Option<Timestamp> {
        let unadopted: usize = self.unadopted.values().map(Vec::len).sum();
        self.budget.set_sent(self.session.bulk_bytes() + unadopted as u64);
        if !self.can_write() {
            return None;
        }
        let now = self.now();
        if now < self.gathers_until && self.can_gather() {
            return Some(self.gathers_until);
        }
        let bytes = self.session.poll_transmit(now);
        let (Some(bytes), Some(line)) = (bytes, &mut self.line) else { return Some(self.session.next_deadline()) };
        line.write(bytes);
        if self.session.has_sent_control() {
            self.starts.leave();
        }
        self.gathers_until = now + GATHERING_SPAN;
        None
    }

    /// Whether nobody waits for what there is to say: the slots are busy, and have more to do.
    fn can_gather(&self) -> bool {
        let is_little = self.session.bulk_bytes() < GATHERED_BYTES;
        !self.starts.has_unannounced() && self.agent.has_plenty() && is_little
    }

    /// What is to be done now and then, whatever happens.
    fn look_around(&mut self) -> Result<(), String> {
        if self.parent.is_some() {
            reap_orphans();
        }
        if let Some(executors) = &self.executors {
            executors.look_around();
        }
        self.tell_lease();
        self.bound_begins();
        if self.parent.is_some() && rustix::process::getppid() != self.parent {
            self.exit = Some(Exit::Protocol { reason: "its watcher has ended".to_owned() });
        }
        if self.reports_load && self.now().since(self.last_load) >= LOAD_SPAN {
            self.report_load();
        }
        let is_overdue = |stage: &Stage| matches!(stage, Stage::Greeting { by, .. } if Instant::now() > *by);
        if self.line.as_ref().is_some_and(|line| is_overdue(&line.stage)) {
            return self.refuse("no titan has said hello");
        }
        if self.current.is_none() && self.line.is_none() && Instant::now() > self.alone_until {
            return Err("no titan has come".to_owned());
        }
        Ok(())
    }

    fn tell_lease(&mut self) {
        let held = self.agent.lease();
        if let Some(teller) = &mut self.teller
            && held != self.told
        {
            teller.tell(held.1);
            self.told = held;
        }
    }

    /// What waits for a slot doesn't begin when the lease is over, whenever this thread notices that.
    fn bound_begins(&self) {
        let (heard, lease) = self.agent.lease();
        let end = self.begun + (heard + lease).since(Timestamp::default());
        let until = (!lease.is_zero()).then_some(end);
        if let Some(executors) = &self.executors {
            executors.set_until(until);
        }
    }

    fn report_load(&mut self) {
        self.last_load = self.now();
        let (load_hundredths, free_memory_bytes) = machine::load();
        self.session.send(encode(&ToManager::Load { load_hundredths, free_memory_bytes }));
    }

    fn decide(&mut self, event: Event) -> Result<(), String> {
        let mut effects = Vec::new();
        self.agent.handle(self.now(), event, &mut effects);
        for effect in effects {
            self.carry_out(effect)?;
        }
        Ok(())
    }
}

impl Listener for Poster<Happening> {
    fn hear(&self, attempt: AttemptId, news: AttemptNews, can_wait: bool) -> bool {
        let happening = match news {
            AttemptNews::Begun => Happening::Begun(attempt),
            AttemptNews::Wrote(bytes) => Happening::Chunk(attempt, bytes),
            AttemptNews::Ended(end) => Happening::Computed(attempt, end),
        };
        if can_wait { self.post_quietly(happening) } else { self.post(happening) }
    }
}

fn encode(message: &ToManager) -> Vec<u8> {
    codec::encode(message).expect("an agent's messages are short: reasons are cut")
}
