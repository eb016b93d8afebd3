//! What can be checked before anything starts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::args::{GnuOptions, MapArgs};
use crate::config::text::printable;
use crate::exit::{self, Failure};

/// A variable's name and value.
type Variable = (Vec<u8>, Vec<u8>);

/// Options of GNU parallel that aren't offered, and titan's way.
fn check_gnu(args: &MapArgs) -> Result<(), Failure> {
    let GnuOptions { pipe, pipepart, xargs, transfer, many, tmux, semaphore, ungroup, nonall, plus, files, .. } =
        args.gnu;
    let GnuOptions { sshloginfile, max_lines, tagstring, rpl, trim, .. } = &args.gnu;
    let fixed = "give each task so many values: -n 100";
    let refused = [
        (pipe, "--pipe", "split the input first: split -l 1000 FILE part. && titan map --stdin {} COMMAND ::: part.*"),
        (
            pipepart,
            "--pipepart",
            "split the file first: split -l 1000 FILE part. && titan map -i {} COMMAND ::: part.*",
        ),
        (xargs, "-X", fixed),
        (transfer, "--transfer", "give each task its value's file: -i {}"),
        (many, "-m", fixed),
        (tmux, "--tmux", "watch it with -v, or look into --results DIR"),
        (ungroup, "--ungroup", "lines as they come: --line-buffer"),
        (nonall, "--nonall", "once on every host: --each-host"),
        (sshloginfile.is_some(), "--sshloginfile", "name the hosts in a file: --cluster cluster.toml"),
        (max_lines.is_some(), "-L", fixed),
        (tagstring.is_some(), "--tagstring", "--tag puts the values before each line"),
        (plus, "--plus", "use -s with what sh makes of {}: x={}; echo \"${x%.tar.gz}\""),
        (rpl.is_some(), "--rpl", "use -s with what sh, sed or awk make of {}"),
        (trim.is_some(), "--trim", "trim values before they come here: sed 's/^ *//; s/ *$//'"),
        (files, "--files", "--results DIR keeps what tasks print in files"),
        (semaphore, "--semaphore", "flock(1) does that on one machine; for tasks of one batch: -j N, or --resource"),
    ];
    if let Some((_, option, hint)) = refused.into_iter().find(|(is_given, ..)| *is_given) {
        return Err(Failure::hinted(exit::USAGE, format!("{option} isn't offered"), hint));
    }
    let perl = args.words.iter().chain(&args.values.script).find(|word| {
        let word = word.as_bytes();
        word.windows(2).any(|pair| pair == b"{=") && word.windows(2).any(|pair| pair == b"=}")
    });
    match perl {
        Some(word) => {
            let problem = format!("{{= … =}} isn't offered, and '{}' has it", printable(&word.to_string_lossy()));
            Err(Failure::hinted(exit::USAGE, problem, "use -s with what sh, sed or awk make of {}"))
        }
        None => Ok(()),
    }
}

/// Whether the options go together.
pub(super) fn check(args: &MapArgs, is_new: bool) -> Result<(), Failure> {
    check_gnu(args)?;
    if let Some(path) = args.printing.results.as_ref().filter(|_| is_new) {
        super::check_results(path)?;
    }
    if args.printing.dry_run && args.common.noise.json {
        let hint = "leave out --json: a dry run prints one line a task";
        return Err(Failure::hinted(exit::USAGE, "a dry run has no JSON", hint));
    }
    if args.common.noise.json && args.printing.tag {
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
