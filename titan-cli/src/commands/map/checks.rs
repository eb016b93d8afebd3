//! What can be checked before anything starts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::args::MapArgs;
use crate::exit::{self, Failure};

/// A variable's name and value.
type Variable = (Vec<u8>, Vec<u8>);

/// Whether the options go together.
pub(super) fn check(args: &MapArgs) -> Result<(), Failure> {
    if let Some(path) = &args.printing.results {
        super::check_results(path)?;
    }
    if args.process.stdin.as_deref() == Some(OsStr::new("-")) {
        let hint = "name a file of the hosts, or put the redirection into -s";
        return Err(Failure::hinted(
            exit::USAGE,
            "--stdin - isn't offered: titan doesn't send its stdin to tasks",
            hint,
        ));
    }
    if args.printing.dry_run && args.noise.json {
        let hint = "leave out --json: a dry run prints one line a task";
        return Err(Failure::hinted(exit::USAGE, "a dry run has no JSON", hint));
    }
    if args.noise.json && args.printing.tag {
        let hint = "leave out --tag: each object has its task's values";
        return Err(Failure::hinted(exit::USAGE, "with --json stdout holds only JSON", hint));
    }
    Ok(())
}

/// `--env NAME[=VALUE]`: a variable that is copied has to be there.
pub(super) fn variables(given: &[OsString]) -> Result<Vec<Variable>, Failure> {
    given.iter().map(|variable| self::variable(variable)).collect()
}

fn variable(given: &OsStr) -> Result<Variable, Failure> {
    let bytes = given.as_bytes();
    if let Some(at) = bytes.iter().position(|byte| *byte == b'=') {
        if at == 0 {
            let problem = format!("--env {}: a variable has a name", given.display());
            return Err(Failure::hinted(exit::USAGE, problem, "write --env NAME=VALUE"));
        }
        return Ok((bytes[..at].to_vec(), bytes[at + 1..].to_vec()));
    }
    match std::env::var_os(given) {
        Some(value) if !given.is_empty() => Ok((bytes.to_vec(), value.as_bytes().to_vec())),
        _ => {
            let problem = format!("--env {}: there is no such variable here", given.display());
            Err(Failure::hinted(exit::USAGE, problem, "write --env NAME=VALUE, or set it"))
        }
    }
}

/// `--workdir DIR`: on this machine it has to be there; elsewhere a relative one is relative to the user's home.
pub(super) fn workdir(folder: &OsStr, is_here: bool) -> Result<Vec<u8>, Failure> {
    if folder.is_empty() {
        return Err(Failure::plain(exit::USAGE, "--workdir: an empty path is no folder"));
    }
    if is_here && !std::path::Path::new(folder).is_dir() {
        let problem = format!("--workdir {}: there is no such folder", folder.display());
        return Err(Failure::hinted(exit::USAGE, problem, "make it first"));
    }
    Ok(folder.as_bytes().to_vec())
}
