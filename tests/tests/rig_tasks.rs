//! Tiles that fail: tried again elsewhere as often as is right, then left out of the picture.

use std::ops::Range;

use titan_tests::rig;
use titan_tests::scene::{CLEAN_SPAN, ClusterText, Finished, Scene, picture};

const TWO: [&str; 2] = ["alpha", "beta"];
const BAD_TILE: u32 = 20;

#[track_caller]
fn assert_one_tile_failed(done: &Finished, starts: usize, reason: &str) {
    done.assert_code(1);
    assert_eq!(done.events.starts_of(u64::from(BAD_TILE)), starts, "{}", done.events);
    assert_eq!(done.events.completed().len(), picture::TILES - 1, "{}", done.events);
    let failures = done.summary["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 1, "{}", done.summary);
    assert_eq!(failures[0]["tasks"], serde_json::json!([BAD_TILE]));
    assert!(failures[0]["reason"].as_str().unwrap().contains(reason), "{}", done.summary);
    let tasks = &done.summary["tasks"];
    assert_eq!((&tasks["completed"], &tasks["failed"]), (&63.into(), &1.into()), "{}", done.summary);
    assert_eq!(done.summary["state"], "FAILED");
    picture::assert_only_missing(done.picture.as_ref().expect("the picture is written all the same"), BAD_TILE);
}

#[test]
fn a_tile_that_takes_every_agent_down_fails_after_the_fifth() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let mut run = scene.start(&ClusterText::of(&TWO, &format!("slow:50,abort:{BAD_TILE}")));
    run.wait_for("an agent dies among tiles that are done", |events| {
        !events.completed().is_empty() && TWO.iter().any(|host| events.was(host, "restarting"))
    });
    let done = run.finish();
    assert_one_tile_failed(&done, 5, "lost");
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn a_tile_that_panics_everywhere_fails_after_three_tries_and_the_agents_live_on() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let done = scene.run(&ClusterText::of(&TWO, &format!("slow:20,panic:{BAD_TILE}")));
    assert_one_tile_failed(&done, 3, "told to panic");
    assert_eq!(done.summary["retries"], 2, "{}", done.summary);
    for host in TWO {
        assert_eq!(done.events.states_of(host), ["healthy"], "{}", done.events);
    }
    scene.assert_clean(CLEAN_SPAN);
}

/// So many that alpha gets one of them, whichever host comes first.
const BAD_TILES: Range<u64> = 12..24;

/// Both hosts, of which alpha can't do these.
fn with_bad_tiles_on_alpha(fault: &str) -> ClusterText {
    let faults: String = BAD_TILES.map(|tile| format!(",{fault}:{tile}")).collect();
    ClusterText::new().host("alpha", &format!("slow:50{faults}")).host("beta", "slow:50")
}

#[test]
fn a_tile_that_fails_on_one_host_is_done_by_the_other() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let done = scene.run(&with_bad_tiles_on_alpha("panic"));
    done.assert_whole();
    let failed_on_alpha: Vec<u64> = BAD_TILES.filter(|task| done.events.started_on("alpha").contains(task)).collect();
    assert!(!failed_on_alpha.is_empty(), "{}", done.events);
    assert!(failed_on_alpha.iter().all(|task| done.events.completed_on("beta").contains(task)), "{}", done.events);
    assert!(done.summary["retries"].as_u64() > Some(0), "{}", done.summary);
    assert_eq!(done.events.states_of("alpha"), ["healthy"], "{}", done.events);
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn a_tile_that_takes_the_agents_of_one_host_down_is_done_by_the_other() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let done = scene.run(&with_bad_tiles_on_alpha("abort"));
    done.assert_whole();
    assert!(done.events.was("alpha", "restarting"), "{}", done.events);
    scene.assert_clean(CLEAN_SPAN);
}
