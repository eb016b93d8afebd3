//! Batches that are gone on with: after SIGKILL, after Ctrl-C, after failures; and what is refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use titan_tests::cli::{Desk, Outcome, PATIENCE, Running};
use titan_tests::rig::wait::wait_until;

/// A line of sh in which `$titan` is the program under test.
fn line(desk: &Desk, line: &str) -> Command {
    let mut command = desk.command("/bin/sh");
    command.args(["-c", &format!("exec {line}")]).env("titan", titan_tests::program::titan());
    command
}

#[track_caller]
fn sh(desk: &Desk, text: &str) -> Outcome {
    Running::start(&mut line(desk, text)).wait()
}

/// Starts titan with its stdout in a file of the desk, to which later ones add.
fn start(desk: &Desk, text: &str) -> Running {
    let out = fs::File::options().append(true).create(true).open(desk.path("stdout")).unwrap();
    Running::start_with_stdout(&mut line(desk, text), out)
}

fn stdout(desk: &Desk) -> String {
    fs::read_to_string(desk.path("stdout")).unwrap_or_default()
}

/// The newest batch's directory.
fn newest(desk: &Desk) -> PathBuf {
    let entries = fs::read_dir(desk.batches()).unwrap().map(|entry| entry.unwrap().path());
    let batches = entries.filter(|path| path.join("specification").exists());
    batches.max_by_key(|path| fs::metadata(path.join("specification")).unwrap().modified().unwrap()).unwrap()
}

fn id(desk: &Desk) -> String {
    newest(desk).file_name().unwrap().to_str().unwrap().to_owned()
}

/// The state of each task, by what people call it.
fn states(desk: &Desk) -> BTreeMap<String, String> {
    let rows = sh(desk, &format!("$titan export --json {}", id(desk))).expect(0).json();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    rows.iter().map(|row| (text(row, "label"), text(row, "state"))).collect()
}

fn count(desk: &Desk, state: &str) -> usize {
    states(desk).values().filter(|known| *known == state).count()
}

/// How often each task has begun, by what it noted of itself.
fn begun(desk: &Desk) -> BTreeMap<String, usize> {
    let mut begun = BTreeMap::new();
    for name in fs::read_to_string(desk.path("begun")).unwrap_or_default().lines() {
        *begun.entry(name.to_owned()).or_default() += 1;
    }
    begun
}

/// A map whose tasks may run twice, note that they begin, and wait for a file before they end; 1 to `free` wait for nothing.
fn waiting(desk: &Desk, options: &str, free: u32, values: &str) -> String {
    let folder = desk.path("").display().to_string();
    let script = format!(
        "echo {{}} >> {folder}/begun; test {{}} -le {free} || while ! test -e {folder}/go; do sleep 0.02; done; \
         echo out {{}}; echo {{}} > {{}}.txt"
    );
    format!("$titan map -j2 {options} -o '{{}}.txt' -s '{script}' {values}")
}

fn kill(mut running: Running) {
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, -9);
}

#[test]
fn a_killed_titan_is_gone_on_with_and_what_was_completed_is_not_run_again() {
    let desk = Desk::new();
    let running = start(&desk, &waiting(&desk, "-k", 4, "::: 1 2 3 4 5 6 7 8"));
    wait_until(PATIENCE, "four are done", || stdout(&desk).lines().count() == 4);
    wait_until(PATIENCE, "others run", || begun(&desk).len() == 6);
    kill(running);
    let before = states(&desk);
    desk.write("go", "");
    // From wherever it is typed.
    let elsewhere = desk.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let out = fs::File::options().append(true).open(desk.path("stdout")).unwrap();
    Running::start_with_stdout(line(&desk, "$titan resume").current_dir(elsewhere), out).wait().expect(0);
    let expected: String = (1..=8).map(|number| format!("out {number}\n")).collect();
    assert_eq!(stdout(&desk), expected);
    for number in 1..=8 {
        assert_eq!(desk.read(&format!("{number}.txt")), format!("{number}\n").as_bytes());
    }
    let begun = begun(&desk);
    for (task, state) in before {
        assert!(state != "COMPLETED" || begun[&task] == 1, "task {task} has begun {} times", begun[&task]);
    }
    assert_eq!(count(&desk, "COMPLETED"), 8);
    desk.wait_until_tidy();
}

