//! Carries an agent's decisions out over a pair of byte streams: one thread reads, one writes, one decides, and the pool
//! computes. Whatever blocks, the deciding thread doesn't.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use titan_proto::PROTOCOL_VERSION;
use titan_proto::codec;
use titan_proto::frame::{Decoder, Received};
use titan_proto::handshake::{Hello, Opening, Role};
use titan_proto::id::{AttemptId, Epoch, TaskId};
use titan_proto::message::{Part, ToManager, Work};
use titan_proto::session::{Incoming, Session};
use titan_proto::time::Timestamp;

use crate::compute::{Pool, SLOT_THREAD};
pub use crate::core::Exit;
use crate::core::{Agent, Computed, Effect, Event, MAX_TICK};
use crate::faults::{self, Faults};
use crate::files::{Files, Order, Staged, Told};
use crate::machine;
use crate::process::lease::Teller;
use crate::process::output::Budget;
use crate::process::{Here, Processes, ScratchRoot, end_everything, reap_orphans, watcher};

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Happenings that may wait for the deciding thread: beyond it readers and kernels wait.
const MAX_WAITING: usize = 256;
/// A manager that says nothing after the agent's hello for this long is none.
const HANDSHAKE_SPAN: Duration = Duration::from_secs(60);
/// How often a load is told.
const LOAD_SPAN: Duration = Duration::from_secs(1);
/// The heartbeat before a manager has set one.
const FIRST_HEARTBEAT: Duration = Duration::from_secs(10);

/// What an agent is told by whoever starts it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which build it is, for its hello.
    pub build: String,
    /// What is to go wrong, in tests.
    pub faults: Faults,
    /// The last word of the name of its scratch folder.
    pub scratch: String,
    /// Whether it ends with its parent.
    pub is_watched: bool,
}

/// What reaches the deciding thread.
enum Happening {
    Bytes(Vec<u8>),
    ReadEnded,
    Written,
    WriteFailed,
    Chunk(AttemptId, Vec<u8>),
    Computed(AttemptId, Computed),
    Files(Told),
}

/// The agent as a program: serves standard input and output and never prints anything else there.
pub fn main() -> ExitCode {
    // Its own session: a terminal's Ctrl-C reaches titan alone. Fails if it has one already, and that is as good.
    let _ = rustix::process::setsid();
    let Ok(watched) = std::env::var(watcher::VARIABLE) else {
        return watcher::watch().unwrap_or_else(|error| {
            eprintln!("titan-agent: cannot start itself: {error}");
            ExitCode::FAILURE
        });
    };
    // What loses its parent is found among our own children.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    crate::descriptors::close_others_on_exec();
    quiet_kernels();
    let faults = Faults::parse(&std::env::var(faults::VARIABLE).unwrap_or_default());
    let options = Options { build: crate::build(), faults, scratch: watched, is_watched: true };
    let exit = serve(io::stdin(), io::stdout(), &options);
    // Not a return from main: kernels may still run, and a goodbye doesn't wait for them. What commands left, the watcher
    // ends.
    std::process::exit(match exit {
        Ok(Exit::Goodbye | Exit::ChannelClosed) => 0,
        Ok(Exit::LeaseOver) => {
            eprintln!("titan-agent: nothing heard from titan for the length of the lease");
            1
        }
        Ok(Exit::Protocol { reason }) | Err(reason) => {
            eprintln!("titan-agent: {reason}");
            1
        }
    })
}

/// A kernel's panic is its task's failure and is told there; on stderr it would look like the agent's last words.
fn quiet_kernels() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_slot = thread::current().name().is_some_and(|name| name.starts_with(SLOT_THREAD));
        if !is_slot {
            others(panic);
        }
    }));
}

