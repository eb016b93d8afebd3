//! The fault matrix: tasks that run out of memory, leave daemons, or print without end.

use std::time::Duration;

use titan_tests::matrix::batch::NOTES;
use titan_tests::matrix::stage::{AGENT, open_gate_on};
use titan_tests::matrix::{COMMANDS, Pace, Recovery, Row, Stage, play};
use titan_tests::rig::{Signal, holds_within};

/// Leaves daemons of three kinds: one in a session of its own, one whose parents have ended, one that holds nothing open.
const DAEMONS: &str = "setsid sleep 7001 & (sleep 7002 &); (setsid sh -c 'trap \"\" HUP TERM; exec sleep 7003' </dev/null >/dev/null 2>&1 &)";

const ROWS: &[Row] = &[
    Row {
        kinds: COMMANDS,
        recovery: Recovery::NewAttempt,
        ..Row::new("task killed by the kernel's OOM killer", |stage| {
            kill_tasks_as_the_kernel_does(stage);
            stage.open_gate();
            let done = stage.end_titan(Some(1));
            assert!(done.summary["failures"].to_string().contains("SIGKILL"), "{}", done.summary);
            stage.restart_clock();
            stage.retry();
        })
    },
    Row { kinds: COMMANDS, begins: DAEMONS, ..Row::new("tasks leave daemons with setsid", assert_daemons) },
    Row {
        kinds: COMMANDS,
        begins: DAEMONS,
        recovery: Recovery::NewAttempt,
        ..Row::new("tasks leave daemons with setsid, agent SIGKILLed", |stage| {
            assert_daemons(stage);
            stage.host("beta").kill(AGENT);
        })
    },
    Row {
        kinds: COMMANDS,
        begins: DAEMONS,
        recovery: Recovery::NewAttempt,
        ..Row::new("tasks leave daemons with setsid, titan gets SIGINT, resumed", |stage| {
            assert_daemons(stage);
            stage.run().signal(Signal::INT);
            stage.end_titan(Some(130));
            stage.resume();
        })
    },
    Row {
        kinds: COMMANDS,
        begins: DAEMONS,
        pace: Pace::Hasty,
        recovery: Recovery::NewAttempt,
        ..Row::new("tasks leave daemons with setsid, partition longer than the lease", |stage| {
            assert_daemons(stage);
            stage.host("beta").cut();
            open_gate_on(stage.host("alpha"));
            stage.wait_until_tried_again();
            assert!(stage.host("beta").processes().is_empty(), "{:?}", stage.host("beta").processes());
            stage.host("beta").heal();
        })
    },
    Row {
        kinds: COMMANDS,
        pace: Pace::Watchful,
        script: "test {} -ne 8 || seq 1 3000000; seq {} 500; echo {} >&2",
        mend: Stage::assert_beta_stayed_healthy,
        ..Row::new("a task fills its output", |_| {})
    },
];

/// Rows in which the kernel ends tasks for want of memory. Where it counts that for the whole machine alone, an agent
/// takes any SIGKILL of that moment for the kernel's: they aren't played beside the one that kills by itself.
const OUT_OF_MEMORY: &[Row] = &[
    Row {
        kinds: COMMANDS,
        options: &["--memory", "48M"],
        recovery: Recovery::NewAttempt,
        ends: "test {} -le 4 || test -e /run/matrix/enough || { head -c 150M /dev/zero | tail -c 150M | sleep 60; }",
        ..Row::new("task takes more memory than it may", take_too_much_memory)
    },
    Row {
        kinds: COMMANDS,
        recovery: Recovery::NewAttempt,
        ends: "test ! -e /run/matrix/small || { head -c 400M /dev/zero | tail -c 400M >/dev/null || exit; }",
        mend: |stage| {
            assert!(stage.past.contains("killed by the kernel: beta had no memory left"), "{}", stage.past);
            stage.host("beta").unbound_memory();
        },
        ..Row::new("the host's memory runs out", |stage| {
            stage.host("beta").bound_memory(100 << 20);
            stage.host("beta").exec(&format!("touch {NOTES}/small"));
            stage.open_gate();
        })
    },
];

/// SIGKILL from nowhere, to a process of a task alone.
fn kill_tasks_as_the_kernel_does(stage: &mut Stage) {
    let running: Vec<String> = stage.struck_tasks().iter().map(|task| format!("{NOTES}/{}", task + 1)).collect();
    let killed = stage.host("beta").exec(&format!("kill -KILL $(cat {})", running.join(" ")));
    assert!(killed.status.success(), "{}", String::from_utf8_lossy(&killed.stderr));
}

fn take_too_much_memory(stage: &mut Stage) {
    stage.open_gate();
    let done = stage.end_titan(Some(1));
    assert!(done.summary["failures"].to_string().contains("of its 48 MiB"), "{}", done.summary);
    for host in stage.scene.rig.hosts() {
        host.exec(&format!("touch {NOTES}/enough"));
    }
    stage.restart_clock();
    stage.retry();
}

/// They are there, once what the tasks have forked has become them.
fn assert_daemons(stage: &mut Stage) {
    for daemon in ["sleep 7001", "sleep 7002", "sleep 7003"] {
        let mut processes = Vec::new();
        let is_there = holds_within(Duration::from_secs(10), || {
            processes = stage.host("beta").processes();
            processes.iter().any(|process| process.line() == daemon)
        });
        assert!(is_there, "{daemon} isn't there: {processes:?}");
    }
}

#[test]
fn tasks_may_die_leave_daemons_and_print_without_end() {
    play(ROWS);
    play(OUT_OF_MEMORY);
}
