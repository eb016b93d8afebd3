//! One host from the batch's beginning to its end: started, talked to, started afresh when its session is lost, given up
//! when that doesn't help.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout, timeout_at};

use titan_manager::desk::Desk;
use titan_manager::{Capacity, HostId, WorkerId};
use titan_proto::PROTOCOL_VERSION;
use titan_proto::frame::Decoder;
use titan_proto::handshake::{Hello, Role};
use titan_proto::id::{AttemptId, BatchId, Epoch, SessionId, TaskId};
use titan_proto::message::{Configure, Held, MAX_HELD, ToAgent, ToManager};
use titan_proto::session::Session;

use super::backoff::{History, Patience};
use super::clock::Clock;
use super::connection::{Connection, End};
use super::greeting::{farewell, hear_hello, last_words, meeting};
use super::keeper::Keeper;
use super::network::Network;
use super::offers::Offers;
use super::staging::FullStart;
use crate::config::jobs::Slots;
use crate::config::labels::labels;
use crate::files::check::OutputCheck;
use crate::launch::gate::jittered;
use crate::launch::{Lasting, LaunchError, Launcher, Launching, Link, Story};
use crate::state::spool::Spool;

/// How long the other end may take to close after the goodbye.
const CLOSE_SPAN: Duration = Duration::from_secs(2);
/// The shortest silence that makes a connection suspect.
const SHORTEST_SILENCE: Duration = Duration::from_secs(2);
/// Between two tries to reach an agent again, at first and at last.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LAST_WAIT: Duration = Duration::from_secs(5);

/// What a host's task tells the driver.
#[derive(Debug)]
pub(crate) enum News {
    /// An agent has said hello.
    Joined {
        host: HostId,
        worker: WorkerId,
        capacity: Capacity,
        commands: mpsc::UnboundedSender<Vec<Command>>,
        joined: Joined,
        is_local: bool,
        is_alone: bool,
        held: Vec<Held>,
    },
    /// What a worker has said, as far as it came together: each time that the driver is woken costs more than what is said.
    Messages { worker: WorkerId, messages: Vec<ToManager> },
    /// A worker lives.
    Heard { worker: WorkerId },
    /// A worker's session is over; its host is being started afresh.
    Lost { host: HostId, worker: WorkerId, reason: String, is_dead: bool },
    /// A worker's connection is gone; its agent goes on, and is being reached again.
    Away { host: HostId, reason: String },
    /// Another connection to the same agent is there.
    Back { host: HostId },
    /// A start failed and will be tried again.
    Trouble { host: HostId, error: LaunchError },
    /// A host is given up.
    Down { host: HostId, error: LaunchError },
    /// This machine can't keep what an attempt sends.
    CannotKeep { error: io::Error },
}

/// What is known of an agent when it joins, for people.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    pub(crate) build: String,
    pub(crate) target: String,
    pub(crate) cores: u32,
    pub(crate) took: Duration,
    pub(crate) story: Story,
}

/// What the driver tells a worker's connection.
#[derive(Debug)]
pub(crate) enum Command {
    Send(ToAgent),
    /// A command's task, with its files.
    Start(Box<FullStart>),
    /// An attempt of an earlier titan goes on; the check follows what it sends.
    Adopt {
        attempt: AttemptId,
        task: TaskId,
        check: Option<OutputCheck>,
    },
    GiveUp,
}

/// What all hosts' tasks share.
pub(crate) struct Common {
    pub(crate) launching: Launching,
    pub(crate) spool: Spool,
    pub(crate) clock: Clock,
    pub(crate) news: mpsc::Sender<News>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) batch: BatchId,
    pub(crate) epoch: Epoch,
    /// Whether hosts that aren't there at the beginning are waited for.
    pub(crate) waits_at_start: bool,
    pub(crate) network: Network,
    /// The batch's own: whoever doesn't know it can't guess where its agents are met.
    pub(crate) secret: u64,
    pub(crate) heartbeat: Duration,
    pub(crate) lease: Duration,
    pub(crate) start_timeout: Duration,
    pub(crate) max_result_bytes: u64,
    /// Files that hosts keep for later batches, in bytes.
    pub(crate) cache_bytes: u64,
    /// Whether agents are to say how busy their machines are.
    pub(crate) reports_load: bool,
    pub(crate) next_worker: AtomicU32,
}

