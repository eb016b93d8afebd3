//! One batch, whatever its jobs are: hosts, manager and driver are put together and run, the verdict becomes an exit code,
//! and what there is to say is said.
//!
//! # Layout
//! - this file: from a place and jobs to an exit code.
//! - [`start`]: anew, or where an earlier titan was.
//! - [`judge`]: what an end means.

mod judge;
pub(crate) mod start;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use sha2::{Digest, Sha256};
use titan_manager::journal::past::PastCounts;
use titan_manager::journal::{Entry, JobName, Past};
use titan_manager::{HostId, JobSpec, Manager};
use titan_proto::codec;
use titan_proto::files::BlobId;
use titan_proto::id::{BatchId, Epoch};
use titan_proto::message::Work as TaskWork;
use tokio::sync::{mpsc, watch};

use crate::args::NoiseOptions;
use crate::config::cluster::{Cluster, Host, Reach, Scheduler};
use crate::driver::clock::Clock;
use crate::driver::connection;
use crate::driver::host::{Common, HostTask, News};
use crate::driver::network::Network;
use crate::driver::signals::Signals;
use crate::driver::sink::{JobSink, SinkThread};
use crate::driver::staging::Staging;
use crate::driver::{BatchJob, Driver, Ended, Fed, Inlets, MAX_NEWS, Settings};
use crate::exit::{self, Failure};
use crate::files::Committed;
use crate::files::reuse::Reuse;
use crate::launch::{Binaries, ControlDirectory, Gates, Launching, launcher_for};
use crate::output::failures::Examples;
use crate::progress::{Manner, Progress};
use crate::state::dir::BatchDir;

use judge::Judged;

/// How long tasks may take to stop where nothing else was said: SIGTERM, and SIGKILL after this.
pub(crate) const KILL_AFTER: Duration = Duration::from_secs(5);
/// Files that a host keeps for later batches.
const CACHE_BYTES: u64 = 10 << 30;
/// How long hosts are waited for at least where nothing else was said.
const LEAST_WAIT: Duration = Duration::from_secs(10);
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
    /// What needn't be made again.
    pub(crate) reuse: Reuse,
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
    /// The folder that was chosen for batches.
    pub(crate) batch_dir: Option<&'a Path>,
    /// What earlier titans have come to.
    pub(crate) past: Past,
    /// Whether tasks that have FAILED are tried again.
    pub(crate) retries_failed: bool,
    /// What holds for this batch alone, over what the cluster says.
    pub(crate) rules: Rules,
    /// What helps when every slot has too little memory.
    pub(crate) smaller_tasks_hint: Option<String>,
}

