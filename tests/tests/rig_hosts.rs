//! Looking at hosts, and the ways of naming them.

use serde_json::Value;
use std::fs;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use titan_tests::rig::{self, HostSpec, Rig, Signal, wait_until};
use titan_tests::scene::{CLEAN_SPAN, ClusterText, KILLED_CLEAN_SPAN, Scene};

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Hosts of which one refuses and one isn't there.
fn mixed() -> Scene {
    let rig = Rig::builder()
        .host(HostSpec::new("alpha").chatty())
        .host(HostSpec::new("beta").password_only())
        .host(HostSpec::new("gamma").powered_off())
        .start();
    Scene::on(rig)
}

#[test]
fn hosts_shows_a_table_and_sends_nothing() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let output = scene.output(&["hosts", "-S", "alpha,beta"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let table = stdout(&output);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("HOST ") && lines[0].ends_with(" AGENT"), "{table}");
    for (line, host) in lines[1..].iter().zip(["alpha", "beta"]) {
        assert!(line.starts_with(host) && line.ends_with("not there yet"), "{table}");
    }
    assert!(stderr(&output).starts_with("titan: hosts: "), "{}", stderr(&output));
    scene.assert_hosts_untouched();
    scene.assert_clean(CLEAN_SPAN);

    scene.start_with(&["-S", "alpha"]).finish().assert_whole();
    let table = stdout(&scene.output(&["hosts", "-S", "alpha,beta"]));
    assert!(table.lines().nth(1).is_some_and(|line| line.ends_with("cached")), "{table}");
    assert!(table.lines().nth(2).is_some_and(|line| line.ends_with("not there yet")), "{table}");
}

#[test]
fn hosts_says_in_json_what_it_says_to_people() {
    if rig::skipped() {
        return;
    }
    let scene = mixed();
    let cluster = scene.write_cluster(&ClusterText::of(&["alpha", "beta", "gamma"], "").ssh("connect_timeout = '1s'"));
    let cluster = cluster.to_str().unwrap();
    let output = scene.output(&["hosts", "--json", "--cluster", cluster]);
    assert_eq!(output.status.code(), Some(1), "some are usable: {}{}", stdout(&output), stderr(&output));
    assert_eq!(stderr(&output), "");
    let object: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!((&object["titan"], &object["type"]), (&1.into(), &"hosts".into()));
    let hosts = object["hosts"].as_array().unwrap();
    assert_eq!(hosts.iter().map(|host| &host["host"]).collect::<Vec<_>>(), ["alpha", "beta", "gamma"]);
    assert_eq!(hosts[0]["usable"], true, "{object}");
    assert!(hosts[0]["cores"].as_u64() > Some(0) && hosts[0]["memory"].as_u64() > Some(1 << 20), "{object}");
    assert!(hosts[0]["login_seconds"].as_f64() > Some(0.0) && hosts[0]["round_trip_seconds"].as_f64() > Some(0.0));
    assert_eq!(hosts[0]["agent_cached"], false);
    assert_eq!(hosts[1]["usable"], false);
    assert!(hosts[1]["hint"].as_str().unwrap().starts_with("ssh-copy-id beta"), "{object}");
    assert_eq!(hosts[2]["reason"], "it doesn't answer", "{object}");

    let table = stdout(&scene.output(&["hosts", "--cluster", cluster]));
    assert!(table.lines().nth(1).is_some_and(|line| line.starts_with("alpha ")), "{table}");
    assert!(table.contains("beta: the login was refused") && table.contains("gamma: it doesn't answer"), "{table}");
    scene.assert_hosts_untouched();
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn hosts_that_are_all_unusable_are_exit_code_3() {
    if rig::skipped() {
        return;
    }
    let scene = mixed();
    let output = scene.output(&["hosts", "-S", "beta,nobody"]);
    assert_eq!(output.status.code(), Some(3), "{}{}", stdout(&output), stderr(&output));
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn init_writes_a_file_that_hosts_and_run_then_find() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let output = scene.output(&["init", "alpha", "beta"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).lines().count() == 3, "it looks at them: {}", stdout(&output));
    let file = scene.rig.laptop().work_dir().join("cluster.toml");
    let written = fs::read_to_string(&file).unwrap();
    scene.assert_hosts_untouched();

    let output = scene.output(&["hosts"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stderr(&output).contains("cluster.toml"), "{}", stderr(&output));
    assert_eq!(scene.output(&["init", "alpha"]).status.code(), Some(2), "never over a file that is there");
    assert_eq!(fs::read_to_string(&file).unwrap(), written);

    let none: [&str; 0] = [];
    let done = scene.start_with(&none).finish();
    done.assert_whole();
    assert_eq!(done.summary["hosts"].as_array().unwrap().len(), 2, "{}", done.summary);
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn hosts_can_be_named_with_user_port_and_slots() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let done = scene.start_with(&["-S", "alpha,beta"]).finish();
    done.assert_whole();
    assert_eq!(done.summary["hosts"].as_array().unwrap().len(), 2, "{}", done.summary);
    scene.start_with(&["-S", "worker@alpha:22", "-S", "10.213.1.2"]).finish().assert_whole();

    let cluster = scene.write_cluster(&ClusterText::of(&["alpha", "beta"], "slow:20"));
    let cluster = cluster.to_str().unwrap();
    let done = scene.start_with(&["-S", "1/alpha", "--cluster", cluster]).finish();
    done.assert_whole();
    assert_eq!(done.host("alpha")["completed"], 64);
    assert!(done.took >= Duration::from_millis(64 * 20), "one after the other: {}", done.summary);

    let output = scene.output(&["hosts", "-S", "alfa", "--cluster", cluster]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("alfa") && stderr(&output).contains("alpha"),
        "the near miss: {}",
        stderr(&output)
    );
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn a_look_that_is_interrupted_leaves_nothing() {
    if rig::skipped() {
        return;
    }
    let scene = mixed();
    let mut look = scene.titan(["hosts", "-S", "gamma"]);
    look.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut look = look.spawn().unwrap();
    let logging_in = || scene.rig.laptop().processes().iter().any(|process| process.line().ends_with("-- gamma"));
    wait_until(CLEAN_SPAN, "ssh waits for the black hole", logging_in);
    scene.rig.laptop().signal("hosts -S gamma", Signal::INT);
    let signalled = Instant::now();
    assert_eq!(look.wait().unwrap().code(), Some(130));
    scene.assert_clean(CLEAN_SPAN.saturating_sub(signalled.elapsed()));
}

#[test]
fn what_a_killed_look_leaves_the_next_titan_removes() {
    if rig::skipped() {
        return;
    }
    let scene = mixed();
    let mut look = scene.titan(["hosts", "-S", "gamma"]);
    look.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut look = look.spawn().unwrap();
    let logging_in = || scene.rig.laptop().processes().iter().any(|process| process.line().ends_with("-- gamma"));
    wait_until(CLEAN_SPAN, "ssh waits for the black hole", logging_in);
    look.kill().unwrap();
    look.wait().unwrap();
    scene.assert_no_process(KILLED_CLEAN_SPAN);
    scene.start_with(&["-S", "alpha"]).finish().assert_whole();
    scene.assert_clean(CLEAN_SPAN);
}
