//! A titan that runs: what it says meanwhile, how it is told to end, and how it ended.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::PATIENCE;
use crate::rig::wait::holds_within;

/// A titan that runs longer than this hangs.
const LONGEST: Duration = Duration::from_secs(60);

/// A running titan, or another program. Killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Reader,
    stderr: Reader,
}

/// Reads one stream to its end.
#[derive(Debug)]
struct Reader {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(stream: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&bytes);
        let thread = stream.map(|mut stream| {
            thread::spawn(move || {
                let mut buffer = [0; 64 << 10];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    kept.lock().expect("no reader panics").extend_from_slice(&buffer[..length]);
                }
            })
        });
        Self { bytes, thread }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().expect("no reader panics").clone()
    }

    /// All that was read. What a process that was left behind keeps open isn't waited for.
    fn all(&mut self) -> Vec<u8> {
        if let Some(thread) = &self.thread {
            holds_within(Duration::from_secs(2), || thread.is_finished());
        }
        self.so_far()
    }
}

impl Running {
    /// Starts it. Streams that the command doesn't lead elsewhere are read.
    ///
    /// # Panics
    /// It can't be started.
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self::of(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Starts it with stdout where the command leads it.
    ///
    /// # Panics
    /// It can't be started.
    pub fn start_with_stdout(command: &mut Command, stdout: impl Into<Stdio>) -> Self {
        let child = command.stdout(stdout).stderr(Stdio::piped()).spawn();
        Self::of(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    fn of(mut child: Child) -> Self {
        let (stdout, stderr) = (Reader::start(child.stdout.take()), Reader::start(child.stderr.take()));
        Self { child, stdout, stderr }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said on stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.so_far()).into_owned()
    }

    /// Waits until its stderr holds this text.
    ///
    /// # Panics
    /// It doesn't.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let said = holds_within(PATIENCE, || self.stderr().contains(text) || self.has_ended());
        assert!(said && self.stderr().contains(text), "'{text}' isn't in: {}", self.stderr());
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// It has ended before.
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) {
        assert!(!self.has_ended(), "it has ended before the signal: {}", self.stderr());
        send_signal(self.pid(), signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It hangs.
    #[track_caller]
    pub fn wait(mut self) -> Outcome {
        let ended = holds_within(LONGEST, || self.has_ended());
        assert!(ended, "it hangs after {LONGEST:?}: {}", self.stderr());
        let status = self.child.wait().expect("it has ended");
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or_default());
        let stderr = String::from_utf8_lossy(&self.stderr.all()).into_owned();
        Outcome { code, stdout: self.stdout.all(), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Signals a process; one that has ended meanwhile is no error.
pub fn send_signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = kill_process(pid, signal);
    }
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code; negative: the signal that killed it.
    pub code: i32,
    /// All of stdout.
    pub stdout: Vec<u8>,
    /// All of stderr.
    pub stderr: String,
}

impl Outcome {
    /// Itself, with this exit code.
    ///
    /// # Panics
    /// It ended otherwise.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.text(), self.stderr);
        self
    }

    /// stdout as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// stdout as JSON, one object a line.
    ///
    /// # Panics
    /// A line is no JSON.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let object = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.text().lines().map(object).collect()
    }

    /// The only object on stdout.
    ///
    /// # Panics
    /// There isn't exactly one.
    #[track_caller]
    pub fn one_object(&self) -> Value {
        let mut objects = self.json();
        assert_eq!(objects.len(), 1, "{}", self.text());
        objects.remove(0)
    }

    /// titan was told to end, and its last line says so, and how to go on.
    ///
    /// # Panics
    /// It doesn't.
    #[track_caller]
    pub fn assert_interrupted(&self, done: &str) {
        let beginning = format!("interrupted: {done} done; continue with: titan resume ");
        let id = self.last_line().strip_prefix(&beginning);
        assert!(id.is_some_and(|id| id.len() == 4), "{}", self.stderr);
    }

    /// The last line of stderr.
    pub fn last_line(&self) -> &str {
        self.stderr.lines().next_back().unwrap_or_default()
    }
}
