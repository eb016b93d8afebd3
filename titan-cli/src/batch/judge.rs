//! What the end of a batch means: the exit code, what is said to people, the summary.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

use titan_manager::End;

use super::Batch;
use crate::config::text::{counted, printable};
use crate::driver::Ended;
use crate::exit::{self, Failure};
use crate::output::failures::Examples;
use crate::progress::Progress;
use crate::progress::summary::Summary;
use crate::progress::tally::HostTally;
use crate::state::dir::Conclusion;
use crate::state::ended::BatchState;
use crate::template::shell;

/// An exit code, the files that are in place, and the failure that `main` is to tell.
pub(super) struct Judged {
    code: u8,
    outputs: Vec<String>,
    failure: Option<Failure>,
    /// No host was ever there, and only a person can change that: nothing is left that a bare `titan resume` should take.
    never_began: bool,
}

impl Judged {
    /// Judges, and says why if there is no worker or somebody has interrupted.
    pub(super) fn of(
        batch: &Batch<'_>,
        is_new: bool,
        ended: &Ended,
        committed: io::Result<Vec<PathBuf>>,
        progress: &mut Progress,
    ) -> Self {
        let never_began = is_new
            && ended.verdict.is_some_and(|verdict| verdict.end == End::NoWorkers)
            && (ended.ending.is_none() && ended.feed_error.is_none())
            && progress.tally.present().all(|host| host.is_hopeless);
        match judge(batch, never_began, ended, committed, progress) {
            Ok((code, outputs)) => Self { code, outputs, failure: None, never_began },
            Err(failure) => Self { code: failure.code, outputs: Vec::new(), failure: Some(failure), never_began },
        }
    }

    /// Notes how the batch has ended, for whoever asks and whoever goes on with it.
    pub(super) fn note(&self, batch: &Batch<'_>, ended: &Ended) -> Result<(), Failure> {
        // A journal that can't be written says nothing; what there is of it can be gone on with.
        let (Some(verdict), None) = (ended.verdict, &ended.write_error) else { return Ok(()) };
        let was_stopped = ended.ending.is_some() || verdict.end == End::NoWorkers;
        let is_stopped = was_stopped || self.failure.is_some() || ended.feed_error.is_some();
        let is_final = ended.is_cancelled || self.never_began || !is_stopped;
        let state = match self.code {
            exit::SUCCESS => BatchState::Completed,
            _ if ended.is_cancelled => BatchState::Cancelled,
            _ => BatchState::Failed,
        };
        let conclusion = Conclusion { verdict, exit_code: self.code, is_final, state };
        batch.directory.conclude(conclusion).map_err(|error| write_failure(&error))
    }

    /// Says how it ended; a failure is left to `main` to be said.
    pub(super) fn conclude(
        self,
        batch: &Batch<'_>,
        ended: &Ended,
        progress: &mut Progress,
        examples: &Examples,
    ) -> Result<u8, Failure> {
        let summary = Summary {
            batch: batch.directory.id().as_str(),
            name: batch.name,
            tally: &progress.tally,
            verdict: ended.verdict,
            written: ended.written.as_deref().and_then(|written| written.first()),
            outputs: &self.outputs,
            exit_code: self.code,
            examples,
            ended: Instant::now(),
        };
        let text = batch.manner.is_summary_wanted(self.code).then(|| summary.text(&batch.manner));
        let is_empty = ended.verdict.is_some_and(|verdict| verdict.completed + verdict.failed + verdict.cancelled == 0);
        let text = if is_empty && self.code == exit::SUCCESS { Some("titan: nothing to do".to_owned()) } else { text };
        let json = summary.json();
        if let Some(text) = text
            && ended.ending.is_none()
            && self.code != exit::NO_WORKERS
            && self.failure.is_none()
        {
            progress.say(&text);
        }
        progress.clear();
        if batch.noise.json && self.code != exit::BROKEN_PIPE {
            crate::tell::print(&format!("{json}\n"))?;
        }
        self.failure.map_or(Ok(self.code), Err)
    }
}

