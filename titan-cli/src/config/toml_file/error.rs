//! What is wrong with a file, and how that is told: as a compiler would, with the place and the remedy.

use std::fmt;
use std::io;
use std::ops::Range;

use super::excerpt::Excerpt;
use crate::config::units::human_size;

/// So many problems of one file are told; whoever has more begins with these.
const MOST_TOLD: usize = 100;

/// A file that can't be used. Its text is complete: it begins with `error: ` and ends without a newline.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// It isn't there, or may not be read.
    #[error("error: cannot read {file}: {cause} (hint: {hint})")]
    Unreadable {
        /// The file as it was named.
        file: String,
        /// What the system said.
        cause: String,
        /// What to try.
        hint: &'static str,
    },
    /// It is larger than any such file could be.
    #[error("error: {file} is larger than {} (hint: is it the right file?)", human_size(*.most_bytes))]
    TooLarge {
        /// The file as it was named.
        file: String,
        /// How large it may be.
        most_bytes: u64,
    },
    /// Its bytes are no text.
    #[error("error: {file} is not UTF-8: byte 0x{byte:02x} on line {line} (hint: save it as UTF-8)")]
    NotUtf8 {
        /// The file as it was named.
        file: String,
        /// The line of the first such byte, counted from 1.
        line: usize,
        /// The first such byte.
        byte: u8,
    },
    /// What it says isn't right.
    #[error("{0}")]
    Invalid(Report),
}

impl ConfigError {
    /// What the system said about a file, without the number that means nothing to people.
    pub(crate) fn unreadable(file: String, error: &io::Error, hint: &'static str) -> Self {
        let said = error.to_string();
        let cause = said.split(" (os error").next().unwrap_or_default().to_owned();
        Self::Unreadable { file, cause, hint }
    }
}

/// One thing that is wrong in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where, in bytes.
    pub(crate) span: Range<usize>,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it, said beside the carets; may be empty.
    pub(crate) label: String,
    /// Another place that has to do with it, and what it is.
    pub(crate) related: Option<(Range<usize>, &'static str)>,
}

/// What was found wrong in one file so far.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Notes a problem and the remedy, which may be empty.
    pub(crate) fn add(&mut self, span: Range<usize>, message: impl Into<String>, label: impl Into<String>) {
        self.0.push(Problem { span, message: message.into(), label: label.into(), related: None });
    }

    /// Notes a problem that has to do with another place.
    pub(crate) fn add_related(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// How many there are so far.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// `value` if there were no problems, and all of them otherwise.
    pub(crate) fn unless_any<T>(self, file: &str, text: &str, value: T) -> Result<T, ConfigError> {
        if self.0.is_empty() { Ok(value) } else { Err(ConfigError::Invalid(Report::of(file, text, self.0))) }
    }
}

/// The problems of a file with the lines that they are on.
#[derive(Debug)]
pub(crate) struct Report {
    file: String,
    told: Vec<Told>,
    untold: usize,
}

#[derive(Debug)]
struct Told {
    message: String,
    label: String,
    excerpt: Excerpt,
    related: Option<(&'static str, usize)>,
}

impl Report {
    fn of(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.start);
        let untold = problems.len().saturating_sub(MOST_TOLD);
        problems.truncate(MOST_TOLD);
        let told = problems.into_iter().map(|problem| Told {
            excerpt: Excerpt::of(text, &problem.span),
            related: problem.related.map(|(span, what)| (what, Excerpt::of(text, &span).line)),
            message: problem.message,
            label: problem.label,
        });
        Self { file: file.to_owned(), told: told.collect(), untold }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, told) in self.told.iter().enumerate() {
            let gap = if index > 0 { "\n\n" } else { "" };
            writeln!(f, "{gap}error: {}", told.message)?;
            told.excerpt.write(f, &self.file, &told.label)?;
            if let Some((what, line)) = told.related {
                let margin = " ".repeat(told.excerpt.line.to_string().len());
                write!(f, "\n{margin} = note: {what} on line {line}")?;
            }
        }
        if self.untold > 0 {
            write!(f, "\n\nerror: {} more in {}", self.untold, self.file)?;
        }
        Ok(())
    }
}
