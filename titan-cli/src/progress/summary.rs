//! What is said when a batch has ended, for people and as JSON.

use std::time::Instant;

use kernels::SinkReport;
use serde_json::{Value, json};

use titan_manager::Verdict;
use titan_proto::id::TaskId;

use super::Manner;
use super::tally::Tally;
use crate::config::text::{counted, cut, printable};
use crate::config::units::human_duration;
use crate::json::line;
use crate::output::failures::{Example, Examples};

/// Tasks of one kind of failure that are listed.
const MAX_LISTED_TASKS: usize = 10;

/// Characters of a command that are shown.
const MAX_COMMAND_CHARS: usize = 2_000;

/// Characters of a task's stderr that are shown.
const MAX_EXCERPT_CHARS: usize = 200;

/// Outputs that are named to people.
const MAX_NAMED_OUTPUTS: usize = 3;

/// Everything that a summary is made of.
pub(crate) struct Summary<'a> {
    pub(crate) batch: &'a str,
    pub(crate) name: &'a str,
    pub(crate) tally: &'a Tally,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) written: Option<&'a SinkReport>,
    pub(crate) outputs: &'a [String],
    pub(crate) examples: &'a Examples,
    pub(crate) exit_code: u8,
    pub(crate) ended: Instant,
}

impl Summary<'_> {
    /// The lines for people.
    pub(crate) fn text(&self, manner: &Manner) -> String {
        let mut lines = vec![self.headline()];
        let width = self.tally.present().map(|host| printable(&host.name).chars().count()).max().unwrap_or(0);
        for host in self.tally.present() {
            let mut text = format!("  {:width$}  {:5} tasks", printable(&host.name), host.done);
            if host.faults > 0 {
                text.push_str(&format!(", {}", counted(host.faults, "host fault")));
            }
            if !host.is_well() {
                let reason = host.trouble.as_ref().map(|(reason, _)| format!(": {}", printable(reason)));
                text.push_str(&format!("  ({}{})", host.word(), reason.unwrap_or_default()));
            }
            lines.push(text);
        }
        lines.extend(self.failure_lines(manner));
        if !manner.has_phases() {
            return lines.join("\n");
        }
        let parts = self.tally.division(self.ended);
        lines.push(format!(
            "  start-up {}, compute {}, transfer {}, encoding {}",
            human_duration(parts.start_up),
            human_duration(parts.compute),
            human_duration(parts.transfer),
            human_duration(parts.encoding),
        ));
        lines.join("\n")
    }

    fn headline(&self) -> String {
        let seconds = (self.ended - self.tally.begun).as_secs_f64();
        let made = match self.outputs {
            [] => printable(self.name),
            outputs => outputs_named(outputs),
        };
        let tasks = match self.verdict {
            Some(Verdict { completed, failed, cancelled, .. }) if failed + cancelled > 0 => {
                format!("{completed} of {}", counted(completed + failed + cancelled, "task"))
            }
            Some(verdict) => counted(verdict.completed, "task"),
            None => counted(self.tally.completed, "task"),
        };
        let mut text = format!("{made}: {tasks} in {seconds:.2} s");
        if let Some(Verdict { end: titan_manager::End::Halted(_), cancelled, .. }) = self.verdict {
            text.push_str(&format!(", halted: {cancelled} not run to their end"));
        }
        if self.tally.kept > 0 {
            text.push_str(&format!(", {} kept from before", self.tally.kept));
        }
        if self.tally.retries > 0 {
            text.push_str(&format!(", {} retried", self.tally.retries));
        }
        for (name, total) in self.written.map(|written| &written.totals[..]).unwrap_or_default() {
            text.push_str(&format!(", {}{name}/s", metric(*total as f64 / seconds.max(1e-9))));
        }
        text
    }

    fn failure_lines(&self, manner: &Manner) -> Vec<String> {
        let label = |task: &TaskId| match &manner.names {
            Some(names) => names.label(*task),
            None => task.index.to_string(),
        };
        let kind = |kind: &super::tally::FailureKind| {
            let mut sorted = kind.tasks.clone();
            sorted.sort_unstable();
            let tasks: Vec<String> = sorted.iter().take(MAX_LISTED_TASKS).map(label).collect();
            let more = if kind.tasks.len() > MAX_LISTED_TASKS { ", …" } else { "" };
            let plural = if kind.tasks.len() == 1 { "task" } else { "tasks" };
            let state = if kind.is_cancelled { "CANCELLED" } else { "FAILED" };
            let hosts: Vec<String> = kind.hosts.iter().map(|host| printable(self.tally.name(*host))).collect();
            let hosts = if hosts.is_empty() { String::new() } else { format!(" on {}", hosts.join(", ")) };
            let mut lines = vec![format!(
                "  {} {plural} {state}{hosts}: {} ({plural} {}{more})",
                kind.tasks.len(),
                printable(&kind.reason) + if kind.is_varied { ", and the like" } else { "" },
                tasks.join(", ")
            )];
            let example = self.examples.of(&kind.reason).filter(|_| !kind.is_cancelled);
            if let Some(Example { stderr, command }) = example {
                lines.extend(stderr.map(|line| format!("    stderr: {}", cut(&printable(&line), MAX_EXCERPT_CHARS))));
                let alone = sorted.first().and_then(|task| manner.names.as_ref()?.alone(*task));
                let alone = alone.unwrap_or_else(|| cut(&printable(&command), MAX_COMMAND_CHARS));
                lines.push(format!("    one alone: {alone}"));
            }
            lines.join("\n")
        };
        self.tally.failures.iter().map(kind).collect()
    }

    /// The object for programs.
    pub(crate) fn json(&self) -> String {
        let verdict = self.verdict.unwrap_or(Verdict {
            end: titan_manager::End::Cancelled,
            completed: self.tally.completed,
            failed: 0,
            cancelled: 0,
        });
        let parts = self.tally.division(self.ended);
        let totals: serde_json::Map<String, Value> = self
            .written
            .map(|written| written.totals.iter().map(|(name, total)| ((*name).to_owned(), json!(total))).collect())
            .unwrap_or_default();
        line(
            "summary",
            json!({
                "batch": self.batch,
                "name": self.name,
                "state": self.state(),
                "exit_code": self.exit_code,
                "tasks": {
                    "completed": verdict.completed, "failed": verdict.failed, "cancelled": verdict.cancelled,
                },
                "kept": self.tally.kept,
                "retries": self.tally.retries,
                "seconds": (self.ended - self.tally.begun).as_secs_f64(),
                "phases": {
                    "start_up": parts.start_up.as_secs_f64(),
                    "compute": parts.compute.as_secs_f64(),
                    "transfer": parts.transfer.as_secs_f64(),
                    "encoding": parts.encoding.as_secs_f64(),
                },
                "totals": totals,
                "hosts": self.tally.present().map(host_json).collect::<Vec<_>>(),
                "failures": self.tally.failures.iter().map(failure_json).collect::<Vec<_>>(),
                "outputs": self.outputs,
            }),
        )
    }

    fn state(&self) -> &'static str {
        match self.exit_code {
            crate::exit::SUCCESS => "COMPLETED",
            129..=143 => "CANCELLED",
            _ => "FAILED",
        }
    }
}

