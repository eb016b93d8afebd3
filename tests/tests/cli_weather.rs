//! `titan run weather`: four files, the same whoever computed them.

use titan_tests::cli::Desk;

const FILES: [&str; 4] = ["mean.png", "spread.png", "mean.npy", "spread.npy"];
const SMALL: &str = "run weather --members 5 --grid 24x16 --steps 60 --seed 3";

fn files(desk: &Desk, folder: &str) -> Vec<Vec<u8>> {
    FILES.iter().map(|name| desk.read(&format!("{folder}/{name}"))).collect()
}

/// The numbers of a NumPy file, after its header.
fn numbers(npy: &[u8]) -> Vec<f64> {
    npy[128..].chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

#[test]
fn four_files_are_the_same_from_one_agent_or_three() {
    let desk = Desk::new();
    desk.run(&format!("{SMALL} --local=1 -o one")).expect(0);
    let one = files(&desk, "one");
    for agents in [2, 3] {
        desk.run(&format!("{SMALL} --local={agents} -o many{agents}")).expect(0);
        assert_eq!(files(&desk, &format!("many{agents}")), one, "{agents} agents");
    }
    desk.wait_until_tidy();
}

#[test]
fn arrays_are_as_numpy_writes_them_and_hold_the_water() {
    let desk = Desk::new();
    desk.run(&format!("{SMALL} -o w")).expect(0);
    let files = files(&desk, "w");
    let header = String::from_utf8_lossy(&files[2][10..128]).into_owned();
    assert!(files[2].starts_with(b"\x93NUMPY\x01\x00"), "{header}");
    assert!(header.contains("'descr': '<f8'") && header.contains("'shape': (16, 24)"), "{header}");
    let (mean, spread) = (numbers(&files[2]), numbers(&files[3]));
    assert_eq!((mean.len(), spread.len()), (24 * 16, 24 * 16));
    assert!(spread.iter().all(|value| *value >= 0.0) && spread.iter().any(|value| *value > 0.0));
    assert!(files[0].starts_with(b"\x89PNG") && files[1].starts_with(b"\x89PNG"));
    // Water is neither made nor lost: without steps there is as much.
    desk.run("run weather --members 5 --grid 24x16 --steps 0 --seed 3 -o start").expect(0);
    let before: f64 = numbers(&desk.read("start/mean.npy")).iter().sum();
    let after: f64 = mean.iter().sum();
    assert!((before - after).abs() < 1e-9 * before, "{before} {after}");
}

#[test]
fn without_a_perturbation_the_members_agree() {
    let desk = Desk::new();
    desk.run(&format!("{SMALL} --perturb 0 -o w")).expect(0);
    assert!(numbers(&desk.read("w/spread.npy")).iter().all(|value| *value == 0.0));
}

#[test]
fn a_dry_run_shows_each_member() {
    let desk = Desk::new();
    assert_eq!(desk.run(&format!("{SMALL} --dry-run")).expect(0).text().lines().count(), 5);
}

#[test]
fn values_beyond_their_bounds_are_refused() {
    let desk = Desk::new();
    for (words, option) in [
        ("--members 0", "--members"),
        ("--grid 4x4", "--grid"),
        ("--grid 10", "--grid"),
        ("--steps -1", "--steps"),
        ("--seed x", "--seed"),
        ("--perturb 2", "--perturb"),
        ("--perturb nan", "--perturb"),
    ] {
        let outcome = desk.run(&format!("run weather {words} -o w")).expect(2);
        assert!(outcome.stderr.starts_with(&format!("error: {option}")), "{words}: {}", outcome.stderr);
    }
    assert!(!desk.path("w").exists());
}
