//! How a run ends before its time, and what it leaves: nothing but what was there before.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use titan_tests::cli::picture::read_png;
use titan_tests::cli::running::send_signal;
use titan_tests::cli::terminal::Terminal;
use titan_tests::cli::{Desk, PATIENCE, Running};
use titan_tests::rig::wait_until;

const SMALL: &str = "run mandelbrot -v --size 64x64 --tiles 4x4";
/// Longer than any test waits.
const SLOW: &str = "slow:60000";

/// The bytes of the small picture.
fn picture() -> Vec<u8> {
    let desk = Desk::new();
    desk.run(&format!("{SMALL} -o out.png")).expect(0);
    desk.read("out.png")
}

/// Nobody wants to wait for ten minutes.
const SHORT_LEASE: &str = "--heartbeat 100ms --unhealthy-after 300ms --lease 2s";

#[test]
fn a_signal_leaves_the_old_picture_and_nothing_else() {
    let desk = Desk::new();
    desk.write("out.png", "old");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let words = format!("{SMALL} --local 2 -o out.png --counts out.npy --tiles-dir tiles");
        let mut running = desk.start_faulty(SLOW, &words);
        assert!(!desk.left().is_nothing(), "there is something to tidy up");
        running.signal(signal);
        let outcome = running.wait();
        outcome.assert_interrupted("0 of 16");
        assert_eq!(desk.read("out.png"), b"old");
        desk.wait_until_tidy();
        assert_eq!(desk.work_files(), ["out.png"], "after {signal:?}");
    }
}

#[test]
fn what_was_done_before_a_signal_is_counted() {
    let desk = Desk::new();
    let faults: Vec<String> = (3..16).map(|task| format!("delay:{task}:60000")).collect();
    let mut running = desk.start_faulty(&faults.join(","), &format!("{SMALL} --json -o out.png -j 2"));
    running.wait_for("task 2 on localhost: done");
    running.signal(Signal::INT);
    let outcome = running.wait().expect(130);
    outcome.assert_interrupted("3 of 16");
    let summary = outcome.one_object();
    assert_eq!(summary["state"], "CANCELLED");
    assert_eq!(summary["exit_code"], 130);
    assert_eq!(summary["tasks"], serde_json::json!({"completed": 3, "failed": 0, "cancelled": 13}));
    assert_eq!(summary["outputs"], serde_json::json!([]));
    assert!(!desk.path("out.png").exists());
}

#[test]
fn a_first_signal_is_quick_where_tasks_stop_when_they_are_told() {
    let desk = Desk::new();
    let mut running = desk.start_faulty(SLOW, SMALL);
    let begun = Instant::now();
    running.signal(Signal::INT);
    running.wait().expect(130);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    desk.wait_until_tidy();
}

#[test]
fn a_second_signal_does_not_wait_for_anybody() {
    let desk = Desk::new();
    let mut running = desk.start_faulty(SLOW, &format!("{SMALL} --local 2 {SHORT_LEASE}"));
    // An agent that is stopped can't hear a goodbye: it ends with its lease, of which it knows when it runs something.
    ["starts on local-1", "starts on local-2"].into_iter().for_each(|text| running.wait_for(text));
    let agents = desk.agents();
    assert_eq!(agents.len(), 2);
    agents.iter().for_each(|agent| send_signal(*agent, Signal::STOP));
    running.signal(Signal::INT);
    running.wait_for("stopping; once more to stop at once");
    let begun = Instant::now();
    running.signal(Signal::TERM);
    let outcome = running.wait();
    assert!([130, 143].contains(&outcome.code), "{outcome:?}");
    assert!(outcome.last_line().starts_with("interrupted: "), "{}", outcome.stderr);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    desk.wait_until_tidy();
}

#[test]
fn one_signal_ends_it_even_if_the_agents_do_not_answer() {
    let desk = Desk::new();
    let mut running = desk.start_faulty(SLOW, &format!("{SMALL} {SHORT_LEASE}"));
    let agent = desk.agents()[0];
    send_signal(agent, Signal::STOP);
    running.signal(Signal::INT);
    running.wait().expect(130);
    desk.wait_until_tidy();
}

#[test]
fn a_killed_titans_leftovers_go_with_the_next_and_its_agents_end_by_themselves() {
    let desk = Desk::new();
    let mut running = desk.start_faulty(SLOW, &format!("{SMALL} --local 2 -o out.png --lease 0"));
    desk.wait_for_agents(2);
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, -9);
    wait_until(PATIENCE, "the agents end by themselves", || desk.processes().is_empty());
    let is_temporary = |name: &String| name.contains(".titan-");
    assert_eq!(desk.left().files.iter().filter(|name| is_temporary(name)).count(), 1, "{:?}", desk.left());
    // The next one runs elsewhere, and in the same home.
    let elsewhere = desk.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    Running::start(desk.titan(&format!("{SMALL} -o next.png")).current_dir(&elsewhere)).wait().expect(0);
    desk.wait_until_tidy();
    assert_eq!(desk.work_files(), ["elsewhere"]);
}

#[test]
fn a_killed_agent_is_started_afresh_and_the_picture_is_the_same() {
    let desk = Desk::new();
    let running = desk.start_faulty("slow:100", &format!("{SMALL} -o out.png --local 2"));
    desk.wait_for_agents(2);
    desk.agents().into_iter().for_each(|pid| send_signal(pid, Signal::KILL));
    let outcome = running.wait().expect(0);
    assert_eq!(outcome.stderr.matches("starting it afresh").count(), 2, "{}", outcome.stderr);
    assert!(desk.read("out.png") == picture());
    desk.wait_until_tidy();
}

