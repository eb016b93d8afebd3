//! Words, environment and folder → a program that can be spawned: resolved here, by the task's own PATH.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use titan_proto::command::Workdir;
use titan_proto::message::Outcome;

use super::Attempt;
use super::environment::Environment;
use super::limits;
use super::spawn::{Goes, Program};

/// Where programs are looked for if there is no PATH.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A program that was found is looked for again after this: another one may have come before it.
const FOUND_SPAN: Duration = Duration::from_secs(1);

/// Of a file's first line so much is looked at.
const FIRST_LINE_BYTES: u64 = 256;

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
    fn find(&self, name: &OsStr, path: &OsStr) -> Option<PathBuf> {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |last: &&FoundProgram| last.name == name && last.path == path && last.at.elapsed() < FOUND_SPAN;
        if let Some(last) = found.as_ref().filter(is_it).filter(|last| is_program(&last.program)) {
            return Some(last.program.clone());
        }
        let program = std::env::split_paths(path).map(|folder| folder.join(name)).find(|path| is_program(path))?;
        let (name, path) = (name.to_owned(), path.to_owned());
        *found = Some(FoundProgram { name, path, program: program.clone(), at: Instant::now() });
        Some(program)
    }
}

/// The attempt's program, ready to be spawned in that folder; `by_shell`: as a script that doesn't name its interpreter.
/// It is in no cgroup.
///
/// # Errors
/// It can't be: the outcome says whose fault that is.
pub(super) fn build<'e>(
    attempt: &Attempt,
    environment: &'e Environment,
    folder: Option<&Path>,
    by_shell: bool,
) -> Result<Program<'e>, Outcome> {
    let no_string = || Outcome::failed("a NUL byte in its words, which no argument can hold");
    let words = attempt.command.words.iter().map(|word| CString::new(word.for_slot(attempt.slot)));
    let mut words: Vec<CString> = words.collect::<Result<_, _>>().map_err(|_| no_string())?;
    let Some(name) = words.first().map(|name| OsStr::from_bytes(name.as_bytes())) else {
        return Err(Outcome::failed("it has no words"));
    };
    let host = &attempt.here.host;
    let program = find(attempt, name, environment, folder).ok_or_else(|| not_found(name, environment, host))?;
    let mut path = c_string(program).ok_or_else(no_string)?;
    if by_shell {
        let shell = CString::from(c"/bin/sh");
        words.splice(..1, [shell.clone(), std::mem::replace(&mut path, shell)]);
    }
    Ok(Program {
        path,
        words,
        environment: environment.entries().map_err(Outcome::failed)?,
        folder: folder.map(|folder| c_string(folder).ok_or_else(no_string)).transpose()?,
        stdin: stdin(attempt, folder)?,
        writes: match attempt.job.spec.captures {
            true => [Goes::Captured, Goes::Captured],
            false => [Goes::Nowhere, Goes::Nowhere],
        },
        open_files: attempt.open_files,
        oom_score: limits::oom_score(),
        cgroup: None,
    })
}

fn c_string(path: impl Into<PathBuf>) -> Option<CString> {
    CString::new(path.into().into_os_string().into_vec()).ok()
}

fn stdin(attempt: &Attempt, folder: Option<&Path>) -> Result<Option<File>, Outcome> {
    let Some(path) = &attempt.command.stdin else { return Ok(None) };
    let path = folder.unwrap_or(Path::new("")).join(OsStr::from_bytes(path));
    let here = &attempt.here.host;
    let problem = |error| Outcome::failed_by_host(format!("its stdin {} on {here}: {error}", path.display()));
    File::open(&path).map(Some).map_err(problem)
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

/// The file that a name means: as the shell would find it, in the task's own PATH.
fn find(attempt: &Attempt, name: &OsStr, environment: &Environment, folder: Option<&Path>) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        let path = folder.unwrap_or(Path::new("")).join(name);
        return path.exists().then_some(path);
    }
    let path = environment.get("PATH").unwrap_or(OsStr::new(USUAL_PATH));
    attempt.job.found.find(name, path)
}

/// Whether a file is text as far as its first line, as shells ask before they take it for a script: a program for another
/// kind of machine isn't.
pub(super) fn may_be_script(program: &Path) -> bool {
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
