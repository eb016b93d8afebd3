//! Taking values out of a table of a TOML file by key, type and range, noting each that isn't as it should be.
//!
//! A getter gives none both for a key that isn't there and for one whose problem has been noted, so that reading goes
//! on and all problems are told at once.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problems;
use crate::config::suggest::nearest;
use crate::config::text::shorten;
use crate::config::units::{parse_duration, parse_size};

/// What a kind of table may hold.
#[derive(Debug)]
pub(crate) struct Rules {
    /// How messages call the table: `[[host]]`.
    pub(crate) name: &'static str,
    /// All keys.
    pub(crate) keys: &'static [&'static str],
    /// Words that people write instead of a key, and that key.
    pub(crate) instead_of: &'static [(&'static str, &'static str)],
}

impl Rules {
    fn remedy(&self, key: &str) -> String {
        let other_word = self.instead_of.iter().find(|(word, _)| *word == key).map(|(_, meant)| *meant);
        match other_word.or_else(|| nearest(key, self.keys.iter().copied())) {
            Some(meant) => format!("did you mean '{meant}'?"),
            None => format!("there are {}", self.keys.join(", ")),
        }
    }
}

/// A table that is being read.
pub(crate) struct Section<'t, 'p> {
    name: &'static str,
    table: &'t DeTable<'t>,
    span: Range<usize>,
    problems: &'p mut Problems,
}

impl<'t, 'p> Section<'t, 'p> {
    /// Begins to read a table; keys that the rules don't have are noted.
    pub(crate) fn open(rules: &Rules, table: &'t Spanned<DeTable<'t>>, problems: &'p mut Problems) -> Self {
        Self::begin(rules, table.get_ref(), table.span(), problems)
    }

    /// Begins to read a value that has to be a table.
    pub(crate) fn open_value(
        rules: &Rules,
        value: &'t Spanned<DeValue<'t>>,
        problems: &'p mut Problems,
    ) -> Option<Self> {
        if let DeValue::Table(table) = value.get_ref() {
            return Some(Self::begin(rules, table, value.span(), problems));
        }
        let message = format!("{} must be a table, not {}", rules.name, kind_of(value.get_ref()));
        problems.add(value.span(), message, "");
        None
    }

    fn begin(rules: &Rules, table: &'t DeTable<'t>, span: Range<usize>, problems: &'p mut Problems) -> Self {
        for key in table.keys().filter(|key| !rules.keys.contains(&key.get_ref().as_ref())) {
            let message = format!("unknown key '{}' in {}", shorten(key.get_ref()), rules.name);
            problems.add(key.span(), message, rules.remedy(key.get_ref()));
        }
        Self { name: rules.name, table, span, problems }
    }

    /// Where the table begins.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Whether the key is there, with whatever value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where the key is, or where the table begins if it isn't there.
    pub(crate) fn key_span(&self, key: &str) -> Range<usize> {
        self.table.get_key_value(key).map_or_else(|| self.span(), |(key, _)| key.span())
    }

    /// Where the value of the key is, or where the table begins if it isn't there.
    pub(crate) fn value_span(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or_else(|| self.span(), Spanned::span)
    }

    /// The value as it is.
    pub(crate) fn value(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    /// All problems so far, of this table and others.
    pub(crate) fn problems(&mut self) -> &mut Problems {
        self.problems
    }

    /// Notes a problem with the value of a key.
    pub(crate) fn refuse(&mut self, key: &str, message: impl Into<String>, label: impl Into<String>) {
        self.problems.add(self.value_span(key), message, label);
    }

    /// A text.
    pub(crate) fn string(&mut self, key: &str) -> Option<String> {
        match self.value(key)?.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            other => self.wrong_type(key, "a string", other),
        }
    }

