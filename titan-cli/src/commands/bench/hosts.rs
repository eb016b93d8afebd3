//! What titan does over ssh, against ssh alone with the same host: start-up, copies of the agent, what tasks write, files, and how
//! soon a cancel arrives while a file or a task's output fills the link.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Bench;
use super::figure::{Subject, Target};
use super::memory;
use super::runner::Runner;
use crate::config::cluster::{Cluster, Host, Reach};
use crate::config::place::Place;
use crate::launch::ssh_options::{Destination, SSH};
use crate::launch::{binaries, script};

/// What is sent to learn how fast the link is.
const PROBE_BYTES: u64 = 4 << 20;
/// About how long what is sent keeps the link busy.
const STREAM_SPAN: Duration = Duration::from_secs(3);
/// The most that is sent at once.
const MOST_BYTES: u64 = 512 << 20;
/// To so many hosts at once a file is sent.
const BLOB_HOSTS: usize = 4;
/// What a cancel may take longer than a round trip.
const CANCEL_MS: f64 = 100.0;
/// A task that fails begins to do so when the link has been full for a moment.
const FULL_SPAN: &str = "1.5";

/// The hosts, and how plain ssh and titan get there.
struct Site<'a> {
    cluster: &'a Cluster,
    hosts: Vec<&'a Host>,
    /// What titan is told of where to run, as typed: all of them, and the first alone.
    place: Vec<String>,
    first_place: Vec<String>,
    /// Bytes a second, as ssh alone moves them from the first host.
    rate: f64,
}

/// What fills the link while a task is cancelled.
#[derive(Clone, Copy)]
enum Flow {
    FileThere,
    OutputHere,
}

pub(super) fn measure(bench: &mut Bench<'_>, place: &Place) -> io::Result<()> {
    let file = bench.args.cluster.as_deref().or(place.found.as_ref().map(|(file, _)| file.as_path()));
    let site = Site::new(&place.cluster, file, &bench.runner)?;
    start(bench, &site)?;
    copies(bench, &site)?;
    streams(bench, &site)?;
    agents_memory(bench, &site)?;
    blobs(bench, &site)?;
    cancels(bench, &site)
}

/// From the start of the command to the first byte of its first task, with the agent there already.
fn start(bench: &mut Bench<'_>, site: &Site<'_>) -> io::Result<()> {
    let (name, bound) = ("start to first task running, agent cached".to_owned(), site.named("ssh HOST true"));
    let target = Target::AtMost(1.3, 1.1);
    bench.add(Subject { section: "hosts", name, unit: "ms", bound, target }, |runner| {
        let theirs = runner.drain(&mut site.ssh(site.first(), "true"))?.seconds;
        Ok((site.first_byte(runner)? * 1e3, theirs * 1e3))
    })
}

/// What an agent that isn't there yet adds to the start, against copying a file as long as it.
fn copies(bench: &mut Bench<'_>, site: &Site<'_>) -> io::Result<()> {
    let agent = bench.runner.titan_file().to_owned();
    let bytes = fs::metadata(&agent)?.len() as f64;
    let hash = binaries::own_hash().ok_or_else(|| io::Error::other("titan can't read itself"))?;
    let forget = format!("exec /bin/sh -c {}", script::quote(&script::forget(&hash)));
    let (name, bound) = ("copy of the agent".to_owned(), site.named("ssh HOST 'cat > f'"));
    let target = Target::AtLeast(0.8, 1.0);
    bench.add(Subject { section: "hosts", name, unit: "MB/s", bound, target }, |runner| {
        let warm = site.first_byte(runner)?;
        let login = runner.drain(&mut site.ssh(site.first(), "true"))?.seconds;
        let mut command = site.ssh(site.first(), "cat > .titan-bench && rm .titan-bench");
        let theirs = runner.drain(command.stdin(File::open(&agent)?))?.seconds - login;
        runner.drain(&mut site.ssh(site.first(), &forget))?;
        let ours = site.first_byte(runner)? - warm;
        // Where either is lost in noise nothing is told of it.
        let rate = |seconds: f64| bytes / seconds.max(1e-3) / 1e6;
        Ok((rate(ours), rate(theirs)))
    })
}

/// What a task writes, on its way to titan's stdout.
fn streams(bench: &mut Bench<'_>, site: &Site<'_>) -> io::Result<()> {
    let bytes = site.bytes_for(STREAM_SPAN);
    let source = format!("head -c {bytes} /dev/zero");
    for (how, options) in [("", &[][..]), (", --line-buffer", &["--line-buffer"])] {
        let (name, bound) = (format!("a task's output to stdout{how}"), site.named("ssh HOST cat"));
        let target = Target::AtLeast(0.8, 0.95);
        bench.add(Subject { section: "hosts", name, unit: "MB/s", bound, target }, |runner| {
            let theirs = runner.drain(&mut site.ssh(site.first(), &source))?.seconds;
            let command = [options, &["--", "sh", "-c", &source, ":::", "1"]].concat();
            let ours = runner.drain(&mut site.map_first(runner, &command))?.seconds;
            Ok((bytes as f64 / ours / 1e6, bytes as f64 / theirs / 1e6))
        })?;
    }
    Ok(())
}