/// What a batch has in common with those who make its work.
pub(crate) struct Context<'a> {
    pub(crate) directory: &'a BatchDir,
    pub(crate) progress: &'a Progress,
    /// The names of all hosts that the batch has ever had.
    pub(crate) hosts: &'a [String],
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
        work: impl FnOnce(&Context<'_>, &mut Past) -> io::Result<Work>,
        commit: impl FnOnce() -> io::Result<Vec<PathBuf>>,
    ) -> Result<u8, Failure> {
        crate::runtime::block_on(self.run_async(work, commit))
    }

    async fn run_async(
        mut self,
        work: impl FnOnce(&Context<'_>, &mut Past) -> io::Result<Work>,
        commit: impl FnOnce() -> io::Result<Vec<PathBuf>>,
    ) -> Result<u8, Failure> {
        let mut signals = Signals::listen().map_err(cannot)?;
        let mut past = std::mem::take(&mut self.past);
        past.reopen_stopped(self.retries_failed);
        let hosts = self.all_hosts(&past);
        let mut progress = Progress::new(self.noise, &self.manner, self.name, &hosts, self.directory.path());
        progress.tally.leave_out(|name| self.cluster.find_host(name).is_none());
        if let Some(source) = &self.source {
            progress.say(&format!("titan: {source}"));
        }
        let is_new = past.is_empty();
        if !is_new {
            progress.say(&going_on(self.directory.id(), &past));
        }
        let context = Context { directory: self.directory, progress: &progress, hosts: &hosts };
        let work = work(&context, &mut past).map_err(cannot)?;
        self.check_jobs(&work.jobs)?;
        self.begin(&work.jobs, &hosts, &mut past)?;
        past.failed().for_each(|end| progress.tally.add_missed(end));
        let (examples, in_place) = (work.examples.clone(), work.committed.clone());
        let reuse = work.reuse.clone();
        let ended = self.drive(work, past, &hosts, &mut progress, &mut signals).await?;
        let is_done = ended.verdict.is_some_and(|verdict| verdict.end == titan_manager::End::Done);
        let committed = match ended.written {
            Some(_) if is_done && ended.ending.is_none() => commit().map(|files| [files, in_place.files()].concat()),
            _ => Ok(Vec::new()),
        };
        progress.clear();
        let judged = Judged::of(&self, is_new, &ended, committed, &mut progress);
        progress.tally.kept = reuse.count();
        judged.note(&self, &ended)?;
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

    /// The names of all hosts that the batch has ever had: a host is known by its place among them in all of the batch's lives.
    fn all_hosts(&self, past: &Past) -> Vec<String> {
        let mut names = past.hosts.clone();
        for host in &self.cluster.hosts {
            if !names.contains(&host.name) {
                names.push(host.name.clone());
            }
        }
        names
    }

    /// A manager's life begins, and that is on the disk before anything else.
    fn begin(&self, jobs: &[BatchJob], hosts: &[String], past: &mut Past) -> Result<(), Failure> {
        let plan = plan_of(jobs);
        if past.plan().is_some_and(|before| before != plan) {
            let id = self.directory.id();
            let problem = format!("batch {id} can't be gone on with: its tasks would be others now");
            let hint = "this titan, or a file that the batch reads, has changed: run it anew";
            return Err(Failure::hinted(exit::USAGE, problem, hint));
        }
        let epoch = Epoch(past.epoch.0 + 1);
        let began = Entry::Began {
            epoch,
            boot: titan_agent::machine::boot(),
            hosts: hosts.to_vec(),
            jobs: jobs.iter().map(|job| JobName { name: job.spec.name.clone(), group: job.spec.group }).collect(),
            plan,
            retries_failed: self.retries_failed,
            at_ms: crate::state::now_ms(),
        };
        self.directory.begin(began.clone()).map_err(cannot)?;
        let before = past.epoch;
        past.add(began, true);
        past.epoch = before;
        Ok(())
    }

    async fn drive(
        &self,
        work: Work,
        past: Past,
        names: &[String],
        progress: &mut Progress,
        signals: &mut Signals,
    ) -> Result<Ended, Failure> {
        let sink = SinkThread::start(work.sinks, self.directory.spool()).map_err(cannot)?;
        let clock = Clock::start();
        let (news_sender, news) = mpsc::channel(MAX_NEWS);
        let (end, stopped) = watch::channel(false);
        let config = self.manager_config(&past);
        let hosts = self.host_tasks(clock, &config, names, news_sender, stopped, work.max_result_bytes)?;
        let manager = Manager::resumed(config, past);
        let (tick, stop) = (self.cluster.scheduler.tick, self.rules.kill_after + STOP_MARGIN);
        let settings = Settings { tick, stop, is_one: work.is_one, reuse: work.reuse };
        let identifies = work.jobs.iter().any(|job| job.spec.tasks > 0 && job.source.identity(0).is_some());
        let staging = Staging::new(work.root, work.committed, identifies);
        let inlets = Inlets { news, fed: work.fed };
        let driver = Driver::new(manager, clock, self.directory, sink, inlets, staging, progress);
        Ok(driver.run(work.jobs, hosts, settings, end, signals).await)
    }

    fn manager_config(&self, past: &Past) -> titan_manager::Config {
        let Scheduler { policy, tick, heartbeat, unhealthy_after, lease, wait_for_hosts, quarantine, .. } =
            self.cluster.scheduler;
        let Scheduler { crash_limit, min_workers, speculates, .. } = self.cluster.scheduler;
        let Rules { halt, start_delay, max_load, min_free_memory_bytes, .. } = self.rules;
        titan_manager::Config {
            epoch: Epoch(past.epoch.0 + 1),
            policy,
            tick,
            heartbeat,
            unhealthy_after,
            lease,
            wait_for_hosts: wait_for_hosts.unwrap_or(lease.max(LEAST_WAIT)),
            waits_at_start: past.may_have_agents || wait_for_hosts.is_some_and(|span| !span.is_zero()),
            quarantine,
            crash_limit,
            min_workers,
            speculates,
            halt,
            start_delay,
            max_load,
            min_free_memory_bytes,
        }
    }

    fn host_tasks(
        &self,
        clock: Clock,
        config: &titan_manager::Config,
        names: &[String],
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
            epoch: config.epoch,
            waits_at_start: config.waits_at_start,
            network: Network::listen(),
            secret: self.directory.secret(),
            heartbeat,
            lease,
            start_timeout: self.cluster.ssh.start_timeout,
            max_result_bytes,
            cache_bytes: CACHE_BYTES,
            reports_load: self.rules.max_load.is_some() || self.rules.min_free_memory_bytes.is_some(),
            next_worker: AtomicU32::new(0),
        });
        let share = self.cluster.local_share_bytes();
        let id = |host: &Host| names.iter().position(|name| *name == host.name).expect("all hosts are among them");
        let task = |host: &Host| HostTask {
            id: HostId(id(host) as u32),
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
        Ok(self.cluster.hosts.iter().map(task).collect())
    }
}

fn going_on(id: &BatchId, past: &Past) -> String {
    let PastCounts { total, completed, is_growing, .. } = past.counts();
    let total = if is_growing { "?".to_owned() } else { total.to_string() };
    format!("titan: going on with batch {id}: {completed} of {total} done")
}

fn cannot(error: io::Error) -> Failure {
    let code = if error.kind() == io::ErrorKind::InvalidInput { exit::USAGE } else { exit::CANNOT_WRITE };
    Failure::plain(code, error)
}

fn launching(cluster: &Cluster, directory: &BatchDir) -> Result<Launching, Failure> {
    let temporaries = directory.temporaries();
    // Not the batch's alone: the guard of a killed titan may still be about to remove that one's.
    let name = format!("{}-{}", directory.id(), std::process::id());
    Ok(Launching {
        binaries: Binaries::default(),
        gates: Gates::default(),
        control: ControlDirectory::for_cluster(cluster, &name, Some(&temporaries))?,
        ssh: cluster.ssh.clone(),
    })
}

/// A number that stands for what the tasks of these jobs are, but for what may be said anew: hosts, and how often and how long
/// something is tried.
fn plan_of(jobs: &[BatchJob]) -> BlobId {
    let mut hash = Sha256::new();
    for BatchJob { spec, .. } in jobs {
        let kernel = match &spec.work {
            TaskWork::Kernel { name, params, .. } => Some((name, params)),
            TaskWork::Command(_) => None,
        };
        // What grows has no number of tasks yet.
        let tasks = spec.closed.then_some(spec.tasks);
        let part = codec::encode(&(&spec.name, kernel, tasks, spec.group, spec.commits));
        hash.update(part.expect("jobs were checked against the bound"));
    }
    BlobId(hash.finalize().into())
}
