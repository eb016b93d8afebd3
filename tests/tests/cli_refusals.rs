//! What can't be done is refused with exit code 2, a reason and a remedy, before anything starts.

use std::os::unix::process::CommandExt;

use titan_tests::cli::terminal::Terminal;
use titan_tests::cli::{Desk, Outcome, Running};
use titan_tests::rig::availability::skipped_for;

/// Runs `titan run mandelbrot WORDS` and expects a refusal that holds all these words, and that nothing was begun.
#[track_caller]
fn assert_refused(words: &str, said: &[&str]) {
    let desk = Desk::new();
    let outcome = desk.run(&format!("run mandelbrot {words}"));
    assert_refusal(&desk, &outcome, said);
    assert!(desk.work_files().is_empty(), "{words} left {:?}", desk.work_files());
}

#[track_caller]
fn assert_refusal(desk: &Desk, outcome: &Outcome, said: &[&str]) {
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert!(outcome.stderr.starts_with("error: "), "{}", outcome.stderr);
    assert!(outcome.stdout.is_empty(), "{}", outcome.text());
    for word in said {
        assert!(outcome.stderr.contains(word), "no '{word}' in: {}", outcome.stderr);
    }
    assert!(desk.home_files().is_empty(), "a batch was begun: {:?}", desk.home_files());
}

#[test]
fn a_width_that_numbers_cannot_resolve_is_refused_with_one_that_they_can() {
    assert_refused("--width 1e-15", &["--width", "too narrow", "hint:", "or fewer pixels"]);
    assert_refused("--width 1e-12 --size 100000x100", &["--width", "100000 columns", "hint:"]);
    assert_refused("--center 1e5,0 --width 1e-9", &["--width", "hint:"]);
    for width in ["0", "-3", "nan", "inf", "1e7"] {
        assert_refused(&format!("--width {width}"), &["--width", "positive", "hint:"]);
    }
    assert_refused("--width wide", &["--width", "'wide'", "hint:"]);
}

#[test]
fn a_size_that_is_nothing_or_absurd_is_refused() {
    for size in ["0x10", "10x0", "0x0", "2000000x10", "10x2000000", "4294967295x4294967295"] {
        assert_refused(&format!("--size {size}"), &["--size", "pixels", "hint:"]);
    }
    assert_refused("--size 1000000x1000000", &["--size", "131072x131072"]);
    for size in ["12", "x", "-4x4", "4x4x4", "99999999999999999999x1", "4.5x4"] {
        assert_refused(&format!("--size {size}"), &["--size", &format!("'{size}'"), "4096x4096"]);
    }
}

#[test]
fn iterations_and_centres_beyond_all_bounds_are_refused() {
    for iterations in ["0", "4294967295", "-5", "many"] {
        assert_refused(&format!("--iterations {iterations}"), &["--iterations", "1000"]);
    }
    for center in ["1", "1,", "a,b", "nan,0", "0,inf", "1e9,0"] {
        assert_refused(&format!("--center {center}"), &["--center", "-0.746,0.102"]);
    }
}

#[test]
fn more_tiles_than_pixels_are_refused() {
    assert_refused("--size 16x16 --tiles 17x2", &["--tiles", "17x2", "16x16", "--tiles auto"]);
    assert_refused("--size 16x16 --tiles 0x2", &["--tiles", "--tiles auto"]);
    assert_refused("--size 4096x4096 --tiles 4096x4096", &["--tiles", "--tiles auto"]);
    assert_refused("--tiles many", &["--tiles", "'many'", "auto"]);
}

#[test]
fn tiles_too_large_for_memory_are_refused_and_auto_is_named() {
    assert_refused("--size 65536x65536 --tiles 1x1", &["--tiles", "--tiles auto"]);
    assert_refused("--size 32768x32768 --tiles 1x1 -j 4096", &["memory", "--tiles auto"]);
    let desk = Desk::new();
    desk.write("cluster.toml", "[[host]]\nlocal = true\nslots = 1\nmemory = \"2MiB\"\n");
    let outcome = desk.run("run mandelbrot --size 1024x1024 --tiles 1x1");
    assert_refusal(&desk, &outcome, &["memory", "--tiles auto"]);
}

#[test]
fn names_that_do_not_exist_are_refused_with_the_near_miss() {
    assert_refused("--view seahorze", &["--view", "'seahorse'"]);
    assert_refused("--palette fir", &["--palette", "'fire'"]);
    assert_refused("--policy least-loded", &["--policy", "'least-loaded'"]);
    assert_refused("--progress bars", &["--progress", "'bar'"]);
    assert_refused("--sizes 1x1", &["--size"]);
    assert_refused("--view nowhere", &["full", "titan", "seahorse", "elephant", "spiral", "minibrot"]);
}