/// Serves one session over these streams, until it ends.
///
/// # Errors
/// A sentence: the other side is no titan, or has another version, or this machine can't run threads.
pub fn serve(
    input: impl Read + Send + 'static,
    mut output: impl Write + Send + 'static,
    options: &Options,
) -> Result<Exit, String> {
    if output.write_all(&hello(options).encode()).and_then(|()| output.flush()).is_err() {
        return Ok(Exit::ChannelClosed);
    }
    let (sender, happenings) = mpsc::sync_channel(MAX_WAITING);
    let (to_writer, writes) = mpsc::sync_channel::<Vec<u8>>(1);
    spawn("reader", {
        let sender = sender.clone();
        move || read_all(input, &sender)
    })?;
    spawn("writer", {
        let sender = sender.clone();
        move || write_all(output, &writes, &sender)
    })?;
    let mut decoder = Decoder::default();
    match handshake(&happenings, &options.build)? {
        Ok(rest) => decoder.push(&rest),
        Err(exit) => return Ok(exit),
    }
    let begun = machine::since_boot();
    let server = Server {
        agent: Agent::new(Timestamp::default()),
        session: Session::new(Timestamp::default(), FIRST_HEARTBEAT),
        decoder,
        begun,
        teller: options.is_watched.then(Teller::inherited).flatten(),
        told: (Timestamp::default(), Duration::ZERO),
        pool: None,
        processes: None,
        files: None,
        staged: BTreeMap::new(),
        budget: Arc::default(),
        scratch: Arc::new(ScratchRoot::named(&options.scratch)),
        parent: options.is_watched.then(rustix::process::getppid).flatten(),
        reports_load: false,
        last_load: Timestamp::default(),
        faults: Arc::new(options.faults.clone()),
        sender,
        to_writer,
        writer_busy: false,
        starts: VecDeque::new(),
        announced: 0,
        exit: None,
    };
    server.run(&happenings)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(body);
    started.map(drop).map_err(|error| format!("cannot start a thread: {error}"))
}

fn hello(options: &Options) -> Hello {
    Hello {
        version: PROTOCOL_VERSION,
        role: Role::Agent,
        build: options.build.clone(),
        target: machine::target(),
        cores: machine::cores(),
        memory_bytes: machine::memory_bytes(),
        kernels: kernels::KERNELS.iter().map(|kernel| kernel.name().to_owned()).collect(),
        batch: None,
        session: None,
        epoch: Epoch(0),
        last_seen: 0,
    }
}

/// Waits for the manager's opening: what came after its hello, or the end.
fn handshake(happenings: &Receiver<Happening>, build: &str) -> Result<Result<Vec<u8>, Exit>, String> {
    let deadline = Instant::now() + HANDSHAKE_SPAN;
    let mut bytes = Vec::new();
    loop {
        match Opening::decode(&bytes).map_err(|error| error.to_string())? {
            Some((Opening::Hello(hello), length)) => {
                hello.check(build).map_err(|error| error.to_string())?;
                return Ok(Ok(bytes.split_off(length)));
            }
            Some((Opening::Goodbye, _)) => return Ok(Err(Exit::Goodbye)),
            None => {}
        }
        match happenings.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Happening::Bytes(more)) => bytes.extend(more),
            Ok(Happening::ReadEnded | Happening::WriteFailed) => return Ok(Err(Exit::ChannelClosed)),
            Ok(_) => {}
            Err(_) => return Err("no titan has said hello".to_owned()),
        }
    }
}

fn read_all(mut input: impl Read, sender: &SyncSender<Happening>) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let happening = match input.read(&mut buffer) {
            Ok(0) => Happening::ReadEnded,
            Ok(length) => Happening::Bytes(buffer[..length].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => Happening::ReadEnded,
        };
        let ended = matches!(happening, Happening::ReadEnded);
        if sender.send(happening).is_err() || ended {
            return;
        }
    }
}

fn write_all(mut output: impl Write, writes: &Receiver<Vec<u8>>, sender: &SyncSender<Happening>) {
    while let Ok(bytes) = writes.recv() {
        let written = output.write_all(&bytes).and_then(|()| output.flush());
        let happening = if written.is_ok() { Happening::Written } else { Happening::WriteFailed };
        if sender.send(happening).is_err() || written.is_err() {
            return;
        }
    }
}

/// An attempt that is to begin as soon as that has been said.
struct Start {
    attempt: AttemptId,
    task: TaskId,
    tried: u32,
    part: Part,
}

