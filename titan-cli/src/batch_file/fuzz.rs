//! A target for fuzzing: batch files that are almost right.

use titan_fuzz::{Chance, mutate, run};

use super::tests::FILM;
use super::*;

/// What the outputs of arrays are held against each other in.
const BOUND_BYTES: usize = 256 << 20;
/// Bytes in memory for a byte of a file, at most: each can be a value, and have a problem.
const GROWTH: usize = 2_048;

/// None of them can name a file outside.
const PIECES: [&str; 40] = [
    "\n[[job]]\n",
    "[defaults]\n",
    "[job]",
    "name = 'a'\n",
    "shell = 'echo {n}'\n",
    "command = ['x', '{n:04}']\n",
    "kernel = 'weather'\n",
    "array = { n = [1, 2] }\n",
    "{ range = [1, 9] }",
    "{ geometric = [1, 2], count = 3 }",
    "{ linear = [0, 1], count = 2 }",
    "link = true\n",
    "after = ['frame']\n",
    "after = [{ job = 'a', each = true }]\n",
    "inputs = ['x{n}']\n",
    "outputs = ['o/{n}']\n",
    "outputs = ['*']\n",
    "env = { A = '{n}' }\n",
    "setup = 'x'\n",
    "where = 'a=b,!c'\n",
    "cpus = 2\n",
    "memory = '1G'\n",
    "timeout = '1s'\n",
    "retries = 3\n",
    "priority = -1\n",
    "resources = { gpu = 1 }\n",
    "rerun = 'anytime'\n",
    "[",
    "]",
    "{",
    "}",
    "{{",
    "}}",
    "'",
    "\"",
    "=",
    ",",
    "\u{1b}",
    "999999999999999999",
    "-1",
];

#[test]
fn batch_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.toml");
    let make = |chance: &mut Chance| {
        let whole = chance.once_in(2);
        let mut text = if whole { FILM.to_owned() } else { chance.text(&PIECES, 30) };
        mutate::text(chance, &mut text, &PIECES);
        if chance.once_in(200) {
            text.push_str(&["[", "{a=", "a."][chance.below(3)].repeat(chance.below(100_000)));
        }
        text
    };
    run(
        "batch files",
        make,
        |text| BOUND_BYTES + GROWTH * text.len(),
        |text| match parse(&path, "b.toml", &text, &Surroundings::default()) {
            Ok(file) => {
                for job in &file.jobs {
                    let count = u32::try_from(job.count()).unwrap_or(u32::MAX);
                    [0, count / 2, count.saturating_sub(1)].into_iter().filter(|index| *index < count).for_each(
                        |index| {
                            let values = job.values(index);
                            job.outputs.iter().for_each(|output| drop(output.text(&values, index)));
                            if let What::Shell(line) = &job.what {
                                line.line(&values, index);
                            }
                        },
                    );
                }
            }
            Err(error) => assert!(!error.to_string().replace('\n', "").chars().any(char::is_control)),
        },
    );
}
