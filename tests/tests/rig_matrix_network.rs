//! The fault matrix: ssh servers and networks fail for a while, or are bad.

use std::path::Path;
use std::time::Duration;
use titan_tests::matrix::stage::open_gate_on;
use titan_tests::matrix::{COMMANDS, KERNELS, Kind, Pace, Recovery, Row, Stage, by_ssh, by_ssh_with_a_slow_beta, play};
use titan_tests::rig::{Host, Signal, holds_within, wait_until};
use titan_tests::scene::{CLEAN_SPAN, ClusterText, Scene};

/// What takes a moment; this is for machines under load.
const PATIENCE: Duration = Duration::from_secs(20);
/// Carries bytes late, or damages them.
const WIRE: &str = env!("CARGO_BIN_EXE_wire");

const ROWS: &[Row] = &[
    Row::new("sshd restarted, its sessions go on", |stage| {
        stage.host("beta").stop_sshd();
        stage.host("beta").start_sshd();
    }),
    Row::new("sshd killed with its sessions, started again", |stage| {
        stage.host("beta").stop_sshd();
        stage.host("beta").end_sessions();
        stage.host("beta").start_sshd();
    }),
    Row::new("partition of 5 s", |stage| {
        stage.host("beta").cut();
        stage.lasts(Duration::from_secs(5));
        heal(stage);
    }),
    Row {
        kinds: COMMANDS,
        pace: Pace::Watchful,
        ..Row::new("partition longer than unhealthy_after", |stage| {
            stage.host("beta").cut();
            wait_until_unhealthy(stage);
            heal(stage);
        })
    },
    Row {
        kinds: KERNELS,
        pace: Pace::Watchful,
        recovery: Recovery::NewAttempt,
        cluster: by_ssh_with_a_slow_beta,
        slow_ms: 150,
        ..Row::new("partition longer than unhealthy_after", |stage| {
            stage.host("beta").cut();
            stage.wait_until_tried_again();
            heal(stage);
        })
    },
    Row {
        pace: Pace::Hasty,
        recovery: Recovery::NewAttempt,
        ..Row::new("partition longer than the lease", |stage| {
            stage.host("beta").cut();
            open_gate_on(stage.host("alpha"));
            stage.run().wait_for("beta's session is given up", |events| events.was("beta", "restarting"));
            stage.wait_until_tried_again();
            let left = stage.host("beta").processes();
            let is_twice = stage.kind == Kind::Command && !left.is_empty();
            assert!(!is_twice, "tried again while it may still run: {left:?}");
            heal(stage);
        })
    },
    Row { kinds: COMMANDS, pace: Pace::Watchful, ..Row::new("one-way partition, to the host", cut_inbound) },
    Row { kinds: COMMANDS, pace: Pace::Watchful, ..Row::new("one-way partition, from the host", cut_outbound) },
    Row {
        kinds: KERNELS,
        pace: Pace::Watchful,
        recovery: Recovery::NewAttempt,
        cluster: by_ssh_with_a_slow_beta,
        slow_ms: 150,
        ..Row::new("one-way partition, to the host", cut_inbound)
    },
    Row {
        kinds: KERNELS,
        pace: Pace::Watchful,
        recovery: Recovery::NewAttempt,
        cluster: by_ssh_with_a_slow_beta,
        slow_ms: 150,
        ..Row::new("one-way partition, from the host", cut_outbound)
    },
    Row {
        script: "seq {} 20000; echo {} >&2",
        mend: assert_packets_were_lost,
        ..Row::new("20 % of packets lost", |stage| stage.host("beta").lose(20).expect("the kernel has cls_bpf"))
    },
    Row {
        cluster: late,
        slow_ms: 1_000,
        recovery: Recovery::NewAttempt,
        ..Row::new("titan SIGKILLed, resumed and interrupted before it has reached a host", |stage| {
            stage.kill_titan();
            stage.resume();
            // beta is late.
            stage.run().wait_for("alpha is reached", |events| events.was("alpha", "healthy"));
            stage.run().signal(Signal::INT);
            let done = stage.end_titan(Some(130));
            assert!(!done.events.was("beta", "healthy"), "beta was reached: {}", done.events);
            let left = || stage.scene.rig.hosts().iter().flat_map(Host::processes).collect::<Vec<_>>();
            assert!(holds_within(CLEAN_SPAN, || left().is_empty()), "agents wait for their lease: {:?}", left());
            stage.resume();
        })
    },
    Row {
        kinds: COMMANDS,
        pace: Pace::Watchful,
        ..Row::new("titan interrupted while a host is cut off, resumed, the host comes back", |stage| {
            stage.host("beta").cut();
            stage.run().signal(Signal::INT);
            drop(stage.end_titan(Some(130)));
            stage.resume();
            stage.run().wait_for("alpha is reached", |events| events.was("alpha", "healthy"));
            stage.run().wait_for("beta is tried in vain", |events| events.was("beta", "starting"));
            // What the first titan has said at its end is on its way for as long as the system tries, and would stop tasks.
            stage.host("beta").end_sessions();
            heal(stage);
        })
    },
    Row {
        kinds: COMMANDS,
        script: "seq {} 1000000; echo {} >&2",
        mend: |stage| drop(stage.host("beta").exec("umount /var/tmp && rmdir ~worker/disk")),
        ..Row::new("partition while tasks print more than memory is for", |stage| {
            // All else there is memory.
            let mount = "mkdir -m 1777 ~worker/disk && mount --bind ~worker/disk /var/tmp && stat -f -c %T /var/tmp";
            let kind = stage.host("beta").exec(mount).stdout;
            assert!(!kind.is_empty() && !kind.starts_with(b"tmpfs"), "{}", String::from_utf8_lossy(&kind));
            stage.host("beta").cut();
            open_gate_on(stage.host("beta"));
            let prints = || stage.host("beta").processes().iter().any(|process| process.line().contains("seq "));
            wait_until(PATIENCE, "what printed on beta has ended though nobody listens", || !prints());
            heal(stage);
        })
    },
    Row {
        struck: &["alpha", "beta"],
        ..Row::new("laptop asleep: titan and its connections stand still, longer than unhealthy_after", sleep)
    },
    Row {
        struck: &["alpha", "beta"],
        ..Row::new("laptop's network switched off for 6 s", |stage| {
            let switch =
                |state| assert!(stage.scene.rig.command("ip").args(["link", "set", "br0", state]).status().is_ok());
            switch("down");
            stage.lasts(Duration::from_secs(6));
            switch("up");
            stage.restart_clock();
        })
    },
    Row { cluster: late, ..Row::new("200 ms of delay", |_| {}) },
    Row {
        pace: Pace::Watchful,
        script: "seq {} 20000; echo {} >&2",
        mend: Stage::assert_beta_stayed_healthy,
        ..Row::new("1 Mbit/s with large results", |stage| {
            stage.host("beta").limit_rate(1000).expect("the kernel has tbf");
        })
    },
    Row { cluster: damaged, ..Row::new("a corrupted frame to the host", |stage| damage(stage, "there")) },
    Row { cluster: damaged, ..Row::new("a corrupted frame from the host", |stage| damage(stage, "back")) },
];

