//! Runs titan and other programs as a user would, in a folder of its own that goes afterwards.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::memory::Memory;

/// What runs programs.
#[derive(Debug)]
pub(super) struct Runner {
    titan: PathBuf,
    folder: PathBuf,
    lasting: Lasting,
}

/// Programs that run on while others are measured, for whoever ends a measurement before its time.
#[derive(Debug, Clone, Default)]
pub(super) struct Lasting(Arc<Mutex<Vec<Pid>>>);

impl Lasting {
    /// Ends them.
    pub(super) fn end(&self) {
        for pid in self.lock().drain(..) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a program that ended well has said, and how long it took.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) seconds: f64,
    pub(super) stdout: Vec<u8>,
}

/// What a program that ended well took, whatever it wrote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drained {
    /// From its start to its first byte, or its end.
    pub(super) first: f64,
    pub(super) seconds: f64,
    pub(super) peak_bytes: u64,
}

/// What a titan that was stopped has come to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopped {
    /// The most memory that it had at any moment.
    pub(super) peak_bytes: u64,
    /// Tasks that are COMPLETED.
    pub(super) completed: u64,
}

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;
/// Whoever waits for something looks this often.
const LOOK_SPAN: Duration = Duration::from_millis(20);

impl Runner {
    /// With a new folder for batches and pictures.
    ///
    /// # Errors
    /// It can't be made.
    pub(super) fn new() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("titan-bench-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self { titan: std::env::current_exe()?, folder, lasting: Lasting::default() })
    }

    /// Where files may be put.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// titan itself, with all of it on this machine.
    pub(super) fn titan(&self, words: &[&str], stdin: &str) -> io::Result<Ran> {
        let mut command = Command::new(&self.titan);
        command.args(words).env_remove("TITAN_CLUSTER");
        self.run(command, stdin)
    }

    /// A batch of titan's; its summary.
    pub(super) fn summary(&self, words: &[&str]) -> io::Result<(Ran, Value)> {
        let batches = self.batches();
        let mut all = words.to_vec();
        let batches = batches.to_string_lossy();
        all.extend(["--local", "--json", "--batch-dir", &batches]);
        let ran = self.titan(&all, "")?;
        let summary = serde_json::from_slice(&ran.stdout).map_err(io::Error::other)?;
        Ok((ran, summary))
    }

    /// `titan map` of a command.
    pub(super) fn map(&self, command: &[&str], stdin: &str) -> io::Result<Ran> {
        let batches = self.batches();
        let batches = batches.to_string_lossy();
        let mut words = vec!["map", "--local", "--batch-dir", &batches, "--"];
        words.extend(command);
        self.titan(&words, stdin)
    }

    /// Another program.
    pub(super) fn program(&self, words: &[&str], stdin: &str) -> io::Result<Ran> {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        self.run(command, stdin)
    }

    /// Starts a program that runs on.
    pub(super) fn spawn(&self, words: &[&str]) -> io::Result<Child> {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Held while it starts: whoever ends all of them ends it too.
        let mut lasting = self.lasting.lock();
        let child = command.spawn().map_err(|error| named(words[0].as_ref(), &error))?;
        lasting.push(Pid::from_child(&child));
        Ok(child)
    }

    /// Ends such a program, within that span.
    pub(super) fn end(&self, child: &mut Child, span: Duration) {
        let pid = Pid::from_child(child);
        let _ = kill_process(pid, Signal::TERM);
        let until = Instant::now() + span;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(LOOK_SPAN);
        }
        // Nobody else may end what is waited for now: its number could be another's.
        self.lasting.lock().retain(|lasting| *lasting != pid);
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Those that run.
    pub(super) fn lasting(&self) -> Lasting {
        self.lasting.clone()
    }

