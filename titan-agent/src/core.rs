//! What an agent decides, without a thread, a clock or a stream: which attempt starts when, what is said of it, when the
//! agent ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use titan_proto::command::ProcessEnd;
use titan_proto::files::{Entry, FileSet};
use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::{Configure, HeldState, MAX_SLOTS, Outcome, Part, ResultSummary, ToAgent, ToManager, Work};
use titan_proto::time::Timestamp;

use crate::process::lease;

/// Results that the manager hasn't acknowledged: beyond that many bytes nothing new starts, so that a slow link fills no
/// memory.
pub const MAX_UNACKNOWLEDGED_BYTES: u64 = 64 << 20;
/// A manager that sends more starts than this ahead is broken.
const MAX_QUEUED: usize = 1 << 20;
/// A computation that takes no longer than this is over at once.
const QUICK: Duration = Duration::from_micros(100);
/// So many of those are begun together for each slot.
const TOGETHER: usize = 32;
/// So many attempts for each slot are enough for a while.
const PLENTY: usize = 8;
/// Between two ticks there shouldn't be more than this; if there is, this side slept.
pub const MAX_TICK: Duration = Duration::from_secs(1);

/// What happens to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message from the manager; also a sign of life.
    Message(ToAgent),
    /// A sign of life without a message.
    Heard,
    /// The files that an attempt needs are here, or why they never will be.
    Staged {
        /// The attempt.
        attempt: AttemptId,
        /// How it has ended without having begun.
        failure: Option<Outcome>,
    },
    /// A computation has ended.
    Computed {
        /// Its attempt.
        attempt: AttemptId,
        /// How.
        end: Computed,
    },
    /// The channel to the manager is gone; another one may come.
    ChannelClosed,
    /// A manager of a later epoch has come, and a session with it.
    TakenOver,
    /// The manager ends the session.
    Goodbye,
    /// Time has passed.
    Tick,
}

/// How a computation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Computed {
    /// With a result.
    Completed {
        /// The result.
        result: Arc<Vec<u8>>,
        /// Its CRC-32.
        crc: u32,
        /// How long it took.
        compute: Duration,
    },
    /// Without one.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was told to stop.
    Cancelled,
    /// A command's, whatever way; what it wrote was sent while it ran.
    Ended {
        /// How.
        outcome: Outcome,
        /// What is known of its process.
        process: Option<ProcessEnd>,
        /// How many bytes were sent.
        bytes: u64,
    },
}

impl Computed {
    /// A failure of the task's.
    pub(crate) fn failed(reason: &str) -> Self {
        Self::Failed { reason: reason.to_owned() }
    }

    /// A command's attempt that never had a process.
    pub(crate) fn ended(outcome: Outcome) -> Self {
        Self::Ended { outcome, process: None, bytes: 0 }
    }
}

