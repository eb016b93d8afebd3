//! Runs titan and other programs as a user would, in a folder of its own that goes afterwards.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

/// What runs programs.
#[derive(Debug)]
pub(super) struct Runner {
    titan: PathBuf,
    folder: PathBuf,
}

/// What a program that ended well has said, and how long it took.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) seconds: f64,
    pub(super) stdout: Vec<u8>,
}

impl Runner {
    /// With a new folder for batches and pictures.
    ///
    /// # Errors
    /// It can't be made.
    pub(super) fn new() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("titan-bench-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self { titan: std::env::current_exe()?, folder })
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
        let batches = self.folder.join("batches");
        let mut all = words.to_vec();
        let batches = batches.to_string_lossy();
        all.extend(["--local", "--json", "--batch-dir", &batches]);
        let ran = self.titan(&all, "")?;
        let summary = serde_json::from_slice(&ran.stdout).map_err(io::Error::other)?;
        Ok((ran, summary))
    }

    /// `titan map` of a command.
    pub(super) fn map(&self, command: &[&str], stdin: &str) -> io::Result<Ran> {
        let batches = self.folder.join("batches");
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
        if output.status.success() {
            return Ok(Ran { seconds, stdout: output.stdout });
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or("it said nothing");
        Err(named(&name, &io::Error::other(format!("{}: {last}", output.status))))
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn named(program: &OsStr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", program.to_string_lossy()))
}
