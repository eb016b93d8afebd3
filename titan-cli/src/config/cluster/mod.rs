//! The cluster file: which machines there are, how each is reached, and how work is given to them.
//!
//! Owns the meaning of every key and its default. Which file is taken, and which of its hosts, is the affair of
//! [`place`](super::place); reaching a host is the launchers'.

#[cfg(test)]
mod example;
mod file;
#[cfg(test)]
mod fuzz;
mod host;
mod paths;
#[cfg(test)]
mod refusals;
mod scheduler;
mod ssh;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub(crate) use scheduler::{Scheduler, parse_policy, parse_speculate};
pub(crate) use ssh::{Control, SshOptions};
pub(crate) use state::StateOptions;

use super::destination::Destination;
use super::jobs::Slots;

/// What this machine is called where nothing else was written.
pub(crate) const LOCAL_NAME: &str = "localhost";

/// What a cluster file means: valid in itself, with all defaults filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// The hosts in the order in which they were written, each with a name of its own. May be empty.
    pub(crate) hosts: Vec<Host>,
    /// How work is given out.
    pub(crate) scheduler: Scheduler,
    /// How ssh is used, for every host that is reached by it.
    pub(crate) ssh: SshOptions,
    /// What is kept of batches that are over.
    pub(crate) state: StateOptions,
}

impl Cluster {
    /// The host of that name.
    pub(crate) fn find_host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// The names of all hosts, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| host.name.as_str())
    }

    /// The part of this machine's memory that each of its agents may count on.
    pub(crate) fn local_share_bytes(&self) -> u64 {
        let agents = self.hosts.iter().filter(|host| host.reach == Reach::Local).count() as u64;
        titan_agent::machine::memory_bytes() / agents.max(1)
    }
}

/// One machine, or one agent on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// The name in messages and in `--hosts`; no two hosts of a cluster share one.
    pub(crate) name: String,
    /// How its agent is reached.
    pub(crate) reach: Reach,
    /// How many tasks it runs at once.
    pub(crate) slots: Slots,
    /// How much memory its tasks may ask for, in bytes; otherwise what the agent finds.
    pub(crate) memory: Option<u64>,
    /// Counted resources of which tasks can ask for some, by name: GPUs, licences.
    pub(crate) resources: BTreeMap<String, u32>,
    /// What `--where` can ask for: `audio`, `site=lab`.
    pub(crate) labels: Vec<String>,
    /// Variables for its tasks, the file's defaults included.
    pub(crate) env: BTreeMap<String, String>,
    /// Run once under `sh` before its first task; what it leaves in the environment is the tasks'.
    pub(crate) setup: Option<String>,
    /// The agent's executable, on this machine, if the built-in one isn't right for that host.
    pub(crate) agent: Option<PathBuf>,
    /// Where tasks run, on that host.
    pub(crate) workdir: Option<PathBuf>,
}

impl Host {
    /// A host about which nothing is known but how it is reached.
    pub(crate) fn new(name: impl Into<String>, reach: Reach) -> Self {
        Self {
            name: name.into(),
            reach,
            slots: Slots::Cores,
            memory: None,
            resources: BTreeMap::new(),
            labels: Vec::new(),
            env: BTreeMap::new(),
            setup: None,
            agent: None,
            workdir: None,
        }
    }
}

/// How an agent is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It is started on this machine.
    Local,
    /// By ssh. What isn't said here, the user's own ssh config decides.
    Ssh {
        /// A name that ssh knows, or an address (IPv6 without brackets); never begins with `-`.
        destination: String,
        /// The user to log in as.
        user: Option<String>,
        /// The port.
        port: Option<u16>,
    },
    /// By a command that gives a shell on its stdin; at least one word.
    Command(Vec<String>),
}

impl From<Destination> for Reach {
    fn from(destination: Destination) -> Self {
        Self::Ssh { destination: destination.host, user: destination.user, port: destination.port }
    }
}

/// How a cluster file came to be used, which decides what it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The user named it, or it is the user's own: it may say everything.
    Named,
    /// It happened to lie in the current directory: it may not make this machine run or send anything.
    Found,
}

impl Trust {
    /// The remedy for a key that only a named file may hold.
    const REMEDY: &'static str = "to trust this file, name it: --cluster ./cluster.toml";
}
