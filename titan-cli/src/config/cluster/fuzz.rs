//! A target for fuzzing: cluster files that are almost right.

use std::path::Path;

use titan_fuzz::{Chance, mutate, run};

use super::{Cluster, Trust};

/// The file that people copy, with all that it has to say.
const EXAMPLE: &str = include_str!("../../../../cluster.toml.example");
/// What a file of one line may take.
const BOUND_BYTES: usize = 4 << 20;
/// Bytes in memory for a byte of a file, at most: each can be a value, and have a problem.
const GROWTH: usize = 2_048;

const PIECES: [&str; 34] = [
    "\n[[host]]\n",
    "[host]\n",
    "[defaults]\n",
    "[scheduler]\n",
    "[ssh]\n",
    "[state]\n",
    "ssh = 'ann@a:22'\n",
    "ssh = '-oProxyCommand=x'\n",
    "local = true\n",
    "command = ['sh']\n",
    "slots = 4\n",
    "memory = '4GiB'\n",
    "env = { A = 'b' }\n",
    "labels = ['a', 'b=c']\n",
    "resources = { gpu = 1 }\n",
    "setup = 'x'\n",
    "agent = 'x'\n",
    "workdir = '/w'\n",
    "lease = '10m'\n",
    "policy = 'least-loaded'\n",
    "jump_hosts = ['a', 'b']\n",
    "port = 22\n",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"\"\"",
    "=",
    ",",
    "\u{1b}[2J",
    "\u{0}",
    "99999999999999999999",
    "-1",
];

#[test]
fn cluster_files() {
    let example: String =
        EXAMPLE.lines().map(|line| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n").collect();
    let start = example.find("[[host]]").unwrap_or(0);
    let make = |chance: &mut Chance| {
        let whole = chance.once_in(4);
        let mut text = if whole { example[start..].to_owned() } else { chance.text(&PIECES, 30) };
        mutate::text(chance, &mut text, &PIECES);
        if chance.once_in(200) {
            text.push_str(&["[", "{a=", "a."][chance.below(3)].repeat(chance.below(100_000)));
        }
        (text, chance.once_in(2))
    };
    run(
        "cluster files",
        make,
        |(text, _)| BOUND_BYTES + GROWTH * text.len(),
        |(text, is_found)| {
            let trust = if is_found { Trust::Found } else { Trust::Named };
            match Cluster::parse(&text, Path::new("cluster.toml"), trust) {
                Ok(cluster) => assert_eq!(cluster.scheduler.check(), Ok(())),
                Err(error) => assert!(!error.to_string().replace('\n', "").chars().any(char::is_control)),
            }
        },
    );
}
