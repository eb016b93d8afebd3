//! What surrounds a run: pipes as outputs, signals that were ignored before, sessions, variables with any name.

use std::fs;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use titan_tests::cli::{Desk, PATIENCE, Running};
use titan_tests::program::titan;
use titan_tests::rig::wait_until;

const SMALL: &str = "run mandelbrot -v --size 64x64 --tiles 4x4";
const SLOW: &str = "slow:60000";

fn make_pipe(desk: &Desk, name: &str) {
    let made = Command::new("mkfifo").arg(desk.path(name)).status().expect("coreutils are there");
    assert!(made.success());
}

#[test]
fn a_pipe_gets_the_picture_and_stays_a_pipe() {
    let desk = Desk::new();
    make_pipe(&desk, "pipe");
    let reader =
        Command::new("cat").arg(desk.path("pipe")).stdout(Stdio::piped()).spawn().expect("coreutils are there");
    desk.run(&format!("{SMALL} -o pipe")).expect(0);
    let picture = reader.wait_with_output().unwrap().stdout;
    desk.run(&format!("{SMALL} -o file.png")).expect(0);
    assert_eq!(picture, desk.read("file.png"));
    assert!(!fs::metadata(desk.path("pipe")).unwrap().is_file());
}

#[test]
fn a_pipe_without_a_reader_waits_and_can_be_interrupted() {
    let desk = Desk::new();
    make_pipe(&desk, "pipe");
    let mut running = Running::start(&mut desk.titan(&format!("{SMALL} -o pipe")));
    running.wait_for("task 15 on localhost: done");
    running.signal(Signal::INT);
    running.wait().expect(130);
    desk.wait_until_tidy();
}

#[test]
fn a_hangup_that_was_ignored_before_stays_ignored() {
    let desk = Desk::new();
    let mut command = desk.command("sh");
    command.args(["-c", r#"trap '' HUP; exec "$0" "$@""#]).arg(titan()).args(SMALL.split(' '));
    command.env(titan_agent::faults::VARIABLE, "slow:150");
    let mut running = Running::start(&mut command);
    running.wait_for("task 0 starts");
    running.signal(Signal::HUP);
    running.wait().expect(0);
}

#[test]
fn a_local_agent_has_a_session_of_its_own() {
    let desk = Desk::new();
    let mut running = desk.start_faulty(SLOW, SMALL);
    let agents: Vec<u32> =
        desk.processes().into_iter().map(|(pid, _)| pid).filter(|pid| *pid != running.pid()).collect();
    assert!(!agents.is_empty());
    for agent in agents {
        let status = fs::read_to_string(format!("/proc/{agent}/stat")).unwrap();
        // After the name in parentheses: state, parent, group, session.
        let fields: Vec<&str> = status.rsplit(')').next().unwrap().split_whitespace().collect();
        assert_eq!(fields[3], agent.to_string(), "{status}");
    }
    running.signal(Signal::INT);
    running.wait().expect(130);
}

#[test]
fn variables_of_any_name_reach_an_agent_behind_a_shell() {
    let desk = Desk::new();
    let env =
        r#"{ d = "5", f = "6", h = "7", m = "8", n = "9", t = "10", u = "11", x = "it's", XDG_CACHE_HOME = "/none" }"#;
    desk.write("c.toml", format!("[[host]]\nname = \"shell\"\ncommand = [\"sh\"]\nenv = {env}\n"));
    let first = desk.run(&format!("{SMALL} --cluster c.toml --json")).expect(0);
    assert!(first.one_object()["hosts"][0]["sent_bytes"].as_u64() > Some(0));
    let second = desk.run(&format!("{SMALL} --cluster c.toml --json")).expect(0);
    assert_eq!(second.one_object()["hosts"][0]["sent_bytes"], 0, "it is there already");
}

#[test]
fn an_agent_file_that_is_a_pipe_is_refused() {
    let desk = Desk::new();
    make_pipe(&desk, "pipe");
    desk.write("c.toml", "[[host]]\nname = \"shell\"\ncommand = [\"sh\"]\nagent = \"pipe\"\n");
    let outcome = desk.run(&format!("{SMALL} --cluster c.toml")).expect(3);
    assert!(outcome.stderr.contains("it is no file"), "{}", outcome.stderr);
}

#[test]
fn an_interruption_among_many_files_leaves_none_of_them() {
    let desk = Desk::new();
    for _ in 0..5 {
        let words = "run mandelbrot -v --size 512x512 --tiles 32x32 --tiles-dir tiles";
        let mut running = Running::start(&mut desk.titan(words));
        running.wait_for("task 100 ");
        if !running.has_ended() {
            running.signal(Signal::INT);
        }
        running.wait();
        desk.wait_until_tidy();
        let is_left = |name: &String| name.ends_with(".tmp");
        wait_until(PATIENCE, "no temporary file is left", || !desk.work_files().iter().any(is_left));
        let _ = fs::remove_dir_all(desk.path("tiles"));
    }
}