#[test]
fn a_silent_agent_loses_its_tasks_to_another() {
    let desk = Desk::new();
    let times = "--heartbeat 100ms --unhealthy-after 300ms --lease 1s";
    let words = format!("{SMALL} -o out.png --cluster cluster.toml --hosts : --local 2 -v {times}");
    desk.write("cluster.toml", "[scheduler]\ntick = \"50ms\"\n[[host]]\nlocal = true\n");
    let running = desk.start_faulty("slow:100", &words);
    desk.wait_for_agents(3);
    // One that titan hasn't greeted yet has a lease of its own.
    wait_until(PATIENCE, "all have joined", || running.stderr().matches(": up after ").count() == 3);
    let agent = desk.agents()[0];
    send_signal(agent, Signal::STOP);
    let outcome = running.wait().expect(0);
    assert!(outcome.stderr.contains("silent for"), "{}", outcome.stderr);
    assert!(desk.read("out.png") == picture());
    desk.wait_until_tidy();
}

#[test]
fn a_task_that_hangs_at_the_end_is_tried_by_an_idle_host_too_and_leaves_one_output() {
    let desk = Desk::new();
    let host = |name: &str| format!("[[host]]\nlocal = true\nname = \"{name}\"\nslots = 1\n");
    desk.write("c.toml", format!("[scheduler]\ntick = \"50ms\"\n{}{}", host("one"), host("two")));
    desk.write("free", "");
    // The first attempt of the last task hangs; both would write the same output.
    let free = desk.path("free");
    let line = format!("test {{}} = 4 && mv {} . 2>&- && sleep 1000; echo $TITAN_ATTEMPT > {{}}.txt", free.display());
    let mut titan = desk.titan("map -v --cluster c.toml --retries 0 -o {}.txt -s");
    titan.arg(&line).args([":::", "1", "2", "3", "4"]);
    let outcome = Running::start(&mut titan).wait().expect(0);
    assert!(outcome.stderr.contains("tries it too"), "{}", outcome.stderr);
    assert_eq!(desk.read("4.txt"), b"2\n");
    desk.wait_until_tidy();
}

#[test]
fn an_agent_that_stands_still_ends_with_its_lease_and_so_does_all_that_it_ran() {
    let desk = Desk::new();
    desk.write("cluster.toml", "[scheduler]\ntick = \"50ms\"\n[[host]]\nlocal = true\n");
    let mut titan = desk.titan("map -v --cluster cluster.toml --heartbeat 100ms --unhealthy-after 300ms --lease 2s");
    titan.args(["-s", "setsid sleep 1000 & sleep 1000", ":::", "1"]);
    let mut running = Running::start(&mut titan);
    running.wait_for("task 1 starts");
    wait_until(PATIENCE, "the task runs", || desk.processes().len() >= 5);
    desk.agents().into_iter().for_each(|pid| send_signal(pid, Signal::STOP));
    running.signal(Signal::KILL);
    drop(running.wait());
    // The lease, and ten seconds.
    wait_until(Duration::from_secs(12), "nothing runs any more", || desk.processes().is_empty());
}

#[test]
fn two_titans_at_once_do_not_disturb_each_other() {
    let desk = Desk::new();
    let first = desk.start_faulty("slow:50", &format!("{SMALL} -o one.png --local 2"));
    let second = desk.start_faulty("slow:50", &format!("{SMALL} -o two.png"));
    // A third comes and goes, and sweeps what nobody holds.
    desk.run("run mandelbrot --size 8x8 -o three.png").expect(0);
    first.wait().expect(0);
    second.wait().expect(0);
    assert!(desk.read("one.png") == picture());
    assert!(desk.read("two.png") == picture());
    desk.wait_until_tidy();
}

#[test]
fn two_titans_with_one_output_leave_one_whole_picture() {
    let desk = Desk::new();
    let both = [1, 2].map(|_| desk.start_faulty("slow:20", &format!("{SMALL} -o out.png")));
    both.into_iter().for_each(|running| drop(running.wait().expect(0)));
    assert_eq!(read_png(&desk.path("out.png")).dimensions(), (64, 64));
    desk.wait_until_tidy();
}

/// titan that this terminal belongs to.
fn seated(desk: &Desk, terminal: &Terminal, words: &str) -> Option<std::process::Child> {
    let mut command = desk.command("setsid");
    command.args(["--ctty", "--wait"]).arg(titan_tests::program::titan()).args(words.split_whitespace());
    command.env(titan_agent::faults::VARIABLE, SLOW);
    terminal.seat(&mut command).spawn().ok()
}

#[test]
fn ctrl_c_on_the_terminal_ends_titan_which_ends_its_agents() {
    let desk = Desk::new();
    let mut terminal = Terminal::open();
    let mut child = seated(&desk, &terminal, SMALL).expect("util-linux is installed");
    wait_until(PATIENCE, "a task starts", || terminal.received().contains(" starts on "));
    terminal.type_bytes(b"\x03");
    let mut status = None;
    wait_until(PATIENCE, "titan ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(130), "{}", terminal.received());
    assert!(terminal.seen().contains("interrupted: 0 of 16 done; continue with: titan resume "), "{}", terminal.seen());
    // Agents are never in the foreground group: none of them died of the key.
    assert!(!terminal.seen().contains("lost"), "{}", terminal.seen());
    desk.wait_until_tidy();
}

#[test]
fn a_closed_terminal_ends_titan() {
    let desk = Desk::new();
    let terminal = Terminal::open();
    let mut child = seated(&desk, &terminal, SMALL).expect("util-linux is installed");
    wait_until(PATIENCE, "a task starts", || terminal.received().contains(" starts on "));
    assert!(desk.processes().len() >= 2, "titan and its agent run");
    terminal.close();
    desk.wait_until_tidy();
    assert!(child.wait().is_ok());
    assert!(!desk.path("mandelbrot.png").exists());
}
