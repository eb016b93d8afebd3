//! Rules that are written in a few characters: when to halt, how busy a host may be, what a task asks for, where it may run.

use titan_manager::{Condition, Halt, HaltWhy, LoadLimit};

use super::text::shorten;
use super::toml_file::is_resource_name;

/// `--where A,!B,k=v`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted(pub(crate) Vec<Condition>);

/// Reads `now|soon,fail=N|fail=N%|success=N|done=N`.
pub(crate) fn parse_halt(text: &str) -> Result<Halt, String> {
    const REMEDY: &str = "write now or soon, a comma, and fail=N, fail=N%, success=N or done=N";
    if text == "never" {
        return Ok(Halt { now: false, why: HaltWhy::Ended(u64::MAX) });
    }
    let (when, why) = text.split_once(',').ok_or(REMEDY)?;
    let now = match when {
        "now" => true,
        "soon" => false,
        _ => return Err(format!("'{}' is no time to halt: {REMEDY}", shorten(when))),
    };
    let (what, number) = why.split_once('=').ok_or(REMEDY)?;
    let percent = number.strip_suffix('%');
    let count = || {
        number
            .parse()
            .ok()
            .filter(|count: &u64| *count > 0)
            .ok_or(format!("'{}' is no number of tasks: {REMEDY}", shorten(number)))
    };
    let why = match (what, percent) {
        ("fail", Some(percent)) => {
            let percent = percent.parse().ok().filter(|percent: &u32| (1..=100).contains(percent));
            HaltWhy::FailedPercent(percent.ok_or(format!("'{}' is no percentage: {REMEDY}", shorten(number)))?)
        }
        ("fail", None) => HaltWhy::Failed(count()?),
        ("success", None) => HaltWhy::Completed(count()?),
        ("done", None) => HaltWhy::Ended(count()?),
        _ => return Err(format!("'{}' is nothing to halt for: {REMEDY}", shorten(why))),
    };
    Ok(Halt { now, why })
}

/// Reads a load average, or a percentage of the cores.
pub(crate) fn parse_load(text: &str) -> Result<LoadLimit, String> {
    let remedy = || format!("'{}' is no load: write a load average such as 4 or 3.5, or 80%", shorten(text));
    let (number, is_percent) = match text.strip_suffix('%') {
        Some(number) => (number, true),
        None => (text, false),
    };
    let value: f64 = number.parse().map_err(|_| remedy())?;
    if !(value > 0.0 && value <= 1e6) {
        return Err(remedy());
    }
    Ok(if is_percent { LoadLimit::PercentOfCores(value as u32) } else { LoadLimit::Absolute((value * 100.0) as u32) })
}

/// Reads `NAME=N`.
pub(crate) fn parse_resource(text: &str) -> Result<(String, u32), String> {
    let remedy = || format!("'{}' is no resource: write a name and a number, such as gpu=1", shorten(text));
    let (name, number) = text.split_once('=').ok_or_else(remedy)?;
    match number.parse().ok().filter(|number: &u32| *number > 0) {
        Some(number) if is_resource_name(name) => Ok((name.to_owned(), number)),
        _ => Err(remedy()),
    }
}

/// Reads `A,!B,k=v`.
pub(crate) fn parse_where(text: &str) -> Result<Wanted, String> {
    text.split(',').map(condition).collect::<Result<_, _>>().map(Wanted)
}

fn condition(text: &str) -> Result<Condition, String> {
    let (negated, label) = match text.strip_prefix('!') {
        Some(label) => (true, label),
        None => (false, text),
    };
    let (label, value) = match label.split_once('=') {
        Some((label, value)) => (label, Some(value.to_owned())),
        None => (label, None),
    };
    if label.is_empty() || label.starts_with('!') {
        return Err(format!("'{}' names no label: write labels such as audio,!slow,os=linux", shorten(text)));
    }
    Ok(Condition { label: label.to_owned(), value, negated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_is_a_time_and_a_reason() {
        assert_eq!(parse_halt("now,fail=1"), Ok(Halt { now: true, why: HaltWhy::Failed(1) }));
        assert_eq!(parse_halt("soon,fail=10%"), Ok(Halt { now: false, why: HaltWhy::FailedPercent(10) }));
        assert_eq!(parse_halt("soon,done=3"), Ok(Halt { now: false, why: HaltWhy::Ended(3) }));
        for wrong in ["", "now", "now,", "later,fail=1", "now,fail", "now,fail=0", "now,fail=101%", "now,success=5%"] {
            assert!(parse_halt(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_load_is_an_average_or_a_percentage() {
        assert_eq!(parse_load("3.5"), Ok(LoadLimit::Absolute(350)));
        assert_eq!(parse_load("80%"), Ok(LoadLimit::PercentOfCores(80)));
        for wrong in ["", "0", "-1", "x", "NaN", "%"] {
            assert!(parse_load(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn conditions_name_labels_values_and_their_absence() {
        let condition = |label: &str, value: Option<&str>, negated| Condition {
            label: label.to_owned(),
            value: value.map(str::to_owned),
            negated,
        };
        let wanted = vec![condition("a", None, false), condition("b", None, true), condition("k", Some("v"), false)];
        assert_eq!(parse_where("a,!b,k=v"), Ok(Wanted(wanted)));
        for wrong in ["", "a,", "!", "!!a", "=v"] {
            assert!(parse_where(wrong).is_err(), "{wrong}");
        }
    }
}
