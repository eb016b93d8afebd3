//! `titan batch` on this machine: jobs that wait for each other, arrays, kernels, files, outcomes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use titan_tests::cli::{Desk, Outcome};

fn desk(text: &str) -> Desk {
    let desk = Desk::new();
    desk.write("b.toml", text);
    desk
}

#[track_caller]
fn batch(text: &str, words: &str, code: i32) -> (Desk, Outcome) {
    let desk = desk(text);
    let outcome = desk.run(&format!("batch b.toml {words}")).expect(code);
    (desk, outcome)
}

const FILM: &str = r#"
[[job]]
name = "frame"
kernel = "mandelbrot"
array = { n = { range = [1, 4] }, w = { geometric = [3.0, 0.004], count = 4 } }
link = true
params = { center = "-0.746,0.102", width = "{w}", size = "64x36", iterations = 100 }
outputs = ["frames/{n:04}.png"]
[[job]]
name = "stamp"
command = ["./stamp.sh", "frames/{n:04}.png", "stamped/{n:04}.png"]
array = { n = { range = [1, 4] } }
after = [{ job = "frame", each = true }]
inputs = ["stamp.sh", "frames/{n:04}.png"]
outputs = ["stamped/{n:04}.png"]
[[job]]
name = "sound"
shell = "cat {wav} > snd/{wav/.}-{rate}.flac"
array = { wav = { glob = "sound/*.wav" }, rate = [44100, 48000] }
inputs = ["{wav}"]
outputs = ["snd/{wav/.}-{rate}.flac"]
[[job]]
name = "join"
shell = "cat stamped/*.png snd/*.flac | wc -c; ls stamped snd | wc -l"
inputs = [{ job = "stamp" }, { job = "sound" }]
"#;

fn film() -> Desk {
    let desk = desk(FILM);
    let script = desk.write("stamp.sh", "#!/bin/sh\ncp \"$1\" \"$2\"\n");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    desk.write("sound/a.wav", "aa");
    desk.write("sound/b b.wav", "bb");
    desk
}

#[test]
fn kernels_commands_and_what_gathers_them_make_one_film() {
    let desk = film();
    let outcome = desk.run("batch b.toml").expect(0);
    let bytes: usize = (1..=4).map(|n| desk.read(&format!("frames/{n:04}.png")).len()).sum();
    assert_eq!(outcome.text(), format!("{}\n11\n", bytes + 8));
    assert_eq!(desk.read("stamped/0003.png"), desk.read("frames/0003.png"));
    assert_eq!(desk.read("snd/b b-48000.flac"), b"bb");
    // A frame is what the kernel alone makes.
    desk.run("run mandelbrot --center -0.746,0.102 --width 0.004 --size 64x36 --iterations 100 -o 4.png").expect(0);
    assert_eq!(desk.read("4.png"), desk.read("frames/0004.png"));
    desk.wait_until_tidy();
}

#[test]
fn the_same_from_several_agents_and_with_several_tasks_a_frame() {
    let desk = film();
    desk.run("batch b.toml").expect(0);
    let frame = desk.read("frames/0002.png");
    let tiled = FILM.replace("iterations = 100", "iterations = 100, tiles = \"3x2\"");
    desk.write("b.toml", tiled);
    desk.run("batch b.toml --local=3").expect(0);
    assert_eq!(desk.read("frames/0002.png"), frame);
}

#[test]
fn one_job_can_be_run_alone() {
    let desk = film();
    let outcome = desk.run("batch b.toml --only join").expect(1);
    assert!(outcome.stderr.contains("its input 'stamped/0001.png' isn't there"), "{}", outcome.stderr);
    desk.run("batch b.toml").expect(0);
    assert!(desk.run("batch b.toml --only join").expect(0).text().ends_with("11\n"));
    let outcome = desk.run("batch b.toml --only jion").expect(2);
    assert!(outcome.stderr.contains("did you mean 'join'?"), "{}", outcome.stderr);
}

const FAILS: &str = r#"
[[job]]
name = "a"
shell = "test {n} != 2 || { echo broken >&2; exit 3; }"
array = { n = [1, 2, 3] }
[[job]]
name = "b"
shell = "echo b {n}"
array = { n = [1, 2, 3] }
after = [{ job = "a", each = true }]
[[job]]
name = "c"
shell = "echo c"
after = ["b"]
[[job]]
name = "d"
shell = "echo d"
after = [{ job = "b", when = "ended" }]
"#;

