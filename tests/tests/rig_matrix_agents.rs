//! The fault matrix: agents, what watches over them and what carries their bytes die or stand still.

use std::time::Duration;
use titan_tests::matrix::stage::{AGENT, open_gate_on};
use titan_tests::matrix::{COMMANDS, KERNELS, Pace, Recovery, Row, Stage, by_ssh_with_a_slow_beta, play};
use titan_tests::rig::{Signal, wait_until};

/// An agent that stands still ends soon after its lease.
const AFTER_LEASE: Duration = Duration::from_secs(15);
/// The process that watches over an agent has this in its command line, and so has the agent.
const WATCHER: &str = " detached ";

const ROWS: &[Row] = &[
    Row { recovery: Recovery::NewAttempt, ..Row::new("agent SIGKILLed", |stage| drop(stage.host("beta").kill(AGENT))) },
    Row { recovery: Recovery::NewAttempt, ..Row::new("watcher SIGKILLed", kill_watcher) },
    Row::new("bridge SIGKILLed", kill_bridge),
    Row::new("ssh client SIGKILLed", kill_ssh),
    Row {
        kinds: COMMANDS,
        pace: Pace::Watchful,
        ..Row::new("agent SIGSTOPped, continued before its lease", |stage| {
            stop_agent(stage);
            stage.run().wait_for("beta is UNHEALTHY", |events| events.was("beta", "unhealthy"));
            stage.host("beta").thaw(AGENT);
            stage.restart_clock();
        })
    },
    Row {
        kinds: KERNELS,
        pace: Pace::Watchful,
        recovery: Recovery::NewAttempt,
        cluster: by_ssh_with_a_slow_beta,
        slow_ms: 150,
        ..Row::new("agent SIGSTOPped, continued before its lease", |stage| {
            stop_agent(stage);
            stage.wait_until_tried_again();
            stage.host("beta").thaw(AGENT);
        })
    },
    Row {
        pace: Pace::Hasty,
        recovery: Recovery::NewAttempt,
        ..Row::new("agent SIGSTOPped, continued after its lease", |stage| {
            let stopped = stop_agent(stage);
            open_gate_on(stage.host("alpha"));
            stage.wait_until_tried_again();
            let has_ended = || !stage.host("beta").processes().iter().any(|process| process.pid == stopped);
            wait_until(AFTER_LEASE, "the watcher ends it", has_ended);
            stage.host("beta").thaw(AGENT);
        })
    },
    Row::new("cached agent removed, then the connection lost", |stage| {
        remove_cached_agent(stage);
        kill_ssh(stage);
    }),
    Row {
        recovery: Recovery::NewAttempt,
        ..Row::new("cached agent removed, then the agent SIGKILLed", |stage| {
            remove_cached_agent(stage);
            stage.host("beta").kill(AGENT);
        })
    },
];

fn kill_watcher(stage: &mut Stage) {
    let host = stage.host("beta");
    let mut watchers = host.processes();
    watchers.retain(|process| process.line().contains(WATCHER) && !process.line().ends_with(AGENT));
    assert_eq!(watchers.len(), 1, "one for each agent: {watchers:?}");
    host.exec(&format!("kill -KILL {}", watchers[0].pid));
}

fn kill_bridge(stage: &mut Stage) {
    let host = stage.host("beta");
    let mut bridges = host.processes();
    bridges.retain(|process| process.line().contains("/agent-") && !process.line().contains(WATCHER));
    assert_eq!(bridges.len(), 1, "one for each connection: {bridges:?}");
    host.exec(&format!("kill -KILL {}", bridges[0].pid));
}

fn kill_ssh(stage: &mut Stage) {
    let killed = stage.scene.rig.laptop().signal("-- beta", Signal::KILL);
    assert!(!killed.is_empty(), "there is an ssh to beta: {:?}", stage.scene.rig.laptop().processes());
}

fn stop_agent(stage: &mut Stage) -> u32 {
    let stopped = stage.host("beta").freeze(AGENT);
    assert_eq!(stopped.len(), 1, "one agent: {stopped:?}");
    stopped[0].pid
}

fn remove_cached_agent(stage: &mut Stage) {
    let removed = stage.host("beta").exec_as_worker("ls .cache/titan/agent-* && rm .cache/titan/agent-*");
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
}

#[test]
fn agents_may_die_or_stand_still_at_any_moment() {
    play(ROWS);
}
