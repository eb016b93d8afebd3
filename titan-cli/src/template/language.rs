//! The `{}` language: what stands in a word for a task's values. Braces that are no replacement string stay as they are.

use std::ops::Range;

use titan_proto::command::Word;

/// What is taken of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    WithoutExtension,
    BaseName,
    Folder,
    BaseNameWithoutExtension,
}

/// What a replacement string stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hole {
    /// Values: all of them, or one by its place from 0.
    Values { which: Option<usize>, part: Part },
    /// The number of the task.
    Sequence,
    /// The slot, which is known only where the task runs.
    Slot,
}

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Hole(Hole),
}

/// A word with replacement strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    pieces: Vec<Piece>,
    /// The places of the replacement strings in what was written, in order.
    places: Vec<Range<usize>>,
}

/// What replacement strings can name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Language<'a> {
    /// What stands for `{}`.
    pub(crate) whole: &'a [u8],
    /// The names of the values.
    pub(crate) names: &'a [Vec<u8>],
    /// How many values a task has; None: that isn't known.
    pub(crate) values: Option<usize>,
}

/// A replacement string for a value that no task has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoSuchValue {
    /// The replacement string.
    pub(crate) hole: String,
    /// Its place in the word, in bytes from 0.
    pub(crate) at: usize,
    /// How many values there are.
    pub(crate) values: usize,
}

impl Language<'_> {
    /// Parses a word.
    ///
    /// # Errors
    /// It names a value that no task has.
    pub(crate) fn parse(&self, word: &[u8]) -> Result<Pattern, NoSuchValue> {
        let mut pattern = Pattern { pieces: Vec::new(), places: Vec::new() };
        let mut text = Vec::new();
        let mut at = 0;
        while at < word.len() {
            let Some((hole, length)) = self.hole_at(&word[at..]) else {
                text.push(word[at]);
                at += 1;
                continue;
            };
            self.check(&hole, &word[at..at + length], at)?;
            if !text.is_empty() {
                pattern.pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pattern.pieces.push(Piece::Hole(hole));
            pattern.places.push(at..at + length);
            at += length;
        }
        if !text.is_empty() {
            pattern.pieces.push(Piece::Text(text));
        }
        Ok(pattern)
    }

    fn check(&self, hole: &Hole, written: &[u8], at: usize) -> Result<(), NoSuchValue> {
        let Hole::Values { which: Some(which), .. } = hole else { return Ok(()) };
        match self.values {
            Some(values) if *which >= values => {
                Err(NoSuchValue { hole: String::from_utf8_lossy(written).into_owned(), at, values })
            }
            _ => Ok(()),
        }
    }

    /// The replacement string that the text begins with, and its length.
    fn hole_at(&self, text: &[u8]) -> Option<(Hole, usize)> {
        if !self.whole.is_empty() && self.whole != b"{}" && text.starts_with(self.whole) {
            return Some((Hole::Values { which: None, part: Part::Whole }, self.whole.len()));
        }
        if text.first() != Some(&b'{') {
            return None;
        }
        let end = text.iter().position(|byte| *byte == b'}')?;
        let inner = &text[1..end];
        let hole = match inner {
            b"#" => Hole::Sequence,
            b"%" => Hole::Slot,
            _ => self.values_hole(inner)?,
        };
        Some((hole, end + 1))
    }

    fn values_hole(&self, inner: &[u8]) -> Option<Hole> {
        const PARTS: [(&[u8], Part); 4] = [
            (b"/.", Part::BaseNameWithoutExtension),
            (b"//", Part::Folder),
            (b"/", Part::BaseName),
            (b".", Part::WithoutExtension),
        ];
        let part = PARTS.iter().find_map(|(suffix, part)| Some((inner.strip_suffix(*suffix)?, *part)));
        // A name may itself end as a part does.
        let (front, part) = match part {
            Some(split) if !self.names.iter().any(|name| name == inner) => split,
            _ => (inner, Part::Whole),
        };
        if front.is_empty() {
            let is_replaced = self.whole != b"{}" && part == Part::Whole;
            return (!is_replaced).then_some(Hole::Values { which: None, part });
        }
        let which = match self.names.iter().position(|name| name == front) {
            Some(place) => place,
            None => self.place(std::str::from_utf8(front).ok()?)?,
        };
        Some(Hole::Values { which: Some(which), part })
    }

    /// `2` → 1; `-1` → the last; `usize::MAX`: one that isn't there.
    fn place(&self, number: &str) -> Option<usize> {
        if !number.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        match number.parse::<i64>().ok()? {
            positive @ 1.. => usize::try_from(positive - 1).ok(),
            negative @ ..0 => {
                let from_the_end = usize::try_from(negative.unsigned_abs()).ok()?;
                Some(self.values?.checked_sub(from_the_end).unwrap_or(usize::MAX))
            }
            0 => Some(usize::MAX),
        }
    }
}

