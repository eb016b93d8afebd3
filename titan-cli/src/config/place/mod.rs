//! Where a command runs: the one module in which arguments, the environment and cluster files become hosts.
//!
//! Everything that isn't an argument of titan comes in as [`Surroundings`]: the same input gives the same place.

mod choose;
mod find;
mod local;
mod source;
mod surroundings;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::PathBuf;

pub(crate) use local::parse_local;
pub(crate) use source::PlaceSource;
pub(crate) use surroundings::Surroundings;

use super::cluster::{Cluster, Host};
use super::hosts_arg::{HostsError, parse_hosts};
use super::jobs::Jobs;
use super::toml_file::ConfigError;
use find::ClusterFile;
pub(crate) use find::Origin;
use local::MOST_AGENTS;

/// What was typed about where to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlaceArgs {
    /// `--cluster FILE`.
    pub(crate) cluster: Option<PathBuf>,
    /// `--hosts LIST`, each time that it was given.
    pub(crate) hosts: Vec<String>,
    /// `--local`, with or without a number of agents.
    pub(crate) local: Option<Option<u32>>,
    /// `--jobs`.
    pub(crate) jobs: Option<Jobs>,
}

/// Where a command runs.
#[derive(Debug)]
pub(crate) struct Place {
    /// What was taken, for the first line on stderr.
    pub(crate) source: PlaceSource,
    /// At least one host, and how work is given to them.
    pub(crate) cluster: Cluster,
    /// The cluster file that was found, where nobody named one.
    pub(crate) found: Option<(PathBuf, Origin)>,
}

/// Why there is no place to run. Its text is complete: it begins with `error: ` and ends without a newline.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// A cluster file isn't as it should be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `--hosts` isn't as it should be.
    #[error("error: {0}")]
    Hosts(#[from] HostsError),
    /// `--hosts` selects from a file in which there is no such host.
    #[error("error: no host '{name}' in {file} ({remedy})")]
    UnknownHost {
        /// What was asked for.
        name: String,
        /// The file, as it was named.
        file: String,
        /// The near miss, or the names that there are.
        remedy: String,
    },
    /// A user or a port was given for a host of the file to which ssh doesn't lead.
    #[error("error: '{name}' in {file} isn't reached by ssh (hint: leave out user and port)")]
    NotSsh {
        /// The host's name.
        name: String,
        /// The file, as it was named.
        file: String,
    },
    /// The cluster file has no host.
    #[error("error: {file} has no host (hint: add a [[host]] with ssh = \"alias\", or run with --local)")]
    NoHost {
        /// The file, as it was named.
        file: String,
    },
    /// `--local` gives a name that a host already has.
    #[error("error: '{name}' is given twice, once by --local (hint: leave one out)")]
    LocalTwice {
        /// The name.
        name: String,
    },
    /// `--local=0`, or more agents than this machine could bear.
    #[error("error: --local={agents} can't be (hint: write a number of agents from 1 to {MOST_AGENTS})")]
    Agents {
        /// What was asked for.
        agents: u32,
    },
}

impl Place {
    /// Decides where to run. Reads at most one cluster file, and contacts no host.
    pub(crate) fn resolve(args: &PlaceArgs, surroundings: &Surroundings) -> Result<Self, PlaceError> {
        let list = parse_hosts(&args.hosts)?;
        let mut agents = match args.local {
            Some(count) => local::agents(count, args.jobs, surroundings.cores)?,
            None => Vec::new(),
        };
        let only_local = args.cluster.is_none() && list.is_empty() && args.local.is_some();
        let file = if only_local { None } else { ClusterFile::find(args.cluster.as_deref(), surroundings)? };

        let chosen = match &file {
            Some(file) if list.is_empty() => choose::whole(file, args.jobs)?,
            file => choose::listed(&list, file.as_ref(), args.jobs)?,
        };
        if chosen.is_empty() && args.local.is_none() {
            agents = local::agents(None, args.jobs, surroundings.cores)?;
        }
        let source = PlaceSource::of(args, &chosen, file.as_ref(), agents.len());
        let hosts = with_agents(chosen, agents)?;
        let found = file.as_ref().filter(|file| file.origin != Origin::Argument);
        let found = found.map(|file| (file.path.clone(), file.origin));
        let settings = file.map(|file| file.cluster).unwrap_or_default();
        Ok(Self { source, cluster: Cluster { hosts, ..settings }, found })
    }
}

fn with_agents(mut hosts: Vec<Host>, agents: Vec<Host>) -> Result<Vec<Host>, PlaceError> {
    let names: HashSet<_> = hosts.iter().map(|host| host.name.as_str()).collect();
    if let Some(twice) = agents.iter().find(|agent| names.contains(agent.name.as_str())) {
        return Err(PlaceError::LocalTwice { name: twice.name.clone() });
    }
    hosts.extend(agents);
    Ok(hosts)
}
