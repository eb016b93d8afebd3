//! The fault matrix: titan itself is killed, told to end, or loses its terminal, and its batch is gone on with.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::thread;
use std::time::Duration;
use titan_tests::cli::terminal::Terminal;
use titan_tests::matrix::{Pace, Recovery, Row, Stage, by_ssh_with_a_slow_beta, play, version};
use titan_tests::program;
use titan_tests::rig::{Host, Signal, holds_within, wait_until};
use titan_tests::scene::Run;
use titan_tests::sim::random::Random;

/// With this variable the moments of kills are drawn as they were with that seed.
const SEED_VARIABLE: &str = "TITAN_MATRIX_SEED";
/// How often titan is killed.
const KILLS: usize = 10;
/// What a lease of five seconds and its end may take.
const AFTER_LEASE: Duration = Duration::from_secs(15);

const ROWS: &[Row] = &[
    Row { slow_ms: 1500, ..Row::new("titan SIGKILLed at ten random moments, resumed each time", kill_ten_times) },
    Row {
        slow_ms: 700,
        recovery: Recovery::NewAttempt,
        ..Row::new("titan gets SIGTERM, resumed", |stage| end(stage, Signal::TERM, 143))
    },
    Row {
        slow_ms: 700,
        recovery: Recovery::NewAttempt,
        ..Row::new("titan gets SIGINT, resumed", |stage| end(stage, Signal::INT, 130))
    },
    Row {
        slow_ms: 700,
        recovery: Recovery::NewAttempt,
        ..Row::new("titan gets SIGHUP, resumed", |stage| end(stage, Signal::HUP, 129))
    },
    Row {
        cluster: by_ssh_with_a_slow_beta,
        recovery: Recovery::NewAttempt,
        slow_ms: 150,
        ..Row::new("titan's terminal closed, resumed", close_terminal)
    },
    Row { slow_ms: 700, ..Row::new("titan SIGKILLed, resumed twice at once", resume_twice) },
    Row {
        recovery: Recovery::NewAttempt,
        ..Row::new("titan SIGKILLed, resumed by another version", resume_with_another_version)
    },
    Row {
        struck: &["alpha", "beta"],
        pace: Pace::Hasty,
        recovery: Recovery::NewAttempt,
        ..Row::new("titan SIGKILLed, resumed after the lease", |stage| {
            stage.kill_titan();
            wait_until_nothing_runs(stage);
            stage.resume();
        })
    },
    Row::new("titan SIGSTOPped, continued before the lease", |stage| {
        stage.run().signal(Signal::STOP);
        stage.lasts(Duration::from_secs(5));
        stage.run().signal(Signal::CONT);
        stage.restart_clock();
    }),
    Row {
        struck: &["alpha", "beta"],
        pace: Pace::Hasty,
        recovery: Recovery::NewAttempt,
        ..Row::new("titan SIGSTOPped, continued after the lease", |stage| {
            stage.run().signal(Signal::STOP);
            wait_until_nothing_runs(stage);
            stage.run().signal(Signal::CONT);
            stage.restart_clock();
        })
    },
];

fn kill_ten_times(stage: &mut Stage) {
    let any = || RandomState::new().hash_one(0);
    let seed = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(any);
    // Not eprintln: the test harness would swallow that.
    let _ = writeln!(io::stderr(), "matrix: {SEED_VARIABLE}={seed}");
    let mut random = Random::new(seed);
    for _ in 0..KILLS {
        stage.wait_until_midway();
        thread::sleep(random.millis(0, 300));
        stage.kill_titan();
        stage.restart_clock();
        stage.resume();
    }
}

fn end(stage: &mut Stage, signal: Signal, code: i32) {
    stage.run().signal(signal);
    stage.end_titan(Some(code));
    stage.resume();
}

fn close_terminal(stage: &mut Stage) {
    stage.kill_titan();
    let terminal = Terminal::open();
    let mut titan = stage.scene.rig.command("setsid");
    titan.arg("--ctty").arg(program::titan()).args(["resume", &stage.batch()]);
    titan.current_dir(stage.scene.rig.laptop().work_dir());
    stage.go_on_with(Run::start_with_stdin(titan, stage.results(), terminal.stream()));
    stage.wait_until_midway();
    terminal.close();
    stage.end_titan(Some(129));
    stage.resume();
}

fn resume_twice(stage: &mut Stage) {
    stage.kill_titan();
    let id = stage.batch();
    let start = || Run::start(stage.scene.titan(["resume", &id]), stage.results());
    let (mut one, mut other) = (start(), start());
    wait_until(AFTER_LEASE, "one is refused", || one.has_ended() || other.has_ended());
    let (refused, goes_on) = if one.has_ended() { (one, other) } else { (other, one) };
    let refused = refused.finish();
    refused.assert_code(2);
    let said = refused.events.text();
    assert!(said.contains(&format!("batch {id} is being run by titan with pid ")), "{said}");
    stage.go_on_with(goes_on);
}

fn resume_with_another_version(stage: &mut Stage) {
    stage.kill_titan();
    let mut other = stage.scene.rig.command(version::other_than_this(&stage.scene.rig.laptop().work_dir()));
    other.args(["resume", &stage.batch()]).current_dir(stage.scene.rig.laptop().work_dir());
    stage.go_on_with(Run::start(other, stage.results()));
}

/// The leases are over, and so is all that ran.
fn wait_until_nothing_runs(stage: &Stage) {
    let left = || stage.scene.rig.hosts().iter().flat_map(Host::processes).collect::<Vec<_>>();
    assert!(holds_within(AFTER_LEASE, || left().is_empty()), "it still runs {AFTER_LEASE:?} later: {:?}", left());
}

#[test]
fn titan_may_end_at_any_moment_and_in_any_way() {
    play(ROWS);
}
