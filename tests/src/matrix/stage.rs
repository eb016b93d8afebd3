//! One row while it is played.

use super::{Kind, Recovery, Row};
use crate::matrix::batch::{Batch, NOTES};
use crate::rig::{Host, Process, Signal, holds_within, wait_until};
use crate::scene::{Events, Finished, Run, Scene};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// A process that was started says so in milliseconds; this is for machines under load.
const PATIENCE: Duration = Duration::from_secs(20);
/// What was lost is tried again within that time, once its agent's lease is over, if there is a slot for it.
const GATE_SPAN: Duration = Duration::from_secs(45);
/// So many slots each host has in cluster files of these tests.
const SLOTS: usize = 2;
/// What every agent's command line holds, and only an agent's.
pub const AGENT: &str = " watched";

/// A row's rig, and the batch that runs on it.
pub struct Stage {
    /// The laptop and the hosts.
    pub scene: Scene,
    /// What the batch is made of.
    pub kind: Kind,
    pub(super) row: Row,
    pub(super) out: PathBuf,
    pub(super) whole: BTreeMap<String, Vec<u8>>,
    run: Option<Run>,
    id: String,
    pub(super) fault: Fault,
    /// What earlier titans of this batch have said.
    pub past: String,
    /// How many titans have worked on it.
    pub(super) titans: u64,
}

/// When it happened, and what ran then.
pub(super) struct Fault {
    at: Instant,
    /// How much the titan that runs had said when the clock was started.
    said: usize,
    /// Whether the clock was started again after the fault.
    is_over: bool,
    /// The tasks that ran on each struck host.
    pub(super) running: BTreeMap<&'static str, Vec<u64>>,
    /// Tasks that were seen to be tried again.
    pub(super) tried: Vec<u64>,
    /// The agents of the struck hosts.
    agents: BTreeMap<&'static str, Vec<Process>>,
    pub(super) took: Option<Duration>,
}

impl Fault {
    fn none() -> Self {
        Self {
            at: Instant::now(),
            said: 0,
            is_over: false,
            running: BTreeMap::new(),
            tried: Vec::new(),
            agents: BTreeMap::new(),
            took: None,
        }
    }
}

impl Stage {
    /// Sets a row's stage, and starts its batch.
    pub(super) fn set(row: &Row, kind: Kind) -> Self {
        let scene = Scene::on((row.rig)());
        let batch = Batch::on(&scene, row, kind);
        let fault = Fault::none();
        let Batch { words, out, whole, .. } = batch;
        let id = String::new();
        let mut stage =
            Self { scene, kind, row: *row, out, whole, run: None, id, fault, past: String::new(), titans: 0 };
        stage.hosts_that_are_up().iter().for_each(|host| prepare(host));
        stage.start(&words);
        stage
    }

    fn start<A: AsRef<OsStr>>(&mut self, words: &[A]) {
        self.go_on_with(Run::start(self.scene.titan(words), self.out.clone()));
    }

    /// Goes on with the batch, and with what has FAILED.
    #[track_caller]
    pub fn retry(&mut self) {
        let id = self.batch();
        self.start(&["resume", "--retry-failed", &id]);
    }

    /// Asserts that beta was never UNHEALTHY.
    ///
    /// # Panics
    /// It was.
    #[track_caller]
    pub fn assert_beta_stayed_healthy(&self) {
        assert!(!self.past.contains("host beta unhealthy"), "{}", self.past);
    }

    /// The tasks that ran on struck hosts.
    pub fn struck_tasks(&self) -> Vec<u64> {
        self.fault.running.values().flatten().copied().collect()
    }

    /// Another titan goes on with the batch.
    pub fn go_on_with(&mut self, run: Run) {
        self.run = None;
        self.restart_clock();
        self.run = Some(run);
        self.titans += 1;
    }

    /// Another batch for the same hosts.
    pub fn another_batch(&self, kind: Kind) -> Batch {
        Batch::on(&self.scene, &self.row, kind)
    }

