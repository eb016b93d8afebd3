//! Sources → the values of each task. One source is read as its values are needed, and never ends if it doesn't; several are
//! read whole, and multiplied or taken in step.

use std::io::BufRead;

/// The longest value: an argument can't be longer.
const MAX_VALUE_BYTES: usize = 128 << 10;
/// Values that are held of sources which are multiplied.
const MAX_HELD_VALUES: usize = 10_000_000;

/// The values of one task, one for each source or column.
pub(crate) type Values = Vec<Vec<u8>>;

/// How lines become values.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// What ends a value.
    pub(crate) end: u8,
    /// Empty values are skipped.
    pub(crate) skips_empty: bool,
    /// What separates the columns of a value.
    pub(crate) column_end: Option<Vec<u8>>,
    /// The first value names the columns.
    pub(crate) has_header: bool,
    /// Values of each task; 0 is as 1.
    pub(crate) at_once: usize,
    /// All sources are taken in step.
    pub(crate) links_all: bool,
}

/// One source, opened.
pub(crate) enum Opened {
    /// Values that are known.
    Known(Vec<Vec<u8>>),
    /// Lines that are still to be read; the name is for messages.
    Lines { name: String, reader: Box<dyn BufRead + Send> },
}

/// The values of all tasks.
pub(crate) struct Tasks {
    /// How many tasks there are, if that is known before they are taken.
    pub(crate) total: Option<u64>,
    /// The names of the values, if the sources have headers.
    pub(crate) names: Vec<Vec<u8>>,
    /// One item for each task.
    pub(crate) values: Box<dyn Iterator<Item = Result<Values, String>> + Send>,
}

/// Combines sources; each is linked to the one before or not.
///
/// # Errors
/// A sentence: a source can't be read, or lengths that have to be equal aren't.
pub(crate) fn combine(sources: Vec<(Opened, bool)>, reading: &Reading) -> Result<Tasks, String> {
    match <[(Opened, bool); 1]>::try_from(sources) {
        Ok([(source, _)]) => single(source, reading),
        Err(sources) => several(sources, reading),
    }
}

fn single(source: Opened, reading: &Reading) -> Result<Tasks, String> {
    let mut total = None;
    let mut values: Box<dyn Iterator<Item = Result<Vec<u8>, String>> + Send> = match source {
        Opened::Known(values) => {
            total = Some(values.len() as u64 - u64::from(reading.has_header && !values.is_empty()));
            Box::new(values.into_iter().map(Ok))
        }
        Opened::Lines { name, reader } => Box::new(Lines::new(name, reader, reading)),
    };
    let names = if reading.has_header { header(values.next(), reading)? } else { Vec::new() };
    let at_once = reading.at_once.max(1);
    let total = total.map(|total| total.div_ceil(at_once as u64));
    let column_end = reading.column_end.clone();
    let tasks =
        Chunks { values, at_once }.map(move |values| values.map(|values| columns(values, column_end.as_deref())));
    Ok(Tasks { total, names, values: Box::new(tasks) })
}

fn header(first: Option<Result<Vec<u8>, String>>, reading: &Reading) -> Result<Vec<Vec<u8>>, String> {
    let first = first.transpose()?.unwrap_or_default();
    Ok(columns(vec![first], reading.column_end.as_deref()))
}

/// Values, taken apart into columns.
fn columns(values: Values, column_end: Option<&[u8]>) -> Values {
    let Some(end) = column_end.filter(|end| !end.is_empty()) else { return values };
    values.iter().flat_map(|value| split(value, end)).collect()
}

fn split(value: &[u8], end: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut at = 0;
    while at < value.len() {
        if value[at..].starts_with(end) {
            parts.push(Vec::new());
            at += end.len();
        } else {
            parts.last_mut().expect("there is one from the beginning").push(value[at]);
            at += 1;
        }
    }
    parts
}