fn judge(
    batch: &Batch<'_>,
    never_began: bool,
    ended: &Ended,
    committed: io::Result<Vec<PathBuf>>,
    progress: &mut Progress,
) -> Result<(u8, Vec<String>), Failure> {
    if let Some(error) = &ended.write_error {
        if error.kind() != io::ErrorKind::BrokenPipe {
            progress.say(&continue_with(batch));
        }
        return Err(write_failure(error));
    }
    if let Some(ending) = ended.ending {
        let done = ended.verdict.map_or(progress.tally.completed, |verdict| verdict.completed);
        let total = ended.verdict.map_or(done, |verdict| verdict.completed + verdict.failed + verdict.cancelled);
        let total = if ended.is_open { "?".to_owned() } else { total.to_string() };
        let hint = if ended.is_cancelled { "cancelled for good".to_owned() } else { continue_with(batch) };
        progress.say(&format!("interrupted: {done} of {total} done; {hint}"));
        return Ok((ending.exit_code(), Vec::new()));
    }
    let files = committed.map_err(|error| write_failure(&error))?;
    let code = match ended.verdict {
        Some(verdict) if verdict.end == End::NoWorkers => {
            explain_no_workers(batch, progress);
            if !never_began {
                progress.tell(&format!("{}; to drop it: {}", continue_with(batch), to_batch(batch, "cancel")));
            }
            exit::NO_WORKERS
        }
        // What the task that it failed says, is said.
        Some(verdict) if ended.unwritten.is_some() && verdict.failed > 0 => exit::CANNOT_WRITE,
        Some(verdict) if verdict.end == End::Halted(true) => exit::SUCCESS,
        Some(verdict) if verdict.failed + verdict.cancelled == 0 => exit::SUCCESS,
        _ => exit::TASKS_FAILED,
    };
    let code = if ended.feed_error.is_some() && code == exit::SUCCESS { exit::USAGE } else { code };
    Ok((code, files.iter().map(|path| path.display().to_string()).collect()))
}

/// How a batch that isn't over is gone on with.
fn continue_with(batch: &Batch<'_>) -> String {
    format!("continue with: {}", to_batch(batch, "resume"))
}

/// A command about a batch, as it can be pasted.
fn to_batch(batch: &Batch<'_>, command: &str) -> String {
    let folder = batch.batch_dir.map(|folder| folder.as_os_str().as_bytes().to_vec());
    let folder = folder.map(|folder| format!(" --batch-dir {}", String::from_utf8_lossy(&shell::for_paste(&[folder]))));
    format!("titan {command}{} {}", folder.unwrap_or_default(), batch.directory.id())
}

fn explain_no_workers(batch: &Batch<'_>, progress: &mut Progress) {
    let what = match batch.cluster.scheduler.min_workers {
        0 | 1 => "no usable worker".to_owned(),
        min if min as usize > batch.cluster.hosts.len() => {
            format!("min_workers = {min}, and there are only {}", counted(batch.cluster.hosts.len() as u64, "host"))
        }
        min => format!("no usable worker, or fewer than min_workers = {min}"),
    };
    let mut lines = vec![format!("error: {what}:")];
    for host in progress.tally.present() {
        let (reason, hint) = host.trouble.clone().unwrap_or_else(|| (host.word().to_owned(), None));
        let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        lines.push(format!("  {}: {reason}{hint}", printable(&host.name)));
    }
    if progress.tally.present().any(HostTally::was_lost) {
        lines.push("  what still runs on lost hosts goes on for titan resume, or ends with its lease".to_owned());
    }
    if let Some(hint) = &batch.smaller_tasks_hint
        && progress.tally.hosts.iter().any(|host| host.is_too_small)
    {
        lines.push(format!("  hint: {hint}"));
    }
    progress.tell(&lines.join("\n"));
}

fn write_failure(error: &io::Error) -> Failure {
    let problem = format!("cannot write: {error}");
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(exit::BROKEN_PIPE),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Failure::hinted(exit::CANNOT_WRITE, problem, "free space there, or write elsewhere")
        }
        io::ErrorKind::NotFound => Failure::hinted(exit::CANNOT_WRITE, problem, "was its folder moved or removed?"),
        _ => Failure::plain(exit::CANNOT_WRITE, problem),
    }
}
