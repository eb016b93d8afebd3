//! Files over real sshd: the same as here, sent once, kept between batches, and nothing left in the way.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use titan_tests::rig;
use titan_tests::scene::{CLEAN_SPAN, ClusterText, Scene};

const THREE: [&str; 3] = ["alpha", "beta", "gamma"];

#[track_caller]
fn map(scene: &Scene, hosts: &[&str], code: i32, words: &[&str]) -> (String, String) {
    let cluster = scene.write_cluster(&ClusterText::of(hosts, ""));
    let words: Vec<&str> = ["map", "--cluster", cluster.to_str().unwrap()].iter().chain(words).copied().collect();
    let output: Output = scene.output(&words);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    (String::from_utf8_lossy(&output.stdout).into_owned(), stderr)
}

#[test]
fn three_hosts_give_back_what_this_machine_does() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(3);
    let names: Vec<String> = (0..12).map(|number| format!("in/{number} it's.txt")).collect();
    for name in &names {
        scene.write(name, &name.repeat(1_000));
    }
    let values = names.iter().map(String::as_str);
    let script = "tr a-z A-Z < {} > out/{/}; cksum < out/{/}";
    let words = ["-k", "-i", "{}", "-o", "out/{/}", "-s", script, ":::"];
    let words: Vec<&str> = words.into_iter().chain(values).collect();
    let here = scene.output(&["map", "--local"].into_iter().chain(words.iter().copied()).collect::<Vec<_>>());
    assert_eq!(here.status.code(), Some(0), "{}", String::from_utf8_lossy(&here.stderr));
    let made = scene.files_in("out");
    assert_eq!(made.len(), 12);
    std::fs::remove_dir_all(scene.rig.laptop().work_dir().join("out")).unwrap();
    let (there, _) = map(&scene, &THREE, 0, &words);
    assert_eq!(there.as_bytes(), here.stdout);
    assert_eq!(scene.files_in("out"), made);
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn a_content_is_sent_once_and_kept_for_the_next_batch() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(1);
    scene.write("data", &"0123456789abcdef".repeat(1 << 16));
    let words = ["-n0", "--base", "data", "-i", "data", "wc", "-c", "data", ":::", "1", "2", "3"];
    for _ in 0..2 {
        let (stdout, _) = map(&scene, &["alpha"], 0, &words);
        assert_eq!(stdout, "1048576 data\n".repeat(3));
        let kept = scene.rig.host("alpha").exec("ls /home/worker/.cache/titan/blobs/* | wc -l");
        assert_eq!(String::from_utf8_lossy(&kept.stdout).trim(), "1");
    }
    // What was damaged there is noticed and sent again.
    scene
        .rig
        .host("alpha")
        .exec("for f in /home/worker/.cache/titan/blobs/*/*; do printf X | dd of=$f conv=notrunc; done");
    let (stdout, _) = map(&scene, &["alpha"], 0, &["-n0", "-i", "data", "head", "-c", "4", "data", ":::", "1"]);
    assert_eq!(stdout, "0123");
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn what_was_forgotten_is_told_before_anything_starts() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(1);
    scene.write("a.mov", "x");
    let script = scene.write("x.sh", "#!/bin/sh\ncat \"$1\"\n");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let (_, stderr) = map(&scene, &["alpha"], 2, &["cat", ":::", "a.mov"]);
    assert!(stderr.contains("'a.mov' is a file on this machine, but tasks run on alpha: add -i {} (or"), "{stderr}");
    let (_, stderr) = map(&scene, &["alpha"], 2, &["-i", "{}", "./x.sh", ":::", "a.mov"]);
    assert!(
        stderr.contains("'./x.sh' is a file on this machine, but tasks run on alpha: add --base ./x.sh"),
        "{stderr}"
    );
    assert_eq!(map(&scene, &["alpha"], 0, &["-i", "{}", "--base", "./x.sh", "./x.sh", ":::", "a.mov"]).0, "x");
    assert_eq!(map(&scene, &["alpha"], 0, &["--no-stage-check", "echo", ":::", "a.mov"]).0, "a.mov\n");
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn a_full_disk_there_fails_with_a_sentence_and_the_rest_goes_elsewhere() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    scene.write("large", &"x".repeat(8 << 20));
    scene.rig.host("alpha").exec("mount -t tmpfs -o size=1m none /tmp");
    let words = ["-n0", "-j1", "-i", "large", "-s", "sleep 0.2; echo $TITAN_HOST", ":::", "1", "2", "3", "4"];
    let (stdout, _) = map(&scene, &["alpha", "beta"], 0, &words);
    assert_eq!(stdout, "beta\n".repeat(4));
    let (_, stderr) = map(&scene, &["alpha"], 1, &["-n0", "-i", "large", "true", ":::", "1"]);
    assert!(stderr.contains("No space left on device"), "{stderr}");
}