/// The most memory that an agent has while a task writes as fast as its output is taken.
fn agents_memory(bench: &mut Bench<'_>, site: &Site<'_>) -> io::Result<()> {
    let bytes = site.bytes_for(STREAM_SPAN);
    let name = "most memory of the agent while output flows".to_owned();
    let bound = "of an agent that does nothing".to_owned();
    bench.add(Subject { section: "hosts", name, unit: "MB", bound, target: Target::Told }, |runner| {
        Ok((site.agent_bytes(runner, bytes)? as f64 / 1e6, site.agent_bytes(runner, 0)? as f64 / 1e6))
    })
}

/// A file that all hosts are given, and the most memory that titan has meanwhile.
fn blobs(bench: &mut Bench<'_>, site: &Site<'_>) -> io::Result<()> {
    let bytes = site.bytes_for(STREAM_SPAN);
    let all = site.hosts.len() as f64;
    let name = format!("a file to {} hosts", site.hosts.len());
    let (bound, target) = ("ssh HOST 'cat > f' to all of them at once".to_owned(), Target::AtLeast(0.8, 0.95));
    let mut peaks = Vec::new();
    bench.add(Subject { section: "hosts", name, unit: "MB/s", bound, target }, |runner| {
        let file = new_file(runner.folder(), bytes)?;
        let start = Instant::now();
        thread::scope(|scope| {
            let copies: Vec<_> = site.hosts.iter().map(|host| scope.spawn(|| site.copy(host, &file, runner))).collect();
            copies.into_iter().try_for_each(|copy| copy.join().expect("it calls only the system"))
        })?;
        let theirs = start.elapsed().as_secs_f64();
        let base = file.to_string_lossy();
        let base = base.replacen("/titan-bench", "/./titan-bench", 1);
        let mut words = vec!["map"];
        words.extend(site.place.iter().map(String::as_str));
        words.extend(["--each-host", "--base", &base, "--", "true"]);
        let ours = runner.drain(&mut runner.batch(&words))?;
        peaks.push(ours.peak_bytes as f64 / 1e6);
        Ok((all * bytes as f64 / ours.seconds / 1e6, all * bytes as f64 / theirs / 1e6))
    })?;
    let (name, bound) = ("most memory of titan while it flows".to_owned(), "of titan --version".to_owned());
    let mut peaks = peaks.into_iter();
    bench.add(Subject { section: "hosts", name, unit: "MB", bound, target: Target::Told }, |runner| {
        let idle = runner.drain(Command::new(runner.titan_file()).arg("--version"))?.peak_bytes as f64 / 1e6;
        Ok((peaks.next().unwrap_or(idle), idle))
    })
}

/// How long after a failure that halts the batch another task of that host has ended, while the link is full.
fn cancels(bench: &mut Bench<'_>, site: &Site<'_>) -> io::Result<()> {
    let round_trip = site.round_trip_ms(&bench.runner)?;
    for (what, flow) in [("a file flows there", Flow::FileThere), ("output flows here", Flow::OutputHere)] {
        let (name, bound) = (format!("a cancel while {what}"), "a round trip and 100 ms".to_owned());
        let target = Target::AtMost(1.0, 0.5);
        bench.add(Subject { section: "hosts", name, unit: "ms", bound, target }, |runner| {
            Ok((site.cancel(runner, flow)? * 1e3, round_trip + CANCEL_MS))
        })?;
    }
    Ok(())
}

impl<'a> Site<'a> {
    /// Those hosts of a cluster that are reached by ssh, and its file, if it has one.
    fn new(cluster: &'a Cluster, file: Option<&Path>, runner: &Runner) -> io::Result<Self> {
        let by_ssh = cluster.hosts.iter().filter(|host| matches!(host.reach, Reach::Ssh { .. }));
        let hosts: Vec<&Host> = by_ssh.take(BLOB_HOSTS).collect();
        if hosts.is_empty() {
            return Err(io::Error::other("none of these hosts is reached by ssh"));
        }
        let mut place = Vec::new();
        if let Some(file) = file {
            place.push(format!("--cluster={}", std::path::absolute(file)?.display()));
        }
        let mut first_place = place.clone();
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        first_place.push(format!("--hosts={}", names[0]));
        place.push(format!("--hosts={}", names.join(",")));
        let mut site = Self { cluster, hosts, place, first_place, rate: 0.0 };
        let probe = runner.drain(&mut site.ssh(site.first(), &format!("head -c {PROBE_BYTES} /dev/zero")))?;
        site.rate = PROBE_BYTES as f64 / (probe.seconds - probe.first).max(1e-3);
        Ok(site)
    }

