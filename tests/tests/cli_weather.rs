//! `titan run weather`: four files with the mean and the spread of an ensemble, the same whoever computed its members.

use titan_tests::cli::picture::read_png;
use titan_tests::cli::{Desk, Outcome};

const SMALL: &str = "run weather --members 5 --grid 40x24 --steps 60";
const FILES: [&str; 4] = ["mean.npy", "mean.png", "spread.npy", "spread.png"];

/// The four files in a folder of the desk.
#[track_caller]
fn files(desk: &Desk, folder: &str) -> [Vec<u8>; 4] {
    FILES.map(|name| desk.read(&format!("{folder}/{name}")))
}

/// The shape and the numbers of a file of NumPy's that holds a matrix of little-endian f64.
fn array(desk: &Desk, name: &str) -> (String, Vec<f64>) {
    let bytes = desk.read(name);
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!(start % 64, 0, "data is aligned");
    let header = String::from_utf8_lossy(&bytes[10..start]).into_owned();
    assert!(header.starts_with("{'descr': '<f8', 'fortran_order': False, 'shape': ("), "{header}");
    let (_, shape) = header.split_once("'shape': ").expect("a header has a shape");
    let (shape, _) = shape.split_once(", }").expect("a shape ends");
    (shape.to_owned(), bytes[start..].as_chunks().0.iter().map(|value| f64::from_le_bytes(*value)).collect())
}

#[track_caller]
fn assert_refused(words: &str, said: &[&str]) -> Outcome {
    let desk = Desk::new();
    let outcome = desk.run(&format!("run weather {words}")).expect(2);
    assert!(outcome.stderr.starts_with("error: "), "{}", outcome.stderr);
    for word in said {
        assert!(outcome.stderr.contains(word), "no '{word}' in: {}", outcome.stderr);
    }
    assert!(outcome.stdout.is_empty() && desk.work_files().is_empty() && desk.home_files().is_empty());
    outcome
}

#[test]
fn four_files_are_written_with_the_shape_of_the_grid() {
    let desk = Desk::new();
    let outcome = desk.run(&format!("{SMALL} -o out")).expect(0);
    assert!(outcome.stderr.contains("5 tasks in"), "{}", outcome.stderr);
    let mut names: Vec<String> = std::fs::read_dir(desk.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, FILES);
    for name in ["mean", "spread"] {
        let (shape, values) = array(&desk, &format!("out/{name}.npy"));
        assert_eq!((shape.as_str(), values.len()), ("(24, 40)", 40 * 24));
        assert!(values.iter().all(|value| value.is_finite() && *value > 0.0));
        let picture = read_png(&desk.path(&format!("out/{name}.png")));
        assert_eq!(picture.dimensions(), (40, 24));
        assert!(picture.pixels().any(|pixel| pixel != picture.get_pixel(0, 0)), "{name} shows something");
    }
    desk.wait_until_tidy();
}

#[test]
fn the_bytes_are_the_same_however_the_members_are_shared_out() {
    let desk = Desk::new();
    desk.run(&format!("{SMALL} -q -o one --local 1")).expect(0);
    let expected = files(&desk, "one");
    for sharing in ["--local 2", "--local 3", "--local 2 -j 1 --policy round-robin", "--hosts 3/:"] {
        desk.run(&format!("{SMALL} -q -o other {sharing}")).expect(0);
        assert!(files(&desk, "other") == expected, "{sharing}");
    }
    // The first member is the last to come.
    desk.run_faulty("delay:0:500", &format!("{SMALL} -q -o other --local 2")).expect(0);
    assert!(files(&desk, "other") == expected);
    // On a processor with nothing special.
    let mut command = desk.titan(&format!("{SMALL} -q -o other"));
    titan_tests::cli::Running::start(command.env("TITAN_SIMD", "portable")).wait().expect(0);
    assert!(files(&desk, "other") == expected);
}

#[test]
fn another_seed_is_another_weather_and_without_perturbation_there_is_no_spread() {
    let desk = Desk::new();
    desk.run(&format!("{SMALL} -q -o first")).expect(0);
    desk.run(&format!("{SMALL} -q -o second --seed 2")).expect(0);
    for (first, second) in files(&desk, "first").iter().zip(&files(&desk, "second")) {
        assert!(first != second);
    }
    desk.run(&format!("{SMALL} -q -o still --perturb 0")).expect(0);
    assert!(array(&desk, "still/spread.npy").1.iter().all(|spread| *spread == 0.0));
}

