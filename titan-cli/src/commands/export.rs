//! `titan export`: all tasks of a batch and how they ended, as a table.

use std::collections::BTreeMap;

use serde_json::json;
use titan_manager::journal::{Entry, JobName, PlacedContent};
use titan_manager::{Lifecycle, Record, TaskEnd};
use titan_proto::id::{JobId, TaskId};

use super::status::time;
use crate::args::ExportArgs;
use crate::exit::Failure;
use crate::json::line;
use crate::output::record::text;
use crate::output::results::quoted;
use crate::state::Store;
use crate::state::view::{self, label};

const HEADER: &str =
    "job,task,label,state,attempts,attempt,host,exit,signal,reason,ended,seconds,cpu_seconds,max_rss,outputs,values\n";

/// What is known of a task.
#[derive(Default)]
struct Row {
    end: Option<TaskEnd>,
    ended_ms: u64,
    compute_us: Option<u64>,
    values: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
}

/// All that a journal tells of tasks.
#[derive(Default)]
struct Table {
    jobs: Vec<JobName>,
    hosts: Vec<String>,
    tasks: BTreeMap<JobId, u32>,
    rows: BTreeMap<TaskId, Row>,
    /// When the whole ended, if nobody works on it.
    ended_ms: Option<u64>,
}

/// Prints it.
pub(crate) fn run(args: &ExportArgs) -> Result<u8, Failure> {
    let store = Store::existing(args.state.batch_dir.as_deref())?;
    let batch = store.named(&args.batch)?;
    let mut table = Table::default();
    view::read(&batch.path, |entry| table.take(entry))?;
    let mut out: Vec<u8> = if args.json { Vec::new() } else { HEADER.into() };
    for (&job, &tasks) in &table.tasks {
        for task in (0..tasks).map(|index| TaskId { job, index }) {
            out.extend(if args.json { table.object(task).into_bytes() } else { table.row(task) });
            out.push(b'\n');
        }
    }
    crate::tell::print_bytes(&out)
}

impl Table {
    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Began { hosts, jobs, .. } => (self.hosts, self.jobs, self.ended_ms) = (hosts, jobs, None),
            Entry::Manager { record: Record::Grown { job, tasks }, .. } => drop(self.tasks.insert(job, tasks)),
            Entry::Manager { record: Record::Ended { end, summary }, at_ms } => {
                let row = self.rows.entry(end.task).or_default();
                row.compute_us = summary.map(|summary| summary.compute_us);
                (row.end, row.ended_ms) = (Some(end), at_ms);
            }
            Entry::Manager { record: Record::Kept(kept), .. } => {
                self.rows.entry(kept.task).or_default().outputs.clear();
            }
            Entry::Taken { task, values } => self.rows.entry(task).or_default().values = values,
            Entry::Placed { task, files } => {
                let files = files.into_iter().filter(|file| file.content != PlacedContent::Folder);
                self.rows.entry(task).or_default().outputs.extend(files.map(|file| file.path));
            }
            Entry::Reopened { task } => {
                let values = std::mem::take(&mut self.rows.entry(task).or_default().values);
                self.rows.insert(task, Row { values, ..Row::default() });
            }
            Entry::Ended { at_ms, .. } => self.ended_ms = Some(at_ms),
            Entry::Manager { .. } | Entry::Identified { .. } | Entry::Told { .. } => {}
        }
    }

    fn host(&self, end: &TaskEnd) -> Option<&str> {
        end.host.and_then(|host| self.hosts.get(host.0 as usize)).map(String::as_str)
    }

    /// When a task ended: one that has no end of its own, with the whole.
    fn ended_ms(&self, row: &Row) -> Option<u64> {
        row.end.as_ref().map(|_| row.ended_ms).or(self.ended_ms)
    }

    /// A task that hasn't ended may run or not: its journal doesn't tell.
    fn state(&self, end: Option<&TaskEnd>) -> &'static str {
        match end.map(|end| end.state) {
            Some(Lifecycle::Completed) => "COMPLETED",
            Some(Lifecycle::Failed) => "FAILED",
            Some(_) => "CANCELLED",
            None if self.ended_ms.is_some() => "CANCELLED",
            None => "PENDING",
        }
    }

    fn object(&self, task: TaskId) -> String {
        let none = Row::default();
        let row = self.rows.get(&task).unwrap_or(&none);
        let (end, process) = (row.end.as_ref(), row.end.as_ref().and_then(|end| end.process));
        let wall_us = process.map(|process| process.wall_us).or(row.compute_us);
        line(
            "task",
            json!({
                "job": task.job.0,
                "task": task.index,
                "label": label(&self.jobs, task),
                "state": self.state(end),
                "attempts": end.map_or(0, |end| end.attempts),
                "attempt": end.and_then(|end| end.attempt).map(|attempt| attempt.to_string()),
                "host": end.and_then(|end| self.host(end)),
                "exit": process.and_then(|process| process.exit),
                "signal": process.and_then(|process| process.signal),
                "reason": end.and_then(|end| end.reason.as_deref()),
                "ended": self.ended_ms(row).map(time),
                "seconds": wall_us.map(|us| us as f64 / 1e6),
                "cpu_seconds": process.map(|process| process.cpu_us as f64 / 1e6),
                "max_rss": process.map(|process| process.max_rss_bytes),
                "outputs": row.outputs.iter().map(|path| text(path)).collect::<Vec<_>>(),
                "values": row.values.iter().map(|value| text(value)).collect::<Vec<_>>(),
            }),
        )
    }

    fn row(&self, task: TaskId) -> Vec<u8> {
        let none = Row::default();
        let row = self.rows.get(&task).unwrap_or(&none);
        let (end, process) = (row.end.as_ref(), row.end.as_ref().and_then(|end| end.process));
        let shown = |value: Option<String>| value.unwrap_or_default().into_bytes();
        let seconds = |us: u64| format!("{:.6}", us as f64 / 1e6);
        let job = self.jobs.get(task.job.0 as usize).map(|job| job.name.clone());
        let outputs: Vec<&[u8]> = row.outputs.iter().map(Vec::as_slice).collect();
        let mut fields: Vec<Vec<u8>> = vec![
            shown(job),
            shown(Some(task.index.to_string())),
            shown(Some(label(&self.jobs, task))),
            shown(Some(self.state(end).to_owned())),
            shown(Some(end.map_or(0, |end| end.attempts).to_string())),
            shown(end.and_then(|end| end.attempt).map(|attempt| attempt.to_string())),
            shown(end.and_then(|end| self.host(end)).map(str::to_owned)),
            shown(process.and_then(|process| process.exit).map(|exit| exit.to_string())),
            shown(process.and_then(|process| process.signal).map(|signal| signal.to_string())),
            shown(end.and_then(|end| end.reason.clone())),
            shown(self.ended_ms(row).and_then(|at_ms| time(at_ms).as_str().map(str::to_owned))),
            shown(process.map(|process| process.wall_us).or(row.compute_us).map(seconds)),
            shown(process.map(|process| seconds(process.cpu_us))),
            shown(process.map(|process| process.max_rss_bytes.to_string())),
            outputs.join(&b' '),
        ];
        fields.extend(row.values.iter().cloned());
        if row.values.is_empty() {
            fields.push(Vec::new());
        }
        fields.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(&b',')
    }
}
