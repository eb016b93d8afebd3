//! A whole cluster in one thread and without a clock: the real manager, sessions and agent cores, joined by simulated
//! connections, in virtual time, with trouble by seed. After each step every rule is checked; the same seed does the same.
//!
//! # Layout
//! - [`scenario`], [`faults`], [`tasks`]: a world as it is planned: hosts, jobs, trouble, what tasks do.
//! - `world`: virtual time, and the way of each happening. `desk` is titan's side of it, `host` an agent's, `trouble`
//!   carries faults out, `ending` is what must be true when a batch is over.
//! - `life`: titan's journal, its death, and the titan after it; `disk`: what is under the journal; `ledger`: what no death takes back.
//! - [`wire`]: a connection's bytes on their way.
//! - `model`, `rules`, `spool`: what must be true, said a second time.
//! - [`random`], `trace`: chance with a seed; what happened.

mod desk;
pub mod disk;
mod ending;
pub mod faults;
mod host;
mod ledger;
mod life;
mod model;
pub mod random;
mod rules;
mod sabotage;
pub mod scenario;
mod spool;
pub mod tasks;
mod trace;
mod trouble;
pub mod wire;
mod world;

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use titan_manager::Verdict;

pub use sabotage::Sabotage;
use scenario::Scenario;
use world::World;

/// How often things happened in one run, or in many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Happened {
    /// Steps.
    pub steps: u64,
    /// Attempts that began to compute.
    pub computed: u64,
    /// Connections that an end closed because of what it read.
    pub protocol_errors: u64,
    /// Sessions that were lost.
    pub losses: u64,
    /// Sessions that went on over another connection.
    pub resumed: u64,
    /// Workers that fell silent.
    pub unhealthy: u64,
    /// Sessions that silence ended.
    pub silenced: u64,
    /// Agents that ended because their lease was over.
    pub leases_over: u64,
    /// Attempts that were asked back.
    pub recalls: u64,
    /// Outcomes that came too late to count.
    pub late: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Tasks that waited for the end of a lost agent.
    pub held: u64,
    /// Attempts that failed because of what their host lacks.
    pub lacks: u64,
    /// Times that a task that mustn't run twice began while another agent still ran it, where nothing can be promised.
    pub overlaps: u64,
    /// Times that titan died.
    pub titan_deaths: u64,
    /// Times that the disk under its journal failed.
    pub disk_failures: u64,
    /// Attempts that went on for the next titan.
    pub adopted: u64,
    /// Titans of earlier lives that nobody listened to.
    pub refused: u64,
    /// Times that a host got no tasks because of its faults.
    pub quarantines: u64,
    /// Times that no host was up for a while.
    pub absences: u64,
}

impl Happened {
    /// Counts those of another run too.
    pub fn add(&mut self, other: &Self) {
        let Self { steps, computed, protocol_errors, losses, resumed, unhealthy, .. } = other;
        let Self { silenced, leases_over, recalls, late, failures, held, lacks, overlaps, .. } = other;
        let Self { titan_deaths, disk_failures, adopted, refused, quarantines, absences, .. } = other;
        self.steps += steps;
        self.computed += computed;
        self.protocol_errors += protocol_errors;
        self.losses += losses;
        self.resumed += resumed;
        self.unhealthy += unhealthy;
        self.silenced += silenced;
        self.leases_over += leases_over;
        self.recalls += recalls;
        self.late += late;
        self.failures += failures;
        self.held += held;
        self.lacks += lacks;
        self.overlaps += overlaps;
        self.titan_deaths += titan_deaths;
        self.disk_failures += disk_failures;
        self.adopted += adopted;
        self.refused += refused;
        self.quarantines += quarantines;
        self.absences += absences;
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// What the manager says.
    pub verdict: Verdict,
    /// The same for two runs only if they did the same.
    pub trace: u64,
    /// When the verdict came.
    pub after: Duration,
    /// What happened on the way.
    pub happened: Happened,
}

/// A run that broke a rule.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The world.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// The rule.
    pub rule: String,
    /// The last lines of what happened.
    pub tail: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.scenario)?;
        self.tail.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "seed {}: {}", self.seed, self.rule)?;
        write!(f, "again: TITAN_SIM_SEED={} cargo test -p titan-tests --test simulation", self.seed)
    }
}

/// Runs a world to its end.
///
/// # Errors
/// A rule was broken.
pub fn run(scenario: &Scenario) -> Result<Ended, Box<Failure>> {
    run_sabotaged(scenario, Sabotage::None)
}

/// Runs a world in which titan has a fault of its own.
///
/// # Errors
/// A rule was broken, as it should be.
pub fn run_sabotaged(scenario: &Scenario, sabotage: Sabotage) -> Result<Ended, Box<Failure>> {
    let mut world = World::new(scenario.clone(), sabotage);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| world.run()));
    outcome.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let rule = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
        let (scenario, seed, rule) = (scenario.to_string(), scenario.seed, rule.to_owned());
        Box::new(Failure { scenario, seed, rule, tail: world.trace.tail() })
    })
}
