//! A world as it is planned before it runs: settings, hosts, jobs, faults. Made from a seed, or written down by a test.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use titan_manager::policy::PolicyKind;
use titan_manager::{Capacity, Condition, Config, Dependency, Event, Halt, HaltWhy, JobSpec, Request, Rerun};
use titan_proto::id::{Epoch, JobId};
use titan_proto::message::Work;

use super::faults::{self, Fault};
use super::random::Random;
use super::tasks::Manners;
use super::wire::Speed;

/// Memory of a slot, unless a host is small.
const SLOT_BYTES: u64 = 2 << 30;

/// What kind of trouble a world has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// None but tasks that fail.
    Calm,
    /// Connections that drop: the host is started afresh.
    Drops,
    /// Connections that drop: the session goes on over another one.
    Resumes,
    /// Ways that fall silent.
    Silences,
    /// Agents that die, hosts that go.
    Crashes,
    /// Hosts, or titan itself, that stand still for a while.
    Freezes,
    /// Frames that are spoiled within a connection.
    Corruption,
    /// Agents that say what isn't so.
    Liars,
    /// A person who cancels, amid a little of everything.
    Cancels,
    /// titan dies and is resumed, with and without power.
    Restarts,
    /// Networks that are cut for a while, one-way too.
    Partitions,
    /// A journal on a disk that fails.
    Disks,
    /// A lot of everything.
    Storm,
}

impl Mix {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Calm,
        Self::Drops,
        Self::Resumes,
        Self::Silences,
        Self::Crashes,
        Self::Freezes,
        Self::Corruption,
        Self::Liars,
        Self::Cancels,
        Self::Restarts,
        Self::Partitions,
        Self::Disks,
        Self::Storm,
    ];
}

/// One host.
#[derive(Debug, Clone)]
pub struct HostPlan {
    /// Tasks at once.
    pub slots: u32,
    /// Memory for all of them.
    pub memory_bytes: u64,
    /// Cores for those that ask.
    pub cores: u32,
    /// How many `gpu` it has; with any it has the label too.
    pub gpus: u32,
    /// When its first agent says hello; None: never, it is given up.
    pub joins_after: Option<Duration>,
    /// How it is reached.
    pub speed: Speed,
    /// Of a hundred losses, how many are its end.
    pub gives_up_percent: u64,
}

/// One job.
#[derive(Debug, Clone)]
pub struct JobPlan {
    /// When it is submitted; jobs are in that order.
    pub submitted_after: Duration,
    /// As it is submitted.
    pub spec: JobSpec,
    /// When it grows, and by how much, after its submission.
    pub grows: Vec<(Duration, u32)>,
    /// When it is closed, after its submission, if it was submitted open.
    pub closed_after: Duration,
}

/// A world.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// What kind of trouble there is.
    pub mix: Mix,
    /// The manager's settings.
    pub config: Config,
    /// The hosts.
    pub hosts: Vec<HostPlan>,
    /// The jobs.
    pub jobs: Vec<JobPlan>,
    /// How tasks behave.
    pub manners: Manners,
    /// What goes wrong, and when.
    pub faults: Vec<(Duration, Fault)>,
    /// Whether a session goes on over another connection when one is lost.
    pub resumes: bool,
}

impl Scenario {
    /// The world of that seed.
    pub fn from_seed(seed: u64) -> Self {
        let mix = Mix::ALL[(seed % Mix::ALL.len() as u64) as usize];
        let mut random = Random::new(seed);
        let number = random.between(1 + u64::from(mix != Mix::Calm), 6) as u32;
        let hosts = (0..number).map(|host| host_plan(&mut random, host)).collect();
        let config = config(&mut random, number);
        let may_resume = matches!(mix, Mix::Resumes | Mix::Partitions)
            || (matches!(mix, Mix::Corruption | Mix::Storm | Mix::Restarts | Mix::Disks) && random.chance(50));
        // Without a lease an agent ends with its channel: there is nothing to go on with.
        let resumes = may_resume && !config.lease.is_zero();
        Self {
            seed,
            mix,
            config,
            hosts,
            jobs: jobs(&mut random),
            manners: manners(&mut random, mix),
            faults: faults::schedule(&mut random, mix, number),
            resumes,
        }
    }

