//! The person's own ssh master: plain `ssh`, which joins a connection that they opened, and so needs no password or second
//! factor of its own.

use super::bootstrap::{self, Requirements};
use super::ssh::SHELL_COMMAND;
use super::ssh_options::{Destination, SSH};
use super::{BoxFuture, LaunchError, Launcher, Launching, Link, Shell, child};
use crate::config::cluster::Host;

/// A host that is reached by plain ssh.
pub(crate) struct UserSsh {
    destination: Destination,
    requirements: Requirements,
}

impl UserSsh {
    pub(crate) fn new(host: &Host) -> Self {
        Self { destination: Destination::of(host), requirements: Requirements::of(host) }
    }

    async fn open(&self, launching: &Launching) -> Result<Shell, LaunchError> {
        let config = self.destination.user_config(&launching.ssh).await?;
        let place = launching.gates.enter(&config.gate(), launching.ssh.max_logins).await;
        let mut command = child::detached(SSH);
        command.arg("-T").args(["-o", &format!("StrictHostKeyChecking={}", config.host_key_checking())]);
        command.args(self.destination.arguments(&launching.ssh)).arg(SHELL_COMMAND);
        let shell = child::spawn_noted(command, SSH, launching.control()?)?;
        Ok(Shell { place: Some(place), typed: Some(self.destination.typed()), ..shell })
    }
}

impl Launcher for UserSsh {
    fn launch<'a>(&'a self, launching: &'a Launching, meeting: &'a str) -> BoxFuture<'a, Result<Link, LaunchError>> {
        Box::pin(bootstrap::start_agent(self.open(launching), &self.requirements, launching, meeting))
    }

    fn shell<'a>(&'a self, launching: &'a Launching) -> BoxFuture<'a, Result<Shell, LaunchError>> {
        Box::pin(self.open(launching))
    }
}
