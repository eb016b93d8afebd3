//! What defines a picture, its bounds, and its fixed binary encoding.

use super::grid::Grid;
use super::palettes;
use super::tile::Layout;
use super::tiles::{MOST_TILES, Tiling};
use crate::OptionError;
use crate::typed::refused;

/// The first bytes of the encoding: its name and version.
const MAGIC: [u8; 4] = *b"MBT1";

/// Length of the encoding.
const ENCODED_BYTES: usize = 50;

/// The most pixels of a side.
const MOST_SIDE_PIXELS: u32 = 1 << 20;

/// The most pixels of a picture.
const MOST_PIXELS: u64 = 1 << 34;

/// The largest centre or width, far beyond anything that can be seen.
const LARGEST_COORDINATE: f64 = 1e6;

/// The largest tile's result, in bytes.
const MOST_TILE_BYTES: u64 = u32::MAX as u64;

/// A picture and how it is cut; what a host needs to compute any of its tiles.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Centre of the picture: real and imaginary part.
    pub center: (f64, f64),
    /// Span of the real axis.
    pub width: f64,
    /// The picture's pixels and tiles.
    pub tiling: Tiling,
    /// Limit of iterations for each point.
    pub iterations: u32,
    /// Number in the list of palettes.
    pub palette: usize,
    /// Whether results hold counts.
    pub has_counts: bool,
}

impl Params {
    /// Where the picture's pixels lie.
    pub fn grid(&self) -> Grid {
        Grid::new(self.center, self.width, self.tiling.size)
    }

    /// The layout of a tile's result.
    pub(super) fn layout(&self, tile: u32) -> Layout {
        Layout { pixels: self.tiling.rect(tile).pixels(), has_counts: self.has_counts }
    }

    /// The longest result, in bytes.
    pub(super) fn longest_result(&self) -> u64 {
        Layout { pixels: self.tiling.largest().pixels(), has_counts: self.has_counts }.bytes()
    }

    /// Whether everything is within its bounds.
    ///
    /// # Errors
    /// The first option that isn't, and what to type instead.
    pub fn check(&self) -> Result<(), OptionError> {
        self.check_size()?;
        self.check_plane()?;
        self.check_iterations()?;
        self.check_tiles()
    }

    pub(super) fn check_size(&self) -> Result<(), OptionError> {
        let (columns, rows) = self.tiling.size;
        let side = |pixels: u32| (1..=MOST_SIDE_PIXELS).contains(&pixels);
        if !side(columns) || !side(rows) {
            let reason = format!("a side has to have 1 to {MOST_SIDE_PIXELS} pixels, not {columns}x{rows}");
            return Err(refused("size", reason, "give columns x rows, such as 4096x4096"));
        }
        let pixels = u64::from(columns) * u64::from(rows);
        if pixels > MOST_PIXELS {
            let reason = format!("{columns}x{rows} is {pixels} pixels, and {MOST_PIXELS} are the most");
            return Err(refused("size", reason, "131072x131072 is the largest square"));
        }
        Ok(())
    }

    fn check_plane(&self) -> Result<(), OptionError> {
        let (re, im) = self.center;
        let in_plane = |value: f64| value.abs() <= LARGEST_COORDINATE;
        if !in_plane(re) || !in_plane(im) {
            let reason = format!("{re},{im} is not a point within {LARGEST_COORDINATE} of 0");
            return Err(refused("center", reason, "give RE,IM, such as -0.746,0.102"));
        }
        if !(self.width > 0.0 && self.width <= LARGEST_COORDINATE) {
            let reason = format!("{} is not a positive number of at most {LARGEST_COORDINATE}", self.width);
            return Err(refused("width", reason, "3 shows the whole set"));
        }
        self.check_resolution()
    }

    /// Neighbouring pixels have to be different points: two units in the last place of the largest coordinate apart, so
    /// that no rounding brings them together.
    fn check_resolution(&self) -> Result<(), OptionError> {
        let (columns, rows) = self.tiling.size;
        let half_height = self.width * (f64::from(rows) / f64::from(columns)) / 2.0;
        let largest = (self.center.0.abs() + self.width / 2.0).max(self.center.1.abs() + half_height);
        let resolution = 2.0 * (largest.next_up() - largest);
        if self.width / f64::from(columns) >= resolution {
            return Ok(());
        }
        let reason = format!("{:e} is too narrow: 64-bit numbers can't tell {columns} columns apart there", self.width);
        let least = resolution * f64::from(columns);
        Err(refused("width", reason, &format!("use {least:.1e} or more, or fewer pixels")))
    }

    fn check_iterations(&self) -> Result<(), OptionError> {
        if (1..u32::MAX).contains(&self.iterations) {
            return Ok(());
        }
        let reason = format!("{} is not between 1 and {}", self.iterations, u32::MAX - 1);
        Err(refused("iterations", reason, "1000 shows the whole set well"))
    }

