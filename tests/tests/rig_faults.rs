//! Hosts, networks and agents that fail in the middle of a picture: it is finished all the same, and nothing is left.

use std::time::Duration;
use titan_tests::rig::{self, Signal, wait_until};
use titan_tests::scene::{CLEAN_SPAN, ClusterText, Finished, Scene};

const TWO: [&str; 2] = ["alpha", "beta"];
const THREE: [&str; 3] = ["alpha", "beta", "gamma"];
/// What every agent's command line holds.
const AGENT: &str = " watched";
/// The lease of hasty clusters, and what a host may take beyond it.
const LEASE_AND_MORE: Duration = Duration::from_secs(4 + 10);

/// Whether a tile that this host had begun was done by another.
fn another_took_over(done: &Finished, host: &str) -> bool {
    let own = done.events.completed_on(host);
    done.events.started_on(host).iter().any(|task| !own.contains(task) && done.events.starts_of(*task) > 1)
}

#[test]
fn a_host_that_is_cut_off_is_unhealthy_then_lost_and_others_do_its_tiles() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(3);
    let mut run = scene.start(&ClusterText::of(&THREE, "slow:500").hasty());
    run.wait_until_midway(&THREE);
    scene.rig.host("beta").cut();
    run.wait_for("beta is UNHEALTHY", |events| events.was("beta", "unhealthy"));
    let begun = run.events().running_on("beta");
    run.wait_for("beta is lost", |events| events.was("beta", "restarting"));
    let done = run.finish();
    done.assert_whole();
    assert!(!begun.is_empty() && another_took_over(&done, "beta"), "{}", done.events);
    let states = done.events.states_of("beta");
    assert_eq!(states[..3], ["healthy", "unhealthy", "restarting"], "{}", done.events);
    assert!(done.summary["retries"].as_u64() > Some(0), "{}", done.summary);

    scene.rig.host("beta").heal();
    scene.assert_clean(LEASE_AND_MORE);
}

#[test]
fn a_host_that_is_cut_off_for_a_moment_goes_on_where_it_was() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let cluster = ClusterText::of(&TWO, "slow:300").hasty();
    let mut run = scene.start(&cluster);
    run.wait_until_midway(&TWO);
    scene.rig.host("beta").cut();
    run.wait_for("beta is UNHEALTHY", |events| events.was("beta", "unhealthy"));
    let before = run.events().completed_on("beta").len();
    scene.rig.host("beta").heal();
    run.wait_for("beta does more tiles", |events| events.completed_on("beta").len() > before + 2);
    let done = run.finish();
    done.assert_whole();
    assert_eq!(done.host("beta")["state"], "healthy", "{}", done.events);
    scene.assert_clean(LEASE_AND_MORE);
}

#[test]
fn a_host_whose_power_goes_is_replaced_by_the_others() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(3);
    let mut run = scene.start(&ClusterText::of(&THREE, "slow:300").hasty());
    run.wait_until_midway(&THREE);
    scene.rig.host("gamma").power_off();
    let done = run.finish();
    done.assert_whole();
    assert!(done.events.was("gamma", "unhealthy"), "{}", done.events);
    assert!(another_took_over(&done, "gamma"), "{}", done.events);
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn an_agent_that_is_killed_is_started_afresh() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let mut run = scene.start(&ClusterText::of(&TWO, "slow:200"));
    run.wait_until_midway(&TWO);
    let before = run.events().completed_on("beta").len();
    assert_eq!(scene.rig.host("beta").kill(AGENT).len(), 1, "one agent for each host");
    run.wait_for("beta is lost", |events| events.was("beta", "restarting"));
    run.wait_for("beta works again", |events| events.completed_on("beta").len() > before + 2);
    let done = run.finish();
    done.assert_whole();
    assert_eq!(done.events.states_of("beta"), ["healthy", "restarting", "healthy"], "{}", done.events);
    assert_eq!(done.host("beta")["state"], "healthy", "{}", done.summary);
    assert!(done.summary["retries"].as_u64() > Some(0), "{}", done.summary);
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn a_host_whose_sessions_end_goes_on_and_is_reached_again() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let mut run = scene.start(&ClusterText::of(&TWO, "slow:200"));
    run.wait_until_midway(&TWO);
    let before = run.events().completed_on("beta").len();
    scene.rig.host("beta").end_sessions();
    run.wait_for("beta goes on", |events| events.completed_on("beta").len() > before + 2);
    let done = run.finish();
    done.assert_whole();
    assert!(!done.events.was("beta", "restarting"), "{}", done.events);
    assert_eq!(done.summary["retries"], 0, "nothing ran twice: {}", done.events);
    assert_eq!(done.host("beta")["state"], "healthy", "{}", done.summary);
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn a_host_whose_sshd_is_gone_for_good_is_left_to_the_others() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let mut run = scene.start(&ClusterText::of(&TWO, "slow:200").hasty());
    run.wait_until_midway(&TWO);
    let host = scene.rig.host("beta");
    host.stop_sshd();
    host.end_sessions();
    let done = run.finish();
    done.assert_whole();
    assert!(another_took_over(&done, "beta"), "{}", done.events);
    assert_ne!(done.host("beta")["state"], "healthy", "{}", done.summary);
    host.start_sshd();
    scene.assert_clean(LEASE_AND_MORE);
}

