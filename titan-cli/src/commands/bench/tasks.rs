//! Processes a second: `true N` with its output captured, journal on, against a loop that does nothing but start as many at
//! once and read their two pipes. (With an argument: `true` without one does less.)

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use super::Bench;
use super::figure::{Subject, Target};
use super::hyperqueue::{self, HyperQueue};
use super::runner::Runner;
use crate::launch::child::is_program;

/// Tasks of a run.
const TASKS: u32 = 3000;

/// Tasks of a run of a slower program.
const FEW_TASKS: u32 = 300;

/// Other programs that do this: their name, their words, tasks, and what titan is to be at least, as a multiple.
const PEERS: &[(&str, &[&str], u32, f64)] = &[
    ("xargs -P", &["xargs", "-P", SLOTS, "-n", "1", "true"], TASKS, 1.1),
    ("GNU parallel", &["parallel", "-j", SLOTS, "true"], FEW_TASKS, 5.0),
];

/// Tasks of an array of Slurm's, which takes half a second for each.
const SLURM_TASKS: u32 = 20;

/// Kernel tasks that do nothing, of a run.
const NOOPS: u32 = 200_000;
/// Ray's, as measured elsewhere on two cores.
const RAY_NOOPS: f64 = 1_300.0;

/// Prints how many tasks that do nothing Ray makes in a second.
const RAY: &str = "
import ray, time
ray.init(logging_level='ERROR', log_to_driver=False)
@ray.remote
def noop(): pass
ray.get([noop.remote() for _ in range(100)])
start = time.time()
ray.get([noop.remote() for _ in range(5000)])
print(5000 / (time.time() - start))
";

/// The same of Dask.
const DASK: &str = "
import time
from distributed import Client
if __name__ == '__main__':
    client = Client(dashboard_address=None)
    noop = lambda number: None
    client.gather(client.map(noop, range(100)))
    start = time.time()
    client.gather(client.map(noop, range(100, 5100)))
    print(5000 / (time.time() - start))
";

/// Programs in Python that do nothing often: their name, what they import, themselves, and the multiple.
const NOOP_PEERS: &[(&str, &str, &str, f64)] = &[("Ray", "ray", RAY, 100.0), ("Dask", "distributed", DASK, 100.0)];

/// Stands for the number of cores.
const SLOTS: &str = "{slots}";

pub(super) fn measure(bench: &mut Bench<'_>) -> io::Result<()> {
    against(bench, "a loop of spawns with two pipes", Target::AtLeast(0.85, 0.92), |_| bare(TASKS))?;
    for &(name, words, tasks, multiple) in PEERS {
        if bench.args.peers && is_program(words[0]) {
            let slots = Bench::cores().to_string();
            let words: Vec<&str> = words.iter().map(|&word| if word == SLOTS { &slots } else { word }).collect();
            against(bench, name, Target::AtLeast(multiple, multiple), |runner| {
                Ok(f64::from(tasks) / runner.program(&words, &numbers(tasks))?.seconds)
            })?;
        }
    }
    if bench.args.peers && hyperqueue::is_installed() {
        against(bench, "HyperQueue", Target::AtLeast(2.0, 2.0), |runner| {
            let ran = HyperQueue::start(runner)?.submit(&["--wait"], TASKS, &["true", "1"])?;
            Ok(f64::from(TASKS) / ran.seconds)
        })?;
    }
    // sinfo fails where no controller answers.
    if bench.args.peers && is_program("sbatch") && bench.runner.program(&["sinfo"], "").is_ok() {
        against(bench, "a Slurm array", Target::Told, |runner| {
            let array = format!("1-{SLURM_TASKS}");
            let script = "true $SLURM_ARRAY_TASK_ID";
            let words = ["sbatch", "--wait", "--array", &array, "--output", "slurm-%a.out", "--wrap", script];
            Ok(f64::from(SLURM_TASKS) / runner.program(&words, "")?.seconds)
        })?;
    }
    noops(bench, "Ray's, measured elsewhere", 100.0, |_| Ok(RAY_NOOPS))?;
    for &(name, module, program, multiple) in NOOP_PEERS {
        let imports = format!("import {module}");
        if bench.args.peers && bench.runner.program(&["python3", "-c", &imports], "").is_ok() {
            let script = bench.runner.folder().join("noops.py");
            fs::write(&script, program)?;
            noops(bench, name, multiple, |runner| {
                let said = runner.program(&["python3", &script.to_string_lossy()], "")?.stdout;
                let rate = String::from_utf8_lossy(&said).lines().last().and_then(|line| line.trim().parse().ok());
                rate.ok_or_else(|| io::Error::other(format!("{name} told no rate")))
            })?;
        }
    }
    Ok(())
}

/// Kernel tasks that do nothing, against something else's.
fn noops(
    bench: &mut Bench<'_>,
    bound: &str,
    multiple: f64,
    their_rate: impl Fn(&Runner) -> io::Result<f64>,
) -> io::Result<()> {
    let (name, target) = ("kernel tasks without work, journal on".to_owned(), Target::AtLeast(multiple, 150.0));
    bench.add(Subject { section: "tasks", name, unit: "/s", bound: bound.to_owned(), target }, |runner| {
        let theirs = their_rate(runner)?;
        let (ran, _) = runner.summary(&["run", "noop", "--tasks", &NOOPS.to_string()])?;
        Ok((f64::from(NOOPS) / ran.seconds, theirs))
    })
}

/// titan, from the start of the command to its end, against something else.
fn against(
    bench: &mut Bench<'_>,
    bound: &str,
    target: Target,
    their_rate: impl Fn(&Runner) -> io::Result<f64>,
) -> io::Result<()> {
    let name = "processes, output captured, journal on".to_owned();
    bench.add(Subject { section: "tasks", name, unit: "/s", bound: bound.to_owned(), target }, |runner| {
        let theirs = their_rate(runner)?;
        Ok((f64::from(TASKS) / runner.map(&["true"], &numbers(TASKS))?.seconds, theirs))
    })
}

/// That many processes, one at a time on each core.
fn bare(tasks: u32) -> io::Result<f64> {
    let (begun, start) = (AtomicU32::new(0), Instant::now());
    let work = || -> io::Result<()> {
        while begun.fetch_add(1, Ordering::Relaxed) < tasks {
            Command::new("true")
                .arg("1")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .output()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..Bench::cores()).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it calls only the system"))
    })?;
    Ok(f64::from(tasks) / start.elapsed().as_secs_f64())
}

fn numbers(tasks: u32) -> String {
    (0..tasks).map(|number| format!("{number}\n")).collect()
}
