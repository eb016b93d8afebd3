//! `titan logs`: what has happened in a batch, or what one of its tasks has written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use serde_json::{Value, json};
use titan_manager::journal::{Entry, JobName, Past};
use titan_manager::{Lifecycle, Record, TaskEnd};
use titan_proto::capture::{Channel, Splitter};
use titan_proto::id::{JobId, TaskId};

use super::status::{still_runs, time};
use crate::args::LogsArgs;
use crate::config::text::{counted, printable};
use crate::config::units::human_duration;
use crate::driver::signals::Signals;
use crate::exit::{self, Failure};
use crate::json::line;
use crate::output::kept;
use crate::state::live::Live;
use crate::state::view::{self, label};
use crate::state::{Store, Stored, dir};

/// How often is looked with -f.
const LOOK_SPAN: Duration = Duration::from_millis(300);
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// Tells it.
pub(crate) fn run(args: &LogsArgs) -> Result<u8, Failure> {
    let store = Store::existing(args.state.batch_dir.as_deref())?;
    let batch = store.named(&args.batch)?;
    match &args.task {
        Some(task) => crate::runtime::block_on(written(args, &batch, task)),
        None => crate::runtime::block_on(events(args, &batch)),
    }
}

/// What has happened, and with -f what happens.
async fn events(args: &LogsArgs, batch: &Stored) -> Result<u8, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::plain(exit::CANNOT_WRITE, error))?;
    let mut told = 0;
    loop {
        let is_running = dir::holder(&batch.path).is_some();
        let (mut names, mut lines, mut number) = (Names::default(), String::new(), 0);
        view::read(&batch.path, |entry| {
            names.take(&entry);
            number += 1;
            if number > told
                && let Some(event) = names.event(&entry)
            {
                lines.push_str(&if args.json { line("event", event.json()) } else { event.text() });
                lines.push('\n');
            }
        })?;
        told = number;
        crate::tell::print(&lines)?;
        if !args.follow || !is_running {
            return Ok(exit::SUCCESS);
        }
        if wait(&mut signals).await {
            crate::tell::to_stderr(&still_runs(batch));
            return Ok(exit::SUCCESS);
        }
    }
}

/// Waits a little. True: somebody has seen enough.
async fn wait(signals: &mut Signals) -> bool {
    tokio::select! {
        () = tokio::time::sleep(LOOK_SPAN) => false,
        _ = signals.next() => true,
    }
}

/// What people call jobs and hosts, as far as the journal was read.
#[derive(Default)]
struct Names {
    jobs: Vec<JobName>,
    hosts: Vec<String>,
    lives: u32,
}

/// Something that has happened.
struct Event {
    at_ms: u64,
    task: Option<TaskId>,
    label: Option<String>,
    kind: &'static str,
    host: Option<String>,
    reason: Option<String>,
    seconds: Option<f64>,
    what: String,
}

impl Names {
    fn take(&mut self, entry: &Entry) {
        if let Entry::Began { hosts, jobs, .. } = entry {
            (self.hosts, self.jobs) = (hosts.clone(), jobs.clone());
            self.lives += 1;
        }
    }

    fn host(&self, number: u32) -> Option<String> {
        self.hosts.get(number as usize).cloned()
    }

    fn event(&self, entry: &Entry) -> Option<Event> {
        let none = |at_ms: u64, kind, what: String| Event {
            at_ms,
            task: None,
            label: None,
            kind,
            host: None,
            reason: None,
            seconds: None,
            what,
        };
        match entry {
            Entry::Began { hosts, at_ms, .. } => {
                let what = if self.lives == 1 { "begun" } else { "gone on with" };
                Some(none(*at_ms, "BEGAN", format!("batch {what} on {}", printable(&hosts.join(", ")))))
            }
            Entry::Manager { record, at_ms } => self.of_record(record, *at_ms),
            Entry::Ended { verdict, is_final, at_ms, .. } => {
                let end = if *is_final { "over" } else { "stopped" };
                let what = format!(
                    "batch {end}: {} completed, {} failed, {} cancelled",
                    verdict.completed, verdict.failed, verdict.cancelled
                );
                Some(none(*at_ms, "ENDED", what))
            }
            Entry::Taken { .. }
            | Entry::Identified { .. }
            | Entry::Reopened { .. }
            | Entry::Placed { .. }
            | Entry::Told { .. } => None,
        }
    }