#[test]
fn titan_may_be_killed_at_any_moment_and_as_often_as_somebody_likes() {
    let desk = Desk::new();
    let values: Vec<String> = (1..=40).map(|number| number.to_string()).collect();
    let script = "sleep 0.02; echo out {}; echo {} > {}.txt";
    let first = format!("$titan map -k -j2 -o '{{}}.txt' -s '{script}' ::: {}", values.join(" "));
    let mut running = start(&desk, &first);
    // Each life is a little longer, and ends at another moment.
    for life in 1..=10 {
        std::thread::sleep(std::time::Duration::from_millis(17 * life));
        if running.has_ended() {
            break;
        }
        kill(running);
        // Before anything was begun there is nothing to go on with.
        let batches = fs::read_dir(desk.batches()).into_iter().flatten().flatten();
        let is_begun = batches.into_iter().any(|batch| batch.path().join("specification").exists());
        running = start(&desk, if is_begun { "$titan resume" } else { &first });
    }
    running.wait().expect(0);
    for number in &values {
        assert_eq!(desk.read(&format!("{number}.txt")), format!("{number}\n").as_bytes());
    }
    // What was being printed when titan was killed may be there twice, and nothing else.
    let mut lines: Vec<String> = stdout(&desk).lines().map(str::to_owned).collect();
    let repeated = lines.len() - values.len();
    assert!(repeated <= 10, "{repeated} lines were printed again");
    lines.dedup();
    assert_eq!(lines, values.iter().map(|number| format!("out {number}")).collect::<Vec<_>>());
    assert_eq!(count(&desk, "COMPLETED"), 40);
    desk.wait_until_tidy();
}

#[test]
fn what_ctrl_c_stopped_waits_again_and_what_failed_only_if_that_is_asked_for() {
    let desk = Desk::new();
    let script =
        "test -e fixed || test {} != 2 || exit 3; test {} -lt 3 || while ! test -e go; do sleep 0.02; done; echo {}";
    let mut running = start(&desk, &format!("$titan map -v -j4 --lease 0 -s '{script}' ::: 1 2 3 4"));
    running.wait_for("task 1 on localhost: done");
    running.wait_for("task 2 on localhost: exit 3");
    running.wait_for("task 4 starts");
    running.signal(Signal::INT);
    running.wait().expect(130).assert_interrupted("1 of 4");
    assert_eq!(states(&desk).into_values().collect::<Vec<_>>(), ["COMPLETED", "FAILED", "CANCELLED", "CANCELLED"]);
    desk.write("go", "");
    desk.write("fixed", "");
    let outcome = start(&desk, "$titan resume").wait().expect(1);
    assert!(outcome.stderr.contains("1 task FAILED on localhost: exit 3"), "{}", outcome.stderr);
    assert_eq!(count(&desk, "COMPLETED"), 3);
    // It is over, and resuming it says so.
    let outcome = start(&desk, "$titan resume").wait().expect(1);
    assert!(
        outcome
            .stderr
            .contains("is over: FAILED, 3 of 4 tasks COMPLETED, 1 FAILED (again: titan resume --retry-failed ")
    );
    start(&desk, &format!("$titan resume --retry-failed {}", id(&desk))).wait().expect(0);
    assert_eq!(count(&desk, "COMPLETED"), 4);
    let mut lines: Vec<_> = stdout(&desk).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["1", "2", "3", "4"]);
    start(&desk, "$titan resume").wait().expect(0);
    desk.wait_until_tidy();
}

#[test]
fn a_picture_is_gone_on_with_and_is_the_same() {
    const PICTURE: &str = "run mandelbrot --size 64x64 --tiles 4x4 --iterations 200 --lease 0";
    let desk = Desk::new();
    desk.run(&format!("{PICTURE} -o whole.png")).expect(0);
    let faults: Vec<String> = (7..16).map(|task| format!("delay:{task}:60000")).collect();
    let mut running = desk.start_faulty(&faults.join(","), &format!("{PICTURE} -v -o out.png -j 2"));
    running.wait_for("task 6 on localhost: done");
    kill(running);
    let done = count(&desk, "COMPLETED");
    assert!((5..=7).contains(&done), "{done}");
    let outcome = desk.run("resume -v").expect(0);
    assert_eq!(outcome.stderr.matches(" starts on ").count(), 16 - done, "{}", outcome.stderr);
    assert!(outcome.stderr.contains(&format!("{done} of 16 done")), "{}", outcome.stderr);
    assert!(desk.read("out.png") == desk.read("whole.png"));
    desk.wait_until_tidy();
}

#[test]
fn tiles_that_are_being_computed_when_titan_is_killed_are_computed_once() {
    const PICTURE: &str = "run mandelbrot --size 64x64 --tiles 4x4 --iterations 200";
    let desk = Desk::new();
    desk.run(&format!("{PICTURE} -o whole.png")).expect(0);
    let mut running = desk.start_faulty("delay:7:4000,delay:8:4000", &format!("{PICTURE} -v -o out.png -j 2"));
    running.wait_for("task 7 starts");
    running.wait_for("task 8 starts");
    kill(running);
    let done = count(&desk, "COMPLETED");
    let outcome = desk.run("resume -v").expect(0);
    for task in [7, 8] {
        assert!(outcome.stderr.contains(&format!("task {task} still runs on localhost, and goes on")));
        assert!(!outcome.stderr.contains(&format!("task {task} starts")), "{}", outcome.stderr);
    }
    assert_eq!(outcome.stderr.matches(" starts on ").count(), 14 - done, "{}", outcome.stderr);
    assert!(desk.read("out.png") == desk.read("whole.png"));
    desk.wait_until_tidy();
}

