//! Text from people and files, made fit to be printed: nothing in it can move the cursor or turn the reading direction.

use std::fmt::Write as _;

/// How much of a name or a value a message repeats, in characters.
const SHOWN_CHARS: usize = 60;

/// A text in one line with everything that a terminal would act on escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push_printable(&mut out, c);
    }
    out
}

/// `1 task`, `2 tasks`.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// The first characters of a printable text, and an ellipsis if there are more.
pub(crate) fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => text[..end].to_owned() + "…",
        None => text.to_owned(),
    }
}

/// Like [`printable`], and no longer than a message can bear.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => printable(&text[..end]) + "…",
        None => printable(text),
    }
}

/// Appends a character, escaped if a terminal would act on it.
pub(crate) fn push_printable(out: &mut String, c: char) {
    if c.is_control() {
        let _ = write!(out, "{}", c.escape_default());
    } else if is_invisible(c) {
        let _ = write!(out, "{}", c.escape_unicode());
    } else {
        out.push(c);
    }
}

/// How many columns a printable text takes on a terminal, as far as blocks of characters tell.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

/// Marks of direction, joiners, line separators and the like: what changes a line without being seen.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn char_columns(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_act_on() {
        assert_eq!(printable("a\x1b[2Jb\nc\td\u{202e}e"), r"a\u{1b}[2Jb\nc\td\u{202e}e");
        assert_eq!(printable("größe 大"), "größe 大");
    }

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(shorten(&"ä".repeat(100)), "ä".repeat(60) + "…");
        assert_eq!(shorten("render1"), "render1");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(columns("a大é"), 4);
        assert_eq!(columns("e\u{301}"), 1);
    }
}
