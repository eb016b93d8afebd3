//! Durations and sizes as people write them, in arguments and in TOML alike, and as people read them.
//!
//! Owns the grammar "a number, then perhaps a unit". Which range a value may have is the affair of those who read it.

use super::suggest::nearest;
use super::text::shorten;

mod duration;
mod size;

pub(crate) use duration::{exact_duration, human_duration, parse_duration, parse_timeout};
pub(crate) use size::{human_size, parse_size};

/// How many parts a unit is cut in, so that `1.5h` is exact without floating point: nine decimal digits.
const PARTS_PER_ONE: u128 = 1_000_000_000;

/// A decimal number and the unit that follows it, such as `1.5` and `GiB`.
#[derive(Debug, PartialEq, Eq)]
struct Quantity<'t> {
    /// The number, in billionths; further digits are cut off.
    parts: u128,
    /// What follows the number; empty when nothing does.
    unit: &'t str,
}

impl<'t> Quantity<'t> {
    /// Splits a text, or says what is wrong with its number.
    fn split(text: &'t str) -> Result<Self, String> {
        let text = text.trim_matches(' ');
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if text.starts_with('-') {
            return Err("can't be negative".to_owned());
        }
        let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(number_end);
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() && !fraction.contains('.') => (whole, fraction),
            Some(_) => return Err("isn't a number".to_owned()),
            None => (number, ""),
        };
        if whole.is_empty() {
            return Err("doesn't begin with a number".to_owned());
        }
        let whole: u64 = whole.parse().map_err(|_| "is too large".to_owned())?;
        let parts = u128::from(whole) * PARTS_PER_ONE + billionths(fraction);
        Ok(Self { parts, unit: unit.trim_start_matches(' ') })
    }

    /// The number times `factor`, rounded down; none when it overflows.
    fn times(&self, factor: u128) -> Option<u128> {
        self.parts.checked_mul(factor).map(|product| product / PARTS_PER_ONE)
    }
}

/// The digits after a decimal point as billionths.
fn billionths(fraction: &str) -> u128 {
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    digits.fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0'))
}

/// What is said about a unit that isn't one: the near miss if there is one, and the units that are.
fn unknown_unit(unit: &str, known: &[&str]) -> String {
    let shown = shorten(unit);
    match nearest(unit, known.iter().copied()) {
        Some(near) => format!("has no unit '{shown}' (did you mean '{near}'?)"),
        None => format!("has no unit '{shown}' (there are {})", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_a_number_and_a_unit() {
        assert_eq!(Quantity::split("90"), Ok(Quantity { parts: 90 * PARTS_PER_ONE, unit: "" }));
        assert_eq!(Quantity::split(" 1.5 GiB "), Ok(Quantity { parts: 1_500_000_000, unit: "GiB" }));
        assert_eq!(Quantity::split("0.0000000019s"), Ok(Quantity { parts: 1, unit: "s" }));
    }

    #[test]
    fn a_broken_number_is_refused() {
        for text in ["", "  ", "s", ".5", "1.", "1..2", "1.2.3", "-1", "+1", "99999999999999999999", "１"] {
            assert!(Quantity::split(text).is_err(), "{text:?}");
        }
    }
}
