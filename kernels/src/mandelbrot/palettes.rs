//! From escapes to colours: the palettes that `--palette` names.
//!
//! Smooth palettes go through a cyclic gradient with the logarithm of a continuous count. All of it is f64 arithmetic
//! without fused operations and without anybody's `log`, so that colours are the same to the bit everywhere.

use super::escape::{Batch, TWO_TO_52, integer};
use super::gradient::{self, ENTRIES, Stop, Table};

/// The most points that are coloured in one go.
pub(super) const MOST_POINTS: usize = 64;

/// What `--palette` knows, the default first. A palette's number in this list is part of the parameters' encoding.
pub(super) static NAMES: &[&str] = &["ultra", "titan", "gray", "fire", "ice", "twilight"];

/// Cycles of the gradient for each doubling of the count.
const CYCLES_PER_DOUBLING: f64 = 0.5;

/// Place in the cycle of a count of 1: chosen so that what is far from the set is dark.
const FIRST_PLACE: f64 = 0.8125;

const ULTRA: &[Stop] = &[
    (0.0, [0, 7, 100]),
    (0.16, [32, 107, 203]),
    (0.42, [237, 255, 255]),
    (0.6425, [255, 170, 0]),
    (0.8575, [0, 2, 0]),
];
const GRAY: &[Stop] = &[(0.0, [16, 16, 16]), (0.5, [250, 250, 250])];
const FIRE: &[Stop] = &[
    (0.0, [20, 2, 6]),
    (0.25, [150, 14, 8]),
    (0.5, [246, 108, 12]),
    (0.68, [255, 214, 92]),
    (0.78, [255, 250, 220]),
    (0.9, [120, 50, 30]),
];
const ICE: &[Stop] =
    &[(0.0, [4, 10, 38]), (0.25, [14, 74, 140]), (0.5, [86, 186, 220]), (0.7, [240, 252, 255]), (0.86, [92, 120, 190])];
const TWILIGHT: &[Stop] = &[
    (0.0, [24, 12, 50]),
    (0.2, [84, 36, 122]),
    (0.4, [210, 84, 120]),
    (0.55, [255, 176, 120]),
    (0.65, [255, 232, 196]),
    (0.8, [80, 140, 176]),
    (0.92, [22, 44, 92]),
];

/// A palette, ready to colour points. The inside of the set is black in each of them.
#[derive(Debug)]
pub(super) enum Palette {
    /// rgb = (5n, 13n, 23n) mod 256 for a count of n.
    Counted,
    /// A gradient.
    Smooth(Table),
}

impl Palette {
    /// The palette of that number in [`NAMES`].
    pub(super) fn new(number: usize) -> Self {
        let stops = match NAMES[number] {
            "titan" => return Self::Counted,
            "gray" => GRAY,
            "fire" => FIRE,
            "ice" => ICE,
            "twilight" => TWILIGHT,
            _ => ULTRA,
        };
        Self::Smooth(gradient::table(stops))
    }

    /// Sets `colours` (as 0x00BBGGRR) to those of at most [`MOST_POINTS`] points; `limit` marks what never escaped.
    #[inline(always)]
    pub(super) fn colour(&self, batch: Batch<'_>, limit: u32, colours: &mut [u32]) {
        match self {
            Self::Counted => {
                for (colour, &count) in colours.iter_mut().zip(batch.count) {
                    *colour = if count < limit { counted(count) } else { 0 };
                }
            }
            Self::Smooth(table) => colour_smoothly(table, batch, limit, colours),
        }
    }
}

fn counted(count: u32) -> u32 {
    let channel = |factor: u32| count.wrapping_mul(factor) & 255;
    channel(5) | channel(13) << 8 | channel(23) << 16
}

