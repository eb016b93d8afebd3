//! The words after titan's own options: a command, then sources of values. After the first source every word is a value,
//! whatever it looks like.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Where values come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceSpec {
    pub(crate) kind: SourceKind,
    /// Taken in step with the source before, not multiplied by it.
    pub(crate) is_linked: bool,
}

/// The kinds of sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// Words of the command line.
    Values(Vec<Vec<u8>>),
    /// The lines of a file; `-` is stdin.
    File(OsString),
}

/// A command and its sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) command: Vec<OsString>,
    pub(crate) sources: Vec<SourceSpec>,
}

/// Takes the words apart; `separator` is what stands for `:::`.
pub(crate) fn split(words: &[OsString], separator: &OsStr) -> Words {
    let mut split = Words { command: Vec::new(), sources: Vec::new() };
    let mut current: Option<(Separator, Vec<&OsString>)> = None;
    for word in words {
        if let Some(next) = Separator::of(word, separator) {
            end(current.replace((next, Vec::new())), &mut split.sources);
            continue;
        }
        match &mut current {
            Some((_, values)) => values.push(word),
            None => split.command.push(word.clone()),
        }
    }
    end(current, &mut split.sources);
    split
}

#[derive(Debug, Clone, Copy)]
struct Separator {
    is_files: bool,
    is_linked: bool,
}

impl Separator {
    fn of(word: &OsStr, separator: &OsStr) -> Option<Self> {
        let (bytes, values) = (word.as_bytes(), separator.as_bytes());
        let linked = |marks: &[u8]| bytes.strip_prefix(marks) == Some(b"+");
        match bytes {
            _ if bytes == values => Some(Self { is_files: false, is_linked: false }),
            _ if linked(values) => Some(Self { is_files: false, is_linked: true }),
            b"::::" => Some(Self { is_files: true, is_linked: false }),
            b"::::+" => Some(Self { is_files: true, is_linked: true }),
            _ => None,
        }
    }
}

fn end(source: Option<(Separator, Vec<&OsString>)>, sources: &mut Vec<SourceSpec>) {
    let Some((Separator { is_files, is_linked }, words)) = source else { return };
    if is_files {
        let file = |name: &&OsString| SourceSpec { kind: SourceKind::File((*name).clone()), is_linked };
        sources.extend(words.iter().map(file));
    } else {
        let values = words.into_iter().map(|word| word.as_bytes().to_vec()).collect();
        sources.push(SourceSpec { kind: SourceKind::Values(values), is_linked });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    fn values(values: &[&str], is_linked: bool) -> SourceSpec {
        let values = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        SourceSpec { kind: SourceKind::Values(values), is_linked }
    }

    #[test]
    fn the_command_ends_at_the_first_source_and_every_word_after_it_is_a_value() {
        let split = split(&words("echo -- -x ::: -a --json :::+ 1 2 :::: f g"), OsStr::new(":::"));
        assert_eq!(split.command, words("echo -- -x"));
        let file = |name: &str| SourceSpec { kind: SourceKind::File(name.into()), is_linked: false };
        assert_eq!(split.sources, [values(&["-a", "--json"], false), values(&["1", "2"], true), file("f"), file("g")]);
    }

    #[test]
    fn another_separator_replaces_the_usual_one() {
        let split = split(&words("echo ::: ,, a ,,+ b"), OsStr::new(",,"));
        assert_eq!(split.command, words("echo :::"));
        assert_eq!(split.sources, [values(&["a"], false), values(&["b"], true)]);
    }
}
