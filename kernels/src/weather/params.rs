//! What defines an ensemble, its bounds, and its fixed binary encoding.

use crate::OptionError;
use crate::typed::refused;
use std::ops::RangeInclusive;

/// The first bytes of the encoding: its name and version.
const MAGIC: [u8; 4] = *b"WTH1";

/// Length of the encoding.
const ENCODED_BYTES: usize = 36;

/// How many members an ensemble may have.
const MEMBERS: RangeInclusive<u32> = 1..=10_000;

/// Cells of a side.
const SIDE_CELLS: RangeInclusive<u32> = 8..=4096;

/// The most steps of time.
const MOST_STEPS: u32 = 1_000_000;

/// Length of a cell's surface height in a result: f64, little-endian.
pub(super) const HEIGHT_BYTES: u64 = 8;

/// An ensemble; what a host needs to compute any of its members.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// How many members there are.
    pub members: u32,
    /// Cells across and down.
    pub grid: (u32, u32),
    /// Steps of time.
    pub steps: u32,
    /// What all that is drawn depends on.
    pub seed: u64,
    /// The most that a member's start differs from the common one, in mean depths.
    pub perturb: f64,
}

impl Params {
    /// Cells of the grid.
    pub(super) fn cells(&self) -> u64 {
        u64::from(self.grid.0) * u64::from(self.grid.1)
    }

    /// Length of a member's result: the height of each cell, row by row.
    pub(super) fn result_bytes(&self) -> u64 {
        self.cells() * HEIGHT_BYTES
    }

    /// Whether everything is within its bounds.
    ///
    /// # Errors
    /// The first option that isn't, and what to type instead.
    pub fn check(&self) -> Result<(), OptionError> {
        let Self { members, grid: (columns, rows), steps, perturb, .. } = *self;
        if !MEMBERS.contains(&members) {
            let reason = format!("{members} is not between {} and {}", MEMBERS.start(), MEMBERS.end());
            return Err(refused("members", reason, "20 members show the spread well"));
        }
        if !SIDE_CELLS.contains(&columns) || !SIDE_CELLS.contains(&rows) {
            let (least, most) = (SIDE_CELLS.start(), SIDE_CELLS.end());
            let reason = format!("a side has to have {least} to {most} cells, not {columns}x{rows}");
            return Err(refused("grid", reason, "give columns x rows, such as 256x256"));
        }
        if steps > MOST_STEPS {
            let reason = format!("{steps} is more than {MOST_STEPS}");
            return Err(refused("steps", reason, "give a whole number, such as 1000"));
        }
        if !(0.0..=1.0).contains(&perturb) {
            let reason = format!("{perturb} is not between 0 and 1");
            return Err(refused("perturb", reason, "0.01 differs little, 0 not at all"));
        }
        Ok(())
    }

    /// The encoding; all numbers little-endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENCODED_BYTES);
        bytes.extend(MAGIC);
        for number in [self.members, self.grid.0, self.grid.1, self.steps] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.seed.to_le_bytes());
        bytes.extend(self.perturb.to_le_bytes());
        bytes
    }

    /// Reads what [`Params::encode`] wrote.
    ///
    /// # Errors
    /// What is wrong with the bytes, or with the values in them.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let bytes: &[u8; ENCODED_BYTES] =
            bytes.try_into().map_err(|_| format!("{} bytes, and not {ENCODED_BYTES}", bytes.len()))?;
        if bytes[..4] != MAGIC {
            return Err("they are not a weather ensemble's, or another version's".to_owned());
        }
        let int = |i: usize| u32::from_le_bytes(field(bytes, 4 + 4 * i));
        let params = Self {
            members: int(0),
            grid: (int(1), int(2)),
            steps: int(3),
            seed: u64::from_le_bytes(field(bytes, 20)),
            perturb: f64::from_le_bytes(field(bytes, 28)),
        };
        params.check().map_err(|error| error.to_string())?;
        Ok(params)
    }
}

/// The bytes of a field of that length at that place.
fn field<const LENGTH: usize>(bytes: &[u8; ENCODED_BYTES], at: usize) -> [u8; LENGTH] {
    std::array::from_fn(|i| bytes[at + i])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A small ensemble to vary.
    pub(in crate::weather) fn small() -> Params {
        Params { members: 3, grid: (24, 16), steps: 20, seed: 7, perturb: 0.01 }
    }

    fn problem(change: impl FnOnce(&mut Params)) -> String {
        let mut params = small();
        change(&mut params);
        let error = params.check().unwrap_err();
        assert!(error.hint.is_some());
        error.to_string()
    }

    #[test]
    fn values_outside_their_bounds_are_refused_by_name() {
        assert_eq!(problem(|p| p.members = 0), "--members: 0 is not between 1 and 10000");
        assert!(problem(|p| p.members = 10_001).starts_with("--members: 10001"));
        assert_eq!(problem(|p| p.grid.0 = 7), "--grid: a side has to have 8 to 4096 cells, not 7x16");
        assert!(problem(|p| p.grid.1 = 4097).starts_with("--grid: a side"));
        assert_eq!(problem(|p| p.steps = 1_000_001), "--steps: 1000001 is more than 1000000");
        assert_eq!(problem(|p| p.perturb = 1.5), "--perturb: 1.5 is not between 0 and 1");
        assert!(problem(|p| p.perturb = f64::NAN).starts_with("--perturb: NaN"));
        assert!(problem(|p| p.perturb = -1e-9).starts_with("--perturb: -"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(Params::decode(&bytes).is_err());
        }

        #[test]
        fn changed_bytes_are_refused_or_mean_what_they_say(at in 0..ENCODED_BYTES, value in any::<u8>()) {
            let mut bytes = small().encode();
            bytes[at] = value;
            if let Ok(params) = Params::decode(&bytes) {
                prop_assert_eq!(params.encode(), bytes);
            }
        }
    }

    #[test]
    fn what_was_encoded_is_read_back() {
        assert_eq!(Params::decode(&small().encode()), Ok(small()));
        assert_eq!(small().encode().len(), ENCODED_BYTES);
        assert!(Params::decode(&small().encode()[1..]).is_err());
    }
}