/// What an agent wants done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Use that many slots and leave no longer silence than the heartbeat.
    Configure(Configure),
    /// Get a job's work ready.
    Prepare {
        /// The job.
        job: JobId,
        /// Its work.
        work: Work,
    },
    /// Say something.
    Send(ToManager),
    /// Send a result and then say something.
    SendResult {
        /// The attempt that names the stream.
        attempt: AttemptId,
        /// The result.
        result: Arc<Vec<u8>>,
        /// What follows its last byte.
        then: ToManager,
    },
    /// A set of files has these entries, too.
    Files {
        /// The set.
        set: FileSet,
        /// A part of it.
        entries: Vec<Entry>,
    },
    /// Get the files of these sets; `Staged` follows.
    Stage {
        /// The attempt that needs them.
        attempt: AttemptId,
        /// The sets.
        sets: Vec<FileSet>,
    },
    /// A piece of a file has come to its end.
    Piece {
        /// Its stream.
        stream: u64,
        /// Why it doesn't come.
        failure: Option<String>,
    },
    /// An attempt needs its files no more.
    Release {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Start a computation; `Computed` follows.
    Compute {
        /// The attempt.
        attempt: AttemptId,
        /// The task.
        task: TaskId,
        /// Which try at it this is.
        tried: u32,
        /// What it runs beyond what its job says.
        part: Part,
    },
    /// An outcome that isn't acknowledged is said again, after the last bytes of its stream from this one on.
    SayAgain {
        /// The attempt.
        attempt: AttemptId,
        /// Bytes of the stream that the manager has.
        have: u64,
        /// Its result, if that was sent as a whole.
        result: Arc<Vec<u8>>,
        /// The outcome; None: it still runs.
        then: Option<ToManager>,
    },
    /// Nothing of an attempt's stream is needed.
    Drop {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Stop a computation; `Computed` follows all the same.
    Stop {
        /// The attempt.
        attempt: AttemptId,
    },
    /// End now: nothing is waited for.
    Exit(Exit),
}

/// Why an agent ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// Its manager said so.
    Goodbye,
    /// Its channel is gone.
    ChannelClosed,
    /// Another session has begun, or a manager of a later life has come.
    Superseded,
    /// It hasn't heard from its manager for the length of the lease.
    LeaseOver,
    /// The manager does what no manager does.
    Protocol {
        /// What that is.
        reason: String,
    },
}

/// An outcome that the manager hasn't acknowledged.
#[derive(Debug)]
struct Unacknowledged {
    task: TaskId,
    /// As far as it is kept here.
    result: Arc<Vec<u8>>,
    outcome: ToManager,
}

/// An attempt that hasn't begun.
#[derive(Debug)]
struct Queued {
    attempt: AttemptId,
    task: TaskId,
    tried: u32,
    part: Part,
    /// Its files aren't here yet.
    waits: bool,
}

/// The agent's state. Changed only by [`Agent::handle`].
#[derive(Debug)]
pub struct Agent {
    slots: u32,
    lease: Duration,
    jobs: BTreeSet<JobId>,
    queue: VecDeque<Queued>,
    running: BTreeMap<AttemptId, TaskId>,
    /// Attempts that aren't over and have files.
    with_files: BTreeSet<AttemptId>,
    unacknowledged: BTreeMap<AttemptId, Unacknowledged>,
    /// Bytes of their results.
    unacknowledged_bytes: u64,
    /// Those that run and mustn't with more than there are slots.
    slotted: BTreeSet<AttemptId>,
    /// How long the last computations took, the last one counting most.
    compute: Duration,
    /// Those that run and were told to stop.
    stopped: BTreeSet<AttemptId>,
    /// Attempts of an earlier manager of which nothing more is said.
    forgotten: BTreeSet<AttemptId>,
    last_heard: Timestamp,
    last_tick: Timestamp,
    exited: bool,
}

impl Agent {
    /// An agent that has just said hello.
    pub fn new(now: Timestamp) -> Self {
        Self {
            slots: 0,
            lease: lease::FIRST,
            jobs: BTreeSet::new(),
            queue: VecDeque::new(),
            running: BTreeMap::new(),
            with_files: BTreeSet::new(),
            unacknowledged: BTreeMap::new(),
            unacknowledged_bytes: 0,
            slotted: BTreeSet::new(),
            compute: QUICK,
            stopped: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            last_heard: now,
            last_tick: now,
            exited: false,
        }
    }

    /// Takes an event and appends what is to be done about it. After [`Effect::Exit`] nothing changes any more.
    pub fn handle(&mut self, now: Timestamp, event: Event, effects: &mut Vec<Effect>) {
        if self.exited {
            return;
        }
        match event {
            Event::Message(message) => {
                self.last_heard = now;
                self.on_message(message, effects);
            }
            Event::Heard => self.last_heard = now,
            Event::Staged { attempt, failure } => self.on_staged(attempt, failure, effects),
            Event::Computed { attempt, end } => self.on_computed(attempt, end, effects),
            // Without a lease it ends with its channel, and so does one that nobody has told anything.
            Event::ChannelClosed if self.lease.is_zero() || self.slots == 0 => self.exit(Exit::ChannelClosed, effects),
            Event::ChannelClosed => {}
            Event::TakenOver => {
                self.last_heard = now;
                self.on_taken_over(effects);
            }
            Event::Goodbye => self.exit(Exit::Goodbye, effects),
            Event::Tick => self.on_tick(now, effects),
        }
        self.start_what_fits(now, effects);
    }

