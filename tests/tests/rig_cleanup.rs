//! However titan ends, nothing of it stays: no process, no socket, no file but the agents that were placed.

use std::time::{Duration, Instant};
use titan_tests::rig::{self, HostSpec, Rig, Signal};
use titan_tests::scene::{CLEAN_SPAN, ClusterText, KILLED_CLEAN_SPAN, Run, Scene, UNHURRIED, picture};

const TWO: [&str; 2] = ["alpha", "beta"];
/// A titan that isn't waiting for anybody ends in much less.
const AT_ONCE: Duration = Duration::from_secs(2);
/// An upload begins in a second; this is for machines under load.
const PATIENCE: Duration = Duration::from_secs(30);

#[track_caller]
fn ends_by(signal: Signal, code: i32) {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let mut run = scene.start(&ClusterText::of(&TWO, UNHURRIED));
    run.wait_until_midway(&TWO);
    run.signal(signal);
    let signalled = Instant::now();
    let done = run.finish();
    assert!(signalled.elapsed() < CLEAN_SPAN, "it took {:?}", signalled.elapsed());
    done.assert_code(code);
    let completed = done.events.completed().len();
    assert!(completed < picture::TILES, "it was in the middle");
    assert_eq!(done.picture, None, "half a picture is none");
    assert!(done.events.text().contains(&format!("interrupted: {completed} of 64 done")), "{}", done.events);
    assert_eq!((&done.summary["state"], &done.summary["exit_code"]), (&"CANCELLED".into(), &code.into()));
    scene.assert_clean(CLEAN_SPAN.saturating_sub(signalled.elapsed()));
}

#[test]
fn sigint_ends_a_batch_and_leaves_nothing() {
    ends_by(Signal::INT, 130);
}

#[test]
fn sigterm_ends_a_batch_and_leaves_nothing() {
    ends_by(Signal::TERM, 143);
}

#[test]
fn sighup_ends_a_batch_and_leaves_nothing() {
    ends_by(Signal::HUP, 129);
}

#[test]
fn after_a_normal_end_everything_is_gone_when_titan_is() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    scene.run(&ClusterText::of(&TWO, "slow:20")).assert_whole();
    scene.assert_clean(CLEAN_SPAN);
    assert!(scene.rig.laptop().processes().is_empty());
}

#[test]
fn a_signal_while_hosts_are_being_started_ends_titan_at_once() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::builder().host(HostSpec::new("alpha")).host(HostSpec::new("hole").powered_off()).start();
    let scene = Scene::on(rig);
    let mut run = scene.start(&ClusterText::of(&["alpha", "hole"], UNHURRIED));
    run.wait_until_midway(&["alpha"]);
    let logging_in = || scene.rig.laptop().processes().iter().any(|process| process.line().ends_with("-- hole"));
    assert!(logging_in(), "ssh still waits for the black hole: {:?}", scene.rig.laptop().processes());
    run.signal(Signal::INT);
    let signalled = Instant::now();
    let done = run.finish();
    done.assert_code(130);
    assert!(signalled.elapsed() < AT_ONCE, "it took {:?}", signalled.elapsed());
    scene.assert_clean(CLEAN_SPAN.saturating_sub(signalled.elapsed()));
}

#[test]
fn a_signal_while_a_host_is_cut_off_ends_titan_in_time() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let mut run = scene.start(&ClusterText::of(&TWO, UNHURRIED).hasty());
    run.wait_until_midway(&TWO);
    scene.rig.host("beta").cut();
    run.signal(Signal::TERM);
    let signalled = Instant::now();
    let done = run.finish();
    done.assert_code(143);
    assert!(signalled.elapsed() < CLEAN_SPAN, "it took {:?}", signalled.elapsed());
    // The laptop and alpha are clean now; beta when its lease is over, though it is cut off.
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn a_second_sigint_doesnt_wait_for_anybody() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let mut run = scene.start(&ClusterText::of(&TWO, UNHURRIED).hasty());
    run.wait_until_midway(&TWO);
    scene.rig.host("beta").cut();
    run.signal(Signal::INT);
    run.wait_for("titan says how to hurry it", |events| events.text().contains("once more"));
    run.signal(Signal::INT);
    let signalled = Instant::now();
    let done = run.finish();
    done.assert_code(130);
    assert!(signalled.elapsed() < AT_ONCE, "it took {:?}", signalled.elapsed());
    scene.rig.host("beta").heal();
    scene.assert_clean(Duration::from_secs(4) + CLEAN_SPAN);
}

