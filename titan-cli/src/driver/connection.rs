//! One connection to one agent: bytes to frames, frames to the session, results to the spool, messages to the driver.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use titan_manager::WorkerId;
use titan_manager::desk::{Desk, Heard};
use titan_proto::codec;
use titan_proto::command::{SETUP_CHECK, Secret};
use titan_proto::frame::{Decoder, Received};
use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::{Held, MAX_HELD, MAX_REASON_CHARS, Outcome, ToAgent, ToManager, Work};
use titan_proto::time::Timestamp;

use super::clock::Clock;
use super::host::{Command, News};
use super::keeper::Keeper;
use super::offers::Offers;
use super::staging::FullStart;
use crate::config::units::human_duration;
use crate::files::check::OutputCheck;
use crate::state::spool::Spool;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// How often is looked whether anything was heard.
const LOOK_SPAN: Duration = Duration::from_millis(500);
/// Signs of life without a message are passed on this often at most.
const HEARD_SPAN: Duration = Duration::from_millis(200);

/// So many messages are told together at most: what waits for the driver is bounded.
const MESSAGES_AT_ONCE: usize = 64;

/// Bytes of files that are sent and not acknowledged: enough for any link's round trip.
const MAX_BULK_BYTES: u64 = 8 << 20;

/// Messages that may wait for an agent: more than attempts that it may hold, each of which it answers.
const MAX_QUEUED: usize = 1 << 16;

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// It broke, or was silent for too long; another one may do better.
    Lost(String),
    /// The agent does what no agent does, or has ended the session.
    Broken(String),
    /// The manager gave the worker up.
    GivenUp,
    /// titan ends: the goodbye is out.
    Stopped,
}

/// What the loop woke up for.
enum Step {
    Wrote(usize),
    Read,
    Told(Option<Vec<Command>>),
    Stop,
    Due,
    Look,
    Piece { stream: u64, piece: Result<Vec<u8>, String> },
}

