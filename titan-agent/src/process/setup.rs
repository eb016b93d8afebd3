//! `setup`: run once under `sh` before a job's first task here; what it leaves in the environment is the tasks'.

use std::ffi::{CString, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use titan_proto::command::SETUP_CHECK;

use super::environment::{Environment, Inherited, SETUP_FILE};
use super::run::wait;
use super::spawn::{Process, Program};
use super::tree::Tree;
use super::{Attempt, limits};

/// How long a setup may take.
const SETUP_SPAN: Duration = Duration::from_secs(600);
/// From SIGTERM to SIGKILL.
const STOP_SPAN: Duration = Duration::from_secs(2);
/// What is kept of its stderr.
const SAID_BYTES: usize = 8 << 10;
/// Lines of its stderr that are told when it fails.
const TOLD_LINES: usize = 3;

/// The environment that tasks of the attempt's job start from: what the agent has, if there is no setup.
///
/// # Errors
/// The setup failed here: a sentence.
pub(super) fn environment(attempt: &Attempt, stopped: &PipeReader) -> Result<Arc<Inherited>, Unset> {
    let Some(setup) = &attempt.job.spec.setup else { return Ok(Inherited::of_agent()) };
    // Held while it runs: whoever else needs it waits.
    let mut kept = attempt.job.environment.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*kept {
        return environment.clone().map_err(Unset::Failed);
    }
    let environment = match run(attempt, &setup.0, stopped) {
        Ok(environment) => Ok(Arc::new(environment)),
        Err(Unset::Failed(reason)) => Err(reason),
        // Whoever comes next tries again.
        Err(Unset::Stopped) => return Err(Unset::Stopped),
    };
    kept.insert(environment).clone().map_err(Unset::Failed)
}

/// Why there is no environment.
pub(super) enum Unset {
    /// The attempt was told to stop.
    Stopped,
    /// In a sentence.
    Failed(String),
}

/// Waits for a setup's end, or ends it when it isn't to go on; keeps the last that it says. What it leaves running stays, for
/// the tasks: it goes with the agent.
fn watch(process: &mut Process, tree: &Tree, stopped: &PipeReader, said: &mut Vec<u8>) -> Option<Overdue> {
    let (begun, mut overdue) = (Instant::now(), None);
    let mut kill_at = None;
    loop {
        let stop = overdue.is_none().then(|| stopped.as_fd());
        let until = kill_at.unwrap_or(begun + SETUP_SPAN).saturating_duration_since(Instant::now());
        let [_, stderr] = &mut process.pipes;
        let ready = wait([Some(process.exited.as_fd()), stop, stderr.as_ref().map(AsFd::as_fd), None], until);
        if ready[2]
            && let Some(pipe) = stderr
        {
            let mut buffer = [0; 4 << 10];
            let length = pipe.read(&mut buffer).unwrap_or(0);
            said.extend_from_slice(&buffer[..length]);
            said.drain(..said.len().saturating_sub(SAID_BYTES));
            if length == 0 {
                *stderr = None;
            }
            continue;
        }
        if ready[0] {
            return overdue;
        }
        let now = Instant::now();
        if overdue.is_none() && (ready[1] || now >= begun + SETUP_SPAN) {
            overdue = Some(if ready[1] { Overdue::Stopped } else { Overdue::TooLong });
            tree.terminate();
            kill_at = Some(now + STOP_SPAN);
        } else if kill_at.is_some_and(|at| now >= at) {
            tree.kill();
            kill_at = Some(now + STOP_SPAN);
        }
    }
}

/// Why a setup was ended.
enum Overdue {
    Stopped,
    TooLong,
}

fn run(attempt: &Attempt, setup: &[u8], stopped: &PipeReader) -> Result<Inherited, Unset> {
    if wait([Some(stopped.as_fd()), None, None, None], Duration::ZERO)[0] {
        return Err(Unset::Stopped);
    }
    let here = &attempt.here.host;
    let cannot = |error: io::Error| Unset::Failed(format!("setup can't run on {here}: {error}"));
    let file = attempt.scratch.file(&format!("environment-{}", attempt.task.job.0)).map_err(cannot)?;
    // In a file: everybody on the host can read a command line.
    let script = attempt.scratch.file(&format!("setup-{}", attempt.task.job.0)).map_err(cannot)?;
    write(&script, &[setup, SETUP_CHECK, b"env -0 > \"$TITAN_SETUP_FILE\""].concat()).map_err(cannot)?;
    let environment = Environment::of_setup(attempt, &file);
    let program = program(attempt, &environment, &script).map_err(Unset::Failed)?;
    let mut process = program.spawn().map_err(|error| cannot(error.into()))?;
    let tree = Tree::new(process.pid, environment.marks(), None);
    let mut said = Vec::new();
    let overdue = watch(&mut process, &tree, stopped, &mut said);
    let status = process.wait().map_err(cannot)?.status;
    let environment = fs::read(&file).unwrap_or_default();
    let _ = fs::remove_file(&file);
    let _ = fs::remove_file(&script);
    match overdue {
        Some(Overdue::Stopped) => return Err(Unset::Stopped),
        Some(Overdue::TooLong) => {
            let span = SETUP_SPAN.as_secs();
            return Err(Unset::Failed(format!("setup failed on {here}: it took longer than {span} s")));
        }
        None => {}
    }
    if status.success() && environment.is_empty() {
        let what = "it ended before its end; is there an exit or a return in it?";
        return Err(Unset::Failed(format!("setup failed on {here}: {what}")));
    }
    if !status.success() {
        let stderr = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = stderr.lines().rev().take(TOLD_LINES).collect();
        let told = lines.into_iter().rev().collect::<Vec<_>>().join(" / ");
        let told = if told.is_empty() { "it said nothing on stderr" } else { &told };
        return Err(Unset::Failed(format!("setup failed on {here} ({status}): {told}")));
    }
    Ok(parse(&environment))
}

fn program<'e>(attempt: &Attempt, environment: &'e Environment, script: &Path) -> Result<Program<'e>, String> {
    let script = CString::new(script.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    Ok(Program {
        path: c"/bin/sh".into(),
        words: vec![c"/bin/sh".into(), script],
        environment: environment.entries()?,
        folder: None,
        stdin: None,
        captures: [false, true],
        open_files: attempt.open_files,
        oom_score: limits::oom_score(),
        cgroup: None,
    })
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(text)
}

fn parse(environment: &[u8]) -> Inherited {
    let variables = environment.split(|byte| *byte == 0).filter_map(|variable| {
        let at = variable.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&variable[..at], &variable[at + 1..]);
        (name != SETUP_FILE.as_bytes() && name != b"_")
            .then(|| (OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
    });
    Inherited::new(variables)
}
