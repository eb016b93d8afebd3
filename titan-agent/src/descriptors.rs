//! How many files may be open at once. Each running task needs some: where the user's limit is too low for all slots, titan and
//! its agents raise theirs, as far as they may; tasks get back what their user has.

use std::fs;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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

/// What whoever started this process left open is no affair of what it starts.
pub(crate) fn close_others_on_exec() {
    let names = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten().map(|entry| entry.file_name());
    for number in names.filter_map(|name| name.to_str()?.parse::<RawFd>().ok()).filter(|number| *number > 2) {
        #[expect(unsafe_code, reason = "no function that only takes a number marks it")]
        // SAFETY: it is the number of an open descriptor, and nothing is done with it but to set a flag.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = fcntl_setfd(descriptor, FdFlags::CLOEXEC);
    }
}

/// This process's limits, but so many files.
pub(crate) fn lowered(most: u64) -> Rlimit {
    Rlimit { current: Some(most), maximum: getrlimit(Resource::Nofile).maximum }
}
