//! One connection to one agent: bytes to frames, frames to the session, results to the spool, messages to the driver.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use titan_manager::WorkerId;
use titan_proto::codec;
use titan_proto::command::SETUP_CHECK;
use titan_proto::frame::{Decoder, Received};
use titan_proto::id::{AttemptId, JobId};
use titan_proto::message::{Fault, MAX_REASON_CHARS, Outcome, ToAgent, ToManager, Work};
use titan_proto::session::{Incoming, Session};
use titan_proto::time::Timestamp;

use super::clock::Clock;
use super::host::{Command, News};
use super::offers::Offers;
use super::spool::{SpoolError, Writer, named};
use super::staging::FullStart;
use crate::files::check::{OutputCheck, Refused};

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Signs of life without a message are passed on this often at most.
const HEARD_SPAN: Duration = Duration::from_millis(200);

/// Bytes of files that are sent and not acknowledged: enough for any link's round trip.
const MAX_BULK_BYTES: u64 = 8 << 20;

/// Messages that may wait for an agent: it holds at most two for each slot, and answers each.
const MAX_QUEUED: usize = 1 << 16;

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// It broke, or the agent ended it; with what is known of it.
    Lost(String),
    /// The manager gave the worker up.
    GivenUp,
    /// titan ends: the goodbye is out.
    Stopped,
}

/// What the loop woke up for.
enum Step {
    Wrote(usize),
    Read(usize),
    Told(Option<Command>),
    Stop,
    Due,
    Piece { stream: u64, piece: Result<Vec<u8>, String> },
}

/// An attempt that a worker was given.
#[derive(Debug)]
pub(crate) enum Given {
    /// It may send what it makes of it, which is looked through as it comes.
    Open(Option<OutputCheck>),
    /// What it sends can't be kept here, for this reason.
    Unkept(String),
    /// It has told its outcome: nothing more comes.
    Over,
}