    fn exit(&mut self, exit: Exit, effects: &mut Vec<Effect>) {
        self.exited = true;
        self.queue.clear();
        effects.push(Effect::Exit(exit));
    }

    fn on_message(&mut self, message: ToAgent, effects: &mut Vec<Effect>) {
        match message {
            ToAgent::Configure(configure) => self.on_configure(configure, effects),
            ToAgent::Job { job, work } => {
                self.jobs.insert(job);
                effects.push(Effect::Prepare { job, work });
            }
            ToAgent::Start { attempt, task, tried, part } => {
                self.on_start(Queued { attempt, task, tried, part, waits: false }, effects);
            }
            ToAgent::Files { set, entries } => effects.push(Effect::Files { set, entries }),
            ToAgent::Piece { stream, failure } => effects.push(Effect::Piece { stream, failure }),
            ToAgent::Recall { attempt } => self.on_recall(attempt, effects),
            ToAgent::Cancel { attempt } => self.on_cancel(attempt, effects),
            ToAgent::Acknowledge { attempt } => {
                self.forget_outcome(attempt);
                effects.push(Effect::Drop { attempt });
            }
            ToAgent::Adopt { attempt, have, .. } => self.on_adopt(attempt, have, effects),
            ToAgent::Forget { attempt } => self.on_forget(attempt, effects),
        }
    }

    /// What hasn't begun is started anew by whoever manages now; what has is told.
    fn on_taken_over(&mut self, effects: &mut Vec<Effect>) {
        self.jobs.clear();
        // What was stopped is nothing to go on with.
        let has_run =
            |ended: &Unacknowledged| !matches!(ended.outcome, ToManager::Finished { outcome: Outcome::Cancelled, .. });
        // These have no result.
        self.unacknowledged.retain(|_, ended| has_run(ended));
        for Queued { attempt, .. } in std::mem::take(&mut self.queue) {
            self.release(attempt, effects);
        }
    }

    /// The attempts that it has for a manager that takes over, with their tasks.
    pub fn held(&self) -> Vec<(AttemptId, TaskId, HeldState)> {
        let running = self.running.iter().map(|(attempt, task)| match self.stopped.contains(attempt) {
            true => (*attempt, *task, HeldState::Stops),
            false => (*attempt, *task, HeldState::Runs),
        });
        let ended = self.unacknowledged.iter().map(|(attempt, ended)| (*attempt, ended.task, HeldState::Ended));
        running.chain(ended).collect()
    }

    fn on_adopt(&mut self, attempt: AttemptId, have: u64, effects: &mut Vec<Effect>) {
        // One that was to end for an earlier manager ends, and this one hears of it.
        self.forgotten.remove(&attempt);
        let ended = self.unacknowledged.get(&attempt);
        let (result, then) = ended.map(|ended| (Arc::clone(&ended.result), ended.outcome.clone())).unzip();
        effects.push(Effect::SayAgain { attempt, have, result: result.unwrap_or_default(), then });
    }

    fn on_forget(&mut self, attempt: AttemptId, effects: &mut Vec<Effect>) {
        self.forget_outcome(attempt);
        if self.running.contains_key(&attempt) {
            self.forgotten.insert(attempt);
            self.stop(attempt, effects);
        }
        effects.push(Effect::Drop { attempt });
    }

