//! `titan map` on this machine: values, words, output, outcomes.

use std::process::{Command, Stdio};

use titan_tests::cli::{Desk, Outcome, Running};

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

#[track_caller]
fn prints(text: &str, expected: &str) {
    let desk = Desk::new();
    let outcome = sh(&desk, text).expect(0);
    assert_eq!(outcome.text(), expected, "{text}");
    assert_eq!(outcome.stderr, "", "{text}");
    desk.wait_until_tidy();
}

#[test]
fn a_command_runs_once_for_each_value() {
    prints("$titan map -k echo ::: a 'b  c' d", "a\nb  c\nd\n");
    prints("$titan map -k echo '<{}>' ::: a b", "<a>\n<b>\n");
    prints("$titan map -k -- echo -n {} ::: a b", "ab");
}

#[test]
fn a_task_that_closes_one_of_its_outputs_goes_on_with_the_other() {
    prints("$titan map -s 'exec 2>&-; echo a; sleep 0.1; echo {}' ::: b", "a\nb\n");
    let outcome = sh(&Desk::new(), "$titan map --timeout 1s -s 'exec >&-; echo {} >&2; sleep 60' ::: a").expect(1);
    assert!(outcome.stderr.contains("a\n") && outcome.stderr.contains("timed out"), "{}", outcome.stderr);
}

#[test]
fn long_output_is_whole_in_a_pipe_and_in_a_file_to_which_both_streams_go() {
    const MAP: &str = "$titan map -k -s 'seq {} 60000; seq -f e%.0f {} 60000 >&2' ::: 1 2 3";
    let expected = text_of("(for n in 1 2 3; do seq $n 60000; seq -f e%.0f $n 60000; done) | cksum");
    for goes in ["2>&1 | cksum", ">both 2>&1; cksum <both", ">>both 2>&1; cksum <both"] {
        prints(&format!("{MAP} {goes}"), &expected);
    }
}

#[test]
fn a_stderr_that_nobody_reads_is_no_reason_to_stop() {
    let quiet = "{ $titan map -k -s 'seq {} 60000 >&2; echo {}' ::: 1 2; echo exit $?; } 2>&1 >&3 | true";
    prints(&format!("({quiet}) 3>&1"), "1\n2\nexit 0\n");
}

