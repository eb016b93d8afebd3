//! How a value is quoted at its place in a line of `sh`, so that the task sees its exact bytes; and where that can't be done.

use std::ops::Range;

/// What surrounds a place in a line of `sh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShellPlace {
    Plain,
    DoubleQuoted,
    SingleQuoted,
}

/// A place where no quoting would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShellRefusal {
    /// The place, in bytes from 0.
    pub(crate) at: usize,
    /// What is wrong with it.
    pub(crate) reason: &'static str,
}

/// What the line is in at some point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Plain,
    Double,
    Single,
    Comment,
    Backquotes,
    /// `${…}`
    Braces,
    /// `$((…))`
    Arithmetic,
    /// `$(…)`, with this many parentheses open in it.
    Substitution(u32),
}

/// Words that mean something where a command begins.
const RESERVED: [&[u8]; 14] = [
    b"if",
    b"then",
    b"else",
    b"elif",
    b"fi",
    b"do",
    b"done",
    b"case",
    b"esac",
    b"while",
    b"until",
    b"for",
    b"in",
    b"function",
];

/// What surrounds each of these places, which are in order and don't overlap.
///
/// # Errors
/// The first place where no quoting would do.
pub(crate) fn places(script: &[u8], holes: &[Range<usize>]) -> Result<Vec<ShellPlace>, ShellRefusal> {
    let mut scanner =
        Scanner { script, at: 0, stack: Vec::new(), word_begins: true, here_document: false, has_case: false };
    let mut places = Vec::new();
    for hole in holes {
        while scanner.at < hole.start {
            scanner.step(hole.start);
        }
        places.push(scanner.place().map_err(|reason| ShellRefusal { at: hole.start, reason })?);
        scanner.at = hole.end;
        scanner.word_begins = false;
    }
    Ok(places)
}

struct Scanner<'a> {
    script: &'a [u8],
    at: usize,
    stack: Vec<Within>,
    word_begins: bool,
    /// A here-document was announced: what follows the line is its text.
    here_document: bool,
    /// Its patterns have a parenthesis that closes nothing.
    has_case: bool,
}