#[test]
fn no_steps_are_the_start_and_a_lone_member_has_no_spread() {
    let desk = Desk::new();
    desk.run("run weather --members 1 --grid 8x9 --steps 0").expect(0);
    assert_eq!(desk.work_files(), ["weather"], "without a name the folder is weather");
    let (shape, mean) = array(&desk, "weather/mean.npy");
    assert_eq!(shape, "(9, 8)");
    assert!(mean.iter().all(|depth| (0.9..1.6).contains(depth)), "{mean:?}");
    assert!(array(&desk, "weather/spread.npy").1.iter().all(|spread| *spread == 0.0));
}

#[test]
fn a_member_that_failed_is_left_out_and_said() {
    let desk = Desk::new();
    let outcome = desk.run_faulty("panic:4", &format!("{SMALL} --json -o out --retries 0")).expect(1);
    let summary = outcome.one_object();
    assert_eq!(summary["failures"][0]["tasks"], serde_json::json!([4]), "{summary}");
    assert_eq!(summary["totals"], serde_json::json!({ "members": 4, "updates": 4 * 60 * 40 * 24 }), "{summary}");
    desk.run("run weather --members 4 --grid 40x24 --steps 60 -q -o four").expect(0);
    assert!(files(&desk, "out") == files(&desk, "four"));
}

#[test]
fn a_dry_run_has_a_line_for_each_member_and_writes_nothing() {
    let desk = Desk::new();
    let outcome = desk.run("run weather --members 3 --grid 512x256 --dry-run").expect(0);
    let lines: Vec<String> = (0..3).map(|i| format!("{i}\tmember {i}\t512x256 cells, 1000 steps")).collect();
    assert_eq!(outcome.text(), lines.join("\n") + "\n");
    assert!(desk.work_files().is_empty());
}

#[test]
fn values_outside_their_bounds_are_refused() {
    for members in ["0", "10001", "-1", "2.5", "many"] {
        assert_refused(&format!("--members {members}"), &["--members", members, "hint:", "20"]);
    }
    for grid in ["7x8", "8x7", "4097x8", "256", "x", "-8x8", "8x8x8"] {
        assert_refused(&format!("--grid {grid}"), &["--grid", grid, "hint:", "256x256"]);
    }
    for steps in ["1000001", "-1", "all"] {
        assert_refused(&format!("--steps {steps}"), &["--steps", steps, "hint:", "1000"]);
    }
    for seed in ["-1", "18446744073709551616", "x"] {
        assert_refused(&format!("--seed {seed}"), &["--seed", seed, "18446744073709551615"]);
    }
    for perturb in ["-0.1", "1.01", "nan", "inf", "little"] {
        assert_refused(&format!("--perturb {perturb}"), &["--perturb", "hint:", "0.01"]);
    }
    assert_refused("--size 8x8", &["--size"]);
}

#[test]
fn a_folder_that_cannot_be_is_refused() {
    assert_refused("-o -", &["--output", "stdout", "hint:"]);
    assert_refused("-o nowhere/out", &["--output", "mkdir -p nowhere"]);
    let desk = Desk::new();
    desk.write("file", "");
    let outcome = desk.run("run weather -o file").expect(2);
    assert!(outcome.stderr.contains("file is not a folder"), "{}", outcome.stderr);
    let outcome = titan_tests::cli::Running::start(desk.titan("run weather -o").arg("")).wait().expect(2);
    assert!(outcome.stderr.contains("--output"), "{}", outcome.stderr);
}

#[test]
fn a_grid_too_large_for_memory_is_refused_and_a_smaller_one_is_named() {
    let desk = Desk::new();
    desk.write("cluster.toml", "[[host]]\nlocal = true\nslots = 1\nmemory = \"64MiB\"\n");
    let outcome = desk.run("run weather --grid 2048x2048").expect(2);
    assert!(outcome.stderr.contains("memory") && outcome.stderr.contains("smaller --grid"), "{}", outcome.stderr);
}
