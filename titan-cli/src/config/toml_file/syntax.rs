//! The first step of reading a file: is it TOML at all? Says what isn't, in words for people who don't know TOML.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, Error};

use super::error::{ConfigError, Problems};
use super::read::MOST_FILE_BYTES;
use crate::config::text::{printable, shorten};

/// Takes a text apart. What follows the first thing that isn't TOML would be guesses, so only that is told.
pub(crate) fn parse_document<'t>(text: &'t str, file: &str) -> Result<Spanned<DeTable<'t>>, ConfigError> {
    if text.len() as u64 > MOST_FILE_BYTES {
        return Err(ConfigError::TooLarge { file: file.to_owned(), most_bytes: MOST_FILE_BYTES });
    }
    match DeTable::parse(text) {
        Ok(table) => Ok(table),
        Err(error) => {
            let mut problems = Problems::default();
            note(&error, text, &mut problems);
            problems.unless_any(file, text, Spanned::new(0..0, DeTable::new()))
        }
    }
}

fn note(error: &Error, text: &str, problems: &mut Problems) {
    let span = error.span().unwrap_or(0..0);
    let found = text.get(span.clone()).unwrap_or_default();
    let (message, label) = match error.message() {
        "duplicate key" => (format!("'{}' is given twice", shorten(found)), "the second"),
        said if said.starts_with("string values must be quoted") => unquoted(found, text, &span),
        said if said.starts_with("key with no value") => ("a key without a value".to_owned(), "write key = value"),
        said if said.starts_with("unclosed array table") => (printable(said), "a list of tables begins [[name]]"),
        said if said.starts_with("unclosed table") => (printable(said), "a table begins [name]"),
        "recursion limit" | "cannot recurse further; max recursion depth met" => ("nested too deeply".to_owned(), ""),
        said => (printable(said), ""),
    };
    problems.add(span, message, label);
}

fn unquoted(found: &str, text: &str, span: &Range<usize>) -> (String, &'static str) {
    let after = text.get(span.start..).unwrap_or_default();
    if found.is_empty() && (after.is_empty() || after.starts_with(['\n', '\r', '#'])) {
        return ("a key without a value".to_owned(), "write the value after '='");
    }
    ("not a value".to_owned(), "text needs quotes")
}