    fn of_record(&self, record: &Record, at_ms: u64) -> Option<Event> {
        let event = |task: TaskId, kind, host: Option<u32>, reason: Option<&String>, what: String| Event {
            at_ms,
            task: Some(task),
            label: Some(label(&self.jobs, task)),
            kind,
            host: host.and_then(|host| self.host(host)),
            reason: reason.cloned(),
            seconds: None,
            what,
        };
        match record {
            Record::Given { task, host, .. } => Some(event(*task, "GIVEN", Some(host.0), None, "given to".to_owned())),
            Record::AttemptFailed { task, host, reason, .. } => {
                let what = format!("failed: {}", printable(reason));
                Some(event(*task, "ATTEMPT_FAILED", Some(host.0), Some(reason), what))
            }
            Record::Ended { end: TaskEnd { task, state, host, reason, process, .. }, summary } => {
                let wall = process.map(|process| process.wall_us).or(summary.map(|summary| summary.compute_us));
                let wall = wall.filter(|_| *state == Lifecycle::Completed).map(Duration::from_micros);
                let (kind, mut what) = match state {
                    Lifecycle::Completed => ("COMPLETED", "COMPLETED".to_owned()),
                    Lifecycle::Failed => ("FAILED", "FAILED".to_owned()),
                    _ => ("CANCELLED", "CANCELLED".to_owned()),
                };
                if let Some(reason) = reason {
                    what.push_str(&format!(": {}", printable(reason)));
                }
                if let Some(wall) = wall {
                    what.push_str(&format!(" in {}", human_duration(wall)));
                }
                let event = event(*task, kind, host.map(|host| host.0), reason.as_ref(), what);
                Some(Event { seconds: wall.map(|wall| wall.as_secs_f64()), ..event })
            }
            Record::Grown { .. }
            | Record::Closed { .. }
            | Record::Over { .. }
            | Record::Kept(_)
            | Record::HostFault { .. } => None,
        }
    }
}

impl Event {
    fn text(&self) -> String {
        let at = time(self.at_ms);
        let at = at.as_str().unwrap_or("?");
        let task = self.label.as_ref().map(|label| format!("task {}  ", printable(label))).unwrap_or_default();
        let host = self.host.as_ref().map(|host| format!("  {}", printable(host))).unwrap_or_default();
        format!("{at}  {task}{}{host}", self.what)
    }

    fn json(&self) -> Value {
        json!({
            "at": time(self.at_ms),
            "event": self.kind,
            "job": self.task.map(|task| task.job.0),
            "task": self.task.map(|task| task.index),
            "label": self.label,
            "host": self.host,
            "reason": self.reason,
            "seconds": self.seconds,
        })
    }
}

/// What one task has written, and with -f what it writes.
async fn written(args: &LogsArgs, batch: &Stored, word: &str) -> Result<u8, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::plain(exit::CANNOT_WRITE, error))?;
    let mut past = Past::default();
    view::read(&batch.path, |entry| past.add(entry, true))?;
    let task = find_task(&past, word)?;
    let mut sources: BTreeMap<String, Tail> = BTreeMap::new();
    loop {
        let is_running = dir::holder(&batch.path).is_some();
        let open = open(batch, task);
        let is_over = open.is_over;
        if let Some((name, file)) = open.file {
            // What an attempt has written is told once, wherever it is kept at last.
            let told = sources.values().next_back().filter(|_| is_over).map_or([0, 0], |tail| tail.told);
            let begin = || Tail { file, splitter: Splitter::default(), told: [0, 0], to_skip: told };
            sources.entry(name).or_insert_with(begin).tell(args.json, task)?;
        }
        if !args.follow || is_over || !is_running {
            if sources.is_empty() {
                explain_nothing(batch, &past, task);
            }
            return Ok(exit::SUCCESS);
        }
        if wait(&mut signals).await {
            crate::tell::to_stderr(&still_runs(batch));
            return Ok(exit::SUCCESS);
        }
    }
}

fn explain_nothing(batch: &Stored, past: &Past, task: TaskId) {
    let label = label(&past.names, task);
    let why = match past.is_told(task) {
        true => "wrote nothing, or more than is kept; --results DIR keeps all",
        false => "has written nothing yet",
    };
    crate::tell::to_stderr(&format!("titan: task {} of batch {} {why}", printable(&label), batch.id));
}

/// Where the output of a task is now.
struct Open {
    /// With a name that stays the same as long as it is the same file.
    file: Option<(String, File)>,
    is_over: bool,
}