#[test]
fn a_tile_that_the_disk_has_lost_is_computed_again() {
    const PICTURE: &str = "run mandelbrot --size 64x64 --tiles 4x4 --iterations 200";
    let desk = Desk::new();
    desk.run(&format!("{PICTURE} -o whole.png")).expect(0);
    let mut running = desk.start_faulty("delay:7:4000,delay:8:4000", &format!("{PICTURE} -v -o out.png -j 2"));
    running.wait_for("task 7 starts");
    running.wait_for("task 8 starts");
    wait_until(PATIENCE, "all before them are done", || count(&desk, "COMPLETED") >= 7);
    kill(running);
    // As a power cut leaves what was renamed and never synced: there, and empty.
    let tile = newest(&desk).join("spool/0.0");
    assert!(fs::metadata(&tile).unwrap().len() > 0);
    fs::write(&tile, "").unwrap();
    let outcome = desk.run("resume -v").expect(0);
    assert!(outcome.stderr.contains("task 0 starts on localhost"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("task 1 starts on localhost"), "{}", outcome.stderr);
    assert!(desk.read("out.png") == desk.read("whole.png"));
    desk.wait_until_tidy();
}

#[test]
fn commands_that_run_when_titan_is_killed_go_on_and_lose_nothing_of_what_they_print() {
    let desk = Desk::new();
    // One prints before titan dies, while nobody listens, and after; one ends while nobody listens; one waits its turn.
    let script = "echo {} >> begun; echo {} first; until test -e after{}; do sleep 0.02; done; seq {}00000 {}20000; echo {} last";
    let mut running = start(&desk, &format!("$titan map -v -k -j2 -s '{script}' ::: 1 2 3"));
    running.wait_for("task 1 starts");
    running.wait_for("task 2 starts");
    wait_until(PATIENCE, "both have begun", || begun(&desk).len() == 2);
    kill(running);
    desk.write("after2", "");
    desk.write("after3", "");
    let mut running = start(&desk, "$titan resume -v");
    running.wait_for("task 1 still runs on localhost, and goes on");
    running.wait_for("task 2 on localhost: done");
    desk.write("after1", "");
    let outcome = running.wait().expect(0);
    // The third waited at the agent, which may have begun it before the second titan was there.
    assert!(outcome.stderr.matches(" starts on ").count() <= 1, "{}", outcome.stderr);
    assert_eq!(begun(&desk).into_values().collect::<Vec<_>>(), [1, 1, 1]);
    let told = |task: usize| {
        let numbers = (task * 100_000..=task * 100_000 + 20_000).map(|number| format!("{number}\n"));
        format!("{task} first\n{}{task} last\n", numbers.collect::<String>())
    };
    assert!(stdout(&desk) == (1..=3).map(told).collect::<String>());
    desk.wait_until_tidy();
}

#[test]
fn a_batch_file_is_gone_on_with_as_it_was_whatever_has_become_of_it() {
    let desk = Desk::new();
    let folder = desk.path("").display().to_string();
    let file = format!(
        r#"
[[job]]
name = "one"
array = {{ f = {{ glob = "in/*" }} }}
shell = "echo {{f/}} >> {folder}/begun; test {{f/}} = a || while ! test -e {folder}/go; do sleep 0.02; done; cat {{f}} > {{f/}}.one"
inputs = ["{{f}}"]
outputs = ["{{f/}}.one"]
[[job]]
name = "frame"
kernel = "mandelbrot"
array = {{ n = {{ range = [1, 2] }} }}
params = {{ width = "{{n}}", size = "32x16", iterations = 50, tiles = "2x1" }}
outputs = ["frames/{{n}}.png"]
[[job]]
name = "all"
shell = "cat *.one > all; ls frames | wc -l >> all"
inputs = [{{ job = "one" }}, {{ job = "frame" }}]
outputs = ["all"]
"#
    );
    desk.write("b.toml", &file);
    for name in ["a", "b", "c"] {
        desk.write(&format!("in/{name}"), format!("{name}\n"));
    }
    let running = start(&desk, "$titan batch -j3 b.toml");
    wait_until(PATIENCE, "they run", || begun(&desk).len() == 3);
    wait_until(PATIENCE, "one is done, and the frames", || count(&desk, "COMPLETED") == 5);
    kill(running);
    desk.write("b.toml", "[[job]]\nname = \"other\"\nshell = \"echo other\"\n");
    desk.write("in/d", "d\n");
    desk.write("go", "");
    start(&desk, "$titan resume b").wait().expect(0);
    assert_eq!(desk.read("all"), b"a\nb\nc\n2\n");
    assert_eq!(begun(&desk)["a"], 1);
    assert_eq!(count(&desk, "COMPLETED"), 8);
    desk.wait_until_tidy();
}

#[test]
fn values_from_a_pipe_are_gone_on_with_as_far_as_they_were_taken() {
    let desk = Desk::new();
    let map = waiting(&desk, "", 2, "");
    let text = format!("sh -c \"seq 6 | {}\"", map.replace('"', "\\\"").replace("$titan", "\\$titan"));
    let running = Running::start(&mut line(&desk, &text));
    wait_until(PATIENCE, "others run", || begun(&desk).len() == 4);
    wait_until(PATIENCE, "all are taken", || states(&desk).len() == 6);
    let pid = fs::read_to_string(newest(&desk).join("lock")).unwrap();
    let pid = pid.split_whitespace().next().unwrap().parse().unwrap();
    titan_tests::cli::running::send_signal(pid, Signal::KILL);
    running.wait();
    desk.write("go", "");
    start(&desk, "$titan resume").wait().expect(0);
    assert_eq!(count(&desk, "COMPLETED"), 6);
    desk.wait_until_tidy();
}

#[test]
fn values_from_a_file_are_read_on_and_a_file_that_has_changed_is_told() {
    let desk = Desk::new();
    let values: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    desk.write("values", &values);
    let map = waiting(&desk, "--no-output", 2, "-a values");
    let running = start(&desk, &map);
    wait_until(PATIENCE, "two are done", || begun(&desk).len() == 4);
    kill(running);
    let taken = states(&desk).len();
    assert!(taken < 20_000, "not all are taken before there is room for them: {taken}");
    desk.write("values", values.replacen("\n7\n", "\n7000000\n", 1));
    desk.write("go", "");
    let outcome = start(&desk, "$titan resume --quiet").wait().expect(2);
    assert!(outcome.stderr.contains("value 7 was '7' and is '7000000' now"), "{}", outcome.stderr);
    // What was taken has run all the same.
    assert!(count(&desk, "COMPLETED") >= taken);
    desk.wait_until_tidy();
}

#[test]
fn a_random_order_stays_what_it_was() {
    let desk = Desk::new();
    let folder = desk.path("").display().to_string();
    let script =
        format!("echo {{}}; test {{#}} -lt 5 || while ! test -e {folder}/go; do sleep 0.02; done; echo > {{}}");
    let values: Vec<String> = (1..=12).map(|number| number.to_string()).collect();
    let running = start(&desk, &format!("$titan map -k -j2 --shuf -o {{}} -s '{script}' ::: {}", values.join(" ")));
    wait_until(PATIENCE, "four are done", || stdout(&desk).lines().count() == 4);
    kill(running);
    desk.write("go", "");
    start(&desk, "$titan resume").wait().expect(0);
    let mut numbers: Vec<u32> = stdout(&desk).lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.len() <= 13, "only what was being printed may be printed again: {numbers:?}");
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
    desk.wait_until_tidy();
}

