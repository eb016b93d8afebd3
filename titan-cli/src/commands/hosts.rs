//! `titan hosts`: looks at every host at once, sends nothing to any, and says what to do about those that don't work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::args::HostsArgs;
use crate::config::cluster::{Cluster, Host, Reach};
use crate::config::place::Place;
use crate::config::text::{columns, printable};
use crate::config::units::{human_duration, human_size};
use crate::driver::signals::Signals;
use crate::exit::{self, Failure};
use crate::json::line;
use crate::launch::bootstrap::{self, Requirements};
use crate::launch::gate::jittered;
use crate::launch::{Binaries, ControlDirectory, Gates, Lasting, LaunchError, Launching, Shell, launcher_for};

/// How often the round trip is measured; the shortest counts.
const ROUND_TRIPS: usize = 3;

/// How long about to wait for an sshd that has too many logins under way.
const BUSY_WAIT: Duration = Duration::from_millis(500);

/// What was seen of a host.
#[derive(Debug, Clone)]
struct Seen {
    login: Duration,
    round_trip: Duration,
    facts: BTreeMap<String, String>,
    is_local: bool,
}

impl Seen {
    /// Whether the agent is there already; None where it needn't be.
    fn cached(&self) -> Option<bool> {
        (!self.is_local).then(|| self.facts.get("cached").is_some_and(|folder| folder != "no"))
    }
}

/// A host, and what came of looking at it.
#[derive(Debug)]
struct Look {
    name: String,
    result: Result<Seen, LaunchError>,
}

/// Looks at the hosts and prints what it saw.
pub(crate) fn run(args: &HostsArgs) -> Result<u8, Failure> {
    let Place { source, cluster, .. } = super::place::resolve_place(&args.place)?;
    if !args.json {
        crate::tell::to_stderr(&format!("titan: {source}"));
    }
    look_and_print(&cluster, args.json)
}

/// The same for a cluster that is known already.
pub(crate) fn look_and_print(cluster: &Cluster, json: bool) -> Result<u8, Failure> {
    let launching = Arc::new(Launching {
        binaries: Binaries::default(),
        gates: Gates::default(),
        control: ControlDirectory::for_cluster(cluster, &format!("hosts-{}", std::process::id()), None)?,
        ssh: cluster.ssh.clone(),
    });
    let looks = crate::runtime::block_on(async {
        let mut signals = Signals::listen().map_err(|error| Failure::plain(exit::CANNOT_WRITE, error))?;
        tokio::select! {
            looks = look_at_all(cluster, &launching) => Ok(looks),
            ending = signals.next() => Err(Failure::silent(ending.exit_code())),
        }
    })?;
    drop(launching);
    let usable = looks.iter().filter(|look| look.result.is_ok()).count();
    crate::tell::print(&if json { json_text(&looks) } else { table(&looks) })?;
    Ok(match usable {
        usable if usable == looks.len() => exit::SUCCESS,
        0 => exit::NO_WORKERS,
        _ => exit::TASKS_FAILED,
    })
}

async fn look_at_all(cluster: &Cluster, launching: &Arc<Launching>) -> Vec<Look> {
    let looks = on_each_host(cluster, launching, |host, launching| async move { look(&host, &launching).await }).await;
    looks.into_iter().map(|(name, result)| Look { name, result }).collect()
}

/// Does something on all hosts side by side; what came of it in the hosts' order.
pub(super) async fn on_each_host<T, F>(
    cluster: &Cluster,
    launching: &Arc<Launching>,
    act: impl Fn(Host, Arc<Launching>) -> F + Clone + Send + Sync + 'static,
) -> Vec<(String, Result<T, LaunchError>)>
where
    T: Send + 'static,
    F: Future<Output = Result<T, LaunchError>> + Send,
{
    let mut acts: JoinSet<(usize, String, Result<T, LaunchError>)> = JoinSet::new();
    for (number, host) in cluster.hosts.iter().cloned().enumerate() {
        let (launching, act) = (Arc::clone(launching), act.clone());
        acts.spawn(async move {
            let (name, span) = (host.name.clone(), launching.ssh.start_timeout);
            let result = tokio::time::timeout(span, until_let_in(|| act(host.clone(), Arc::clone(&launching)))).await;
            (number, name, result.unwrap_or_else(|_| Err(LaunchError::too_slow(span))))
        });
    }
    let mut acts = acts.join_all().await;
    acts.sort_by_key(|(number, ..)| *number);
    acts.into_iter().map(|(_, name, result)| (name, result)).collect()
}

