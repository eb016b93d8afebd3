//! Colours of a field: a few stops with straight lines between them. Only +, -, *, / are used, so that a picture is the
//! same everywhere.

/// A colour: red, green, blue.
type Colour = [u8; 3];

/// Low to high around a middle: blue, white, red.
const AROUND: &[Colour] = &[[5, 48, 97], [67, 147, 195], [247, 247, 247], [214, 96, 77], [103, 0, 31]];

/// From nothing to much: black, violet, orange, light yellow.
const UPWARD: &[Colour] = &[[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];

/// What is no number: magenta.
const NO_NUMBER: Colour = [255, 0, 255];

/// How the values of a field become colours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    stops: &'static [Colour],
    lowest: f64,
    highest: f64,
    /// The place between lowest and highest of all values, if these two are the same.
    if_flat: f64,
}

impl Scale {
    /// A scale around `middle` that reaches as far as the value that is farthest from it.
    pub(super) fn around(middle: f64, values: &[f64]) -> Self {
        let reach = largest(values.iter().map(|value| (value - middle).abs()));
        Self { stops: AROUND, lowest: middle - reach, highest: middle + reach, if_flat: 0.5 }
    }

    /// A scale from 0 to the largest value.
    pub(super) fn upward(values: &[f64]) -> Self {
        Self { stops: UPWARD, lowest: 0.0, highest: largest(values.iter().copied()), if_flat: 0.0 }
    }

    /// The colour of a value.
    pub(super) fn colour(&self, value: f64) -> Colour {
        if !value.is_finite() {
            return NO_NUMBER;
        }
        let last = self.stops.len() - 1;
        let span = self.highest - self.lowest;
        let share = if span > 0.0 { (value - self.lowest) / span } else { self.if_flat };
        let place = share.clamp(0.0, 1.0) * last as f64;
        let stop = (place as usize).min(last - 1);
        let (from, to, along) = (self.stops[stop], self.stops[stop + 1], place - stop as f64);
        std::array::from_fn(|channel| {
            let (from, to) = (f64::from(from[channel]), f64::from(to[channel]));
            (from + (to - from) * along + 0.5) as u8
        })
    }
}

/// The largest of these, or 0.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |largest, value| if value > largest { value } else { largest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_around_a_middle_is_white_there() {
        let scale = Scale::around(1.0, &[1.5, 0.75]);
        assert_eq!([1.5, 1.0, 0.5].map(|value| scale.colour(value)), [AROUND[4], AROUND[2], AROUND[0]]);
        assert_eq!(Scale::around(1.0, &[1.0]).colour(1.0), AROUND[2]);
    }

    #[test]
    fn an_upward_scale_begins_with_black_and_ends_with_the_largest() {
        let scale = Scale::upward(&[0.1, 0.4]);
        assert_eq!([0.0, 0.1, 0.4].map(|value| scale.colour(value)), [UPWARD[0], UPWARD[1], UPWARD[4]]);
        assert_eq!(Scale::upward(&[0.0]).colour(0.0), UPWARD[0]);
    }

    #[test]
    fn what_is_no_number_stands_out() {
        assert_eq!(Scale::upward(&[f64::NAN]).colour(f64::NAN), NO_NUMBER);
    }
}
