//! The process above the agent: it starts the agent, waits, and when the agent has ended in whatever way it ends what the
//! agent left, which the kernel gives to it. It holds the agent's lease too, and has no other work, so that nothing can stop it
//! but a signal of its own.

use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, set_child_subreaper, waitpid,
};

use rustix::io::{FdFlags, fcntl_setfd};

use super::cgroup;
use super::lease::{self, Holder};
use super::scratch::ScratchRoot;
use super::tree::descendants;
use crate::files;
use crate::serve::meeting::Meeting;

/// The variable that makes a process the watched one; its value names the scratch folder of both.
pub(crate) const VARIABLE: &str = "TITAN_AGENT_WATCHED";

/// The last word of its command line, for people who look at what runs.
pub(crate) const WORD: &str = "watched";
/// Between two looks at what is left.
const LOOK_SPAN: Duration = Duration::from_millis(5);

/// Runs this very program again, as the watched agent, and cleans up after it. `meeting`: where that is to be met; nothing happens if
/// one is met there already, or what one ran hasn't ended.
///
/// # Errors
/// It can't be started.
pub(crate) fn watch(meeting: Option<&Meeting>) -> std::io::Result<ExitCode> {
    crate::descriptors::close_others_on_exec();
    let alive = meeting.map(Meeting::take_alive).transpose()?;
    if matches!(alive, Some(None)) {
        return Ok(ExitCode::SUCCESS);
    }
    // The agent has it too: as long as either lives, nobody else takes the place.
    let alive = alive.flatten();
    if let Some(alive) = &alive {
        fcntl_setfd(alive, FdFlags::empty())?;
    }
    let word = format!("{}-{:016x}", std::process::id(), RandomState::new().hash_one(0));
    let mut words = std::env::args_os();
    let mut agent = Command::new("/proc/self/exe");
    if let Some(name) = words.next() {
        agent.arg0(name);
    }
    let _ = set_child_subreaper(Some(getpid()));
    let (mut lease, told) = Holder::new()?;
    agent.args(words).arg(WORD).env(VARIABLE, &word).env(lease::VARIABLE, lease::number(&told));
    let mut agent = agent.spawn()?;
    drop(told);
    leave_streams()?;
    let number = agent.id();
    let pidfd = pidfd_open(Pid::from_child(&agent), PidfdFlags::empty())?;
    // Where it can't be waited for, the agent's own clock is all there is.
    if lease.wait(pidfd.as_fd()).unwrap_or(false) {
        agent.kill()?;
    }
    let status = agent.wait()?;
    end_all_that_is_left();
    files::clean_up(number);
    ScratchRoot::named(&word).remove_all();
    cgroup::clean_up(&word);
    meeting.inspect(|meeting| meeting.remove());
    drop(alive);
    Ok(code(status))
}

/// The agent's streams are the agent's alone: when it ends, they close.
fn leave_streams() -> std::io::Result<()> {
    let nothing = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    Ok(())
}

/// Everything that the agent started, and what that started, is below us now.
fn end_all_that_is_left() {
    loop {
        for pid in descendants() {
            let _ = kill_process(pid, Signal::KILL);
        }
        // What was born meanwhile is found by the next look: nothing is waited for that wasn't killed.
        loop {
            match waitpid(None, WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        std::thread::sleep(LOOK_SPAN);
    }
}

fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
