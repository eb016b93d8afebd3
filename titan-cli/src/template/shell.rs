//! How a value is quoted at its place in a line of `sh`, so that the task sees its exact bytes; and where that can't be done.
//!
//! A value is written within single quotes of its own, which is safe as long as its place is known, and bare only where it is
//! plain text that nothing beside it can join. So the line is read only as far as quoting needs, and wherever shells differ or a full parser would be needed the rest of the line is
//! in doubt: it may stand there, but no value may come after it.

use std::ops::Range;

/// What surrounds a place in a line of `sh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShellPlace {
    /// A word of its own.
    Word,
    /// A part of a word, after a mark that ends a variable's name and begins nothing.
    AfterMark,
    /// Another part of a word.
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
    /// `$((…))`, with this many parentheses open in it.
    Arithmetic(u32),
    /// `$(…)`, with this many parentheses open in it.
    Substitution(u32),
}

/// Words that mean something where a command begins.
const RESERVED: [&[u8]; 17] = [
    b"select",
    b"coproc",
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
    b"time",
];

/// What ends a word.
const WORD_ENDS: &[u8] = b" \t\n;&|()<>";

/// What may stand before a bare value in a word: it ends a variable's name, and with the value it begins nothing.
const MARKS: &[u8] = b"./-,:@%+";

