//! `titan cancel`: a batch ends for good, whoever works on it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use titan_manager::{End, Verdict};
use titan_proto::id::Epoch;

use super::hosts::on_each_host;
use super::status::over_line;
use crate::args::CancelArgs;
use crate::config::cluster::Host;
use crate::config::text::printable;
use crate::driver::greeting::{farewell, hear_hello, meeting};
use crate::exit::{self, Failure};
use crate::json::line;
use crate::launch::{Binaries, ControlDirectory, Gates, LaunchError, Launching, launcher_for};
use crate::state::dir::{self, Conclusion, Opened};
use crate::state::ended::{BatchState, EndMark};
use crate::state::{Store, Stored};

/// How often is looked whether the batch has ended.
const LOOK_SPAN: Duration = Duration::from_millis(50);
/// Whoever waits is told after this for what.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long that may take: whoever works on it gives its tasks some seconds to stop.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// Ends a batch for good.
pub(crate) fn run(args: &CancelArgs) -> Result<u8, Failure> {
    let store = Store::existing(args.state.batch_dir.as_deref())?;
    let batch = store.named(&args.batch)?;
    if EndMark::read(&batch.path).is_none() || dir::holder(&batch.path).is_some() {
        match dir::holder(&batch.path) {
            Some(holder) => wait_for(&batch, &holder)?,
            None => end_it(&store, &batch)?,
        }
    }
    let Some(end) = EndMark::read(&batch.path) else {
        let problem = format!("batch {} has ended otherwise meanwhile", batch.id);
        return Err(Failure::hinted(exit::CANNOT_WRITE, problem, format!("titan status {} tells how", batch.id)));
    };
    match args.json {
        false => crate::tell::to_stderr(&over_line(&batch, &end)),
        true => drop(crate::tell::print(&format!("{}\n", object(&batch, &end)))?),
    }
    Ok(exit::SUCCESS)
}

/// Its titan is asked, and ends it.
fn wait_for(batch: &Stored, holder: &dir::Holder) -> Result<(), Failure> {
    let cannot = |error| Failure::plain(exit::CANNOT_WRITE, format!("cannot cancel batch {}: {error}", batch.id));
    dir::ask_to_cancel(&batch.path).map_err(cannot)?;
    let begun = Instant::now();
    let mut is_told = false;
    while dir::holder(&batch.path).is_some() {
        if begun.elapsed() > MAX_WAIT {
            let problem = format!("batch {} is still run by {holder}, which was asked to end it", batch.id);
            let hint = format!("look at it there: titan status {}", batch.id);
            return Err(Failure::hinted(exit::CANNOT_WRITE, problem, hint));
        }
        if begun.elapsed() > PATIENCE && !std::mem::replace(&mut is_told, true) {
            crate::tell::to_stderr(&format!("titan: {holder} was asked to end it, and hasn't yet; waiting"));
        }
        thread::sleep(LOOK_SPAN);
    }
    // It may have been killed before it could do so.
    match EndMark::read(&batch.path) {
        Some(_) => Ok(()),
        None => Err(Failure::plain(exit::CANNOT_WRITE, format!("{holder} ended without it: try again"))),
    }
}

/// Nobody works on it: what isn't over is CANCELLED, and what still runs on its hosts is ended there.
fn end_it(store: &Store, batch: &Stored) -> Result<(), Failure> {
    let opened = store.open(batch)?;
    send_away(batch, &opened);
    let (directory, counts) = (opened.directory, opened.past.counts());
    let verdict = Verdict {
        end: End::Cancelled,
        completed: counts.completed,
        failed: counts.failed,
        cancelled: counts.total.saturating_sub(counts.completed + counts.failed),
    };
    let conclusion =
        Conclusion { verdict, exit_code: exit::TASKS_FAILED, is_final: true, state: BatchState::Cancelled };
    directory
        .conclude(conclusion)
        .map_err(|error| Failure::plain(exit::CANNOT_WRITE, format!("cannot cancel batch {}: {error}", batch.id)))
}

/// Ends agents that still live, where they can be reached; elsewhere they end with their lease.
fn send_away(batch: &Stored, opened: &Opened) {
    let told = super::resume::cluster_of(opened).and_then(|cluster| {
        let launching = Arc::new(Launching {
            binaries: Binaries::default(),
            gates: Gates::default(),
            control: ControlDirectory::for_cluster(&cluster, batch.id.as_str(), Some(&opened.directory.temporaries()))?,
            ssh: cluster.ssh.clone(),
        });
        let (secret, epoch) = (opened.specification.secret, Epoch(opened.past.epoch.0 + 1));
        let act = move |host: Host, launching: Arc<Launching>| async move {
            send_away_from(&host, &launching, secret, epoch).await
        };
        crate::runtime::block_on(async { Ok(on_each_host(&cluster, &launching, act).await) })
    });
    let unreached: Vec<String> = match told {
        Ok(hosts) => hosts.into_iter().filter(|(_, told)| told.is_err()).map(|(name, _)| printable(&name)).collect(),
        Err(failure) => {
            crate::tell::to_stderr(&failure.message.unwrap_or_default());
            crate::tell::to_stderr("titan: its hosts aren't known: what may still run there ends with its lease");
            return;
        }
    };
    if !unreached.is_empty() {
        let hosts = unreached.join(", ");
        crate::tell::to_stderr(&format!(
            "titan: {hosts} can't be reached: what may still run there ends with its lease"
        ));
    }
}

/// Reaches a host's agent and tells it that it is over.
async fn send_away_from(host: &Host, launching: &Launching, secret: u64, epoch: Epoch) -> Result<(), LaunchError> {
    let launcher = launcher_for(host, &launching.ssh);
    let mut link = launcher.launch(launching, &meeting(secret, &host.name)).await?;
    let (agent, _) = hear_hello(&mut link).await?;
    farewell(link, agent, epoch).await;
    Ok(())
}

fn object(batch: &Stored, end: &EndMark) -> String {
    let Verdict { completed, failed, cancelled, .. } = end.verdict;
    line(
        "cancel",
        json!({
            "batch": batch.id.as_str(),
            "state": end.state.word(),
            "tasks": { "completed": completed, "failed": failed, "cancelled": cancelled },
        }),
    )
}
