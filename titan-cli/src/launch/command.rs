//! Any command that gives a shell on its stdin: `docker exec -i c1 sh`, `kubectl exec -i pod -- sh`.

use tokio::process;

use super::bootstrap::{self, Requirements};
use super::{BoxFuture, LaunchError, Launcher, Launching, Link, Shell, child};
use crate::config::cluster::Host;

/// Starts a command and bootstraps over it exactly as over ssh.
pub(crate) struct Command {
    words: Vec<String>,
    requirements: Requirements,
}

impl Command {
    pub(crate) fn new(host: &Host, words: &[String]) -> Self {
        Self { words: words.to_vec(), requirements: Requirements::of(host) }
    }

    fn start(&self) -> Result<Shell, LaunchError> {
        let mut command = process::Command::new(&self.words[0]);
        command.args(&self.words[1..]).process_group(0);
        child::spawn(command, &self.words[0])
    }
}

impl Launcher for Command {
    fn launch<'a>(&'a self, launching: &'a Launching, meeting: &'a str) -> BoxFuture<'a, Result<Link, LaunchError>> {
        Box::pin(bootstrap::start_agent(async { self.start() }, &self.requirements, launching, meeting))
    }

    fn shell<'a>(&'a self, _launching: &'a Launching) -> BoxFuture<'a, Result<Shell, LaunchError>> {
        Box::pin(async { self.start() })
    }
}
