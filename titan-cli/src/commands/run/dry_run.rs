//! `--dry-run`: what would be done, one line a task on stdout; no host is contacted and nothing is written.

use kernels::Plan;

use crate::config::cluster::Cluster;
use crate::config::text::counted;
use crate::config::units::human_size;
use crate::exit::Failure;

/// Shows hosts, slots and tasks.
pub(super) fn dry_run(plan: &dyn Plan, source: &str, cluster: &Cluster) -> Result<u8, Failure> {
    crate::tell::to_stderr(&format!("titan: {source}"));
    crate::commands::place::show_slots(cluster);
    let bytes: u64 = (0..plan.tasks()).map(|task| plan.result_bytes(task)).sum();
    crate::tell::to_stderr(&format!(
        "  {}, no files to send, {} of results",
        counted(u64::from(plan.tasks()), "task"),
        human_size(bytes)
    ));
    let lines: String = (0..plan.tasks()).map(|task| plan.describe(task) + "\n").collect();
    crate::tell::print(&lines)
}
