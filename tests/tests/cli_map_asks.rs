//! What `titan map` can be asked beside values and words: shares of a machine, where values come from, when to stop.

use std::process::Command;

use titan_tests::cli::terminal::Terminal;
use titan_tests::cli::{Desk, Outcome, PATIENCE, Running};
use titan_tests::rig::wait_until;

/// A line of sh in which `$titan` is the program under test.
fn line(desk: &Desk, line: &str) -> Command {
    let mut command = desk.command("/bin/sh");
    command.args(["-c", line]).env("titan", titan_tests::program::titan());
    command
}

#[track_caller]
fn sh(desk: &Desk, text: &str) -> Outcome {
    Running::start(&mut line(desk, text)).wait()
}

#[test]
fn counted_resources_are_shared_out_and_named_to_their_tasks() {
    let desk = Desk::new();
    desk.write("c.toml", "[[host]]\nlocal = true\nslots = 4\nresources = { gpu = 2, seat = 1 }\n");
    let ask = "$titan map --cluster c.toml --resource gpu=1 -n0";
    // Each waits until the other is there: they run at once, with different ones.
    let both = "touch gpu$TITAN_RESOURCE_GPU; until [ -e gpu0 ] && [ -e gpu1 ]; do sleep 0.02; done; echo $CUDA_VISIBLE_DEVICES";
    let outcome = sh(&desk, &format!("{ask} -s '{both}' ::: a b | sort")).expect(0);
    assert_eq!(outcome.text(), "0\n1\n");
    // More than there is at once never runs at once.
    let alone = "mkdir one && sleep 0.05 && rmdir one && echo $TITAN_RESOURCE_SEAT";
    let outcome = sh(&desk, &format!("{ask} --resource seat=1 -s '{alone}' ::: a b c d")).expect(0);
    assert_eq!(outcome.text(), "0\n".repeat(4));
    let outcome = sh(&desk, "$titan map --cluster c.toml --resource gpu=3 true ::: a").expect(1);
    assert!(outcome.stderr.contains("no host can meet its request (gpu=3)"), "{}", outcome.stderr);
    desk.wait_until_tidy();
}

#[test]
fn an_environment_that_is_too_long_to_be_told_is_refused_at_once() {
    let desk = Desk::new();
    let outcome = sh(
        &desk,
        "A=$(head -c 120000 /dev/zero | tr '\\0' a); export A; set -- ; for n in 1 2 3 4 5 6 7 8 9; do \
         set -- \"$@\" --env A$n=$A; done; exec $titan map \"$@\" true ::: 1",
    );
    let outcome = outcome.expect(2);
    assert!(outcome.stderr.contains("its environment and its setup are longer than the 1 MiB"), "{}", outcome.stderr);
    desk.wait_until_tidy();
}

#[test]
fn cores_that_are_asked_for_are_the_tasks_own() {
    let desk = Desk::new();
    let script = "echo $OMP_NUM_THREADS; grep Cpus_allowed_list: /proc/self/status | cut -f 2";
    let outcome = sh(&desk, &format!("$titan map --cpus 1 -n0 -s '{script}' ::: a")).expect(0);
    let text = outcome.text();
    let [threads, cores] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert_eq!(threads, "1");
    assert!(cores.parse::<u32>().is_ok(), "one core: {cores}");
}

#[test]
fn each_of_many_short_tasks_is_as_nice_as_asked_and_has_a_slot_of_its_own() {
    let desk = Desk::new();
    let outcome = sh(&desk, "nice; seq 300 | $titan map -j3 --nice 5 -s 'nice; : {}' | sort -u").expect(0);
    let numbers: Vec<i32> = outcome.text().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, [numbers[0], numbers[0] + 5]);
    let slots = sh(&desk, "seq 300 | $titan map -j3 -s 'echo $TITAN_SLOT; : {}' | sort -u").expect(0);
    assert!(slots.text().lines().all(|slot| ["1", "2", "3"].contains(&slot)), "{}", slots.text());
    desk.wait_until_tidy();
}

#[test]
fn a_host_that_is_busy_enough_for_the_user_gets_no_new_task() {
    let desk = Desk::new();
    let easy = "$titan map --memfree 1K --load 100000% echo ::: a";
    assert_eq!(sh(&desk, easy).expect(0).text(), "a\n");
    // More free memory than there is: the task waits until somebody has enough of that.
    let mut waiting = Running::start(&mut desk.titan("map -v --memfree 900T echo ::: a"));
    waiting.wait_for("localhost: up");
    waiting.signal(rustix::process::Signal::INT);
    let outcome = waiting.wait().expect(130);
    assert!(!outcome.stderr.contains("starts on"), "{}", outcome.stderr);
    desk.wait_until_tidy();
}

