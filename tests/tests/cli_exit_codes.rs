//! The table of exit codes: each that can come about on one machine, and what it goes with.

use std::process::Command;

use rustix::process::Signal;
use titan_tests::cli::picture::{Counts, MISSING, read_png};
use titan_tests::cli::{Desk, Running};
use titan_tests::rig::availability::skipped_for;
use titan_tests::rig::wait_until;

const SMALL: &str = "run mandelbrot --size 64x64 --tiles 4x4";

#[test]
fn zero_is_when_every_tile_is_there() {
    let desk = Desk::new();
    desk.run(SMALL).expect(0);
    desk.run("--version").expect(0);
    desk.run("--help").expect(0);
    desk.run("").expect(0);
    desk.run("hosts --local").expect(0);
    desk.wait_until_tidy();
}

#[test]
fn one_is_when_a_tile_failed_and_the_picture_shows_which() {
    let desk = Desk::new();
    let words = format!("{SMALL} --palette titan -o out.png --counts out.npy --tiles-dir tiles");
    desk.run(&words).expect(0);
    let (whole, counts) = (read_png(&desk.path("out.png")), Counts::read(&desk.path("out.npy")));
    std::fs::remove_dir_all(desk.path("tiles")).unwrap();

    let outcome = desk.run_faulty("panic:3", &format!("{words} --retries 0")).expect(1);
    assert!(outcome.stderr.contains("titan: task 3 on localhost: "), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("told to panic at task 3 (try 1 of 1)"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("1 task FAILED on localhost: "), "{}", outcome.stderr);
    let (broken, broken_counts) = (read_png(&desk.path("out.png")), Counts::read(&desk.path("out.npy")));
    let (mut missing, mut colours) = (0, std::collections::BTreeSet::new());
    for (x, y, pixel) in broken.enumerate_pixels() {
        if (48..64).contains(&x) && y < 16 {
            assert_eq!(broken_counts.at(x, y), MISSING);
            colours.insert(pixel.0);
            missing += usize::from(pixel != whole.get_pixel(x, y));
        } else {
            assert_eq!((pixel, broken_counts.at(x, y)), (whole.get_pixel(x, y), counts.at(x, y)), "{x},{y}");
        }
    }
    assert!(missing >= 200 && colours.len() >= 2, "the missing tile is marked: {missing} {colours:?}");
    assert_eq!(std::fs::read_dir(desk.path("tiles")).unwrap().count(), 15);
    assert!(!desk.path("tiles/tile-0-3.png").exists());
    desk.wait_until_tidy();
}

#[test]
fn a_task_that_fails_is_tried_twice_more_on_its_own() {
    let desk = Desk::new();
    let outcome = desk.run_faulty("panic:5", &format!("{SMALL} -v")).expect(1);
    assert_eq!(outcome.stderr.matches("task 5 starts on").count(), 3, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("(try 3 of 3)"), "{}", outcome.stderr);
    let outcome = desk.run_faulty("panic:5", &format!("{SMALL} -v --retries 1")).expect(1);
    assert_eq!(outcome.stderr.matches("task 5 starts on").count(), 2, "{}", outcome.stderr);
}

#[test]
fn a_task_that_takes_its_agent_down_five_times_has_failed_and_the_others_have_not() {
    let desk = Desk::new();
    let outcome = desk.run_faulty("abort:3", &format!("{SMALL} --json --retries 0")).expect(1);
    let summary = outcome.one_object();
    assert_eq!(summary["tasks"]["completed"], 15, "{summary}");
    assert_eq!(summary["tasks"]["failed"], 1, "{summary}");
    assert_eq!(summary["failures"][0]["tasks"], serde_json::json!([3]), "{summary}");
    assert_eq!(outcome.stderr.matches("starting it afresh").count(), 5, "{}", outcome.stderr);
    // The time that its tries took wasn't spent on encoding.
    let phases = &summary["phases"];
    let encoding = phases["encoding"].as_f64().unwrap();
    assert!(encoding < summary["seconds"].as_f64().unwrap() / 2.0, "{phases}");
    desk.wait_until_tidy();
}

#[test]
fn three_is_when_no_worker_can_be_used_or_too_few() {
    let desk = Desk::new();
    desk.write("none.toml", "[[host]]\ncommand = [\"false\"]\n");
    let outcome = desk.run(&format!("{SMALL} --cluster none.toml")).expect(3);
    assert!(outcome.stderr.contains("error: no usable worker"), "{}", outcome.stderr);
    assert!(!desk.path("mandelbrot.png").exists());
    let two = "[scheduler]\nmin_workers = 2\n[[host]]\nlocal = true\n[[host]]\ncommand = [\"false\"]\n";
    desk.write("two.toml", two);
    let outcome = desk.run(&format!("{SMALL} --cluster two.toml")).expect(3);
    assert!(outcome.stderr.contains("min_workers = 2"), "{}", outcome.stderr);
    assert!(!desk.path("mandelbrot.png").exists());
    desk.wait_until_tidy();
}

#[test]
fn four_is_when_there_is_no_state_directory() {
    let desk = Desk::new();
    let nowhere = "/proc/nowhere";
    let outcome = Running::start(desk.titan(SMALL).env("HOME", nowhere)).wait().expect(4);
    assert!(outcome.stderr.contains(nowhere) && outcome.stderr.contains("XDG_STATE_HOME"), "{}", outcome.stderr);
    let outcome = Running::start(desk.titan(SMALL).env("XDG_STATE_HOME", nowhere)).wait().expect(4);
    assert!(outcome.stderr.contains(nowhere), "{}", outcome.stderr);
    assert!(desk.work_files().is_empty());
}

/// Runs a shell script with a file system of 1 MiB at `small`, and titan as `$titan`.
fn with_small_disk(desk: &Desk, script: &str) -> Option<Running> {
    let probe = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    let answer = match probe {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("unshare: {error}")),
    };
    if skipped_for("a small disk needs mounts of one's own", answer) {
        return None;
    }
    let mut command = desk.command("unshare");
    let script = format!("mkdir -p small && mount -t tmpfs -o size=1m none small || exit 99\n{script}");
    command.args(["-m", "sh", "-c", &script]).env("titan", titan_tests::program::titan());
    Some(Running::start(&mut command))
}

