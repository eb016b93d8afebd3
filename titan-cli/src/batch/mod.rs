//! One batch, whatever its jobs are: hosts, manager and driver are put together and run, the verdict becomes an exit code,
//! and what there is to say is said.
//!
//! # Layout
//! - this file: from a place and jobs to an exit code.
//! - [`judge`]: what an end means.

mod judge;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use titan_manager::{HostId, JobSpec, Manager};
use titan_proto::id::Epoch;
use tokio::sync::{mpsc, watch};

use crate::args::NoiseOptions;
use crate::config::cluster::{Cluster, Host, Reach, Scheduler};
use crate::driver::batch_dir::BatchDir;
use crate::driver::clock::Clock;
use crate::driver::connection;
use crate::driver::host::{Common, HostTask, News};
use crate::driver::signals::Signals;
use crate::driver::sink::{JobSink, SinkThread};
use crate::driver::staging::Staging;
use crate::driver::{BatchJob, Driver, Ended, Fed, Inlets, MAX_NEWS, Settings};
use crate::exit::{self, Failure};
use crate::files::Committed;
use crate::launch::{Binaries, Gates, Launching, launcher_for};
use crate::output::failures::Examples;
use crate::progress::{Manner, Progress};

use judge::Judged;

/// How long tasks may take to stop where nothing else was said: SIGTERM, and SIGKILL after this.
pub(crate) const KILL_AFTER: Duration = Duration::from_secs(5);
/// Files that a host keeps for later batches.
const CACHE_BYTES: u64 = 10 << 30;
/// How much longer titan waits for the outcomes of tasks that it has told to stop.
const STOP_MARGIN: Duration = Duration::from_secs(1);

/// What is to be run, with where its results go.
pub(crate) struct Work {
    pub(crate) jobs: Vec<BatchJob>,
    /// A sink for each job.
    pub(crate) sinks: Vec<Box<dyn JobSink>>,
    /// Where more tasks come from.
    pub(crate) fed: mpsc::Receiver<Fed>,
    /// The folder that files of tasks are relative to.
    pub(crate) root: PathBuf,
    /// What sinks have put in place.
    pub(crate) committed: Committed,
    /// Of failures, for the summary.
    pub(crate) examples: Examples,
    /// The longest result that a task can have, in bytes.
    pub(crate) max_result_bytes: u64,
    /// Its tasks make one thing: what can't be kept of it ends the batch, and doesn't only fail a task.
    pub(crate) is_one: bool,
}

/// A batch whose arguments are all right.
pub(crate) struct Batch<'a> {
    pub(crate) name: &'a str,
    pub(crate) noise: &'a NoiseOptions,
    pub(crate) manner: Manner,
    /// Where it runs, for the first line.
    pub(crate) source: Option<String>,
    pub(crate) cluster: &'a Cluster,
    pub(crate) directory: &'a BatchDir,
    /// What holds for this batch alone, over what the cluster says.
    pub(crate) rules: Rules,
    /// What helps when every slot has too little memory.
    pub(crate) smaller_tasks_hint: Option<String>,
}

/// Rules of one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) halt: Option<titan_manager::Halt>,
    pub(crate) start_delay: Duration,
    pub(crate) max_load: Option<titan_manager::LoadLimit>,
    pub(crate) min_free_memory_bytes: Option<u64>,
    pub(crate) kill_after: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            halt: None,
            start_delay: Duration::ZERO,
            max_load: None,
            min_free_memory_bytes: None,
            kill_after: KILL_AFTER,
        }
    }
}

