//! What titan prints for people to read: screens kept as files, and what must and mustn't be in any of them.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use titan_tests::cli::snapshot::assert_snapshot;
use titan_tests::cli::{COLUMNS, Desk};
use titan_tests::rig::availability::skipped_for;

/// Blanks before an option; what it means stands further to the right.
const MOST_INDENT: usize = 6;

/// Every screen of help, and the command that prints it.
const SCREENS: [(&str, &str); 20] = [
    ("help", "--help"),
    ("run_help", "run --help"),
    ("run_mandelbrot_help", "run mandelbrot --help"),
    ("run_mandelbrot_short_help", "run mandelbrot -h"),
    ("run_weather_help", "run weather --help"),
    ("map_help", "map --help"),
    ("batch_help", "batch --help"),
    ("resume_help", "resume --help"),
    ("batches_help", "batches --help"),
    ("status_help", "status --help"),
    ("logs_help", "logs --help"),
    ("cancel_help", "cancel --help"),
    ("export_help", "export --help"),
    ("clean_help", "clean --help"),
    ("hosts_help", "hosts --help"),
    ("init_help", "init --help"),
    ("bench_help", "bench --help"),
    ("completions_help", "completions --help"),
    ("man_help", "man --help"),
    ("overview", ""),
];

fn screen(words: &str) -> String {
    Desk::new().run(words).expect(0).text()
}

/// A text for each shell, the manual page, the file that `init` writes, and all screens.
fn everything_printed() -> Vec<(String, String)> {
    let desk = Desk::new();
    let mut texts: Vec<(String, String)> =
        SCREENS.iter().map(|(_, words)| (format!("titan {words}"), desk.run(words).expect(0).text())).collect();
    for words in ["man", "completions bash", "completions zsh", "completions fish"] {
        texts.push((format!("titan {words}"), desk.run(words).expect(0).text()));
    }
    let init = desk.run("init").expect(0);
    texts.push(("titan init".to_owned(), init.stderr));
    texts.push(("cluster.toml".to_owned(), String::from_utf8(desk.read("cluster.toml")).unwrap()));
    for words in ["run", "run ls", "run mandelbrot -j0", "run mandelbrot --size 0x0", "run mandelbrot --local x", "x"] {
        texts.push((format!("titan {words}"), desk.run(words).expect(2).stderr));
    }
    texts
}

#[test]
fn screens_of_help_are_as_they_were() {
    for (name, words) in SCREENS {
        assert_snapshot(name, &screen(words));
    }
}

#[test]
fn no_line_of_help_is_wider_than_the_terminal() {
    for (_, words) in SCREENS {
        for line in screen(words).lines() {
            // Examples aren't wrapped: they are to be copied.
            assert!(line.chars().count() <= COLUMNS.parse().unwrap(), "titan {words}: {line}");
        }
    }
}