/// One host's task.
pub(crate) struct HostTask {
    pub(crate) id: HostId,
    /// What it is called in this batch.
    pub(crate) name: String,
    pub(crate) slots: Slots,
    /// Counted resources, by name.
    pub(crate) resources: BTreeMap<String, u32>,
    /// Run before its first task.
    pub(crate) setup: Option<String>,
    /// Its own labels, as they are written in the cluster file.
    pub(crate) labels: Vec<String>,
    /// At most this much memory, in bytes.
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) launcher: Arc<dyn Launcher>,
    pub(crate) common: Arc<Common>,
}

/// An agent that has said hello.
struct Agent {
    link: Link,
    hello: Hello,
    decoder: Decoder,
    took: Duration,
}

/// How a session came to its end.
enum Over {
    /// titan stops.
    Stopped,
    /// The host is to be started afresh, if another agent hasn't been already.
    Lost(LaunchError, Option<Box<Agent>>),
}

/// What comes of reaching an agent again.
enum Reached {
    /// It is the same one, and goes on.
    Same(Box<Agent>),
    Over(Over),
}

impl HostTask {
    /// Runs until titan stops or the host is given up.
    pub(crate) async fn run(self) {
        let mut stop = self.common.stop.clone();
        let mut network = self.common.network.clone();
        let mut history = History::default();
        let mut next: Option<Agent> = None;
        loop {
            let started = match next.take() {
                Some(agent) => Ok(agent),
                None => {
                    let mut start = pin!(self.start());
                    tokio::select! {
                        started = &mut start => started,
                        () = stopped(&mut stop) => {
                            // An earlier titan's agent may be there.
                            if self.common.epoch > Epoch(1) && let Ok(agent) = start.await {
                                farewell(agent.link, agent.hello, self.common.epoch).await;
                            }
                            return;
                        }
                    }
                }
            };
            let is_start = started.is_err();
            let error = match started {
                Ok(agent) => match self.serve(agent, &mut history).await {
                    Over::Lost(error, another) => {
                        next = another.map(|agent| *agent);
                        error
                    }
                    Over::Stopped => return,
                },
                Err(error) => {
                    history.on_start_failed();
                    error
                }
            };
            let Common { lease, waits_at_start, start_timeout, .. } = *self.common;
            let patience = Patience { lease, waits_at_start, start_timeout };
            let Some(wait) = history.next_wait(Instant::now(), error.lasting, patience) else {
                self.tell(News::Down { host: self.id, error }).await;
                return;
            };
            if is_start {
                self.tell(News::Trouble { host: self.id, error }).await;
            }
            network.forget();
            tokio::select! {
                () = sleep(jittered(wait)) => {}
                () = network.changed() => sleep(jittered(FIRST_WAIT)).await,
                () = stopped(&mut stop) => return,
            }
        }
    }

    /// Launches an agent that has no session yet, or one of an earlier titan's, and hears its hello, all within the time that a start
    /// may take. One that is in a session which this titan has given up is told that it is over, and its end is waited for.
    async fn start(&self) -> Result<Agent, LaunchError> {
        let deadline = Instant::now() + self.common.start_timeout;
        loop {
            let mut agent = self.launch(deadline).await?;
            if agent.hello.session.is_none() || agent.hello.epoch < self.common.epoch {
                return Ok(agent);
            }
            let hello = self.hello(SessionId(random()), 0, false);
            let _ = agent.link.writer.write_all(&hello.encode()).await;
            let _ = timeout_at(deadline.into(), agent.link.way.closed()).await;
        }
    }

    /// Launches an agent, or reaches the one that is there, and hears its hello.
    async fn launch(&self, deadline: Instant) -> Result<Agent, LaunchError> {
        let common = &self.common;
        let begun = Instant::now();
        let attempt = async {
            let mut link = self.launcher.launch(&common.launching, &meeting(common.secret, &self.name)).await?;
            let (hello, decoder) = hear_hello(&mut link).await?;
            Ok(Agent { link, hello, decoder, took: begun.elapsed() })
        };
        timeout_at(deadline.into(), attempt).await.unwrap_or_else(|_| Err(LaunchError::too_slow(common.start_timeout)))
    }