    /// A calm world for tests that write their trouble themselves: that many hosts of that many slots, 20 ms away, and
    /// one job of tasks that take 1 s at most.
    pub fn plain(hosts: usize, slots: u32, tasks: u32) -> Self {
        let speed = Speed { latency: Duration::from_millis(20), bytes_per_s: 10 << 20 };
        let memory_bytes = SLOT_BYTES * u64::from(slots);
        let joins_after = Some(Duration::from_millis(300));
        let host = HostPlan { slots, memory_bytes, cores: slots, gpus: 0, joins_after, speed, gives_up_percent: 0 };
        let spec = JobSpec { retries: 2, ..JobSpec::new("job", work(), tasks) };
        let manners = Manners {
            seed: 1,
            longest_ms: 1_000,
            fail_percent: 0,
            kill_percent: 0,
            endless_percent: 0,
            setup_percent: 0,
            lack_percent: 0,
            large_percent: 20,
        };
        Self {
            seed: 1,
            mix: Mix::Calm,
            config: Config::default(),
            hosts: vec![host; hosts],
            jobs: vec![JobPlan::closed(spec)],
            manners,
            faults: Vec::new(),
            resumes: false,
        }
    }

    /// The same world with this trouble, so many milliseconds after its beginning.
    pub fn with(mut self, after_ms: u64, fault: Fault) -> Self {
        self.faults.push((Duration::from_millis(after_ms), fault));
        self
    }

    /// What a titan that goes on is told of jobs that had these totals, and were closed or not.
    pub(super) fn job_events_after(&self, totals: &[(u32, bool)]) -> VecDeque<(Duration, Event)> {
        let (mut specs, mut later) = (Vec::new(), Vec::new());
        for (number, (plan, (total, is_closed))) in self.jobs.iter().zip(totals).enumerate() {
            let job = JobId(number as u32);
            let tasks = plan.spec.tasks.max(*total);
            let closed = plan.spec.closed || *is_closed;
            specs.push(JobSpec { tasks, closed, ..plan.spec.clone() });
            if !closed {
                let wanted = plan.spec.tasks + plan.grows.iter().map(|(_, tasks)| tasks).sum::<u32>();
                let span = plan.closed_after / 4;
                later.extend((wanted > tasks).then(|| (span, Event::Grow { job, tasks: wanted - tasks })));
                later.push((span * 2, Event::Close { job }));
            }
        }
        later.sort_by_key(|(at, _)| *at);
        std::iter::once((Duration::ZERO, Event::Submit(specs))).chain(later).collect()
    }

    /// What titan is told of jobs, in order.
    pub(super) fn job_events(&self) -> VecDeque<(Duration, Event)> {
        let mut events = Vec::new();
        for (number, plan) in self.jobs.iter().enumerate() {
            let (job, begin) = (JobId(number as u32), plan.submitted_after);
            events.push((begin, Event::Submit(vec![plan.spec.clone()])));
            events.extend(plan.grows.iter().map(|&(span, tasks)| (begin + span, Event::Grow { job, tasks })));
            if !plan.spec.closed {
                events.push((begin + plan.closed_after, Event::Close { job }));
            }
        }
        events.sort_by_key(|(at, _)| *at);
        events.into()
    }
}

impl HostPlan {
    /// What its agents say that it has.
    pub(super) fn capacity(&self) -> Capacity {
        let Self { slots, cores, memory_bytes, gpus, .. } = *self;
        let gpu = (gpus > 0).then(|| "gpu".to_owned());
        let resources = gpu.iter().map(|gpu| (gpu.clone(), gpus)).collect();
        let labels = gpu.iter().map(|gpu| (gpu.clone(), String::new())).collect();
        Capacity { slots, cores, memory_bytes, resources, labels }
    }
}

