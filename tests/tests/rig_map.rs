//! `titan map` over several hosts: the same output as here, and nothing left there.

use std::process::Output;

use titan_tests::rig;
use titan_tests::scene::{CLEAN_SPAN, ClusterText, Scene};

const THREE: [&str; 3] = ["alpha", "beta", "gamma"];

fn map(scene: &Scene, place: &[&str], words: &[&str]) -> Output {
    let words: Vec<&str> = ["map"].iter().chain(place).chain(words).copied().collect();
    scene.output(&words)
}

#[track_caller]
fn stdout(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn three_hosts_print_what_this_machine_prints() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(3);
    let cluster = scene.write_cluster(&ClusterText::of(&THREE, ""));
    let place = ["--cluster", cluster.to_str().unwrap()];
    let words = ["-k", "--tag", "-s", "echo {}; echo {} | wc -c", ":::", "1", "20", "a b", "300", "4"];
    let here = stdout(&map(&scene, &["--local"], &words), 0);
    assert_eq!(stdout(&map(&scene, &place, &words), 0), here);
    let values: Vec<String> = (0..24).map(|number| number.to_string()).collect();
    let mut where_words = vec!["-s", "sleep 0.4; echo {} $TITAN_HOST", ":::"];
    where_words.extend(values.iter().map(String::as_str));
    let hosts = stdout(&map(&scene, &place, &where_words), 0);
    for host in THREE {
        assert!(hosts.contains(host), "{hosts}");
    }
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn tasks_run_in_scratch_folders_that_go_with_them() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(1);
    let cluster = scene.write_cluster(&ClusterText::of(&["alpha"], ""));
    let place = ["--cluster", cluster.to_str().unwrap()];
    let words = ["-n0", "-s", "ls -A | wc -l; mkdir -p a/b; touch a/b/c; chmod 500 a/b; ls", ":::", "1", "2"];
    assert_eq!(stdout(&map(&scene, &place, &words), 0), "0\na\n0\na\n");
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn a_program_that_one_host_lacks_runs_on_the_others() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    scene
        .rig
        .host("beta")
        .exec("mkdir -p /tmp/only && printf '#!/bin/sh\\necho here\\n' > /tmp/only/x && chmod 755 /tmp/only/x");
    let cluster = scene.write_cluster(&ClusterText::of(&["alpha", "beta"], ""));
    let place = ["--cluster", cluster.to_str().unwrap()];
    let output = map(&scene, &place, &["-n0", "/tmp/only/x", ":::", "1", "2", "3", "4"]);
    assert_eq!(stdout(&output, 0), "here\nhere\nhere\nhere\n");
    let output = map(&scene, &place, &["no-such-program", ":::", "1"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    stdout(&output, 1);
    for host in ["alpha", "beta"] {
        assert!(stderr.contains(&format!("no-such-program isn't found on {host} (PATH=")), "{stderr}");
    }
}

#[test]
fn labels_choose_hosts() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let cluster = scene.write_cluster(&ClusterText::of(&["alpha", "beta"], ""));
    let place = ["--cluster", cluster.to_str().unwrap()];
    let words = ["--where", "name=beta,os=linux", "-n0", "-s", "echo $TITAN_HOST", ":::", "1", "2", "3"];
    assert_eq!(stdout(&map(&scene, &place, &words), 0), "beta\nbeta\nbeta\n");
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn a_command_runs_once_on_each_host_and_says_which_is_down() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(3);
    let cluster = scene.write_cluster(&ClusterText::of(&THREE, ""));
    let place = ["--cluster", cluster.to_str().unwrap(), "--each-host"];
    let words = ["-s", "hostname"];
    let text = stdout(&map(&scene, &place, &words), 0);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["alpha\talpha", "beta\tbeta", "gamma\tgamma"]);
    scene.rig.host("beta").stop_sshd();
    let output = map(&scene, &place, &words);
    let text = stdout(&output, 1);
    assert!(text.contains("alpha\talpha") && text.contains("gamma\tgamma"), "{text}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("beta"), "{}", String::from_utf8_lossy(&output.stderr));
}