#[test]
fn what_waits_for_a_failure_is_cancelled_and_says_so() {
    let (_, outcome) = batch(FAILS, "", 1);
    let mut lines: Vec<String> = outcome.text().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["b 1", "b 3", "d"]);
    for said in [
        "1 task FAILED on localhost: exit 3 (task a 2)",
        "stderr: broken",
        "one alone: titan batch --only a:2 b.toml",
        "1 task CANCELLED: task 2 of a FAILED (task b 2)",
        "1 task CANCELLED: task 2 of b CANCELLED (task c)",
    ] {
        assert!(outcome.stderr.contains(said), "no '{said}' in: {}", outcome.stderr);
    }
}

#[test]
fn jobs_run_in_the_files_folder_with_their_environment() {
    let desk = Desk::new();
    desk.write("sub/data", "text");
    desk.write(
        "sub/b.toml",
        "[defaults]\nenv = { A = 'one', B = 'two' }\n[[job]]\nname = 'a'\nshell = 'cat data; echo $A $B {n}'\n\
         array = { n = ['it''s'] }\nenv = { B = '{n}' }\nstdin = 'data'\n"
            .replace("it''s", "x y"),
    );
    assert_eq!(desk.run("batch sub/b.toml").expect(0).text(), "textone x y x y\n");
    desk.write("sub/b.toml", "base = '..'\n[[job]]\nname = 'a'\nshell = 'ls'\n");
    assert_eq!(desk.run("batch sub/b.toml").expect(0).text(), "sub\n");
}

#[test]
fn higher_priorities_go_first() {
    let job =
        |name: &str, priority: i32| format!("[[job]]\nname = '{name}'\nshell = 'echo {name}'\npriority = {priority}\n");
    let text = ["low", "middle", "high"].into_iter().zip([-1, 0, 5]).map(|(name, p)| job(name, p)).collect::<String>();
    assert_eq!(batch(&text, "-j1", 0).1.text(), "high\nmiddle\nlow\n");
}

#[test]
fn an_input_may_get_another_name_and_outputs_may_be_patterns() {
    let text = "[[job]]\nname = 'a'\nshell = 'mkdir o; for n in 1 2 3; do cat in/x > o/$n.txt; done'\n\
                inputs = [{ from = 'data', to = 'in/x' }]\noutputs = ['o/*.txt']\n\
                [[job]]\nname = 'b'\nshell = 'cat o/*.txt'\ninputs = [{ job = 'a' }]\n";
    let desk = desk(text);
    desk.write("data", "x");
    assert_eq!(desk.run("batch b.toml").expect(0).text(), "xxx");
    assert_eq!(desk.read("o/3.txt"), b"x");
}

#[test]
fn a_dry_run_shows_each_task_and_runs_none() {
    let desk = film();
    let outcome = desk.run("batch b.toml --dry-run").expect(0);
    let text = outcome.text();
    assert_eq!(text.lines().count(), 13, "{text}");
    assert!(
        text.contains("titan run mandelbrot --center -0.746,0.102 --iterations 100 --size 64x36 --tiles 1x1 --width 3")
    );
    assert!(text.contains("./stamp.sh frames/0002.png stamped/0002.png\n"), "{text}");
    assert!(
        outcome.stderr.contains(
            "stamp: 4 tasks, after frame; a task that is slow or whose host falls silent may run on another one too"
        ),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("task 3: 1 file, 2 B"), "{}", outcome.stderr);
    assert!(!desk.path("frames").exists());
}

#[test]
fn a_file_is_checked_and_nothing_is_run() {
    let desk = film();
    let outcome = desk.run("batch b.toml --check").expect(0);
    assert_eq!((outcome.text(), &outcome.stderr[..]), (String::new(), "b.toml: 4 jobs, 13 tasks, nothing wrong\n"));
    assert!(!desk.path("frames").exists());
    desk.write("b.toml", FILM.replace("kernel = \"mandelbrot\"", "kernel = \"mandelbrot\"\nretires = 3"));
    let outcome = desk.run("batch b.toml --check").expect(2);
    assert!(outcome.stderr.contains("did you mean 'retries'?"), "{}", outcome.stderr);
}

#[test]
fn json_is_one_summary() {
    let (_, outcome) = batch(FAILS, "--json", 1);
    let text = outcome.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("\"type\":\"summary\"") && text.contains("\"cancelled\":2"), "{text}");
}

