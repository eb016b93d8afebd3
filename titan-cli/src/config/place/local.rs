//! `--local [N]`: agents on this machine that divide its cores.

use super::PlaceError;
use crate::config::cluster::{Host, LOCAL_NAME, Reach};
use crate::config::jobs::{Jobs, Slots};

/// The most agents on this machine: each is a process with pipes of its own.
pub(super) const MOST_AGENTS: u32 = 1024;

/// The agents on this machine: one with all cores, or `count` that divide them.
pub(super) fn agents(count: Option<u32>, jobs: Option<Jobs>, cores: u32) -> Result<Vec<Host>, PlaceError> {
    let Some(count) = count else {
        return Ok(vec![agent(LOCAL_NAME.to_owned(), jobs.map_or(Slots::Cores, Slots::Jobs))]);
    };
    if !(1..=MOST_AGENTS).contains(&count) {
        return Err(PlaceError::Agents { agents: count });
    }
    // An agent sees all cores of the machine, so its share has to be counted out here.
    let share = (cores / count).max(1);
    let slots = Slots::Exactly(jobs.map_or(share, |jobs| jobs.resolve(share)));
    if count == 1 {
        return Ok(vec![agent(LOCAL_NAME.to_owned(), slots)]);
    }
    Ok((1..=count).map(|number| agent(format!("local-{number}"), slots)).collect())
}

fn agent(name: String, slots: Slots) -> Host {
    Host { slots, ..Host::new(name, Reach::Local) }
}

/// Reads the number of `--local=N`. The error completes a sentence that begins with the value.
pub(crate) fn parse_local(text: &str) -> Result<u32, String> {
    if text.is_empty() || !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(
            "isn't a number of agents: write --local=N, or put the kernel first (titan run KERNEL --local), or for map: --local -- COMMAND".to_owned()
        );
    }
    let count = text.parse().ok().filter(|count| (1..=MOST_AGENTS).contains(count));
    count.ok_or_else(|| format!("isn't from 1 to {MOST_AGENTS} agents"))
}
