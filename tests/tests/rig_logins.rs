//! Every way in: login shells and their rc files, and accounts that refuse, each with its reason and its remedy.

use std::time::Duration;
use titan_tests::rig::{self, HostSpec, Rig, Shell};
use titan_tests::scene::{CLEAN_SPAN, ClusterText, Scene};

/// A host that works, and those that don't, each in a way of its own.
fn refusals() -> Scene {
    let rig = Rig::builder()
        .host(HostSpec::new("good"))
        .host(HostSpec::new("nologin").shell(Shell::NoLogin))
        .host(HostSpec::new("password").password_only())
        .host(HostSpec::new("unknown"))
        .host(HostSpec::new("changed"))
        .host(HostSpec::new("silent").without_sshd())
        .host(HostSpec::new("hole").powered_off())
        .host(HostSpec::new("swallow").home_file(".bashrc", "exec true\n"))
        .start();
    let known_hosts = rig.laptop().ssh_dir().join("known_hosts");
    let lines = std::fs::read_to_string(&known_hosts).unwrap();
    let kept: String =
        lines.lines().filter(|line| !line.starts_with("unknown")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&known_hosts, kept).unwrap();
    rig.host("changed").change_host_key();
    Scene::on(rig)
}

/// Each refusal: the host, what is said, and what is to be done.
const REFUSALS: [(&str, &str, &str); 8] = [
    ("nologin", "the account has no shell", "chsh"),
    ("password", "the login was refused", "ssh-copy-id password"),
    ("unknown", "its host key isn't known yet", "ssh unknown true"),
    ("changed", "its host key has changed", "ssh-keygen -R changed"),
    ("silent", "no ssh server answers there", "ssh silent true"),
    ("hole", "it doesn't answer", "ssh hole true"),
    ("nobody", "no such host name", "check the name"),
    ("swallow", "its shell ended without a word", "exec in an rc file"),
];

#[test]
fn every_login_shell_will_do_and_may_be_chatty() {
    if rig::skipped() {
        return;
    }
    let shells = || Shell::ALL.into_iter().filter(|shell| shell.find_path().is_some());
    let name = |shell: &Shell| format!("{shell:?}").to_lowercase();
    let host = |shell: Shell| HostSpec::new(name(&shell)).shell(shell).chatty();
    let scene = Scene::on(Rig::builder().hosts(shells().map(host)).start());
    let names: Vec<String> = shells().map(|shell| name(&shell)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let done = scene.run(&ClusterText::of(&names, "slow:100"));
    done.assert_whole();
    for name in names {
        assert!(done.host(name)["completed"].as_u64() > Some(0), "{}", done.summary);
    }
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn hosts_that_refuse_are_left_out_with_reason_and_remedy() {
    if rig::skipped() {
        return;
    }
    let scene = refusals();
    let bad = REFUSALS.map(|(host, ..)| host);
    let cluster = ClusterText::of(&bad, "").host("good", "slow:120").ssh("connect_timeout = '2s'");
    let done = scene.run(&cluster);
    done.assert_whole();
    assert_eq!(done.host("good")["completed"], 64);
    for (host, reason, remedy) in REFUSALS {
        let said = done.trouble(host);
        assert!(said.starts_with(reason) && said.contains(remedy), "{host}: {said}");
        assert_eq!(done.host(host)["state"], "down", "{host}: {}", done.summary);
    }
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn when_every_host_refuses_the_batch_ends_with_a_line_for_each() {
    if rig::skipped() {
        return;
    }
    let scene = refusals();
    let bad = REFUSALS.map(|(host, ..)| host);
    let done = scene.run(&ClusterText::of(&bad, "").ssh("connect_timeout = '2s'"));
    done.assert_code(3);
    assert!(done.took < Duration::from_secs(10), "a black hole holds for the connect_timeout alone: {:?}", done.took);
    assert_eq!(done.picture, None);
    let text = done.events.text();
    let (_, list) = text.split_once("error: no usable worker:\n").unwrap_or_else(|| panic!("{text}"));
    for (host, reason, remedy) in REFUSALS {
        let lines: Vec<&str> = list.lines().filter(|line| line.starts_with(&format!("  {host}: "))).collect();
        assert_eq!(lines.len(), 1, "{host}:\n{list}");
        assert!(lines[0].contains(reason) && lines[0].contains(remedy), "{host}:\n{list}");
    }
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn an_sshd_that_turns_logins_away_is_asked_again() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::builder().host(HostSpec::new("alpha").sshd_line("MaxStartups 2:100:2")).start();
    let aliases = ["a1", "a2", "a3", "a4", "a5", "a6"];
    let address = rig.host("alpha").address();
    rig.laptop().add_ssh_config(&format!("Host a?\n    HostName {address}\n    HostKeyAlias alpha\n"));
    let scene = Scene::on(rig);
    let mut run = scene.start(&ClusterText::of(&aliases, "slow:500"));
    run.wait_for("all of them work", |events| aliases.iter().all(|alias| !events.started_on(alias).is_empty()));
    run.finish().assert_whole();
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn a_host_behind_a_jump_host_works() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::new(2);
    rig.laptop().add_ssh_config("Host beta\n    ProxyJump alpha\n");
    let scene = Scene::on(rig);
    let done = scene.run(&ClusterText::of(&["beta"], "slow:10"));
    done.assert_whole();
    assert_eq!(done.host("beta")["completed"], 64);
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn behind_a_jump_host_the_reason_is_the_one_that_counts() {
    if rig::skipped() {
        return;
    }
    let specs = [
        HostSpec::new("alpha"),
        HostSpec::new("beta").without_sshd(),
        HostSpec::new("gamma").password_only(),
        HostSpec::new("delta"),
    ];
    let rig = Rig::builder().hosts(specs).start();
    rig.laptop().add_ssh_config("Host beta\n    ProxyJump alpha\nHost delta\n    ProxyJump gamma\n");
    let scene = Scene::on(rig);
    let done = scene.run(&ClusterText::of(&["alpha", "beta", "delta"], "slow:100"));
    done.assert_whole();
    assert!(done.trouble("beta").starts_with("no ssh server answers there"), "{}", done.trouble("beta"));
    assert!(done.trouble("delta").starts_with("the login was refused"), "{}", done.trouble("delta"));
    scene.assert_clean(CLEAN_SPAN);
}