#[test]
fn json_names_all_that_is_in_place() {
    let desk = film();
    let text = desk.run("batch b.toml --json").expect(0).text();
    let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let outputs: Vec<&str> = summary["outputs"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    assert_eq!(outputs.len(), 12, "{outputs:?}");
    assert!(outputs.contains(&"frames/0001.png") && outputs.contains(&"snd/b b-44100.flac"), "{outputs:?}");
}

#[test]
fn a_run_of_a_kernel_that_cannot_be_is_refused_with_its_place_before_anything_starts() {
    let text = FILM.replace("geometric = [3.0, 0.004]", "geometric = [3.0, 1e-20]");
    let desk = film();
    desk.write("b.toml", text);
    let outcome = desk.run("batch b.toml").expect(2);
    assert!(outcome.stderr.contains("job 'frame', run 4: --width"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("| params = {"), "{}", outcome.stderr);
}

#[test]
fn a_run_that_cannot_be_planned_fails_its_own_tasks_alone() {
    let job = "[[job]]\nname = 'a'\nkernel = 'mandelbrot'\narray = { w = { lines = 'w.txt' } }\nretries = 0\n\
               params = { width = '{w}', size = '8x8', iterations = 5 }\noutputs = ['o/{#}.png']\n";
    let desk = desk(job);
    // More than are looked at before anything starts.
    desk.write("w.txt", "1\n".repeat(1_000) + "-1\n2\n");
    let outcome = desk.run("batch b.toml").expect(1);
    assert!(outcome.stderr.contains("1 task FAILED on localhost: --width: -1 is not a positive"), "{}", outcome.stderr);
    assert!(desk.path("o/1000.png").exists() && desk.path("o/1002.png").exists() && !desk.path("o/1001.png").exists());
}

#[test]
fn a_run_whose_picture_cannot_be_written_is_told_and_the_others_go_on() {
    let desk = desk(
        "[[job]]\nname = 'frame'\nkernel = 'mandelbrot'\narray = { n = { range = [1, 4] } }\n\
         params = { size = '64x64', tiles = '2x1' }\noutputs = ['f/{n}.png']\n",
    );
    std::fs::create_dir_all(desk.path("f/3.png")).unwrap();
    let outcome = desk.run("batch b.toml").expect(4);
    // By the one that ends last.
    let said = |tile: &str| format!("titan: task frame 3 ({tile}) on localhost: cannot write its output");
    assert!(["1 of 2", "2 of 2"].iter().any(|tile| outcome.stderr.contains(&said(tile))), "{}", outcome.stderr);
    for picture in ["f/1.png", "f/2.png", "f/4.png"] {
        assert!(desk.read(picture).starts_with(b"\x89PNG"), "{picture}");
    }
    let files = std::fs::read_dir(desk.path("f")).unwrap().count();
    assert_eq!(files, 4, "nothing temporary is left");
    desk.wait_until_tidy();
}

#[test]
fn setups_that_run_at_once_do_not_get_into_each_others_way() {
    let job = |name: &str| {
        format!(
            "[[job]]\nname = '{name}'\nsetup = 'export S={name}'\nshell = 'echo {name} $S {{n}}'\n\
             array = {{ n = {{ range = [1, 4] }} }}\n"
        )
    };
    for _ in 0..5 {
        let (_, outcome) = batch(&["a", "b", "c"].map(job).concat(), "-j 6", 0);
        assert!(outcome.text().lines().all(|line| line.as_bytes()[0] == line.as_bytes()[2]), "{}", outcome.text());
    }
}

#[test]
fn a_setup_has_its_jobs_variables() {
    let text = "[[job]]\nname = 'a'\nenv = { PLACE = 'there' }\nsetup = 'export IN=$PLACE.$TITAN_JOB_ID'\nshell = 'echo $IN'\n";
    assert_eq!(batch(text, "", 0).1.text(), "there.a\n");
}

#[test]
fn a_workdir_may_differ_from_task_to_task() {
    let job = "[[job]]\nname = 'a'\nshell = 'pwd; echo x > made'\nworkdir = 'in/{d}'\narray = { d = ['one', 'two'] }\n";
    let desk = desk(job);
    for folder in ["in/one", "in/two"] {
        std::fs::create_dir_all(desk.path(folder)).unwrap();
    }
    let outcome = desk.run("batch b.toml").expect(0);
    assert!(outcome.text().contains("in/one\n") && outcome.text().contains("in/two\n"), "{}", outcome.text());
    assert!(desk.path("in/one/made").exists() && desk.path("in/two/made").exists());
}

#[test]
fn a_kernel_that_takes_longer_than_it_may_fails() {
    let job = "[[job]]\nname = 'slow'\nkernel = 'mandelbrot'\ntimeout = '300ms'\nretries = 0\n\
               params = { center = '-0.743643887037151,0.131825904205330', width = 5e-8, size = '4000x4000', iterations = 50000 }\n\
               outputs = ['slow.png']\n";
    let (desk, outcome) = batch(job, "", 1);
    assert!(outcome.stderr.contains("1 task FAILED on localhost: timed out after 300ms"), "{}", outcome.stderr);
    assert!(!desk.path("slow.png").exists());
}

#[test]
fn one_of_an_array_can_be_run_alone() {
    let job = "[[job]]\nname = 'a'\nshell = 'echo {x} {#} > {x}.txt'\narray = { x = ['p', 'q', 'r'] }\noutputs = ['{x}.txt']\n";
    let (desk, _) = batch(job, "--only a:2", 0);
    assert_eq!(desk.read("q.txt"), b"q 2\n");
    assert!(!desk.path("p.txt").exists() && !desk.path("r.txt").exists());
    let outcome = desk.run("batch --only a:4 b.toml").expect(2);
    assert!(outcome.stderr.contains("job 'a' has no task 4"), "{}", outcome.stderr);
}

#[test]
fn folders_keep_their_modes_and_times_and_empty_ones_go_on_to_who_is_given_them() {
    let jobs = "[[job]]\nname = 'a'\nshell = 'mkdir -p d/empty; echo x > d/f; chmod 700 d; touch -d 2001-02-03 d'\n\
                outputs = ['d']\n[[job]]\nname = 'b'\nshell = 'ls d > seen'\ninputs = [{ job = 'a' }]\noutputs = ['seen']\n";
    let (desk, _) = batch(jobs, "", 0);
    assert_eq!(desk.read("seen"), b"empty\nf\n");
    let data = std::fs::metadata(desk.path("d")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&data) & 0o777, 0o700);
    let changed = data.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(changed.as_secs() < 40 * 365 * 24 * 3_600, "{changed:?}");
}

#[test]
fn a_task_alone_runs_as_it_runs_among_the_others() {
    let jobs = "[[job]]\nname = 'a'\nshell = 'echo $TITAN_TASK_ID {#}; pwd'\narray = { x = ['p', 'q'] }\nworkdir = 'in'\n\
                [[job]]\nname = 'b'\nshell = 'echo > out'\noutputs = ['out']\n";
    let desk = desk(jobs);
    std::fs::create_dir(desk.path("in")).unwrap();
    let whole = desk.run("batch b.toml").expect(0).text();
    let alone = desk.run("batch --only a:2 b.toml").expect(0).text();
    assert!(alone.starts_with("2 2\n") && alone.ends_with("/in\n"), "{alone}");
    assert!(whole.contains(&alone), "{whole}");
}

#[test]
fn a_kernels_picture_is_given_to_who_waits_wherever_it_lies() {
    let jobs = "[[job]]\nname = 'a'\nkernel = 'mandelbrot'\nparams = { size = '16x16', iterations = 20 }\n\
                outputs = ['../work/./f.png']\n[[job]]\nname = 'b'\nshell = 'ls > seen'\n\
                inputs = [{ job = 'a' }]\noutputs = ['seen']\n";
    let (desk, _) = batch(jobs, "", 0);
    assert_eq!(desk.read("seen"), b"f.png\nseen\n");
}

#[test]
fn failures_of_one_kind_are_one_line() {
    let job = "[[job]]\nname = 'a'\nshell = 'true {n}'\narray = { n = { range = [1, 30] } }\noutputs = ['o/{n}']\n\
               [[job]]\nname = 'b'\nshell = 'true {n}'\narray = { n = { range = [1, 30] } }\n\
               after = [{ job = 'a', each = true }]\n";
    let (_, outcome) = batch(job, "", 1);
    assert!(outcome.stderr.contains("30 tasks FAILED on localhost: it made no output o/"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("30 tasks CANCELLED: task "), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches(", and the like").count(), 2, "{}", outcome.stderr);
}