/// The options below a heading, one text for each, however they are wrapped.
fn block(help: &str, heading: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != heading).skip(1);
    let mut options: Vec<String> = Vec::new();
    for line in lines.take_while(|line| line.is_empty() || line.starts_with(' ')) {
        let text = line.trim_start();
        let begins = text.starts_with('-') && line.len() - text.len() <= MOST_INDENT;
        match options.last_mut() {
            Some(option) if !begins => option.push_str(&format!(" {text}")),
            _ => options.push(text.to_owned()),
        }
    }
    options.iter().map(|option| option.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn where_to_run_is_said_the_same_way_everywhere() {
    let kernel = block(&screen("run mandelbrot -h"), "Where to run:");
    assert_eq!(kernel.len(), 4, "{kernel:?}");
    for option in ["--cluster", "--hosts", "--local", "--jobs"] {
        assert!(kernel.iter().any(|text| text.contains(option)), "{option}");
    }
    let others = ["map -h", "batch -h", "resume -h", "resume --help", "clean -h"];
    for words in ["run -h", "run --help", "run mandelbrot --help", "hosts -h", "hosts --help"].into_iter().chain(others)
    {
        assert_eq!(block(&screen(words), "Where to run:"), kernel, "titan {words}");
    }
}

#[test]
fn options_have_the_same_place_in_each_command() {
    for heading in ["Scheduling:", "Output:"] {
        let all = block(&screen("run -h"), heading);
        let kernel = block(&screen("run mandelbrot -h"), heading);
        for option in all {
            assert!(kernel.contains(&option), "{heading} {option} isn't in {kernel:?}");
        }
    }
    let hosts = block(&screen("hosts -h"), "Output:");
    assert!(hosts.iter().any(|option| option.starts_with("--json")), "{hosts:?}");
}

#[test]
fn titan_alone_says_how_to_begin_in_a_few_lines() {
    let text = screen("");
    assert!(text.lines().count() < 15, "{text}");
    let commands = commands();
    assert!(["run", "hosts", "init"].iter().all(|word| commands.contains(*word)), "{commands:?}");
    for (_, rest) in text.match_indices("titan ").map(|(at, found)| text.split_at(at + found.len())) {
        let word: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
        let is_command = commands.contains(&word);
        assert!(is_command || ["turns", ""].contains(&word.as_str()) || word == "COMMAND", "titan {word}");
    }
}

/// The commands that `titan --help` lists.
fn commands() -> BTreeSet<String> {
    let help = screen("--help");
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn titan_run_alone_lists_the_kernels() {
    let outcome = Desk::new().run("run").expect(2);
    assert!(outcome.stderr.contains("Kernels:\n  mandelbrot "), "{}", outcome.stderr);
    assert!(screen("run --help").contains("Kernels:\n  mandelbrot "));
}

#[test]
fn every_command_has_examples() {
    for words in [
        "run --help",
        "run mandelbrot --help",
        "run weather --help",
        "map --help",
        "batch --help",
        "resume --help",
        "batches --help",
        "status --help",
        "logs --help",
        "cancel --help",
        "export --help",
        "clean --help",
        "hosts --help",
        "init --help",
        "bench --help",
        "completions --help",
    ] {
        let text = screen(words);
        let (_, examples) = text.split_once("Examples:\n").unwrap_or_else(|| panic!("titan {words} has none"));
        assert!(examples.trim_start().starts_with("titan "), "titan {words}: {examples}");
        assert!(examples.starts_with("  titan "), "indented as everywhere, titan {words}: {examples}");
    }
}

#[test]
fn nothing_names_a_command_that_does_not_exist() {
    let commands = commands();
    for (source, text) in everything_printed() {
        for name in ["serve", "submit", "top"] {
            assert!(!commands.contains(name), "it exists: take it off this list");
            assert!(!text.contains(&format!("titan {name} ")), "{source} names titan {name}");
            assert!(!text.contains(&format!("titan {name}\n")), "{source} names titan {name}");
            assert!(!text.contains(&format!("'titan {name}'")), "{source} names titan {name}");
        }
    }
}

#[test]
fn nothing_names_an_option_that_does_not_exist() {
    let known: BTreeSet<String> = SCREENS.iter().flat_map(|(_, words)| options_in(&screen(words))).collect();
    for (source, text) in everything_printed() {
        // Completions and manual pages are made from the same list, with a syntax of their own.
        if source.contains("completions ") || source == "titan man" {
            continue;
        }
        // What others' programs are told to do is theirs.
        let own = text.lines().filter(|line| !line.contains("cargo ") && !line.contains("ssh-"));
        for option in own.flat_map(options_in) {
            assert!(known.contains(&option), "{source} names {option}");
        }
    }
}

/// Words that begin with two dashes.
fn options_in(text: &str) -> Vec<String> {
    let starts =
        text.match_indices("--").filter(|(at, _)| !text[..*at].ends_with(|c: char| c == '-' || c.is_alphanumeric()));
    let words =
        starts.map(|(at, _)| text[at + 2..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect());
    words.filter(|word: &String| word.len() > 1).map(|word| format!("--{word}")).collect()
}

#[test]
fn the_version_says_the_protocol() {
    let text = screen("--version");
    assert!(
        text.starts_with("titan ") && text.contains(&format!("protocol {}", titan_proto::PROTOCOL_VERSION)),
        "{text}"
    );
    assert!(text.contains("agent "), "and the agent that it would send: {text}");
    assert_eq!(text.lines().count(), 1);
    assert_eq!(screen("-V"), text);
}

/// What a program says to a text on its stdin; None, after a loud line, if it isn't installed.
fn told(program: &str, args: &[&str], text: &str) -> Option<(bool, String)> {
    let child = Command::new(program)
        .args(args)
        .env("MANWIDTH", "100")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            let _ = skipped_for(&format!("the program {program}"), Err(error.to_string()));
            return None;
        }
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Some((output.status.success(), said))
}

#[test]
fn completions_are_scripts_that_their_shells_take() {
    for (shell, args) in [("bash", ["-n"]), ("zsh", ["-n"]), ("fish", ["-n"])] {
        let script = screen(&format!("completions {shell}"));
        assert!(script.contains("mandelbrot") && script.contains("hosts"), "{shell}");
        if let Some((accepted, said)) = told(shell, &args, &script) {
            assert!(accepted && said.is_empty(), "{shell}: {said}");
        }
    }
    let desk = Desk::new();
    desk.run("completions tcsh").expect(2);
}

#[test]
fn the_manual_page_can_be_read() {
    let page = screen("man");
    for command in commands() {
        assert!(page.contains(&format!("titan-{command}")), "{command}");
    }
    let Some((_, shown)) = told("man", &["-l", "-"], &page) else { return };
    let text = shown.replace('\u{8}', "");
    for said in ["titan(1)", "mandelbrot", "WHERE TO RUN", "--center"] {
        assert!(text.contains(said), "no {said} in: {shown}");
    }
    assert!(!text.contains("warning"), "{shown}");
}