#[test]
fn a_program_that_is_no_kernel_is_refused_with_the_kernels_that_there_are() {
    let desk = Desk::new();
    for (name, near) in [("ls", None), ("mandelbort", Some("'mandelbrot'")), ("", None)] {
        let outcome = Running::start(desk.titan("run").arg(name)).wait();
        assert_refusal(&desk, &outcome, &["titan run is for kernels", "mandelbrot"]);
        assert!(near.is_none_or(|near| outcome.stderr.contains(near)), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("\n\n\n"), "a hole in the message: {}", outcome.stderr);
        let remedy = if name == "ls" { "for a command: titan map -- ls\n" } else { "titan run --help" };
        assert!(outcome.stderr.contains(remedy), "no remedy: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("Usage: titan [COMMAND]"), "another's usage: {}", outcome.stderr);
    }
    assert_refusal(&desk, &desk.run("frobnicate"), &["frobnicate"]);
}

#[test]
fn an_output_that_cannot_be_written_is_refused() {
    assert_refused("-o nowhere/x.png", &["--output", "nowhere", "mkdir -p nowhere"]);
    assert_refused("--counts nowhere/x.npy", &["--counts", "nowhere"]);
    assert_refused("--tiles-dir a/b", &["--tiles-dir", "mkdir -p a"]);
    assert_refused("-o /", &["--output", "folder"]);
    assert_refused("-o ..", &["--output", "folder"]);
    let desk = Desk::new();
    let outcome = Running::start(desk.titan("run mandelbrot -o").arg("")).wait();
    assert_refusal(&desk, &outcome, &["--output"]);
    desk.write("file", "");
    assert_refusal(&desk, &desk.run("run mandelbrot --tiles-dir file"), &["--tiles-dir", "not a folder"]);
    assert_refusal(&desk, &desk.run("run mandelbrot -o file/x.png"), &["--output", "file"]);
}

#[test]
fn a_folder_that_this_user_may_not_write_is_refused() {
    let needs_root = match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err("this user isn't root".to_owned()),
    };
    if skipped_for("becoming another user", needs_root) {
        return;
    }
    let desk = Desk::new();
    std::os::unix::fs::chown(desk.home(), Some(54_321), Some(54_321)).unwrap();
    open_to_all(desk.home().parent().unwrap());
    let mut command = desk.titan("run mandelbrot -o out.png --size 8x8");
    let outcome = match command.uid(54_321).gid(54_321).output() {
        Ok(output) => output,
        Err(error) => {
            let _ = skipped_for("titan that any user may run", Err(error.to_string()));
            return;
        }
    };
    let stderr = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert_eq!(outcome.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("--output: the folder . can't be written"), "{stderr}");
    assert!(desk.home_files().is_empty());
}

fn open_to_all(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn two_outputs_in_one_place_are_refused() {
    assert_refused("-o - --counts -", &["stdout"]);
    assert_refused("--size 8x8 -o a.png --counts a.png", &["a.png"]);
    assert_refused("--size 8x8 -o a.png --counts ./a.png", &["a.png"]);
}

#[test]
fn a_picture_on_the_terminal_or_amid_json_is_refused() {
    let desk = Desk::new();
    let terminal = Terminal::open();
    let mut command = desk.titan("run mandelbrot -o - --size 8x8");
    let outcome = Running::start_with_stdout(&mut command, terminal.stream()).wait();
    assert_refusal(&desk, &outcome, &["terminal", "hint:"]);
    assert_eq!(terminal.received(), "");
    assert_refused("-o - --json", &["--json", "hint:"]);
}

#[test]
fn hosts_that_cannot_be_are_refused() {
    for (hosts, said) in [
        ("a,,b", "empty host"),
        (",", "empty host"),
        ("a,a", "twice"),
        (":,:", "twice"),
        ("0/a", "slots"),
        ("4/", "no host"),
        ("-oProxyCommand=x", "begins with '-'"),
        ("a:99999", "port"),
        ("me@", "host"),
        ("[::1", "]"),
    ] {
        assert_refused(&format!("--hosts={hosts}"), &["--hosts", said]);
    }
    assert_refused("--cluster nofile.toml", &["nofile.toml", "hint:"]);
}

#[test]
fn slots_and_agents_that_are_no_number_are_refused_with_what_to_write() {
    assert_refused("-j0", &["--jobs", "write the number of tasks"]);
    assert_refused("-j 0%", &["--jobs"]);
    assert_refused("--slots many", &["--jobs", "50%"]);
    assert_refused("-j 999999", &["--jobs"]);
    assert_refused("--local=0", &["--local", "1 to"]);
    assert_refused("--local=99999", &["--local", "1 to"]);
    let desk = Desk::new();
    let outcome = desk.run("run --local mandelbrot");
    assert_refusal(&desk, &outcome, &["--local=N", "titan run KERNEL --local"]);
}

#[test]
fn times_that_do_not_fit_together_are_refused_with_ones_that_do() {
    assert_refused("--heartbeat 30s", &["unhealthy_after", "--unhealthy-after 90s"]);
    assert_refused("--unhealthy-after 10s", &["heartbeat", "--unhealthy-after"]);
    assert_refused("--lease 40s", &["lease", "--lease 60s"]);
    assert_refused("--heartbeat 0", &["heartbeat", "too short"]);
    assert_refused("--heartbeat 10parsecs", &["--heartbeat", "parsecs"]);
    assert_refused("--retries -1", &["--retries"]);
    assert_refused("-q -v", &["--quiet", "--verbose"]);
}
