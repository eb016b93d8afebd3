//! `titan run KERNEL`: checks what can be checked here, then drives the batch and puts the outputs in their places.

mod checks;
mod dry_run;
mod space;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use kernels::{Kernel, Plan};
use titan_manager::{End, HostId, JobSpec, Manager};
use titan_proto::id::JobId;
use titan_proto::message::Work;
use tokio::sync::{mpsc, watch};

use crate::args::{NoiseOptions, RunArgs, ScheduleOptions};
use crate::config::cluster::{Cluster, Host, Reach, Scheduler};
use crate::config::place::Place;
use crate::driver::batch_dir::BatchDir;
use crate::driver::clock::Clock;
use crate::driver::host::{Common, HostTask};
use crate::driver::outputs::{Outputs, Target};
use crate::driver::signals::Signals;
use crate::driver::sink::SinkThread;
use crate::driver::{Driver, Ended, MAX_NEWS};
use crate::exit::{self, Failure};
use crate::launch::{Binaries, Gates, Launching, launcher_for};
use crate::progress::Progress;
use crate::progress::summary::Summary;

/// Further tries of a kernel's task where nothing else was said.
const KERNEL_RETRIES: u32 = 2;

/// Runs a kernel.
pub(crate) fn run(args: &RunArgs) -> Result<u8, Failure> {
    let kernel = args.kernel.known()?;
    let Place { source, mut cluster } = super::resolve_place(&args.place)?;
    override_schedule(&mut cluster.scheduler, &args.schedule)?;
    let targets = checks::targets(kernel);
    checks::stdout(&targets, args)?;
    let plan = checks::plan(kernel, &targets, &cluster)?;
    if args.dry_run && args.noise.json {
        let hint = "leave out --json: a dry run prints one line a task";
        return Err(Failure::hinted(exit::USAGE, "a dry run has no JSON", hint));
    }
    if args.dry_run {
        return dry_run::dry_run(&*plan, &source.to_string(), &cluster);
    }
    checks::targets_writable(&targets)?;
    checks::local_memory(&*plan, &cluster)?;
    let batch = create_batch()?;
    space::check(&*plan, batch.path(), &targets)?;
    let batch_run = Batch {
        args,
        source: source.to_string(),
        kernel: kernel.kernel,
        cluster: &cluster,
        plan: &*plan,
        targets,
        directory: &batch,
    };
    super::block_on(batch_run.run())
}

fn override_schedule(scheduler: &mut Scheduler, options: &ScheduleOptions) -> Result<(), Failure> {
    scheduler.policy = options.policy.unwrap_or(scheduler.policy);
    scheduler.heartbeat = options.heartbeat.unwrap_or(scheduler.heartbeat);
    scheduler.unhealthy_after = options.unhealthy_after.unwrap_or(scheduler.unhealthy_after);
    scheduler.lease = options.lease.unwrap_or(scheduler.lease);
    scheduler.retries = options.retries.or(scheduler.retries);
    scheduler.check().map_err(|error| Failure::hinted(exit::USAGE, &error, error.remedy()))
}

fn create_batch() -> Result<BatchDir, Failure> {
    let state = dirs::state_dir().ok_or_else(|| {
        let hint = "set HOME, or XDG_STATE_HOME to a directory of yours";
        Failure::hinted(exit::CANNOT_WRITE, "there is no state directory", hint)
    })?;
    BatchDir::create(&state.join("titan").join("batches")).map_err(|error| {
        let hint = "free space there, or set XDG_STATE_HOME to a directory of yours";
        Failure::hinted(exit::CANNOT_WRITE, format!("cannot make a batch's directory: {error}"), hint)
    })
}

/// A batch whose arguments are all right.
struct Batch<'a> {
    args: &'a RunArgs,
    source: String,
    kernel: &'static dyn Kernel,
    cluster: &'a Cluster,
    plan: &'a dyn Plan,
    targets: BTreeMap<String, Target>,
    directory: &'a BatchDir,
}