/// What surrounds each of these places, which are in order and don't overlap.
///
/// # Errors
/// The first place where no quoting would do.
pub(crate) fn places(script: &[u8], holes: &[Range<usize>]) -> Result<Vec<ShellPlace>, ShellRefusal> {
    let mut scanner = Scanner { script, at: 0, stack: Vec::new(), word_begins: true, delimiter: None, doubt: None };
    let mut places = Vec::new();
    for hole in holes {
        while scanner.at < hole.start {
            scanner.step(hole.start);
        }
        places.push(scanner.place(hole).map_err(|reason| ShellRefusal { at: hole.start, reason })?);
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
    /// Where the delimiter of a here-document begins: what follows its line is its text.
    delimiter: Option<usize>,
    /// Why no value may come after what was read.
    doubt: Option<&'static str>,
}

impl Scanner<'_> {
    fn within(&self) -> Within {
        self.stack.last().copied().unwrap_or(Within::Plain)
    }

    fn place(&self, hole: &Range<usize>) -> Result<ShellPlace, &'static str> {
        if let Some(doubt) = self.doubt {
            return Err(doubt);
        }
        if let Some(begin) = self.delimiter {
            let since = self.script[begin..self.at].trim_ascii_start();
            if since.is_empty() || !since.iter().any(|byte| WORD_ENDS.contains(byte)) {
                return Err("it is what ends a here-document; write a fixed word there");
            }
        }
        if self.stack.contains(&Within::Braces) {
            return Err("it is inside ${…}; put it into a variable first: v={}");
        }
        if self.stack.iter().any(|within| matches!(within, Within::Arithmetic(_))) {
            return Err("it is inside $((…)); put it into a variable first: v={}");
        }
        match self.within() {
            Within::Comment => Err("it is in a comment"),
            Within::Backquotes => Err("it is in backquotes; write $(…) instead"),
            Within::Single => Ok(ShellPlace::SingleQuoted),
            _ if self.follows(b'$') => Err("the $ before it would make it a variable's name"),
            _ if self.follows(b'\\') => Err("the backslash before it would take its first character; leave it out"),
            Within::Double => Ok(ShellPlace::DoubleQuoted),
            _ if self.is_in_subscript() => {
                Err("it is in a subscript, which sh computes; put it into a variable first: v={}")
            }
            _ if self.is_word(hole) => Ok(ShellPlace::Word),
            _ if self.before().is_some_and(|byte| MARKS.contains(&byte)) => Ok(ShellPlace::AfterMark),
            _ => Ok(ShellPlace::Plain),
        }
    }

    fn before(&self) -> Option<u8> {
        self.at.checked_sub(1).map(|at| self.script[at])
    }

    /// Whether it is a word of its own; what stands beside `<`, `>` or `&` may mean a descriptor.
    fn is_word(&self, hole: &Range<usize>) -> bool {
        let is_end = |byte: &u8| b" \t\n;|()".contains(byte);
        let begins = self.word_begins && self.before().as_ref().is_none_or(is_end);
        begins && self.script.get(hole.end).is_none_or(is_end)
    }

    /// Whether the byte before is that one, and no backslash takes its meaning away.
    fn follows(&self, byte: u8) -> bool {
        let Some(before) = self.at.checked_sub(1) else { return false };
        let escapes = self.script[..before].iter().rev().take_while(|byte| **byte == b'\\').count();
        self.script[before] == byte && escapes % 2 == 0
    }

    /// Whether a bracket is open that a name stands before, as in `a[1+`.
    fn is_in_subscript(&self) -> bool {
        let is_open = |byte: &&u8| !b"]\n;".contains(byte);
        let mut before = self.script[..self.at].iter().rev().take_while(is_open).skip_while(|byte| **byte != b'[');
        before.next().is_some() && before.next().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    }

    /// Takes the next piece, which is never longer than up to `end`.
    fn step(&mut self, end: usize) {
        let byte = self.script[self.at];
        let rest = &self.script[self.at..end];
        let length = match self.within() {
            Within::Single => self.close_at(b'\''),
            Within::Comment => self.close_at(b'\n'),
            Within::Backquotes => self.step_backquotes(byte),
            _ if rest.starts_with(b"\\\n") => self.continue_line(),
            Within::Arithmetic(open) => self.step_arithmetic(open, byte, rest),
            _ if byte == b'\\' => {
                self.word_begins = false;
                2
            }
            Within::Double => self.step_double(byte, rest),
            Within::Braces => self.step_braces(byte, rest),
            Within::Plain | Within::Substitution(_) => self.step_plain(byte, rest),
        };
        self.at = (self.at + length).min(end);
        if byte == b'\n' && self.delimiter.is_some() {
            self.doubt("it may be in a here-document; give the value as an argument of sh -c, or on stdin");
        }
    }

    fn step_backquotes(&mut self, byte: u8) -> usize {
        if b"\\'\"#".contains(&byte) {
            self.doubt("there are backquotes with quotes in them before it; write $(…) instead");
        }
        self.close_at(b'`')
    }

    fn step_double(&mut self, byte: u8, rest: &[u8]) -> usize {
        match self.expansion(rest) {
            Some((within, length)) => self.open(within, length),
            None if byte == b'"' => self.close(1),
            None => 1,
        }
    }

    fn step_braces(&mut self, byte: u8, rest: &[u8]) -> usize {
        if let Some((within, length)) = self.expansion(rest) {
            return self.open(within, length);
        }
        let is_quoted = self.stack.contains(&Within::Double);
        match byte {
            b'$' if rest.starts_with(b"$'") => self.doubt("there is a $'…' inside ${…} before it; write $(printf …)"),
            b'}' => return self.close(1),
            b'\'' | b'"' if is_quoted => {
                self.doubt("there is a quote inside a quoted ${…} before it, which shells read differently");
            }
            b'\'' => return self.open(Within::Single, 1),
            b'"' => return self.open(Within::Double, 1),
            _ => {}
        }
        1
    }

    fn step_arithmetic(&mut self, open: u32, byte: u8, rest: &[u8]) -> usize {
        if let Some((within, length)) = self.expansion(rest) {
            return self.open(within, length);
        }
        match (byte, open) {
            (b'(', _) => self.replace(Within::Arithmetic(open + 1)),
            (b')', 1..) => self.replace(Within::Arithmetic(open - 1)),
            (b')', 0) if rest.starts_with(b"))") => return self.close(2),
            (b')' | b'\'' | b'"' | b'#' | b'\\', _) => {
                self.doubt("there is a $(( before it that may not be arithmetic; write $( ( where it isn't");
            }
            _ => {}
        }
        1
    }

    fn step_plain(&mut self, byte: u8, rest: &[u8]) -> usize {
        let word_began = std::mem::replace(&mut self.word_begins, WORD_ENDS.contains(&byte));
        if let Some((within, length)) = self.expansion(rest) {
            return self.open(within, length);
        }
        match byte {
            b'$' if rest.starts_with(b"$'") => return self.ansi_c_quote(rest),
            b'\'' => return self.open(Within::Single, 1),
            b'"' => return self.open(Within::Double, 1),
            b'#' if word_began => return self.open(Within::Comment, 1),
            b'<' if rest.starts_with(b"<<<") => return 3,
            b'<' if rest.starts_with(b"<<") => {
                let length = if rest.starts_with(b"<<-") { 3 } else { 2 };
                self.delimiter = Some(self.at + length);
                return length;
            }
            b'(' if rest.starts_with(b"((") => {
                self.doubt("there is a (( before it, which sh may compute; write ( ( or $((…))");
            }
            b'c' if word_began && self.is_case(rest) => {
                self.doubt("there is a $(…) with a case before it; put what it makes into a variable: v={}");
            }
            b'(' | b')' => return self.parenthesis(byte),
            _ => {}
        }
        1
    }

    /// The pattern of a case has a parenthesis that closes nothing: where a parenthesis closes, that needs a parser.
    fn is_case(&self, rest: &[u8]) -> bool {
        let is_word = rest.get(4).is_none_or(|byte| WORD_ENDS.contains(byte) || *byte == b'\\');
        rest.starts_with(b"case")
            && is_word
            && self.stack.iter().any(|within| matches!(within, Within::Substitution(_)))
    }

    /// `$'…'`: an escaped quote closes it in some shells only.
    fn ansi_c_quote(&mut self, rest: &[u8]) -> usize {
        let text = &rest[2..];
        let end = text.iter().position(|byte| *byte == b'\'');
        match end {
            Some(end) if !text[..end].ends_with(b"\\") => end + 3,
            _ => {
                self.doubt("it is in or after a $'…' that shells read differently; write \"$(printf …)\" instead");
                2
            }
        }
    }

    /// A backslash and a newline: as if they weren't there, which may join what stands around them.
    fn continue_line(&mut self) -> usize {
        let joins =
            |byte: &u8| b"$({<`\\".contains(byte) || (byte.is_ascii_alphanumeric() && self.within() != Within::Double);
        if self.script[..self.at].last().is_some_and(joins) {
            self.doubt("a word before it is broken by a backslash at the end of its line; write it in one line");
        }
        2
    }

    fn parenthesis(&mut self, byte: u8) -> usize {
        match (self.within(), byte) {
            (Within::Substitution(open), b'(') => self.replace(Within::Substitution(open + 1)),
            (Within::Substitution(0), _) => return self.close(1),
            (Within::Substitution(open), _) => self.replace(Within::Substitution(open - 1)),
            _ => {}
        }
        1
    }

    fn doubt(&mut self, reason: &'static str) {
        self.doubt.get_or_insert(reason);
    }

    /// What begins here with `$` or a backquote, and the length of its beginning.
    fn expansion(&mut self, rest: &[u8]) -> Option<(Within, usize)> {
        if rest.starts_with(b"$[") {
            self.doubt("there is a $[ before it; write $((…)) instead");
        }
        let kinds: [(&[u8], Within); 4] = [
            (b"$((", Within::Arithmetic(0)),
            (b"$(", Within::Substitution(0)),
            (b"${", Within::Braces),
            (b"`", Within::Backquotes),
        ];
        let (begin, within) = kinds.into_iter().find(|(begin, _)| rest.starts_with(begin))?;
        if within == Within::Braces && rest.get(2).is_some_and(|byte| b" \t\n|(".contains(byte)) {
            self.doubt("there is a ${ before it that some shells take for commands; write $(…) instead");
        }
        Some((within, begin.len()))
    }

    fn replace(&mut self, within: Within) {
        self.stack.pop();
        self.stack.push(within);
    }

    fn open(&mut self, within: Within, length: usize) -> usize {
        self.stack.push(within);
        self.word_begins = matches!(within, Within::Substitution(_));
        length
    }

    fn close(&mut self, length: usize) -> usize {
        self.stack.pop();
        self.word_begins = false;
        length
    }

    fn close_at(&mut self, end: u8) -> usize {
        if self.script[self.at] == end {
            self.close(1);
            self.word_begins = end == b'\n';
        }
        1
    }
}