#[test]
fn results_are_there_once_and_the_log_goes_on() {
    let desk = Desk::new();
    let running = start(&desk, &waiting(&desk, "--results res --joblog log", 3, "::: 1 2 3 4 5 6"));
    wait_until(PATIENCE, "three are done", || stdout(&desk).lines().count() == 3);
    kill(running);
    // What a killed titan had begun to write of a task that it hadn't told of.
    desk.write("res/4/stdout", "half");
    let table = String::from_utf8(desk.read("res/results.csv")).unwrap();
    desk.write("res/results.csv", format!("{table}4,COMPL"));
    desk.write("go", "");
    start(&desk, "$titan resume").wait().expect(0);
    let table = String::from_utf8(desk.read("res/results.csv")).unwrap();
    let mut rows: Vec<&str> = table.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
    rows.sort_unstable();
    assert_eq!(rows, ["1", "2", "3", "4", "5", "6"]);
    for number in 1..=6 {
        assert_eq!(desk.read(&format!("res/{number}/stdout")), format!("out {number}\n").as_bytes());
    }
    assert_eq!(String::from_utf8(desk.read("log")).unwrap().lines().count(), 7);
    desk.wait_until_tidy();
}

#[test]
fn variables_folder_and_stdin_are_those_of_the_first_time() {
    let desk = Desk::new();
    desk.write("text", "given\n");
    let folder = desk.path("").display().to_string();
    let script = format!(
        "test {{}} = 1 || while ! test -e {folder}/go; do sleep 0.02; done; cat; echo $WORD $(basename $(dirname {folder})); echo > {{}}.o"
    );
    let text = format!(
        "sh -c \"WORD=first exec \\$titan map -k -j2 --env WORD --stdin - -o '{{}}.o' -s '{}' ::: 1 2 < text\"",
        script.replace('$', "\\$")
    );
    let running = start(&desk, &text);
    wait_until(PATIENCE, "one is done", || stdout(&desk).lines().count() == 2);
    kill(running);
    fs::remove_file(desk.path("text")).unwrap();
    desk.write("go", "");
    start(&desk, "$titan resume").wait().expect(0);
    let lines: Vec<String> = stdout(&desk).lines().map(str::to_owned).collect();
    assert_eq!((&lines[0], &lines[2]), (&"given".to_owned(), &"given".to_owned()));
    assert!(lines[1].starts_with("first ") && lines[1] == lines[3], "{lines:?}");
    desk.wait_until_tidy();
}