impl Scanner<'_> {
    fn within(&self) -> Within {
        self.stack.last().copied().unwrap_or(Within::Plain)
    }

    fn place(&self) -> Result<ShellPlace, &'static str> {
        let before = |count: usize| self.at.checked_sub(count).map(|at| self.script[at]);
        if self.here_document && self.script[..self.at].contains(&b'\n') {
            return Err("it may be in a here-document; give the value as an argument of sh -c, or on stdin");
        }
        match self.within() {
            Within::Comment => Err("it is in a comment"),
            Within::Backquotes => Err("it is in backquotes; write $(…) instead"),
            Within::Braces => Err("it is inside ${…}; put it into a variable first: v={}"),
            Within::Arithmetic => Err("it is inside $((…)); put it into a variable first: v={}"),
            Within::Single => Ok(ShellPlace::SingleQuoted),
            _ if before(1) == Some(b'$') && !self.is_escaped(self.at - 1) => {
                Err("the $ before it would make it a variable's name")
            }
            _ if before(1) == Some(b'\\') && !self.is_escaped(self.at - 1) => {
                Err("the backslash before it would take its first character; leave it out")
            }
            Within::Double => Ok(ShellPlace::DoubleQuoted),
            Within::Substitution(_) if self.has_case => {
                Err("it is in $(…) with a case; put it into a variable before that: v={}")
            }
            Within::Plain | Within::Substitution(_) => Ok(ShellPlace::Plain),
        }
    }

    /// Whether an odd number of backslashes stands before that place.
    fn is_escaped(&self, at: usize) -> bool {
        self.script[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
    }

    /// Takes the next piece, which is never longer than up to `end`.
    fn step(&mut self, end: usize) {
        let byte = self.script[self.at];
        let rest = &self.script[self.at..end];
        let length = match self.within() {
            Within::Single => self.close_at(b'\''),
            Within::Comment => self.close_at(b'\n'),
            Within::Backquotes if byte == b'\\' => 2,
            Within::Backquotes => self.close_at(b'`'),
            _ if byte == b'\\' => 2,
            Within::Braces | Within::Double | Within::Arithmetic if self.expansion(rest).is_some() => {
                self.expansion(rest).map_or(1, |(within, length)| self.open(within, length))
            }
            Within::Braces if byte == b'}' => self.close(1),
            Within::Braces if byte == b'\'' => self.open(Within::Single, 1),
            Within::Braces if byte == b'"' => self.open(Within::Double, 1),
            Within::Arithmetic if rest.starts_with(b"))") => self.close(2),
            Within::Double => self.close_at(b'"'),
            Within::Braces | Within::Arithmetic => 1,
            Within::Plain | Within::Substitution(_) => self.step_plain(byte, rest),
        };
        self.at = (self.at + length).min(end);
    }

    fn step_plain(&mut self, byte: u8, rest: &[u8]) -> usize {
        let word_began = std::mem::replace(&mut self.word_begins, b" \t\n;&|()<>".contains(&byte));
        if let Some((within, length)) = self.expansion(rest) {
            return self.open(within, length);
        }
        match byte {
            b'\'' => self.open(Within::Single, 1),
            b'"' => self.open(Within::Double, 1),
            b'#' if word_began => self.open(Within::Comment, 1),
            b'<' if rest.starts_with(b"<<<") => 3,
            b'<' if rest.starts_with(b"<<") => {
                self.here_document = true;
                2
            }
            b'c' if word_began && rest.starts_with(b"case") => {
                self.has_case = true;
                4
            }
            b'(' | b')' => self.parenthesis(byte),
            _ => 1,
        }
    }

    fn parenthesis(&mut self, byte: u8) -> usize {
        match (self.stack.last_mut(), byte) {
            (Some(Within::Substitution(open)), b'(') => *open += 1,
            (Some(Within::Substitution(0)), b')') if !self.has_case => return self.close(1),
            (Some(Within::Substitution(open)), b')') => *open = open.saturating_sub(1),
            _ => {}
        }
        1
    }

    /// What begins here with `$` or a backquote, and the length of its beginning.
    fn expansion(&self, rest: &[u8]) -> Option<(Within, usize)> {
        let kinds: [(&[u8], Within); 4] = [
            (b"$((", Within::Arithmetic),
            (b"$(", Within::Substitution(0)),
            (b"${", Within::Braces),
            (b"`", Within::Backquotes),
        ];
        kinds.into_iter().find(|(begin, _)| rest.starts_with(begin)).map(|(begin, within)| (within, begin.len()))
    }

    fn open(&mut self, within: Within, length: usize) -> usize {
        self.stack.push(within);
        self.word_begins = matches!(within, Within::Substitution(_));
        length
    }

    fn close(&mut self, length: usize) -> usize {
        self.stack.pop();
        length
    }

    fn close_at(&mut self, end: u8) -> usize {
        if self.script[self.at] == end {
            self.word_begins = end == b'\n';
            self.close(1);
        }
        1
    }
}

/// A value as it has to be written at such a place.
pub(crate) fn quote(value: &[u8], place: ShellPlace) -> Vec<u8> {
    match place {
        // A number before > would name a descriptor.
        ShellPlace::Plain if is_bare(value) && !value.iter().all(u8::is_ascii_digit) => value.to_vec(),
        ShellPlace::Plain => [b"'", &single(value)[..], b"'"].concat(),
        ShellPlace::SingleQuoted => single(value),
        ShellPlace::DoubleQuoted => {
            let escaped = value.iter().flat_map(|byte| {
                let backslash = b"$`\"\\".contains(byte).then_some(b'\\');
                backslash.into_iter().chain([*byte])
            });
            escaped.collect()
        }
    }
}

fn single(value: &[u8]) -> Vec<u8> {
    value.iter().flat_map(|byte| if *byte == b'\'' { b"'\\''".to_vec() } else { vec![*byte] }).collect()
}

fn is_bare(word: &[u8]) -> bool {
    let is_safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./-+,:@%".contains(byte);
    !word.is_empty() && word.iter().all(is_safe) && !RESERVED.contains(&word)
}