impl Batch<'_> {
    /// Runs it on a runtime of its own; `commit` puts outputs in their places when the batch has ended well.
    pub(crate) fn run(
        self,
        work: impl FnOnce(&Progress) -> io::Result<Work>,
        commit: impl FnOnce() -> io::Result<Vec<PathBuf>>,
    ) -> Result<u8, Failure> {
        crate::commands::block_on(self.run_async(work, commit))
    }

    async fn run_async(
        self,
        work: impl FnOnce(&Progress) -> io::Result<Work>,
        commit: impl FnOnce() -> io::Result<Vec<PathBuf>>,
    ) -> Result<u8, Failure> {
        let mut signals = Signals::listen().map_err(cannot)?;
        let names = self.cluster.hosts.iter().map(|host| host.name.clone());
        let mut progress = Progress::new(self.noise, &self.manner, self.name, names);
        if let Some(source) = &self.source {
            progress.say(&format!("titan: {source}"));
        }
        let work = work(&progress).map_err(cannot)?;
        let (examples, in_place) = (work.examples.clone(), work.committed.clone());
        let ended = self.drive(work, &mut progress, &mut signals).await?;
        let is_done = ended.verdict.is_some_and(|verdict| verdict.end == titan_manager::End::Done);
        let committed = match ended.written {
            Some(_) if is_done && ended.ending.is_none() => commit().map(|files| [files, in_place.files()].concat()),
            _ => Ok(Vec::new()),
        };
        progress.clear();
        let judged = Judged::of(&self, &ended, committed, &mut progress);
        judged.conclude(&self, &ended, &mut progress, &examples)
    }

    /// Whether every job can be told to every host.
    fn check_jobs(&self, jobs: &[BatchJob]) -> Result<(), Failure> {
        let is_too_long = |spec: &&JobSpec| {
            self.cluster.hosts.iter().any(|host| !connection::can_be_told(&spec.work, host.setup.as_deref()))
        };
        let Some(spec) = jobs.iter().map(|job| &job.spec).find(is_too_long) else { return Ok(()) };
        let problem =
            format!("job '{}': its environment and its setup are longer than the 1 MiB of a message", spec.name);
        Err(Failure::hinted(exit::USAGE, problem, "give what is long as a file: --base, or inputs"))
    }

    async fn drive(&self, work: Work, progress: &mut Progress, signals: &mut Signals) -> Result<Ended, Failure> {
        self.check_jobs(&work.jobs)?;
        let sink = SinkThread::start(work.sinks, self.directory.spool()).map_err(cannot)?;
        let clock = Clock::start();
        let (news_sender, news) = mpsc::channel(MAX_NEWS);
        let (end, stopped) = watch::channel(false);
        let config = self.manager_config();
        let hosts = self.host_tasks(clock, config.epoch, news_sender, stopped, work.max_result_bytes)?;
        let manager = Manager::new(config);
        let (tick, stop) = (self.cluster.scheduler.tick, self.rules.kill_after + STOP_MARGIN);
        let settings = Settings { tick, stop, is_one: work.is_one };
        let staging = Staging::new(work.root, work.committed);
        let inlets = Inlets { news, fed: work.fed };
        let driver = Driver::new(manager, clock, self.directory, sink, inlets, staging, progress);
        Ok(driver.run(work.jobs, hosts, settings, end, signals).await)
    }

    fn manager_config(&self) -> titan_manager::Config {
        let Scheduler { policy, tick, heartbeat, unhealthy_after, lease, crash_limit, min_workers, speculates, .. } =
            self.cluster.scheduler;
        let Rules { halt, start_delay, max_load, min_free_memory_bytes, .. } = self.rules;
        titan_manager::Config {
            policy,
            tick,
            heartbeat,
            unhealthy_after,
            lease,
            crash_limit,
            min_workers,
            speculates,
            halt,
            start_delay,
            max_load,
            min_free_memory_bytes,
            ..titan_manager::Config::default()
        }
    }

    fn host_tasks(
        &self,
        clock: Clock,
        epoch: Epoch,
        news: mpsc::Sender<News>,
        stop: watch::Receiver<bool>,
        max_result_bytes: u64,
    ) -> Result<Vec<HostTask>, Failure> {
        let Scheduler { heartbeat, lease, .. } = self.cluster.scheduler;
        let common = Arc::new(Common {
            launching: launching(self.cluster, self.directory)?,
            spool: self.directory.spool(),
            clock,
            news,
            stop,
            batch: self.directory.id().clone(),
            epoch,
            heartbeat,
            lease,
            start_timeout: self.cluster.ssh.start_timeout,
            max_result_bytes,
            cache_bytes: CACHE_BYTES,
            reports_load: self.rules.max_load.is_some() || self.rules.min_free_memory_bytes.is_some(),
            next_worker: AtomicU32::new(0),
        });
        let share = local_share_bytes(self.cluster);
        let task = |(number, host): (usize, &Host)| HostTask {
            id: HostId(number as u32),
            name: host.name.clone(),
            slots: host.slots,
            resources: host.resources.clone(),
            setup: host.setup.clone(),
            labels: host.labels.clone(),
            memory_bytes: match host.reach {
                Reach::Local => Some(host.memory.unwrap_or(share).min(share)),
                _ => host.memory,
            },
            launcher: launcher_for(host, &self.cluster.ssh),
            common: Arc::clone(&common),
        };
        Ok(self.cluster.hosts.iter().enumerate().map(task).collect())
    }
}

fn cannot(error: io::Error) -> Failure {
    let code = if error.kind() == io::ErrorKind::InvalidInput { exit::USAGE } else { exit::CANNOT_WRITE };
    Failure::plain(code, error)
}

fn launching(cluster: &Cluster, directory: &BatchDir) -> Result<Launching, Failure> {
    let temporaries = directory.temporaries();
    Ok(Launching {
        binaries: Binaries::default(),
        gates: Gates::default(),
        control: crate::commands::control_directory(cluster, directory.id().as_str(), Some(&temporaries))?,
        ssh: cluster.ssh.clone(),
    })
}

/// The part of this machine's memory that each of its agents may count on.
pub(crate) fn local_share_bytes(cluster: &Cluster) -> u64 {
    let agents = cluster.hosts.iter().filter(|host| host.reach == Reach::Local).count() as u64;
    titan_agent::machine::memory_bytes() / agents.max(1)
}

/// The directory of a new batch.
pub(crate) fn create_directory() -> Result<BatchDir, Failure> {
    let state = dirs::state_dir().ok_or_else(|| {
        let hint = "set HOME, or XDG_STATE_HOME to a directory of yours";
        Failure::hinted(exit::CANNOT_WRITE, "there is no state directory", hint)
    })?;
    BatchDir::create(&state.join("titan").join("batches")).map_err(|error| {
        let hint = "free space there, or set XDG_STATE_HOME to a directory of yours";
        Failure::hinted(exit::CANNOT_WRITE, format!("cannot make a batch's directory: {error}"), hint)
    })
}
