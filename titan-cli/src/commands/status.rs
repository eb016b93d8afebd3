//! `titan status`: how far a batch is, live or ended.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::{Duration, UNIX_EPOCH};

use rustix::termios::tcgetwinsize;
use serde_json::{Value, json};

use crate::args::StatusArgs;
use crate::config::text::{columns, counted, printable};
use crate::config::units::human_duration;
use crate::driver::signals::Signals;
use crate::exit::{self, Failure};
use crate::json::line;
use crate::state::ended::{BatchState, EndMark};
use crate::state::live::{LiveFailure, LiveTask, LiveWorker};
use crate::state::view::View;
use crate::state::{Store, Stored, now_ms};

/// Running tasks of a host that are named in one line.
const MAX_NAMED: usize = 4;
/// How often is looked with -f.
const LOOK_SPAN: Duration = Duration::from_secs(1);

/// Tells how far a batch is.
pub(crate) fn run(args: &StatusArgs) -> Result<u8, Failure> {
    let store = Store::existing(args.state.batch_dir.as_deref())?;
    let batch = match &args.batch {
        Some(word) => store.named(word)?,
        None => newest(&store)?,
    };
    if args.follow {
        return crate::runtime::block_on(follow(args, &batch));
    }
    let view = View::of(&batch)?;
    crate::tell::print(&shown(args, &batch, &view))?;
    Ok(code(args, &view))
}

/// The newest batch.
pub(super) fn newest(store: &Store) -> Result<Stored, Failure> {
    let newest = store.list().into_iter().next();
    newest.ok_or_else(|| Failure::plain(exit::USAGE, "there is no batch yet"))
}

fn code(args: &StatusArgs, view: &View) -> u8 {
    match view.end {
        Some(end) if args.exit_code => end.exit_code,
        // Whoever asks for the code of a batch that hasn't one is told that it isn't 0.
        None if args.exit_code => exit::TASKS_FAILED,
        _ => exit::SUCCESS,
    }
}

fn shown(args: &StatusArgs, batch: &Stored, view: &View) -> String {
    if args.json { format!("{}\n", json_of(batch, view)) } else { text(batch, view) }
}

/// Until the batch ends, or somebody has seen enough.
async fn follow(args: &StatusArgs, batch: &Stored) -> Result<u8, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::plain(exit::CANNOT_WRITE, error))?;
    let redraws = io::stdout().is_terminal() && !args.json;
    let mut last = String::new();
    loop {
        let view = View::of(batch)?;
        let next = shown(args, batch, &view);
        if next != last {
            let up = if redraws && !last.is_empty() { format!("\x1b[{}F\x1b[J", rows(&last)) } else { String::new() };
            crate::tell::print(&format!("{up}{next}"))?;
            last = next;
        }
        if view.state != BatchState::Running {
            return Ok(code(args, &view));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_SPAN) => {}
            _ = signals.next() => {
                crate::tell::to_stderr(&still_runs(batch));
                return Ok(exit::SUCCESS);
            }
        }
    }
}

/// Rows of the terminal that a text takes.
fn rows(text: &str) -> usize {
    let width = tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    text.lines().map(|line| if width == 0 { 1 } else { columns(line).div_ceil(width).max(1) }).sum()
}

/// What is told to whoever stops watching.
pub(super) fn still_runs(batch: &Stored) -> String {
    format!("titan: batch {0} still runs; end it with: titan cancel {0}", batch.id)
}

/// A line for a batch that is over.
pub(super) fn over_line(batch: &Stored, end: &EndMark) -> String {
    let titan_manager::Verdict { completed, failed, cancelled, .. } = end.verdict;
    let name = batch.heading.as_ref().map_or("", |heading| heading.name.as_str());
    let total = counted(completed + failed + cancelled, "task");
    let mut line = format!("titan: batch {} ({}) is over: {}", batch.id, printable(name), end.state.word());
    let _ = write!(line, ", {completed} of {total} COMPLETED");
    if failed > 0 {
        let _ = write!(line, ", {failed} FAILED (again: {})", batch.way_on(" --retry-failed"));
    } else if cancelled > 0 && end.state == BatchState::Failed {
        let _ = write!(line, " (the rest: {})", batch.way_on(" --retry-failed"));
    }
    line
}