impl JobPlan {
    /// A job that is submitted at once and whole.
    pub fn closed(spec: JobSpec) -> Self {
        Self { submitted_after: Duration::ZERO, spec, grows: Vec::new(), closed_after: Duration::ZERO }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, mix, config, hosts, jobs, manners, faults, resumes } = self;
        writeln!(f, "seed {seed}: {mix:?}, sessions resume: {resumes}")?;
        writeln!(f, "  {config:?}")?;
        writeln!(f, "  {manners:?}")?;
        hosts.iter().try_for_each(|host| writeln!(f, "  {host:?}"))?;
        jobs.iter().try_for_each(|job| writeln!(f, "  {job:?}"))?;
        faults.iter().try_for_each(|(after, fault)| writeln!(f, "  {after:?}: {fault:?}"))
    }
}

fn work() -> Work {
    Work::Kernel { name: "simulated".into(), params: vec![], timeout_ms: 0 }
}

/// The first host is there from the beginning, and large enough for every task but those that are for none.
fn host_plan(random: &mut Random, host: u32) -> HostPlan {
    // Slow, so that the others matter.
    let most_slots = if host == 0 { 2 } else { 8 };
    let slots = random.between(1, most_slots) as u32;
    let is_small = host > 0 && random.chance(10);
    let slot_bytes = if is_small { SLOT_BYTES / 8 } else { SLOT_BYTES };
    let joins_after = match random.between(0, 9) {
        0..=5 => Some(random.millis(50, 2_000)),
        6..=8 => Some(random.millis(2_000, 30_000)),
        _ => (host == 0).then_some(Duration::from_millis(100)),
    };
    let latency = random.pick(&[1, 10, 40, 150]);
    let bytes_per_s = random.pick(&[64 << 10, 1 << 20, 20 << 20, 200 << 20]);
    let speed = Speed { latency: Duration::from_millis(latency), bytes_per_s };
    let gives_up_percent = if host == 0 { 0 } else { random.pick(&[0, 0, 10, 40]) };
    let (cores, gpus) = (random.between(2, 6) as u32, if host == 0 { 1 } else { random.pick(&[0, 0, 2]) });
    let memory_bytes = slot_bytes * u64::from(slots);
    HostPlan { slots, memory_bytes, cores, gpus, joins_after, speed, gives_up_percent }
}

fn config(random: &mut Random, hosts: u32) -> Config {
    let heartbeat = random.between(2, 10);
    let unhealthy_after = heartbeat + random.between(3, 20);
    let lease = match random.chance(15) {
        true => 0,
        false => unhealthy_after + heartbeat + random.between(1, 30),
    };
    Config {
        epoch: Epoch(random.between(1, 9) as u32),
        policy: random.pick(&PolicyKind::ALL),
        tick: random.millis(500, 5_000),
        unhealthy_after: Duration::from_secs(unhealthy_after),
        lease: Duration::from_secs(lease),
        heartbeat: Duration::from_secs(heartbeat),
        crash_limit: random.between(1, 5) as u32,
        min_workers: random.pick(&[1, 1, 1, 2, 3]).min(hosts + u32::from(random.chance(3))),
        halt: random.chance(6).then(|| halt(random)),
        speculates: random.chance(40),
        start_delay: if random.chance(6) { random.millis(1, 200) } else { Duration::ZERO },
        quarantine: Duration::from_secs(random.pick(&[0, 20, 300])),
        wait_for_hosts: Duration::from_secs(random.pick(&[10, 60, 600, 3_600])),
        ..Config::default()
    }
}