/// Values as they have to be written at such a place: words of their own, or joined by a space within one.
pub(crate) fn quote(values: &[Vec<u8>], place: ShellPlace) -> Vec<u8> {
    let joined = || single(&values.join(&b' '));
    match place {
        ShellPlace::Word => values.iter().map(|value| for_paste_one(value)).collect::<Vec<_>>().join(&b' '),
        ShellPlace::AfterMark => for_paste_one(&values.join(&b' ')),
        ShellPlace::Plain => [b"'", &joined()[..], b"'"].concat(),
        // Out of the double quotes and back: nothing in them can join the value.
        ShellPlace::DoubleQuoted => [b"\"'", &joined()[..], b"'\""].concat(),
        ShellPlace::SingleQuoted => joined(),
    }
}

fn within_quotes(value: &[u8]) -> Vec<u8> {
    [b"'", &single(value)[..], b"'"].concat()
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
    words.iter().map(|word| for_paste_one(word)).collect::<Vec<_>>().join(&b' ')
}

/// On one line: newlines are spelled out, unless the word ends in one, which no shell would keep.
fn for_paste_one(word: &[u8]) -> Vec<u8> {
    match word {
        _ if is_bare(word) => word.to_vec(),
        [.., b'\n'] => within_quotes(word),
        _ if word.contains(&b'\n') => {
            let spelled = word.iter().flat_map(|byte| match byte {
                b'\n' => b"\\n".to_vec(),
                b'\\' => b"\\\\".to_vec(),
                other => vec![*other],
            });
            let spelled: Vec<u8> = spelled.collect();
            [b"\"$(printf %b ", &within_quotes(&spelled)[..], b")\""].concat()
        }
        _ => within_quotes(word),
    }
}

/// A line of sh as it can be pasted; several as one word for `sh -c`.
pub(crate) fn script_for_paste(script: &[u8]) -> Vec<u8> {
    let script = script.trim_ascii_end();
    match script.contains(&b'\n') {
        false => script.to_vec(),
        true => for_paste(&[b"sh".to_vec(), b"-c".to_vec(), script.to_vec()]),
    }
}

#[cfg(test)]
mod tests;