/// Everything that one connection needs.
pub(crate) struct Connection {
    pub(crate) worker: WorkerId,
    pub(crate) desk: Desk,
    pub(crate) decoder: Decoder,
    pub(crate) results: Keeper,
    /// What the host wants to be run before a command's first task.
    pub(crate) setup: Option<String>,
    /// The files that it may ask for.
    pub(crate) offers: Offers,
    pub(crate) clock: Clock,
    pub(crate) news: mpsc::Sender<News>,
    pub(crate) commands: mpsc::UnboundedReceiver<Vec<Command>>,
    /// Of attempts of an earlier titan how much is here.
    pub(crate) have: BTreeMap<AttemptId, u64>,
    /// What came while there was no connection.
    pub(crate) waiting: VecDeque<Command>,
    /// A silence after which a connection is taken for dead: either side says something more often.
    pub(crate) silence: Duration,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Connection {
    /// Talks until one side ends it.
    pub(crate) async fn run(
        &mut self,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        writer: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> End {
        match self.converse(reader, writer).await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn converse(
        &mut self,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        writer: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<End, End> {
        let mut out: Vec<u8> = Vec::new();
        let mut written = 0;
        let mut stopping = false;
        let mut last_heard = self.now();
        // Counted, not measured: time in which this side slept is no silence of the other.
        let mut quiet_looks = 0;
        let mut looks = interval(LOOK_SPAN);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.receive(&mut last_heard).await?;
        loop {
            while let Some(command) = self.waiting.pop_front() {
                self.on_command(command).await?;
            }
            if written == out.len() {
                out = self.desk.session.poll_transmit(self.now()).unwrap_or_default();
                written = 0;
                if out.is_empty() && self.desk.session.said_goodbye() {
                    return Ok(End::Stopped);
                }
            }
            let wake = self.clock.instant(self.desk.session.next_deadline());
            let has_room = self.desk.session.bulk_bytes() < MAX_BULK_BYTES;
            let step = tokio::select! {
                wrote = writer.write(&out[written..]), if written < out.len() => Step::Wrote(checked(wrote)?),
                read = reader.read_buf(self.decoder.room(READ_BYTES)) => {
                    checked(read)?;
                    Step::Read
                }
                commands = self.commands.recv() => Step::Told(commands),
                (stream, piece) = self.offers.next_piece(has_room) => Step::Piece { stream, piece },
                _ = self.stop.wait_for(|stop| *stop), if !stopping => Step::Stop,
                _ = looks.tick() => Step::Look,
                // While a write is under way there is nothing to add to it.
                () = sleep_until(Instant::from_std(wake)), if written == out.len() => Step::Due,
            };
            match step {
                Step::Wrote(length) => {
                    written += length;
                    if written == out.len() {
                        flush(writer).await?;
                    }
                }
                Step::Read => {
                    quiet_looks = 0;
                    self.receive(&mut last_heard).await?;
                }
                Step::Look => {
                    quiet_looks += 1;
                    if LOOK_SPAN * quiet_looks > self.silence {
                        return Err(End::Lost(format!("nothing was heard for {}", human_duration(self.silence))));
                    }
                }
                // What was told together goes out together.
                Step::Told(Some(commands)) => self.waiting.extend(commands),
                Step::Told(None) => return Ok(End::GivenUp),
                Step::Piece { stream, piece } => self.send_piece(stream, piece),
                Step::Stop => {
                    stopping = true;
                    self.desk.session.say_goodbye();
                }
                Step::Due => {}
            }
        }
    }

    async fn on_command(&mut self, command: Command) -> Result<(), End> {
        match command {
            Command::Send(_) | Command::Start(_) if self.is_deaf() => {
                return Err(broken(format!("{MAX_QUEUED} messages to it wait, and it reads none")));
            }
            Command::Send(message) => self.send(message),
            Command::Start(start) => self.start(*start).await,
            Command::Adopt { attempt, task, check } => self.adopt(attempt, task, check).await,
            Command::GiveUp => return Err(End::GivenUp),
        }
        Ok(())
    }

    /// An attempt of an earlier titan goes on: its agent is told what is here of it.
    async fn adopt(&mut self, attempt: AttemptId, task: TaskId, check: Option<OutputCheck>) {
        let have = self.have.remove(&attempt).unwrap_or(0);
        match self.results.adopt(attempt, have, check) {
            Ok(()) => self.send(ToAgent::Adopt { attempt, task, have }),
            Err(error) => {
                self.send(ToAgent::Forget { attempt });
                let outcome = Outcome::failed(format!("what it had sent can't be read here: {error}"));
                let message = ToManager::Finished { attempt, outcome, process: None };
                self.tell_messages(&mut vec![message]).await;
            }
        }
    }

    /// The first that an agent says that is taken over: what it has. If what it has sent isn't here any more, that was for nothing.
    pub(crate) async fn hear_held(
        &mut self,
        spool: &Spool,
        reader: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<Vec<Held>, End> {
        let held = loop {
            match self.decoder.next_frame().map_err(damaged)? {
                Some(Received::Frame(frame)) => {
                    let heard = self.desk.on_frame(self.clock.now(), frame, &mut self.results).map_err(broken)?;
                    match heard {
                        Heard::Message(ToManager::Holds { held }) => break held,
                        Heard::Message(other) => return Err(broken(format!("{other:?} comes first"))),
                        Heard::Nothing => {}
                    }
                }
                Some(Received::Goodbye) => return Err(End::Broken("the agent said goodbye".to_owned())),
                None => {
                    checked(reader.read_buf(self.decoder.room(READ_BYTES)).await)?;
                }
            }
        };
        if held.len() > MAX_HELD {
            return Err(broken(format!("{} attempts at once", held.len())));
        }
        self.have = held.iter().map(|held| (held.attempt, spool.part_bytes(held.attempt))).collect();
        match held.iter().find(|held| self.have[&held.attempt] < held.from) {
            Some(held) => Err(End::Broken(format!("what {} had written isn't here any more", held.attempt))),
            None => Ok(held),
        }
    }

    /// Takes what comes while there is no connection, until the worker is given up.
    pub(crate) async fn given_up(&mut self) {
        while let Some(commands) = self.commands.recv().await {
            for command in commands {
                match command {
                    Command::GiveUp => return,
                    command => self.waiting.push_back(command),
                }
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn send(&mut self, mut message: ToAgent) {
        match &mut message {
            ToAgent::Acknowledge { attempt } => self.offers.withdraw(*attempt),
            ToAgent::Job { work, .. } => add_setup(work, self.setup.as_deref()),
            _ => {}
        }
        let said = self.desk.say(&message, &mut self.results);
        said.expect("jobs were checked against the bound before the batch began");
    }

    /// Tells a task with its files.
    async fn start(&mut self, FullStart { message, sets, check }: FullStart) {
        let ToAgent::Start { attempt, .. } = message else { return };
        if let Err(error) = codec::encode(&message) {
            // Nothing was said of it: it ends here.
            let outcome = Outcome::failed(format!("its words can't be sent: {error}"));
            let message = ToManager::Finished { attempt, outcome, process: None };
            return self.tell_messages(&mut vec![message]).await;
        }
        for (set, listing) in sets {
            for files in self.offers.offer(attempt, set, listing) {
                self.send(files);
            }
        }
        self.send(message);
        if let Some(check) = check {
            self.results.look_through(attempt, check);
        }
    }

    fn send_piece(&mut self, stream: u64, piece: Result<Vec<u8>, String>) {
        match piece {
            Ok(piece) => {
                let end = codec::encode(&ToAgent::Piece { stream, failure: None }).expect("a few bytes");
                self.desk.session.send_bulk(stream, piece.into(), end);
            }
            Err(failure) => {
                let failure = Some(failure.chars().take(MAX_REASON_CHARS).collect());
                self.send(ToAgent::Piece { stream, failure });
            }
        }
    }

    /// An agent that makes titan talk and doesn't listen.
    fn is_deaf(&self) -> bool {
        self.desk.session.queued() > MAX_QUEUED
    }

    /// Handles all frames that are complete.
    async fn receive(&mut self, last_heard: &mut Timestamp) -> Result<(), End> {
        let (mut messages, mut frames) = (Vec::new(), 0);
        let received = self.take_frames(&mut messages, &mut frames, last_heard).await;
        self.tell_messages(&mut messages).await;
        received?;
        // Bytes that make no frame are no sign of life.
        if frames > 0 && self.now().since(*last_heard) >= HEARD_SPAN {
            *last_heard = self.now();
            self.tell(News::Heard { worker: self.worker }).await;
        }
        Ok(())
    }

    /// Takes all frames that are complete, and collects what the driver is to be told.
    async fn take_frames(
        &mut self,
        messages: &mut Vec<ToManager>,
        frames: &mut u32,
        last_heard: &mut Timestamp,
    ) -> Result<(), End> {
        while let Some(received) = self.decoder.next_frame().map_err(damaged)? {
            *frames += 1;
            let Received::Frame(frame) = received else {
                return Err(End::Broken("the agent said goodbye".to_owned()));
            };
            let heard = self.desk.on_frame(self.clock.now(), frame, &mut self.results).map_err(broken)?;
            if let Some(error) = self.results.take_unkept() {
                // It may be the last that counts.
                self.tell_messages(messages).await;
                self.tell(News::CannotKeep { error }).await;
            }
            match heard {
                Heard::Message(ToManager::Want { stream, blob, offset, bytes }) => {
                    self.offers.ask(stream, blob, offset, bytes).map_err(broken)?;
                }
                Heard::Message(message) => {
                    if let ToManager::Recalled { attempt } = message {
                        self.offers.withdraw(attempt);
                    }
                    messages.push(message);
                    *last_heard = self.now();
                    if messages.len() >= MESSAGES_AT_ONCE {
                        self.tell_messages(messages).await;
                    }
                }
                Heard::Nothing => {}
            }
        }
        Ok(())
    }

    /// Tells what was collected, if anything was.
    async fn tell_messages(&self, messages: &mut Vec<ToManager>) {
        if !messages.is_empty() {
            let messages = std::mem::take(messages);
            self.tell(News::Messages { worker: self.worker, messages }).await;
        }
    }

    async fn tell(&self, news: News) {
        // It fails only when the driver has ended, and then `stop` is set too.
        let _ = self.news.send(news).await;
    }
}

/// A host's own setup goes before the job's.
fn add_setup(work: &mut Work, setup: Option<&str>) {
    if let (Work::Command(job), Some(setup)) = (work, setup) {
        let own = job.setup.take().map_or_else(Vec::new, |own| own.0);
        job.setup = Some(Secret([setup.as_bytes(), SETUP_CHECK, &own].concat()));
    }
}

/// Whether a job can be told to agents of a host with that setup.
pub(crate) fn can_be_told(work: &Work, setup: Option<&str>) -> bool {
    let mut work = work.clone();
    add_setup(&mut work, setup);
    codec::encode(&ToAgent::Job { job: JobId(0), work }).is_ok()
}

fn checked(transferred: io::Result<usize>) -> Result<usize, End> {
    match transferred {
        Ok(0) => Err(End::Lost("the connection closed".to_owned())),
        Ok(length) => Ok(length),
        Err(error) => Err(End::Lost(format!("the connection broke: {error}"))),
    }
}

async fn flush(writer: &mut (dyn AsyncWrite + Send + Unpin)) -> Result<(), End> {
    writer.flush().await.map_err(|error| End::Lost(format!("the connection broke: {error}")))
}

fn broken(error: impl std::fmt::Display) -> End {
    End::Broken(format!("it broke the protocol: {error}"))
}

/// Bytes that aren't what was sent: what they were is sent again over another connection.
fn damaged(error: impl std::fmt::Display) -> End {
    End::Lost(format!("the connection is damaged: {error}"))
}

impl End {
    /// What is known of it.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Lost(reason) | Self::Broken(reason) => reason.clone(),
            Self::GivenUp => "it was silent for too long".to_owned(),
            Self::Stopped => String::new(),
        }
    }
}
