//! The fault matrix: disks are full or read-only, on hosts and on the laptop.

use titan_tests::matrix::{BOTH, COMMANDS, KERNELS, Pace, Recovery, Row, Stage, play};
use titan_tests::rig::{Home, HostSpec, Rig};

const ROWS: &[Row] = &[
    Row { rig: read_only_home, ..Row::new("home read-only", |stage| assert_agent_is_in(stage, "/var/tmp")) },
    Row { rig: full_home, ..Row::new("home full at bootstrap", |stage| assert_agent_is_in(stage, "/var/tmp")) },
    Row {
        rig: no_space_at_all,
        struck: &["alpha"],
        ..Row::new("all of a host's disks full at bootstrap", |stage| {
            stage.run().wait_for("beta is given up", |events| events.was("beta", "down"));
            let said = stage.run().events().to_string();
            assert!(said.contains("no directory there takes an agent"), "{said}");
            stage.restart_clock();
        })
    },
    Row {
        kinds: COMMANDS,
        recovery: Recovery::NewAttempt,
        ends: "head -c 1000000 /dev/zero > large || exit 9",
        ..Row::new("host's disk full during tasks", fill_until_tasks_have_failed)
    },
    Row { kinds: KERNELS, mend: remove_ballast, ..Row::new("host's disk full during tasks", fill) },
    Row {
        kinds: BOTH,
        pace: Pace::Watchful,
        script: "seq {} 300000; echo {} >&2",
        // Filling a disk may take seconds, and the batch is to last longer than that and the outage.
        slow_ms: 1_000,
        mend: remove_ballast,
        ..Row::new("host's disk full while output waits for a connection", |stage| {
            fill(stage);
            let host = stage.host("beta");
            host.stop_sshd();
            host.end_sessions();
            stage.open_gate();
            stage.lasts(std::time::Duration::from_secs(2));
            // From here: until sshd is seen to listen titan may have gone on, and its last tiles be done.
            stage.restart_clock();
            stage.host("beta").start_sshd();
        })
    },
    Row {
        rig: small_state_folder,
        recovery: Recovery::NewAttempt,
        script: "seq {} 100000; echo {} >&2",
        ..Row::new("local disk full, then resumed", fill_the_laptop)
    },
];

fn beta_with(home: Home) -> Rig {
    Rig::builder().host(HostSpec::new("alpha")).host(HostSpec::new("beta").home(home)).start()
}

fn read_only_home() -> Rig {
    beta_with(Home::ReadOnly)
}

fn full_home() -> Rig {
    beta_with(Home::Full)
}

/// Nowhere on beta is there room for an agent.
fn no_space_at_all() -> Rig {
    let rig = beta_with(Home::Full);
    let line = "for folder in /tmp /var/tmp /dev/shm /run; do mount -o remount,size=64k $folder; done";
    assert!(rig.exec("beta", line).status.success(), "what is mounted there can be made small");
    rig
}

fn assert_agent_is_in(stage: &mut Stage, folder: &str) {
    let files = stage.host("beta").files();
    let agent = files.iter().find(|path| path.to_string_lossy().contains("/agent-"));
    assert!(agent.is_some_and(|path| path.starts_with(folder)), "{agent:?}");
}

/// Not a block is free in the places where beta's tasks can write.
fn fill(stage: &mut Stage) {
    let fill = "mount -o remount,size=8m /tmp && mount -o remount,size=32m /var/tmp; mount -o remount,size=8m /dev/shm; \
                for folder in /tmp /var/tmp /dev/shm; do head -c 100m /dev/zero > $folder/ballast; done; true";
    stage.host("beta").exec(fill);
    let free = stage.host("beta").exec("echo x > /tmp/one-more || echo full");
    assert_eq!(String::from_utf8_lossy(&free.stdout).trim(), "full");
    stage.host("beta").exec("rm -f /tmp/one-more");
}

fn remove_ballast(stage: &Stage) {
    stage.host("beta").exec("rm -f /tmp/ballast /var/tmp/ballast /dev/shm/ballast");
}

fn fill_until_tasks_have_failed(stage: &mut Stage) {
    fill(stage);
    stage.open_gate();
    stage.end_titan(Some(1));
    remove_ballast(stage);
    stage.restart_clock();
    stage.retry();
}

/// The laptop's state folder is a file system of its own.
fn small_state_folder() -> Rig {
    let rig = Rig::new(2);
    let folder = rig.laptop().state_dir();
    let line = "mkdir -p \"$1\" && mount -t tmpfs -o size=32m,mode=700 none \"$1\"";
    let mounted = rig.command("sh").args(["-c", line, "sh"]).arg(folder).status();
    assert!(mounted.is_ok_and(|status| status.success()), "the laptop can mount");
    rig
}

fn fill_the_laptop(stage: &mut Stage) {
    let folder = stage.scene.rig.laptop().state_dir();
    let shell = |stage: &Stage, line: &str| {
        let _ = stage.scene.rig.command("sh").args(["-c", line, "sh"]).arg(&folder).output();
    };
    shell(stage, "head -c 100m /dev/zero > \"$1/ballast\"");
    stage.open_gate();
    stage.end_titan(Some(4));
    shell(stage, "rm \"$1/ballast\"");
    stage.restart_clock();
    // What couldn't be kept here has FAILED.
    stage.retry();
}

#[test]
fn disks_may_be_full_or_read_only() {
    play(ROWS);
}
