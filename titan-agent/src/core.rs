//! What an agent decides, without a thread, a clock or a stream: which attempt starts when, what is said of it, when the
//! agent ends.

mod event;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::{Configure, HeldState, MAX_SLOTS, Outcome, Part, ResultSummary, ToAgent, ToManager};
use titan_proto::time::Timestamp;

pub use event::{Computed, Effect, Event, Exit};

use crate::process::lease;

/// Results that the manager hasn't acknowledged: beyond that many bytes nothing new starts, so that a slow link fills no
/// memory.
pub const MAX_UNACKNOWLEDGED_BYTES: u64 = 64 << 20;
/// A manager that sends more starts than this ahead is broken.
const MAX_QUEUED: usize = 1 << 20;
/// A computation that takes no longer than this is over at once.
const QUICK: Duration = Duration::from_micros(100);
/// So many of those are begun together for each slot.
const TOGETHER: usize = 128;
/// And so many in all: what takes an agent down is one of them.
const MOST_TOGETHER: usize = 1_024;
/// So many attempts for each slot are enough for a while.
const PLENTY: usize = 8;
/// Commands that take no longer than this are short.
const SHORT: Duration = Duration::from_millis(20);
/// So many short commands wait for each slot: it takes the next one by itself.
const AHEAD: usize = 16;
/// Between two ticks there shouldn't be more than this; if there is, this side slept.
pub const MAX_TICK: Duration = Duration::from_secs(1);

/// An outcome that the manager hasn't acknowledged.
#[derive(Debug)]
struct Unacknowledged {
    task: TaskId,
    /// As far as it is kept here.
    result: Bytes,
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

/// What kind of room an attempt takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It does at once what it does: there are no more of them than slots.
    Command,
    /// It may be one of many that are over at once.
    Computation,
    /// A computation that was tried before: of what runs beside it has to be known whether it takes the agent down.
    Suspect,
}

/// An attempt that runs.
#[derive(Debug, Clone, Copy)]
struct Run {
    task: TaskId,
    kind: Kind,
}