    /// Talks to an agent until its session is over.
    async fn serve(&self, agent: Agent, history: &mut History) -> Over {
        let common = &self.common;
        let Agent { mut link, hello, decoder, took } = agent;
        let worker = WorkerId(common.next_worker.fetch_add(1, Ordering::Relaxed));
        let id = SessionId(random());
        let capacity = self.capacity(&hello);
        let slots = capacity.slots;
        let (commands, to_connection) = mpsc::unbounded_channel();
        let mut session = Session::new(common.clock.now(), common.heartbeat);
        session.send(self.configuration(slots));
        let adopts = hello.session.is_some();
        if let Err(error) = link.writer.write_all(&self.hello(id, 0, adopts).encode()).await {
            return Over::Lost(LaunchError::ended(&error.to_string(), ""), None);
        }
        let mut connection = Connection {
            worker,
            desk: Desk::new(session),
            decoder,
            results: Keeper::new(common.spool.writer(common.max_result_bytes, most_parts(slots))),
            setup: self.setup.clone(),
            offers: Offers::default(),
            clock: common.clock,
            news: common.news.clone(),
            commands: to_connection,
            have: BTreeMap::new(),
            waiting: VecDeque::new(),
            silence: (common.heartbeat * 2).max(SHORTEST_SILENCE),
            stop: common.stop.clone(),
        };
        let mut held = Vec::new();
        if adopts {
            let hearing = connection.hear_held(&common.spool, &mut *link.reader);
            held = match timeout(common.start_timeout, hearing).await {
                Ok(Ok(held)) => held,
                Ok(Err(end)) => return Over::Lost(LaunchError::lost(&end.reason()), None),
                Err(_) => return Over::Lost(LaunchError::too_slow(common.start_timeout), None),
            };
        }
        let joined = Joined { build: hello.build, target: hello.target, cores: hello.cores, took, story: link.story };
        let (is_local, is_alone) = (self.launcher.is_local(), hello.is_alone && held.len() < MAX_HELD);
        self.tell(News::Joined { host: self.id, worker, capacity, commands, joined, is_local, is_alone, held }).await;
        let begun = Instant::now();
        let over = loop {
            let end = connection.run(&mut *link.reader, &mut *link.writer).await;
            let reason = match end {
                End::Lost(_) => format!("{}{}", end.reason(), last_words(&mut link).await),
                _ => end.reason(),
            };
            match end {
                End::Stopped => {
                    drop(link.writer);
                    let _ = timeout(CLOSE_SPAN, link.way.closed()).await;
                    break Over::Stopped;
                }
                End::GivenUp | End::Broken(_) => break self.lost(worker, &reason, false).await,
                End::Lost(_) if common.lease.is_zero() => break self.lost(worker, &reason, false).await,
                End::Lost(_) => {}
            }
            drop(link);
            match self.reach_again(&mut connection, id, &reason).await {
                Reached::Same(agent) => {
                    (link, connection.decoder) = (agent.link, agent.decoder);
                    self.tell(News::Back { host: self.id }).await;
                }
                Reached::Over(over) => break over,
            }
        };
        history.on_session_ended(begun.elapsed());
        over
    }

