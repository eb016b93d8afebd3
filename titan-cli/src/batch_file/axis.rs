//! An axis of an array: a name and a set of values. Sets that are counted are never written out.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::toml_file::{Problems, Rules, Section, no_nul};
use crate::config::units::human_size;
use crate::files::listing::expand;
use crate::state::specification::RecordedFile;

/// The longest file of values.
const MAX_LINES_BYTES: u64 = 512 << 20;

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    pub(crate) name: String,
    pub(crate) set: Set,
}

/// The values of an axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Set {
    List(Vec<Vec<u8>>),
    Range { first: i64, step: i64, count: u64 },
    Linear { first: f64, last: f64, count: u64 },
    Geometric { first: f64, last: f64, count: u64 },
}

impl Set {
    /// How many values there are.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::List(values) => values.len() as u64,
            Self::Range { count, .. } | Self::Linear { count, .. } | Self::Geometric { count, .. } => *count,
        }
    }

    /// The value at a place below the count. Both ends of a span are exact.
    pub(crate) fn value(&self, place: u64) -> Vec<u8> {
        let part = |count: u64| place as f64 / (count.max(2) - 1) as f64;
        match *self {
            Self::List(ref values) => values[place as usize].clone(),
            Self::Range { first, step, .. } => (first + step * place as i64).to_string().into_bytes(),
            Self::Linear { last, count, .. } | Self::Geometric { last, count, .. }
                if count > 1 && place == count - 1 =>
            {
                number(last)
            }
            Self::Linear { first, .. } | Self::Geometric { first, .. } if place == 0 => number(first),
            Self::Linear { first, last, count } => number(first + (last - first) * part(count)),
            Self::Geometric { first, last, count } => number(first * (last / first).powf(part(count))),
        }
    }
}

/// The shortest text that is read as the same number.
fn number(value: f64) -> Vec<u8> {
    format!("{value}").into_bytes()
}

/// What a table can be as a set.
const SET: Rules = Rules {
    name: "a set",
    keys: &["range", "step", "linear", "geometric", "count", "lines", "glob"],
    instead_of: &[("file", "lines"), ("files", "glob"), ("log", "geometric"), ("num", "count")],
};

/// Sets that a file takes from elsewhere: read once, and never again for a batch that is gone on with.
#[derive(Debug, Default)]
pub(super) struct Sets {
    /// As they were when the batch began.
    recorded: Option<VecDeque<Vec<Vec<u8>>>>,
    pub(super) read: VecDeque<Vec<Vec<u8>>>,
}

impl Sets {
    pub(super) fn of(recorded: Option<&RecordedFile>) -> Self {
        Self { recorded: recorded.map(|file| file.sets.clone()), read: VecDeque::new() }
    }

    fn next(&mut self, read: impl FnOnce() -> Option<Vec<Vec<u8>>>) -> Option<Set> {
        let values = match &mut self.recorded {
            Some(recorded) => recorded.pop_front(),
            None => read(),
        };
        self.read.extend(values.clone());
        values.map(Set::List)
    }
}

/// Reads the axes of an array, in the order in which they were written.
pub(super) fn read_axes(table: &DeTable<'_>, base: &Path, sets: &mut Sets, problems: &mut Problems) -> Vec<Axis> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    let mut axes = Vec::new();
    for (name, value) in entries {
        let text = name.get_ref();
        let is_name = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !is_name {
            let message = format!("'{text}' can't name an axis");
            problems.add(name.span(), message, "write small letters, digits and '_', beginning with a letter");
        }
        // One that can't be read is an axis all the same: what names it isn't wrong.
        let set = read_set(value, base, sets, problems).unwrap_or(Set::List(Vec::new()));
        axes.push(Axis { name: text.to_string(), set });
    }
    axes
}

fn read_set(value: &Spanned<DeValue<'_>>, base: &Path, sets: &mut Sets, problems: &mut Problems) -> Option<Set> {
    match value.get_ref() {
        DeValue::Array(items) => {
            let mut values = Vec::new();
            for item in items.iter() {
                match scalar(item.get_ref()) {
                    Some(text) if no_nul(&text).is_err() => {
                        problems.add(item.span(), "a NUL byte in a value, which no argument can hold", "");
                    }
                    Some(text) => values.push(text.into_bytes()),
                    None => problems.add(item.span(), "a value of a set is a string or a number", ""),
                }
            }
            (values.len() == items.len()).then_some(Set::List(values))
        }
        DeValue::Table(_) => read_made(value, base, sets, problems),
        _ => {
            let remedy = "write [1, 2, 3], { range = [1, 9] }, { lines = \"FILE\" } or { glob = \"*.txt\" }";
            problems.add(value.span(), "a set is an array or a table", remedy);
            None
        }
    }
}

/// A number or a string as a task sees it.
pub(super) fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(text) => i64::from_str_radix(text.as_str(), text.radix()).ok().map(|value| value.to_string()),
        DeValue::Float(text) => text.as_str().parse::<f64>().ok().map(|value| format!("{value}")),
        _ => None,
    }
}

