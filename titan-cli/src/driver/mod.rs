//! Drives a manager: owns the clock, the hosts' tasks, the spool and the sink; turns what happens into events, notes what is to be
//! noted, and carries effects out in order, each when what was noted before it is on the disk.
//!
//! # Layout
//! - this file: the loop. One `select!` hears of what happens; everything after it is synchronous.
//! - [`events`]: what was heard becomes events, and the manager decides.
//! - [`effects`]: what the manager wants is done.
//! - [`host`], [`greeting`], [`backoff`], [`network`], [`connection`], [`offers`]: one host from start to end.
//! - [`keeper`]: what a session's attempts send → the spool.
//! - [`staging`]: a command's task is put together, with its files.
//! - [`sink`], [`outputs`]: from results to files.
//! - [`note`]: what progress and reports are told.

pub(crate) mod backoff;
pub(crate) mod clock;
pub(crate) mod connection;
mod effects;
mod events;
pub(crate) mod greeting;
pub(crate) mod host;
pub(crate) mod keeper;
pub(crate) mod network;
pub(crate) mod note;
pub(crate) mod offers;
pub(crate) mod outputs;
pub(crate) mod signals;
pub(crate) mod sink;
pub(crate) mod staging;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use std::{fmt, io};

use kernels::SinkReport;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use titan_manager::journal::Gate;
use titan_manager::{Effect, Event, HostId, JobSpec, Manager, Verdict, WorkerId};
use titan_proto::files::BlobId;
use titan_proto::id::JobId;
use titan_proto::message::Part;

use crate::files::reuse::Reuse;
use crate::files::{Input, TaskFiles};
use crate::state::dir::BatchDir;
use crate::state::journal::{Durable, Journal};
use crate::state::spool::Spool;
use clock::Clock;
use host::{Command, HostTask, News};
use note::Note;
use signals::{Ending, Signals};
use sink::{SinkNews, SinkThread, Written};
use staging::Staging;

/// News that may wait for the driver: beyond it the connections wait.
pub(crate) const MAX_NEWS: usize = 1_024;
/// How long hosts may take to part after the goodbye.
const PART_SPAN: Duration = Duration::from_secs(5);
/// The same where a person can't wait.
const HURRIED_PART_SPAN: Duration = Duration::from_secs(1);
/// News of hosts, looked at together.
const NEWS_AT_ONCE: usize = 256;
/// News of tasks that come one by one, looked at together.
const FED_AT_ONCE: usize = 256;
/// Progress is redrawn this often.
const REDRAW_SPAN: Duration = Duration::from_millis(100);

/// What the batch's settings say.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Between two ticks of the manager.
    pub(crate) tick: Duration,
    /// How long tasks may take to stop when the batch is cancelled.
    pub(crate) stop: Duration,
    /// What can't be kept of a result ends the batch, and doesn't only fail its task.
    pub(crate) is_one: bool,
    /// What needn't be made again.
    pub(crate) reuse: Reuse,
}

/// Who is told what happens.
pub(crate) trait Observer {
    /// Something happened.
    fn note(&mut self, note: &Note);
    /// Whether it wants to know what is said on sessions.
    fn wants_sessions(&self) -> bool;
    /// Time has passed.
    fn tick(&mut self, manager: &Manager);
}

/// How a batch came to its end.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// What the manager says; None if it never came to an end.
    pub(crate) verdict: Option<Verdict>,
    /// The signal that ended it.
    pub(crate) ending: Option<Ending>,
    /// Somebody has asked for its end for good.
    pub(crate) is_cancelled: bool,
    /// What couldn't be written here, and ended the batch.
    pub(crate) write_error: Option<io::Error>,
    /// What couldn't be written here, and failed a task.
    pub(crate) unwritten: Option<io::Error>,
    /// What the sinks have written, if they came to their end.
    pub(crate) written: Option<Vec<SinkReport>>,
    /// Why no more tasks could be made.
    pub(crate) feed_error: Option<String>,
    /// Whether there would have been more tasks.
    pub(crate) is_open: bool,
}

/// What the tasks of a job run.
pub(crate) trait TaskSource: Send {
    /// What that task runs; of a command all but its files.
    fn part(&self, index: u32) -> Part;

    /// The files of that task.
    ///
    /// # Errors
    /// What it declares can't be: a sentence, and the task fails.
    fn files(&self, _index: u32) -> Result<TaskFiles, String> {
        Ok(TaskFiles::default())
    }

    /// What that task is, but for the contents that it is given; None: that isn't noted.
    fn identity(&self, _index: u32) -> Option<BlobId> {
        None
    }

    /// What all tasks of the job are given; never changes.
    fn base(&self) -> &[Input] {
        &[]
    }
}

/// A job, what its tasks run, and where more of them come from.
pub(crate) struct BatchJob {
    pub(crate) spec: JobSpec,
    pub(crate) source: Box<dyn TaskSource>,
}

/// The tasks of a kernel's job.
pub(crate) struct KernelTasks;

impl TaskSource for KernelTasks {
    fn part(&self, _index: u32) -> Part {
        Part::OfJob
    }
}