    /// Another connection to the same agent, however long that takes: the manager says when it has been too long.
    async fn reach_again(&self, connection: &mut Connection, id: SessionId, reason: &str) -> Reached {
        let worker = connection.worker;
        let mut wait = Duration::ZERO;
        let mut is_told = false;
        // What was begun before the network changed may wait for an answer that can't come; what was begun after that is let be.
        let (mut network, mut is_fresh) = (self.common.network.clone(), false);
        loop {
            network.forget();
            let deadline = Instant::now() + wait + self.common.start_timeout;
            let launched = async {
                sleep(jittered(wait)).await;
                self.launch(deadline).await
            };
            let launched = tokio::select! {
                launched = launched => launched,
                () = connection.given_up() => {
                    return Reached::Over(self.lost(worker, "it was silent for too long", false).await);
                }
                () = network.changed(), if !is_fresh => {
                    (wait, is_fresh) = (FIRST_WAIT, true);
                    continue;
                }
            };
            is_fresh = false;
            match launched {
                Ok(mut agent) if agent.hello.session == Some(id) && agent.hello.epoch == self.common.epoch => {
                    let hello = self.hello(id, connection.desk.session.last_seen(), false);
                    let is_written = agent.link.writer.write_all(&hello.encode()).await.is_ok();
                    let now = self.common.clock.now();
                    match connection.desk.session.resume(now, agent.hello.last_seen) {
                        Ok(()) if is_written => return Reached::Same(Box::new(agent)),
                        Ok(()) => {}
                        Err(error) => return Reached::Over(self.lost(worker, &error.to_string(), false).await),
                    }
                }
                // The agent that was there has ended, with all that it ran, or is another titan's.
                Ok(agent) if agent.hello.session.is_none() => {
                    let error = self.tell_lost(worker, reason, agent.hello.is_alone).await;
                    return Reached::Over(Over::Lost(error, Some(Box::new(agent))));
                }
                Ok(agent) => {
                    let owner = agent.hello.epoch;
                    let problem = format!("{reason}; its agent serves another titan now (epoch {})", owner.0);
                    return Reached::Over(self.lost(worker, &problem, false).await);
                }
                Err(error) if error.lasting == Lasting::Permanent => {
                    return Reached::Over(self.lost(worker, &error.reason, false).await);
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        self.tell(News::Away { host: self.id, reason: reason.to_owned() }).await;
                        self.tell(News::Trouble { host: self.id, error }).await;
                    }
                }
            }
            wait = (wait * 2).clamp(FIRST_WAIT, LAST_WAIT);
        }
    }

    /// The session is over; the host is to be started afresh. `is_dead`: all that the agent ran has ended.
    async fn lost(&self, worker: WorkerId, reason: &str, is_dead: bool) -> Over {
        Over::Lost(self.tell_lost(worker, reason, is_dead).await, None)
    }

    async fn tell_lost(&self, worker: WorkerId, reason: &str, is_dead: bool) -> LaunchError {
        self.tell(News::Lost { host: self.id, worker, reason: reason.to_owned(), is_dead }).await;
        LaunchError::lost(reason)
    }

    fn capacity(&self, hello: &Hello) -> Capacity {
        Capacity {
            slots: self.slots.resolve(hello.cores),
            cores: hello.cores,
            memory_bytes: self.memory_bytes.unwrap_or(u64::MAX).min(hello.memory_bytes),
            resources: self.resources.clone(),
            labels: labels(&self.name, &hello.target, &self.labels),
        }
    }

    fn configuration(&self, slots: u32) -> Vec<u8> {
        let millis = |span: Duration| span.as_millis() as u64;
        let configure = Configure {
            batch: self.common.batch.to_string(),
            host: self.name.clone(),
            slots,
            heartbeat_ms: millis(self.common.heartbeat),
            lease_ms: millis(self.common.lease),
            cache_bytes: self.common.cache_bytes,
            reports_load: self.common.reports_load,
        };
        titan_proto::codec::encode(&ToAgent::Configure(configure)).expect("a host's name was checked to be short")
    }

    fn hello(&self, session: SessionId, last_seen: u64, adopts: bool) -> Hello {
        Hello {
            version: PROTOCOL_VERSION,
            role: Role::Manager,
            build: titan_agent::build(),
            target: titan_agent::machine::target(),
            cores: titan_agent::machine::cores(),
            memory_bytes: titan_agent::machine::memory_bytes(),
            kernels: kernels::KERNELS.iter().map(|kernel| kernel.name().to_owned()).collect(),
            batch: Some(self.common.batch.clone()),
            session: Some(session),
            epoch: self.common.epoch,
            last_seen,
            is_alone: false,
            adopts,
        }
    }

    async fn tell(&self, news: News) {
        // It fails only when the driver has ended.
        let _ = self.common.news.send(news).await;
    }
}

/// Waits until titan stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// The most results that an agent with that many slots may be sending: what it runs and what it has queued, one after the
/// other, and two that cross with news of their end.
fn most_parts(slots: u32) -> usize {
    (slots as usize).saturating_mul(1 + titan_manager::MAX_DEPTH as usize) + 2
}