fn sleep(stage: &mut Stage) {
    stage.scene.rig.laptop().signal("ssh", Signal::STOP);
    stage.scene.rig.hosts().iter().for_each(Host::cut);
    stage.run().signal(Signal::STOP);
    stage.lasts(Duration::from_secs(12));
    stage.scene.rig.hosts().iter().for_each(Host::heal);
    stage.scene.rig.laptop().signal("ssh", Signal::CONT);
    stage.run().signal(Signal::CONT);
    stage.restart_clock();
}

fn heal(stage: &mut Stage) {
    stage.host("beta").heal();
    stage.restart_clock_once();
}

fn wait_until_unhealthy(stage: &mut Stage) {
    stage.run().wait_for("beta is UNHEALTHY", |events| events.was("beta", "unhealthy"));
}

fn cut_inbound(stage: &mut Stage) {
    stage.host("beta").cut_inbound().expect("the kernel has cls_bpf");
    last_until_titan_acts(stage);
}

fn cut_outbound(stage: &mut Stage) {
    stage.host("beta").cut_outbound().expect("the kernel has cls_bpf");
    last_until_titan_acts(stage);
}

fn last_until_titan_acts(stage: &mut Stage) {
    match stage.kind {
        Kind::Command => wait_until_unhealthy(stage),
        Kind::Kernel => stage.wait_until_tried_again(),
    }
    stage.host("beta").lose_nothing();
    stage.restart_clock_once();
}

/// beta had to send some again.
fn assert_packets_were_lost(stage: &Stage) {
    let counted = stage.host("beta").exec("awk '/^Tcp:/ { print $13 }' /proc/net/snmp | tail -n 1");
    let sent_again: u32 = String::from_utf8_lossy(&counted.stdout).trim().parse().unwrap_or_default();
    assert!(sent_again > 0, "beta has sent nothing again");
    stage.host("beta").lose_nothing();
}

/// beta is reached over a wire on which each byte takes 100 ms each way.
fn late(scene: &Scene, faults: &str) -> ClusterText {
    let address = scene.rig.host("beta").address();
    scene.rig.laptop().add_ssh_config(&format!("Host beta\n    ProxyCommand {WIRE} delay 100 {address}:22\n"));
    by_ssh(scene, faults)
}

/// beta is reached over a wire on which a bit can be flipped.
fn damaged(scene: &Scene, faults: &str) -> ClusterText {
    let folder = scene.rig.laptop().work_dir();
    let words = [WIRE, "damage", path(&folder), "ssh", "-oBatchMode=yes", "beta", "exec /bin/sh"];
    ClusterText::new().host("alpha", faults).command("beta", &words, faults)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the rig's paths are ASCII")
}

fn damage(stage: &mut Stage, direction: &str) {
    let flag = stage.scene.write(direction, "");
    wait_until(PATIENCE, "a bit is flipped", || !flag.exists());
}

#[test]
fn networks_may_break_heal_lose_delay_and_damage() {
    play(ROWS);
}
