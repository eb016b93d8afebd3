//! Words, environment and folder → a program that can be spawned the fast way: resolved here, so that the environment can be
//! another one, and without anything to run between fork and exec.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use titan_proto::command::Workdir;
use titan_proto::message::Outcome;

use super::Attempt;

/// Variables of titan's own that are no task's affair.
const OWN_VARIABLES: [&str; 4] =
    [crate::faults::VARIABLE, super::watcher::VARIABLE, super::lease::VARIABLE, crate::descriptors::VARIABLE];
/// Where programs are looked for if there is no PATH.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A program that was found is looked for again after this: another one may have come before it.
const FOUND_SPAN: Duration = Duration::from_secs(1);

/// Of a file's first line so much is looked at.
const FIRST_LINE_BYTES: u64 = 256;

/// Variables of an environment.
pub(super) type Variables = BTreeMap<OsString, OsString>;

/// Everything that a task sees in its environment.
#[derive(Debug, Default)]
pub(super) struct Environment {
    /// What it starts from; None: what this process has.
    inherited: Option<Arc<Variables>>,
    /// What is set for it, whatever it starts from.
    set: Variables,
}

impl Environment {
    /// The environment of an attempt: what the agent or the setup has, then the job's, the task's, and titan's own.
    pub(super) fn of(attempt: &Attempt, inherited: Option<Arc<Variables>>) -> Self {
        let mut environment = Self { inherited, set: Variables::new() };
        for (name, value) in attempt.job.spec.env.iter().chain(&attempt.command.env) {
            environment.set(OsString::from_vec(name.clone()), OsString::from_vec(value.0.clone()));
        }
        for (name, value) in own(attempt) {
            environment.set(name, value);
        }
        environment
    }

    /// Sets a variable, whatever it was.
    pub(super) fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.set.insert(name.into(), value.into());
    }

    /// What a variable is, for the task; titan's own ones for its agent aren't asked for.
    pub(super) fn get(&self, name: &str) -> Option<Cow<'_, OsStr>> {
        let name = OsStr::new(name);
        match (self.set.get(name), &self.inherited) {
            (Some(value), _) => Some(Cow::Borrowed(value)),
            (None, Some(inherited)) => inherited.get(name).map(|value| Cow::Borrowed(value.as_os_str())),
            (None, None) => std::env::var_os(name).map(Cow::Owned),
        }
    }

    /// What `command` runs gets this environment.
    pub(super) fn give(&self, command: &mut Command) {
        if let Some(inherited) = &self.inherited {
            command.env_clear().envs(inherited.iter());
        }
        for name in OWN_VARIABLES {
            command.env_remove(name);
        }
        command.envs(&self.set);
    }
}

/// Where a job's program was found a moment ago: tasks that follow each other run the same one.
#[derive(Debug, Default)]
pub(crate) struct Found(Mutex<Option<FoundProgram>>);

#[derive(Debug)]
struct FoundProgram {
    name: OsString,
    path: OsString,
    program: PathBuf,
    at: Instant,
}

impl Found {
    /// The file that a name means: as the shell would find it there, now or a moment ago.
    fn find(&self, name: &OsStr, path: Cow<'_, OsStr>) -> Option<PathBuf> {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |last: &&FoundProgram| last.name == name && last.path == path && last.at.elapsed() < FOUND_SPAN;
        if let Some(last) = found.as_ref().filter(is_it).filter(|last| is_program(&last.program)) {
            return Some(last.program.clone());
        }
        let program = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| is_program(path))?;
        let (name, path) = (name.to_owned(), path.into_owned());
        *found = Some(FoundProgram { name, path, program: program.clone(), at: Instant::now() });
        Some(program)
    }
}

/// The attempt's program, ready to be spawned in that folder; `by_shell`: as a script that doesn't name its interpreter.
///
/// # Errors
/// It can't be: the outcome says whose fault that is.
pub(super) fn build(
    attempt: &Attempt,
    environment: &Environment,
    folder: Option<&Path>,
    by_shell: bool,
) -> Result<Command, Outcome> {
    let words: Vec<OsString> =
        attempt.command.words.iter().map(|word| OsString::from_vec(word.for_slot(attempt.slot))).collect();
    if words.iter().any(|word| word.as_bytes().contains(&0)) {
        return Err(Outcome::failed("a NUL byte in its words, which no argument can hold"));
    }
    let Some((name, arguments)) = words.split_first() else {
        return Err(Outcome::failed("it has no words"));
    };
    let program =
        find(attempt, name, environment, folder).ok_or_else(|| not_found(name, environment, &attempt.here.host))?;
    let mut command = match by_shell {
        true => Command::new("/bin/sh"),
        false => Command::new(&program),
    };
    match by_shell {
        true => command.arg(&program),
        false => command.arg0(name),
    };
    environment.give(&mut command);
    command.args(arguments).process_group(0).stdin(stdin(attempt, folder)?);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let captures = attempt.job.spec.captures;
    let output = || if captures { Stdio::piped() } else { Stdio::null() };
    command.stdout(output()).stderr(output());
    Ok(command)
}