#[test]
fn four_is_when_the_disk_is_too_small_from_the_start() {
    let desk = Desk::new();
    let script = "XDG_STATE_HOME=$PWD/small $titan run mandelbrot --size 2000x2000 -v";
    let Some(running) = with_small_disk(&desk, script) else { return };
    let outcome = running.wait().expect(4);
    assert!(outcome.stderr.contains("free") && outcome.stderr.contains("XDG_STATE_HOME"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("titan: hosts"), "it had begun: {}", outcome.stderr);
    let script = "$titan run mandelbrot --size 2000x2000 -v -o small/out.png; code=$?; ls -A small; exit $code";
    let outcome = with_small_disk(&desk, script).unwrap().wait().expect(4);
    assert!(outcome.stderr.contains("small has") && !outcome.stderr.contains("titan: hosts"), "{}", outcome.stderr);
    assert_eq!(outcome.text(), "", "nothing is left there");
    desk.wait_until_tidy();
}

#[test]
fn four_is_when_the_disk_fills_up_on_the_way() {
    let desk = Desk::new();
    let fill = "until grep -q 'starts on' log; do sleep 0.02; done; head -c 2m /dev/zero >small/fill 2>/dev/null";
    let end = "wait $!; code=$?; cat log; find small -name '.*' -o -name '*.png' | grep -v lock; exit $code";
    let run = "TITAN_TEST_FAULTS=slow:700 $titan run mandelbrot --size 400x400 --tiles 1x4 -v --palette titan";
    for (state, output) in [("$HOME/state", "small/out.png"), ("$PWD/small", "out.png")] {
        let script = format!("rm -f log; XDG_STATE_HOME={state} {run} -o {output} 2>log &\n{fill}; {end}");
        let Some(running) = with_small_disk(&desk, &script) else { return };
        let outcome = running.wait().expect(4);
        let said = outcome.text();
        assert!(said.contains("error: cannot write") && said.contains("No space left"), "{said}");
        assert!(!said.contains(".png\n") && !said.contains(".tmp\n"), "left behind: {said}");
        assert!(!desk.path("out.png").exists());
    }
    desk.wait_until_tidy();
}

#[test]
fn four_is_when_the_output_goes_away_on_the_way() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("there")).unwrap();
    let words = format!("{SMALL} -v -o there/out.png");
    let running = desk.start_faulty("slow:300", &words);
    std::fs::remove_dir_all(desk.path("there")).unwrap();
    let outcome = running.wait().expect(4);
    assert!(outcome.stderr.contains("there/out.png"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("space"), "the remedy is for another ill: {}", outcome.stderr);
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for words in [format!("{SMALL} -o -"), format!("{SMALL} --json"), "hosts --local".into(), "man".into()] {
        let outcome = Running::start_with_stdout(&mut desk.titan(&words), full()).wait().expect(4);
        assert!(outcome.stderr.contains("error: "), "{words}: {}", outcome.stderr);
    }
    desk.wait_until_tidy();
}

#[test]
fn a_hundred_and_more_are_when_a_signal_ended_it() {
    for (signal, code) in [(Signal::HUP, 129), (Signal::INT, 130), (Signal::TERM, 143)] {
        let desk = Desk::new();
        let mut running = desk.start_faulty("slow:20000", &format!("{SMALL} -v"));
        running.signal(signal);
        let outcome = running.wait().expect(code);
        outcome.assert_interrupted("0 of 16");
        desk.wait_until_tidy();
    }
}

#[test]
fn silently_a_hundred_and_forty_one_is_when_the_reader_left() {
    let desk = Desk::new();
    for words in ["run mandelbrot -q -o - --size 2048x2048", "man", "completions bash", "hosts --local --json"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let outcome = Running::start_with_stdout(&mut desk.titan(words), writer).wait().expect(141);
        assert_eq!(outcome.stderr, "", "{words}");
    }
    let head = "$titan run mandelbrot -q -o - --size 2048x2048 | head -c 10; echo ${PIPESTATUS[0]}";
    let mut command = desk.command("bash");
    let outcome = Running::start(command.args(["-c", head]).env("titan", titan_tests::program::titan())).wait();
    assert!(outcome.stdout.starts_with(b"\x89PNG\r\n\x1a\n") && outcome.text().ends_with("141\n"), "{outcome:?}");
    assert_eq!(outcome.stderr, "");
    desk.wait_until_tidy();
}

#[test]
fn a_stderr_that_nobody_reads_is_no_reason_to_end() {
    let desk = Desk::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = desk.titan(SMALL).stderr(writer).stdout(std::process::Stdio::null()).spawn().unwrap();
    wait_until(titan_tests::cli::PATIENCE, "titan ends", || matches!(child.try_wait(), Ok(Some(_))));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(read_png(&desk.path("mandelbrot.png")).dimensions(), (64, 64));
}
