//! The batch files of examples/, each run as it is.

use std::path::Path;

use titan_tests::cli::{Desk, Outcome};

fn desk() -> Desk {
    let desk = Desk::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        desk.write(entry.file_name().to_str().unwrap(), std::fs::read(entry.path()).unwrap());
    }
    desk
}

fn run(desk: &Desk, name: &str) -> Outcome {
    desk.run(&format!("batch --check {name}")).expect(0);
    desk.run(&format!("batch --dry-run {name}")).expect(0);
    desk.run(&format!("batch {name}")).expect(0)
}

fn lines(desk: &Desk, name: &str) -> Vec<String> {
    String::from_utf8(desk.read(name)).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn etl_loads_a_report_of_every_day() {
    let desk = desk();
    run(&desk, "etl.toml");
    let report = lines(&desk, "report.csv");
    assert_eq!(report[0], "day,product,sales,amount");
    let column = |line: &String, number: usize| line.split(',').nth(number).unwrap().to_owned();
    let mut days: Vec<String> = report[1..].iter().map(|line| column(line, 0)).collect();
    days.dedup();
    assert_eq!(days, ["1", "2", "3", "4", "5", "6", "7"]);
    let sales: u32 = report[1..].iter().map(|line| column(line, 2).parse::<u32>().unwrap()).sum();
    assert_eq!(sales, 15_000, "nothing is lost on the way");
}

#[test]
fn sweep_gathers_every_result() {
    let desk = desk();
    let outcome = run(&desk, "sweep.toml");
    assert_eq!(lines(&desk, "sweep.csv").len(), 1 + 3 * 2 * 10);
    assert_eq!(outcome.text().lines().count(), 6, "{}", outcome.text());
    assert!(lines(&desk, "means.csv")[0].starts_with("0,100,"));
}

#[test]
fn film_has_all_its_frames_and_says_what_became_of_them() {
    let desk = desk();
    let outcome = run(&desk, "film.toml");
    for frame in 1..=24 {
        assert!(desk.read(&format!("frames/{frame:04}.png")).starts_with(b"\x89PNG"));
    }
    let said = outcome.text();
    assert!(said.contains("no ffmpeg here") || said.contains("film.mp4"), "{said}");
}

#[test]
fn weather_spreads_more_where_the_first_error_was_larger() {
    let desk = desk();
    run(&desk, "weather.toml");
    let table = lines(&desk, "spread.csv");
    let spreads: Vec<f64> = table[1..].iter().map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(spreads.len(), 3, "{table:?}");
    assert!(0.0 < spreads[0] && spreads[0] < spreads[1] && spreads[1] < spreads[2], "{table:?}");
    for name in ["mean.png", "spread.png", "mean.npy", "spread.npy"] {
        assert!(!desk.read(&format!("ensembles/0.01/{name}")).is_empty());
    }
}

#[test]
fn the_files_of_the_reference_are_right_and_run() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/batch-file.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 2);
    let desk = Desk::new();
    desk.write("raw/one.txt", "word ".repeat(40));
    desk.write("raw/two.txt", "other ".repeat(40));
    for (number, block) in blocks.into_iter().enumerate() {
        let name = format!("{number}.toml");
        // Smaller pictures say as much.
        desk.write(&name, block.replace("640x360", "64x36"));
        run(&desk, &name);
    }
    let text: Vec<u8> = desk.read("all.txt").into_iter().filter(|byte| *byte != b'\n').collect();
    assert_eq!(text.len(), 2 * (40 * "word ".len() + 40 * "other ".len()), "both texts in both widths");
    assert!(desk.read("stamped/0048.png").starts_with(b"\x89PNG"));
}
