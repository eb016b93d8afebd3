//! Which hosts a list means: entries of the cluster file by name, or destinations for ssh; and how many slots each has.

use std::collections::HashSet;

use super::PlaceError;
use super::find::{ClusterFile, Origin};
use crate::config::cluster::{Host, LOCAL_NAME, Reach};
use crate::config::destination::Destination;
use crate::config::hosts_arg::{HostArg, HostsError, THIS_MACHINE};
use crate::config::jobs::{Jobs, Slots};
use crate::config::suggest::nearest;
use crate::config::text::shorten;

/// So many names are told when none is near the one that was asked for.
const NAMES_TOLD: usize = 8;

/// All hosts of a file. `-j` wins over their `slots`.
pub(super) fn whole(file: &ClusterFile, jobs: Option<Jobs>) -> Result<Vec<Host>, PlaceError> {
    if file.cluster.hosts.is_empty() {
        return Err(PlaceError::NoHost { file: file.shown.clone() });
    }
    let hosts = file.cluster.hosts.iter().cloned();
    Ok(hosts.map(|host| with_slots(host, None, jobs)).collect())
}

/// The hosts of a list, in its order. `SLOTS/HOST` wins over `-j`, and that over the file's `slots`.
pub(super) fn listed(
    list: &[HostArg],
    file: Option<&ClusterFile>,
    jobs: Option<Jobs>,
) -> Result<Vec<Host>, PlaceError> {
    let mut names = HashSet::new();
    let mut hosts = Vec::new();
    for written in list {
        let host = meant(&written.host, file)?;
        if !names.insert(host.name.clone()) {
            return Err(HostsError::Twice { host: shorten(&host.name) }.into());
        }
        hosts.push(with_slots(host, written.slots, jobs));
    }
    Ok(hosts)
}

fn with_slots(host: Host, written: Option<u32>, jobs: Option<Jobs>) -> Host {
    let slots = written.map(Slots::Exactly).or(jobs.map(Slots::Jobs)).unwrap_or(host.slots);
    Host { slots, ..host }
}

fn meant(text: &str, file: Option<&ClusterFile>) -> Result<Host, PlaceError> {
    if text == THIS_MACHINE {
        let entry = file.and_then(|file| file.cluster.find_host(LOCAL_NAME)).filter(|host| host.reach == Reach::Local);
        return Ok(entry.cloned().unwrap_or_else(|| Host::new(LOCAL_NAME, Reach::Local)));
    }
    if let Some(entry) = file.and_then(|file| file.cluster.find_host(text)) {
        return Ok(entry.clone());
    }
    let destination = match (Destination::parse(text), file) {
        (Ok(destination), Some(file)) if file.cluster.find_host(&destination.host).is_some() => {
            return entry_with(destination, file);
        }
        (Err(_), Some(file)) if file.origin == Origin::Argument => return Err(unknown(text, file)),
        (Ok(destination), Some(file)) if file.origin == Origin::Argument => {
            return Err(unknown(&destination.host, file));
        }
        (destination, _) => destination.map_err(HostsError::from)?,
    };
    Ok(Host::new(destination.to_string(), Reach::from(destination)))
}

/// The file's entry, with the user and the port that were written in the list.
fn entry_with(destination: Destination, file: &ClusterFile) -> Result<Host, PlaceError> {
    let not_ssh = || PlaceError::NotSsh { name: shorten(&destination.host), file: file.shown.clone() };
    let mut host = file.cluster.find_host(&destination.host).cloned().ok_or_else(not_ssh)?;
    let Reach::Ssh { user, port, .. } = &mut host.reach else { return Err(not_ssh()) };
    *user = destination.user.or(user.take());
    *port = destination.port.or(*port);
    Ok(host)
}

fn unknown(name: &str, file: &ClusterFile) -> PlaceError {
    let remedy = match nearest(name, file.cluster.names()) {
        Some(near) => format!("hint: did you mean '{}'?", shorten(near)),
        None => {
            let told: Vec<_> = file.cluster.names().take(NAMES_TOLD).map(shorten).collect();
            let more = if file.cluster.hosts.len() > NAMES_TOLD { ", …" } else { "" };
            format!("hint: its hosts are {}{more}", told.join(", "))
        }
    };
    PlaceError::UnknownHost { name: shorten(name), file: file.shown.clone(), remedy }
}