    fn on_configure(&mut self, configure: Configure, effects: &mut Vec<Effect>) {
        self.slots = configure.slots.clamp(1, MAX_SLOTS);
        self.lease = Duration::from_millis(configure.lease_ms);
        effects.push(Effect::Configure(Configure { slots: self.slots, ..configure }));
    }

    fn on_start(&mut self, mut queued: Queued, effects: &mut Vec<Effect>) {
        let reason = if self.slots == 0 {
            "a task before the configuration"
        } else if !self.jobs.contains(&queued.task.job) {
            "a task of an unknown job"
        } else if self.queue.len() >= MAX_QUEUED {
            "too many tasks ahead"
        } else {
            let sets = match &queued.part {
                Part::Command(command) => command.inputs.clone(),
                Part::OfJob | Part::Run { .. } => Vec::new(),
            };
            if !sets.is_empty() {
                queued.waits = true;
                self.with_files.insert(queued.attempt);
                effects.push(Effect::Stage { attempt: queued.attempt, sets });
            }
            self.queue.push_back(queued);
            return;
        };
        self.exit(Exit::Protocol { reason: reason.to_owned() }, effects);
    }

    fn on_staged(&mut self, attempt: AttemptId, failure: Option<Outcome>, effects: &mut Vec<Effect>) {
        match failure {
            None => match self.queue.iter_mut().find(|queued| queued.attempt == attempt) {
                Some(queued) => queued.waits = false,
                // It was cancelled or given back meanwhile: what came for it goes.
                None => effects.push(Effect::Release { attempt }),
            },
            Some(outcome) => {
                if let Some(task) = self.unqueue(attempt) {
                    self.end(attempt, task, Computed::ended(outcome), effects);
                }
            }
        }
    }

    fn release(&mut self, attempt: AttemptId, effects: &mut Vec<Effect>) {
        if self.with_files.remove(&attempt) {
            effects.push(Effect::Release { attempt });
        }
    }

    fn on_recall(&mut self, attempt: AttemptId, effects: &mut Vec<Effect>) {
        let answer = match self.unqueue(attempt) {
            Some(_) => ToManager::Recalled { attempt },
            None => ToManager::AlreadyStarted { attempt },
        };
        if matches!(answer, ToManager::Recalled { .. }) {
            self.release(attempt, effects);
        }
        effects.push(Effect::Send(answer));
    }

    fn on_cancel(&mut self, attempt: AttemptId, effects: &mut Vec<Effect>) {
        if let Some(task) = self.unqueue(attempt) {
            self.end(attempt, task, Computed::Cancelled, effects);
        } else if self.running.contains_key(&attempt) {
            self.stop(attempt, effects);
        }
    }

    fn stop(&mut self, attempt: AttemptId, effects: &mut Vec<Effect>) {
        if self.stopped.insert(attempt) {
            effects.push(Effect::Stop { attempt });
        }
    }

    /// The task of an attempt that hadn't begun, and never will.
    fn unqueue(&mut self, attempt: AttemptId) -> Option<TaskId> {
        let place = self.queue.iter().position(|queued| queued.attempt == attempt)?;
        self.queue.remove(place).map(|queued| queued.task)
    }

    fn on_computed(&mut self, attempt: AttemptId, end: Computed, effects: &mut Vec<Effect>) {
        let Some(task) = self.running.remove(&attempt) else { return };
        self.stopped.remove(&attempt);
        self.slotted.remove(&attempt);
        if let Computed::Completed { compute, .. } = &end {
            self.compute = (self.compute * 3 + *compute) / 4;
        }
        if self.forgotten.remove(&attempt) {
            return self.release(attempt, effects);
        }
        self.end(attempt, task, end, effects);
    }