/// A busy sshd is asked again, at slightly different times.
async fn until_let_in<T, F>(act: impl Fn() -> F) -> Result<T, LaunchError>
where
    F: Future<Output = Result<T, LaunchError>>,
{
    loop {
        match act().await {
            Err(error) if error.lasting == Lasting::Busy => tokio::time::sleep(jittered(BUSY_WAIT)).await,
            result => return result,
        }
    }
}

async fn look(host: &Host, launching: &Launching) -> Result<Seen, LaunchError> {
    let launcher = launcher_for(host, &launching.ssh);
    let mut shell = launcher.shell(launching).await?;
    let facts = bootstrap::probe(&mut shell, &Requirements::of(host), &launching.binaries).await?;
    let uname = facts.get("uname").cloned().unwrap_or_default();
    launching.binaries.require(host.agent.as_deref(), &uname).await?;
    let round_trip = round_trip(&mut shell).await?;
    Ok(Seen { login: shell.login, round_trip, facts, is_local: host.reach == Reach::Local })
}

/// The shortest time from a line to the shell to its answer.
async fn round_trip(shell: &mut Shell) -> Result<Duration, LaunchError> {
    let mut shortest = Duration::MAX;
    for _ in 0..ROUND_TRIPS {
        let begun = Instant::now();
        let answer = async {
            shell.writer.write_all(b"echo\n").await?;
            shell.writer.flush().await?;
            shell.reader.read_u8().await
        };
        if let Err(error) = answer.await {
            return Err(LaunchError::ended(&error.to_string(), ""));
        }
        shortest = shortest.min(begun.elapsed());
    }
    Ok(shortest)
}

fn table(looks: &[Look]) -> String {
    let head = ["HOST", "LOGIN", "ROUND TRIP", "SYSTEM", "TARGET", "CORES", "MEMORY", "LOAD", "AGENT"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(looks.iter().filter_map(|look| Some(row(&look.name, look.result.as_ref().ok()?))));
    let mut text = if rows.len() > 1 { aligned(&rows) } else { String::new() };
    for look in looks {
        if let Err(error) = &look.result {
            let hint = error.hint.as_ref().map(|hint| format!("\n    {hint}")).unwrap_or_default();
            text.push_str(&format!("{}: {}{hint}\n", printable(&look.name), error.reason));
        }
    }
    text
}

fn row(name: &str, seen: &Seen) -> Vec<String> {
    let fact = |name: &str| seen.facts.get(name).map(|value| printable(value)).unwrap_or_default();
    let memory = kib(&seen.facts, "memory_kib").map(human_size).unwrap_or_default();
    let agent = match seen.cached() {
        None => "built in",
        Some(true) => "cached",
        Some(false) => "not there yet",
    };
    vec![
        printable(name),
        human_duration(seen.login),
        human_duration(seen.round_trip),
        fact("system"),
        target(&fact("uname")),
        fact("cores"),
        memory,
        fact("load"),
        agent.to_owned(),
    ]
}

fn target(uname: &str) -> String {
    crate::launch::binaries::target_name(uname).map_or_else(|| uname.to_owned(), str::to_owned)
}

fn kib(facts: &BTreeMap<String, String>, name: &str) -> Option<u64> {
    facts.get(name)?.parse::<u64>().ok()?.checked_mul(1 << 10)
}

fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| columns(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            let padding = " ".repeat(width - columns(cell));
            format!("{cell}{padding}")
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn json_text(looks: &[Look]) -> String {
    let hosts: Vec<Value> = looks.iter().map(host_json).collect();
    line("hosts", json!({ "hosts": hosts })) + "\n"
}

fn host_json(look: &Look) -> Value {
    let seen = match &look.result {
        Ok(seen) => seen,
        Err(error) => {
            return json!({ "host": look.name, "usable": false, "reason": error.reason, "hint": error.hint });
        }
    };
    let fact = |name: &str| seen.facts.get(name).cloned();
    let number = |name: &str| seen.facts.get(name).and_then(|value| value.parse::<f64>().ok());
    json!({
        "host": look.name,
        "usable": true,
        "reason": null,
        "hint": null,
        "login_seconds": seen.login.as_secs_f64(),
        "round_trip_seconds": seen.round_trip.as_secs_f64(),
        "system": fact("system"),
        "target": fact("uname").map(|uname| target(&uname)),
        "cores": number("cores").map(|cores| cores as u64),
        "memory": kib(&seen.facts, "memory_kib"),
        "load": number("load"),
        "agent_cached": seen.cached(),
    })
}