    /// Where the batch's results are to be.
    pub fn results(&self) -> PathBuf {
        self.out.clone()
    }

    /// A host.
    ///
    /// # Panics
    /// There is none of that name.
    #[track_caller]
    pub fn host(&self, name: &str) -> &Host {
        self.scene.rig.host(name)
    }

    /// The titan that runs.
    ///
    /// # Panics
    /// None does.
    #[track_caller]
    pub fn run(&mut self) -> &mut Run {
        self.run.as_mut().expect("a titan runs")
    }

    /// Waits until something of the batch is COMPLETED and every struck host is in the middle of tasks.
    #[track_caller]
    pub fn wait_until_midway(&mut self) {
        let (kind, struck, has_past) = (self.kind, self.row.struck, !self.past.is_empty());
        let what = "some tasks are COMPLETED and some RUNNING on each struck host";
        let events = self.run().events_when(what, |events| {
            let is_midway = has_past || !events.completed().is_empty();
            is_midway && struck.iter().all(|host| !kind.running_on(events, host).is_empty())
        });
        if self.id.is_empty() {
            self.id = self.newest_batch();
        }
        self.mark(&events);
    }

    /// It happens now: what runs on struck hosts is noted.
    ///
    /// # Panics
    /// Nothing does, or nothing is COMPLETED.
    #[track_caller]
    fn mark(&mut self, events: &Events) {
        assert!(!events.completed().is_empty() || !self.past.is_empty(), "nothing is COMPLETED yet:\n{events}");
        let struck = self.row.struck;
        let running = |host: &&'static str| (*host, self.kind.running_on(events, host));
        self.fault.running = struck.iter().map(running).collect();
        assert!(self.fault.running.values().all(|tasks| !tasks.is_empty()), "nothing runs:\n{events}");
        if self.kind == Kind::Command {
            let has_begun = || self.struck_tasks().iter().all(|task| self.begun().contains_key(task));
            wait_until(PATIENCE, "what runs has noted that", has_begun);
        }
        self.fault.agents = struck.iter().map(|host| (*host, self.agents(host))).collect();
        self.restart_clock();
        self.fault.is_over = false;
    }

    /// The time to recover is counted from now on: it has happened, or was mended.
    pub fn restart_clock(&mut self) {
        self.fault.said = self.run.as_ref().map_or(0, |run| run.events().count());
        (self.fault.at, self.fault.took, self.fault.is_over) = (Instant::now(), None, true);
    }

    /// The same, if it wasn't done before.
    pub fn restart_clock_once(&mut self) {
        if !self.fault.is_over && self.fault.took.is_none() {
            self.restart_clock();
        }
    }

    /// What goes wrong lasts that long.
    pub fn lasts(&self, span: Duration) {
        thread::sleep(span);
    }

    /// The agents on a host.
    pub fn agents(&self, host: &str) -> Vec<Process> {
        let mut processes = self.host(host).processes();
        processes.retain(|process| process.line().ends_with(AGENT));
        processes
    }

    /// Lets commands end.
    pub fn open_gate(&self) {
        self.hosts_that_are_up().iter().for_each(|host| open_gate_on(host));
    }

    /// Waits for the titan that runs to end, and asserts its exit code; None: it was killed.
    #[track_caller]
    pub fn end_titan(&mut self, code: Option<i32>) -> Finished {
        let done = self.run.take().expect("a titan runs").finish();
        assert_eq!(done.status.code(), code, "{}", done.events);
        // Some may have ended since it happened.
        for (host, tasks) in &mut self.fault.running {
            let running = self.kind.running_on(&done.events, host);
            if !running.is_empty() {
                *tasks = running;
            }
        }
        let _ = writeln!(self.past, "{}", done.events);
        done
    }

    /// SIGKILLs the titan that runs.
    #[track_caller]
    pub fn kill_titan(&mut self) {
        self.run().signal(Signal::KILL);
        self.end_titan(None);
    }

    /// Goes on with the batch.
    #[track_caller]
    pub fn resume(&mut self) {
        let id = self.batch();
        self.start(&["resume", &id]);
    }