#[test]
fn an_agent_that_is_frozen_and_thawed_counts_no_tile_twice() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let cluster = ClusterText::of(&TWO, "slow:300").hasty();
    let mut run = scene.start(&cluster);
    run.wait_until_midway(&TWO);
    let host = scene.rig.host("beta");
    assert_eq!(host.freeze(AGENT).len(), 1);
    run.wait_for("beta is UNHEALTHY and alpha has done one of its tiles", |events| {
        let own = events.completed_on("beta");
        let taken = |task: &u64| !own.contains(task) && events.completed_on("alpha").contains(task);
        events.was("beta", "unhealthy") && events.started_on("beta").iter().any(taken)
    });
    host.thaw(AGENT);
    run.wait_for("beta speaks again", |events| events.states_of("beta").last() == Some(&"healthy"));
    let done = run.finish();
    done.assert_whole();
    assert!(another_took_over(&done, "beta"), "{}", done.events);
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn an_agent_that_thaws_after_its_session_is_over_ends_by_itself() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let mut run = scene.start(&ClusterText::of(&TWO, "slow:400").hasty());
    run.wait_until_midway(&TWO);
    let host = scene.rig.host("beta");
    let frozen = host.freeze(AGENT)[0].pid;
    run.wait_for("beta is lost", |events| events.was("beta", "restarting"));
    run.wait_for("another agent works on beta", |events| events.states_of("beta").last() == Some(&"healthy"));
    host.exec(&format!("kill -{} {frozen}", Signal::CONT.as_raw()));
    let done = run.finish();
    done.assert_whole();
    scene.assert_clean(LEASE_AND_MORE);
}

#[test]
fn when_all_hosts_are_lost_the_batch_ends_with_a_line_for_each() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let mut run = scene.start(&ClusterText::of(&TWO, "slow:500").hasty());
    run.wait_until_midway(&TWO);
    scene.rig.host("alpha").power_off();
    let host = scene.rig.host("beta");
    host.stop_sshd();
    host.end_sessions();
    let done = run.finish();
    done.assert_code(3);
    assert_eq!(done.picture, None);
    let text = done.events.text();
    let (_, list) = text.split_once("error: no usable worker:\n").unwrap_or_else(|| panic!("{}", done.events));
    for (host, reason) in [("alpha", "it doesn't answer"), ("beta", "no ssh server answers there")] {
        let lines: Vec<&str> = list.lines().filter(|line| line.starts_with(&format!("  {host}: "))).collect();
        assert!(lines.len() == 1 && lines[0].contains(reason), "{list}");
    }
    assert_eq!(done.summary["exit_code"], 3, "{}", done.summary);
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn a_laptop_that_sleeps_longer_than_the_lease_finishes_when_it_wakes() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let mut run = scene.start(&ClusterText::of(&TWO, "slow:300").hasty());
    run.wait_until_midway(&TWO);
    run.signal(Signal::STOP);
    let agents = || scene.rig.hosts().iter().flat_map(rig::Host::processes).count();
    wait_until(LEASE_AND_MORE, "the agents have ended by themselves", || agents() == 0);
    run.signal(Signal::CONT);
    let done = run.finish();
    done.assert_whole();
    for host in TWO {
        assert!(done.events.was(host, "restarting"), "{}", done.events);
    }
    scene.assert_clean(CLEAN_SPAN);
}