#[inline(always)]
fn colour_smoothly(table: &[u32; ENTRIES], batch: Batch<'_>, limit: u32, colours: &mut [u32]) {
    let mut entries = [0u64; MOST_POINTS];
    for ((entry, &steps), &magnitude) in entries.iter_mut().zip(batch.steps).zip(batch.magnitude) {
        *entry = table_entry(steps, magnitude);
    }
    for ((colour, &entry), &count) in colours.iter_mut().zip(&entries).zip(batch.count) {
        *colour = if count < limit { table[entry as usize % ENTRIES] } else { 0 };
    }
}

/// Number of the table's entry, to be taken modulo its length.
#[inline(always)]
fn table_entry(steps: f64, magnitude: f64) -> u64 {
    let place = (log2(continuous_count(steps, magnitude)) * CYCLES_PER_DOUBLING + FIRST_PLACE) * ENTRIES as f64;
    integer(place)
}

/// The count as a continuous function of the point, at least 1: one more step squares |z|², which adds 1 to the first
/// term and to the second.
#[inline(always)]
fn continuous_count(steps: f64, magnitude: f64) -> f64 {
    let count = steps + 5.0 - log2(log2(magnitude));
    if count > 1.0 { count } else { 1.0 }
}

/// log2 to within 5e-5, exact at powers of two and continuous there, for normal numbers of at least 1.
///
/// The exponent, and for the mantissa 1 + t the interpolation of log2 in the Chebyshev points of
/// t (1 + (1 - t) (a + b t + c t² + d t³)).
#[inline(always)]
fn log2(value: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = value.to_bits();
    let exponent = f64::from_bits(TWO_TO_52.to_bits() | bits >> 52) - (TWO_TO_52 + 1023.0);
    let t = f64::from_bits(bits & MANTISSA | 1f64.to_bits()) - 1.0;
    let cubic = 0.442_418_578_542 + t * (-0.269_578_014_949 + t * (0.150_533_196_599 + t * -0.044_873_955_263));
    exponent + t * (1.0 + (1.0 - t) * cubic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn log2_is_near_the_logarithm(value in 1.0..1e12f64) {
            prop_assert!((log2(value) - libm::log2(value)).abs() < 6e-5);
        }

        #[test]
        fn any_magnitude_has_a_colour(steps in 1.0..4e9f64, magnitude in 4.0..1e300f64) {
            let count = continuous_count(steps, magnitude);
            prop_assert!(count >= 1.0 && count < steps + 5.0);
        }
    }

    fn colours(number: usize, count: u32, magnitude: f64) -> u32 {
        let mut colours = [0];
        let batch = Batch { index: &[0], count: &[count], steps: &[f64::from(count) + 2.0], magnitude: &[magnitude] };
        Palette::new(number).colour(batch, 1000, &mut colours);
        colours[0]
    }

    #[test]
    fn log2_is_exact_at_powers_of_two() {
        assert_eq!([log2(1.0), log2(2.0), log2(65536.0)], [0.0, 1.0, 16.0]);
    }

    #[test]
    fn the_inside_is_black_in_every_palette() {
        for (number, name) in NAMES.iter().enumerate() {
            assert_eq!(colours(number, 1000, 1.0), 0, "{name}");
            assert_ne!(colours(number, 17, 70000.0), 0, "{name}");
        }
    }

    #[test]
    fn titan_counts() {
        assert_eq!(colours(1, 100, 70000.0).to_le_bytes(), [244, 20, 252, 0]);
    }

    #[test]
    fn colours_are_continuous_where_one_more_step_is_needed() {
        let sooner = continuous_count(10.0, 65536.0 * 65536.0);
        let later = continuous_count(11.0, 65536.0 * 65536.0 * 65536.0 * 65536.0);
        assert!((sooner - later).abs() < 1e-9);
    }

    #[test]
    fn colours_are_the_same_everywhere() {
        let entries =
            [(3.0, 1e5), (77.0, 66000.5), (1500.0, 3e9), (1e6, 1e300)].map(|(s, m)| table_entry(s, m) & 0xffff_ffff);
        assert_eq!(entries, [7384, 16201, 24936, 44148]);
    }
}