    /// The batch's id.
    pub fn batch(&self) -> String {
        self.id.clone()
    }

    #[track_caller]
    fn newest_batch(&self) -> String {
        let batches = self.ask(&["batches", "--json"]);
        let id = batches.first().and_then(|object| object["batches"][0]["batch"].as_str());
        id.unwrap_or_else(|| panic!("there is no batch: {batches:?}")).to_owned()
    }

    /// The objects that a titan prints.
    pub fn ask(&self, words: &[&str]) -> Vec<Value> {
        let output = self.scene.output(words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until titan has recovered.
    #[track_caller]
    pub(super) fn wait_for_recovery(&mut self) {
        match self.row.recovery {
            _ if self.fault.took.is_some() => {}
            Recovery::GoesOn => {
                self.open_gate();
                self.wait_until_it_goes_on();
            }
            Recovery::NewAttempt => {
                // What ran for a titan that is gone can't end any more; anything else could, before titan acts.
                if self.titans > 1 {
                    self.open_gate();
                }
                self.wait_until_tried_again();
            }
        }
        self.open_gate();
    }

    /// Waits until each struck host has ended something that ran there, by the same agent as before.
    #[track_caller]
    pub fn wait_until_it_goes_on(&mut self) {
        let (struck, said) = (self.row.struck, self.fault.said);
        self.run().wait_for(&format!("something is done on each of {struck:?}"), |events| {
            let new = events.since(said);
            struck.iter().all(|host| !new.completed_on(host).is_empty())
        });
        self.recovered();
        // The batch may be over by now, and its agents gone; and what an agent is starting looks like one for a moment.
        let is_same =
            |(host, agents): (&&str, &Vec<Process>)| self.agents(host).iter().all(|agent| agents.contains(agent));
        let has_same = || self.fault.agents.iter().all(is_same);
        wait_until(PATIENCE, "no struck host has another agent", has_same);
    }

    /// Waits until something that ran on a struck host is tried again.
    #[track_caller]
    pub fn wait_until_tried_again(&mut self) {
        let (struck, running) = (self.row.struck, self.struck_tasks());
        let is_resumed = !self.past.is_empty();
        let tried = |events: &Events| {
            let began = |task: u64| events.starts_of(task) + usize::from(is_resumed && running.contains(&task));
            let mut tasks: Vec<u64> = struck.iter().flat_map(|host| events.started_on(host)).collect();
            tasks.extend(&running);
            tasks.retain(|task| began(*task) > 1);
            tasks
        };
        // It may be behind what doesn't end yet, in the slots of a host that lives.
        let mut is_over = || self.run().has_ended() || !tried(&self.run().events()).is_empty();
        if !holds_within(GATE_SPAN, &mut is_over) {
            let events = self.run().events();
            let is_full = |host: &&Host| events.running_on(host.name()).len() >= SLOTS;
            let lives = |host: &&Host| !struck.contains(&host.name());
            self.hosts_that_are_up().into_iter().filter(lives).filter(is_full).for_each(open_gate_on);
        }
        self.run().wait_for(&format!("something of {running:?} is tried again"), |events| !tried(events).is_empty());
        self.recovered();
        self.fault.tried = tried(&self.run().events());
    }

    /// titan has recovered, if that wasn't seen before.
    fn recovered(&mut self) {
        self.fault.took.get_or_insert(self.fault.at.elapsed());
    }

    pub(super) fn hosts_that_are_up(&self) -> Vec<&Host> {
        self.scene.rig.hosts().iter().filter(|host| host.is_up()).collect()
    }
}

/// Makes the folder in which a host's commands note that they have begun.
pub fn prepare(host: &Host) {
    host.exec(&format!("mkdir -p -m 777 {NOTES}"));
}

/// Lets commands end there.
pub fn open_gate_on(host: &Host) {
    host.exec(&format!("mkdir -p -m 777 {NOTES}; touch {NOTES}/go"));
}
