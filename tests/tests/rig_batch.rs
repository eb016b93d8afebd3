//! Commands with files, and batch files, on hosts that die in the middle: the same outputs as here, each whole and once.

use std::process::{Child, Output, Stdio};
use std::time::Duration;

use titan_tests::rig::{self, wait_until};
use titan_tests::scene::{CLEAN_SPAN, ClusterText, KILLED_CLEAN_SPAN, Scene};

const THREE: [&str; 3] = ["alpha", "beta", "gamma"];
const VALUES: usize = 36;
/// Silence is noticed soon, and leases are short.
const IMPATIENT: [&str; 6] = ["--heartbeat", "500ms", "--unhealthy-after", "2s", "--lease", "4s"];

fn values() -> Vec<String> {
    (0..VALUES).map(|number| format!("in/{number}")).collect()
}

/// Starts a map over the three hosts.
fn start(scene: &Scene, words: &[&str]) -> Child {
    let cluster = scene.write_cluster(&ClusterText::of(&THREE, ""));
    let values = values();
    let words = ["map", "--cluster", cluster.to_str().unwrap(), "-j2"]
        .into_iter()
        .chain(IMPATIENT)
        .chain(words.iter().copied())
        .chain([":::"])
        .chain(values.iter().map(String::as_str));
    scene.titan(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn wait_for_files(scene: &Scene, folder: &str, count: usize) {
    let folder = scene.rig.laptop().work_dir().join(folder);
    let is_there = || std::fs::read_dir(&folder).map_or(0, Iterator::count) >= count;
    wait_until(Duration::from_secs(60), &format!("{count} files are there"), is_there);
}

#[track_caller]
fn end(child: Child, code: i32) -> Output {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn scene_with_inputs() -> Scene {
    let scene = Scene::new(3);
    for value in values() {
        scene.write(&value, &value.repeat(1_000));
    }
    scene
}

/// Every output is there, whole, and as its input says.
fn assert_outputs(scene: &Scene) {
    let outputs = scene.files_in("out");
    assert_eq!(outputs.len(), VALUES);
    for value in values() {
        let name = value.trim_start_matches("in/");
        assert_eq!(outputs[name], value.to_uppercase().repeat(1_000).into_bytes(), "{value}");
    }
}

const WITH_FILES: [&str; 6] = ["-i", "{}", "-o", "out/{/}", "-s", "sleep 0.2; tr a-z A-Z < {} > out/{/}"];

#[test]
fn a_host_that_is_powered_off_costs_time_and_no_file() {
    if rig::skipped() {
        return;
    }
    let scene = scene_with_inputs();
    let running = start(&scene, &WITH_FILES);
    wait_for_files(&scene, "out", 6);
    scene.rig.host("beta").power_off();
    end(running, 0);
    assert_outputs(&scene);
}

#[test]
fn an_agent_that_is_killed_costs_time_and_no_file() {
    if rig::skipped() {
        return;
    }
    let scene = scene_with_inputs();
    let running = start(&scene, &WITH_FILES);
    wait_for_files(&scene, "out", 6);
    scene.rig.host("alpha").kill("watched");
    end(running, 0);
    assert_outputs(&scene);
    scene.assert_clean(KILLED_CLEAN_SPAN);
}

#[test]
fn a_network_that_is_cut_and_heals_costs_time_and_no_file() {
    if rig::skipped() {
        return;
    }
    let scene = scene_with_inputs();
    let running = start(&scene, &WITH_FILES);
    wait_for_files(&scene, "out", 4);
    scene.rig.host("gamma").cut();
    wait_for_files(&scene, "out", 20);
    scene.rig.host("gamma").heal();
    end(running, 0);
    assert_outputs(&scene);
    scene.assert_clean(KILLED_CLEAN_SPAN);
}

#[test]
fn what_may_not_run_twice_is_printed_once_though_its_host_died() {
    if rig::skipped() {
        return;
    }
    let scene = scene_with_inputs();
    let running = start(&scene, &["--no-stage-check", "--results", "results", "-s", "sleep 0.2; echo {}"]);
    wait_for_files(&scene, "results", 6);
    scene.rig.host("beta").power_off();
    let output = end(running, 0);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let mut expected = values();
    expected.sort();
    assert_eq!(lines, expected);
}

const BATCH: &str = r#"
[[job]]
name = "frame"
kernel = "mandelbrot"
array = { n = { range = [1, 6] }, w = { geometric = [3.0, 0.004], count = 6 } }
link = true
params = { center = "-0.746,0.102", width = "{w}", size = "128x72", iterations = 200 }
outputs = ["frames/{n:02}.png"]
[[job]]
name = "sum"
shell = "cksum < frames/{n:02}.png > sums/{n}"
array = { n = { range = [1, 6] } }
after = [{ job = "frame", each = true }]
inputs = ["frames/{n:02}.png"]
outputs = ["sums/{n}"]
[[job]]
name = "all"
shell = "cat sums/*"
inputs = [{ job = "sum" }]
"#;

#[test]
fn a_batch_over_three_hosts_makes_what_it_makes_here() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(3);
    scene.write("b.toml", BATCH);
    let here = scene.output(&["batch", "b.toml", "--local"]);
    assert_eq!(here.status.code(), Some(0), "{}", String::from_utf8_lossy(&here.stderr));
    assert_eq!(String::from_utf8_lossy(&here.stdout).lines().count(), 6);
    let (frames, sums) = (scene.files_in("frames"), scene.files_in("sums"));
    for folder in ["frames", "sums"] {
        std::fs::remove_dir_all(scene.rig.laptop().work_dir().join(folder)).unwrap();
    }
    let cluster = scene.write_cluster(&ClusterText::of(&THREE, ""));
    let there = scene.output(&["batch", "b.toml", "--cluster", cluster.to_str().unwrap()]);
    assert_eq!(there.status.code(), Some(0), "{}", String::from_utf8_lossy(&there.stderr));
    assert_eq!(there.stdout, here.stdout);
    assert_eq!((scene.files_in("frames"), scene.files_in("sums")), (frames, sums));
    scene.assert_clean(CLEAN_SPAN);
}