/// What a line of sh prints.
fn text_of(line: &str) -> String {
    let output = Command::new("/bin/sh").args(["-c", line]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn without_a_source_the_lines_of_stdin_are_values() {
    prints("seq 3 | $titan map -k echo x", "x 1\nx 2\nx 3\n");
    prints("printf 'a\\0b\\nc' | $titan map -k -0 printf '%s.'", "a.b\nc.");
    prints("printf 'a\\n\\nb' | $titan map -k echo", "a\n\nb\n");
    prints("printf 'a\\n\\nb' | $titan map -k -r echo", "a\nb\n");
}

#[test]
fn sources_are_a_product_whose_last_varies_fastest_or_go_in_step() {
    prints("$titan map -k echo ::: a b ::: 1 2", "a 1\na 2\nb 1\nb 2\n");
    prints("$titan map -k echo ::: a b :::+ 1 2", "a 1\nb 2\n");
    prints("$titan map -k --link echo {2}{1} ::: a b ::: 1 2", "1a\n2b\n");
    prints("printf '1\\n2\\n' > f; $titan map -k echo :::: f ::: x", "1 x\n2 x\n");
}

#[test]
fn replacement_strings_are_as_gnu_parallel_has_them() {
    prints(
        "$titan map -k echo {} {.} {/} {//} {/.} {#} ::: a/b.tar.gz dir.d/file .bashrc",
        "a/b.tar.gz a/b.tar b.tar.gz a b.tar 1\ndir.d/file dir.d/file file dir.d file 2\n.bashrc  .bashrc .  3\n",
    );
    prints("$titan map -j1 echo {%} ::: a b", "1\n1\n");
    prints("echo 'x y' > v; $titan map awk '{print $2}' ::: v", "y\n");
}

#[test]
fn a_line_of_sh_sees_each_values_exact_bytes() {
    let values = r#"'a b' "it's" '$HOME' '`x`' '"' '\' '*'"#;
    let expected = "a b\nit's\n$HOME\n`x`\n\"\n\\\n*\n";
    for script in ["printf '%s\\n' {}", "printf '%s\\n' \\\"{}\\\"", "printf '%s\\n' '{}'"] {
        let script = script.replace("\\\"", "\"");
        let quoted = script.replace('\'', r"'\''");
        prints(&format!("$titan map -k -s '{quoted}' ::: {values}"), expected);
    }
}

#[test]
fn output_is_whole_tagged_and_in_order_as_asked() {
    prints("$titan map -k -s 'sleep 0.{}; echo {}' ::: 3 1 2", "3\n1\n2\n");
    prints("$titan map -n0 -k --tag printf '1\\n2' ::: a b", "a\t1\na\t2b\t1\nb\t2");
    let desk = Desk::new();
    let outcome = sh(&desk, "$titan map -n0 -s 'echo out; echo err >&2' ::: a").expect(0);
    assert_eq!((outcome.text().as_str(), outcome.stderr.as_str()), ("out\n", "err\n"));
    let outcome = sh(&desk, "$titan map --no-output echo ::: a").expect(0);
    assert_eq!(outcome.text(), "");
}

#[test]
fn bytes_that_are_no_text_pass_unchanged() {
    let desk = Desk::new();
    sh(&desk, "head -c 300000 /dev/urandom > blob; $titan map cat ::: blob > copy").expect(0);
    assert_eq!(desk.read("copy"), desk.read("blob"));
    sh(&desk, "$titan map -k printf %s ::: \"$(printf '\\377x')\" > name").expect(0);
    assert_eq!(desk.read("name"), b"\xffx");
}

#[test]
fn a_failing_task_says_so_and_the_exit_code_is_1() {
    let desk = Desk::new();
    let outcome = sh(&desk, "$titan map -k -s 'echo {}; exit {}' ::: 0 3").expect(1);
    assert_eq!(outcome.text(), "0\n3\n");
    assert!(
        outcome.stderr.contains("titan: task 2 on localhost: exit 3 (try 1 of 1): echo 3; exit 3"),
        "{}",
        outcome.stderr
    );
    let outcome = sh(&desk, "$titan map -s 'kill -9 $$' ::: 1").expect(1);
    assert!(outcome.stderr.contains("killed by signal 9"), "{}", outcome.stderr);
    desk.wait_until_tidy();
}

#[test]
fn retries_are_further_tries() {
    let desk = Desk::new();
    let outcome = sh(&desk, "$titan map --retries 2 -n0 -s 'echo x >> tries; test $TITAN_ATTEMPT = 3' ::: 1").expect(0);
    assert!(outcome.stderr.contains("(try 2 of 3)"), "{}", outcome.stderr);
    assert_eq!(desk.read("tries"), b"x\nx\nx\n");
}

#[test]
fn a_timeout_ends_all_of_a_task() {
    let desk = Desk::new();
    let script = "trap '' TERM; setsid sleep 1000 & sleep 1000";
    let outcome = sh(&desk, &format!("$titan map --timeout 300ms --kill-after 300ms -s \"{script}\" ::: 1")).expect(1);
    assert!(outcome.stderr.contains("timed out after 300ms"), "{}", outcome.stderr);
    desk.wait_until_tidy();
}

#[test]
fn a_halt_ends_early_and_its_code_says_why() {
    let desk = Desk::new();
    let outcome = sh(&desk, "$titan map -j1 --halt now,fail=1 false ::: 1 2 3 4 5").expect(1);
    assert_eq!(outcome.stderr.matches("exit 1").count(), 2, "{}", outcome.stderr);
    sh(&desk, "$titan map -j1 --halt soon,success=1 true ::: 1 2 3").expect(0);
    sh(&desk, "$titan map -j1 --halt soon,done=2 -s 'echo {} >> done' ::: 1 2 3 4 5 6 7 8").expect(0);
    let done = desk.read("done").iter().filter(|byte| **byte == b'\n').count();
    assert!((2..8).contains(&done), "{done}");
    desk.wait_until_tidy();
}

#[test]
fn tasks_know_who_they_are() {
    prints(
        "$titan map -j1 -n0 -s 'echo $TITAN_TASK_ID $TITAN_ATTEMPT $TITAN_SLOT $TITAN_HOST $TITAN_JOB_ID' ::: a",
        "1 1 1 localhost map\n",
    );
    prints("A=1 $titan map --env B=2 -n0 -s 'echo $A$B' ::: a", "12\n");
    prints("$titan map --setup 'C=3; export C; echo noise' -n0 -s 'echo $C' ::: a", "3\n");
}

#[test]
fn what_a_setup_starts_is_there_for_all_tasks_and_goes_with_the_agent() {
    let desk = Desk::new();
    // In a task of another titan it isn't that one's.
    let setup = "test -z \"$TITAN_TASK_ID\" || exit; \
                 while :; do echo it says something >&2; sleep 0.02; done & HELPER=$!; export HELPER";
    let map =
        format!("$titan map -j1 --setup '{setup}' -n0 -s 'sleep 0.1; kill -0 $HELPER && echo it lives' ::: a b c");
    let outcome = sh(&desk, &format!("TITAN_TASK_ID=1 TITAN_ATTEMPT=1 {map}")).expect(0);
    assert_eq!(outcome.text(), "it lives\n".repeat(3));
    desk.wait_until_tidy();
}

#[test]
fn many_slots_need_more_open_files_than_the_user_has() {
    let desk = Desk::new();
    let many = "$titan map -j 60 -n0 -s 'sleep 0.3; echo done' ::: $(seq 60)";
    let outcome = sh(&desk, &format!("ulimit -S -n 100; {many}")).expect(0);
    assert_eq!(outcome.text(), "done\n".repeat(60));
    // Where it can't be raised either, what there is no room for fails and says what helps.
    let many = "$titan map -j 300 -n0 -s 'sleep 0.3; echo done' ::: $(seq 300)";
    let outcome = sh(&desk, &format!("ulimit -n 200; {many}")).expect(1);
    assert!(outcome.stderr.contains("Too many open files"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("(raise ulimit -n there, or take fewer slots with -j)"), "{}", outcome.stderr);
    desk.wait_until_tidy();
}

#[test]
fn when_memory_ends_tasks_go_before_the_agent() {
    let desk = Desk::new();
    let scores = "cat /proc/self/oom_score_adj /proc/$PPID/oom_score_adj";
    let outcome = sh(&desk, &format!("$titan map -j1 -n0 -s '{scores}' ::: a")).expect(0);
    let scores: Vec<i32> = outcome.text().split_whitespace().map(|score| score.parse().unwrap()).collect();
    assert!(scores[0] > scores[1] || scores[0] == 1000, "{scores:?}");
    desk.wait_until_tidy();
}

#[test]
fn a_host_whose_setup_fails_is_not_used() {
    let desk = Desk::new();
    let on_one = "test $TITAN_HOST != local-2 || { echo no module >&2; exit 4; }";
    let run = format!("$titan map --local=2 --setup '{on_one}' -s 'echo $TITAN_HOST' -n0 ::: 1 2 3 4 5 6");
    let outcome = sh(&desk, &run).expect(0);
    assert_eq!(outcome.text(), "local-1\n".repeat(6), "{}", outcome.stderr);
    let outcome = sh(&desk, "$titan map --setup 'echo no module >&2; false' echo ::: 1 2 3").expect(3);
    let told = "error: no usable worker:\n  localhost: setup failed on localhost (exit status: 1): no module\n";
    let way_on = outcome.stderr.strip_prefix(told);
    assert!(way_on.is_some_and(|line| line.starts_with("continue with: titan resume ")), "{}", outcome.stderr);
    desk.wait_until_tidy();
}

#[test]
fn what_a_failed_setup_has_started_ends_while_the_batch_goes_on() {
    let desk = Desk::new();
    let setup = "test $TITAN_HOST != local-2 || { sleep 1000 & echo $! > pid; exit 4; }";
    let task = "until test -s pid; do sleep 0.02; done; while kill -0 $(cat pid) 2>&-; do sleep 0.02; done; echo gone";
    let map = format!("$titan map --local=2 --setup '{setup}' --timeout 60s -n0 -s '{task}' ::: 1 2 3 4 5 6");
    let outcome = sh(&desk, &map).expect(0);
    assert_eq!(outcome.text(), "gone\n".repeat(6), "{}", outcome.stderr);
    desk.wait_until_tidy();
}

#[test]
fn stdin_of_tasks_is_empty_unless_given() {
    prints("echo x | $titan map cat - ::: /dev/null", "");
    prints("echo x > f; $titan map --stdin f -n0 cat ::: a", "x\n");
}

#[test]
fn no_value_is_no_task() {
    for line in ["$titan map echo :::", "$titan map echo < /dev/null"] {
        let outcome = sh(&Desk::new(), line).expect(0);
        assert_eq!((outcome.text(), &outcome.stderr[..]), (String::new(), "titan: nothing to do\n"));
    }
}

#[test]
fn an_endless_source_is_read_as_it_is_needed() {
    let desk = Desk::new();
    let outcome = sh(&desk, "yes | $titan map echo | head -n 5").expect(0);
    assert_eq!(outcome.text(), "y\ny\ny\ny\ny\n");
    desk.wait_until_tidy();
}

#[test]
fn a_reader_that_leaves_ends_the_batch_quietly() {
    let desk = Desk::new();
    let outcome = sh(&desk, "{ seq 100000 | $titan map echo; echo $? >&2; } | head -n 1").expect(0);
    assert_eq!(outcome.stderr, "141\n");
    desk.wait_until_tidy();
}

#[test]
fn each_task_is_an_object_with_json() {
    let desk = Desk::new();
    let outcome = sh(&desk, "$titan map -k --json -s 'echo {}; exit {}' ::: 0 1").expect(1);
    let objects = outcome.json();
    assert_eq!(objects.len(), 3);
    assert_eq!((&objects[0]["state"], &objects[0]["exit"]), (&"COMPLETED".into(), &0.into()));
    assert_eq!((&objects[1]["state"], &objects[1]["exit"]), (&"FAILED".into(), &1.into()));
    assert_eq!((&objects[1]["stdout"], &objects[1]["seq"]), (&"1\n".into(), &2.into()));
    assert_eq!(objects[2]["type"], "summary");
}

#[test]
fn results_and_a_joblog_are_written() {
    let desk = Desk::new();
    sh(&desk, "$titan map --results out --joblog log -s 'echo {}; echo e >&2' ::: a b").expect(0);
    assert_eq!(desk.read("out/1/stdout"), b"a\n");
    assert_eq!(desk.read("out/2/stderr"), b"e\n");
    let table = String::from_utf8(desk.read("out/results.csv")).unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
    let log = String::from_utf8(desk.read("log")).unwrap();
    assert_eq!(log.lines().count(), 3, "{log}");
    assert!(log.lines().skip(1).all(|line| line.split('\t').count() == 9), "{log}");
    let refused = sh(&desk, "$titan map --results out echo ::: a").expect(2);
    assert!(refused.stderr.contains("has files of another batch"), "{}", refused.stderr);
}

#[test]
fn a_dry_run_prints_what_could_be_pasted() {
    let desk = Desk::new();
    let outcome = sh(&desk, "$titan map --dry-run touch '{}x' ::: 'a b' c").expect(0);
    assert_eq!(outcome.text(), "touch 'a bx'\ntouch cx\n");
    assert!(desk.work_files().is_empty());
    sh(&desk, "$titan map --dry-run -o 'made here/{}.txt' -s 'echo {} > made\\ here/{}.txt' ::: 1 2 | sh").expect(0);
    assert_eq!(desk.read("made here/2.txt"), b"2\n");
}

#[test]
fn a_missing_program_is_named_with_its_path() {
    let desk = Desk::new();
    let outcome = sh(&desk, "$titan map no-such-program ::: a").expect(1);
    assert!(outcome.stderr.contains("no-such-program isn't found on localhost (PATH="), "{}", outcome.stderr);
}

#[test]
fn a_signal_ends_all_that_runs_and_keeps_what_is_in() {
    let desk = Desk::new();
    let text = "exec $titan map -v -j2 -s 'test {} = 1 && exit; setsid sleep 1000' ::: 1 2 3 4";
    let mut command = line(&desk, text);
    let mut running = Running::start(command.stdout(Stdio::piped()));
    running.wait_for("task 3 starts");
    running.signal(rustix::process::Signal::INT);
    let outcome = running.wait().expect(130);
    outcome.assert_interrupted("1 of 4");
    desk.wait_until_tidy();
}

#[test]
fn the_agent_killed_takes_all_that_it_ran_with_it() {
    let desk = Desk::new();
    let mut running = Running::start(&mut line(&desk, "exec $titan map -v --lease 0 -s 'setsid sleep 1000' ::: 1"));
    running.wait_for("task 1 starts");
    let pid = running.pid();
    titan_tests::cli::running::send_signal(pid, rustix::process::Signal::KILL);
    running.wait();
    titan_tests::rig::wait_until(titan_tests::cli::PATIENCE, "nothing runs", || desk.processes().is_empty());
}

#[test]
fn lines_can_be_seen_as_they_are_written() {
    let desk = Desk::new();
    let script = "mkfifo go; $titan map --line-buffer --tag -s 'echo first {}; cat go; echo last' ::: a > out & \
                  until grep -q first out; do sleep 0.02; done; cat out; echo go > go; wait; cat out";
    assert_eq!(sh(&desk, script).expect(0).text(), "a\tfirst a\na\tfirst a\na\tgo\na\tlast\n");
    let refused = sh(&desk, "$titan map --lb -k echo ::: a").expect(2);
    assert!(refused.stderr.contains("--keep-order"), "{}", refused.stderr);
}

#[test]
fn every_try_is_seen_line_by_line() {
    let script =
        "$titan map --lb --retries 1 -n0 -s 'echo try $TITAN_ATTEMPT; test $TITAN_ATTEMPT = 2' ::: a 2>/dev/null";
    assert_eq!(sh(&Desk::new(), script).expect(0).text(), "try 1\ntry 2\n");
}

#[test]
fn a_command_runs_once_on_each_host() {
    let desk = Desk::new();
    let mut lines: Vec<String> = sh(&desk, "$titan map --each-host --local=3 -s 'echo $TITAN_HOST'")
        .expect(0)
        .text()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    assert_eq!(lines, ["local-1\tlocal-1", "local-2\tlocal-2", "local-3\tlocal-3"]);
    sh(&desk, "$titan map --each-host --local=2 false").expect(1);
}

#[test]
fn tasks_read_files_of_their_own_or_what_titan_reads() {
    prints("echo hello | $titan map -k -n0 --stdin - wc -c ::: 1 2", "6\n6\n");
    prints("echo a > a; echo b > b; $titan map -k --stdin {} -s 'cat; : {}' ::: a b", "a\nb\n");
    prints("$titan map --wd ... -n0 --stdin /dev/null wc -c ::: 1", "0\n");
}