#[test]
fn a_second_titan_on_one_batch_is_refused_with_the_first_ones_name() {
    let desk = Desk::new();
    let mut running = start(&desk, &waiting(&desk, "", 0, "::: 1 2"));
    wait_until(PATIENCE, "they run", || begun(&desk).len() == 2);
    let outcome = sh(&desk, &format!("$titan resume {}", id(&desk))).expect(2);
    let told = format!("batch {} is being run by titan with pid {} on ", id(&desk), running.pid());
    assert!(outcome.stderr.contains(&told), "{}", outcome.stderr);
    // Without a name there is none to go on with, and which one isn't over is told.
    let outcome = sh(&desk, "$titan resume").expect(2);
    assert!(outcome.stderr.contains(&told) && outcome.stderr.contains("titan status -f"), "{}", outcome.stderr);
    assert!(!running.has_ended());
    desk.write("go", "");
    running.wait().expect(0);
    desk.wait_until_tidy();
}

#[test]
fn a_cancelled_batch_is_over_for_good_whoever_works_on_it() {
    let desk = Desk::new();
    let mut running = start(&desk, &waiting(&desk, "-v", 1, "::: 1 2 3"));
    running.wait_for("task 1 on localhost: done");
    let outcome = sh(&desk, &format!("$titan cancel {}", id(&desk))).expect(0);
    assert!(outcome.stderr.contains("is over: CANCELLED, 1 of 3 tasks COMPLETED"), "{}", outcome.stderr);
    running.wait().expect(1);
    let outcome = sh(&desk, &format!("$titan resume --retry-failed {}", id(&desk))).expect(1);
    assert!(outcome.stderr.contains("is over: CANCELLED"), "{}", outcome.stderr);
    desk.wait_until_tidy();
    // One that nobody works on.
    let running = start(&desk, &waiting(&desk, "", 1, "::: 1 2 3"));
    wait_until(PATIENCE, "they run", || begun(&desk).values().sum::<usize>() >= 5);
    kill(running);
    let object = sh(&desk, &format!("$titan cancel --json {}", id(&desk))).expect(0).one_object();
    assert_eq!(object["state"], "CANCELLED");
    assert_eq!(object["tasks"]["completed"].as_u64().unwrap() + object["tasks"]["cancelled"].as_u64().unwrap(), 3);
    assert_eq!(sh(&desk, "$titan resume").expect(1).text(), "");
    // What still ran is ended, too.
    desk.wait_until_tidy();
}

#[test]
fn what_has_happened_can_be_asked_live_and_afterwards() {
    let desk = Desk::new();
    let running = start(&desk, &waiting(&desk, "", 1, "::: 1 2 3 4"));
    wait_until(PATIENCE, "one is done", || begun(&desk).len() == 3);
    let id = id(&desk);
    wait_until(PATIENCE, "it tells how far it is", || newest(&desk).join("live.json").exists());
    let status = sh(&desk, &format!("$titan status --json {id}")).expect(0).one_object();
    assert_eq!((&status["state"], &status["tasks"]["completed"]), (&"RUNNING".into(), &1.into()), "{status}");
    let runs = status["workers"][0]["running"].as_array().unwrap();
    assert_eq!(runs.iter().map(|task| task["label"].as_str().unwrap()).collect::<Vec<_>>(), ["2", "3"]);
    assert_eq!(sh(&desk, "$titan status --exit-code").expect(1).text().lines().count(), 4);
    let text = sh(&desk, &format!("$titan status {id}")).expect(0).text();
    assert!(text.contains("1 of 4 done, 2 running") && text.contains("localhost  healthy"), "{text}");
    assert_eq!(sh(&desk, &format!("$titan logs {id} 1")).expect(0).text(), "out 1\n");
    let mut following = Running::start(line(&desk, &format!("$titan logs -f {id} 2")).stdout(Stdio::piped()));
    desk.write("go", "");
    running.wait().expect(0);
    wait_until(PATIENCE, "it has followed to the end", || following.has_ended());
    assert_eq!(following.wait().expect(0).text(), "out 2\n");
    let log = sh(&desk, &format!("$titan logs {id}")).expect(0).text();
    assert!(log.contains("batch begun on localhost") && log.contains("batch over: 4 completed"), "{log}");
    assert_eq!(log.matches("COMPLETED in ").count(), 4, "{log}");
    assert!(sh(&desk, &format!("$titan logs {id} 9")).expect(2).stderr.contains("there are 4 tasks, from 1"));
    let table = sh(&desk, &format!("$titan export {id}")).expect(0).text();
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(table.lines().nth(2).unwrap().contains(",COMPLETED,1,1-2,localhost,0,"), "{table}");
    let batches = sh(&desk, "$titan batches --json").expect(0).one_object();
    assert_eq!(batches["batches"][0]["state"], "COMPLETED");
    let listed = sh(&desk, "$titan batches").expect(0).text();
    assert!(listed.lines().nth(1).unwrap().contains("map   COMPLETED     4/4"), "{listed}");
    sh(&desk, "$titan status --exit-code map").expect(0);
    let object = sh(&desk, "$titan clean --json --dry-run").expect(0).one_object();
    assert_eq!(object["batches"][0]["batch"], id.as_str());
    assert!(newest(&desk).exists());
    sh(&desk, "$titan clean").expect(0);
    assert_eq!(sh(&desk, "$titan batches").expect(0).stderr, "titan: there is no batch\n");
}

