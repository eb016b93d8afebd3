//! What titan says while it works: little where scripts live, more where people watch, JSON where programs read.

use std::process::Child;

use titan_tests::cli::contract::Contract;
use titan_tests::cli::terminal::Terminal;
use titan_tests::cli::{Desk, PATIENCE};
use titan_tests::rig::wait_until;

const SMALL: &str = "run mandelbrot --size 64x64 --tiles 2x2";

#[test]
fn the_first_line_says_where_it_runs_and_the_last_ones_how_it_went() {
    let desk = Desk::new();
    let outcome = desk.run(&format!("{SMALL} -o out.png")).expect(0);
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines[0], "titan: hosts: this machine (no cluster file, no --hosts)");
    assert!(lines[1].starts_with("out.png: 4 tasks in "), "{}", outcome.stderr);
    assert!(lines[1].contains("pixels/s") && lines[1].contains("iterations/s"), "{}", outcome.stderr);
    assert!(!lines[1].contains("  "), "a hole in: {}", lines[1]);
    assert!(lines[2].starts_with("  localhost "), "{}", outcome.stderr);
    assert!(lines[3].starts_with("  start-up ") && lines[3].contains("encoding"), "{}", outcome.stderr);
    assert_eq!((lines.len(), outcome.text().as_str()), (4, ""), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains('\x1b') && !outcome.stderr.contains('\r'));
    let outcome = desk.run(&format!("{SMALL} --local 2")).expect(0);
    assert!(outcome.stderr.starts_with("titan: hosts: 2 local agents\n"), "{}", outcome.stderr);
}

#[test]
fn a_slow_rate_has_no_hole_where_a_prefix_would_stand() {
    let desk = Desk::new();
    let outcome = desk.run_faulty("slow:100", "run mandelbrot --size 2x2 --tiles 1x2 -j 1").expect(0);
    let line = outcome.stderr.lines().nth(1).unwrap_or_default();
    assert!(line.contains(" pixels/s") && !line.contains("  "), "{line}");
}

#[test]
fn quiet_says_nothing_when_all_is_well_and_what_went_wrong_when_not() {
    let desk = Desk::new();
    let outcome = desk.run(&format!("{SMALL} -q")).expect(0);
    assert_eq!((outcome.stderr.as_str(), outcome.text().as_str()), ("", ""));
    let outcome = desk.run_faulty("panic:1", &format!("{SMALL} -q --retries 0")).expect(1);
    assert_eq!(
        outcome.stderr,
        "titan: task 1 on localhost: the kernel panicked: told to panic at task 1 (try 1 of 1)\n"
    );
}

#[test]
fn verbose_tells_each_start_and_end() {
    let desk = Desk::new();
    let outcome = desk.run(&format!("{SMALL} -v")).expect(0);
    for task in 0..4 {
        for said in
            [format!("titan: task {task} starts on localhost"), format!("titan: task {task} on localhost: done")]
        {
            assert_eq!(outcome.stderr.matches(&said).count(), 1, "{said} in: {}", outcome.stderr);
        }
    }
    assert!(outcome.stderr.contains("titan: localhost: up after "), "{}", outcome.stderr);
    desk.run(&format!("{SMALL} -vv")).expect(0);
}

#[test]
fn ten_failures_are_told_one_by_one_and_the_rest_in_the_summary() {
    let desk = Desk::new();
    let faults: Vec<String> = (0..16).map(|task| format!("panic:{task}")).collect();
    let words = "run mandelbrot --size 64x64 --tiles 4x4 --retries 0";
    let outcome = desk.run_faulty(&faults.join(","), words).expect(1);
    assert_eq!(outcome.stderr.matches("titan: task ").count(), 10, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("FAILED"), "{}", outcome.stderr);
}

