//! Whether there is disk for what a batch will write, before anything is started.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kernels::Plan;

use crate::config::units::human_size;
use crate::driver::outputs::Target;
use crate::exit::{self, Failure};
use crate::paths::folder_of;

/// Compares what the spool and the outputs will take with what is free, for each filesystem.
pub(crate) fn check(plan: &dyn Plan, batch: &Path, targets: &BTreeMap<String, Target>) -> Result<(), Failure> {
    let spool: u64 = (0..plan.tasks()).map(|task| plan.result_bytes(task)).fold(0, u64::saturating_add);
    let mut needs: BTreeMap<u64, (PathBuf, u64)> = BTreeMap::new();
    add(&mut needs, batch, spool);
    for (name, bytes) in plan.output_bytes() {
        match targets.get(name) {
            Some(Target::File(path)) => add(&mut needs, folder_of(path), bytes),
            Some(Target::Folder(path)) if path.is_dir() => add(&mut needs, path, bytes),
            Some(Target::Folder(path)) => add(&mut needs, folder_of(path), bytes),
            Some(Target::Stdout) | None => {}
        }
    }
    for (folder, bytes) in needs.values() {
        // What can't be asked is found out when it is written.
        let Ok(filesystem) = rustix::fs::statvfs(folder) else { continue };
        // No disk, such as /proc.
        if filesystem.f_blocks == 0 {
            continue;
        }
        let free = filesystem.f_bavail.saturating_mul(filesystem.f_frsize);
        if free < *bytes {
            let (needed, free) = (human_size(*bytes), human_size(free));
            let problem = format!("{} has {free} free, and up to {needed} will be needed", folder.display());
            let outputs: Vec<String> = targets.keys().map(|name| format!("--{name}")).collect();
            let hint = format!(
                "{}, or another disk: XDG_STATE_HOME for results under way, {} for what is made of them",
                plan.smaller_batch_hint(),
                outputs.join(" and "),
            );
            return Err(Failure::hinted(exit::CANNOT_WRITE, problem, hint));
        }
    }
    Ok(())
}

fn add(needs: &mut BTreeMap<u64, (PathBuf, u64)>, folder: &Path, bytes: u64) {
    let Ok(data) = std::fs::metadata(folder) else { return };
    let need = needs.entry(data.dev()).or_insert_with(|| (folder.to_owned(), 0));
    need.1 = need.1.saturating_add(bytes);
}