#[test]
fn after_sigkill_no_process_is_left_and_the_next_run_removes_the_files() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let cluster = ClusterText::of(&TWO, UNHURRIED).hasty();
    let mut run = scene.start(&cluster);
    run.wait_until_midway(&TWO);
    run.signal(Signal::KILL);
    let killed = Instant::now();
    let done = run.finish();
    assert_eq!(done.status.code(), None);
    assert_eq!(done.picture, None);
    scene.assert_no_process(KILLED_CLEAN_SPAN);
    assert!(killed.elapsed() < KILLED_CLEAN_SPAN);
    let batches = scene.rig.laptop().state_dir().join("titan/batches");
    assert!(std::fs::read_dir(batches).unwrap().count() > 1, "a killed titan can't remove its batch");

    scene.run(&ClusterText::of(&TWO, "slow:20")).assert_whole();
    scene.assert_clean(CLEAN_SPAN);
}

/// Ends a titan while an agent is on its way: the half that has arrived goes, and the next titan sends a whole one.
#[track_caller]
fn ends_while_it_uploads(signal: Signal, deadline: Duration) {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(1);
    let host = scene.rig.host("alpha");
    if host.limit_rate(20_000).is_err() {
        let _ = rig::availability::skipped_for("slow links need tbf", Err("the kernel has none".to_owned()));
        return;
    }
    let cluster = ClusterText::of(&["alpha"], "slow:10");
    let mut run = scene.start(&cluster);
    let uploading = || host.processes().iter().any(|process| process.line().starts_with("head -c"));
    rig::wait_until(PATIENCE, "the upload is under way", uploading);
    run.signal(signal);
    let signalled = Instant::now();
    run.finish();
    scene.assert_no_process(deadline.saturating_sub(signalled.elapsed()));
    let agents: Vec<_> = host.files().into_iter().filter(|path| path.to_string_lossy().contains("agent-")).collect();
    assert!(agents.is_empty(), "{agents:?}");

    let next = scene.run(&cluster);
    next.assert_whole();
    assert!(next.host("alpha")["sent_bytes"].as_u64() > Some(0), "{}", next.summary);
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn an_upload_that_is_interrupted_leaves_no_half_agent() {
    ends_while_it_uploads(Signal::INT, CLEAN_SPAN);
}

#[test]
fn an_upload_whose_titan_is_killed_leaves_no_half_agent() {
    ends_while_it_uploads(Signal::KILL, KILLED_CLEAN_SPAN);
}

#[test]
fn a_host_that_is_cut_off_when_titan_is_killed_cleans_itself() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let mut run = scene.start(&ClusterText::of(&TWO, UNHURRIED).hasty());
    run.wait_until_midway(&TWO);
    scene.rig.host("beta").cut();
    run.signal(Signal::KILL);
    run.finish();
    scene.assert_no_process(KILLED_CLEAN_SPAN);
}

/// Starts a batch in which beta is cut off while its agent is on its way; None where the kernel can't slow a link.
fn start_with_a_broken_upload(scene: &Scene, faults: &str) -> Option<Run> {
    let host = scene.rig.host("beta");
    if host.limit_rate(20_000).is_err() {
        let _ = rig::availability::skipped_for("slow links need tbf", Err("the kernel has none".to_owned()));
        return None;
    }
    // Only beta's agent is to be on its way: alpha has it already.
    scene.run(&ClusterText::of(&["alpha"], "slow:1")).assert_whole();
    let run = scene.start(&ClusterText::of(&TWO, faults).hasty().ssh("start_timeout = '3s'"));
    let uploading = || host.processes().iter().any(|process| process.line().starts_with("head -c"));
    rig::wait_until(PATIENCE, "the upload is under way", uploading);
    host.cut();
    Some(run)
}

#[test]
fn a_host_that_is_cut_off_while_it_uploads_is_clean_when_it_is_back() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let Some(run) = start_with_a_broken_upload(&scene, "slow:150") else { return };
    let done = run.finish();
    done.assert_whole();
    assert!(done.trouble("beta").starts_with("no agent after 3 s"), "{}", done.summary);
    scene.rig.host("beta").heal();
    scene.assert_clean(Duration::from_secs(4) + CLEAN_SPAN);
}

#[test]
fn a_signal_while_a_broken_upload_hangs_ends_titan_in_time() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let Some(mut run) = start_with_a_broken_upload(&scene, UNHURRIED) else { return };
    run.wait_until_midway(&["alpha"]);
    run.signal(Signal::INT);
    let signalled = Instant::now();
    let done = run.finish();
    done.assert_code(130);
    assert!(signalled.elapsed() < CLEAN_SPAN, "it took {:?}", signalled.elapsed());
    scene.rig.host("beta").heal();
    scene.assert_clean(Duration::from_secs(4) + CLEAN_SPAN);
}