fn read_made(value: &Spanned<DeValue<'_>>, base: &Path, sets: &mut Sets, problems: &mut Problems) -> Option<Set> {
    let mut section = Section::open_value(&SET, value, problems)?;
    let kinds: Vec<&str> =
        ["range", "linear", "geometric", "lines", "glob"].into_iter().filter(|key| section.has(key)).collect();
    let [kind] = kinds[..] else {
        let span = section.span();
        section.problems().add(span, "a set has exactly one of range, linear, geometric, lines and glob", "");
        return None;
    };
    let allowed: &[&str] = match kind {
        "range" => &["step"],
        "linear" | "geometric" => &["count"],
        _ => &[],
    };
    let is_extra = |key: &&str| !allowed.contains(key) && section.has(key);
    for extra in ["step", "count"].into_iter().filter(is_extra).collect::<Vec<_>>() {
        section.refuse(extra, format!("{extra} doesn't go with {kind}"), "leave it out");
    }
    match kind {
        "range" => range(&mut section),
        "lines" => sets.next(|| lines(&mut section, base)),
        "glob" => sets.next(|| glob(&mut section, base)),
        _ => span(&mut section, kind),
    }
}

/// Two numbers.
fn ends(section: &mut Section<'_, '_>, key: &str) -> Option<[f64; 2]> {
    let items = section.value(key)?.get_ref().as_array().map(|items| {
        items.iter().map(|item| match item.get_ref() {
            DeValue::Integer(_) | DeValue::Float(_) => scalar(item.get_ref()).and_then(|text| text.parse().ok()),
            _ => None,
        })
    });
    let numbers: Option<Vec<f64>> = items.and_then(Iterator::collect);
    match numbers.as_deref() {
        Some(&[first, last]) if first.is_finite() && last.is_finite() => Some([first, last]),
        _ => {
            section.refuse(key, format!("{key} must be two numbers"), format!("write {key} = [FIRST, LAST]"));
            None
        }
    }
}

fn range(section: &mut Section<'_, '_>) -> Option<Set> {
    let [first, last] = ends(section, "range")?;
    if first.fract() != 0.0 || last.fract() != 0.0 || first.abs() > 1e15 || last.abs() > 1e15 {
        section.refuse("range", "range must be two whole numbers of at most 10^15", "use linear for others");
        return None;
    }
    let (first, last) = (first as i64, last as i64);
    let direction = if last < first { -1 } else { 1 };
    let step = match section.value("step").map(Spanned::get_ref) {
        None => direction,
        Some(value) => match scalar(value).and_then(|text| text.parse::<i64>().ok()) {
            Some(step) if step != 0 && step.signum() == direction && step.abs() <= 1_000_000_000_000 => step,
            _ => {
                let message = format!("step can't lead from {first} to {last}");
                section.refuse("step", message, "write a whole number of that direction");
                return None;
            }
        },
    };
    let count = ((last - first) / step) as u64 + 1;
    Some(Set::Range { first, step, count })
}

fn span(section: &mut Section<'_, '_>, kind: &str) -> Option<Set> {
    let ends = ends(section, kind);
    if !section.has("count") {
        let span = section.span();
        section.problems().add(span, format!("{kind} needs a count"), "how many values, both ends included");
        return None;
    }
    let count = u64::from(section.integer("count", 1..=10_000_000)?);
    let [first, last] = ends?;
    if kind == "linear" {
        return Some(Set::Linear { first, last, count });
    }
    if first == 0.0 || last == 0.0 || (first < 0.0) != (last < 0.0) {
        section.refuse("geometric", "the ends of geometric must be of one sign, and not 0", "");
        return None;
    }
    Some(Set::Geometric { first, last, count })
}

fn lines(section: &mut Section<'_, '_>, base: &Path) -> Option<Vec<Vec<u8>>> {
    let path = section.path("lines")?;
    let mut text = Vec::new();
    let read = File::open(base.join(&path)).and_then(|file| file.take(MAX_LINES_BYTES + 1).read_to_end(&mut text));
    match read {
        Ok(_) if text.len() as u64 > MAX_LINES_BYTES => {
            let message = format!("{} is longer than {}", path.display(), human_size(MAX_LINES_BYTES));
            section.refuse("lines", message, "is it the right file?");
            return None;
        }
        Ok(_) => {}
        Err(error) => {
            section.refuse("lines", format!("cannot read {}: {error}", path.display()), "");
            return None;
        }
    };
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Some(lines.map(<[u8]>::to_vec).collect())
}

fn glob(section: &mut Section<'_, '_>, base: &Path) -> Option<Vec<Vec<u8>>> {
    let pattern = section.path("glob")?;
    let found = expand(base, pattern.as_os_str().as_bytes());
    if found.is_empty() {
        section.refuse("glob", format!("no file matches {}", pattern.display()), "");
        return None;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(set: &Set) -> Vec<String> {
        (0..set.count()).map(|place| String::from_utf8(set.value(place)).unwrap()).collect()
    }

    #[test]
    fn both_ends_of_a_span_are_exact() {
        assert_eq!(texts(&Set::Linear { first: 0.0, last: 1.0, count: 5 }), ["0", "0.25", "0.5", "0.75", "1"]);
        let zoom = texts(&Set::Geometric { first: 3.0, last: 0.004, count: 120 });
        assert_eq!((zoom.len(), zoom[0].as_str(), zoom[119].as_str()), (120, "3", "0.004"));
        assert_eq!(texts(&Set::Linear { first: 2.0, last: 3.0, count: 1 }), ["2"]);
    }

    #[test]
    fn ranges_include_their_ends_and_may_go_down() {
        assert_eq!(texts(&Set::Range { first: 1, step: 2, count: 3 }), ["1", "3", "5"]);
        assert_eq!(texts(&Set::Range { first: 1, step: -1, count: 3 }), ["1", "0", "-1"]);
    }
}
