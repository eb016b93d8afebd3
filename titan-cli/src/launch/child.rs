//! A process on this machine whose streams lead to a host: its end, and what it says beside the stream.

use std::os::fd::{AsFd, BorrowedFd};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::control::Noted;
use super::{BoxFuture, ControlDirectory, LaunchError, Shell, Way};

/// What is kept of stderr: its end, which is where reasons stand.
const TAIL_BYTES: usize = 8 << 10;
/// As much as anybody may have a pipe hold.
const PIPE_BYTES: usize = 1 << 20;
/// Connections that get such pipes: all that a user's pipes hold is bounded too, and who is beyond that gets small ones.
const MAX_WIDE: usize = 8;
/// How long a reason may take to arrive after the stream has ended.
const LAST_WORDS_SPAN: Duration = Duration::from_millis(500);

/// The end of what a process says on its stderr.
#[derive(Clone)]
pub(crate) struct StderrTail {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: tokio::sync::watch::Receiver<bool>,
}

impl StderrTail {
    /// Reads that stream until it ends, in the background.
    pub(crate) fn read(mut stream: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = tokio::sync::watch::channel(false);
        let kept = Arc::clone(&bytes);
        tokio::spawn(async move {
            let mut buffer = [0; 1 << 10];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&buffer[..length]);
                let surplus = kept.len().saturating_sub(TAIL_BYTES);
                kept.drain(..surplus);
            }
            let _ = end.send(true);
        });
        Self { bytes, ended }
    }

    /// What was said so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// All that was said, once the stream has ended or has had a moment to.
    pub(crate) async fn last_words(&mut self) -> String {
        let _ = tokio::time::timeout(LAST_WORDS_SPAN, self.ended.wait_for(|ended| *ended)).await;
        self.text()
    }
}

/// A child that is killed when this is dropped, with all that it started in its own group.
struct ChildWay {
    child: Child,
    _noted: Option<Noted>,
}

impl Way for ChildWay {
    fn closed(&mut self) -> BoxFuture<'_, bool> {
        Box::pin(async { self.child.wait().await.is_ok_and(|status| status.code().is_some()) })
    }
}

impl Drop for ChildWay {
    fn drop(&mut self) {
        // None once it was waited for: from then on the number may be another's.
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let Some(pid) = pid else { return };
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Whether a shell would find a program of that name.
pub(crate) fn is_program(name: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    match name.contains('/') {
        true => std::path::Path::new(name).is_file(),
        false => std::env::split_paths(&paths).any(|folder| folder.join(name).is_file()),
    }
}

/// A program in a session of its own: no terminal reaches it, and it reaches none to ask anything. Where there is no
/// `setsid` it is at least outside the terminal's foreground group.
pub(crate) fn detached(program: &str) -> Command {
    static SETSID: LazyLock<bool> = LazyLock::new(|| is_program("setsid"));
    let mut command = Command::new(if *SETSID { "setsid" } else { program });
    match *SETSID {
        // It isn't a group's leader, and so setsid becomes the program without a process between.
        true => command.arg(program),
        false => command.process_group(0),
    };
    command.env("SSH_ASKPASS_REQUIRE", "never");
    command
}

/// Starts a command with all three streams piped.
pub(crate) fn spawn(command: Command, program: &str) -> Result<Shell, LaunchError> {
    start(command, program, None)
}

/// The same, known to the guard.
pub(crate) fn spawn_noted(command: Command, program: &str, control: &ControlDirectory) -> Result<Shell, LaunchError> {
    start(command, program, Some(control))
}

/// More fits into the pipes of the first few connections, so that whoever is on their other ends is woken less often. Where that isn't
/// granted it goes without.
pub(super) fn widen(pipes: [BorrowedFd<'_>; 2]) {
    static WIDE: AtomicUsize = AtomicUsize::new(0);
    if WIDE.fetch_add(1, Ordering::Relaxed) >= MAX_WIDE {
        return;
    }
    for pipe in pipes {
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
    }
}

fn start(mut command: Command, program: &str, control: Option<&ControlDirectory>) -> Result<Shell, LaunchError> {
    let begun = Instant::now();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| LaunchError::no_program(program, &error))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        unreachable!("all three streams were piped in the lines above")
    };
    widen([stdin.as_fd(), stdout.as_fd()]);
    let noted = control.zip(child.id()).map(|(control, pid)| control.note(&format!("child-{pid}"), pid));
    Ok(Shell {
        reader: Box::new(stdout),
        writer: Box::new(stdin),
        stderr: StderrTail::read(stderr),
        way: Box::new(ChildWay { child, _noted: noted }),
        login: Duration::ZERO,
        begun,
        place: None,
        typed: None,
    })
}
