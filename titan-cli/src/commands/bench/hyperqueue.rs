//! HyperQueue as its users run it, while it is measured: a server that keeps a journal, and a worker with all cores of this machine.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use super::memory;
use super::runner::{Ran, Runner};
use crate::launch::child::is_program;

/// Its program.
const HQ: &str = "hq";
/// How long it may take to be there, or to end when it was asked to.
const SPAN: Duration = Duration::from_secs(20);
const LOOK_SPAN: Duration = Duration::from_millis(50);

/// Whether it is installed.
pub(super) fn is_installed() -> bool {
    is_program(HQ)
}

/// What runs of it. It ends with this.
pub(super) struct HyperQueue<'r> {
    runner: &'r Runner,
    /// Where its programs meet.
    folder: PathBuf,
    server: Child,
    worker: Option<Child>,
}

impl<'r> HyperQueue<'r> {
    /// A new one, which has nothing to do.
    ///
    /// # Errors
    /// It can't be started, or doesn't come.
    pub(super) fn start(runner: &'r Runner) -> io::Result<Self> {
        let folder = runner.folder().join("hyperqueue");
        fs::create_dir(&folder)?;
        let meets = folder.to_string_lossy().into_owned();
        let journal = folder.join("journal").to_string_lossy().into_owned();
        let server = [HQ, "--server-dir", &meets, "server", "start", "--host", "localhost", "--journal", &journal];
        let mut this = Self { runner, folder, server: runner.spawn(&server)?, worker: None };
        this.wait_for("its server", &["server", "info"], "Server")?;
        this.worker = Some(runner.spawn(&[HQ, "--server-dir", &meets, "worker", "start"])?);
        this.wait_for("its worker", &["worker", "list"], "RUNNING")?;
        Ok(this)
    }

    /// Submits tasks that are numbered from 1, each of which runs that command.
    pub(super) fn submit(&self, options: &[&str], tasks: u32, command: &[&str]) -> io::Result<Ran> {
        let array = format!("1-{tasks}");
        self.ask(&[&["submit", "--array", &array], options, &["--"], command].concat())
    }

    /// Submits one task and waits for its end.
    pub(super) fn submit_one(&self, command: &[&str]) -> io::Result<Ran> {
        self.ask(&[&["submit", "--wait", "--"], command].concat())
    }

    /// The most memory that its server has had so far, in bytes.
    pub(super) fn server_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.id()))?;
        memory::peak_in(&status).ok_or_else(|| io::Error::other("HyperQueue's server has ended"))
    }

    fn ask(&self, words: &[&str]) -> io::Result<Ran> {
        let folder = self.folder.to_string_lossy();
        self.runner.program(&[&[HQ, "--server-dir", &folder], words].concat(), "")
    }

    /// Waits until it answers with that word.
    fn wait_for(&self, what: &str, words: &[&str], word: &str) -> io::Result<()> {
        let until = Instant::now() + SPAN;
        loop {
            let answer = self.ask(words).map(|ran| String::from_utf8_lossy(&ran.stdout).into_owned());
            match answer {
                Ok(answer) if answer.contains(word) => return Ok(()),
                _ if Instant::now() < until => thread::sleep(LOOK_SPAN),
                _ => return Err(io::Error::other(format!("HyperQueue: {what} doesn't come"))),
            }
        }
    }
}

impl Drop for HyperQueue<'_> {
    fn drop(&mut self) {
        // The worker first: it would look for its server.
        for child in self.worker.iter_mut().chain([&mut self.server]) {
            self.runner.end(child, SPAN);
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
