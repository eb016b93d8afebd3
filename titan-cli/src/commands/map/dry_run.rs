//! `--dry-run`: the commands, one a line, as they could be pasted into sh; no host is contacted and nothing is written.

use std::path::Path;

use titan_manager::Rerun;

use super::template::Asked;
use crate::config::cluster::Cluster;
use crate::config::text::counted;
use crate::config::units::human_size;
use crate::exit::{self, Failure};
use crate::files::{TaskFiles, listing};

/// Tasks whose files are looked at.
const MAX_LOOKED_AT: u64 = 10_000;

/// Shows hosts, slots and tasks.
pub(super) fn dry_run(mut asked: Asked, source: &str, cluster: &Cluster, rerun: Rerun) -> Result<u8, Failure> {
    crate::tell::to_stderr(&format!("titan: {source}"));
    crate::commands::place::show_slots(cluster);
    let mut tasks = 0_u64;
    for values in std::mem::replace(&mut asked.values, Box::new(std::iter::empty())) {
        let values = values.map_err(|reason| Failure::plain(exit::USAGE, reason))?;
        tasks += 1;
        let words: Vec<Vec<u8>> = asked.template.words(&values, tasks).iter().map(|word| word.for_slot(1)).collect();
        let line = asked.template.shown(&words);
        match asked.files.of_task(&values, tasks, !asked.files.is_empty()) {
            Ok(files) => {
                crate::commands::print_task(&line, &files)?;
                if tasks <= MAX_LOOKED_AT {
                    show_files(&asked, files, tasks);
                }
            }
            Err(problem) => {
                crate::commands::print_task(&line, &TaskFiles::default())?;
                crate::tell::to_stderr(&format!("  task {tasks}: {problem}"));
            }
        }
    }
    let what = match rerun {
        Rerun::Anytime => {
            "a task that is slow or whose host falls silent may run on another one too, since it leaves nothing but its outputs"
        }
        Rerun::Lost => "a task that is lost with its host runs again only when it is known to have ended",
    };
    crate::tell::to_stderr(&format!("  {}; {what}", counted(tasks, "task")));
    Ok(exit::SUCCESS)
}

fn show_files(asked: &Asked, files: TaskFiles, task: u64) {
    let inputs: Vec<_> = asked.files.base.iter().cloned().chain(files.inputs).collect();
    if inputs.is_empty() {
        return;
    }
    match listing::list(Path::new(""), &inputs) {
        Ok(found) => {
            let (count, bytes) = listing::total(&found);
            crate::tell::to_stderr(&format!("  task {task}: {}, {}", counted(count as u64, "file"), human_size(bytes)));
        }
        Err(problem) => crate::tell::to_stderr(&format!("  task {task}: {problem}")),
    }
}