fn several(sources: Vec<(Opened, bool)>, reading: &Reading) -> Result<Tasks, String> {
    let mut groups: Vec<Vec<Vec<Vec<u8>>>> = Vec::new();
    let mut names = Vec::new();
    for (place, (source, is_linked)) in sources.into_iter().enumerate() {
        let mut values = match source {
            Opened::Known(values) => values,
            Opened::Lines { name, reader } => read_whole(Lines::new(name, reader, reading))?,
        };
        if reading.has_header && !values.is_empty() {
            names.push(values.remove(0));
        }
        match groups.last_mut().filter(|_| place > 0 && (is_linked || reading.links_all)) {
            Some(group) => group.push(values),
            None => groups.push(vec![values]),
        }
    }
    let lengths = groups.iter().map(|group| linked_length(group)).collect::<Result<Vec<_>, _>>()?;
    let total = lengths.iter().try_fold(1_u64, |total, length| total.checked_mul(*length as u64));
    let total = total.ok_or("the product of the sources is too large")?;
    let at_once = reading.at_once.max(1) as u64;
    let column_end = reading.column_end.clone();
    let task = move |number: u64| combination(&groups, &lengths, number);
    let values = (0..total.div_ceil(at_once)).map(move |chunk| {
        let values = (chunk * at_once..total.min((chunk + 1) * at_once)).flat_map(&task).collect();
        Ok(columns(values, column_end.as_deref()))
    });
    Ok(Tasks { total: Some(total.div_ceil(at_once)), names, values: Box::new(values) })
}

fn read_whole(lines: Lines) -> Result<Vec<Vec<u8>>, String> {
    let name = lines.name.clone();
    let mut values = Vec::new();
    for line in lines {
        values.push(line?);
        if values.len() > MAX_HELD_VALUES {
            return Err(format!("{name} has more than {MAX_HELD_VALUES} values, too many to combine with others"));
        }
    }
    Ok(values)
}

fn linked_length(group: &[Vec<Vec<u8>>]) -> Result<usize, String> {
    let first = group[0].len();
    match group.iter().find(|values| values.len() != first) {
        None => Ok(first),
        Some(other) => Err(format!("sources that are taken in step have {first} and {} values", other.len())),
    }
}

/// The values of one combination: the last group varies fastest.
fn combination(groups: &[Vec<Vec<Vec<u8>>>], lengths: &[usize], number: u64) -> Values {
    let mut left = number;
    let mut places = vec![0; groups.len()];
    for (place, length) in lengths.iter().enumerate().rev() {
        places[place] = (left % *length as u64) as usize;
        left /= *length as u64;
    }
    groups.iter().zip(places).flat_map(|(group, place)| group.iter().map(move |values| values[place].clone())).collect()
}

/// So many values at a time; the last time maybe fewer.
struct Chunks<I> {
    values: I,
    at_once: usize,
}

impl<I: Iterator<Item = Result<Vec<u8>, String>>> Iterator for Chunks<I> {
    type Item = Result<Values, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut chunk = Vec::with_capacity(1);
        while chunk.len() < self.at_once {
            match self.values.next() {
                Some(Ok(value)) => chunk.push(value),
                Some(Err(error)) => return Some(Err(error)),
                None => break,
            }
        }
        (!chunk.is_empty()).then_some(Ok(chunk))
    }
}

/// The lines of a reader as values.
struct Lines {
    name: String,
    reader: Box<dyn BufRead + Send>,
    end: u8,
    skips_empty: bool,
    number: u64,
    warned: bool,
    failed: bool,
}

impl Lines {
    fn new(name: String, reader: Box<dyn BufRead + Send>, reading: &Reading) -> Self {
        let Reading { end, skips_empty, .. } = *reading;
        Self { name, reader, end, skips_empty, number: 0, warned: false, failed: false }
    }

    /// The next line without its end; None at the end of the source.
    fn read(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut line = Vec::new();
        self.number += 1;
        let problem = |name: &str, number: u64, what: &str| format!("{name}, line {number}: {what}");
        let mut limited = std::io::Read::take(&mut self.reader, MAX_VALUE_BYTES as u64 + 1);
        let length = limited.read_until(self.end, &mut line).map_err(|error| format!("{}: {error}", self.name))?;
        if length == 0 {
            return Ok(None);
        }
        if line.last() == Some(&self.end) {
            line.pop();
        } else if line.len() > MAX_VALUE_BYTES {
            let what = format!("it is longer than {MAX_VALUE_BYTES} bytes, which no argument can be");
            return Err(problem(&self.name, self.number, &what));
        }
        if self.end == b'\n' && line.last() == Some(&b'\r') && !self.warned {
            self.warned = true;
            let what = "it ends in CR LF, and the CR is part of the value";
            crate::tell::to_stderr(&format!("titan: {}", problem(&self.name, self.number, what)));
        }
        Ok(Some(line))
    }
}