/// A command line that can be pasted into `sh`.
pub(crate) fn for_paste(words: &[Vec<u8>]) -> Vec<u8> {
    let word = |word: &Vec<u8>| match is_bare(word) {
        true => word.clone(),
        false => [b"'", &single(word)[..], b"'"].concat(),
    };
    words.iter().map(word).collect::<Vec<_>>().join(&b' ')
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// The place of the only `{}` in a script.
    fn place(script: &str) -> Result<ShellPlace, &'static str> {
        let at = script.find("{}").unwrap();
        places(script.as_bytes(), std::slice::from_ref(&(at..at + 2)))
            .map(|places| places[0])
            .map_err(|refusal| refusal.reason)
    }

    #[test]
    fn places_are_told_apart() {
        use ShellPlace::{DoubleQuoted, Plain, SingleQuoted};
        for (script, expected) in [
            ("echo {}", Plain),
            ("echo a{}b", Plain),
            ("echo \"a {} b\"", DoubleQuoted),
            ("echo 'a {} b'", SingleQuoted),
            ("echo \"it's {}\"", DoubleQuoted),
            ("echo '\"' {}", Plain),
            ("echo \\' {}", Plain),
            ("echo \"\\\"{}\"", DoubleQuoted),
            ("echo \"$(echo {})\"", Plain),
            ("echo \"$(echo \"{}\")\"", DoubleQuoted),
            ("echo \"$(echo x) {}\"", DoubleQuoted),
            ("echo \"$( (echo x) ) {}\"", DoubleQuoted),
            ("echo \"${x:-\"a\"} {}\"", DoubleQuoted),
            ("echo $((1 + (2))) {}", Plain),
            ("echo a#b {}", Plain),
            ("# comment\necho {}", Plain),
            ("echo `date` {}", Plain),
            ("case x in x) echo {};; esac", Plain),
            ("cat <<< {}", Plain),
            ("echo \\\\{}", Plain),
        ] {
            assert_eq!(place(script), Ok(expected), "{script}");
        }
    }

    #[test]
    fn places_that_no_quoting_helps_are_refused() {
        for script in [
            "echo `echo {}`",
            "echo # {}",
            "cat <<EOF\n{}\nEOF",
            "echo ${x:-{}}",
            "echo $((1 + {}))",
            "echo ${}",
            "echo $x$ ; echo ${}",
            "echo \\{}",
            "echo \"\\{}\"",
            "echo $(case x in x) echo {};; esac)",
        ] {
            assert!(place(script).is_err(), "{script}");
        }
    }

    #[test]
    fn a_command_line_can_be_pasted() {
        let words = ["echo", "a b", "it's", "", "x=1", "if"].map(|word| word.as_bytes().to_vec());
        assert_eq!(String::from_utf8(for_paste(&words)).unwrap(), r"echo 'a b' 'it'\''s' '' 'x=1' 'if'");
    }

    /// What `sh` makes of the values, each quoted for its place.
    fn through_sh(values: &[Vec<u8>]) -> Vec<u8> {
        let mut script = Vec::new();
        for value in values {
            script.extend_from_slice(b"printf '%s\\0' ");
            script.extend(quote(value, ShellPlace::Plain));
            script.extend_from_slice(b" x");
            script.extend(quote(value, ShellPlace::Plain));
            script.extend_from_slice(b"y \"");
            script.extend(quote(value, ShellPlace::DoubleQuoted));
            script.extend_from_slice(b"\" '");
            script.extend(quote(value, ShellPlace::SingleQuoted));
            script.extend_from_slice(b"'\n");
        }
        Command::new("sh").arg("-c").arg(OsStr::from_bytes(&script)).output().unwrap().stdout
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn what_is_quoted_arrives_as_it_was(
            values in proptest::collection::vec(proptest::collection::vec(1_u8.., 0..12), 1..20),
            texts in proptest::collection::vec("[ -~\n\t'\"\\\\$`!*?~#;&|(){}\\[\\]=]{0,12}", 1..20),
        ) {
            let values: Vec<Vec<u8>> = values.into_iter().chain(texts.into_iter().map(String::into_bytes)).collect();
            let mut expected = Vec::new();
            for value in &values {
                for (front, back) in [("", ""), ("x", "y"), ("", ""), ("", "")] {
                    expected.extend([front.as_bytes(), value, back.as_bytes(), b"\0"].concat());
                }
            }
            prop_assert_eq!(through_sh(&values), expected);
        }

        #[test]
        fn no_script_makes_it_panic(script in "[ -~\n]{0,60}") {
            let text = script.as_bytes();
            let holes: Vec<_> = script.match_indices("{}").map(|(at, _)| at..at + 2).collect();
            let _ = places(text, &holes);
        }
    }
}
