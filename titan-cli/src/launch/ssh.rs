//! The system's own ssh, one master and one channel for each host, in which nothing ever prompts.
//!
//! The master is started here rather than by the openssh crate, so that it is never in the terminal's foreground group and
//! a start that is given up leaves no login behind; the channel is the crate's (native-mux: no process for it, and binary
//! safe both ways).

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::bootstrap::{self, Requirements};
use super::control::Noted;
use super::ssh_options::{Destination, SSH, UserConfig};
use super::{BoxFuture, Lasting, LaunchError, Launcher, Launching, Link, Shell, StderrTail, Way, child};
use crate::config::cluster::Host;

/// How long a master outlives its last channel if titan can't end it: after SIGKILL of titan.
const IDLE_S: u32 = 10;
/// What gives a shell under every login shell.
pub(crate) const SHELL_COMMAND: &str = "exec /bin/sh";

/// A host that is reached by ssh, over a master of our own.
pub(crate) struct Ssh {
    destination: Destination,
    requirements: Requirements,
}

impl Ssh {
    pub(crate) fn new(host: &Host) -> Self {
        Self { destination: Destination::of(host), requirements: Requirements::of(host) }
    }

    async fn open(&self, launching: &Launching) -> Result<Shell, LaunchError> {
        let config = self.destination.user_config(&launching.ssh).await?;
        let place = launching.gates.enter(&config.gate(), launching.ssh.max_logins).await;
        let begun = Instant::now();
        let master = match Master::start(&self.destination, config.host_key_checking(), launching).await {
            Err(error) if error.lasting == Lasting::Busy && config.has_proxy() => {
                return Err(self.ask_why(&config, launching).await.unwrap_or(error));
            }
            started => started?,
        };
        drop(place);
        let session = Arc::new(openssh::Session::resume_mux(master.socket.clone().into_boxed_path(), None));
        let mut command = session.arc_raw_command(SHELL_COMMAND);
        command.stdin(openssh::Stdio::piped()).stdout(openssh::Stdio::piped()).stderr(openssh::Stdio::piped());
        let failed = |error: openssh::Error| LaunchError::ssh(&self.destination.typed(), &chain(&error));
        let mut child = command.spawn().await.map_err(failed)?;
        let (stdin, stdout, stderr) = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            unreachable!("all three streams were piped in the lines above")
        };
        child::widen([stdin.as_fd(), stdout.as_fd()]);
        Ok(Shell {
            reader: Box::new(stdout),
            writer: Box::new(stdin),
            stderr: StderrTail::read(stderr),
            way: Box::new(SshWay { child: Some(child), _master: master }),
            login: begun.elapsed(),
            begun,
            place: None,
            typed: None,
        })
    }
}

impl Ssh {
    /// A master with ControlPersist throws away what its jump host's ssh says, and only "closed" is left: a plain login
    /// says it. None if that one works.
    async fn ask_why(&self, config: &UserConfig, launching: &Launching) -> Option<LaunchError> {
        let mut command = child::detached(SSH);
        command.args(["-T", "-o", "ControlPath=none", "-o"]);
        command.arg(format!("StrictHostKeyChecking={}", config.host_key_checking()));
        command.args(self.destination.arguments(&launching.ssh)).arg("true");
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.ok()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (!output.status.success()).then(|| LaunchError::ssh(&self.destination.typed(), &said))
    }
}

impl Launcher for Ssh {
    fn launch<'a>(&'a self, launching: &'a Launching, meeting: &'a str) -> BoxFuture<'a, Result<Link, LaunchError>> {
        Box::pin(bootstrap::start_agent(self.open(launching), &self.requirements, launching, meeting))
    }

    fn shell<'a>(&'a self, launching: &'a Launching) -> BoxFuture<'a, Result<Shell, LaunchError>> {
        Box::pin(self.open(launching))
    }
}

struct SshWay {
    child: Option<openssh::Child<Arc<openssh::Session>>>,
    _master: Master,
}

impl Way for SshWay {
    fn closed(&mut self) -> BoxFuture<'_, bool> {
        Box::pin(async {
            let Some(child) = self.child.take() else { return true };
            child.wait().await.is_ok_and(|status| status.code().is_some())
        })
    }
}

/// An ssh master that ends when this is dropped.
struct Master {
    socket: PathBuf,
    log: PathBuf,
    /// None until it has logged in.
    process: Option<Noted>,
}

impl Master {
    async fn start(destination: &Destination, checking: &str, launching: &Launching) -> Result<Self, LaunchError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = NUMBER.fetch_add(1, Ordering::Relaxed).to_string();
        let folder = launching.control()?;
        let (socket, log) = (folder.file(&name), folder.file(&format!("{name}.log")));
        let mut master = Self { socket, log, process: None };
        let mut command = child::detached(SSH);
        command.arg("-E").arg(&master.log).arg("-S").arg(&master.socket).args(["-M", "-f", "-N", "-T"]);
        command.args(["-o", &format!("ControlPersist={IDLE_S}s"), "-o", &format!("StrictHostKeyChecking={checking}")]);
        command.args(destination.arguments(&launching.ssh));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        // It returns when it has logged in and gone to the background.
        let mut login = command.spawn().map_err(|error| LaunchError::no_program(SSH, &error))?;
        let noted_login = login.id().map(|pid| folder.note(&name, pid));
        let status = login.wait().await.map_err(|error| LaunchError::no_program(SSH, &error))?;
        drop(noted_login);
        if !status.success() {
            let said = std::fs::read_to_string(&master.log).unwrap_or_default();
            return Err(LaunchError::ssh(&destination.typed(), &said));
        }
        master.process = master.ask_pid().await.map(|pid| folder.note(&name, pid));
        Ok(master)
    }

    /// The background process's own pid, which only it knows.
    async fn ask_pid(&self) -> Option<u32> {
        let mut command = child::detached(SSH);
        command.arg("-S").arg(&self.socket).args(["-O", "check", "--", "master"]);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.ok()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.split_once("pid=")?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // Not `ssh -O exit`: a master whose network is gone would wait for it to take the last words. As long as its
        // socket is there the pid is still its own.
        if let Some(process) = self.process.take().filter(|_| self.socket.exists()) {
            process.kill();
        }
        let _ = std::fs::remove_file(&self.socket);
        let _ = std::fs::remove_file(&self.log);
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