#[test]
fn a_part_that_failed_ends_it_when_enough_have_ended() {
    let desk = Desk::new();
    let outcome = sh(&desk, "$titan map -j1 --halt soon,fail=50% false ::: 1 2 3 4 5 6").expect(1);
    assert_eq!(outcome.stderr.matches("exit 1 (try 1 of 1)").count(), 3, "{}", outcome.stderr);
    desk.wait_until_tidy();
}

#[test]
fn values_come_in_any_order_after_any_separator_and_with_what_their_lines_end_in() {
    let desk = Desk::new();
    assert_eq!(sh(&desk, "$titan map --shuf echo ::: 3 1 2 | sort").expect(0).text(), "1\n2\n3\n");
    assert_eq!(sh(&desk, "$titan map -k --arg-sep ,, echo ,, a :::").expect(0).text(), "a\n:::\n");
    let outcome = sh(&desk, "printf 'a\\r\\nb\\r\\n' | $titan map -k echo").expect(0);
    assert_eq!(outcome.text(), "a\r\nb\r\n");
    let warned = "titan: stdin, line 1: it ends in CR LF, and the CR is part of the value\n";
    assert_eq!(outcome.stderr, warned);
}

#[test]
fn an_object_holds_a_part_of_what_is_too_long_and_says_so() {
    let desk = Desk::new();
    let long = "head -c 3000000 /dev/zero | tr '\\''\\0'\\'' x; printf '\\''\\377'\\'' >&2";
    let outcome = sh(&desk, &format!("$titan map --json -n0 -s '{long}' ::: a")).expect(0);
    let task = &outcome.json()[0];
    assert_eq!(task["stdout"].as_str().map(str::len), Some(1 << 20));
    assert_eq!(task["truncated"], true);
    assert_eq!(task["stderr"]["base64"], "/w==");
}

#[test]
fn a_person_who_is_to_type_values_is_told() {
    let (desk, mut terminal) = (Desk::new(), Terminal::open());
    let mut command = desk.titan("map echo");
    command.stdin(terminal.stream()).stdout(terminal.stream()).stderr(terminal.stream());
    let mut child = command.spawn().unwrap();
    let told = "reading values from the terminal, one a line, Ctrl-D ends";
    wait_until(PATIENCE, "it says what it waits for", || terminal.received().contains(told));
    terminal.type_bytes(b"typed\n\x04");
    wait_until(PATIENCE, "titan ends", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0), "{}", terminal.received());
    assert!(terminal.received().matches("typed").count() >= 2, "its echo and the task's: {}", terminal.received());
    desk.wait_until_tidy();
}

#[test]
fn tasks_inherit_no_descriptor() {
    let desk = Desk::new();
    let script = "exec 7</etc/passwd; $titan map -n0 -s 'ls /proc/self/fd' ::: 1";
    assert_eq!(sh(&desk, script).expect(0).text(), "0\n1\n2\n3\n", "3 is what ls itself reads");
}

#[test]
fn a_script_that_names_no_interpreter_is_run_by_sh() {
    let desk = Desk::new();
    let script = "echo 'echo got $1' > plain; chmod +x plain; $titan map ./plain {} ::: it";
    assert_eq!(sh(&desk, script).expect(0).text(), "got it\n");
}