fn outputs_named(outputs: &[String]) -> String {
    let named: Vec<String> = outputs.iter().take(MAX_NAMED_OUTPUTS).map(|path| printable(path)).collect();
    match outputs.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {} more", named.join(", "), counted(more as u64, "file")),
    }
}

fn host_json(host: &super::tally::HostTally) -> Value {
    let (reason, hint) = host.trouble.clone().map_or((None, None), |(reason, hint)| (Some(reason), hint));
    json!({
        "host": host.name, "state": host.word(), "completed": host.done, "faults": host.faults, "sent_bytes": host.sent_bytes,
        "reason": reason, "hint": hint,
    })
}

fn failure_json(kind: &super::tally::FailureKind) -> Value {
    let tasks: Vec<u32> = kind.tasks.iter().map(|task| task.index).collect();
    let jobs: Vec<u32> = kind.tasks.iter().map(|task| task.job.0).collect();
    let state = if kind.is_cancelled { "CANCELLED" } else { "FAILED" };
    json!({ "reason": kind.reason, "state": state, "jobs": jobs, "tasks": tasks })
}

/// A number in three digits or so with a metric prefix.
fn metric(value: f64) -> String {
    let (scaled, prefix) = match value {
        v if v >= 1e9 => (v / 1e9, "G"),
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    format!("{scaled:.1} {prefix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_short() {
        assert_eq!(metric(1_234_567.0), "1.2 M");
        assert_eq!(metric(9.0e9), "9.0 G");
        assert_eq!(metric(19.24), "19.2 ");
    }
}
