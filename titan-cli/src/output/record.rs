//! One ended task, as it is told to programs.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use titan_manager::{Lifecycle, TaskEnd};
use titan_proto::capture::Channel;

use super::Concluded;
use super::printer::each_piece;
use crate::json::line;
use crate::state::spool::Spool;

/// Bytes of each stream that an object holds.
const MAX_SHOWN_BYTES: usize = 1 << 20;

/// What is known of an ended task.
pub(crate) struct TaskRecord {
    pub(crate) batch: String,
    pub(crate) end: TaskEnd,
    pub(crate) host: Option<String>,
    pub(crate) asked: Concluded,
    /// What is in its place, as a person would name it.
    pub(crate) committed: Vec<PathBuf>,
    /// By this machine's clock, since 1970.
    pub(crate) ended: Duration,
}

impl TaskRecord {
    /// The number by which people know it, from 1.
    pub(crate) fn sequence(&self) -> u64 {
        u64::from(self.end.task.index) + 1
    }

    /// How long its process ran.
    pub(crate) fn wall(&self) -> Option<Duration> {
        self.end.process.map(|process| Duration::from_micros(process.wall_us))
    }

    /// When its process started, by this machine's clock: counted back from its end.
    pub(crate) fn started(&self) -> Option<Duration> {
        self.wall().map(|wall| self.ended.saturating_sub(wall))
    }

    /// The state's name in capitals.
    pub(crate) fn state(&self) -> &'static str {
        match self.end.state {
            Lifecycle::Completed => "COMPLETED",
            Lifecycle::Failed => "FAILED",
            _ => "CANCELLED",
        }
    }

    /// The object for programs, with what it wrote.
    pub(crate) fn json(&self, spool: &Spool) -> io::Result<String> {
        let mut streams = Streams::default();
        each_piece(spool, self, |channel, bytes| {
            streams.push(channel, bytes);
            Ok(())
        })?;
        let mut object = self.object();
        if self.end.has_result {
            object["stdout"] = text(&streams.stdout);
            object["stderr"] = text(&streams.stderr);
        }
        object["truncated"] = json!(streams.truncated);
        Ok(line("task", object))
    }

    /// The object without what it wrote.
    pub(crate) fn object(&self) -> Value {
        let TaskEnd { task, attempt, attempts, process, reason, .. } = &self.end;
        let time = |at: Duration| humantime::format_rfc3339_millis(UNIX_EPOCH + at).to_string();
        let seconds = |us: u64| us as f64 / 1e6;
        json!({
            "batch": self.batch,
            "job": task.job.0,
            "task": task.index,
            "seq": self.sequence(),
            "values": self.asked.values.iter().map(|value| text(value)).collect::<Vec<_>>(),
            "command": text(&self.asked.command),
            "state": self.state(),
            "attempt": attempt.map(|attempt| attempt.to_string()),
            "attempts": attempts,
            "host": self.host,
            "exit": process.and_then(|process| process.exit),
            "signal": process.and_then(|process| process.signal),
            "reason": reason.as_deref().or((self.end.state == Lifecycle::Cancelled).then_some("the batch was stopped")),
            "started": self.started().map(time),
            "ended": process.map(|_| time(self.ended)),
            "seconds": process.map(|process| seconds(process.wall_us)),
            "cpu_seconds": process.map(|process| seconds(process.cpu_us)),
            "max_rss": process.map(|process| process.max_rss_bytes),
            "stdout": null,
            "stderr": null,
            "truncated": false,
            "outputs": self.committed.iter().map(|path| text(path.as_os_str().as_bytes())).collect::<Vec<_>>(),
        })
    }
}

/// What stands before each line of a task of these values with `--tag`.
pub(crate) fn tag(values: &[Vec<u8>]) -> Vec<u8> {
    [&values.join(&b' ')[..], b"\t"].concat()
}

#[derive(Default)]
struct Streams {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
}

impl Streams {
    fn push(&mut self, channel: Channel, bytes: &[u8]) {
        let stream = match channel {
            Channel::Stdout => &mut self.stdout,
            _ => &mut self.stderr,
        };
        let room = MAX_SHOWN_BYTES - stream.len();
        self.truncated |= bytes.len() > room;
        stream.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Bytes as JSON: a string, or base64 where they are none.
pub(crate) fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        // Cut within a character: the part of it that is there isn't worth base64.
        Err(error) if error.error_len().is_none() && bytes.len() == MAX_SHOWN_BYTES => {
            text(&bytes[..error.valid_up_to()])
        }
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}
