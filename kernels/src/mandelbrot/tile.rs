//! One tile's result: what a host computes and the sink reads.
//!
//! The bytes are a header (the sum of the tile's counts, u64, little-endian), then, if counts are wanted, each pixel's
//! count (u32, little-endian), then each pixel's red, green and blue; pixels row by row from the top.

use super::escape::{Batch, Paint};
use super::palettes::{MOST_POINTS, Palette};

/// Length of the header.
pub(super) const HEADER_BYTES: u64 = 8;

/// Bytes of a pixel's count.
pub(super) const COUNT_BYTES: u64 = 4;

/// Bytes of a pixel's colour.
pub(crate) const RGB_BYTES: u64 = 3;

/// Where the parts of a tile's result are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) pixels: u64,
    pub(super) has_counts: bool,
}

impl Layout {
    /// Where a pixel's count is, if counts are there.
    pub(super) fn count_at(&self, pixel: u64) -> u64 {
        HEADER_BYTES + pixel * COUNT_BYTES
    }

    /// Where a pixel's colour is.
    pub(super) fn rgb_at(&self, pixel: u64) -> u64 {
        let counts = if self.has_counts { self.pixels * COUNT_BYTES } else { 0 };
        HEADER_BYTES + counts + pixel * RGB_BYTES
    }

    /// Length of the whole.
    pub(super) fn bytes(&self) -> u64 {
        self.rgb_at(self.pixels)
    }
}

/// Paints points into a tile's result.
pub(super) struct TilePainter<'a> {
    palette: &'a Palette,
    limit: u32,
    sum: u64,
    counts: &'a mut [[u8; COUNT_BYTES as usize]],
    rgb: &'a mut [[u8; RGB_BYTES as usize]],
}

impl<'a> TilePainter<'a> {
    /// A painter into `result`, which has the layout's length and is all zeros.
    pub(super) fn new(palette: &'a Palette, limit: u32, layout: Layout, result: &'a mut [u8]) -> Self {
        let (front, rgb) = result.split_at_mut(layout.rgb_at(0) as usize);
        let (counts, _) = front[HEADER_BYTES as usize..].as_chunks_mut();
        Self { palette, limit, sum: 0, counts, rgb: rgb.as_chunks_mut().0 }
    }

    /// The sum of all counts, when everything is painted.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    /// Paints at most [`MOST_POINTS`] points.
    #[inline(always)]
    fn paint_few(&mut self, batch: Batch<'_>) {
        let mut colours = [0; MOST_POINTS];
        self.palette.colour(batch, self.limit, &mut colours);
        for ((&index, &count), colour) in batch.index.iter().zip(batch.count).zip(colours) {
            let index = index as usize;
            self.sum += u64::from(count);
            let [red, green, blue, _] = colour.to_le_bytes();
            self.rgb[index] = [red, green, blue];
            if let Some(place) = self.counts.get_mut(index) {
                *place = count.to_le_bytes();
            }
        }
    }
}

impl Paint for TilePainter<'_> {
    const NEEDS_MAGNITUDE: bool = true;

    #[inline(always)]
    fn batch(&mut self, batch: Batch<'_>) {
        for start in (0..batch.index.len()).step_by(MOST_POINTS) {
            let range = start..batch.index.len().min(start + MOST_POINTS);
            self.paint_few(Batch {
                index: &batch.index[range.clone()],
                count: &batch.count[range.clone()],
                steps: &batch.steps[range.clone()],
                magnitude: &batch.magnitude[range],
            });
        }
    }

    #[inline(always)]
    fn inside(&mut self, index: u64) {
        // The inside is black, and zeros are there already.
        self.sum += u64::from(self.limit);
        if let Some(place) = self.counts.get_mut(index as usize) {
            *place = self.limit.to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_result_follow_each_other() {
        let plain = Layout { pixels: 10, has_counts: false };
        assert_eq!((plain.rgb_at(0), plain.bytes()), (8, 38));
        let counted = Layout { pixels: 10, has_counts: true };
        assert_eq!((counted.count_at(1), counted.rgb_at(1), counted.bytes()), (12, 51, 78));
    }

    #[test]
    fn points_are_painted_in_their_places() {
        let (palette, layout) = (Palette::Counted, Layout { pixels: 3, has_counts: true });
        let mut result = vec![0; layout.bytes() as usize];
        let mut painter = TilePainter::new(&palette, 9, layout, &mut result);
        painter.inside(0);
        painter.batch(Batch { index: &[2], count: &[3], steps: &[4.0], magnitude: &[1e6] });
        assert_eq!(painter.sum(), 12);
        assert_eq!(result[8..20], [9, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(result[20..], [0, 0, 0, 0, 0, 0, 15, 39, 69]);
    }
}