/// The deciding thread.
struct Server {
    agent: Agent,
    session: Session,
    decoder: Decoder,
    /// Its time counts what the machine sleeps: the lease goes on then.
    begun: Duration,
    /// Where the watcher is told of the lease, and what it was told last.
    teller: Option<Teller>,
    told: (Timestamp, Duration),
    pool: Option<Pool>,
    processes: Option<Processes>,
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
    sender: SyncSender<Happening>,
    to_writer: SyncSender<Vec<u8>>,
    writer_busy: bool,
    /// Computations whose announcement hasn't left yet; the first `announced` of them are in the write under way.
    starts: VecDeque<Start>,
    announced: usize,
    exit: Option<Exit>,
}

impl Server {
    fn run(mut self, happenings: &Receiver<Happening>) -> Result<Exit, String> {
        let exit = self.work(happenings);
        // An agent that is a part of another program has no business with that program's children.
        if self.parent.is_some() {
            end_everything();
        }
        self.scratch.remove_all();
        exit
    }

    fn work(&mut self, happenings: &Receiver<Happening>) -> Result<Exit, String> {
        let mut next_tick = self.now();
        self.receive()?;
        loop {
            if let Some(exit) = self.exit.take() {
                return Ok(exit);
            }
            self.transmit();
            // While a write is under way nothing is added to it, so a heartbeat that is due has to wait.
            let wake = if self.writer_busy { next_tick } else { self.session.next_deadline().min(next_tick) };
            match happenings.recv_timeout(wake.since(self.now())) {
                Ok(happening) => self.on_happening(happening)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Exit::ChannelClosed),
            }
            if self.now() >= next_tick {
                // A channel that takes nothing is no reason to be idle.
                self.announced = self.starts.len();
                self.compute_announced()?;
                self.decide(Event::Tick)?;
                self.look_around();
                next_tick = self.now() + MAX_TICK / 4;
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::default() + machine::since_boot().saturating_sub(self.begun)
    }

    fn on_happening(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Bytes(bytes) => {
                self.decoder.push(&bytes);
                self.receive()
            }
            Happening::Chunk(attempt, bytes) => {
                self.budget.handed_over(bytes.len());
                self.session.send_chunk(attempt.stream(), Arc::new(bytes));
                Ok(())
            }
            Happening::Written => {
                self.writer_busy = false;
                self.compute_announced()
            }
            Happening::ReadEnded | Happening::WriteFailed => self.decide(Event::ChannelClosed),
            Happening::Computed(attempt, end) => {
                match &mut self.processes {
                    Some(processes) if processes.runs(attempt) => processes.ended(attempt),
                    _ => drop(self.pool.as_mut().map(|pool| pool.ended(attempt))),
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
        while let Some(received) = self.decoder.next_frame().map_err(|error| error.to_string())? {
            let event = match received {
                Received::Goodbye => Event::Goodbye,
                Received::Frame(frame) => {
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
        Ok(())
    }

    fn transmit(&mut self) {
        self.budget.set_sent(self.session.bulk_bytes());
        if self.writer_busy {
            return;
        }
        if let Some(bytes) = self.session.poll_transmit(self.now()) {
            self.writer_busy = self.to_writer.send(bytes).is_ok();
            self.announced = self.starts.len();
        }
    }

    /// Starts what has been announced: if it takes the agent down, the manager knows which it was.
    fn compute_announced(&mut self) -> Result<(), String> {
        let mut failed = Vec::new();
        for Start { attempt, task, tried, part } in self.starts.drain(..std::mem::take(&mut self.announced)) {
            let sender = self.sender.clone();
            let to_chunk = self.sender.clone();
            let done = move |end| drop(sender.send(Happening::Computed(attempt, end)));
            match (part, &mut self.pool, &mut self.processes) {
                (Part::Command(command), _, Some(processes)) => {
                    let chunk = move |bytes| to_chunk.send(Happening::Chunk(attempt, bytes)).is_ok();
                    let staged = self.staged.remove(&attempt).unwrap_or_default();
                    if let Err(outcome) = processes.start(attempt, task, tried, *command, staged, chunk, done) {
                        failed.push((attempt, outcome));
                    }
                }
                (Part::OfJob, Some(pool), _) => pool.start(attempt, task, done),
                (Part::Run { params, index }, Some(pool), _) => {
                    pool.start_run(attempt, task.job, &params, index, done);
                }
                _ => {}
            }
        }
        // Told here and not through the channel: this thread is the one that empties it.
        for (attempt, outcome) in failed {
            self.decide(Event::Computed { attempt, end: Computed::ended(outcome) })?;
        }
        Ok(())
    }

    fn stop(&mut self, attempt: AttemptId) -> Result<(), String> {
        if let Some(processes) = self.processes.as_mut().filter(|processes| processes.runs(attempt)) {
            processes.stop(attempt);
        } else if let Some(place) =
            self.starts.iter().position(|start| start.attempt == attempt && matches!(start.part, Part::Command(_)))
        {
            // It hasn't begun, and never will.
            self.starts.remove(place);
            self.announced -= usize::from(place < self.announced);
            return self.decide(Event::Computed { attempt, end: Computed::Cancelled });
        } else if let Some(pool) = &mut self.pool {
            pool.stop(attempt);
        }
        Ok(())
    }

    /// What is to be done now and then, whatever happens.
    fn look_around(&mut self) {
        if self.parent.is_some() {
            reap_orphans();
        }
        if let Some(pool) = &self.pool {
            pool.end_overdue();
        }
        self.tell_lease();
        if self.parent.is_some() && rustix::process::getppid() != self.parent {
            self.exit = Some(Exit::Protocol { reason: "its watcher has ended".to_owned() });
        }
        if self.reports_load && self.now().since(self.last_load) >= LOAD_SPAN {
            self.report_load();
        }
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

    fn carry_out(&mut self, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Configure(configure) => {
                self.session.set_heartbeat(Duration::from_millis(configure.heartbeat_ms.max(1)));
                let slots = configure.slots;
                let pool = Pool::new(slots, Arc::clone(&self.faults));
                self.reports_load = configure.reports_load;
                if self.reports_load {
                    // The manager waits for it.
                    self.report_load();
                }
                let sender = self.sender.clone();
                let tell = move |told| drop(sender.send(Happening::Files(told)));
                let files =
                    Files::start(configure.host.clone(), configure.cache_bytes, self.scratch.path().to_owned(), tell);
                self.files = Some(files.map_err(|error| format!("cannot start a thread: {error}"))?);
                let here = Here { batch: configure.batch, host: configure.host };
                self.processes = Some(Processes::new(here, slots, Arc::clone(&self.scratch), Arc::clone(&self.budget)));
                self.pool = Some(pool.map_err(|error| format!("cannot start {slots} threads: {error}"))?);
            }
            Effect::Prepare { job, work } => match (work, &mut self.pool, &mut self.processes) {
                (Work::Kernel { name, params, timeout_ms }, Some(pool), _) => {
                    pool.prepare(job, &name, &params, timeout_ms);
                }
                (Work::Command(spec), _, Some(processes)) => processes.prepare(job, spec),
                _ => {}
            },
            Effect::Send(message) => self.session.send(encode(&message)),
            Effect::SendResult { attempt, result, then } => {
                self.session.send_bulk(attempt.stream(), result, encode(&then));
            }
            Effect::Compute { attempt, task, tried, part } => {
                self.starts.push_back(Start { attempt, task, tried, part });
            }
            Effect::Stop { attempt } => self.stop(attempt)?,
            Effect::Files { set, entries } => self.order(Order::Files { set, entries }),
            Effect::Stage { attempt, sets } => self.order(Order::Stage { attempt, sets }),
            Effect::Piece { stream, failure } => self.order(Order::Piece { stream, failure }),
            Effect::Release { attempt } => {
                self.staged.remove(&attempt);
                self.order(Order::Release { attempt });
            }
            Effect::Exit(exit) => self.exit = Some(exit),
        }
        Ok(())
    }
}

fn encode(message: &ToManager) -> Vec<u8> {
    codec::encode(message).expect("an agent's messages are short: reasons are cut")
}
