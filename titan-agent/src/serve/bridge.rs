//! The process that a connection ends in: it finds the agent, or starts one, and gives it the connection's streams. It goes with the
//! connection.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::meeting::Meeting;
use super::{DETACHED, handover};

/// How long it may take until an agent is there: one that was there before may still have to end what it ran.
const START_SPAN: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK_SPAN: Duration = Duration::from_millis(20);
/// The end of what an agent has said, in bytes.
const LAST_WORDS_BYTES: u64 = 8 << 10;
/// What an agent says when it can be met.
const READY: &str = "ready";

/// Finds or starts the agent of that name, gives it this process's streams, and waits until it has done with them.
pub(super) fn run(meeting: &Meeting) -> io::Result<ExitCode> {
    let mut agent = reach(meeting)?;
    let log = meeting.open_log();
    handover::give(&agent, io::stdin().as_fd(), io::stdout().as_fd())?;
    // It says nothing here: it closes this when the connection is over.
    let waited = agent.read(&mut [0]);
    if let (Ok(_), Ok(log)) = (waited, log) {
        tell_last_words(log);
    }
    Ok(ExitCode::SUCCESS)
}

/// The agent has closed the connection: if it has ended, it may have said why.
fn tell_last_words(mut log: File) {
    let length = log.metadata().map_or(0, |data| data.len());
    let _ = log.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS_BYTES)));
    let mut said = Vec::new();
    if log.read_to_end(&mut said).is_ok() {
        let _ = io::stderr().write_all(&said);
    }
}

fn reach(meeting: &Meeting) -> io::Result<UnixStream> {
    let deadline = Instant::now() + START_SPAN;
    loop {
        if let Ok(stream) = meeting.connect() {
            return Ok(stream);
        }
        if start(meeting)? {
            return meeting.connect();
        }
        if Instant::now() > deadline {
            return Err(io::Error::other("the agent that was there doesn't end"));
        }
        thread::sleep(LOOK_SPAN);
    }
}

/// Starts an agent apart from this process. False: there is one already, or what one ran hasn't ended.
fn start(meeting: &Meeting) -> io::Result<bool> {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_else(|| "titan-agent".into());
    let own: Vec<_> = words.collect();
    let (first, name) = own.split_first().ok_or_else(|| io::Error::other("a bridge has words"))?;
    let mut command = match outlives_logout() {
        true => {
            let mut command = Command::new("/proc/self/exe");
            command.arg0(program);
            command
        }
        false => {
            let mut command = Command::new("systemd-run");
            command.args(["--user", "--scope", "--quiet", "--"]).arg(std::env::current_exe()?);
            command
        }
    };
    command.arg(first).arg(DETACHED).args(name);
    let log = meeting.make_log()?;
    let mut agent = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
    let log = meeting.open_log();
    let mut said = String::new();
    if let Some(stdout) = agent.stdout.take() {
        BufReader::new(stdout).read_line(&mut said)?;
    }
    if said.trim() == READY {
        return Ok(true);
    }
    let status = agent.wait()?;
    if status.success() {
        return Ok(false);
    }
    log.map(tell_last_words)?;
    Err(io::Error::other(format!("the agent ended at once ({status})")))
}

/// Whether what a user leaves running stays when the user logs out; where it doesn't, a scope of its own does, if systemd makes one.
fn outlives_logout() -> bool {
    let folder = fs::read_dir("/etc/systemd/logind.conf.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let files = std::iter::once("/etc/systemd/logind.conf".into()).chain(folder);
    let kills = |text: &str| {
        text.lines().any(|line| line.trim().replace(' ', "").eq_ignore_ascii_case("KillUserProcesses=yes"))
    };
    let is_killed = files.filter_map(|file| fs::read_to_string(file).ok()).any(|text| kills(&text));
    let can_scope = || {
        let tried = Command::new("systemd-run")
            .args(["--user", "--scope", "--quiet", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    };
    !(is_killed && can_scope())
}

/// Tells the bridge that has started this agent that it can be met, and lets go of it.
pub(super) fn say_ready() {
    let _ = writeln!(io::stdout(), "{READY}");
    let _ = io::stdout().flush();
    if let Ok(nothing) = fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&nothing);
    }
}