impl Batch<'_> {
    async fn run(self) -> Result<u8, Failure> {
        let noise = &self.args.noise;
        let name = self.kernel.name();
        let mut signals = Signals::listen().map_err(|error| Failure::plain(exit::CANNOT_WRITE, error))?;
        let names = self.cluster.hosts.iter().map(|host| host.name.clone());
        let mut progress = Progress::new(noise, name, names);
        progress.say(&format!("titan: {}", self.source));
        let outputs = Outputs::new(self.targets.clone(), self.directory.id().to_string(), self.directory.temporaries());
        let ended = self.drive(&outputs, &mut progress, &mut signals).await?;
        let committed = match ended.written {
            Some(_) if ended.ending.is_none() => outputs.commit(),
            _ => Ok(Vec::new()),
        };
        progress.clear();
        let judged = self.judge(&ended, committed, &mut progress);
        let failure = judged.as_ref().err().cloned();
        let (code, committed) = judged.unwrap_or_else(|failure| (failure.code, Vec::new()));
        let summary = Summary {
            batch: self.directory.id().as_str(),
            name,
            tally: &progress.tally,
            verdict: ended.verdict,
            written: ended.written.as_ref(),
            outputs: &committed,
            exit_code: code,
            ended: Instant::now(),
        };
        let text = summary.text();
        let json = summary.json();
        conclude(code, (&text, &json), noise, &ended, failure, &mut progress)
    }

    async fn drive(&self, outputs: &Outputs, progress: &mut Progress, signals: &mut Signals) -> Result<Ended, Failure> {
        let cannot = |error: io::Error| Failure::plain(exit::CANNOT_WRITE, error);
        let sink = self.plan.sink(Box::new(outputs.clone())).map_err(cannot)?;
        let sink = SinkThread::start(sink, self.directory.spool().reader(JobId(0))).map_err(cannot)?;
        let clock = Clock::start();
        let (news_sender, news) = mpsc::channel(MAX_NEWS);
        let (stop, stopped) = watch::channel(false);
        let config = self.manager_config();
        let hosts = self.host_tasks(clock, config.epoch, news_sender, stopped)?;
        let manager = Manager::new(config);
        let driver = Driver::new(manager, clock, self.directory.spool(), sink, news, progress);
        Ok(driver.run(self.spec(), hosts, self.cluster.scheduler.tick, stop, signals).await)
    }

    fn spec(&self) -> JobSpec {
        let work = Work::Kernel { name: self.kernel.name().to_owned(), params: self.plan.params() };
        JobSpec {
            work,
            tasks: self.plan.tasks(),
            closed: true,
            retries: self.cluster.scheduler.retries.unwrap_or(KERNEL_RETRIES),
            task_memory_bytes: self.plan.task_memory_bytes(),
            rerunnable: true,
        }
    }

    fn manager_config(&self) -> titan_manager::Config {
        let Scheduler { policy, tick, heartbeat, unhealthy_after, lease, crash_limit, min_workers, .. } =
            self.cluster.scheduler;
        titan_manager::Config {
            policy,
            tick,
            heartbeat,
            unhealthy_after,
            lease,
            crash_limit,
            min_workers,
            ..titan_manager::Config::default()
        }
    }

    fn host_tasks(
        &self,
        clock: Clock,
        epoch: titan_proto::id::Epoch,
        news: mpsc::Sender<crate::driver::host::News>,
        stop: watch::Receiver<bool>,
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
            max_result_bytes: (0..self.plan.tasks()).map(|task| self.plan.result_bytes(task)).max().unwrap_or(0),
            next_worker: AtomicU32::new(0),
        });
        let share = checks::local_share_bytes(self.cluster);
        let task = |(number, host): (usize, &Host)| HostTask {
            id: HostId(number as u32),
            slots: host.slots,
            memory_bytes: match host.reach {
                Reach::Local => Some(host.memory.unwrap_or(share).min(share)),
                _ => host.memory,
            },
            launcher: launcher_for(host, &self.cluster.ssh),
            common: Arc::clone(&common),
        };
        Ok(self.cluster.hosts.iter().enumerate().map(task).collect())
    }

    /// The exit code, and the files that are in place.
    fn judge(
        &self,
        ended: &Ended,
        committed: io::Result<Vec<PathBuf>>,
        progress: &mut Progress,
    ) -> Result<(u8, Vec<String>), Failure> {
        if let Some(ending) = ended.ending {
            let done = progress.tally.completed;
            progress.say(&format!("interrupted: {done} of {} done", self.plan.tasks()));
            return Ok((exit::of_signal(ending), Vec::new()));
        }
        if let Some(error) = &ended.write_error {
            return Err(write_failure(error));
        }
        let files = committed.map_err(|error| write_failure(&error))?;
        let code = match ended.verdict {
            Some(verdict) if verdict.end == End::NoWorkers => {
                self.explain_no_workers(progress);
                exit::NO_WORKERS
            }
            Some(verdict) if verdict.failed + verdict.cancelled == 0 => exit::SUCCESS,
            _ => exit::TASKS_FAILED,
        };
        Ok((code, files.iter().map(|path| shown(path)).collect()))
    }

    fn explain_no_workers(&self, progress: &mut Progress) {
        let min = self.cluster.scheduler.min_workers;
        let what = match min {
            0 | 1 => "no usable worker".to_owned(),
            min => format!("no usable worker, or fewer than min_workers = {min}"),
        };
        let mut lines = vec![format!("error: {what}:")];
        for host in &progress.tally.hosts {
            let (reason, hint) = host.trouble.clone().unwrap_or_else(|| (host.state.word().to_owned(), None));
            let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            lines.push(format!("  {}: {reason}{hint}", crate::config::text::printable(&host.name)));
        }
        if progress.tally.hosts.iter().any(|host| host.is_too_small) {
            lines.push(format!("  hint: {}", self.plan.smaller_tasks_hint()));
        }
        progress.tell(&lines.join("\n"));
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn write_failure(error: &io::Error) -> Failure {
    let problem = format!("cannot write: {error}");
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(exit::BROKEN_PIPE),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Failure::hinted(exit::CANNOT_WRITE, problem, "free space there, or write elsewhere")
        }
        io::ErrorKind::NotFound => Failure::hinted(exit::CANNOT_WRITE, problem, "was its folder moved or removed?"),
        _ => Failure::plain(exit::CANNOT_WRITE, problem),
    }
}

/// Says how it ended; a failure is left to `main` to be said.
fn conclude(
    code: u8,
    (text, json): (&str, &str),
    noise: &NoiseOptions,
    ended: &Ended,
    failure: Option<Failure>,
    progress: &mut Progress,
) -> Result<u8, Failure> {
    if ended.ending.is_none() && code != exit::NO_WORKERS && failure.is_none() {
        progress.say(text);
    }
    progress.clear();
    if noise.json {
        super::print(&format!("{json}\n"))?;
    }
    failure.map_or(Ok(code), Err)
}

fn launching(cluster: &Cluster, directory: &BatchDir) -> Result<Launching, Failure> {
    let temporaries = directory.temporaries();
    Ok(Launching {
        binaries: Binaries::default(),
        gates: Gates::default(),
        control: super::control_directory(cluster, directory.id().as_str(), Some(&temporaries))?,
        ssh: cluster.ssh.clone(),
    })
}
