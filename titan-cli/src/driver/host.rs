//! One host from the batch's beginning to its end: started, talked to, started afresh when its session is lost, given up
//! when that doesn't help.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout, timeout_at};

use titan_manager::desk::Desk;
use titan_manager::{Capacity, HostId, WorkerId};
use titan_proto::PROTOCOL_VERSION;
use titan_proto::frame::Decoder;
use titan_proto::handshake::{HandshakeError, Hello, Opening, Role};
use titan_proto::id::{BatchId, Epoch, SessionId};
use titan_proto::message::{Configure, ToAgent, ToManager};
use titan_proto::session::Session;

use super::backoff::History;
use super::clock::Clock;
use super::connection::{Connection, End};
use super::keeper::Keeper;
use super::offers::Offers;
use super::spool::Spool;
use super::staging::FullStart;
use crate::config::jobs::Slots;
use crate::launch::gate::jittered;
use crate::launch::{LaunchError, Launcher, Launching, Link, Story};

/// How long the other end may take to close after the goodbye.
const CLOSE_SPAN: Duration = Duration::from_secs(2);

/// What a host's task tells the driver.
#[derive(Debug)]
pub(crate) enum News {
    /// An agent has said hello.
    Joined {
        host: HostId,
        worker: WorkerId,
        capacity: Capacity,
        commands: mpsc::UnboundedSender<Command>,
        joined: Joined,
        is_local: bool,
    },
    /// A worker says something.
    Message { worker: WorkerId, message: ToManager },
    /// A worker lives.
    Heard { worker: WorkerId },
    /// A worker's session is over; its host is being started afresh.
    Lost { host: HostId, worker: WorkerId, reason: String, is_dead: bool },
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

impl HostTask {
    /// Runs until titan stops or the host is given up.
    pub(crate) async fn run(self) {
        let mut stop = self.common.stop.clone();
        let mut history = History::default();
        loop {
            let started = tokio::select! {
                started = self.start() => started,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let is_start = started.is_err();
            let error = match started {
                Ok(agent) => match self.serve(agent, &mut history).await {
                    Some(error) => error,
                    None => return,
                },
                Err(error) => error,
            };
            let Common { lease, start_timeout, .. } = *self.common;
            let Some(wait) = history.next_wait(Instant::now(), error.lasting, lease, start_timeout) else {
                self.tell(News::Down { host: self.id, error }).await;
                return;
            };
            if is_start {
                self.tell(News::Trouble { host: self.id, error }).await;
            }
            tokio::select! {
                () = sleep(jittered(wait)) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Launches an agent and hears its hello, all within the time that a start may take.
    async fn start(&self) -> Result<Agent, LaunchError> {
        let common = &self.common;
        let begun = Instant::now();
        let attempt = async {
            let mut link = self.launcher.launch(&common.launching).await?;
            let (hello, decoder) = hear_hello(&mut link).await?;
            Ok(Agent { link, hello, decoder, took: begun.elapsed() })
        };
        let deadline = tokio::time::Instant::from_std(begun + common.start_timeout);
        timeout_at(deadline, attempt).await.unwrap_or_else(|_| Err(LaunchError::too_slow(common.start_timeout)))
    }

    /// Talks to an agent until its session is over; None when titan stops.
    async fn serve(&self, agent: Agent, history: &mut History) -> Option<LaunchError> {
        let common = &self.common;
        let Agent { mut link, hello, decoder, took } = agent;
        let worker = WorkerId(common.next_worker.fetch_add(1, Ordering::Relaxed));
        let capacity = self.capacity(&hello);
        let slots = capacity.slots;
        let (commands, to_connection) = mpsc::unbounded_channel();
        let mut session = Session::new(common.clock.now(), common.heartbeat);
        session.send(self.configuration(slots));
        if let Err(error) = link.writer.write_all(&self.hello().encode()).await {
            return Some(LaunchError::ended(&error.to_string(), ""));
        }
        let joined = Joined { build: hello.build, target: hello.target, cores: hello.cores, took, story: link.story };
        self.tell(News::Joined {
            host: self.id,
            worker,
            capacity,
            commands,
            joined,
            is_local: self.launcher.is_local(),
        })
        .await;
        let connection = Connection {
            worker,
            desk: Desk::new(session),
            decoder,
            results: Keeper::new(common.spool.writer(common.max_result_bytes, slots as usize * 2 + 2)),
            setup: self.setup.clone(),
            offers: Offers::default(),
            clock: common.clock,
            news: common.news.clone(),
            commands: to_connection,
            stop: common.stop.clone(),
        };
        let begun = Instant::now();
        let end = connection.run(&mut *link.reader, &mut *link.writer).await;
        history.on_session_ended(begun.elapsed());
        self.part(worker, link, end).await
    }

    /// What the end of a connection means: an error if the host is to be started afresh.
    async fn part(&self, worker: WorkerId, mut link: Link, end: End) -> Option<LaunchError> {
        let reason = match end {
            End::Stopped => {
                drop(link.writer);
                let _ = timeout(CLOSE_SPAN, link.way.closed()).await;
                return None;
            }
            End::GivenUp => "it was silent for too long".to_owned(),
            End::Lost(reason) => match link.stderr.last_words().await.trim() {
                "" => reason,
                words => format!("{reason}; its last words: {}", words.lines().next_back().unwrap_or_default()),
            },
        };
        // On this machine the process is an agent's watcher: it ends by itself when all is ended that the agent ran.
        let is_dead = self.launcher.is_local() && timeout(CLOSE_SPAN, link.way.closed()).await.unwrap_or(false);
        self.tell(News::Lost { host: self.id, worker, reason: reason.clone(), is_dead }).await;
        Some(LaunchError::lost(&reason))
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

    fn hello(&self) -> Hello {
        Hello {
            version: PROTOCOL_VERSION,
            role: Role::Manager,
            build: titan_agent::build(),
            target: titan_agent::machine::target(),
            cores: titan_agent::machine::cores(),
            memory_bytes: titan_agent::machine::memory_bytes(),
            kernels: kernels::KERNELS.iter().map(|kernel| kernel.name().to_owned()).collect(),
            batch: Some(self.common.batch.clone()),
            session: Some(SessionId(random())),
            epoch: self.common.epoch,
            last_seen: 0,
        }
    }

    async fn tell(&self, news: News) {
        // It fails only when the driver has ended.
        let _ = self.common.news.send(news).await;
    }
}

/// What `where` can name: the host's name, what its target says, and its own labels.
pub(crate) fn labels(name: &str, target: &str, own: &[String]) -> BTreeMap<String, String> {
    let (arch, os) = match target.split_once('-') {
        Some((arch, rest)) => (arch, os_of(rest)),
        None => (target, ""),
    };
    let known = [("name", name), ("arch", arch), ("os", os)].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let own = own.iter().map(|label| match label.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (label.clone(), String::new()),
    });
    own.chain(known).collect()
}

/// The part of a target triple that names the system: `unknown-linux-gnu` → `linux`.
fn os_of(rest: &str) -> &str {
    rest.split('-').find(|part| ["linux", "darwin", "freebsd"].contains(part)).unwrap_or(rest)
}

async fn hear_hello(link: &mut Link) -> Result<(Hello, Decoder), LaunchError> {
    let mut bytes = Vec::new();
    loop {
        let opening = Opening::decode(&bytes).map_err(|error| LaunchError::handshake(&error))?;
        if let Some((Opening::Hello(hello), length)) = opening {
            if let Err(error) = hello.check(&titan_agent::build()) {
                // An agent of another version still understands this.
                let _ = link.writer.write_all(titan_proto::handshake::GOODBYE).await;
                return Err(LaunchError::handshake(&error));
            }
            let mut decoder = Decoder::default();
            decoder.push(&bytes[length..]);
            return Ok((hello, decoder));
        }
        if opening.is_some() {
            return Err(LaunchError::handshake(&HandshakeError::NotTitan));
        }
        let mut buffer = [0; 4 << 10];
        match link.reader.read(&mut buffer).await {
            Ok(length @ 1..) => bytes.extend_from_slice(&buffer[..length]),
            _ => return Err(LaunchError::ended(&link.stderr.last_words().await, "")),
        }
    }
}

fn random() -> u64 {
    RandomState::new().hash_one(0)
}
