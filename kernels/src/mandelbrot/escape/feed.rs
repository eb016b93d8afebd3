//! Hands out a rectangle's pixels to lanes that have become free, row by row, without those that need no iterations
//! (which it paints itself), those on the rim (which it computes itself, one by one), and those that are probably inside
//! because one next to them was thought to be (which it sets apart).

use super::trap::LEAST_LIMIT;
use super::{Batch, Cancelled, Paint, reference};
use crate::Cancel;
use crate::mandelbrot::grid::{Grid, Rect};
use crate::mandelbrot::shortcuts::{is_on_rim, never_escapes};

/// Pixels looked at in one go; small enough for the nearest cache.
const CHUNK: usize = 256;

/// Lanes of the largest group: room behind a chunk's last pixel, so that a whole group can be read from there.
pub(super) const LARGEST_GROUP: usize = 40;

/// What kind of point a pixel is, as bits.
const NORMAL: u64 = 0;
/// It never escapes.
const INSIDE: u64 = 1;
/// It is on the rim.
const RIM: u64 = 2;

/// A pixel to be computed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pixel {
    pub(super) re: f64,
    pub(super) im: f64,
    /// The bits of its number within the rectangle, row by row: a vector of them is moved as one of floating-point numbers.
    pub(super) index: f64,
}

/// The pixels still to be computed, and a chunk of a row that is ready to be handed out.
pub(super) struct Feed<'a> {
    grid: &'a Grid,
    rect: Rect,
    limit: u32,
    /// The next pixel that is not yet in the arrays.
    row: u32,
    column: u32,
    /// Ready pixels are at `start..end` of the arrays.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) re: [f64; CHUNK + LARGEST_GROUP],
    pub(super) index: [f64; CHUNK + LARGEST_GROUP],
    /// Imaginary part of the ready pixels' row.
    pub(super) im: f64,
    /// For each column, the period of what was last thought to be inside there; 0 if that has proved wrong, or was never so.
    inside: Vec<u32>,
    /// Pixels that are probably inside, and the period of one next to them.
    pub(super) suspects: Vec<(Pixel, u32)>,
    /// Pixels that were set apart in vain.
    given_back: Vec<Pixel>,
}

impl<'a> Feed<'a> {
    pub(super) fn new(grid: &'a Grid, rect: Rect, limit: u32) -> Self {
        let (row, column, start, end) = (0, 0, 0, 0);
        let empty = [0.0; CHUNK + LARGEST_GROUP];
        let inside = vec![0; if limit < LEAST_LIMIT { 0 } else { rect.width as usize }];
        let (suspects, given_back) = (Vec::new(), Vec::new());
        Self {
            grid,
            rect,
            limit,
            row,
            column,
            start,
            end,
            re: empty,
            index: empty,
            im: 0.0,
            inside,
            suspects,
            given_back,
        }
    }

    /// The pixel of this number is inside, on a cycle of this period.
    pub(super) fn note_inside(&mut self, index: u64, period: u32) {
        self.inside[(index % u64::from(self.rect.width)) as usize] = period;
    }

    /// Takes back a pixel that was set apart: it has escaped, or isn't proved to stay.
    pub(super) fn give_back(&mut self, pixel: Pixel) {
        self.note_inside(pixel.index.to_bits(), 0);
        self.given_back.push(pixel);
    }

    /// How many pixels are ready. If none is, [`Feed::refill`] may find more.
    #[inline(always)]
    pub(super) fn ready(&self) -> usize {
        self.end - self.start
    }