fn open(batch: &Stored, task: TaskId) -> Open {
    if let Some(file) = kept::open(&batch.path, task) {
        return Open { file: Some(("kept".to_owned(), file)), is_over: true };
    }
    let spool = batch.path.join("spool");
    if let Ok(file) = File::open(spool.join(task.to_string())) {
        return Open { file: Some(("kept".to_owned(), file)), is_over: true };
    }
    let live = Live::read(&batch.path).unwrap_or_default();
    let mut running = live.workers.iter().flat_map(|worker| &worker.running);
    let attempt = running.find(|running| (running.job, running.task) == (task.job.0, task.index));
    let file = attempt.and_then(|running| {
        let name = format!("{}.part", running.attempt);
        Some((name.clone(), File::open(spool.join(name)).ok()?))
    });
    Open { file, is_over: false }
}

/// A stream of records that may still grow.
struct Tail {
    file: File,
    splitter: Splitter,
    /// Bytes of stdout and stderr that it has told, and that it has still to pass over.
    told: [usize; 2],
    to_skip: [usize; 2],
}

impl Tail {
    /// Tells what has come since.
    fn tell(&mut self, json: bool, task: TaskId) -> Result<(), Failure> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let length = self.file.read(&mut buffer).map_err(|error| cannot_read(&error))?;
            if length == 0 {
                return Ok(());
            }
            let mut told = Ok(());
            let Self { splitter, told: counts, to_skip, .. } = self;
            let split = splitter.push(&buffer[..length], |channel, bytes| {
                let stream = match channel {
                    Channel::Stdout => 0,
                    Channel::Stderr => 1,
                    Channel::Entry | Channel::Content => return,
                };
                let skipped = to_skip[stream].min(bytes.len());
                to_skip[stream] -= skipped;
                counts[stream] += bytes.len();
                if told.is_ok() && skipped < bytes.len() {
                    told = tell_piece(channel, &bytes[skipped..], json, task);
                }
            });
            told?;
            split.map_err(|error| cannot_read(&io::Error::other(error)))?;
        }
    }
}

fn tell_piece(channel: Channel, bytes: &[u8], json: bool, task: TaskId) -> Result<(), Failure> {
    let stream = match channel {
        Channel::Stdout => "stdout",
        Channel::Stderr => "stderr",
        Channel::Entry | Channel::Content => return Ok(()),
    };
    if json {
        let text = crate::output::record::text(bytes);
        let object = json!({ "job": task.job.0, "task": task.index, "stream": stream, "text": text });
        return crate::tell::print(&format!("{}\n", line("output", object))).map(drop);
    }
    if channel == Channel::Stderr {
        let _ = io::stderr().write_all(bytes);
        return Ok(());
    }
    crate::tell::print_bytes(bytes).map(drop)
}

fn cannot_read(error: &io::Error) -> Failure {
    Failure::plain(exit::CANNOT_WRITE, format!("cannot read what the task has written: {error}"))
}

/// `17`, `JOB` or `JOB:17`.
fn find_task(past: &Past, word: &str) -> Result<TaskId, Failure> {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    let (job, number) = match word.rsplit_once(':') {
        Some((job, number)) => (Some(job), number),
        None if is_number => (None, word),
        None => (Some(word), "1"),
    };
    let refuse = |problem: String, hint: String| Err(Failure::hinted(exit::USAGE, problem, hint));
    let names: Vec<&str> = past.names.iter().map(|job| job.name.as_str()).collect();
    let place = match job {
        Some(name) => names.iter().position(|known| *known == name),
        None if names.len() == 1 => Some(0),
        None => {
            let hint = format!("write JOB:{word}; there are {}", names.join(", "));
            return refuse(format!("'{}' could be of any job", printable(word)), hint);
        }
    };
    let Some(place) = place else {
        return refuse(format!("there is no job '{}'", printable(word)), format!("there are {}", names.join(", ")));
    };
    let (job, group) = (JobId(place as u32), past.names[place].group.max(1));
    let index = number.parse::<u32>().ok().and_then(|number| number.checked_sub(1)?.checked_mul(group));
    match index.filter(|index| *index < past.tasks_of(job)) {
        Some(index) => Ok(TaskId { job, index }),
        None => {
            let tasks = counted(u64::from(past.tasks_of(job) / group), "task");
            refuse(format!("there is no task '{}'", printable(word)), format!("there are {tasks}, from 1"))
        }
    }
}
