//! The line of a file that a problem is on, with carets under the place: one line, of bearable length, safe to print.

use std::fmt;
use std::ops::Range;

use crate::config::text::{columns, push_printable};

/// A line with more characters than this is cut around the place.
const MOST_LINE_CHARS: usize = 110;
/// What is kept of a cut line before the place, of the place, and after it.
const KEPT_CHARS: [usize; 3] = [50, 40, 20];
/// What a tab is shown as.
const TAB: &str = "    ";

/// A place in a text, ready to be shown.
#[derive(Debug)]
pub(crate) struct Excerpt {
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// The character in the line, counted from 1.
    pub(crate) column: usize,
    shown: String,
    indent: usize,
    carets: usize,
}

impl Excerpt {
    /// Finds the line of a span of bytes. Any span is borne, even one that is beyond the end or inside a character.
    pub(crate) fn of(text: &str, span: &Range<usize>) -> Self {
        let start = char_start(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let at = (start - line_start).min(line.len());
        let end = char_start(line, span.end.saturating_sub(line_start)).max(at);

        let (before, marked, after) = cut(line, at, end);
        Self {
            line: 1 + text[..line_start].matches('\n').count(),
            column: 1 + line[..at].chars().count(),
            indent: columns(&before),
            carets: columns(&marked).max(1),
            shown: before + &marked + &after,
        }
    }

    /// Writes the place, the line and the carets with what is said about them.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, file: &str, label: &str) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let carets = " ".repeat(self.indent) + &"^".repeat(self.carets);
        writeln!(f, "{margin}--> {file}:{}:{}", self.line, self.column)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", self.shown)?;
        write!(f, "{margin} | {}", format!("{carets} {label}").trim_end())
    }
}

/// The start of the character that holds byte `index`, or the end of the text.
fn char_start(text: &str, index: usize) -> usize {
    let index = index.min(text.len());
    (0..=index).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The line before, in and after the place, printable, and cut if the whole is long.
fn cut(line: &str, at: usize, end: usize) -> (String, String, String) {
    let (before, marked, after) = (&line[..at], &line[at..end], &line[end..]);
    if line.chars().nth(MOST_LINE_CHARS).is_none() {
        return (shown(before), shown(marked), shown(after));
    }
    let [before_chars, marked_chars, after_chars] = KEPT_CHARS;
    let before = match before.char_indices().rev().nth(before_chars) {
        Some((start, _)) => format!("…{}", shown(&before[start..])),
        None => shown(before),
    };
    (before, first_chars(marked, marked_chars), first_chars(after, after_chars))
}

fn first_chars(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => shown(&text[..end]) + "…",
        None => shown(text),
    }
}

fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push_str(TAB),
            c => push_printable(&mut out, c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Shown<'t>(&'t str, Range<usize>);

    impl fmt::Display for Shown<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            Excerpt::of(self.0, &self.1).write(f, "cluster.toml", "here")
        }
    }

    fn at(text: &str, place: &str) -> String {
        let start = text.find(place).expect("the text holds the place");
        Shown(text, start..start + place.len()).to_string()
    }

    #[test]
    fn the_carets_stand_under_the_place() {
        insta::assert_snapshot!(at("a = 1\n\tb = 大大 x\r\n", "x"), @"
         --> cluster.toml:2:9
          |
        2 |     b = 大大 x
          |              ^ here
        ");
    }

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        insta::assert_snapshot!(at("a = '\x1b[2J' b", "b"), @r"
         --> cluster.toml:1:12
          |
        1 | a = '\u{1b}[2J' b
          |                 ^ here
        ");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let long = format!("{}x{}", "ä".repeat(5000), "ö".repeat(5000));
        insta::assert_snapshot!(at(&long, "x"), @"
         --> cluster.toml:1:5001
          |
        1 | …äääääääääääääääääääääääääääääääääääääääääääääääääääxöööööööööööööööööööö…
          |                                                     ^ here
        ");
    }

    #[test]
    fn a_place_of_many_lines_is_shown_by_its_first() {
        insta::assert_snapshot!(at("a = [\n1,\n2]\n", "[\n1,\n2]"), @"
         --> cluster.toml:1:5
          |
        1 | a = [
          |     ^ here
        ");
    }

    proptest! {
        #[test]
        fn any_span_of_any_text_is_borne(text in "[ab\n\r\tä大\u{301}]{0,40}|.*", start in 0..300usize, end in 0..300usize) {
            let shown = Shown(&text, start..end).to_string();
            prop_assert_eq!(shown.lines().count(), 4);
        }
    }
}
