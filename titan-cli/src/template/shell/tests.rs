use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

fn holes(script: &str) -> Vec<Range<usize>> {
    script.match_indices("{}").map(|(at, _)| at..at + 2).collect()
}

/// The place of the first `{}` in a script.
fn place(script: &str) -> Result<ShellPlace, &'static str> {
    places(script.as_bytes(), &holes(script)[..1]).map(|places| places[0]).map_err(|refusal| refusal.reason)
}

/// The script with that value at all of its places.
fn filled(script: &str, value: &[u8]) -> Option<Vec<u8>> {
    let holes = holes(script);
    let places = places(script.as_bytes(), &holes).ok()?;
    let mut line = Vec::new();
    let mut from = 0;
    for (hole, place) in holes.iter().zip(places) {
        line.extend_from_slice(&script.as_bytes()[from..hole.start]);
        line.extend(quote(&[value.to_vec()], place));
        from = hole.end;
    }
    line.extend_from_slice(&script.as_bytes()[from..]);
    Some(line)
}

#[test]
fn places_are_told_apart() {
    use ShellPlace::{AfterMark, DoubleQuoted, Plain, SingleQuoted, Word};
    for (script, expected) in [
        ("echo {}", Word),
        ("echo a{}b", Plain),
        ("echo x={}", Plain),
        ("echo >&{}", Plain),
        ("echo a.{}", AfterMark),
        ("echo {}>x", Plain),
        ("echo \"a {} b\"", DoubleQuoted),
        ("echo 'a {} b'", SingleQuoted),
        ("echo \"it's {}\"", DoubleQuoted),
        ("echo '\"' {}", Word),
        ("echo \\' {}", Word),
        ("echo \"\\\"{}\"", DoubleQuoted),
        ("echo \"$(echo {})\"", Word),
        ("echo \"$(echo \"{}\")\"", DoubleQuoted),
        ("echo \"$(echo x) {}\"", DoubleQuoted),
        ("echo \"$( (echo x) ) {}\"", DoubleQuoted),
        ("echo ${x:-\"a\"} {}", Word),
        ("echo $((1 + (2))) {}", Word),
        ("echo \"$((1 + (2)))\" '{}'", SingleQuoted),
        ("echo a#b {}", Word),
        ("echo $(x)#'\n' {}", Word),
        ("# comment\necho {}", Word),
        ("echo `date` {}", Word),
        ("case x in x) echo {};; esac", Word),
        ("case x in x) echo \"$(echo d)\" '{}';; esac", SingleQuoted),
        ("p casey; p \"$(echo casey)\" '{}'", SingleQuoted),
        ("IFS=$'\\t' read a; echo {}", Word),
        ("cat <<< {}", Word),
        ("cat <<EOF > {}.txt\nhello\nEOF", Plain),
        ("echo \\\\{}", Plain),
        ("echo a \\\n {}", Word),
        ("ls file[0-9]{}", Plain),
        ("[ -f {} ]", Word),
    ] {
        assert_eq!(place(script), Ok(expected), "{script}");
    }
}

#[test]
fn places_that_no_quoting_helps_are_refused() {
    for script in [
        "echo `echo {}`",
        "echo # {}",
        "echo \\\n# {}",
        "cat <<EOF\n{}\nEOF",
        "cat <<{}\nx\nEOF",
        "cat <<E{}\nx\nEOF",
        "echo ${x:-{}}",
        "echo $((1 + {}))",
        "echo ${}",
        "echo $x$ ; echo ${}",
        "echo \\{}",
        "echo \"\\{}\"",
        "echo $(case x in x) echo {};; esac)",
        "p \"$(case x in x) echo d;; esac)\" '{}'",
        "p \"${x:-it's} {}\"",
        "p $'it\\'s' {}",
        "p $'{}'",
        "p `echo '`'` {}",
        "p $((echo a) | cat) {}",
        "p \"$[1]\" {}",
        "((x = {}))",
        "a[{}]=1",
        "p $\\\n(echo {})",
    ] {
        assert!(place(script).is_err(), "{script}");
    }
}