    fn first(&self) -> &Host {
        self.hosts[0]
    }

    fn named(&self, command: &str) -> String {
        command.replace("HOST", &self.first().name)
    }

    fn bytes_for(&self, span: Duration) -> u64 {
        ((self.rate * span.as_secs_f64()) as u64).clamp(1 << 20, MOST_BYTES)
    }

    /// Plain ssh, with a login of its own.
    fn ssh(&self, host: &Host, remote: &str) -> Command {
        let mut command = Command::new(SSH);
        command.args(["-T", "-o", "ControlPath=none"]);
        command.args(Destination::of(host).arguments(&self.cluster.ssh)).arg(remote).stdin(Stdio::null());
        command
    }

    /// A command of titan's that has to do with the first host alone.
    fn words<'w>(&'w self, command: &'w str, words: &[&'w str]) -> Vec<&'w str> {
        [command].into_iter().chain(self.first_place.iter().map(String::as_str)).chain(words.iter().copied()).collect()
    }

    /// `titan map` on the first host alone.
    fn map_first(&self, runner: &Runner, words: &[&str]) -> Command {
        runner.batch(&self.words("map", words))
    }

    fn first_byte(&self, runner: &Runner) -> io::Result<f64> {
        let words = ["--line-buffer", "--", "echo", ":::", "1"];
        Ok(runner.drain(&mut self.map_first(runner, &words))?.first)
    }

    /// The most memory that the first host's agent has had when a task has written that much to stderr.
    fn agent_bytes(&self, runner: &Runner, bytes: u64) -> io::Result<u64> {
        let script = format!("head -c {bytes} /dev/zero >&2; cat /proc/$PPID/status");
        let output = self.map_first(runner, &["--", "sh", "-c", &script, ":::", "1"]).stderr(Stdio::null()).output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!("titan map ended with {}", output.status)));
        }
        memory::peak_in(&String::from_utf8_lossy(&output.stdout))
            .ok_or_else(|| io::Error::other("an agent's memory can't be read there"))
    }

    fn copy(&self, host: &Host, file: &Path, runner: &Runner) -> io::Result<()> {
        let mut command = self.ssh(host, "cat > .titan-bench && rm .titan-bench");
        runner.drain(command.stdin(File::open(file)?)).map(drop)
    }

    fn round_trip_ms(&self, runner: &Runner) -> io::Result<f64> {
        let ran = runner.titan(&self.words("hosts", &["--json"]), "")?;
        let told: Value = serde_json::from_slice(&ran.stdout).map_err(io::Error::other)?;
        Ok(told["hosts"][0]["round_trip_seconds"].as_f64().unwrap_or_default() * 1e3)
    }

    /// Seconds from one task's failure, as titan tells it, to the end of another that it has cancelled.
    fn cancel(&self, runner: &Runner, flow: Flow) -> io::Result<f64> {
        let bytes = self.bytes_for(STREAM_SPAN * 3);
        let shells = format!(
            "case {{}} in 1) exec sleep 600;; 2) sleep {FULL_SPAN}; exit 1;; *) exec head -c {} /dev/zero;; esac",
            if matches!(flow, Flow::OutputHere) { bytes } else { 0 },
        );
        let mut words = vec!["--progress", "json", "--halt", "now,fail=1", "-j3"];
        let file = new_file(runner.folder(), if matches!(flow, Flow::FileThere) { bytes } else { 1 })?;
        // The files of the other two are empty.
        let pattern = runner.folder().join("./blob-{}").to_string_lossy().into_owned();
        fs::rename(&file, runner.folder().join("blob-3"))?;
        for other in ["blob-1", "blob-2"] {
            fs::write(runner.folder().join(other), "")?;
        }
        words.extend(["-i", &pattern, "-s", &shells, ":::", "1", "2", "3"]);
        let mut child = self.map_first(runner, &words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let told = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut failed = None;
        let mut span = None;
        for line in told.lines().map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            match (event["type"].as_str(), event["task"].as_u64(), event["state"].as_str()) {
                (Some("task"), Some(1), Some("FAILED")) => failed = Some(Instant::now()),
                (Some("task"), Some(0), Some("CANCELLED")) => span = failed.map(|at| at.elapsed()),
                _ => {}
            }
        }
        child.wait()?;
        let span = span.ok_or_else(|| io::Error::other("no task was cancelled while the link was full"))?;
        Ok(span.as_secs_f64())
    }
}

/// A file that no host has.
fn new_file(folder: &Path, bytes: u64) -> io::Result<PathBuf> {
    let path = folder.join("blob");
    let mut random = File::open("/dev/urandom")?.take(bytes);
    io::copy(&mut random, &mut File::create(&path)?)?;
    Ok(path)
}