fn text(batch: &Stored, view: &View) -> String {
    let live = &view.live;
    let heading = batch.heading.clone().unwrap_or_default();
    let mut text = format!("{}  {}  {}\n", batch.id, printable(&heading.name), view.state.word());
    let _ = writeln!(text, "  {}", printable(&heading.shown));
    let total = if live.is_growing { "?".to_owned() } else { live.total.to_string() };
    let _ = write!(text, "  {} of {total} done", live.completed);
    let pending = pending(view);
    for (count, word) in [
        (live.running, "running"),
        (live.scheduled, "scheduled"),
        (pending, "pending"),
        (live.failed, "failed"),
        (live.cancelled, if view.state == BatchState::Interrupted { "stopped" } else { "cancelled" }),
        (live.retries, "retried"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {word}");
        }
    }
    let age = Duration::from_millis(now_ms().saturating_sub(heading.began_ms));
    let by = view.holder.as_ref().map(|holder| format!(" by {holder}")).unwrap_or_default();
    let _ = writeln!(text, "; begun {} ago{by}", human_duration(age));
    let width = live.workers.iter().map(|worker| printable(&worker.host).chars().count()).max().unwrap_or(0);
    for LiveWorker { host, state, completed, faults, reason, running } in &live.workers {
        let state = if view.holder.is_some() { format!("{state:<11}") } else { String::new() };
        let _ = write!(text, "  {:width$}  {state}{completed:5} done", printable(host));
        if *faults > 0 {
            let _ = write!(text, ", {}", counted(*faults, "host fault"));
        }
        let names = running.iter().take(MAX_NAMED).map(|LiveTask { label, seconds, .. }| {
            format!("{} ({})", printable(label), human_duration(Duration::from_secs_f64(seconds.clamp(0.0, 1e9))))
        });
        let names: Vec<String> = names.collect();
        if !names.is_empty() {
            let more = if running.len() > MAX_NAMED { ", …" } else { "" };
            let _ = write!(text, "; runs {}{more}", names.join(", "));
        }
        let _ =
            writeln!(text, "{}", reason.as_ref().map(|reason| format!(": {}", printable(reason))).unwrap_or_default());
    }
    for wait in &live.waits {
        let _ = writeln!(text, "  {}", printable(wait));
    }
    for LiveFailure { reason, state, count, tasks } in &live.failures {
        let more = if (tasks.len() as u64) < *count { ", …" } else { "" };
        let (plural, tasks) = (if *count == 1 { "task" } else { "tasks" }, printable(&tasks.join(", ")));
        let _ = writeln!(text, "  {count} {plural} {state}: {} ({plural} {tasks}{more})", printable(reason));
    }
    if let Some(way) = continue_with(batch, view) {
        let _ = writeln!(text, "  continue with: {way}");
    }
    text
}

fn pending(view: &View) -> u64 {
    let live = &view.live;
    live.total - (live.scheduled + live.running + live.completed + live.failed + live.cancelled).min(live.total)
}

fn continue_with(batch: &Stored, view: &View) -> Option<String> {
    match view.state {
        BatchState::Interrupted => Some(batch.way_on("")),
        BatchState::Failed => Some(batch.way_on(" --retry-failed")),
        BatchState::Running | BatchState::Completed | BatchState::Cancelled => None,
    }
}

/// A time for programs.
pub(super) fn time(at_ms: u64) -> Value {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(at_ms));
    json!(at.map(|at| humantime::format_rfc3339_millis(at).to_string()))
}

fn json_of(batch: &Stored, view: &View) -> String {
    let live = &view.live;
    let heading = batch.heading.clone().unwrap_or_default();
    let worker = |LiveWorker { host, state, completed, faults, reason, running }: &LiveWorker| {
        let running = running.iter().map(|LiveTask { job, task, label, attempt, seconds }| {
            json!({ "job": job, "task": task, "label": label, "attempt": attempt, "seconds": seconds })
        });
        json!({
            "host": host, "state": state, "completed": completed, "faults": faults, "reason": reason,
            "running": running.collect::<Vec<_>>(),
        })
    };
    let failure = |LiveFailure { reason, state, count, tasks }: &LiveFailure| json!({ "reason": reason, "state": state, "count": count, "tasks": tasks });
    line(
        "status",
        json!({
            "batch": batch.id.as_str(),
            "name": heading.name,
            "command": heading.shown,
            "state": view.state.word(),
            "began": time(heading.began_ms),
            "ended": view.end.map(|end| time(end.at_ms)),
            "exit_code": view.end.map(|end| end.exit_code),
            "pid": view.holder.as_ref().map(|holder| holder.pid),
            "on": view.holder.as_ref().map(|holder| &holder.host),
            "tasks": {
                "total": live.total, "growing": live.is_growing, "pending": pending(view), "scheduled": live.scheduled,
                "running": live.running, "completed": live.completed, "failed": live.failed, "cancelled": live.cancelled,
            },
            "retries": live.retries,
            "seconds": live.seconds,
            "workers": live.workers.iter().map(worker).collect::<Vec<_>>(),
            "waits": live.waits,
            "failures": live.failures.iter().map(failure).collect::<Vec<_>>(),
            "continue_with": continue_with(batch, view),
            "directory": batch.path.display().to_string(),
        }),
    )
}
