//! Bad input: what is said of it, word by word. Each case is one line of sh; its exit code and stderr are kept as a file.

use titan_tests::cli::snapshot::assert_snapshot;
use titan_tests::cli::{Desk, Running};

/// Files that cases read.
const FILES: [(&str, &str); 15] = [
    ("syntax.toml", "[[job]\nname = 1\n"),
    ("empty.toml", ""),
    ("keys.toml", "nam = 'x'\n[[job]]\nname = 'a'\nshel = 'x'\n[jobs]\n"),
    (
        "types.toml",
        "[[job]]\nname = 5\nshell = ['x']\nretries = 'many'\ntimeout = 'soon'\nmemory = '5 parsecs'\ncpus = 0\n",
    ),
    ("axes.toml", "[[job]]\nname = 'a'\nshell = 'x {m} {n:4}'\narray = { n = { range = [1, 'x'] }, M = [1] }\n"),
    (
        "sets.toml",
        "[[job]]\nname = 'a'\nshell = 'x'\narray = { a = { glob = 'none*' }, b = { lines = 'none' }, c = { linear = [1, 2] }, d = 7 }\n",
    ),
    (
        "cycle.toml",
        "[[job]]\nname = 'a'\nshell = 'x'\nafter = ['b']\n[[job]]\nname = 'b'\nshell = 'x'\nafter = ['a']\n",
    ),
    (
        "names.toml",
        "[[job]]\nname = '1'\nshell = 'x'\n[[job]]\nname = 'b'\nshell = 'x'\n[[job]]\nname = 'b'\nshell = 'x'\nafter = ['c', { each = true }]\n",
    ),
    (
        "files.toml",
        "[[job]]\nname = 'a'\nshell = 'x'\narray = { n = [1, 2] }\noutputs = ['out', '../up']\n[[job]]\nname = 'b'\nshell = 'x'\ninputs = ['out', 'none', '/etc/x', 5]\n",
    ),
    (
        "kernels.toml",
        "[[job]]\nname = 'a'\nkernel = 'mandelbort'\n[[job]]\nname = 'b'\nkernel = 'mandelbrot'\nparams = { widht = 1 }\n",
    ),
    (
        "what.toml",
        "[[job]]\nname = 'a'\n[[job]]\nname = 'b'\nshell = 'x'\ncommand = ['x']\nparams = {}\n[[job]]\nname = 'c'\ncommand = []\n",
    ),
    ("quoting.toml", "[[job]]\nname = 'a'\nshell = 'echo `echo {n}`'\narray = { n = [1] }\n"),
    ("cluster.toml.bad", "[[host]]\nnam = 'x'\nslots = -1\n"),
    ("values", "one\ntwo\n"),
    ("two words", "x"),
];

const CASES: [&str; 68] = [
    // Arguments of map.
    "map",
    "map ::: 1",
    "map 'echo {} | wc' ::: 1",
    "map -s 'echo {}' x ::: 1",
    "map echo {2} ::: 1",
    "map echo {3.} ::: 1 ::: 2",
    "map --link echo ::: 1 2 ::: 1",
    "map echo ::: 1 2 :::+ 1",
    "map --shuf --colsep , echo {name} {2} :::: values nowhere",
    "map echo :::: nowhere",
    "map echo :::: .",
    "map -d ab echo :::: values",
    "map -0 -d x echo :::: values",
    "map -n x echo ::: 1",
    "map --header x echo ::: 1",
    "map --stdin - cat",
    "map echo :::: - :::: -",
    "map -j0 echo ::: 1",
    "map -jx echo ::: 1",
    "map --local x echo ::: 1",
    "map --retries -1 echo ::: 1",
    "map --timeout soon echo ::: 1",
    "map --timeout -5 echo ::: 1",
    "map --memory lots echo ::: 1",
    "map --cpus 0 echo ::: 1",
    "map --nice 30 echo ::: 1",
    "map --halt sometimes echo ::: 1",
    "map --halt now,fail=0 echo ::: 1",
    "map --load x echo ::: 1",
    "map --resource gpu echo ::: 1",
    "map --resource gpu=x echo ::: 1",
    "map --where ',' echo ::: 1",
    "map --env NO_SUCH_VARIABLE echo ::: 1",
    "map --env =x echo ::: 1",
    "map --workdir nowhere echo ::: 1",
    "map --workdir . -i {} cat ::: values",
    "map --results values echo ::: 1",
    "map --json --tag echo ::: 1",
    "map --json --dry-run echo ::: 1",
    "map --no-such-option echo ::: 1",
    "map --pipe cat",
    "map -X echo ::: 1",
    "map --tmux echo ::: 1",
    "map --semaphore echo ::: 1",
    "map echo '{= $_++ =}' ::: 1",
    // Lines of sh.
    "map -s 'echo `{}`' ::: 1",
    "map -s 'echo # {}' ::: 1",
    "map -s 'echo ${}' ::: 1",
    "map -s 'cat <<{}' ::: 1",
    // Files.
    "map -i none cat ::: 1",
    "map -i {} cat ::: /etc/hostname",
    "map -i '*.none' cat ::: 1",
    "map -i {%} cat ::: 1",
    "map -o none true ::: 1",
    "map -o ../x true ::: 1",
    "map --base none true ::: 1",
    // Batch files.
    "batch nowhere.toml",
    "batch .",
    "batch syntax.toml",
    "batch empty.toml",
    "batch keys.toml",
    "batch types.toml",
    "batch axes.toml",
    "batch sets.toml",
    "batch cycle.toml",
    "batch names.toml",
    "batch files.toml",
    "batch kernels.toml",
];

const MORE: [&str; 9] = [
    "batch what.toml",
    "batch quoting.toml",
    "batch quoting.toml --only b",
    // Hosts.
    "map --hosts -x echo ::: 1",
    "map --hosts a,a echo ::: 1",
    "map --hosts '' echo ::: 1",
    "map --hosts 0/a echo ::: 1",
    "map --cluster nowhere.toml echo ::: 1",
    "map --cluster cluster.toml.bad echo ::: 1",
];

/// How long it took differs.
fn without_times(text: &str) -> String {
    let line = |line: &str| {
        let parts = [" tasks in ", " task in "].iter().find_map(|words| Some((line.split_once(words)?.0, words)));
        parts.map_or_else(|| format!("{line}\n"), |(front, words)| format!("{front}{words}… s\n"))
    };
    text.lines().map(line).collect()
}

#[test]
fn what_is_said_of_bad_input_is_as_it_was() {
    let mut screens = String::new();
    for case in CASES.iter().chain(&MORE) {
        let desk = Desk::new();
        for (name, text) in FILES {
            desk.write(name, text);
        }
        let mut command = desk.command("/bin/sh");
        command.args(["-c", &format!("\"$titan\" {case} < /dev/null")]).env("titan", titan_tests::program::titan());
        let outcome = Running::start(&mut command).wait();
        assert_ne!(outcome.code, 0, "titan {case}: nothing is wrong with it");
        assert!(outcome.stdout.is_empty(), "titan {case} prints: {}", outcome.text());
        assert!(!outcome.stderr.contains("panicked"), "titan {case}: {}", outcome.stderr);
        screens.push_str(&format!("$ titan {case}\n{}exit {}\n\n", without_times(&outcome.stderr), outcome.code));
    }
    assert_snapshot("bad_input", &screens);
}