impl Iterator for Lines {
    type Item = Result<Vec<u8>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        loop {
            match self.read() {
                Ok(Some(line)) if self.skips_empty && line.is_empty() => {}
                Ok(line) => return line.map(Ok),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading() -> Reading {
        Reading { end: b'\n', skips_empty: false, column_end: None, has_header: false, at_once: 1, links_all: false }
    }

    fn known(values: &[&str]) -> Opened {
        Opened::Known(values.iter().map(|value| value.as_bytes().to_vec()).collect())
    }

    fn lines(text: &str) -> Opened {
        Opened::Lines { name: "f".to_owned(), reader: Box::new(std::io::Cursor::new(text.as_bytes().to_vec())) }
    }

    fn all(sources: Vec<(Opened, bool)>, reading: &Reading) -> Vec<String> {
        let shown = |values: Values| String::from_utf8(values.join(&b' ')).unwrap();
        combine(sources, reading).unwrap().values.map(|values| shown(values.unwrap())).collect()
    }

    #[test]
    fn the_last_source_varies_fastest() {
        let tasks = all(vec![(known(&["a", "b"]), false), (known(&["1", "2"]), false)], &reading());
        assert_eq!(tasks, ["a 1", "a 2", "b 1", "b 2"]);
    }

    #[test]
    fn linked_sources_go_in_step_and_have_one_length() {
        let pair = |second: &[&str]| vec![(known(&["a", "b"]), false), (known(second), true)];
        assert_eq!(all(pair(&["1", "2"]), &reading()), ["a 1", "b 2"]);
        assert!(combine(pair(&["1"]), &reading()).is_err());
        let all_linked = Reading { links_all: true, ..reading() };
        assert_eq!(all(vec![(known(&["a"]), false), (known(&["1"]), false)], &all_linked), ["a 1"]);
    }

    #[test]
    fn a_line_is_a_value_and_the_last_needs_no_end() {
        assert_eq!(all(vec![(lines("a\n\nb"), false)], &reading()), ["a", "", "b"]);
        let skipping = Reading { skips_empty: true, ..reading() };
        assert_eq!(all(vec![(lines("a\n\nb\n"), false)], &skipping), ["a", "b"]);
        let nul = Reading { end: 0, ..reading() };
        assert_eq!(all(vec![(lines("a\n\0b"), false)], &nul), ["a\n", "b"]);
    }

    #[test]
    fn several_values_go_to_one_task() {
        let two = Reading { at_once: 2, ..reading() };
        assert_eq!(all(vec![(known(&["a", "b", "c"]), false)], &two), ["a b", "c"]);
    }

    #[test]
    fn values_have_columns_and_headers_name_them() {
        let table = Reading { column_end: Some(b",".to_vec()), has_header: true, ..reading() };
        let tasks = combine(vec![(lines("x,y\n1,2\n3,4\n"), false)], &table).unwrap();
        assert_eq!(tasks.names, [b"x", b"y"]);
        assert_eq!(tasks.values.map(Result::unwrap).last().unwrap(), [b"3", b"4"]);
    }

    #[test]
    fn a_value_that_no_argument_can_be_is_an_error_that_names_its_line() {
        let text = format!("ok\n{}", "x".repeat(MAX_VALUE_BYTES + 1));
        let last = combine(vec![(lines(&text), false)], &reading()).unwrap().values.last().unwrap();
        assert!(last.unwrap_err().starts_with("f, line 2: it is longer"));
    }

    proptest! {
        #[test]
        fn a_product_is_what_nested_loops_make(lengths in proptest::collection::vec(0..4_usize, 2..4)) {
            let source = |length: &usize| (0..*length).map(|number| number.to_string()).collect::<Vec<_>>();
            let mut expected = vec![Vec::new()];
            for length in &lengths {
                expected = expected.iter().flat_map(|front: &Vec<String>| {
                    source(length).into_iter().map(|value| [&front[..], &[value]].concat()).collect::<Vec<_>>()
                }).collect();
            }
            let sources = lengths.iter().map(|length| {
                let values = source(length);
                (known(&values.iter().map(String::as_str).collect::<Vec<_>>()), false)
            });
            let expected: Vec<String> = expected.iter().map(|values| values.join(" ")).collect();
            prop_assert_eq!(all(sources.collect(), &reading()), expected);
        }
    }
}