    fn end(&mut self, attempt: AttemptId, task: TaskId, end: Computed, effects: &mut Vec<Effect>) {
        let finished = |outcome| ToManager::Finished { attempt, outcome, process: None };
        let (result, outcome, follows) = match end {
            Computed::Completed { result, crc, compute } => {
                let (bytes, compute_us) = (result.len() as u64, compute.as_micros() as u64);
                (result, finished(Outcome::Completed(ResultSummary { bytes, crc, compute_us })), true)
            }
            Computed::Failed { reason } => (Arc::default(), finished(Outcome::failed(reason)), false),
            // It follows the last of what was written, if anything was.
            Computed::Ended { outcome, process, bytes } => {
                (Arc::default(), ToManager::Finished { attempt, outcome, process }, bytes > 0)
            }
            Computed::Cancelled => (Arc::default(), finished(Outcome::Cancelled), false),
        };
        effects.push(match follows {
            true => Effect::SendResult { attempt, result: Arc::clone(&result), then: outcome.clone() },
            false => Effect::Send(outcome.clone()),
        });
        self.unacknowledged_bytes += result.len() as u64;
        self.unacknowledged.insert(attempt, Unacknowledged { task, result, outcome });
        self.release(attempt, effects);
    }

    fn start_what_fits(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        // After a sleep longer than its lease nothing begins before the manager is heard again.
        if !self.lease.is_zero() && now.since(self.last_heard) >= self.lease {
            return;
        }
        while !self.exited && self.has_room_for_results() {
            let Some(next) = self.queue.iter().position(|queued| !queued.waits) else { return };
            if self.running.len() >= self.places_for(&self.queue[next]) {
                return;
            }
            let Some(Queued { attempt, task, tried, part, .. }) = self.queue.remove(next) else { return };
            self.running.insert(attempt, task);
            if is_slotted(&part, tried) {
                self.slotted.insert(attempt);
            }
            effects.push(Effect::Send(ToManager::Started { attempt }));
            effects.push(Effect::Compute { attempt, task, tried, part });
        }
    }

    /// How many attempts may run for this one to begin: as many as there are slots. Of many computations that are over at once
    /// several are begun together, and the pool's threads take one after the other: telling of each alone would take longer than all
    /// of them.
    fn places_for(&self, next: &Queued) -> usize {
        let slots = self.slots as usize;
        let are_many = self.queue.len() >= slots * TOGETHER;
        let is_free = self.slotted.is_empty() && !is_slotted(&next.part, next.tried);
        if are_many && is_free && self.compute < QUICK { slots * TOGETHER } else { slots }
    }

    fn has_room_for_results(&self) -> bool {
        self.unacknowledged_bytes < MAX_UNACKNOWLEDGED_BYTES
    }

    fn forget_outcome(&mut self, attempt: AttemptId) {
        if let Some(ended) = self.unacknowledged.remove(&attempt) {
            self.unacknowledged_bytes -= ended.result.len() as u64;
        }
    }

    fn on_tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let slept = now.since(self.last_tick) > MAX_TICK * 2;
        self.last_tick = now;
        // After a sleep of its own it first reads what arrived meanwhile: the next tick judges.
        if !slept && !self.lease.is_zero() && now.since(self.last_heard) >= self.lease {
            self.exit(Exit::LeaseOver, effects);
        }
    }

    /// When the manager was heard last, and how long the agent works on from then; 0: as long as its channel is there.
    pub fn lease(&self) -> (Timestamp, Duration) {
        (self.last_heard, self.lease)
    }

    /// Whether commands run in all slots, and more wait for each: nobody waits for what is said of those that end.
    pub fn has_plenty(&self) -> bool {
        let slots = self.slots as usize;
        self.slotted.len() == slots && self.queue.len() >= slots * PLENTY
    }

    /// Attempts that run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Outcomes that the manager hasn't acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.unacknowledged.len()
    }
}

/// Whether an attempt runs with no more than there are slots: commands do at once what they do, and of what was tried before it has
/// to be known whether it takes the agent down.
fn is_slotted(part: &Part, tried: u32) -> bool {
    matches!(part, Part::Command(_)) || tried > 1
}

#[cfg(test)]
mod tests;