impl Pattern {
    /// Whether it has any replacement string.
    pub(crate) fn has_holes(&self) -> bool {
        !self.places.is_empty()
    }

    /// Whether it names the slot, which is known only where the task runs.
    pub(crate) fn names_slot(&self) -> bool {
        self.pieces.contains(&Piece::Hole(Hole::Slot))
    }

    /// Whether what was written beside the replacement strings is a pattern of file names.
    pub(crate) fn has_glob(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if titan_proto::files::has_glob(text)))
    }

    /// The places of the replacement strings in what was written.
    pub(crate) fn places(&self) -> &[Range<usize>] {
        &self.places
    }

    /// The words that it becomes: one, but a `{}` of its own becomes one for each value.
    pub(crate) fn words(&self, values: &[Vec<u8>], sequence: u64) -> Vec<Word> {
        if let [Piece::Hole(Hole::Values { which: None, part })] = &self.pieces[..] {
            return values.iter().map(|value| Word::from(&take(value, *part)[..])).collect();
        }
        vec![self.word(values, sequence, |_, values| values.join(&b' '))]
    }

    /// The one word that it becomes: what stands for a replacement string goes through `quote` with its number.
    pub(crate) fn word(&self, values: &[Vec<u8>], sequence: u64, quote: impl Fn(usize, &[Vec<u8>]) -> Vec<u8>) -> Word {
        let mut word = Word::default();
        let mut number = 0;
        for piece in &self.pieces {
            let hole = match piece {
                Piece::Text(text) => {
                    word.text.extend_from_slice(text);
                    continue;
                }
                Piece::Hole(hole) => hole,
            };
            match hole {
                Hole::Sequence => word.text.extend(quote(number, &[sequence.to_string().into_bytes()])),
                Hole::Slot => {
                    // The same quotes on both sides, and the number between them when it is known.
                    let quotes = quote(number, &[Vec::new()]);
                    word.slot_at.push((word.text.len() + quotes.len() / 2) as u32);
                    word.text.extend(quotes);
                }
                Hole::Values { which, part } => {
                    let taken: Vec<Vec<u8>> = chosen(values, *which).map(|value| take(value, *part)).collect();
                    word.text.extend(quote(number, &taken));
                }
            }
            number += 1;
        }
        word
    }
}

fn chosen(values: &[Vec<u8>], which: Option<usize>) -> impl Iterator<Item = &Vec<u8>> {
    // A task whose line has fewer columns has an empty value there.
    let range =
        which.map_or(0..values.len(), |place| place.min(values.len())..place.saturating_add(1).min(values.len()));
    values[range].iter()
}

/// What is taken of a value, as GNU parallel takes it.
pub(crate) fn take(value: &[u8], part: Part) -> Vec<u8> {
    let slash = value.iter().rposition(|byte| *byte == b'/');
    let base = slash.map_or(value, |at| &value[at + 1..]);
    match part {
        Part::Whole => value.to_vec(),
        Part::BaseName => base.to_vec(),
        Part::Folder => folder(value),
        Part::WithoutExtension => value[..value.len() - extension_bytes(base)].to_vec(),
        Part::BaseNameWithoutExtension => base[..base.len() - extension_bytes(base)].to_vec(),
    }
}