#[test]
fn several_values_are_words_only_where_they_stand_alone() {
    let values = [b"a".to_vec(), b"b c".to_vec()];
    assert_eq!(quote(&values, ShellPlace::Word), b"a 'b c'");
    assert_eq!(quote(&values, ShellPlace::Plain), b"'a b c'");
    assert_eq!(quote(&values, ShellPlace::DoubleQuoted), b"\"'a b c'\"");
}

#[test]
fn a_command_line_can_be_pasted() {
    let words = ["echo", "a b", "it's", "", "x=1", "if"].map(|word| word.as_bytes().to_vec());
    assert_eq!(String::from_utf8(for_paste(&words)).unwrap(), r"echo 'a b' 'it'\''s' '' 'x=1' 'if'");
}

/// What a shell prints, and whether anything ran that writes `PWNED` to its stderr or its folder.
fn run(shell: &str, line: &[u8]) -> (Vec<u8>, bool) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(shell);
    command.arg("-c").arg(OsStr::from_bytes(line)).stdin(Stdio::null()).current_dir(folder.path());
    let output = command.env("a", "VARIABLE").env("abc", "VARIABLE").output().unwrap();
    let is_pwned = folder.path().join("PWNED").exists();
    (output.stdout, is_pwned)
}

/// What a value would have to do to get out, for every place that could be read wrongly.
fn hostile() -> Vec<Vec<u8>> {
    let payloads = [
        "; >PWNED; ",
        "$(>PWNED)",
        "`>PWNED`",
        "'; >PWNED; '",
        "\"; >PWNED; \"",
        "'$(>PWNED)'",
        "\"$(>PWNED)\"",
        ") ; >PWNED; (",
        ")\"; >PWNED; \"",
        "'\n>PWNED\n'",
        "\n>PWNED\n",
        "}; >PWNED; {",
        "a[$(>PWNED)]",
        "bc",
        "root",
        "x\\",
        "\\'; >PWNED; '",
        "EOF\n>PWNED\n",
        "",
        "a b",
        "*",
        "é\u{7f}\t",
    ];
    payloads.iter().map(|payload| payload.as_bytes().to_vec()).collect()
}

fn without_last_newlines(value: &[u8]) -> &[u8] {
    let newlines = value.iter().rev().take_while(|byte| **byte == b'\n').count();
    &value[..value.len() - newlines]
}

/// Scripts that print their value alone on stdout between `<` and `>`, whatever else they do.
const SCRIPTS: [&str; 38] = [
    "p {}",
    "p \"{}\"",
    "p '{}'",
    "case x in x) p \"$(echo d)\" '{}';; esac",
    "p casey; p \"$(echo d)\" '{}'",
    "p \"$(case x in x) echo d;; esac)\" '{}'",
    "p \"$(case x in (x) echo d;; esac)\" '{}'",
    "p \"$(printf %s $((1+(2))) '{}')\"",
    "p \"$(printf %s $((1+(2))))\" '{}'",
    "p \"${x:-it's} {}\"",
    "p ${x:-\"it's\"} {}",
    "p ${x:-'}'} {}",
    "p \\ #'\n{}'",
    "p $'it\\'s' {}",
    "p $'a\\tb' {}",
    "p $'{}'",
    "p $\"a\" {}",
    "p $a{}",
    "p \"$a{}\"",
    "p ~{}",
    "x=~{}; p \"$x\"",
    "cat <<{}\nx\nEOF",
    "cat <<EOF {}\nx\nEOF",
    "p {} <<EOF\nx\nEOF",
    "p $(echo a # it's )\necho b) {}",
    "p $(echo x)#'\n' {}",
    "p `echo '`'` {}",
    "p `echo a` \"{}\"",
    "p \"$( (echo a) )\" \"{}\"",
    "p $((1 << 2)) {}",
    "p \"$(cat <<EOF\nx)\nEOF\n)\" {}",
    "p $( echo \\) ) '{}'",
    "p $((echo a) | cat) '{}'",
    "(p {})",
    "{ p {}; }",
    "p \"a\"'b'{}\"c\"",
    "x={}; p \"$x\"",
    "p \"`echo \\\"`\" {}",
];