fn stdin(attempt: &Attempt, folder: Option<&Path>) -> Result<Stdio, Outcome> {
    let Some(path) = &attempt.command.stdin else { return Ok(Stdio::null()) };
    let path = folder.unwrap_or(Path::new("")).join(OsStr::from_bytes(path));
    let here = &attempt.here.host;
    let problem = |error| Outcome::failed_by_host(format!("its stdin {} on {here}: {error}", path.display()));
    File::open(&path).map(Stdio::from).map_err(problem)
}

/// The folder that the attempt runs in; None: where the agent is.
pub(super) fn folder(attempt: &Attempt) -> Result<Option<PathBuf>, Outcome> {
    let here = &attempt.here.host;
    let own = attempt.command.folder.clone().map(Workdir::Folder);
    match own.as_ref().unwrap_or(&attempt.job.spec.workdir) {
        Workdir::Inherited => Ok(None),
        Workdir::Folder(path) => {
            let path = PathBuf::from(OsStr::from_bytes(path));
            match path.is_dir() {
                true => Ok(Some(path)),
                false => Err(Outcome::failed_by_host(format!("no folder {} on {here}", path.display()))),
            }
        }
        Workdir::Scratch => attempt
            .scratch
            .make(attempt.id)
            .map(Some)
            .map_err(|error| Outcome::failed_by_machine(format!("no scratch folder on {here}: {error}"))),
    }
}

/// Whether a folder was made for the attempt alone.
pub(super) fn has_scratch(attempt: &Attempt) -> bool {
    attempt.command.folder.is_none() && attempt.job.spec.workdir == Workdir::Scratch
}

fn own(attempt: &Attempt) -> [(&'static str, String); 6] {
    [
        ("TITAN_BATCH_ID", attempt.here.batch.clone()),
        ("TITAN_JOB_ID", attempt.job.spec.name.clone()),
        ("TITAN_TASK_ID", attempt.command.number.to_string()),
        ("TITAN_ATTEMPT", attempt.tried.to_string()),
        ("TITAN_SLOT", attempt.slot.to_string()),
        ("TITAN_HOST", attempt.here.host.clone()),
    ]
}

/// What every process of an attempt has in its environment, unless it has cleared that.
pub(super) fn marks(attempt: &Attempt) -> Vec<Vec<u8>> {
    let is_mark = |name: &str| ["TITAN_BATCH_ID", "TITAN_JOB_ID", "TITAN_TASK_ID", "TITAN_ATTEMPT"].contains(&name);
    let marks = own(attempt).into_iter().filter(|(name, _)| is_mark(name));
    marks.map(|(name, value)| format!("{name}={value}").into_bytes()).collect()
}

/// The file that a name means: as the shell would find it, in the task's own PATH.
fn find(attempt: &Attempt, name: &OsStr, environment: &Environment, folder: Option<&Path>) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        let path = folder.unwrap_or(Path::new("")).join(name);
        return path.exists().then_some(path);
    }
    let path = environment.get("PATH").unwrap_or_else(|| OsStr::new(USUAL_PATH).into());
    attempt.job.found.find(name, path)
}

/// Whether a file is text as far as its first line, as shells ask before they take it for a script: a program for another
/// kind of machine isn't.
pub(super) fn may_be_script(program: &OsStr) -> bool {
    let mut first = Vec::new();
    let read = File::open(program).and_then(|file| file.take(FIRST_LINE_BYTES).read_to_end(&mut first));
    let line = first.split(|byte| *byte == b'\n').next().unwrap_or_default();
    read.is_ok() && !line.contains(&0) && !first.starts_with(b"\x7fELF")
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn not_found(name: &OsStr, environment: &Environment, host: &str) -> Outcome {
    let name = name.display();
    if name.to_string().contains('/') {
        return Outcome::failed_by_host(format!("{name} isn't found on {host}"));
    }
    let path = environment.get("PATH").map(|path| path.display().to_string());
    Outcome::failed_by_host(format!("{name} isn't found on {host} (PATH={})", path.unwrap_or_default()))
}
