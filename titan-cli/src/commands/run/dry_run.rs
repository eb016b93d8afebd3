//! `--dry-run`: what would be done, one line a task on stdout; no host is contacted and nothing is written.

use kernels::Plan;

use crate::config::cluster::Cluster;
use crate::config::jobs::Slots;
use crate::config::text::counted;
use crate::config::units::human_size;
use crate::exit::Failure;

/// Shows hosts, slots and tasks.
pub(super) fn dry_run(plan: &dyn Plan, source: &str, cluster: &Cluster) -> Result<u8, Failure> {
    crate::progress::to_stderr(&format!("titan: {source}"));
    show_slots(cluster);
    let bytes: u64 = (0..plan.tasks()).map(|task| plan.result_bytes(task)).sum();
    crate::progress::to_stderr(&format!(
        "  {}, no files to send, {} of results",
        counted(u64::from(plan.tasks()), "task"),
        human_size(bytes)
    ));
    let lines: String = (0..plan.tasks()).map(|task| plan.describe(task) + "\n").collect();
    crate::commands::print(&lines)
}

/// A line on stderr for each host.
pub(crate) fn show_slots(cluster: &Cluster) {
    for host in &cluster.hosts {
        let slots = match host.slots {
            Slots::Cores => "as many slots as cores".to_owned(),
            Slots::Exactly(1) => "1 slot".to_owned(),
            Slots::Exactly(slots) => format!("{slots} slots"),
            Slots::Jobs(jobs) => format!("slots: {jobs}"),
        };
        crate::progress::to_stderr(&format!("  {}: {slots}", crate::config::text::printable(&host.name)));
    }
}