/// Everything that one connection needs.
pub(crate) struct Connection {
    pub(crate) worker: WorkerId,
    pub(crate) session: Session,
    pub(crate) decoder: Decoder,
    pub(crate) spool: Writer,
    /// What the host wants to be run before a command's first task.
    pub(crate) setup: Option<String>,
    /// The attempts that this worker was given and that it hasn't been told to forget.
    pub(crate) given: BTreeMap<AttemptId, Given>,
    /// The files that it may ask for.
    pub(crate) offers: Offers,
    pub(crate) clock: Clock,
    pub(crate) news: mpsc::Sender<News>,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Connection {
    /// Talks until one side ends it.
    pub(crate) async fn run(
        mut self,
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
        let mut buffer = vec![0; READ_BYTES];
        let mut out: Vec<u8> = Vec::new();
        let mut written = 0;
        let mut stopping = false;
        let mut last_heard = self.now();
        self.receive(&mut last_heard).await?;
        loop {
            if written == out.len() {
                out = self.session.poll_transmit(self.now()).unwrap_or_default();
                written = 0;
                if out.is_empty() && self.session.said_goodbye() {
                    return Ok(End::Stopped);
                }
            }
            let wake = self.clock.instant(self.session.next_deadline());
            let has_room = self.session.bulk_bytes() < MAX_BULK_BYTES;
            let step = tokio::select! {
                wrote = writer.write(&out[written..]), if written < out.len() => Step::Wrote(checked(wrote)?),
                read = reader.read(&mut buffer) => Step::Read(checked(read)?),
                command = self.commands.recv() => Step::Told(command),
                (stream, piece) = self.offers.next_piece(has_room) => Step::Piece { stream, piece },
                _ = self.stop.wait_for(|stop| *stop), if !stopping => Step::Stop,
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
                Step::Read(length) => {
                    self.decoder.push(&buffer[..length]);
                    self.receive(&mut last_heard).await?;
                }
                Step::Told(Some(Command::Send(_) | Command::Start(_))) if self.is_deaf() => {
                    return Err(broken(format!("{MAX_QUEUED} messages to it wait, and it reads none")));
                }
                Step::Told(Some(Command::Send(message))) => self.send(message),
                Step::Told(Some(Command::Start(start))) => self.start(*start).await,
                Step::Piece { stream, piece } => self.send_piece(stream, piece),
                Step::Told(Some(Command::GiveUp) | None) => return Ok(End::GivenUp),
                Step::Stop => {
                    stopping = true;
                    self.session.say_goodbye();
                }
                Step::Due => {}
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn send(&mut self, mut message: ToAgent) {
        match &mut message {
            ToAgent::Start { attempt, .. } => drop(self.given.entry(*attempt).or_insert(Given::Open(None))),
            ToAgent::Acknowledge { attempt } => self.forget(*attempt),
            ToAgent::Job { work, .. } => add_setup(work, self.setup.as_deref()),
            _ => {}
        }
        let bytes = codec::encode(&message).expect("jobs were checked against the bound before the batch began");
        self.session.send(bytes);
    }

    /// Tells a task with its files.
    async fn start(&mut self, FullStart { message, sets, check }: FullStart) {
        let ToAgent::Start { attempt, .. } = message else { return };
        if let Err(error) = codec::encode(&message) {
            // Nothing was said of it: it ends here.
            let outcome = Outcome::failed(format!("its words can't be sent: {error}"));
            let message = ToManager::Finished { attempt, outcome, process: None };
            return self.tell(News::Message { worker: self.worker, message }).await;
        }
        for (set, listing) in sets {
            for files in self.offers.offer(attempt, set, listing) {
                self.send(files);
            }
        }
        self.given.insert(attempt, Given::Open(check));
        self.send(message);
    }

    fn send_piece(&mut self, stream: u64, piece: Result<Vec<u8>, String>) {
        match piece {
            Ok(piece) => {
                let end = codec::encode(&ToAgent::Piece { stream, failure: None }).expect("a few bytes");
                self.session.send_bulk(stream, Arc::new(piece), end);
            }
            Err(failure) => {
                let failure = Some(failure.chars().take(MAX_REASON_CHARS).collect());
                self.send(ToAgent::Piece { stream, failure });
            }
        }
    }

    fn forget(&mut self, attempt: AttemptId) {
        self.given.remove(&attempt);
        self.spool.abandon(attempt);
        self.offers.withdraw(attempt);
    }

    /// An agent that makes titan talk and doesn't listen.
    fn is_deaf(&self) -> bool {
        self.session.queued() > MAX_QUEUED
    }

    /// Handles all frames that are complete.
    async fn receive(&mut self, last_heard: &mut Timestamp) -> Result<(), End> {
        let mut frames = 0_u32;
        while let Some(received) = self.decoder.next_frame().map_err(broken)? {
            frames += 1;
            let Received::Frame(frame) = received else {
                return Err(End::Lost("the agent said goodbye".to_owned()));
            };
            match self.session.on_frame(self.now(), frame).map_err(broken)? {
                Incoming::Control(bytes) => {
                    let message = codec::decode(&bytes).map_err(broken)?;
                    match message {
                        ToManager::Recalled { attempt } => self.forget(attempt),
                        ToManager::Want { stream, blob, offset, bytes } => {
                            self.offers.ask(stream, blob, offset, bytes).map_err(broken)?;
                            continue;
                        }
                        _ => {}
                    }
                    let message = self.check_result(message)?;
                    *last_heard = self.now();
                    self.tell(News::Message { worker: self.worker, message }).await;
                }
                Incoming::Bulk { stream, data } => {
                    let attempt = AttemptId::from_stream(stream);
                    self.take(attempt, &data).await?;
                }
                Incoming::Heartbeat => {}
            }
        }
        // Bytes that make no frame are no sign of life.
        if frames > 0 && self.now().since(*last_heard) >= HEARD_SPAN {
            *last_heard = self.now();
            self.tell(News::Heard { worker: self.worker }).await;
        }
        Ok(())
    }

    /// Keeps what an attempt sends. A disk that is full here fails that attempt alone.
    async fn take(&mut self, attempt: AttemptId, data: &[u8]) -> Result<(), End> {
        match self.given.get_mut(&attempt) {
            Some(Given::Open(check)) => {
                if let Some(check) = check {
                    check.push(data);
                }
            }
            Some(Given::Unkept(_)) => return Ok(()),
            Some(Given::Over) | None => {
                return Err(broken(format!("a result of {attempt}, which it doesn't run")));
            }
        }
        match self.spool.append(attempt, data) {
            Ok(()) => Ok(()),
            Err(SpoolError::Sender { reason }) => Err(broken(reason)),
            Err(SpoolError::Here { path, cause }) => {
                self.spool.abandon(attempt);
                self.given.insert(attempt, Given::Unkept(format!("what it sends can't be kept here: {cause}")));
                self.tell(News::CannotKeep { error: named(&path, &cause) }).await;
                Ok(())
            }
        }
    }

    /// A result that didn't arrive whole is a failed attempt, and so is one that isn't what was declared.
    fn check_result(&mut self, message: ToManager) -> Result<ToManager, End> {
        let ToManager::Finished { attempt, outcome, process } = message else { return Ok(message) };
        let given = self.given.get_mut(&attempt).map(|given| std::mem::replace(given, Given::Over));
        let check = match given {
            Some(Given::Open(check)) => check,
            Some(Given::Unkept(reason)) => {
                let outcome = if outcome == Outcome::Cancelled { outcome } else { Outcome::failed(reason) };
                return Ok(ToManager::Finished { attempt, outcome, process });
            }
            Some(Given::Over) | None => return Err(broken(format!("the outcome of {attempt}, which it doesn't run"))),
        };
        let Some(summary) = outcome.result() else {
            self.spool.abandon(attempt);
            return Ok(ToManager::Finished { attempt, outcome, process });
        };
        let is_whole = self.spool.finish(attempt, summary);
        let outcome = match (outcome, check.map(OutputCheck::finish)) {
            _ if !is_whole => Outcome::failed("its result arrived damaged"),
            // What it has printed is told all the same.
            (Outcome::Completed(_), Some(Err(Refused::OfTask(reason)))) => {
                Outcome::Failed { reason, fault: Fault::Task, result: Some(summary) }
            }
            (Outcome::Completed(_), Some(Err(Refused::OfHost(problem)))) => Outcome::failed_by_host(problem),
            (outcome, _) => outcome,
        };
        Ok(ToManager::Finished { attempt, outcome, process })
    }

    async fn tell(&self, news: News) {
        // It fails only when the driver has ended, and then `stop` is set too.
        let _ = self.news.send(news).await;
    }
}

/// A host's own setup goes before the job's.
fn add_setup(work: &mut Work, setup: Option<&str>) {
    if let (Work::Command(job), Some(setup)) = (work, setup) {
        let own = job.setup.take().unwrap_or_default();
        job.setup = Some([setup.as_bytes(), SETUP_CHECK, &own].concat());
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
    End::Lost(format!("it broke the protocol: {error}"))
}
