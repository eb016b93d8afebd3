//! A script that holds namespaces for as long as a pipe from the test is open.

use super::environment::write;
use super::tools;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// The process that keeps the namespaces of the laptop or of one host alive.
///
/// Its stdin is the lifeline: at its end, and so also when the test is killed, the script ends and takes everything in
/// the namespaces with it.
pub(super) struct Holder {
    child: Child,
    lifeline: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Holder {
    /// Starts `script` in namespaces of its own; `dir` is for the script and what it says on stderr.
    pub(super) fn start(unshare: &[&str], script: &str, environment: &[(&str, String)], dir: &Path) -> Self {
        let (file, log) = (dir.join("start.sh"), dir.join("start.log"));
        write(&file, script);
        let stderr = File::create(&log).expect("the rig's folder can be written");
        let mut child = tools::clean_command("unshare")
            .args(unshare)
            .arg("sh")
            .arg(file)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("available() has run unshare before");
        let lifeline = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self { child, lifeline, lines, log }
    }

    /// The pid of the program that was started: the script itself, unless unshare forks.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The script's next line.
    ///
    /// # Panics
    /// When the script ended instead; the message holds what it said on stderr.
    pub(super) fn next_line(&mut self) -> String {
        let mut line = String::new();
        let length = self.lines.read_line(&mut line).unwrap_or(0);
        if length == 0 {
            panic!("cannot start a part of the rig: {}", fs::read_to_string(&self.log).unwrap_or_default());
        }
        line.trim_end().to_owned()
    }

    /// Waits until the script has set everything up.
    pub(super) fn wait_ready(&mut self) {
        let line = self.next_line();
        assert_eq!(line, "ready", "the script says when it is ready");
    }

    /// Lets go of the lifeline without waiting for what that ends.
    pub(super) fn hang_up(&mut self) {
        self.lifeline = None;
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.hang_up();
        let _ = self.child.wait();
    }
}