#[test]
fn a_batch_is_known_by_a_beginning_of_its_id_or_its_name_and_a_near_miss_is_told() {
    let desk = Desk::new();
    sh(&desk, "$titan map echo ::: 1").expect(0);
    let id = id(&desk);
    sh(&desk, &format!("$titan status {}", &id[..3])).expect(0);
    let outcome = sh(&desk, "$titan status mapp").expect(2);
    assert!(outcome.stderr.contains("there is no batch 'mapp'\n  hint: did you mean 'map'?"), "{}", outcome.stderr);
    sh(&desk, "$titan status ''").expect(2);
}

#[test]
fn a_folder_of_ones_own_may_hold_the_batches() {
    let desk = Desk::new();
    let mut running = start(&desk, &waiting(&desk, "-v --batch-dir mine", 1, "::: 1 2 3"));
    running.wait_for("task 1 on localhost: done");
    running.signal(Signal::INT);
    let outcome = running.wait().expect(130);
    assert!(outcome.last_line().contains("titan resume --batch-dir mine "), "{}", outcome.last_line());
    assert!(!desk.batches().exists());
    desk.write("go", "");
    sh(&desk, "$titan resume --batch-dir mine").expect(0);
    assert_eq!(
        sh(&desk, "$titan batches --json --batch-dir mine").expect(0).one_object()["batches"][0]["state"],
        "COMPLETED"
    );
}

/// What a titan has left that was killed in the middle, as files.
fn killed(desk: &Desk) -> Vec<(PathBuf, Vec<u8>)> {
    let running = start(desk, &waiting(desk, "-k --lease 0", 3, "::: 1 2 3 4 5"));
    wait_until(PATIENCE, "three are done", || stdout(desk).lines().count() == 3);
    kill(running);
    desk.write("go", "");
    let batch = newest(desk);
    wait_until(PATIENCE, "its agents have ended", || desk.processes().is_empty());
    ["journal", "specification"]
        .into_iter()
        .map(|name| (batch.join(name), fs::read(batch.join(name)).unwrap()))
        .collect()
}

#[test]
fn a_journal_that_is_cut_or_damaged_is_gone_on_with_or_refused_and_never_misread() {
    let desk = Desk::new();
    let files = killed(&desk);
    let (journal, whole) = &files[0];
    let spool = journal.with_file_name("spool");
    let kept: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(&spool)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    let try_with = |bytes: &[u8], what: &str| {
        for (path, content) in files.iter().chain(&kept) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        fs::write(journal, bytes).unwrap();
        let _ = fs::remove_file(journal.with_file_name("ended"));
        (1..=5).for_each(|number| drop(fs::remove_file(desk.path(&format!("{number}.txt")))));
        let outcome = sh(&desk, "$titan resume");
        match outcome.code {
            0 => {}
            2 => assert!(outcome.stderr.contains("there is no batch"), "{what}: {}", outcome.stderr),
            4 => assert!(outcome.stderr.contains("can't be gone on with: "), "{what}: {}", outcome.stderr),
            code => panic!("{what}: exit {code}: {}", outcome.stderr),
        }
        if outcome.code == 0 {
            assert!((4..=5).all(|number| desk.path(&format!("{number}.txt")).exists()), "{what}: {}", outcome.stderr);
        }
        outcome.code
    };
    let mut codes = BTreeMap::new();
    for cut in (0..whole.len()).step_by(whole.len() / 12) {
        *codes.entry(try_with(&whole[..cut], &format!("cut at {cut}"))).or_insert(0) += 1;
    }
    for at in (3..whole.len()).step_by(whole.len() / 12) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        *codes.entry(try_with(&damaged, &format!("a bit of {at}"))).or_insert(0) += 1;
    }
    assert!(codes.contains_key(&0) && codes.contains_key(&4), "{codes:?}");
    // A specification has no part that could be missed.
    let (path, specification) = &files[1];
    let mut damaged = specification.clone();
    damaged[40] ^= 1;
    fs::write(path, damaged).unwrap();
    fs::write(journal, whole).unwrap();
    let _ = fs::remove_file(journal.with_file_name("ended"));
    let outcome = sh(&desk, "$titan resume").expect(4);
    assert!(outcome.stderr.contains("specification: it is damaged"), "{}", outcome.stderr);
}

