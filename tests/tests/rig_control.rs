//! Other ways to a shell: a connection that the person has opened, and any command.

use std::process::Stdio;
use std::time::Duration;
use titan_tests::rig::{self, HostSpec, Rig, Signal, wait_until};
use titan_tests::scene::{CLEAN_SPAN, ClusterText, Scene, UNHURRIED};

#[test]
fn a_connection_that_the_person_has_opened_is_joined_and_left_open() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::on(Rig::builder().host(HostSpec::new("alpha").sshd_line("LogLevel VERBOSE")).start());
    let laptop = scene.rig.laptop();
    let socket = laptop.work_dir().join("control");
    laptop.add_ssh_config(&format!("Host alpha\n    ControlPath {}\n", socket.display()));
    let mut master = scene.rig.command("ssh");
    master.args(["-M", "-N", "-oBatchMode=yes", "alpha"]).stdin(Stdio::null()).stderr(Stdio::null());
    let mut master = master.spawn().unwrap();
    wait_until(Duration::from_secs(20), "the master is there", || socket.exists());

    let cluster = ClusterText::of(&["alpha"], "slow:20").ssh("control = 'user'");
    scene.run(&cluster).assert_whole();
    let second = scene.run(&cluster);
    second.assert_whole();
    assert_eq!(second.host("alpha")["sent_bytes"], 0);
    let log = scene.rig.host("alpha").sshd_log();
    assert_eq!(log.matches("Connection from ").count(), 1, "{log}");
    assert!(master.try_wait().unwrap().is_none(), "the person's connection is theirs");
    assert!(scene.rig.ssh("alpha", "true").status().unwrap().success());
    assert_eq!(scene.rig.host("alpha").sshd_log().matches("Connection from ").count(), 1, "it still works");
    assert!(master.kill().is_ok() && master.wait().is_ok());
    std::fs::remove_file(socket).unwrap();
    let files = scene.half_written();
    assert!(files.is_empty(), "{files:?}");
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn without_an_open_connection_plain_ssh_makes_its_own() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::builder().host(HostSpec::new("alpha")).host(HostSpec::new("beta").password_only()).start();
    let scene = Scene::on(rig);
    let done = scene.run(&ClusterText::of(&["alpha", "beta"], "slow:20").ssh("control = 'user'"));
    done.assert_whole();
    assert_eq!(done.host("alpha")["completed"], 64);
    let said = done.trouble("beta");
    assert!(said.starts_with("the login was refused"), "{said}");
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn an_interrupted_batch_over_plain_ssh_leaves_nothing() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let hosts = ["alpha", "beta"];
    let mut run = scene.start(&ClusterText::of(&hosts, UNHURRIED).ssh("control = 'user'"));
    run.wait_until_midway(&hosts);
    run.signal(Signal::INT);
    run.finish().assert_code(130);
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn a_killed_titan_leaves_no_process_behind_plain_ssh() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let hosts = ["alpha", "beta"];
    let mut run = scene.start(&ClusterText::of(&hosts, UNHURRIED).ssh("control = 'user'").hasty());
    run.wait_until_midway(&hosts);
    run.signal(Signal::KILL);
    run.finish();
    scene.assert_no_process(Duration::from_secs(30));
}

#[test]
fn any_command_that_gives_a_shell_will_do() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(1);
    let over_ssh = ["ssh", "-oBatchMode=yes", "alpha", "sh"];
    let cluster = ClusterText::new().command("by-command", &over_ssh, "slow:100").command("here", &["sh"], "slow:100");
    let first = scene.run(&cluster);
    first.assert_whole();
    let second = scene.run(&cluster);
    second.assert_whole();
    for host in ["by-command", "here"] {
        assert!(first.host(host)["completed"].as_u64() > Some(0), "{}", first.summary);
    }
    for host in ["by-command", "here"] {
        assert_eq!(second.host(host)["sent_bytes"], 0, "{}", second.summary);
    }
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn a_command_that_cant_be_run_is_a_host_that_is_left_out() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(1);
    let cluster = ClusterText::of(&["alpha"], "slow:10").command("missing", &["no-such-program"], "").command(
        "talker",
        &["echo", "hello"],
        "",
    );
    let done = scene.run(&cluster);
    done.assert_whole();
    assert!(done.trouble("missing").contains("cannot run no-such-program"), "{}", done.summary);
    assert!(done.trouble("talker").contains("hello"), "{}", done.summary);
    scene.assert_clean(CLEAN_SPAN);
}
