//! The fault matrix: hosts go and come, share what they have, or can't be used.

use std::time::Duration;

use titan_tests::matrix::batch::NOTES;
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
        pace: Pace::Hasty,
        recovery: Recovery::NewAttempt,
        slow_ms: 700,
        struck: &["alpha", "beta"],
        options: &["--wait-for-hosts", "60s"],
        ..Row::new("all hosts powered off, one on again while titan waits", |stage| {
            stage.scene.rig.hosts().iter().for_each(Host::power_off);
            stage
                .run()
                .wait_for("titan says that it waits", |events| events.text().contains("no host is up: waiting up to "));
            stage.host("alpha").power_on();
            prepare(stage.host("alpha"));
            stage.restart_clock();
        })
    },
    Row {
        cluster: beta_with_another_clock,
        slow_ms: 900,
        pace: Pace::Watchful,
        mend: Stage::assert_beta_stayed_healthy,
        ..Row::new("host's clock jumps by hours, forward and back", |stage| {
            for seconds in [5 * 3_600, -10 * 3_600] {
                stage.host("beta").exec(&format!("echo {seconds} > {NOTES}/clock"));
                stage.lasts(Duration::from_secs(3));
            }
            let agents = stage.host("beta").exec("grep -l clock.so /proc/[0-9]*/maps | wc -l");
            assert!(String::from_utf8_lossy(&agents.stdout).trim() != "0", "no process has another clock");
            stage.restart_clock();
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

/// What a clock that jumps is made of: what programs read of the date is so many seconds off as a file says.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long off(void) {
    char text[32] = {0};
    int file = open("/run/matrix/clock", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    if (read(file, text, sizeof text - 1) < 0) text[0] = 0;
    close(file);
    return strtol(text, 0, 10);
}
int clock_gettime(clockid_t id, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, id, now);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += off();
    return failed;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *place) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (place) *place = precise.tv_sec;
    return precise.tv_sec;
}
"#;

/// All that runs on beta for titan has a clock of its own.
fn beta_with_another_clock(scene: &Scene, faults: &str) -> ClusterText {
    let beta = scene.rig.host("beta");
    prepare(beta);
    let made = beta.exec(&format!("cc -shared -fPIC -o {NOTES}/clock.so -x c - <<'END'\n{CLOCK}\nEND"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let shell = format!("exec env LD_PRELOAD={NOTES}/clock.so /bin/sh");
    ClusterText::new().host("alpha", faults).command("beta", &["ssh", "-oBatchMode=yes", "beta", &shell], faults)
}

#[test]
fn hosts_may_go_come_back_share_and_be_refused() {
    play(ROWS);
}