#[test]
fn a_state_directory_that_cannot_be_written_is_told_with_the_way_out() {
    let desk = Desk::new();
    desk.write("file", "");
    let outcome = sh(&desk, "$titan map --batch-dir file/x echo ::: 1").expect(4);
    assert!(outcome.stderr.contains("cannot make a batch's directory: "), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("\n  hint: "), "{}", outcome.stderr);
}

const REUSED: &str = r#"
[[job]]
name = "part"
array = { f = { glob = "in/*" } }
shell = "echo {f/} >> FOLDER/begun; cat {f} > parts/{f/}"
inputs = ["{f}"]
outputs = ["parts/{f/}"]
[[job]]
name = "frame"
kernel = "mandelbrot"
array = { n = { range = [1, 2] } }
params = { width = "{n}", size = "32x16", iterations = 50, tiles = "2x1" }
outputs = ["frames/{n}.png"]
[[job]]
name = "all"
shell = "echo all >> FOLDER/begun; cat parts/* > all; ls frames | wc -l >> all"
inputs = [{ job = "part" }, { job = "frame" }]
outputs = ["all"]
"#;

#[test]
fn what_is_still_the_same_is_kept_if_somebody_asks_for_it_and_offered_otherwise() {
    let desk = Desk::new();
    let file = REUSED.replace("FOLDER", &desk.path("").display().to_string());
    desk.write("b.toml", &file);
    for name in ["a", "b", "c"] {
        desk.write(&format!("in/{name}"), format!("{name}\n"));
    }
    sh(&desk, "$titan batch b.toml").expect(0);
    assert_eq!(begun(&desk).into_values().sum::<usize>(), 4);
    // Nothing has changed: it is run again as it is, without a word.
    let outcome = sh(&desk, "$titan batch --reuse b.toml").expect(0);
    assert!(
        outcome.stderr.contains("8 tasks in ") && outcome.stderr.contains(", 8 kept from before"),
        "{}",
        outcome.stderr
    );
    assert_eq!(begun(&desk).into_values().sum::<usize>(), 4);
    // One content has, a line of the file, an output and a parameter.
    desk.write("in/b", "other\n");
    fs::remove_file(desk.path("parts/c")).unwrap();
    desk.write("b.toml", format!("# edited\n{}", file.replace("width = \"{n}\"", "width = \"{n}.5\"")));
    let outcome = sh(&desk, "$titan batch --check b.toml").expect(0);
    assert!(!outcome.stderr.contains("--reuse"), "{}", outcome.stderr);
    let outcome = sh(&desk, "$titan batch --reuse b.toml").expect(0);
    assert!(outcome.stderr.contains(", 1 kept from before"), "{}", outcome.stderr);
    let counts = begun(&desk);
    assert_eq!((counts["a"], counts["b"], counts["c"], counts["all"]), (1, 2, 2, 2));
    assert_eq!(desk.read("all"), b"a\nother\nc\n2\n");
    desk.write("b.toml", format!("# edited again\n{file}"));
    let outcome = sh(&desk, "$titan batch b.toml").expect(0);
    assert!(outcome.stderr.contains("b.toml ran before, and 8 tasks COMPLETED (batch "), "{}", outcome.stderr);
    let outcome = sh(&desk, "$titan batch --fresh b.toml").expect(0);
    assert!(!outcome.stderr.contains("ran before"), "{}", outcome.stderr);
    assert_eq!(begun(&desk)["a"], 3);
    desk.wait_until_tidy();
}

#[test]
fn what_a_killed_titan_had_told_of_can_be_read_all_the_same() {
    let desk = Desk::new();
    let running = start(&desk, &waiting(&desk, "", 3, "::: 1 2 3 4 5 6"));
    wait_until(PATIENCE, "three are done", || stdout(&desk).lines().count() == 3);
    kill(running);
    desk.write("go", "");
    start(&desk, "$titan resume").wait().expect(0);
    for task in 1..=6 {
        let outcome = sh(&desk, &format!("$titan logs {} {task}", id(&desk))).expect(0);
        assert!(outcome.text().contains(&task.to_string()), "task {task}: {} {}", outcome.text(), outcome.stderr);
    }
    desk.wait_until_tidy();
}

