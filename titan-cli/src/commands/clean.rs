//! `titan clean`: batches that are over go, and what titan keeps on hosts for later ones.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::hosts::on_each_host;
use crate::args::CleanArgs;
use crate::config::cluster::Cluster;
use crate::config::place::Place;
use crate::config::text::printable;
use crate::config::units::human_size;
use crate::driver::signals::Signals;
use crate::exit::{self, Failure};
use crate::json::line;
use crate::launch::{Binaries, ControlDirectory, Gates, LaunchError, Launching, bootstrap, launcher_for};
use crate::state::ended::EndMark;
use crate::state::{Store, Stored, dir};

/// A batch that goes.
struct Gone {
    batch: Stored,
    bytes: u64,
    state: &'static str,
}

/// What a host keeps: its folders with their sizes in bytes, or why that can't be told.
type Kept = (String, Result<Vec<(String, u64)>, LaunchError>);

/// Removes it, or tells what would go.
pub(crate) fn run(args: &CleanArgs) -> Result<u8, Failure> {
    let store = Store::existing(args.state.batch_dir.as_deref())?;
    let Place { cluster, .. } = super::place::resolve_place(&args.place)?;
    let batches = remove_batches(&store, !args.dry_run);
    let hosts = clean_hosts(&cluster, !args.dry_run)?;
    let text =
        if args.json { json_text(&batches, &hosts, args.dry_run) } else { table(&batches, &hosts, args.dry_run) };
    crate::tell::print(&text)?;
    let failed = hosts.iter().filter(|(_, kept)| kept.is_err()).count();
    Ok(if failed == 0 { exit::SUCCESS } else { exit::TASKS_FAILED })
}

/// Batches that are over, and that nobody works on.
fn remove_batches(store: &Store, removes: bool) -> Vec<Gone> {
    let over = store.list().into_iter().filter(|batch| dir::holder(&batch.path).is_none());
    let gone = over.filter_map(|batch| {
        let state = EndMark::read(&batch.path)?.state.word();
        let bytes = size_of(&batch.path);
        let is_gone = !removes || fs::remove_dir_all(&batch.path).is_ok();
        is_gone.then_some(Gone { batch, bytes, state })
    });
    gone.collect()
}

fn clean_hosts(cluster: &Cluster, removes: bool) -> Result<Vec<Kept>, Failure> {
    let launching = Arc::new(Launching {
        binaries: Binaries::default(),
        gates: Gates::default(),
        control: ControlDirectory::for_cluster(cluster, &format!("clean-{}", std::process::id()), None)?,
        ssh: cluster.ssh.clone(),
    });
    crate::runtime::block_on(async {
        let mut signals = Signals::listen().map_err(|error| Failure::plain(exit::CANNOT_WRITE, error))?;
        let act = move |host: crate::config::cluster::Host, launching: Arc<Launching>| async move {
            let launcher = launcher_for(&host, &launching.ssh);
            let mut shell = launcher.shell(&launching).await?;
            bootstrap::clean(&mut shell, removes).await
        };
        tokio::select! {
            hosts = on_each_host(cluster, &launching, act) => Ok(hosts),
            ending = signals.next() => Err(Failure::silent(ending.exit_code())),
        }
    })
}

fn table(batches: &[Gone], hosts: &[Kept], is_dry: bool) -> String {
    let mut lines = Vec::new();
    for Gone { batch, bytes, state } in batches {
        let name = printable(batch.heading.as_ref().map_or("?", |heading| &heading.name));
        lines.push(format!("batch {}  {name}  {state}  {}", batch.id, human_size(*bytes)));
    }
    for (host, kept) in hosts {
        match kept {
            Ok(folders) => lines.extend(
                folders
                    .iter()
                    .map(|(path, bytes)| format!("{}  {}  {}", printable(host), printable(path), human_size(*bytes))),
            ),
            Err(error) => lines.push(format!("{}: {}", printable(host), error.reason)),
        }
    }
    let kept = hosts.iter().filter_map(|(_, kept)| kept.as_ref().ok()).flatten().map(|(_, bytes)| bytes);
    let bytes: u64 = batches.iter().map(|gone| gone.bytes).chain(kept.copied()).sum();
    let word = if is_dry { "would go" } else { "removed" };
    lines.push(format!("{word}: {}", human_size(bytes)));
    lines.join("\n") + "\n"
}

fn json_text(batches: &[Gone], hosts: &[Kept], is_dry: bool) -> String {
    let batch = |Gone { batch, bytes, state }: &Gone| {
        let name = batch.heading.as_ref().map(|heading| heading.name.clone());
        json!({ "batch": batch.id.as_str(), "name": name, "state": state, "bytes": bytes })
    };
    let host = |(host, kept): &Kept| match kept {
        Ok(folders) => {
            let folders = folders.iter().map(|(path, bytes)| json!({ "path": path, "bytes": bytes }));
            json!({ "host": host, "caches": folders.collect::<Vec<_>>(), "reason": null })
        }
        Err(error) => json!({ "host": host, "caches": [], "reason": error.reason }),
    };
    let body = json!({
        "dry_run": is_dry,
        "batches": batches.iter().map(batch).collect::<Vec<_>>(),
        "hosts": hosts.iter().map(host).collect::<Vec<_>>(),
    });
    line("clean", body) + "\n"
}

/// How large a folder is, in bytes.
fn size_of(path: &Path) -> u64 {
    let Ok(data) = fs::symlink_metadata(path) else { return 0 };
    if !data.is_dir() {
        return data.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size_of(&entry.path())).sum()
}
