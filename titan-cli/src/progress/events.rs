//! Progress as JSON: an object on stderr for each thing that happens, with the names that docs/json.md gives.

use serde_json::{Value, json};

use titan_manager::{HostId, Lifecycle, Report, TaskEnd};
use titan_proto::id::TaskId;

use super::tally::Tally;
use crate::driver::note::Note;
use crate::json::line;

/// A line for people, as an event.
pub(super) fn message(text: &str) -> String {
    line("message", json!({ "text": text }))
}

/// What happened, as an event.
pub(super) fn event(note: &Note, tally: &Tally) -> Option<String> {
    kind_and_body(note, tally).map(|(kind, body)| line(kind, body))
}

fn kind_and_body(note: &Note, tally: &Tally) -> Option<(&'static str, Value)> {
    let host_event = |host: &HostId, reason: Option<&str>| {
        let state = tally.hosts[host.0 as usize].word();
        Some(("host", json!({ "host": tally.name(*host), "state": state, "reason": reason })))
    };
    match note {
        Note::Joined { host, .. } => host_event(host, None),
        Note::Trouble { host, error } | Note::Down { host, error } => host_event(host, Some(&error.reason)),
        Note::Lost { host, reason } | Note::Away { host, reason } => host_event(host, Some(reason)),
        Note::Back { host } => host_event(host, None),
        Note::Manager(report) => match report {
            Report::Quarantined { host, reason, .. } => host_event(host, Some(reason)),
            Report::Released { host, .. }
            | Report::Unhealthy { host, .. }
            | Report::HealthyAgain { host }
            | Report::TooSmall { host, .. } => host_event(host, None),
            report => task_event(report, tally),
        },
        // Of a task that was never tried nothing was told.
        Note::Missed(end) => (end.attempts > 0 || end.state == Lifecycle::Failed).then(|| missed_event(end)),
        Note::Stopping(_) | Note::Cancelling | Note::NoMoreTasks { .. } | Note::Said { .. } => None,
    }
}

fn task_event(report: &Report, tally: &Tally) -> Option<(&'static str, Value)> {
    let (task, state, host, seconds, reason) = match report {
        Report::Started { task, host, .. } | Report::Adopted { task, host, .. } => {
            (task, "RUNNING", Some(host), None, None)
        }
        Report::Completed { task, host, compute, .. } => {
            (task, "COMPLETED", Some(host), Some(compute.as_secs_f64()), None)
        }
        Report::AttemptFailed { task, host, reason, .. } => (task, "PENDING", Some(host), None, Some(reason)),
        _ => return None,
    };
    let host = host.map(|host| tally.name(*host));
    Some(task_body(*task, state, host, seconds, reason))
}

/// The end of a task that isn't COMPLETED.
fn missed_event(end: &TaskEnd) -> (&'static str, Value) {
    let state = if end.state == Lifecycle::Failed { "FAILED" } else { "CANCELLED" };
    task_body(end.task, state, None, None, end.reason.as_ref())
}

fn task_body(
    task: TaskId,
    state: &str,
    host: Option<&str>,
    seconds: Option<f64>,
    reason: Option<&String>,
) -> (&'static str, Value) {
    let body = json!({
        "job": task.job.0, "task": task.index, "state": state, "host": host, "seconds": seconds, "reason": reason,
    });
    ("task", body)
}
