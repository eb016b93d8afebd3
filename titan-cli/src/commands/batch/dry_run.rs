//! `--dry-run`: the tasks, one a line, as they could be pasted into sh; no host is contacted and nothing is written.

use std::os::unix::ffi::OsStrExt;

use titan_manager::Rerun;

use super::{Kind, Plan, tasks};
use crate::config::cluster::Cluster;
use crate::config::text::counted;
use crate::config::units::human_size;
use crate::exit::{self, Failure};
use crate::files::{TaskFiles, listing};
use crate::tell::to_stderr;
use crate::template::shell;

/// Tasks of a job whose files are looked at.
const MAX_LOOKED_AT: u32 = 10_000;

/// Shows hosts, slots, jobs and tasks.
pub(super) fn dry_run(plan: &Plan, source: &str, cluster: &Cluster) -> Result<u8, Failure> {
    to_stderr(&format!("titan: {source}"));
    crate::commands::place::show_slots(cluster);
    for planned in &plan.jobs {
        let job = &planned.job;
        let count = job.count() as u32;
        let rerun = match plan.spec(planned, cluster).rerun {
            Rerun::Anytime => "a task that is slow or whose host falls silent may run on another one too",
            Rerun::Lost => "a task that is lost with its host runs again only when it is known to have ended",
        };
        let waits: Vec<&str> = job.after.iter().map(|after| plan.jobs[after.job].job.name.as_str()).collect();
        let waits = if waits.is_empty() { String::new() } else { format!(", after {}", waits.join(", ")) };
        to_stderr(&format!("  {}: {}{waits}; {rerun}", job.name, counted(u64::from(count), "task")));
        for index in 0..count {
            match &planned.kind {
                Kind::Commands { .. } => {
                    let line = tasks::command_line(job, index).unwrap_or_default();
                    let files = tasks::files(job, index, true).unwrap_or_default();
                    crate::commands::print_task(&line, &files)?;
                    if index < MAX_LOOKED_AT {
                        show_files(plan, planned, &files, index);
                    }
                }
                Kind::Runs(runs) => {
                    let mut words = vec![b"titan".to_vec(), b"run".to_vec(), runs.kernel().as_bytes().to_vec()];
                    for (name, value) in runs.options(index) {
                        words.push(format!("--{name}").into_bytes());
                        words.push(value.into_bytes());
                    }
                    words.push(format!("--{}", runs.output().name).into_bytes());
                    words.push(runs.target(index).as_os_str().as_bytes().to_vec());
                    crate::tell::print_bytes(&[&shell::for_paste(&words)[..], b"\n"].concat())?;
                }
            }
        }
    }
    Ok(exit::SUCCESS)
}

fn show_files(plan: &Plan, planned: &super::PlannedJob, files: &TaskFiles, index: u32) {
    if files.inputs.is_empty() {
        return;
    }
    let number = u64::from(index) + 1;
    match listing::list(&plan.root, &files.inputs) {
        Ok(found) => {
            let (count, bytes) = listing::total(&found);
            to_stderr(&format!("    task {number}: {}, {}", counted(count as u64, "file"), human_size(bytes)));
        }
        // What another job makes isn't there yet.
        Err(_) if !planned.job.after.is_empty() => {}
        Err(problem) => to_stderr(&format!("    task {number}: {problem}")),
    }
}