#[test]
fn progress_json_is_events_and_nothing_else() {
    let (contract, desk) = (Contract::read(), Desk::new());
    let outcome = desk.run_faulty("panic:2", &format!("{SMALL} --progress json -q --retries 1")).expect(1);
    let events: Vec<serde_json::Value> =
        outcome.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    events.iter().for_each(|event| contract.check(event));
    let of = |task: u32| -> Vec<&str> {
        let of_task = events.iter().filter(|event| event["type"] == "task" && event["task"] == task);
        of_task.map(|event| event["state"].as_str().unwrap()).collect()
    };
    assert_eq!(of(0), ["RUNNING", "COMPLETED"]);
    assert_eq!(of(2), ["RUNNING", "PENDING", "RUNNING", "PENDING", "FAILED"], "a try that failed, then the task");
    assert_eq!(events[0]["type"], "host");
    assert_eq!(events[0]["state"], "healthy");
}

#[test]
fn progress_json_tells_the_end_of_a_task_that_is_stopped_and_nothing_of_one_that_never_ran() {
    let (contract, desk) = (Contract::read(), Desk::new());
    desk.write("go.sh", "case $1 in 1) exec sleep 600;; 2) sleep 0.2; exit 1;; esac");
    let outcome = desk.run("map -j2 --progress json --halt now,fail=1 -- sh go.sh ::: 1 2 3").expect(1);
    let events: Vec<serde_json::Value> =
        outcome.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    events.iter().for_each(|event| contract.check(event));
    let of = |task: u32| -> Vec<&str> {
        let of_task = events.iter().filter(|event| event["type"] == "task" && event["task"] == task);
        of_task.map(|event| event["state"].as_str().unwrap()).collect()
    };
    assert_eq!([of(0), of(1)], [["RUNNING", "CANCELLED"].to_vec(), ["RUNNING", "PENDING", "FAILED"].to_vec()]);
    assert!(of(2).is_empty(), "{:?}", of(2));
}

#[test]
fn progress_json_keeps_lines_for_people_away_from_programs() {
    let (contract, desk) = (Contract::read(), Desk::new());
    let outcome = desk.run(&format!("{SMALL} --progress json")).expect(0);
    for line in outcome.stderr.lines() {
        let event = serde_json::from_str(line).unwrap_or_else(|_| panic!("this is no event: {line}"));
        contract.check(&event);
    }
}

#[test]
fn progress_none_still_says_where_and_how_it_went() {
    let desk = Desk::new();
    let outcome = desk.run_faulty("slow:50", &format!("{SMALL} --progress none")).expect(0);
    assert_eq!(outcome.stderr.lines().count(), 4, "{}", outcome.stderr);
    let outcome = desk.run_faulty("slow:50", &format!("{SMALL} --progress plain")).expect(0);
    assert_eq!(outcome.stderr.lines().count(), 4, "nothing is due before 10 s: {}", outcome.stderr);
}

#[test]
fn json_has_stdout_for_itself() {
    let desk = Desk::new();
    let outcome = desk.run(&format!("{SMALL} --json -v")).expect(0);
    assert_eq!(outcome.one_object()["type"], "summary");
    let outcome = desk.run(&format!("{SMALL} --json -q")).expect(0);
    assert_eq!((outcome.stderr.as_str(), outcome.json().len()), ("", 1));
    // A dry run has no summary: it may refuse, or print JSON, but not mix.
    let outcome = desk.run(&format!("{SMALL} --json --dry-run"));
    assert!(outcome.code == 2 || outcome.text().lines().all(|line| line.starts_with('{')), "{}", outcome.text());
}

#[test]
fn a_dry_run_lists_the_tiles_and_does_nothing() {
    let desk = Desk::new();
    // Nobody answers on that host: it isn't asked.
    let words = "run mandelbrot --size 50x40 --tiles 3x2 --dry-run --hosts 2/nobody.invalid,:";
    let outcome = desk.run(words).expect(0);
    let text = outcome.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "one line a tile: {text}");
    let mut pixels = 0;
    for (number, line) in lines.iter().enumerate() {
        let numbers: Vec<u32> = line
            .split(|c: char| !c.is_ascii_digit())
            .filter(|digits| !digits.is_empty())
            .map(|digits| digits.parse().unwrap())
            .collect();
        assert_eq!(numbers[0] as usize, number, "{line}");
        let (width, height) = (numbers[3], numbers[4]);
        let (left, top) = (numbers[5], numbers[6]);
        assert!(left + width <= 50 && top + height <= 40, "{line}");
        pixels += width * height;
    }
    assert_eq!(pixels, 50 * 40);
    for said in ["nobody.invalid: 2 slots", "localhost", "6 tasks"] {
        assert!(outcome.stderr.contains(said), "no '{said}' in: {}", outcome.stderr);
    }
    assert!(desk.home_files().is_empty() && desk.work_files().is_empty());
    desk.run("run mandelbrot --dry-run -o -").expect(0);
}