    fn check_tiles(&self) -> Result<(), OptionError> {
        let ((columns, rows), (width, height)) = (self.tiling.tiles, self.tiling.size);
        let problem = if columns == 0 || rows == 0 {
            format!("{columns}x{rows} is no tile at all")
        } else if columns > width || rows > height {
            format!("{columns}x{rows} tiles are more than {width}x{height} pixels allow")
        } else if u64::from(columns) * u64::from(rows) > MOST_TILES {
            format!("{columns}x{rows} are more than {MOST_TILES} tiles")
        } else if self.longest_result() > MOST_TILE_BYTES {
            format!("with {columns}x{rows} tiles one tile's result has {} bytes", self.longest_result())
        } else {
            return Ok(());
        };
        Err(refused("tiles", problem, "use --tiles auto"))
    }

    /// The encoding; all numbers little-endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENCODED_BYTES);
        bytes.extend(MAGIC);
        for number in [self.center.0, self.center.1, self.width] {
            bytes.extend(number.to_le_bytes());
        }
        let (size, tiles) = (self.tiling.size, self.tiling.tiles);
        for number in [size.0, size.1, tiles.0, tiles.1, self.iterations] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend([self.palette as u8, u8::from(self.has_counts)]);
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
            return Err("they are not a mandelbrot picture's, or another version's".to_owned());
        }
        let float = |i: usize| f64::from_le_bytes(field(bytes, 4 + 8 * i));
        let int = |i: usize| u32::from_le_bytes(field(bytes, 28 + 4 * i));
        let params = Self {
            center: (float(0), float(1)),
            width: float(2),
            tiling: Tiling { size: (int(0), int(1)), tiles: (int(2), int(3)) },
            iterations: int(4),
            palette: known(bytes[48], palettes::NAMES.len(), "palette")?,
            has_counts: known(bytes[49], 2, "flag")? == 1,
        };
        params.check().map_err(|error| error.to_string())?;
        Ok(params)
    }
}

/// The bytes of a field of that length at that place.
fn field<const LENGTH: usize>(bytes: &[u8; ENCODED_BYTES], at: usize) -> [u8; LENGTH] {
    std::array::from_fn(|i| bytes[at + i])
}

fn known(value: u8, values: usize, what: &str) -> Result<usize, String> {
    let value = usize::from(value);
    if value < values { Ok(value) } else { Err(format!("{value} is not a {what}")) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A small picture to vary.
    pub(in crate::mandelbrot) fn small() -> Params {
        Params {
            center: (-0.5, 0.0),
            width: 3.0,
            tiling: Tiling { size: (40, 30), tiles: (3, 2) },
            iterations: 100,
            palette: 0,
            has_counts: true,
        }
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
        assert_eq!(problem(|p| p.width = 0.0), "--width: 0 is not a positive number of at most 1000000");
        assert!(problem(|p| p.width = f64::NAN).starts_with("--width: NaN"));
        assert!(problem(|p| p.width = -1.0).starts_with("--width: -1"));
        assert!(problem(|p| p.width = f64::INFINITY).starts_with("--width: inf"));
        assert!(problem(|p| p.width = 1e-15).starts_with("--width: 1e-15 is too narrow"));
        assert!(problem(|p| p.center.1 = f64::NAN).starts_with("--center: -0.5,NaN"));
        assert!(problem(|p| p.tiling.size.1 = 0).starts_with("--size: a side"));
        assert!(problem(|p| p.tiling.size.0 = (1 << 20) + 1).starts_with("--size: a side"));
        assert!(problem(|p| p.tiling.size = (1 << 20, 1 << 20)).contains("pixels, and"));
        assert!(problem(|p| p.iterations = 0).starts_with("--iterations: 0"));
        assert!(problem(|p| p.iterations = u32::MAX).starts_with("--iterations: 4294967295"));
        assert!(problem(|p| p.tiling.tiles.0 = 0).starts_with("--tiles: 0x2"));
        assert!(problem(|p| p.tiling.tiles.1 = 31).starts_with("--tiles: 3x31 tiles are more"));
    }

    #[test]
    fn tiles_that_are_too_many_or_too_large_are_refused() {
        assert!(problem(|p| p.tiling = Tiling { size: (4096, 4096), tiles: (4096, 4096) }).contains("1048576 tiles"));
        assert!(problem(|p| p.tiling = Tiling { size: (65536, 65536), tiles: (2, 2) }).contains("one tile's result"));
    }

    #[test]
    fn at_the_finest_width_all_pixels_are_different_points() {
        let mut params = small();
        params.center = (-0.75, 0.9999);
        params.width = 40.0 * 2.0 * f64::EPSILON;
        params.check().unwrap();
        let grid = params.grid();
        assert!((1..40).all(|i| grid.re(i) > grid.re(i - 1)));
        assert!((1..30).all(|j| grid.im(j) < grid.im(j - 1)));
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
