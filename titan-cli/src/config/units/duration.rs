//! Durations: `90`, `90s`, `10m`, `2h`, `1d`, `500ms`; a bare number is seconds.

use std::time::Duration;

use super::{Quantity, unknown_unit};
use crate::config::text::shorten;

/// The longest duration that can be written. Beyond it adding to a point in time could overflow on some system.
const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);

/// The units, longest last, with their nanoseconds.
const UNITS: [(&str, u128); 5] = [
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// What people write when they mean one of [`UNITS`].
const OTHER_NAMES: [(&str, &str); 8] = [
    ("sec", "s"),
    ("second", "s"),
    ("min", "m"),
    ("minute", "m"),
    ("hr", "h"),
    ("hour", "h"),
    ("day", "d"),
    ("msec", "ms"),
];

/// Reads a duration. The error completes a sentence that begins with the value, such as "has no unit 'x'".
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    parse(text).map_err(|problem| format!("{problem}: write a duration such as 90s, 10m, 2h, 1d or 500ms"))
}

/// Reads how long something may take: longer than no time.
///
/// # Errors
/// What is wrong, and how durations are written.
pub(crate) fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("would end every task at once: leave it out for no limit".to_owned()),
        timeout => Ok(timeout),
    }
}

fn parse(text: &str) -> Result<Duration, String> {
    let quantity = Quantity::split(text)?;
    let unit_ns = unit_ns(quantity.unit)?;
    let total_ns = quantity.times(unit_ns).and_then(|ns| u64::try_from(ns).ok());
    match total_ns.map(Duration::from_nanos) {
        Some(duration) if duration <= LONGEST => Ok(duration),
        _ => Err(format!("is longer than {}", exact_duration(LONGEST))),
    }
}

fn unit_ns(unit: &str) -> Result<u128, String> {
    if unit.is_empty() {
        return Ok(1_000_000_000);
    }
    if let Some((_, unit_ns)) = UNITS.iter().find(|(name, _)| *name == unit) {
        return Ok(*unit_ns);
    }
    let singular = unit.strip_suffix('s').unwrap_or(unit).to_ascii_lowercase();
    match OTHER_NAMES.iter().find(|(name, _)| *name == singular) {
        Some((_, meant)) => Err(format!("has no unit '{}' (did you mean '{meant}'?)", shorten(unit))),
        None => Err(unknown_unit(unit, &UNITS.map(|(name, _)| name))),
    }
}

/// The shortest text that [`parse_duration`] reads as exactly this duration: `500ms`, `90s`, `10m`.
pub(crate) fn exact_duration(duration: Duration) -> String {
    let (seconds, ns) = (duration.as_secs(), duration.subsec_nanos());
    if ns == 0 {
        let in_whole = |unit: u64| seconds >= 2 * unit && seconds.is_multiple_of(unit);
        return match seconds {
            _ if in_whole(86_400) => format!("{}d", seconds / 86_400),
            _ if in_whole(3_600) => format!("{}h", seconds / 3_600),
            _ if in_whole(60) => format!("{}m", seconds / 60),
            _ => format!("{seconds}s"),
        };
    }
    if seconds == 0 && ns.is_multiple_of(1_000_000) {
        return format!("{}ms", ns / 1_000_000);
    }
    format!("{}s", format!("{seconds}.{ns:09}").trim_end_matches('0'))
}

/// A duration for people, in two figures or so: `340 ms`, `12.3 s`, `4 min 5 s`, `3 h 20 min`, `2 d 4 h`.
pub(crate) fn human_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    let tenths = (ms + 50) / 100;
    let seconds = (ms + 500) / 1_000;
    if ms < 1_000 {
        return format!("{ms} ms");
    }
    if tenths < 600 {
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    match seconds {
        ..3_600 => format!("{minutes} min {} s", seconds % 60),
        3_600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_unit_means_what_it_says() {
        let cases = [("90", 90_000), ("90s", 90_000), ("10m", 600_000), ("2h", 7_200_000), ("1d", 86_400_000)];
        for (text, ms) in cases.into_iter().chain([("500ms", 500), ("1.5h", 5_400_000), ("0", 0), ("12.3 s", 12_300)]) {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_write() {
        let say = |text| parse_duration(text).expect_err("refused");
        insta::assert_snapshot!(say("5min"), @"has no unit 'min' (did you mean 'm'?): write a duration such as 90s, 10m, 2h, 1d or 500ms");
        insta::assert_snapshot!(say("soon"), @"doesn't begin with a number: write a duration such as 90s, 10m, 2h, 1d or 500ms");
        insta::assert_snapshot!(say("-5"), @"can't be negative: write a duration such as 90s, 10m, 2h, 1d or 500ms");
        insta::assert_snapshot!(say("99999999d"), @"is longer than 36500d: write a duration such as 90s, 10m, 2h, 1d or 500ms");
        insta::assert_snapshot!(say("5 fortnights"), @"has no unit 'fortnights' (there are ms, s, m, h, d): write a duration such as 90s, 10m, 2h, 1d or 500ms");
    }

    #[test]
    fn people_read_two_figures() {
        let cases = [(0, "0 ms"), (999, "999 ms"), (12_345, "12.3 s"), (59_960, "1 min 0 s"), (245_000, "4 min 5 s")];
        for (ms, text) in
            cases.into_iter().chain([(3_599_700, "1 h 0 min"), (12_000_000, "3 h 20 min"), (187_200_000, "2 d 4 h")])
        {
            assert_eq!(human_duration(Duration::from_millis(ms)), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer(text in ".*") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn any_number_with_any_unit_gets_an_answer(text in "[0-9]{1,40}(\\.[0-9]{1,20})?(ms|s|m|h|d)?") {
            let _ = parse_duration(&text);
        }

        #[test]
        fn an_exact_text_is_read_as_the_same_duration(ns in 0..=LONGEST.as_nanos() as u64, unit in 0..4u32) {
            let step = [1, 1_000_000, 1_000_000_000, 60_000_000_000][unit as usize];
            let duration = Duration::from_nanos(ns / step * step);
            prop_assert_eq!(parse_duration(&exact_duration(duration)), Ok(duration));
        }

        #[test]
        fn any_duration_has_a_text_for_people(seconds: u64, ns in 0..1_000_000_000u32) {
            prop_assert!(human_duration(Duration::new(seconds, ns)).len() < 40);
        }
    }
}
