//! Where a command runs: on which hosts, and with which schedule.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::args::{PlaceOptions, ScheduleOptions};
use crate::batch::start::Start;
use crate::config::cluster::{Cluster, Scheduler};
use crate::config::jobs::Slots;
use crate::config::place::{Origin, Place, Surroundings};
use crate::exit::{self, Failure};
use crate::state::specification::Specification;

/// Where a command runs that is no batch.
pub(super) fn resolve_place(options: &PlaceOptions) -> Result<Place, Failure> {
    place_in(options, &surroundings()?)
}

/// Where a batch runs: one that is gone on with, where it ran before, unless it was said anew.
pub(super) fn resolve_start(options: &PlaceOptions, start: &mut Start) -> Result<Place, Failure> {
    if let Some(place) = start.take_place() {
        return Ok(place);
    }
    match start.recorded() {
        Some(recorded) => resolve_recorded(options, recorded),
        None => place_in(options, &surroundings()?),
    }
}

/// Where a batch ran when it was begun.
pub(super) fn resolve_recorded(options: &PlaceOptions, recorded: &Specification) -> Result<Place, Failure> {
    let found = recorded.cluster.as_ref();
    let found = found.map(|(path, origin)| (PathBuf::from(OsStr::from_bytes(path)), *origin));
    place_in(options, &Surroundings { found_before: Some(found), ..surroundings()? })
}

fn surroundings() -> Result<Surroundings, Failure> {
    Surroundings::of_this_process()
        .map_err(|error| Failure::plain(exit::USAGE, format!("the current directory can't be found: {error}")))
}

fn place_in(options: &PlaceOptions, surroundings: &Surroundings) -> Result<Place, Failure> {
    Place::resolve(&options.to_place_args(), surroundings).map_err(|error| Failure::complete(exit::USAGE, error))
}

/// A cluster file that was found, as it is kept for whoever goes on with the batch.
pub(super) fn recorded(found: Option<(PathBuf, Origin)>) -> Option<(Vec<u8>, Origin)> {
    found.map(|(path, origin)| (path.into_os_string().into_vec(), origin))
}

pub(super) fn override_schedule(scheduler: &mut Scheduler, options: &ScheduleOptions) -> Result<(), Failure> {
    scheduler.policy = options.policy.unwrap_or(scheduler.policy);
    scheduler.heartbeat = options.heartbeat.unwrap_or(scheduler.heartbeat);
    scheduler.unhealthy_after = options.unhealthy_after.unwrap_or(scheduler.unhealthy_after);
    scheduler.lease = options.lease.unwrap_or(scheduler.lease);
    scheduler.wait_for_hosts = options.wait_for_hosts.or(scheduler.wait_for_hosts);
    scheduler.quarantine = options.quarantine.unwrap_or(scheduler.quarantine);
    scheduler.retries = options.retries.or(scheduler.retries);
    scheduler.speculates = options.speculate.unwrap_or(scheduler.speculates);
    scheduler.check().map_err(|error| Failure::hinted(exit::USAGE, &error, error.remedy()))
}

/// A line on stderr for each host.
pub(super) fn show_slots(cluster: &Cluster) {
    for host in &cluster.hosts {
        let slots = match host.slots {
            Slots::Cores => "as many slots as cores".to_owned(),
            Slots::Exactly(1) => "1 slot".to_owned(),
            Slots::Exactly(slots) => format!("{slots} slots"),
            Slots::Jobs(jobs) => format!("slots: {jobs}"),
        };
        crate::tell::to_stderr(&format!("  {}: {slots}", crate::config::text::printable(&host.name)));
    }
}
