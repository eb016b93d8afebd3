//! `--dry-run`: the commands, one a line, as they could be pasted into sh; no host is contacted and nothing is written.

use super::template::Asked;
use crate::config::cluster::Cluster;
use crate::exit::{self, Failure};

/// Shows hosts, slots and tasks.
pub(super) fn dry_run(asked: Asked, source: &str, cluster: &Cluster) -> Result<u8, Failure> {
    crate::progress::to_stderr(&format!("titan: {source}"));
    crate::commands::run::show_slots(cluster);
    let mut tasks = 0_u64;
    for values in asked.values {
        let values = values.map_err(|reason| Failure::plain(exit::USAGE, reason))?;
        tasks += 1;
        let words: Vec<Vec<u8>> = asked.template.words(&values, tasks).iter().map(|word| word.for_slot(1)).collect();
        crate::commands::print_bytes(&[&asked.template.shown(&words)[..], b"\n"].concat())?;
    }
    let what = "a task that is lost with its host runs again only when it is known to have ended";
    crate::progress::to_stderr(&format!("  {tasks} tasks, no files to send; {what}"));
    Ok(exit::SUCCESS)
}
