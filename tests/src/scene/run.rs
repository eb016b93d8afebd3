//! A titan that runs, and what came of it.

use super::events::Events;
use super::picture;
use crate::rig::{Signal, holds_within};
use rustix::process::{Pid, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A condition comes about in seconds; this is for machines under load.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running titan. Dropped, it is killed.
pub struct Run {
    child: Child,
    picture: PathBuf,
    events: Arc<Mutex<Events>>,
    stderr: Option<JoinHandle<()>>,
    stdout: Option<JoinHandle<Vec<u8>>>,
    begun: Instant,
}

/// A titan that has ended.
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it said.
    pub events: Events,
    /// The last object on stdout; null if there was none.
    pub summary: Value,
    /// The picture's file, if there is one.
    pub picture: Option<Vec<u8>>,
    /// From its start to its end.
    pub took: Duration,
}

impl Run {
    /// Starts a titan that makes `picture`, with its events on stderr and its summary on stdout.
    ///
    /// # Panics
    /// It can't be started.
    pub fn start(command: Command, picture: PathBuf) -> Self {
        Self::start_with_stdin(command, picture, Stdio::null())
    }

    /// The same, with a stdin.
    ///
    /// # Panics
    /// It can't be started.
    pub fn start_with_stdin(mut command: Command, picture: PathBuf, stdin: Stdio) -> Self {
        command.args(["--progress", "json", "--json"]);
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("titan can be started");
        let events = Arc::new(Mutex::new(Events::default()));
        let stderr = child.stderr.take().map(|stream| {
            let events = Arc::clone(&events);
            thread::spawn(move || {
                for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                    lock(&events).push_line(&String::from_utf8_lossy(&line));
                }
            })
        });
        let stdout = child.stdout.take().map(|mut stream| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = stream.read_to_end(&mut bytes);
                bytes
            })
        });
        Self { child, picture, events, stderr, stdout, begun: Instant::now() }
    }

    /// What it has said so far.
    pub fn events(&self) -> Events {
        lock(&self.events).clone()
    }

    /// Waits until `condition` holds of what it has said.
    ///
    /// # Panics
    /// It never did, or titan ended before.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, condition: impl Fn(&Events) -> bool) {
        drop(self.events_when(what, condition));
    }

    /// The same, and what it had said when that was so.
    ///
    /// # Panics
    /// As [`Self::wait_for`].
    #[track_caller]
    pub fn events_when(&mut self, what: &str, condition: impl Fn(&Events) -> bool) -> Events {
        let (mut ended, mut then) = (false, None);
        holds_within(PATIENCE, || {
            let before = self.has_ended();
            let events = lock(&self.events);
            then = condition(&events).then(|| events.clone());
            ended = before && then.is_none();
            then.is_some() || ended
        });
        let state = if ended { "ended" } else { "runs" };
        then.unwrap_or_else(|| panic!("titan {state} without that {what}:\n{}", self.events()))
    }

    /// Waits until some tiles are done and these hosts are in the middle of others.
    ///
    /// # Panics
    /// That never came.
    #[track_caller]
    pub fn wait_until_midway(&mut self, hosts: &[&str]) {
        let what = format!("some tiles are COMPLETED and some RUNNING on {}", hosts.join(", "));
        self.wait_for(&what, |events| hosts.iter().all(|host| events.is_midway_on(host)));
    }

    /// Sends titan a signal.
    ///
    /// # Panics
    /// It has ended already.
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) {
        assert!(!self.has_ended(), "titan ended before it got its signal:\n{}", self.events());
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it is our child and hasn't been waited for");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It doesn't come.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let ended = holds_within(PATIENCE, || self.has_ended());
        assert!(ended, "titan doesn't end:\n{}", self.events());
        let took = self.begun.elapsed();
        let status = self.child.wait().expect("it is our child");
        if let Some(stderr) = self.stderr.take() {
            let _ = stderr.join();
        }
        let stdout = self.stdout.take().and_then(|stdout| stdout.join().ok()).unwrap_or_default();
        let last = stdout.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
        let summary = serde_json::from_slice(last).unwrap_or_default();
        Finished { status, events: self.events(), summary, picture: fs::read(&self.picture).ok(), took }
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// Never: it is our child.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Asserts the exit code.
    ///
    /// # Panics
    /// It is another.
    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Self {
        let signal = self.status.signal();
        assert_eq!(self.status.code(), Some(code), "signal {signal:?}, summary {}\n{}", self.summary, self.events);
        self
    }

    /// Asserts that all went well: exit code 0, each tile COMPLETED once, and the picture is byte for byte the local one.
    ///
    /// # Panics
    /// It didn't.
    #[track_caller]
    pub fn assert_whole(&self) -> &Self {
        self.assert_code(0);
        let mut completed = self.events.completed();
        completed.sort_unstable();
        assert!(completed.iter().copied().eq(0..picture::TILES as u64), "{completed:?}\n{}", self.events);
        assert!(self.picture.as_deref() == Some(picture::local()), "not the same picture:\n{}", self.events);
        self
    }

    /// A host's part of the summary.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn host(&self, name: &str) -> &Value {
        let hosts = self.summary["hosts"].as_array();
        let found = hosts.and_then(|hosts| hosts.iter().find(|host| host["host"] == name));
        found.unwrap_or_else(|| panic!("no host {name} in the summary {}\n{}", self.summary, self.events))
    }

    /// Why a host isn't or wasn't up, and what to do about it, joined.
    ///
    /// # Panics
    /// The host isn't in the summary.
    #[track_caller]
    pub fn trouble(&self, host: &str) -> String {
        let host = self.host(host);
        format!("{}; {}", host["reason"].as_str().unwrap_or_default(), host["hint"].as_str().unwrap_or_default())
    }
}

fn lock(events: &Mutex<Events>) -> MutexGuard<'_, Events> {
    events.lock().unwrap_or_else(PoisonError::into_inner)
}
