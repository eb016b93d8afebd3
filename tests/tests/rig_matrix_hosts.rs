//! The fault matrix: hosts go and come, share what they have, or can't be used.

use titan_tests::matrix::stage::prepare;
use titan_tests::matrix::{Kind, Pace, Recovery, Row, Stage, play, version};
use titan_tests::rig::{Home, Host, HostSpec, Rig};
use titan_tests::scene::{ClusterText, Run, Scene};

const THREE: [&str; 3] = ["alpha", "beta", "gamma"];

const ROWS: &[Row] = &[
    Row {
        pace: Pace::Hasty,
        recovery: Recovery::NewAttempt,
        ..Row::new("host powered off for ever", |stage| {
            stage.host("beta").power_off();
            stage.open_gate();
        })
    },
    Row {
        pace: Pace::Watchful,
        recovery: Recovery::NewAttempt,
        ..Row::new("host powered off and on", |stage| {
            stage.host("beta").power_off();
            stage.host("beta").power_on();
            prepare(stage.host("beta"));
        })
    },
    Row {
        pace: Pace::Hasty,
        recovery: Recovery::NewAttempt,
        slow_ms: 700,
        struck: &["alpha", "beta"],
        ..Row::new("all hosts powered off, then one on, resumed", |stage| {
            stage.scene.rig.hosts().iter().for_each(Host::power_off);
            stage.end_titan(Some(3));
            stage.host("alpha").power_on();
            prepare(stage.host("alpha"));
            stage.restart_clock();
            stage.resume();
        })
    },
    Row {
        rig: three_with_one_home,
        recovery: Recovery::NewAttempt,
        ..Row::new("agent SIGKILLed where three hosts share a home", |stage| {
            drop(stage.host("beta").kill(titan_tests::matrix::stage::AGENT));
        })
    },
    Row {
        rig: three_with_one_home,
        struck: &THREE,
        ..Row::new("all sshd sessions killed where three hosts share a home", |stage| {
            stage.scene.rig.hosts().iter().for_each(Host::end_sessions);
        })
    },
    Row { slow_ms: 700, struck: &["alpha", "beta"], ..Row::new("a second batch on the same hosts", run_another) },
    Row {
        cluster: beta_with_another_version,
        struck: &["alpha"],
        ..Row::new("an agent of another version", |stage| {
            stage.run().wait_for("beta is given up", |events| events.was("beta", "down"));
            let said = stage.run().events().to_string();
            assert!(said.contains("build both from the same source"), "{said}");
            stage.restart_clock();
        })
    },
];

fn three_with_one_home() -> Rig {
    Rig::builder().hosts(THREE.map(|name| HostSpec::new(name).home(Home::Shared))).start()
}

/// A batch of the other kind, from its beginning to its end.
fn run_another(stage: &mut Stage) {
    let kind = if stage.kind == Kind::Command { Kind::Kernel } else { Kind::Command };
    let another = stage.another_batch(kind);
    let mut run = Run::start(stage.scene.titan(&another.words), another.out.clone());
    run.wait_for("it is in the middle of tasks", |events| !events.completed().is_empty());
    stage.restart_clock();
    stage.open_gate();
    stage.wait_until_it_goes_on();
    run.finish().assert_code(0);
    assert!(another.kind.read_results(&another.out) == another.whole, "what it would be alone");
}

fn beta_with_another_version(scene: &Scene, faults: &str) -> ClusterText {
    let agent = version::other_than_this(&scene.rig.laptop().work_dir());
    ClusterText::new().host("alpha", faults).host_line("beta", faults, &format!("agent = {agent:?}"))
}

#[test]
fn hosts_may_go_come_back_share_and_be_refused() {
    play(ROWS);
}
