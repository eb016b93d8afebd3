//! How a picture is cut into tiles: columns and rows as equal as whole pixels allow, numbered row by row.

use super::grid::Rect;
use std::ops::Range;

/// The most tiles that a picture may have: what a batch is made for.
pub(super) const MOST_TILES: u64 = 1 << 20;

/// Columns and rows that `auto` gives at least, if there are as many pixels.
const LEAST_AUTO: u32 = 4;

/// Tiles that `auto` makes for each slot, so that all slots end at about the same time.
const AUTO_TILES_PER_SLOT: u64 = 4;

/// Tiles that `auto` makes of a large picture, so that its rows can be written while others are computed.
const AUTO_TILES: u64 = 64;

/// Pixels of a tile below which `auto` stops cutting for the sake of [`AUTO_TILES`].
const AUTO_TILE_PIXELS: u64 = 1 << 16;

/// Pixels of a tile below which `auto` stops cutting for the sake of slots.
const LEAST_AUTO_TILE_PIXELS: u64 = 1 << 10;

/// A tile's result that `auto` doesn't exceed, in bytes.
const AUTO_TILE_BYTES: u64 = 12_000_000;

/// A picture's size and its number of tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    /// Pixels across and down.
    pub size: (u32, u32),
    /// Tiles across and down; not more than there are pixels.
    pub tiles: (u32, u32),
}

impl Tiling {
    /// A good tiling for that many slots.
    pub fn auto(size: (u32, u32), slots: u32, bytes_per_pixel: u64) -> Self {
        let mut tiling = Self { size, tiles: (LEAST_AUTO.min(size.0), LEAST_AUTO.min(size.1)) };
        while tiling.is_too_coarse(slots, bytes_per_pixel) {
            tiling.cut();
        }
        tiling
    }

    fn is_too_coarse(&self, slots: u32, bytes_per_pixel: u64) -> bool {
        let (count, pixels) = (u64::from(self.count()), self.largest().pixels());
        let too_large = pixels * bytes_per_pixel > AUTO_TILE_BYTES;
        let too_few = count < AUTO_TILES && pixels > AUTO_TILE_PIXELS;
        let too_few_for_slots = count < AUTO_TILES_PER_SLOT * u64::from(slots) && pixels > LEAST_AUTO_TILE_PIXELS;
        count < MOST_TILES / 2 && (too_large || too_few || too_few_for_slots)
    }

    /// Doubles the rows, or the columns of tiles that are very wide: a picture is written by rows.
    fn cut(&mut self) {
        let largest = self.largest();
        let by_rows = largest.height > 1 && largest.height > largest.width / 4;
        if by_rows {
            self.tiles.1 = (self.tiles.1 * 2).min(self.size.1);
        } else {
            self.tiles.0 = (self.tiles.0 * 2).min(self.size.0);
        }
    }

    /// Number of tiles.
    pub fn count(&self) -> u32 {
        self.tiles.0 * self.tiles.1
    }

    /// Column and row of a tile.
    pub fn place(&self, tile: u32) -> (u32, u32) {
        (tile % self.tiles.0, tile / self.tiles.0)
    }

    /// A tile's pixels.
    pub fn rect(&self, tile: u32) -> Rect {
        let (column, row) = self.place(tile);
        let (left, top) = (self.left(column), self.top(row));
        Rect { left, top, width: self.left(column + 1) - left, height: self.top(row + 1) - top }
    }

    /// A rectangle as large as the largest tile.
    pub fn largest(&self) -> Rect {
        let (width, height) = (self.size.0.div_ceil(self.tiles.0), self.size.1.div_ceil(self.tiles.1));
        Rect { left: 0, top: 0, width, height }
    }

    /// The rows of tiles that these rows of pixels touch; neither is empty.
    pub fn rows_touching(&self, pixels: Range<u32>) -> Range<u32> {
        let row_of = |pixel: u32| {
            let upto = (u64::from(pixel) + 1) * u64::from(self.tiles.1);
            ((upto - 1) / u64::from(self.size.1)) as u32
        };
        row_of(pixels.start)..row_of(pixels.end - 1) + 1
    }

    /// The tiles of a row of tiles.
    pub fn tiles_of_row(&self, row: u32) -> Range<u32> {
        row * self.tiles.0..(row + 1) * self.tiles.0
    }

    fn left(&self, column: u32) -> u32 {
        edge(column, self.size.0, self.tiles.0)
    }

    fn top(&self, row: u32) -> u32 {
        edge(row, self.size.1, self.tiles.1)
    }
}

/// Where part `number` of `pixels` cut into `parts` begins.
fn edge(number: u32, pixels: u32, parts: u32) -> u32 {
    (u64::from(number) * u64::from(pixels) / u64::from(parts)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tilings() -> impl Strategy<Value = Tiling> {
        (1..80u32, 1..80u32, 1..80u32, 1..80u32)
            .prop_map(|(w, h, columns, rows)| Tiling { size: (w, h), tiles: (columns.min(w), rows.min(h)) })
    }

    proptest! {
        #[test]
        fn tiles_cover_each_pixel_once(tiling in tilings()) {
            let mut covered = vec![0; (tiling.size.0 * tiling.size.1) as usize];
            for tile in 0..tiling.count() {
                let rect = tiling.rect(tile);
                prop_assert!(rect.width <= tiling.largest().width && rect.height <= tiling.largest().height);
                for y in rect.top..rect.top + rect.height {
                    for x in rect.left..rect.left + rect.width {
                        covered[(y * tiling.size.0 + x) as usize] += 1;
                    }
                }
            }
            prop_assert!(covered.iter().all(|&times| times == 1));
        }

        #[test]
        fn rows_of_tiles_are_found_by_their_pixels(tiling in tilings(), a in 0..80u32, b in 0..80u32) {
            let start = a % tiling.size.1;
            let end = start + 1 + b % (tiling.size.1 - start);
            let touching = |row: u32| {
                let rect = tiling.rect(row * tiling.tiles.0);
                rect.top < end && rect.top + rect.height > start
            };
            let expected: Vec<u32> = (0..tiling.tiles.1).filter(|&row| touching(row)).collect();
            prop_assert_eq!(tiling.rows_touching(start..end).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn auto_is_within_its_bounds(w in 1..=1u32 << 20, h in 1..=1u32 << 14, slots in 0..100_000u32) {
            let tiling = Tiling::auto((w, h), slots, 7);
            prop_assert!(tiling.tiles.0 <= w && tiling.tiles.1 <= h && u64::from(tiling.count()) <= MOST_TILES);
            prop_assert!(tiling.largest().pixels() * 7 <= AUTO_TILE_BYTES);
        }
    }

    #[test]
    fn auto_follows_the_picture_and_the_slots() {
        assert_eq!(Tiling::auto((4096, 4096), 2, 3).tiles, (4, 16));
        assert_eq!(Tiling::auto((640, 480), 2, 3).tiles, (4, 4));
        assert_eq!(Tiling::auto((640, 480), 20, 3).count(), 128);
        assert_eq!(Tiling::auto((2, 3), 64, 3).tiles, (2, 3));
        assert_eq!(Tiling::auto((65536, 65536), 4, 3).largest().pixels(), 1 << 21);
    }
}