    /// titan until it says that on stderr, and is stopped then: how long that took.
    pub(super) fn until_said(&self, words: &[&str], what: &str) -> io::Result<f64> {
        let start = Instant::now();
        let mut child = self.batch(words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut last = String::new();
        let mut is_it = |line: String| {
            last = line;
            last.contains(what)
        };
        let said = lines.by_ref().map_while(Result::ok).any(&mut is_it);
        let seconds = start.elapsed().as_secs_f64();
        kill_process(Pid::from_child(&child), Signal::TERM)?;
        // What it says while it stops is read, or it would wait for that.
        lines.for_each(drop);
        child.wait()?;
        said.then_some(seconds)
            .ok_or_else(|| io::Error::other(format!("titan {} never began: {last}", words.join(" "))))
    }

    /// titan until that holds, and is stopped then, or until its batch is over.
    pub(super) fn until(&self, words: &[&str], holds: impl Fn() -> bool) -> io::Result<Stopped> {
        let mut child =
            self.batch(&[words, &["--json"]].concat()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let pid = Pid::from_child(&child);
        let memory = Memory::watch(&child);
        let completed = thread::scope(|scope| {
            let ended = scope.spawn(move || Self::ended(&mut child));
            while !ended.is_finished() {
                if holds() {
                    kill_process(pid, Signal::TERM)?;
                    break;
                }
                thread::sleep(LOOK_SPAN);
            }
            ended.join().expect("it only waits")
        })?;
        Ok(Stopped { peak_bytes: memory.peak_bytes(), completed })
    }

    /// The tasks that are COMPLETED when it ends.
    fn ended(child: &mut Child) -> io::Result<u64> {
        let mut text = Vec::new();
        child.stdout.take().expect("it is piped").read_to_end(&mut text)?;
        child.wait()?;
        let summary: Value = serde_json::from_slice(&text).map_err(io::Error::other)?;
        Ok(summary["tasks"]["completed"].as_u64().unwrap_or(0))
    }

    /// titan's own executable.
    pub(super) fn titan_file(&self) -> &Path {
        &self.titan
    }

    /// A titan that keeps its batch in the runner's folder.
    pub(super) fn batch(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.titan);
        let (name, rest) = words.split_first().expect("a titan is told what to do");
        command.arg(name).arg("--batch-dir").arg(self.batches()).args(rest).env_remove("TITAN_CLUSTER");
        command.current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    fn batches(&self) -> PathBuf {
        self.folder.join("batches")
    }

    /// The journal of the only batch.
    pub(super) fn journal(&self) -> Option<PathBuf> {
        let batches = fs::read_dir(self.batches()).ok()?.flatten();
        batches.map(|batch| batch.path().join("journal")).find(|journal| journal.exists())
    }

    /// Removes all batches.
    pub(super) fn forget_batches(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.batches()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Runs a program to its end and forgets what it writes.
    pub(super) fn drain(&self, command: &mut Command) -> io::Result<Drained> {
        let name = command.get_program().to_owned();
        let start = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let memory = Memory::watch(&child);
        let (mut stdout, mut stderr) = (child.stdout.take().expect("it is piped"), child.stderr.take());
        // Its own thread: the other stream may be long.
        let listener = thread::spawn(move || {
            let mut said = Vec::new();
            stderr.as_mut().map(|stream| stream.read_to_end(&mut said));
            said
        });
        let (mut buffer, mut first) = (vec![0; READ_BYTES], None);
        while stdout.read(&mut buffer)? > 0 {
            first.get_or_insert_with(|| start.elapsed());
        }
        let status = child.wait()?;
        let seconds = start.elapsed().as_secs_f64();
        let said = listener.join().expect("it only reads");
        check(&name, status, &said)?;
        let first = first.map_or(seconds, |first| first.as_secs_f64());
        Ok(Drained { first, seconds, peak_bytes: memory.peak_bytes() })
    }

    fn run(&self, mut command: Command, stdin: &str) -> io::Result<Ran> {
        let name = command.get_program().to_owned();
        command.current_dir(&self.folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().map_err(|error| named(&name, &error))?;
        let mut input = child.stdin.take().expect("it is piped");
        let text = stdin.to_owned();
        // Its own thread: what is written may be more than a pipe takes before something is read.
        let writer = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
        let output = child.wait_with_output()?;
        let seconds = start.elapsed().as_secs_f64();
        let _ = writer.join();
        check(&name, output.status, &output.stderr)?;
        Ok(Ran { seconds, stdout: output.stdout })
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Whether it ended well; otherwise the last that it said is why.
fn check(program: &OsStr, status: ExitStatus, said: &[u8]) -> io::Result<()> {
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(said);
    let last = said.lines().last().unwrap_or("it said nothing");
    Err(named(program, &io::Error::other(format!("{status}: {last}"))))
}

fn named(program: &OsStr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", program.to_string_lossy()))
}
