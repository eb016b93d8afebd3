//! `setup`: run once under `sh` before a job's first task here; what it leaves in the environment is the tasks'.

use std::ffi::{CString, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use titan_proto::command::SETUP_CHECK;

use super::environment::{Environment, Inherited};
use super::run::{hint, wait};
use super::spawn::{Goes, Process, Program};
use super::tree::Tree;
use super::{Attempt, limits};

/// How long a setup may take.
const SETUP_SPAN: Duration = Duration::from_secs(600);
/// From SIGTERM to SIGKILL.
const STOP_SPAN: Duration = Duration::from_secs(2);
/// What is read of the end of its stderr.
const SAID_BYTES: u64 = 8 << 10;
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

/// Waits for a setup's end, or ends it when it isn't to go on.
fn watch(process: &Process, tree: &Tree, stopped: &PipeReader) -> Option<Overdue> {
    let (begun, mut overdue) = (Instant::now(), None);
    let mut kill_at = None;
    loop {
        let stop = overdue.is_none().then(|| stopped.as_fd());
        let until = kill_at.unwrap_or(begun + SETUP_SPAN).saturating_duration_since(Instant::now());
        let ready = wait([Some(process.exited.as_fd()), stop, None, None], until);
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
    let cannot = |error: io::Error| {
        let hint = hint(&error);
        Unset::Failed(format!("setup can't run on {here}: {error}{hint}"))
    };
    let named = |what| attempt.scratch.file(&format!("{what}-{}", attempt.task.job.0)).map_err(cannot);
    // A script in a file: everybody on the host can read a command line.
    let (script, file, log) = (named("setup")?, named("environment")?, named("setup-log")?);
    let text = [setup, SETUP_CHECK, b"env -0 > \"$TITAN_SETUP_FILE\""].concat();
    create(&script).and_then(|mut script| script.write_all(&text)).map_err(cannot)?;
    // Not a pipe: what it leaves running may write there for as long as it likes.
    let stderr = create(&log).map_err(cannot)?;
    let said = stderr.try_clone().map_err(cannot)?;
    let environment = Environment::of_setup(attempt, &file);
    let program = program(attempt, &environment, &script, stderr).map_err(cannot)?;
    let process = program.spawn().map_err(|error| cannot(error.into()))?;
    let tree = Tree::new(process.pid, environment.marks(), None);
    let overdue = watch(&process, &tree, stopped);
    let environment = fs::read(&file).unwrap_or_default();
    // What it leaves running is for the tasks, and goes with the agent; without tasks it goes now.
    if overdue.is_some() || environment.is_empty() {
        tree.end_rest(STOP_SPAN);
    }
    let status = process.wait().map_err(cannot)?.status;
    [script, file, log].iter().for_each(|path| drop(fs::remove_file(path)));
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
        let stderr = last_of(&said);
        let lines: Vec<&str> = stderr.lines().rev().take(TOLD_LINES).collect();
        let told = lines.into_iter().rev().collect::<Vec<_>>().join(" / ");
        let told = if told.is_empty() { "it said nothing on stderr" } else { &told };
        return Err(Unset::Failed(format!("setup failed on {here} ({status}): {told}")));
    }
    Ok(parse(&environment))
}

fn program<'e>(
    attempt: &Attempt,
    environment: &'e Environment,
    script: &Path,
    stderr: File,
) -> io::Result<Program<'e>> {
    Ok(Program {
        path: c"/bin/sh".into(),
        words: vec![c"/bin/sh".into(), CString::new(script.as_os_str().as_bytes())?],
        environment: environment.entries().map_err(io::Error::other)?,
        folder: None,
        stdin: None,
        writes: [Goes::Nowhere, Goes::To(stderr)],
        open_files: attempt.open_files,
        oom_score: limits::oom_score(),
        cgroup: None,
    })
}

/// A file of the setup's, for this user alone.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The end of what it has said.
fn last_of(said: &File) -> String {
    let length = said.metadata().map_or(0, |data| data.len());
    let mut last = vec![0; length.min(SAID_BYTES) as usize];
    let from = length.saturating_sub(SAID_BYTES);
    let read = said.read_exact_at(&mut last, from);
    String::from_utf8_lossy(if read.is_ok() { &last } else { &[] }).into_owned()
}

fn parse(environment: &[u8]) -> Inherited {
    let variables = environment.split(|byte| *byte == 0).filter_map(|variable| {
        let at = variable.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&variable[..at], &variable[at + 1..]);
        (name != b"_").then(|| (OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
    });
    Inherited::new(variables)
}
