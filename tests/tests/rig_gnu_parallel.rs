//! The one-liners of docs/from-gnu-parallel.md, each run as it stands there, with GNU parallel beside titan where both must
//! print the same.

use std::collections::BTreeMap;

use titan_tests::cli::{Desk, Outcome, Running};
use titan_tests::rig::availability::skipped_for;

/// Fewer would mean that the document isn't read.
const LEAST_BLOCKS: usize = 40;

/// A fenced block: its word after `sh`, and its lines.
struct Block {
    kind: String,
    lines: Vec<String>,
}

fn blocks() -> Vec<Block> {
    let text = include_str!("../../docs/from-gnu-parallel.md");
    let parts = text.split("```sh ").skip(1);
    let block = |part: &str| {
        let body = part.split("```").next().unwrap();
        let mut lines = body.lines().map(str::to_owned);
        Block { kind: lines.next().unwrap(), lines: lines.collect() }
    };
    parts.map(block).collect()
}

fn desk() -> Desk {
    let desk = Desk::new();
    for (name, text) in [
        ("one.txt", "one\n"),
        ("two.txt", "two\ntwo\n"),
        ("a b.txt", "x\ny\n"),
        ("it's.txt", "z\n"),
        ("list", "first\nsecond line\nthird\n"),
        ("table.csv", "name,size\nsmall,1\nlarge,9\n"),
        ("table.txt", "a 1\nb 2\n"),
    ] {
        desk.write(name, text);
    }
    desk
}

fn run(line: &str) -> Outcome {
    let desk = desk();
    let bin = desk.path("../bin");
    std::fs::create_dir_all(&bin).unwrap();
    let _ = std::os::unix::fs::symlink(titan_tests::program::titan(), bin.join("titan"));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = desk.command("/bin/bash");
    command.args(["-c", line]).env("PATH", path);
    let home = desk.home().join(".parallel");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("will-cite"), "").unwrap();
    command.env("PARALLEL_HOME", home);
    command.stdin(std::process::Stdio::null());
    Running::start(&mut command).wait()
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn there_are_as_many_one_liners_as_were_promised() {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    blocks().into_iter().for_each(|block| *kinds.entry(block.kind).or_default() += 1);
    assert!(kinds.values().sum::<usize>() >= LEAST_BLOCKS, "{kinds:?}");
    assert!(kinds.keys().all(|kind| ["same", "lines", "titan"].contains(&kind.as_str())), "{kinds:?}");
}

#[test]
fn every_titan_line_does_something() {
    for block in blocks() {
        let line = block.lines.last().unwrap();
        assert!(line.contains("titan map"), "{line}");
        let outcome = run(line).expect(0);
        assert!(!outcome.stdout.is_empty() || block.kind == "titan", "{line} prints nothing; {}", outcome.stderr);
    }
}

#[test]
fn both_print_the_same() {
    let there = std::process::Command::new("parallel").arg("--version").output().map(drop);
    if skipped_for("GNU parallel", there.map_err(|error| error.to_string())) {
        return;
    }
    for block in blocks().into_iter().filter(|block| block.kind != "titan") {
        let [theirs, ours] = &block.lines[..] else { panic!("a block of two lines: {:?}", block.lines) };
        let (expected, found) = (run(theirs), run(ours));
        let (expected, found) = (expected.text(), found.text());
        assert!(!expected.is_empty(), "nothing to compare: {theirs}");
        if block.kind == "same" {
            assert_eq!(found, expected, "\n{theirs}\n{ours}");
        } else {
            assert_eq!(sorted(&found), sorted(&expected), "\n{theirs}\n{ours}");
        }
    }
}