/// The agent's state. Changed only by [`Agent::handle`].
#[derive(Debug)]
pub struct Agent {
    slots: u32,
    lease: Duration,
    jobs: BTreeSet<JobId>,
    queue: VecDeque<Queued>,
    running: BTreeMap<AttemptId, Run>,
    /// How many of them are of which kind.
    kinds: [usize; 3],
    /// Commands that wait for the next slots that are free.
    ahead: BTreeMap<AttemptId, TaskId>,
    /// Those of them that the manager has asked back.
    recalled: BTreeSet<AttemptId>,
    /// Attempts that aren't over and have files.
    with_files: BTreeSet<AttemptId>,
    unacknowledged: BTreeMap<AttemptId, Unacknowledged>,
    /// Bytes of their results.
    unacknowledged_bytes: u64,
    /// How long the last computations took, the last one counting most.
    compute: Duration,
    /// The same of commands.
    command: Duration,
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
            kinds: [0; 3],
            ahead: BTreeMap::new(),
            recalled: BTreeSet::new(),
            with_files: BTreeSet::new(),
            unacknowledged: BTreeMap::new(),
            unacknowledged_bytes: 0,
            compute: QUICK,
            command: SHORT,
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
            Event::Begun { attempt } => {
                if let Some(task) = self.ahead.remove(&attempt) {
                    self.begin(attempt, task, Kind::Command, effects);
                }
            }
            Event::Withdrawn { attempt, had_waited } => self.on_withdrawn(attempt, had_waited, effects),
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
        // Whether what waits for a slot has just got it is known at once.
        effects.extend(self.ahead.keys().map(|attempt| Effect::Withdraw { attempt: *attempt }));
    }

    /// The attempts that it has for a manager that takes over, with their tasks.
    pub fn held(&self) -> Vec<(AttemptId, TaskId, HeldState)> {
        let running = self.running.iter().map(|(attempt, run)| match self.stopped.contains(attempt) {
            true => (*attempt, run.task, HeldState::Stops),
            false => (*attempt, run.task, HeldState::Runs),
        });
        let ended = self.unacknowledged.iter().map(|(attempt, ended)| (*attempt, ended.task, HeldState::Ended));
        running.chain(ended).collect()
    }

    fn on_adopt(&mut self, attempt: AttemptId, have: u64, effects: &mut Vec<Effect>) {
        // One that was to end for an earlier manager ends, and this one hears of it.
        self.forgotten.remove(&attempt);
        let ended = self.unacknowledged.get(&attempt);
        let (result, then) = ended.map(|ended| (ended.result.clone(), ended.outcome.clone())).unzip();
        effects.push(Effect::SayAgain { attempt, have, result: result.unwrap_or_default(), then });
    }

    fn on_forget(&mut self, attempt: AttemptId, effects: &mut Vec<Effect>) {
        self.forget_outcome(attempt);
        if self.has_begun(attempt) {
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
        if self.ahead.contains_key(&attempt) {
            self.recalled.insert(attempt);
            return effects.push(Effect::Withdraw { attempt });
        }
        let answer = match self.unqueue(attempt) {
            Some(_) => ToManager::Recalled { attempt },
            None => ToManager::AlreadyStarted { attempt },
        };
        if matches!(answer, ToManager::Recalled { .. }) {
            self.release(attempt, effects);
        }
        effects.push(Effect::Send(answer));
    }

    fn on_withdrawn(&mut self, attempt: AttemptId, had_waited: bool, effects: &mut Vec<Effect>) {
        let is_asked_for = self.recalled.remove(&attempt);
        if had_waited {
            self.ahead.remove(&attempt);
            self.release(attempt, effects);
        }
        match (is_asked_for, had_waited) {
            (true, true) => effects.push(Effect::Send(ToManager::Recalled { attempt })),
            (true, false) => effects.push(Effect::Send(ToManager::AlreadyStarted { attempt })),
            // A manager that takes over starts it anew, or is told that it runs.
            (false, true) => {}
            (false, false) => {
                if let Some(task) = self.ahead.remove(&attempt) {
                    self.add_running(attempt, task, Kind::Command);
                }
            }
        }
    }

    fn on_cancel(&mut self, attempt: AttemptId, effects: &mut Vec<Effect>) {
        if let Some(task) = self.unqueue(attempt) {
            self.end(attempt, task, Computed::Cancelled, effects);
        } else if self.has_begun(attempt) {
            self.stop(attempt, effects);
        }
    }

    /// Whether an attempt runs, or may begin at any moment.
    fn has_begun(&self, attempt: AttemptId) -> bool {
        self.running.contains_key(&attempt) || self.ahead.contains_key(&attempt)
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
        let run = self.running.remove(&attempt);
        if let Some(run) = run {
            self.kinds[run.kind as usize] -= 1;
        }
        let task = run.map(|run| run.task).or_else(|| self.ahead.remove(&attempt));
        let Some(task) = task else { return };
        self.stopped.remove(&attempt);
        match &end {
            Computed::Completed { compute, .. } => self.compute = (self.compute * 3 + *compute) / 4,
            Computed::Ended { process: Some(process), .. } => {
                self.command = (self.command * 3 + Duration::from_micros(process.wall_us)) / 4;
            }
            _ => {}
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
            Computed::Failed { reason } => (Bytes::new(), finished(Outcome::failed(reason)), false),
            // It follows the last of what was written, if anything was.
            Computed::Ended { outcome, process, bytes } => {
                (Bytes::new(), ToManager::Finished { attempt, outcome, process }, bytes > 0)
            }
            Computed::Cancelled => (Bytes::new(), finished(Outcome::Cancelled), false),
        };
        effects.push(match follows {
            true => Effect::SendResult { attempt, result: result.clone(), then: outcome.clone() },
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
        let together = self.together();
        while !self.exited && self.has_room_for_results() {
            let Some(next) = self.queue.iter().position(|queued| !queued.waits) else { return };
            // Those that wait for slots come first.
            let has_place = self.ahead.is_empty() && self.running.len() < self.places_for(&self.queue[next], together);
            let waits = !has_place;
            if waits && !self.may_wait_for_slot(&self.queue[next]) {
                return;
            }
            let Some(Queued { attempt, task, tried, part, .. }) = self.queue.remove(next) else { return };
            match waits {
                true => drop(self.ahead.insert(attempt, task)),
                false => self.begin(attempt, task, kind_of(&part, tried), effects),
            }
            effects.push(Effect::Start { attempt, task, tried, part, waits });
        }
    }

    fn begin(&mut self, attempt: AttemptId, task: TaskId, kind: Kind, effects: &mut Vec<Effect>) {
        self.add_running(attempt, task, kind);
        effects.push(Effect::Send(ToManager::Started { attempt }));
    }

    fn add_running(&mut self, attempt: AttemptId, task: TaskId, kind: Kind) {
        self.running.insert(attempt, Run { task, kind });
        self.kinds[kind as usize] += 1;
    }

    fn runs_only(&self, kind: Kind) -> bool {
        self.kinds[kind as usize] == self.running.len()
    }

    /// Whether an attempt is handed over before there is a slot for it: short commands are, where many of them wait and nothing else
    /// runs, so that a slot needn't be told of each.
    fn may_wait_for_slot(&self, next: &Queued) -> bool {
        let slots = self.slots as usize;
        matches!(next.part, Part::Command(_))
            && next.tried <= 1
            && self.command < SHORT
            && self.ahead.len() < slots * AHEAD
            && self.runs_only(Kind::Command)
            && self.queue.len() >= slots * AHEAD
    }

    /// How many computations are begun together, if they are over at once and half of those before are; threads take one after the
    /// other. Telling of each alone would take longer than all of them. No more than half of what waits: what turns out to take long
    /// can be asked back as long as it hasn't begun.
    fn together(&self) -> usize {
        let most = (self.queue.len() / 2).min(self.slots as usize * TOGETHER).min(MOST_TOGETHER);
        if self.compute < QUICK && self.running.len() <= most / 2 { most } else { 0 }
    }

    /// How many attempts may run for this one to begin: as many as there are slots, or more computations together.
    fn places_for(&self, next: &Queued, together: usize) -> usize {
        let is_free = kind_of(&next.part, next.tried) == Kind::Computation && self.runs_only(Kind::Computation);
        let slots = self.slots as usize;
        if is_free { slots.max(together) } else { slots }
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

    /// Whether commands run in all slots, or are about to, and more wait for each: nobody waits for what is said of those that end.
    pub fn has_plenty(&self) -> bool {
        let slots = self.slots as usize;
        self.kinds[Kind::Command as usize] + self.ahead.len() >= slots && self.queue.len() >= slots * PLENTY
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

fn kind_of(part: &Part, tried: u32) -> Kind {
    match part {
        Part::Command(_) => Kind::Command,
        Part::OfJob | Part::Run { .. } if tried > 1 => Kind::Suspect,
        Part::OfJob | Part::Run { .. } => Kind::Computation,
    }
}

#[cfg(test)]
mod tests;