fn jobs(random: &mut Random) -> Vec<JobPlan> {
    let number = random.pick(&[1, 1, 1, 2, 3]);
    let mut submitted_after = Duration::ZERO;
    let mut jobs = Vec::new();
    for place in 0..number {
        if place > 0 {
            submitted_after += random.millis(0, 5_000);
        }
        let closed = random.chance(75);
        let tasks = random.pick(&[1, 8, 20, 40, 60]).min(60 / number) as u32;
        let tasks = if closed { tasks } else { tasks / 4 };
        let retries = random.between(0, 3) as u32;
        let is_too_large = place > 0 && random.chance(8);
        let fitting_bytes = random.pick(&[0, 0, SLOT_BYTES / 4, SLOT_BYTES]);
        let spec = JobSpec {
            name: "job".to_owned(),
            work: work(),
            tasks,
            closed,
            retries,
            slot_memory_bytes: if is_too_large { SLOT_BYTES * 4 } else { fitting_bytes },
            request: request(random),
            rerun: random.pick(&[Rerun::Anytime, Rerun::Lost]),
            priority: random.pick(&[0, 0, 1]),
            group: 1,
            after: after(random, place as u32),
            commits: random.chance(40),
        };
        let grows = match closed {
            true => Vec::new(),
            false => {
                (0..random.between(0, 3)).map(|_| (random.millis(0, 8_000), random.between(1, 12) as u32)).collect()
            }
        };
        jobs.push(JobPlan { submitted_after, spec, grows, closed_after: random.millis(8_000, 30_000) });
    }
    jobs
}

/// The first host can meet it, unless nobody can.
fn request(random: &mut Random) -> Request {
    let gpu = || "gpu".to_owned();
    let wanted = |label: String| vec![Condition { label, value: None, negated: false }];
    match random.between(0, 19) {
        0..=2 => Request { cpus: random.between(1, 2) as u32, ..Request::default() },
        3..=4 => Request { memory_bytes: random.between(1, SLOT_BYTES), ..Request::default() },
        5..=6 => Request { resources: [(gpu(), 1)].into(), ..Request::default() },
        7 => Request { wanted: wanted(gpu()), ..Request::default() },
        8 => Request { cpus: 2, memory_bytes: SLOT_BYTES / 2, wanted: wanted(gpu()), ..Request::default() },
        9 if random.chance(20) => Request { wanted: wanted("nowhere".into()), ..Request::default() },
        _ => Request::default(),
    }
}

/// Jobs before that one that it waits for.
fn after(random: &mut Random, place: u32) -> Vec<Dependency> {
    let before: Vec<u32> = (0..place).filter(|_| random.chance(35)).collect();
    let dependency = |job| Dependency { job: JobId(job), each: random.chance(50), any_end: random.chance(40) };
    before.into_iter().map(dependency).collect()
}

fn halt(random: &mut Random) -> Halt {
    let why = match random.between(0, 3) {
        0 => HaltWhy::Failed(random.between(1, 3)),
        1 => HaltWhy::FailedPercent(random.between(1, 20) as u32),
        2 => HaltWhy::Completed(random.between(1, 30)),
        _ => HaltWhy::Ended(random.between(1, 30)),
    };
    Halt { now: random.chance(50), why }
}

fn manners(random: &mut Random, mix: Mix) -> Manners {
    let has_quirks = random.chance(60);
    let of_quirks = |percent| if has_quirks { percent } else { 0 };
    Manners {
        seed: random.draw(),
        longest_ms: match mix {
            // Long enough to outlast a lease.
            Mix::Partitions => random.pick(&[2_000, 15_000, 60_000]),
            _ => random.pick(&[20, 2_000, 6_000, 15_000]),
        },
        fail_percent: of_quirks(10),
        kill_percent: if matches!(mix, Mix::Crashes | Mix::Storm) { of_quirks(5) } else { 0 },
        endless_percent: if mix == Mix::Cancels { of_quirks(10) } else { 0 },
        lack_percent: of_quirks(random.pick(&[0, 0, 30])),
        setup_percent: of_quirks(random.pick(&[0, 0, 0, 50])),
        large_percent: random.pick(&[0, 10, 40]),
    }
}
