//! `setup`: run once under `sh` before a job's first task here; what it leaves in the environment is the tasks'.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Command, Stdio};

use titan_proto::command::SETUP_CHECK;

use super::Attempt;
use super::command::Variables;

/// What a setup has left in the environment.
pub(crate) type Environment = Variables;

/// Lines of its stderr that are told when it fails.
const TOLD_LINES: usize = 3;

/// The environment that tasks of the attempt's job start from.
///
/// # Errors
/// The setup failed here: a sentence.
pub(super) fn environment(attempt: &Attempt) -> Result<Environment, String> {
    let Some(setup) = &attempt.job.spec.setup else { return Ok(std::env::vars_os().collect()) };
    attempt.job.environment.get_or_init(|| run(attempt, setup)).clone()
}

fn run(attempt: &Attempt, setup: &[u8]) -> Result<Environment, String> {
    let here = &attempt.here.host;
    let cannot = |error: std::io::Error| format!("setup can't run on {here}: {error}");
    let file = attempt.scratch.file(&format!("environment-{}", attempt.task.job.0)).map_err(cannot)?;
    let left = Command::new("/bin/sh")
        .arg("-c")
        .arg(OsStr::from_bytes(&[setup, SETUP_CHECK, b"env -0 > \"$TITAN_SETUP_FILE\""].concat()))
        .envs(super::command::variables(attempt, std::env::vars_os().collect()))
        .env("TITAN_SETUP_FILE", &file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(cannot)?;
    let environment = fs::read(&file).unwrap_or_default();
    let _ = fs::remove_file(&file);
    if left.status.success() && environment.is_empty() {
        return Err(format!("setup failed on {here}: it ended before its end; is there an exit or a return in it?"));
    }
    if !left.status.success() {
        let stderr = String::from_utf8_lossy(&left.stderr);
        let lines: Vec<&str> = stderr.lines().rev().take(TOLD_LINES).collect();
        let told = lines.into_iter().rev().collect::<Vec<_>>().join(" / ");
        let told = if told.is_empty() { "it said nothing on stderr" } else { &told };
        return Err(format!("setup failed on {here} ({}): {told}", left.status));
    }
    Ok(parse(&environment))
}

fn parse(environment: &[u8]) -> Environment {
    let variables = environment.split(|byte| *byte == 0).filter_map(|variable| {
        let at = variable.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&variable[..at], &variable[at + 1..]);
        (name != b"TITAN_SETUP_FILE" && name != b"_")
            .then(|| (OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
    });
    variables.collect()
}