/// As `dirname` has it.
fn folder(value: &[u8]) -> Vec<u8> {
    let without_slashes = |path: &[u8]| path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let named = &value[..without_slashes(value)];
    match named.iter().rposition(|byte| *byte == b'/') {
        None if value.first() == Some(&b'/') && named.is_empty() => b"/".to_vec(),
        None => b".".to_vec(),
        Some(at) => match without_slashes(&named[..at]) {
            0 => b"/".to_vec(),
            end => named[..end].to_vec(),
        },
    }
}

fn extension_bytes(base: &[u8]) -> usize {
    base.iter().rposition(|byte| *byte == b'.').map_or(0, |at| base.len() - at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn language(values: usize) -> Language<'static> {
        Language { whole: b"{}", names: &[], values: Some(values) }
    }

    fn expand(word: &str, values: &[&str]) -> Vec<String> {
        let values: Vec<Vec<u8>> = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        let words = language(values.len()).parse(word.as_bytes()).unwrap().words(&values, 7);
        words.iter().map(|word| String::from_utf8(word.for_slot(3)).unwrap()).collect()
    }

    #[test]
    fn parts_of_paths_are_as_gnu_parallel_has_them() {
        for (value, expected) in [
            ("a.tar.gz", "a.tar a.tar.gz . a.tar"),
            ("dir.d/file", "dir.d/file file dir.d file"),
            (".bashrc", " .bashrc . "),
            ("/x", "/x x / x"),
            ("a/", "a/  . "),
            ("//a//b.c", "//a//b b.c //a b"),
        ] {
            assert_eq!(expand("{.} {/} {//} {/.}", &[value]), [expected], "{value}");
        }
    }

    #[test]
    fn several_values_are_words_of_their_own_or_joined() {
        assert_eq!(expand("{}", &["a b", "c"]), ["a b", "c"]);
        assert_eq!(expand("x{}", &["a", "b"]), ["xa b"]);
        assert_eq!(expand("{2}-{1.}-{-1}", &["a.b", "c"]), ["c-a-c"]);
        assert_eq!(expand("{#}/{%}", &["a"]), ["7/3"]);
    }

    #[test]
    fn other_braces_stay() {
        for word in ["{print $1}", "{", "}", "{x}", "{{", "a{b", "{-}", "${x}", "{1x}"] {
            assert_eq!(expand(word, &["v"]), [word]);
        }
    }

    #[test]
    fn a_value_that_isnt_there_is_refused_with_its_place() {
        let error = language(1).parse(b"ab{2.}").unwrap_err();
        assert_eq!((error.hole.as_str(), error.at, error.values), ("{2.}", 2, 1));
        assert!(language(1).parse(b"{0}").is_err() && language(2).parse(b"{-3/}").is_err());
    }

    #[test]
    fn names_come_from_headers() {
        let names = [b"w".to_vec(), b"h".to_vec()];
        let language = Language { whole: b"{}", names: &names, values: Some(2) };
        let word = language
            .parse(b"{h}x{w.}")
            .unwrap()
            .word(&[b"1.5".to_vec(), b"2".to_vec()], 1, |_, values| values.join(&b' '));
        assert_eq!(word.text, b"2x1");
    }

    #[test]
    fn another_string_takes_the_place_of_the_braces() {
        let language = Language { whole: b"_", names: &[], values: Some(1) };
        let word = language.parse(b"_{}").unwrap().word(&[b"v".to_vec()], 1, |_, values| values.join(&b' '));
        assert_eq!(word.text, b"v{}");
    }

    proptest! {
        #[test]
        fn no_word_makes_it_panic(word in proptest::collection::vec(any::<u8>(), 0..60), values in 0..3_usize) {
            let texts = vec![b"a/b.c".to_vec(); values];
            if let Ok(pattern) = language(values).parse(&word) {
                pattern.words(&texts, 1);
            }
        }

        #[test]
        fn braces_in_any_order_make_no_panic(word in "[{}./#%0-9-]{0,20}") {
            if let Ok(pattern) = language(1).parse(word.as_bytes()) {
                pattern.words(&[b"v".to_vec()], 1);
            }
        }
    }
}
