//! Turns a host's entry into a byte stream that reaches an agent. A launcher does nothing else: another kind is one file and
//! one line in [`launcher_for`].
//!
//! # Layout
//! - [`local`], [`ssh`], [`user_ssh`], [`command`]: the kinds.
//! - [`bootstrap`] and `script`: from a shell's stdin and stdout to an agent's, for all kinds that give a shell.
//! - [`binaries`]: which agent is for which target. [`parcel`]: how it is sent.
//! - [`reasons`]: what went wrong, in one line, with the remedy.
//! - [`control`]: ssh's control sockets, and what ends our ssh processes when titan can't.
//! - [`gate`]: how many log in to one sshd at once.

pub(crate) mod binaries;
pub(crate) mod bootstrap;
pub(crate) mod child;
pub(crate) mod command;
mod control;
#[cfg(test)]
mod fuzz;
pub(crate) mod gate;
pub(crate) mod local;
pub(crate) mod parcel;
pub(crate) mod reasons;
pub(crate) mod script;
pub(crate) mod ssh;
pub(crate) mod ssh_options;
pub(crate) mod user_ssh;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::cluster::{Control, Host, Reach, SshOptions};

pub(crate) use binaries::Binaries;
pub(crate) use child::StderrTail;
pub(crate) use control::ControlDirectory;
pub(crate) use gate::{Gates, Place};
pub(crate) use reasons::{Lasting, LaunchError};

/// What launchers share.
#[derive(Debug)]
pub(crate) struct Launching {
    /// The agents that can be sent.
    pub(crate) binaries: Binaries,
    /// Who may log in where.
    pub(crate) gates: Gates,
    /// Where ssh's control sockets are, if any host is reached by ssh.
    pub(crate) control: Option<ControlDirectory>,
    /// How ssh is used.
    pub(crate) ssh: SshOptions,
}

impl Launching {
    /// Where ssh's control sockets are.
    fn control(&self) -> Result<&ControlDirectory, LaunchError> {
        self.control.as_ref().ok_or_else(|| LaunchError::lost("there is no folder for ssh's sockets"))
    }
}

/// A stream that reaches an agent; the agent's hello is the first thing on it.
pub(crate) struct Link {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// What the other end says beside the stream.
    pub(crate) stderr: StderrTail,
    /// Keeps the way open; dropped, it closes it and ends what we started here.
    pub(crate) way: Box<dyn Way>,
    /// How it went, for people.
    pub(crate) story: Story,
}

/// Keeps a link's processes on this machine; dropping it ends them at once.
pub(crate) trait Way: Send {
    /// Waits until the other end has closed. True: its process here came to its own end, and no signal ended it.
    fn closed(&mut self) -> BoxFuture<'_, bool>;
}

/// How a start went.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Story {
    /// From nothing to a shell, where there is one.
    pub(crate) login: Duration,
    /// Bytes of agent that had to be sent; None where there is nothing to send.
    pub(crate) sent_bytes: Option<u64>,
}

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A kind of start.
pub(crate) trait Launcher: Send + Sync {
    /// Starts an agent that is met under that name, or reaches the one that is. Dropping the future leaves nothing of the way there
    /// behind.
    fn launch<'a>(&'a self, launching: &'a Launching, meeting: &'a str) -> BoxFuture<'a, Result<Link, LaunchError>>;

    /// Whether its agents are processes of this machine that we started ourselves.
    fn is_local(&self) -> bool {
        false
    }

    /// Gives a shell on the host, to look around.
    fn shell<'a>(&'a self, launching: &'a Launching) -> BoxFuture<'a, Result<Shell, LaunchError>>;
}

/// A shell's streams, and how long it took to get them.
pub(crate) struct Shell {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) stderr: StderrTail,
    pub(crate) way: Box<dyn Way>,
    /// Zero as long as it isn't known.
    pub(crate) login: Duration,
    pub(crate) begun: Instant,
    /// The place at the gate, where the login is still under way: until the shell says something.
    pub(crate) place: Option<Place>,
    /// What a person would type after `ssh`, where ssh itself may be what fails.
    pub(crate) typed: Option<String>,
}

/// The launcher for a host.
pub(crate) fn launcher_for(host: &Host, options: &SshOptions) -> Arc<dyn Launcher> {
    match &host.reach {
        Reach::Local => Arc::new(local::Local::new(host)),
        Reach::Command(words) => Arc::new(command::Command::new(host, words)),
        Reach::Ssh { .. } if options.control == Control::User => Arc::new(user_ssh::UserSsh::new(host)),
        Reach::Ssh { .. } => Arc::new(ssh::Ssh::new(host)),
    }
}
