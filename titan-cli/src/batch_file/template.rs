//! `{axis}`, `{axis:04}`, `{axis.}`, `{axis/}`, `{axis//}`, `{axis/.}`, `{#}` in the texts of a batch file. `{{` and `}}` are
//! braces; any other brace, and `${…}`, stays.

use std::ops::Range;

use crate::config::suggest::nearest;
use crate::config::text::shorten;
use crate::template::language::{Part, take};
use crate::template::shell::{self, ShellPlace};

/// A text with places for a task's values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Hole(Hole),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hole {
    /// The number of the task, from 1.
    Sequence,
    Axis {
        axis: usize,
        part: Part,
        /// Zeros are put before it until it is so long.
        width: usize,
    },
}

/// A line of sh with places for values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShellTemplate {
    template: Template,
    places: Vec<ShellPlace>,
}

/// The widest that a number is padded to.
const MAX_WIDTH: usize = 64;

impl Template {
    /// Parses a text.
    ///
    /// # Errors
    /// It names what is no axis: what is wrong and what to do, separated by `: `.
    pub(crate) fn parse(text: &str, axes: &[&str]) -> Result<Self, String> {
        let mut template = Self::default();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            template.push_text(before);
            rest = if let Some(after) = from.strip_prefix("{{") {
                template.push_text("{");
                after
            } else if let Some(after) = from.strip_prefix("}}") {
                template.push_text("}");
                after
            } else if before.ends_with('$') && from.starts_with('{') {
                // The shell's own: as it is, with all that is in it.
                let length = closing(from);
                template.push_text(&from[..length]);
                &from[length..]
            } else if let Some((hole, length)) = hole(from, axes)? {
                template.pieces.push(Piece::Hole(hole));
                &from[length..]
            } else {
                template.push_text(&from[..1]);
                &from[1..]
            };
        }
        template.push_text(rest);
        Ok(template)
    }

    fn push_text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(last)) => last.extend_from_slice(text.as_bytes()),
            _ => self.pieces.push(Piece::Text(text.as_bytes().to_vec())),
        }
    }

    /// The text for these values; each goes through `quote` with the number of its place.
    fn fill(&self, values: &[Vec<u8>], index: u32, quote: impl Fn(usize, Vec<u8>) -> Vec<u8>) -> Vec<u8> {
        let mut text = Vec::new();
        let mut number = 0;
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.extend_from_slice(piece),
                Piece::Hole(hole) => {
                    text.extend(quote(number, hole.value(values, index)));
                    number += 1;
                }
            }
        }
        text
    }

    /// The text for the values of the task of that index.
    pub(crate) fn text(&self, values: &[Vec<u8>], index: u32) -> Vec<u8> {
        self.fill(values, index, |_, value| value)
    }

    /// The text for those values, as a template without places.
    pub(crate) fn fixed(&self, values: &[Vec<u8>], index: u32) -> Self {
        Self { pieces: vec![Piece::Text(self.text(values, index))] }
    }

    /// The same as a pattern of file names, in which values mean themselves.
    pub(crate) fn pattern(&self, values: &[Vec<u8>], index: u32) -> Vec<u8> {
        self.fill(values, index, |_, value| titan_proto::files::escape_glob(&value))
    }

    /// Whether what was written beside the values is a pattern of file names.
    pub(crate) fn has_glob(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if titan_proto::files::has_glob(text)))
    }
}

impl Hole {
    fn value(&self, values: &[Vec<u8>], index: u32) -> Vec<u8> {
        match self {
            Self::Sequence => (u64::from(index) + 1).to_string().into_bytes(),
            Self::Axis { axis, part, width } => padded(take(&values[*axis], *part), *width),
        }
    }
}

fn padded(value: Vec<u8>, width: usize) -> Vec<u8> {
    let zeros = vec![b'0'; width.saturating_sub(value.len())];
    match value.strip_prefix(b"-") {
        Some(digits) => [b"-", &zeros[..], digits].concat(),
        None => [zeros, value].concat(),
    }
}

/// The length of `{…}`, with what is nested in it; all of the text if it isn't closed.
fn closing(text: &str) -> usize {
    let mut depth = 0_u32;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// What the text begins with, and its length; None: a brace that stays.
fn hole(text: &str, axes: &[&str]) -> Result<Option<(Hole, usize)>, String> {
    let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(inner, _)| inner) else {
        return Ok(None);
    };
    let length = inner.len() + 2;
    if inner == "#" {
        return Ok(Some((Hole::Sequence, length)));
    }
    let name_end = inner.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    let (name, rest) = inner.split_at(name_end.unwrap_or(inner.len()));
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase());
    let Some((part, width)) = form(rest).filter(|_| is_name) else { return Ok(None) };
    let Some(axis) = axes.iter().position(|axis| *axis == name) else {
        let near = nearest(name, axes.iter().copied()).map(|near| format!("did you mean {{{near}}}? or "));
        let near = near.unwrap_or_default();
        return Err(format!("'{{{}}}' is no axis of this job: {near}write {{{{{inner}}}}} for braces", shorten(inner)));
    };
    Ok(Some((Hole::Axis { axis, part, width }, length)))
}

