//! titan over an sshd on a loopback port: what can be tried where there is no root.

use std::path::Path;
use std::time::Duration;
use titan_tests::program::titan;
use titan_tests::rig::loopback::LOOPBACK_HOST;
use titan_tests::rig::{LoopbackSshd, Signal, Snapshot};
use titan_tests::scene::{Run, UNHURRIED, picture};

/// An agent in its cache, and the folder of batches.
fn may_stay(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let folders =
        [".cache", ".cache/titan", ".local", ".local/state", ".local/state/titan", ".local/state/titan/batches"];
    folders.iter().any(|folder| path.ends_with(Path::new("home").join(folder)))
        || path.parent().is_some_and(|folder| folder.ends_with(".cache/titan")) && name.starts_with("agent-")
        || path.ancestors().any(|folder| folder.ends_with("titan/batches"))
}

fn start(sshd: &LoopbackSshd, faults: &str) -> Run {
    let folder = sshd.client().work_dir();
    let (cluster, output) = (folder.join("cluster.toml"), folder.join("picture.png"));
    let host = format!("[[host]]\nssh = '{LOOPBACK_HOST}'\nslots = 2\nenv = {{ TITAN_TEST_FAULTS = '{faults}' }}\n");
    std::fs::write(&cluster, host).unwrap();
    let mut command = sshd.command(titan());
    command.args(picture::ARGUMENTS).arg("--cluster").arg(&cluster).arg("-o").arg(&output);
    Run::start(command, output)
}

#[test]
fn a_picture_over_ssh_is_the_local_one_and_the_agent_is_sent_once() {
    if LoopbackSshd::skipped() {
        return;
    }
    let sshd = LoopbackSshd::start();
    let before = Snapshot::take(&sshd);
    let first = start(&sshd, "slow:5").finish();
    first.assert_whole();
    assert!(first.host(LOOPBACK_HOST)["sent_bytes"].as_u64() > Some(0), "{}", first.summary);
    let second = start(&sshd, "slow:5").finish();
    second.assert_whole();
    assert_eq!(second.host(LOOPBACK_HOST)["sent_bytes"], 0, "{}", second.summary);
    before.assert_nothing_left(&sshd, Duration::from_secs(10), may_stay);
}

#[test]
fn an_interrupted_picture_leaves_nothing() {
    if LoopbackSshd::skipped() {
        return;
    }
    let sshd = LoopbackSshd::start();
    let before = Snapshot::take(&sshd);
    let mut run = start(&sshd, UNHURRIED);
    run.wait_until_midway(&[LOOPBACK_HOST]);
    run.signal(Signal::INT);
    run.finish().assert_code(130);
    before.assert_nothing_left(&sshd, Duration::from_secs(10), may_stay);
}

#[test]
fn hosts_looks_and_leaves_no_trace() {
    if LoopbackSshd::skipped() {
        return;
    }
    let sshd = LoopbackSshd::start();
    let before = Snapshot::take(&sshd);
    let output = sshd.command(titan()).args(["hosts", "--hosts", LOOPBACK_HOST]).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    assert!(stdout.lines().nth(1).is_some_and(|line| line.starts_with(LOOPBACK_HOST)), "{stdout}");
    before.assert_nothing_left(&sshd, Duration::from_secs(10), |_| false);
}