/// titan on a terminal of its own.
fn on(terminal: &Terminal, desk: &Desk, faults: &str, words: &str) -> Child {
    let mut command = desk.titan(words);
    command.env(titan_agent::faults::VARIABLE, faults);
    terminal.seat(&mut command).spawn().expect("titan starts")
}

#[track_caller]
fn wait(mut child: Child, terminal: &Terminal) {
    let mut status = None;
    wait_until(PATIENCE, "titan ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.is_some_and(|status| status.success()), "{}", terminal.seen());
}

#[test]
fn bars_appear_on_a_terminal_and_are_gone_at_the_end() {
    let (desk, terminal) = (Desk::new(), Terminal::open());
    let child = on(&terminal, &desk, "slow:700", &format!("{SMALL} -j 2 -o out.png"));
    wait_until(PATIENCE, "the bars appear", || terminal.seen().contains("2 running"));
    assert!(terminal.seen().contains("0/4") && terminal.seen().contains("localhost"), "{}", terminal.seen());
    wait(child, &terminal);
    wait_until(PATIENCE, "the summary appears", || terminal.seen().contains("encoding"));
    let seen = terminal.seen();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines.len(), 4, "the first line and the summary: {seen}");
    assert!(!seen.contains("running") && !seen.contains('━') && !seen.contains('─'), "a bar stayed: {seen}");
}

#[test]
fn bars_are_gone_before_json_is_written_to_the_same_terminal() {
    let (desk, terminal) = (Desk::new(), Terminal::open());
    let child = on(&terminal, &desk, "slow:700", &format!("{SMALL} -j 2 --json -q --progress bar"));
    wait_until(PATIENCE, "the bars appear", || terminal.seen().contains("2 running"));
    wait(child, &terminal);
    wait_until(PATIENCE, "the summary appears", || terminal.seen().ends_with('}'));
    let object = terminal.seen().replace('\n', "");
    assert!(serde_json::from_str::<serde_json::Value>(&object).is_ok(), "nothing but JSON is seen: {object}");
    let received = terminal.received();
    let (_, after) = received.split_once('{').unwrap();
    assert!(!after.contains("running"), "drawn into the JSON: {after:?}");
}

#[test]
fn what_is_said_amid_bars_stays() {
    let (desk, terminal) = (Desk::new(), Terminal::open());
    let child = on(&terminal, &desk, "slow:400", &format!("{SMALL} -j 1 -v"));
    wait(child, &terminal);
    wait_until(PATIENCE, "the summary appears", || terminal.seen().contains("encoding"));
    let seen = terminal.seen();
    for task in 0..4 {
        assert_eq!(seen.matches(&format!("task {task} on localhost: done")).count(), 1, "{seen}");
    }
    assert!(!seen.contains("running"), "{seen}");
}

#[test]
fn a_short_run_shows_no_bars() {
    let desk = Desk::new();
    let undisturbed = (0..20).any(|_| {
        let (terminal, begun) = (Terminal::open(), std::time::Instant::now());
        wait(on(&terminal, &desk, "", SMALL), &terminal);
        wait_until(PATIENCE, "the summary appears", || terminal.seen().contains("encoding"));
        // On a busy machine it may have been no short run.
        let short = begun.elapsed() < std::time::Duration::from_millis(450);
        assert!(!short || !terminal.received().contains("running"), "{:?}", terminal.received());
        short
    });
    assert!(undisturbed, "no run was short");
}

#[test]
fn quiet_and_progress_none_show_no_bars_on_a_terminal() {
    for noise in ["-q", "--progress none", "--progress plain"] {
        let (desk, terminal) = (Desk::new(), Terminal::open());
        wait(on(&terminal, &desk, "slow:350", &format!("{SMALL} -j 2 {noise}")), &terminal);
        assert!(!terminal.received().contains("running"), "{noise}: {:?}", terminal.received());
    }
}