/// What comes while the batch runs from where its tasks are made.
#[derive(Debug)]
pub(crate) enum Fed {
    /// A job has more tasks.
    More { job: JobId, tasks: u32 },
    /// A job has all its tasks.
    Closed { job: JobId },
    /// No more tasks can be made.
    Failed { job: JobId, reason: String },
}

/// A worker that can be talked to.
struct Connected {
    host: HostId,
    commands: mpsc::UnboundedSender<Vec<Command>>,
    /// What goes there next, together: each time that somebody is woken costs more than what is said.
    outbox: Vec<Command>,
    /// On this machine: it reads files where they are.
    is_local: bool,
    slots: u32,
}

/// What comes to a driver.
pub(crate) struct Inlets {
    /// From hosts.
    pub(crate) news: mpsc::Receiver<News>,
    /// From where tasks are made.
    pub(crate) fed: mpsc::Receiver<Fed>,
}

/// A running batch.
pub(crate) struct Driver<'a> {
    manager: Manager,
    clock: Clock,
    directory: &'a BatchDir,
    journal: Journal,
    /// How far the journal has to be durable for the last that was noted to be.
    noted: u64,
    /// Effects that wait until it is on the disk.
    gate: Gate,
    durable: watch::Receiver<Durable>,
    spool: Spool,
    sink: SinkThread,
    observer: &'a mut dyn Observer,
    connections: BTreeMap<WorkerId, Connected>,
    news: mpsc::Receiver<News>,
    /// What has come of it and isn't looked at yet.
    unheard_news: Vec<News>,
    sources: Vec<Box<dyn TaskSource>>,
    staging: Staging,
    /// What has happened while effects were carried out.
    events: VecDeque<Event>,
    /// Nothing: the room for what an event brings.
    effects: Vec<Effect>,
    fed: mpsc::Receiver<Fed>,
    /// What has come of it and isn't looked at yet.
    unheard_fed: Vec<Fed>,
    /// What can't be kept ends it.
    is_one: bool,
    reuse: Reuse,
    ended: Ended,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(
        manager: Manager,
        clock: Clock,
        directory: &'a BatchDir,
        sink: SinkThread,
        Inlets { news, fed }: Inlets,
        staging: Staging,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let ended = Ended::default();
        let (journal, spool) = (directory.journal().clone(), directory.spool());
        let (durable, noted) = (journal.durable(), journal.durable_now());
        let (connections, sources, events) = (BTreeMap::new(), Vec::new(), VecDeque::new());
        Self {
            manager,
            clock,
            directory,
            journal,
            noted,
            gate: Gate::new(noted),
            durable,
            spool,
            sink,
            observer,
            connections,
            news,
            sources,
            staging,
            events,
            effects: Vec::new(),
            fed,
            unheard_news: Vec::new(),
            unheard_fed: Vec::new(),
            is_one: false,
            reuse: Reuse::default(),
            ended,
        }
    }

    /// Runs these jobs on these hosts until all have ended, and parts from the hosts.
    pub(crate) async fn run(
        mut self,
        jobs: Vec<BatchJob>,
        hosts: Vec<HostTask>,
        Settings { tick, stop: stop_span, is_one, reuse }: Settings,
        stop: watch::Sender<bool>,
        signals: &mut Signals,
    ) -> Ended {
        (self.is_one, self.reuse) = (is_one, reuse);
        for host in &hosts {
            self.handle(Event::HostStarting { host: host.id });
        }
        let (specs, sources) = jobs.into_iter().map(|BatchJob { spec, source }| (spec, source)).unzip();
        self.sources = sources;
        self.handle(Event::Submit(specs));
        let mut tasks: JoinSet<()> = hosts.into_iter().map(HostTask::run).collect();
        let hurried = self.decide(tick, stop_span, &mut tasks, signals).await;
        self.abandon();
        self.send_out();
        self.ended.is_open = self.manager.counts().is_growing;
        // From here on nobody is needed any more; the sink may still have much to do.
        let _ = stop.send(true);
        if !hurried {
            let span = if self.ended.ending.is_some() { stop_span } else { Duration::MAX };
            // A reader of stdout that reads nothing holds up whoever has been told to end no longer than this.
            let _ = timeout(span, self.write_out(signals)).await;
        }
        // At a goodbye agents end all that they run at once.
        let span = if hurried { HURRIED_PART_SPAN } else { PART_SPAN };
        let parting = async { while tasks.join_next().await.map(unwound).is_some() {} };
        let drain = async { while self.news.recv().await.is_some() {} };
        let _ = timeout(span, async {
            tokio::select! { () = parting => {}, () = drain => {} }
        })
        .await;
        self.ended
    }

    /// Until the manager has come to its verdict. True: a person can't wait.
    async fn decide(
        &mut self,
        tick: Duration,
        stop_span: Duration,
        tasks: &mut JoinSet<()>,
        signals: &mut Signals,
    ) -> bool {
        let mut ticks = interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut redraws = interval(REDRAW_SPAN);
        redraws.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut stop_by, mut has_given_up): (Option<Instant>, bool) = (None, false);
        let (mut hears, mut feeds) = (true, true);
        while !self.is_over() {
            let wake = self.manager.next_wake().map(|wake| Instant::from_std(self.clock.instant(wake)));
            self.send_out();
            tokio::select! {
                count = self.news.recv_many(&mut self.unheard_news, NEWS_AT_ONCE), if hears => {
                    hears = count > 0;
                    self.on_all_news();
                }
                Some(ended) = tasks.join_next() => unwound(ended),
                count = self.fed.recv_many(&mut self.unheard_fed, FED_AT_ONCE), if feeds => {
                    feeds = count > 0;
                    self.on_fed();
                }
                staged = self.staging.next() => self.on_staged(staged),
                _ = ticks.tick() => self.handle(Event::Tick),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.handle(Event::Tick),
                Ok(()) = self.durable.changed() => self.on_durable(),
                _ = redraws.tick() => {
                    self.observer.tick(&self.manager);
                    if !self.ended.is_cancelled && self.directory.is_cancel_asked_for() {
                        self.ended.is_cancelled = true;
                        stop_by = stop_by.or(Some(Instant::now() + stop_span));
                        self.tell(&Note::Cancelling);
                        self.handle(Event::Cancel);
                    }
                }
                ending = signals.next() => {
                    let is_second = self.ended.ending.is_some();
                    // A terminal that is closed may say so twice.
                    if is_second && ending == Ending::Hangup {
                        continue;
                    }
                    self.ended.ending = Some(ending);
                    if is_second {
                        return true;
                    }
                    stop_by = Some(Instant::now() + stop_span);
                    self.tell(&Note::Stopping(ending));
                    self.handle(Event::Cancel);
                }
                news = self.sink.next() => match news {
                    SinkNews::Committed { task, problem } => self.handle(Event::Committed { task, problem }),
                    SinkNews::Ended(end) => self.ended.write_error = end.err(),
                },
                () = sleep_until(stop_by.unwrap_or_else(Instant::now)), if stop_by.is_some() => {
                    if has_given_up {
                        return false;
                    }
                    has_given_up = true;
                    stop_by = Some(Instant::now() + stop_span);
                    self.give_up_workers();
                }
            }
        }
        false
    }

    fn is_over(&self) -> bool {
        self.ended.verdict.is_some() || self.ended.write_error.is_some()
    }

    /// Whatever isn't over counts as CANCELLED here, and is noted nowhere: it can be gone on with.
    fn abandon(&mut self) {
        let mut effects = Vec::new();
        self.manager.handle(self.clock.now(), Event::Abandon, &mut effects);
        let is_told = |effect: &Effect| matches!(effect, Effect::Deliver(_) | Effect::Report(_) | Effect::Finished(_));
        effects.into_iter().filter(is_told).for_each(|effect| self.carry_out(effect));
    }

    /// More of the journal is on the disk, or it has failed.
    fn on_durable(&mut self) {
        match &*self.durable.borrow_and_update() {
            Ok(frame) => self.gate.note_durable(*frame),
            Err(error) => self.ended.write_error = Some(io::Error::new(error.kind(), error.to_string())),
        }
        while let Some(effect) = self.gate.next_due() {
            self.carry_out(effect);
        }
        self.handle_all(self.clock.now());
    }

    /// What doesn't stop in time is given up.
    fn give_up_workers(&mut self) {
        for worker in self.connections.keys().copied().collect::<Vec<_>>() {
            self.handle(Event::SessionLost { worker, is_dead: false });
        }
    }

    /// Waits for the sinks: whatever has ended well is to be where it belongs.
    async fn write_out(&mut self, signals: &mut Signals) {
        if self.ended.write_error.is_some() {
            return;
        }
        let is_done = self.ended.verdict.is_some_and(|verdict| verdict.end == titan_manager::End::Done);
        self.sink.finish(is_done);
        let mut redraws = interval(REDRAW_SPAN);
        loop {
            tokio::select! {
                SinkNews::Ended(end) = self.sink.next() => {
                    match end {
                        Ok(Written { reports, unwritten }) => {
                            self.ended.written = Some(reports);
                            self.ended.unwritten = self.ended.unwritten.take().or(unwritten);
                        }
                        Err(error) => self.ended.write_error = Some(error),
                    }
                    return;
                }
                // Drained so that hosts can part while the sink works.
                Some(_) = self.news.recv() => {}
                _ = redraws.tick() => self.observer.tick(&self.manager),
                ending = signals.next() => {
                    self.ended.ending = Some(ending);
                    return;
                }
            }
        }
    }

    fn tell_said(&mut self, worker: WorkerId, is_ours: bool, message: &impl fmt::Debug) {
        if self.observer.wants_sessions()
            && let Some(host) = self.connections.get(&worker).map(|connected| connected.host)
        {
            let message = format!("{message:?}");
            self.tell(&Note::Said { host, is_ours, message });
        }
    }

    fn tell(&mut self, note: &Note) {
        self.observer.note(note);
    }
}

/// A bug in a host's task is a bug of titan.
fn unwound(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