#[test]
fn a_cancel_ends_what_runs_here_though_the_folder_is_gone() {
    let desk = Desk::new();
    let folder = desk.path("gone");
    std::fs::create_dir(&folder).unwrap();
    let begin = format!("$titan map -s 'echo {{}} >> {}; sleep 100' ::: 1 2", desk.path("begun").display());
    let running = Running::start(line(&desk, &begin).current_dir(&folder));
    wait_until(PATIENCE, "both run", || begun(&desk).len() == 2);
    kill(running);
    std::fs::remove_dir_all(&folder).unwrap();
    let outcome = sh(&desk, &format!("$titan resume {}", id(&desk))).expect(2);
    assert!(outcome.stderr.contains(&format!("make it again, or: titan cancel {}", id(&desk))), "{}", outcome.stderr);
    sh(&desk, &format!("$titan cancel {}", id(&desk))).expect(0);
    desk.wait_until_tidy();
}

#[test]
fn whoever_asks_twice_for_the_end_gets_it_at_once_and_nothing_stays() {
    let desk = Desk::new();
    let mut running = start(&desk, "$titan map -s 'trap \"\" TERM; echo {} >> begun; sleep 100; sleep 100' ::: 1 2");
    wait_until(PATIENCE, "both run", || begun(&desk).len() == 2);
    running.signal(Signal::INT);
    running.wait_for("stopping; once more to stop at once");
    // A terminal that is closed may tell twice, and means it once.
    running.signal(Signal::HUP);
    running.signal(Signal::INT);
    running.wait().expect(130);
    desk.wait_until_tidy();
}

#[test]
fn other_batches_of_a_file_that_write_the_same_are_told() {
    let desk = Desk::new();
    let folder = desk.path("").display().to_string();
    let file = |word: &str| {
        format!(
            "[[job]]\nname = 'one'\narray = {{ n = [1, 2] }}\nshell = 'echo {{n}} >> {folder}/begun; while ! test -e {folder}/go; do sleep \
             0.02; done; echo {word} > {{n}}.out'\noutputs = ['{{n}}.out']\n"
        )
    };
    desk.write("b.toml", file("old"));
    let running = start(&desk, "$titan batch b.toml");
    wait_until(PATIENCE, "both run", || begun(&desk).len() == 2);
    let old = id(&desk);
    desk.write("go", "");
    let at_once = sh(&desk, "$titan batch --fresh b.toml");
    assert!(at_once.stderr.contains(&format!("b.toml is being run as batch {old} too")), "{}", at_once.stderr);
    running.wait().expect(0);
    fs::remove_file(desk.path("go")).unwrap();
    let running = start(&desk, "$titan batch --fresh b.toml");
    wait_until(PATIENCE, "both run again", || begun(&desk).values().all(|times| *times == 3));
    let stopped = id(&desk);
    kill(running);
    desk.write("go", "");
    desk.write("b.toml", file("new"));
    sh(&desk, "$titan batch --fresh b.toml").expect(0);
    let newer = id(&desk);
    let outcome = sh(&desk, &format!("$titan resume {stopped}")).expect(0);
    assert!(outcome.stderr.contains(&format!("batch {newer} of b.toml is newer")), "{}", outcome.stderr);
    desk.wait_until_tidy();
}

/// One that may come, or was there, leaves something to be gone on with.
#[test]
fn a_batch_without_a_host_yet_can_be_gone_on_with() {
    let desk = Desk::new();
    for (name, command) in [("away", "exit 255"), ("unset", "exec sh")] {
        desk.write("c.toml", format!("[[host]]\nname = \"{name}\"\ncommand = [\"sh\", \"-c\", \"{command}\"]\n"));
        let outcome = desk.run("map --cluster c.toml --setup false echo ::: 1").expect(3);
        assert!(outcome.stderr.contains("continue with: titan resume "), "{}", outcome.stderr);
        let listed = desk.run("batches").expect(0).text();
        assert!(listed.lines().nth(1).is_some_and(|line| line.contains("INTERRUPTED")), "{listed}");
        // Where somebody names other hosts, these are taken; the setup is the batch's own.
        desk.run("resume --local").expect(3);
    }
}

/// What a mistyped host has left behind is nothing that a later `titan resume` should take.
#[test]
fn a_batch_that_no_host_has_begun_is_over() {
    let desk = Desk::new();
    desk.run("map -k --hosts nobody.invalid echo ::: 1 2").expect(3);
    let listed = desk.run("batches").expect(0).text();
    assert!(listed.contains("FAILED") && listed.contains("0/2"), "{listed}");
    let outcome = desk.run("resume").expect(3);
    assert!(outcome.stderr.contains("is over: FAILED, 0 of 2 tasks COMPLETED (the rest: "), "{}", outcome.stderr);
    let id = listed.lines().nth(1).and_then(|line| line.split(' ').next()).expect("a batch").to_owned();
    let outcome = desk.run(&format!("resume {id} --retry-failed --hosts nobody.invalid")).expect(3);
    let left = format!("continue with: titan resume {id}; to drop it: titan cancel {id}");
    assert!(outcome.stderr.contains(&left), "{}", outcome.stderr);
    assert_eq!(desk.run(&format!("resume {id} --retry-failed --local")).expect(0).text(), "1\n2\n");
}