#[test]
fn what_is_given_with_its_place_is_given_whatever_its_value_looks_like() {
    let desk = Desk::new();
    desk.write("c.toml", "[[host]]\nname = \"box\"\ncommand = [\"sh\"]\n");
    desk.write("sub/x.txt", "text");
    let line = "cd sub; $titan map --cluster ../c.toml -i {} -s 'cat {/}' ::: ./x.txt $PWD/./x.txt";
    assert_eq!(sh(&desk, line).expect(0).text(), "texttext");
    let refused = sh(&desk, "$titan map --cluster c.toml cat ::: sub/x.txt").expect(2);
    assert!(
        refused.stderr.contains("'sub/x.txt' is a file on this machine, but tasks run on box"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_log_says_what_gnu_parallel_says_of_the_same_ends() {
    let desk = Desk::new();
    let line = "$titan map --joblog log -j1 --timeout 0.3 -s {} ::: 'printf abc' 'trap \"exit 0\" TERM; sleep 9 & wait' 'exit 3'";
    sh(&desk, &line.replace("-s {}", "sh -c {}")).expect(1);
    let log = desk.read("log");
    let log = String::from_utf8_lossy(&log);
    let columns = |line: &str| {
        line.split('\t')
            .enumerate()
            .filter(|(at, _)| [1, 5, 6].contains(at))
            .map(|(_, text)| text.to_owned())
            .collect::<Vec<_>>()
    };
    let lines: Vec<_> = log.lines().skip(1).map(columns).collect();
    assert_eq!(
        lines,
        [[":", "3", "0"], [":", "0", "-1"], [":", "0", "3"]].map(|line| line.map(str::to_owned).to_vec())
    );
}

#[test]
fn a_full_state_directory_fails_what_it_has_no_room_for_and_the_rest_goes_on() {
    let desk = Desk::new();
    let mount = sh(&desk, "mkdir small && mount -t tmpfs -o size=2m none small");
    if titan_tests::rig::availability::skipped_for(
        "a small disk needs root",
        if mount.code == 0 { Ok(()) } else { Err(mount.stderr) },
    ) {
        return;
    }
    let line = "XDG_STATE_HOME=$PWD/small $titan map -j1 -k -s 'head -c {} /dev/zero; echo {} >&2' ::: 10 5000000 20; code=$?; umount -l small; exit $code";
    let outcome = sh(&desk, line).expect(4);
    assert_eq!(outcome.text().len(), 30);
    assert!(
        outcome.stderr.contains("task 2 on localhost: what it sends can't be kept here: No space left"),
        "{}",
        outcome.stderr
    );
    desk.wait_until_tidy();
}

#[test]
fn a_program_for_another_kind_of_machine_is_not_taken_for_a_script() {
    let desk = Desk::new();
    let outcome = sh(&desk, "printf '\\177ELFgarbage' > bad; chmod +x bad; $titan map ./bad ::: 1").expect(1);
    assert!(outcome.stderr.contains("cannot start ./bad on localhost: Exec format error"), "{}", outcome.stderr);
}

#[test]
fn what_a_task_printed_is_told_though_another_has_its_output() {
    let desk = Desk::new();
    let outcome = sh(&desk, "$titan map -k -j1 -o same -s 'echo {}; echo {} > same' ::: one two").expect(1);
    assert_eq!(outcome.text(), "one\ntwo\n");
    assert!(outcome.stderr.contains("its output same is task 1's already"), "{}", outcome.stderr);
}

#[test]
fn a_reader_that_reads_nothing_does_not_keep_titan_from_ending() {
    let desk = Desk::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut titan = desk.titan("map -v -j1 --kill-after 1s");
    titan.args(["-s", "head -c 300000 /dev/zero; [ {} = 1 ] || sleep 60", ":::", "1", "2"]);
    let mut running = Running::start_with_stdout(&mut titan, std::fs::File::from(std::os::fd::OwnedFd::from(writer)));
    running.wait_for("task 2 starts");
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.wait().code, 143);
    drop(reader);
    desk.wait_until_tidy();
}

#[test]
fn a_log_into_a_pipe_that_nobody_reads_can_be_interrupted() {
    let desk = Desk::new();
    sh(&desk, "mkfifo log").expect(0);
    let mut running = Running::start(&mut desk.titan("map -v --kill-after 1s --joblog log -n0 true ::: 1"));
    running.wait_for("done in");
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.wait().code, 143);
    desk.wait_until_tidy();
}

#[test]
fn of_two_titans_with_one_folder_of_results_one_gets_it() {
    let desk = Desk::new();
    let start = || Running::start(&mut desk.titan("map --results rr -n0 sleep 0.5 ::: 1 2 3"));
    let mut codes = [start(), start()].map(|running| running.wait().code);
    codes.sort_unstable();
    assert_eq!(codes, [0, 2]);
    assert_eq!(sh(&desk, "ls rr").expect(0).text(), "1\n2\n3\nresults.csv\n");
}

#[test]
fn a_line_of_any_length_has_one_tag() {
    let desk = Desk::new();
    let script = "head -c 3000000 /dev/zero | tr \"\\0\" x; echo";
    let outcome = sh(&desk, &format!("$titan map --line-buffer --tag -n0 -s '{script}' ::: 1 | tr -d x")).expect(0);
    assert_eq!(outcome.text(), "1\t\n");
}

#[test]
fn a_setup_ends_when_titan_is_told_to() {
    let desk = Desk::new();
    let mut titan = desk.titan("map -v --kill-after 60s");
    titan.args(["--setup", "touch begun; sleep 1000", "-n0", "true", ":::", "1", "2"]);
    let mut running = Running::start(&mut titan);
    wait_until(PATIENCE, "the setup runs", || desk.path("begun").exists());
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.wait().code, 143);
    desk.wait_until_tidy();
}