/// What follows an axis's name.
fn form(rest: &str) -> Option<(Part, usize)> {
    if let Some(width) = rest.strip_prefix(":0") {
        let width = width.parse().ok().filter(|width| (1..=MAX_WIDTH).contains(width))?;
        return Some((Part::Whole, width));
    }
    let part = match rest {
        "" => Part::Whole,
        "." => Part::WithoutExtension,
        "/" => Part::BaseName,
        "//" => Part::Folder,
        "/." => Part::BaseNameWithoutExtension,
        _ => return None,
    };
    Some((part, 0))
}

impl ShellTemplate {
    /// Parses a line of sh; values are quoted as their places in it need.
    ///
    /// # Errors
    /// It names what is no axis, or has a place where no quoting would do.
    pub(crate) fn parse(text: &str, axes: &[&str]) -> Result<Self, String> {
        let template = Template::parse(text, axes)?;
        let mut script: Vec<u8> = Vec::new();
        let mut holes: Vec<Range<usize>> = Vec::new();
        for piece in &template.pieces {
            match piece {
                Piece::Text(text) => script.extend_from_slice(text),
                Piece::Hole(_) => {
                    holes.push(script.len()..script.len() + 2);
                    script.extend_from_slice(b"{}");
                }
            }
        }
        let places = shell::places(&script, &holes).map_err(|refusal| {
            let number = holes.iter().position(|hole| hole.start == refusal.at).unwrap_or(0) + 1;
            format!("the value at place {number} of the line can't be put there, since {}", refusal.reason)
        })?;
        Ok(Self { template, places })
    }

    /// The line for the values of the task of that index.
    pub(crate) fn line(&self, values: &[Vec<u8>], index: u32) -> Vec<u8> {
        self.template.fill(values, index, |place, value| shell::quote(&[value], self.places[place]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AXES: [&str; 2] = ["n", "wav"];

    fn text(text: &str) -> String {
        let values = [b"7".to_vec(), b"snd/a.b.wav".to_vec()];
        String::from_utf8(Template::parse(text, &AXES).unwrap().text(&values, 4)).unwrap()
    }

    #[test]
    fn axes_are_filled_in_and_other_braces_stay() {
        for (template, expected) in [
            ("{n}-{n:04}-{#}", "7-0007-5"),
            ("{wav} {wav.} {wav/} {wav//} {wav/.}", "snd/a.b.wav snd/a.b a.b.wav snd a.b"),
            ("{{n}} }}{{", "{n} }{"),
            ("awk '{print $1}' {", "awk '{print $1}' {"),
            ("${n} ${x:-{n}} {n}", "${n} ${x:-{n}} 7"),
            ("{} { n } {N} {1}", "{} { n } {N} {1}"),
            ("{n:4} {n:0} {n!}", "{n:4} {n:0} {n!}"),
        ] {
            assert_eq!(text(template), expected, "{template}");
        }
    }

    #[test]
    fn negative_numbers_are_padded_after_their_sign() {
        let template = Template::parse("{n:04}", &AXES).unwrap();
        assert_eq!(template.text(&[b"-5".to_vec(), Vec::new()], 0), b"-005");
    }

    #[test]
    fn a_word_that_is_no_axis_is_refused_with_the_way_out() {
        let refusal = Template::parse("{wave}", &AXES).unwrap_err();
        assert_eq!(refusal, "'{wave}' is no axis of this job: did you mean {wav}? or write {{wave}} for braces");
        let refusal = Template::parse("{frame:04}", &AXES).unwrap_err();
        assert_eq!(refusal, "'{frame:04}' is no axis of this job: write {{frame:04}} for braces");
    }

    #[test]
    fn values_in_a_line_of_sh_are_quoted_by_their_place() {
        let line = ShellTemplate::parse("echo {n} \"{wav}\" '{wav}' ${{x}}", &AXES).unwrap();
        let values = [b"it's".to_vec(), b"a b".to_vec()];
        assert_eq!(line.line(&values, 0), br#"echo 'it'\''s' ""'a b'"" 'a b' ${x}"#);
        assert!(ShellTemplate::parse("echo `echo {n}`", &AXES).unwrap_err().contains("it is in backquotes"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ -~{}$#:0-9nwav./]{0,40}") {
            let values = [b"1".to_vec(), b"a/b.c".to_vec()];
            if let Ok(template) = Template::parse(&text, &AXES) {
                template.text(&values, 0);
            }
            if let Ok(template) = ShellTemplate::parse(&text, &AXES) {
                template.line(&values, 0);
            }
        }
    }
}
