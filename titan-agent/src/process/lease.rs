//! The lease as the watcher holds it. The agent tells the watcher each time that its manager was heard; when nothing is told for
//! the length of the lease, the watcher ends an agent that can't end itself, since it stands still or hangs. The clock counts the
//! time that the machine sleeps.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// The variable that names the agent's end: a descriptor that it inherits.
pub(crate) const VARIABLE: &str = "TITAN_AGENT_LEASE";

/// What the agent has beyond its lease to end by itself.
const GRACE: Duration = Duration::from_secs(2);
/// The lease before a manager has set one.
pub(crate) const FIRST: Duration = Duration::from_secs(60);
/// A message: the lease in ms from now on, 0 if there is none.
const MESSAGE_BYTES: usize = 8;

/// The agent's end.
#[derive(Debug)]
pub(crate) struct Teller {
    pipe: File,
}

impl Teller {
    /// The end that the watcher has given to this process.
    pub(crate) fn inherited() -> Option<Self> {
        let number: u32 = std::env::var(VARIABLE).ok()?.parse().ok()?;
        let mut options = File::options();
        // Opened anew: a descriptor of one's own, which nothing inherits, and which never makes the agent wait.
        options.write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        options.open(format!("/proc/self/fd/{number}")).ok().map(|pipe| Self { pipe })
    }

    /// The manager was heard a moment ago.
    pub(crate) fn tell(&mut self, lease: Duration) {
        let ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        // A full pipe holds enough of these.
        let _ = self.pipe.write(&ms.to_le_bytes());
    }
}

/// The watcher's end.
#[derive(Debug)]
pub(super) struct Holder {
    /// None: the agent has closed its end.
    pipe: Option<PipeReader>,
    timer: OwnedFd,
}

impl Holder {
    /// Both ends; the second is for the agent to inherit.
    pub(super) fn new() -> io::Result<(Self, PipeWriter)> {
        let (pipe, told) = io::pipe()?;
        fcntl_setfd(&told, FdFlags::empty())?;
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
        let holder = Self { pipe: Some(pipe), timer };
        holder.set(FIRST)?;
        Ok((holder, told))
    }

    /// Waits until the agent has ended, or its lease is over: then true.
    pub(super) fn wait(&mut self, agent: BorrowedFd<'_>) -> io::Result<bool> {
        loop {
            let wanted = [Some(agent), Some(self.timer.as_fd()), self.pipe.as_ref().map(AsFd::as_fd)];
            let mut polled: Vec<PollFd<'_>> =
                wanted.into_iter().flatten().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            match poll(&mut polled, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let ready: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
            match ready[..] {
                [true, ..] => return Ok(false),
                // What was told last comes first: this process may have stood still itself.
                [_, _, true] => self.hear()?,
                [_, true, ..] => return Ok(true),
                _ => {}
            }
        }
    }

    fn hear(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut messages = [0; MESSAGE_BYTES * 64];
        let length = pipe.read(&mut messages)?;
        let last = messages[..length].chunks_exact(MESSAGE_BYTES).next_back();
        match last.and_then(|message| message.try_into().ok()).map(u64::from_le_bytes) {
            Some(ms) => self.set(Duration::from_millis(ms)),
            None => {
                self.pipe = None;
                Ok(())
            }
        }
    }

    fn set(&self, lease: Duration) -> io::Result<()> {
        let span = if lease.is_zero() { Duration::ZERO } else { lease + GRACE };
        let value = Timespec::try_from(span).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let times = Itimerspec { it_interval: never, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times)?;
        Ok(())
    }
}

/// The descriptor's number, for [`VARIABLE`].
pub(super) fn number(told: &PipeWriter) -> String {
    told.as_raw_fd().to_string()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    fn told(lease: Duration) -> bool {
        let (mut holder, told) = Holder::new().unwrap();
        let mut agent = Command::new("sleep").arg("30").stdin(Stdio::null()).spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&agent), PidfdFlags::empty()).unwrap();
        let mut teller =
            Teller { pipe: File::options().write(true).open(format!("/proc/self/fd/{}", number(&told))).unwrap() };
        teller.tell(Duration::from_secs(600));
        teller.tell(lease);
        if lease.is_zero() {
            agent.kill().unwrap();
        }
        let is_over = holder.wait(pidfd.as_fd()).unwrap();
        let _ = agent.kill();
        agent.wait().unwrap();
        is_over
    }

    #[test]
    fn the_last_lease_that_was_told_is_the_one_that_ends() {
        assert!(told(Duration::from_millis(1)));
        assert!(!told(Duration::ZERO), "the agent has ended, and no lease");
    }
}