#[test]
fn no_value_gets_out_of_a_script_in_any_shell() {
    let shells: Vec<&str> = ["sh", "dash", "bash"].into_iter().filter(|shell| run(shell, b":").0.is_empty()).collect();
    for script in SCRIPTS {
        for value in hostile() {
            let Some(line) = filled(&format!("p() {{ printf '<%s>' \"$@\"; }}\n{script}"), &value) else {
                continue;
            };
            for shell in &shells {
                let (stdout, is_pwned) = run(shell, &line);
                let shown = String::from_utf8_lossy(&line);
                assert!(!is_pwned, "{shell} ran a value: {shown}");
                // A substitution takes newlines from the end.
                let kept = without_last_newlines(&value);
                let arrived = kept.is_empty() || stdout.windows(kept.len()).any(|window| window == kept);
                assert!(arrived || script.starts_with("cat"), "{shell} has lost a value: {shown}");
                assert!(!String::from_utf8_lossy(&stdout).contains("/root"), "{shell}: {shown}");
            }
        }
    }
}

/// Pieces of which scripts are made that may mislead a reader.
const PIECES: [&str; 34] = [
    "{}",
    "{}",
    " {} ",
    "'",
    "'",
    "\"",
    "\"",
    "`",
    "$(",
    ")",
    "$((",
    "))",
    "${x:-",
    "}",
    "(",
    ")",
    "case x in x) ",
    ";; esac",
    "\\",
    "\n",
    " ",
    "#",
    "<<EOF",
    "EOF",
    "$",
    "$'",
    "a",
    ";",
    "|",
    "<",
    "((",
    "[",
    "=",
    "echo ",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_quoted_arrives_as_it_was(
        values in proptest::collection::vec(proptest::collection::vec(1_u8.., 0..12), 1..20),
        texts in proptest::collection::vec("[ -~\n\t'\"\\\\$`!*?~#;&|(){}\\[\\]=]{0,12}", 1..20),
    ) {
        let values: Vec<Vec<u8>> = values.into_iter().chain(texts.into_iter().map(String::into_bytes)).collect();
        let mut expected = Vec::new();
        let mut script = Vec::new();
        for value in &values {
            script.extend(filled("printf '%s\\0' {} x{}y \"{}\" '{}' \"a$(printf %s '{}')\"\n", value).unwrap());
            for (front, back) in [("", ""), ("x", "y"), ("", ""), ("", "")] {
                expected.extend([front.as_bytes(), value, back.as_bytes(), b"\0"].concat());
            }
            expected.extend([b"a", without_last_newlines(value), b"\0"].concat());
        }
        prop_assert_eq!(run("sh", &script).0, expected);
    }

    #[test]
    fn no_value_gets_out_of_a_script_made_of_pieces(
        pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 1..14),
    ) {
        let script = pieces.concat();
        if let Some(benign) = filled(&script, b"x") {
            // What the script does by itself isn't ours.
            for shell in ["dash", "bash"].into_iter().filter(|shell| !run(shell, &benign).1) {
                for value in hostile() {
                    let line = filled(&script, &value).unwrap();
                    prop_assert!(!run(shell, &line).1, "{} ran a value: {}", shell, String::from_utf8_lossy(&line));
                }
            }
        }
    }

    #[test]
    fn no_script_makes_it_panic(script in "[ -~\n]{0,60}") {
        let _ = places(script.as_bytes(), &holes(&script));
    }
}