    /// The next of the ready pixels.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Option<Pixel> {
        if self.ready() == 0 {
            return None;
        }
        let at = self.start;
        self.start += 1;
        Some(Pixel { re: self.re[at], im: self.im, index: self.index[at] })
    }

    /// Makes the pixels ready that were given back, or some of the next. Says whether there were any.
    #[inline(always)]
    pub(super) fn refill<P: Paint>(&mut self, paint: &mut P, cancel: &Cancel) -> Result<bool, Cancelled> {
        if let Some(pixel) = self.given_back.pop() {
            (self.re[0], self.index[0], self.im) = (pixel.re, pixel.index, pixel.im);
            (self.start, self.end) = (0, 1);
            return Ok(true);
        }
        if cancel.is_set() {
            return Err(Cancelled);
        }
        let is_left = self.row < self.rect.height;
        if is_left {
            self.take_chunk(paint, cancel)?;
        }
        Ok(is_left)
    }

    /// Looks at the next pixels of the current row.
    #[inline(always)]
    fn take_chunk<P: Paint>(&mut self, paint: &mut P, cancel: &Cancel) -> Result<(), Cancelled> {
        let length = (self.rect.width - self.column).min(CHUNK as u32) as usize;
        let left = self.rect.left + self.column;
        let first = u64::from(self.row) * u64::from(self.rect.width) + u64::from(self.column);
        let im = self.grid.im(self.rect.top + self.row);
        let periods = self.periods(length);
        let (mut kinds, mut any) = ([NORMAL; CHUNK], NORMAL);
        for (i, (re, kind)) in self.re.iter_mut().zip(&mut kinds).enumerate().take(length) {
            *re = self.grid.re(left + i as u32);
            *kind = (u64::from(never_escapes(*re, im)) * INSIDE) | (u64::from(is_on_rim(*re, im)) * RIM);
            any |= *kind;
        }
        for (index, i) in self.index.iter_mut().zip(first..) {
            *index = f64::from_bits(i);
        }
        (self.start, self.end, self.im) = (0, length, im);
        if any != NORMAL || periods.is_some() {
            let periods = periods.unwrap_or([0; CHUNK]);
            self.end = 0;
            for (i, (&kind, &period)) in kinds.iter().zip(&periods).enumerate().take(length) {
                let (re, index) = (self.re[i], self.index[i]);
                if kind & INSIDE != 0 {
                    paint.inside(index.to_bits());
                } else if kind != NORMAL {
                    paint_rim((re, im), index.to_bits(), self.limit, paint, cancel)?;
                } else if period > 0 {
                    self.inside[self.column as usize + i] = period;
                    self.suspects.push((Pixel { re, im, index }, period));
                } else {
                    (self.re[self.end], self.index[self.end]) = (re, index);
                    self.end += 1;
                }
            }
        }
        self.column += length as u32;
        if self.column == self.rect.width {
            (self.row, self.column) = (self.row + 1, 0);
        }
        Ok(())
    }

    /// For each of the next pixels of the current row the period of one next to it that is inside; 0 if there is none.
    #[inline(always)]
    fn periods(&self, length: usize) -> Option<[u32; CHUNK]> {
        let first = self.column as usize;
        let around = self.inside.get(first.saturating_sub(1)..(first + length + 1).min(self.inside.len()))?;
        if around.iter().fold(0, |any, period| any | period) == 0 {
            return None;
        }
        let mut periods = [0; CHUNK];
        for (i, period) in periods.iter_mut().enumerate().take(length) {
            let column = first + i;
            let left = column.checked_sub(1).map_or(0, |left| self.inside[left]);
            let right = self.inside.get(column + 1).copied().unwrap_or(0);
            *period = self.inside[column].max(left).max(right);
        }
        Some(periods)
    }
}

/// Computes and paints a pixel on the rim.
#[inline(always)]
fn paint_rim<P: Paint>(
    (re, im): (f64, f64),
    index: u64,
    limit: u32,
    paint: &mut P,
    cancel: &Cancel,
) -> Result<(), Cancelled> {
    let escape = reference::escape(re, im, limit, cancel)?;
    paint.batch(Batch {
        index: &[index],
        count: &[escape.count],
        steps: &[f64::from(escape.steps)],
        magnitude: &[escape.magnitude],
    });
    Ok(())
}
