//! `titan batches`: those that there are, the newest first.

use std::time::Duration;

use serde_json::json;

use super::status::time;
use crate::args::BatchesArgs;
use crate::config::text::{cut, printable};
use crate::config::units::human_duration;
use crate::exit::Failure;
use crate::json::line;
use crate::state::view::Brief;
use crate::state::{Store, Stored, now_ms};

/// Characters of what was typed that fit into a line.
const MAX_COMMAND_CHARS: usize = 60;

/// Lists the batches.
pub(crate) fn run(args: &BatchesArgs) -> Result<u8, Failure> {
    let store = Store::existing(args.state.batch_dir.as_deref())?;
    let batches: Vec<(Stored, Option<Brief>)> =
        store.list().into_iter().map(|batch| (Brief::of(&batch), batch)).map(|(brief, batch)| (batch, brief)).collect();
    if args.json {
        let objects: Vec<_> = batches.iter().map(|(batch, brief)| object(batch, brief.as_ref())).collect();
        return crate::tell::print(&format!("{}\n", line("batches", json!({ "batches": objects }))));
    }
    if batches.is_empty() {
        crate::tell::to_stderr("titan: there is no batch");
        return Ok(crate::exit::SUCCESS);
    }
    crate::tell::print(&table(&batches))
}

fn object(batch: &Stored, brief: Option<&Brief>) -> serde_json::Value {
    let heading = batch.heading.clone().unwrap_or_default();
    json!({
        "batch": batch.id.as_str(),
        "name": heading.name,
        "command": heading.shown,
        "state": brief.map(|brief| brief.state.word()),
        "began": time(heading.began_ms),
        "exit_code": brief.and_then(|brief| brief.exit_code),
        "tasks": brief.map(|brief| json!({
            "total": brief.total, "growing": brief.is_growing, "completed": brief.completed, "failed": brief.failed,
        })),
        "directory": batch.path.display().to_string(),
    })
}

fn table(batches: &[(Stored, Option<Brief>)]) -> String {
    let name = |batch: &Stored| printable(batch.heading.as_ref().map_or("?", |heading| &heading.name));
    let done = |brief: &Option<Brief>| match brief {
        Some(Brief { completed, is_growing: true, .. }) => format!("{completed}/?"),
        Some(Brief { completed, total, .. }) => format!("{completed}/{total}"),
        None => "?".to_owned(),
    };
    let width = |texts: &mut dyn Iterator<Item = String>| texts.map(|text| text.chars().count()).max().unwrap_or(0);
    let ids = width(&mut batches.iter().map(|(batch, _)| batch.id.to_string())).max(2);
    let names = width(&mut batches.iter().map(|(batch, _)| name(batch))).max(4);
    let dones = width(&mut batches.iter().map(|(_, brief)| done(brief))).max(4);
    let mut lines =
        vec![format!("{:ids$}  {:names$}  {:11}  {:>dones$}  {:>8}  COMMAND", "ID", "NAME", "STATE", "DONE", "AGE")];
    for (batch, brief) in batches {
        let heading = batch.heading.clone().unwrap_or_default();
        let age = human_duration(Duration::from_millis(now_ms().saturating_sub(heading.began_ms)));
        let state = brief.as_ref().map_or("?", |brief| brief.state.word());
        let command = cut(&printable(&heading.shown), MAX_COMMAND_CHARS);
        lines.push(format!(
            "{:ids$}  {:names$}  {state:11}  {:>dones$}  {age:>8}  {command}",
            batch.id.to_string(),
            name(batch),
            done(brief),
        ));
    }
    lines.join("\n") + "\n"
}