    /// A text that `parse` understands; its error completes a sentence that begins with the value.
    pub(crate) fn parsed<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.string(key)?;
        parse(&text).map_err(|problem| self.refuse_text(key, &text, &problem)).ok()
    }

    /// A path as it was written.
    pub(crate) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.parsed(key, |text| match text {
            "" => Err("is empty".to_owned()),
            text => no_nul(text).map(|()| PathBuf::from(text)),
        })
    }

    /// True or false.
    pub(crate) fn boolean(&mut self, key: &str) -> Option<bool> {
        match self.value(key)?.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            other => self.wrong_type(key, "true or false", other),
        }
    }

    /// A whole number within a range.
    pub(crate) fn integer(&mut self, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let value = self.value(key)?.get_ref();
        let (least, most) = range.clone().into_inner();
        let remedy = format!("write a number from {least} to {most}");
        let Some(integer) = value.as_integer() else {
            let message = format!("{key} in {} must be a whole number, not {}", self.name, kind_of(value));
            let meant = value.as_str().and_then(|text| text.parse().ok()).filter(|number| range.contains(number));
            self.refuse(key, message, meant.map_or(remedy, |number| format!("write {number} without quotes")));
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let fitting = number.and_then(|number| u32::try_from(number).ok()).filter(|number| range.contains(number));
        if fitting.is_none() {
            self.refuse(key, format!("{key} can't be {}", shorten(&integer.to_string())), remedy);
        }
        fitting
    }

    /// A duration: a string with a unit, or a whole number of seconds.
    pub(crate) fn duration(&mut self, key: &str) -> Option<Duration> {
        self.measure(key, "a duration such as \"10m\", or seconds", parse_duration)
    }

    /// A size: a string with a unit, or a whole number of bytes.
    pub(crate) fn size(&mut self, key: &str) -> Option<u64> {
        self.measure(key, "a size such as \"4GiB\", or bytes", parse_size)
    }

    fn measure<T>(&mut self, key: &str, expected: &str, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        let text = match self.value(key)?.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().trim_start_matches('+').to_owned(),
            other => return self.wrong_type(key, expected, other),
        };
        parse(&text).map_err(|problem| self.refuse_text(key, &text, &problem)).ok()
    }

    /// An array of strings, each with its place.
    pub(crate) fn strings(&mut self, key: &str) -> Option<Vec<Spanned<String>>> {
        let value = self.value(key)?.get_ref();
        let Some(items) = value.as_array() else { return self.wrong_type(key, "an array of strings", value) };
        let mut strings = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => strings.push(Spanned::new(item.span(), text.to_string())),
                other => {
                    let message = format!("{key} must be an array of strings, and this is {}", kind_of(other));
                    self.problems.add(item.span(), message, quoting_remedy(other));
                }
            }
        }
        (strings.len() == items.len()).then_some(strings)
    }

    /// The variables of a table of strings, as for an environment.
    pub(crate) fn variables(&mut self, key: &str) -> Option<BTreeMap<String, String>> {
        let value = self.value(key)?.get_ref();
        let Some(table) = value.as_table() else {
            return self.wrong_type(key, "a table such as { NAME = \"value\" }", value);
        };
        let mut variables = BTreeMap::new();
        for (name, value) in table.iter() {
            if let Err(problem) = variable_name(name.get_ref()) {
                self.problems.add(name.span(), format!("'{}' {problem}", shorten(name.get_ref())), "");
            }
            match value.get_ref() {
                DeValue::String(text) => match no_nul(text) {
                    Ok(()) => drop(variables.insert(name.get_ref().to_string(), text.to_string())),
                    Err(problem) => self.problems.add(value.span(), format!("the value {problem}"), ""),
                },
                other => {
                    let message = format!("the value of a variable must be a string, not {}", kind_of(other));
                    self.problems.add(value.span(), message, quoting_remedy(other));
                }
            }
        }
        Some(variables)
    }

    /// The numbers of a table of counts, as for resources.
    pub(crate) fn counts(&mut self, key: &str, range: RangeInclusive<u32>) -> Option<BTreeMap<String, u32>> {
        let value = self.value(key)?.get_ref();
        let Some(table) = value.as_table() else { return self.wrong_type(key, "a table such as { gpu = 2 }", value) };
        let mut counts = BTreeMap::new();
        for (name, value) in table.iter() {
            let name_text = name.get_ref();
            if !is_resource_name(name_text) {
                let message = format!("'{}' can't be the name of a resource", shorten(name_text));
                self.problems.add(name.span(), message, "write letters, digits, '_' and '-'");
            }
            let number = match value.get_ref() {
                DeValue::Integer(text) => u32::from_str_radix(text.as_str(), text.radix()).ok(),
                _ => None,
            };
            match number.filter(|number| range.contains(number)) {
                Some(number) => drop(counts.insert(name_text.to_string(), number)),
                None => {
                    let (first, last) = (range.start(), range.end());
                    let message = format!("a count must be a number from {first} to {last}");
                    self.problems.add(value.span(), message, "");
                }
            }
        }
        Some(counts)
    }

    /// Notes that the text of a key isn't understood. A problem is "what is wrong" or "what is wrong: what to write".
    fn refuse_text(&mut self, key: &str, text: &str, problem: &str) {
        let (wrong, remedy) = problem.rsplit_once(": ").unwrap_or((problem, ""));
        self.refuse(key, format!("{key} = '{}' {wrong}", shorten(text)), remedy);
    }

    fn wrong_type<T>(&mut self, key: &str, expected: &str, found: &DeValue<'_>) -> Option<T> {
        let message = format!("{key} in {} must be {expected}, not {}", self.name, kind_of(found));
        let remedy = match found {
            _ if expected == "a string" => quoting_remedy(found),
            DeValue::String(text) if expected == "an array of strings" => {
                format!("write [{}]", quoted(text))
            }
            _ => unquoting_remedy(found),
        };
        self.refuse(key, message, remedy);
        None
    }
}

/// Whether that can name a counted resource: it becomes part of a variable's name.
pub(crate) fn is_resource_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Refuses what no argument, path or variable of a process can hold.
pub(crate) fn no_nul(text: &str) -> Result<(), String> {
    if text.contains('\0') { Err("holds a NUL character".to_owned()) } else { Ok(()) }
}

fn variable_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.contains('=') || name.chars().any(char::is_control) {
        return Err("can't be the name of a variable: it is empty, or holds '=' or a control character");
    }
    Ok(())
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// A text as TOML has it, no longer than a message can bear.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(shorten(text)).to_string()
}

/// What makes a string of a value that was meant as one.
fn quoting_remedy(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Array(_) | DeValue::Table(_) | DeValue::String(_) => String::new(),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            "put it in quotes".to_owned()
        }
    }
}

/// What makes a number or a truth of a string that holds one.
fn unquoting_remedy(value: &DeValue<'_>) -> String {
    match value.as_str() {
        Some(text) if text.parse::<i64>().is_ok() || matches!(text, "true" | "false") => {
            format!("write {text} without quotes")
        }
        _ => String::new(),
    }
}
