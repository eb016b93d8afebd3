//! How many files may be open at once. Each running task needs some: where the user's limit is too low for all slots, titan and
//! its agents raise theirs, as far as they may; tasks get back what their user has.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// For an agent that titan starts itself: the user's own limit, if titan has raised it.
pub const VARIABLE: &str = "TITAN_OPEN_FILES";
/// What a process needs beside its tasks: streams, logs, files that are fetched or written.
const BESIDE_TASKS: u64 = 300;

/// This process's limit, if there is one.
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Makes sure, if that is allowed, that so many tasks that each need so many files can run.
pub fn make_room(tasks: u64, files_each: u64) {
    let wanted = tasks * files_each + BESIDE_TASKS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let most = maximum.map_or(wanted, |maximum| maximum.min(wanted));
        // As it was is as good as can be: tasks for which there is no room say so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum });
    }
}

/// Gives a process that limit, and what it starts from then on.
pub(crate) fn set_limit(pid: Pid, most: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // One that has ended meanwhile needs none.
    let _ = prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(most), maximum });
}
