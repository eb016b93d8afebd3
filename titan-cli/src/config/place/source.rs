//! The first line on stderr: what decided where a command runs.

use std::fmt;

use super::PlaceArgs;
use super::find::{ClusterFile, Origin};
use crate::config::cluster::Host;

/// What decided where a command runs. Shown as a whole line: `hosts: ./cluster.toml (3 hosts)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlaceSource {
    /// Nothing was said and nothing found, so one agent on this machine.
    Default,
    /// `--local`.
    Local {
        /// How many agents.
        agents: usize,
    },
    /// All hosts of a cluster file.
    File {
        /// The file, and what led to it.
        file: String,
        /// How many hosts.
        hosts: usize,
        /// How many agents `--local` added.
        agents: usize,
    },
    /// `--hosts`.
    List {
        /// How many hosts.
        hosts: usize,
        /// The file whose settings hold, what led to it, and how many of the hosts are its.
        file: Option<(String, usize)>,
        /// How many agents `--local` added.
        agents: usize,
    },
}

impl PlaceSource {
    pub(super) fn of(args: &PlaceArgs, chosen: &[Host], file: Option<&ClusterFile>, agents: usize) -> Self {
        let hosts = chosen.len();
        match file {
            None if hosts == 0 && args.local.is_none() => Self::Default,
            None if hosts == 0 => Self::Local { agents },
            None => Self::List { hosts, file: None, agents },
            Some(file) if args.hosts.is_empty() => Self::File { file: file_words(file), hosts, agents },
            Some(file) => {
                let named = chosen.iter().filter(|host| file.cluster.find_host(&host.name).is_some()).count();
                Self::List { hosts, file: Some((file_words(file), named)), agents }
            }
        }
    }
}

fn file_words(file: &ClusterFile) -> String {
    match file.origin {
        Origin::Environment => format!("{} from $TITAN_CLUSTER", file.shown),
        Origin::Argument | Origin::CurrentDirectory | Origin::UserConfig => file.shown.clone(),
    }
}

impl fmt::Display for PlaceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hosts: ")?;
        match self {
            Self::Default => f.write_str("this machine (no cluster file, no --hosts)"),
            Self::Local { agents } => f.write_str(&count(*agents, "local agent")),
            Self::File { file, hosts, agents } => {
                write!(f, "{file} ({})", count(*hosts, "host"))?;
                write_agents(f, *agents)
            }
            Self::List { hosts, file, agents } => {
                write!(f, "--hosts ({}", count(*hosts, "host"))?;
                match file {
                    Some((file, 0)) => write!(f, "; settings of {file})")?,
                    Some((file, named)) if named == hosts => write!(f, " of {file})")?,
                    Some((file, named)) => write!(f, ", {named} of {file})")?,
                    None => f.write_str(")")?,
                }
                write_agents(f, *agents)
            }
        }
    }
}

fn write_agents(f: &mut fmt::Formatter<'_>, agents: usize) -> fmt::Result {
    if agents == 0 { Ok(()) } else { write!(f, " and {}", count(agents, "local agent")) }
}

fn count(number: usize, word: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {word}{plural}")
}
