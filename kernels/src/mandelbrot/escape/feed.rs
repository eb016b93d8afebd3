//! Hands out a rectangle's pixels to lanes that have become free, row by row, without those that need no iterations
//! (which it paints itself) and those on the rim (which it computes itself, one by one).

use super::{Batch, Cancelled, Paint, reference};
use crate::Cancel;
use crate::mandelbrot::grid::{Grid, Rect};
use crate::mandelbrot::shortcuts::{is_on_rim, never_escapes};

/// Pixels looked at in one go; small enough for the nearest cache.
const CHUNK: usize = 256;

/// Lanes of the widest vector: room behind a chunk's last pixel, so that a whole vector can be read from there.
const WIDEST: usize = 8;

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
    end: usize,
    pub(super) re: [f64; CHUNK + WIDEST],
    pub(super) index: [f64; CHUNK + WIDEST],
    /// Imaginary part of the ready pixels' row.
    pub(super) im: f64,
}

impl<'a> Feed<'a> {
    pub(super) fn new(grid: &'a Grid, rect: Rect, limit: u32) -> Self {
        let (row, column, start, end) = (0, 0, 0, 0);
        let empty = [0.0; CHUNK + WIDEST];
        Self { grid, rect, limit, row, column, start, end, re: empty, index: empty, im: 0.0 }
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

    /// Makes pixels ready, unless the rectangle is exhausted.
    #[inline(always)]
    pub(super) fn refill<P: Paint>(&mut self, paint: &mut P, cancel: &Cancel) -> Result<(), Cancelled> {
        while self.ready() == 0 && self.row < self.rect.height {
            if cancel.is_set() {
                return Err(Cancelled);
            }
            self.take_chunk(paint, cancel)?;
        }
        Ok(())
    }

    /// Looks at the next pixels of the current row.
    #[inline(always)]
    fn take_chunk<P: Paint>(&mut self, paint: &mut P, cancel: &Cancel) -> Result<(), Cancelled> {
        let length = (self.rect.width - self.column).min(CHUNK as u32) as usize;
        let left = self.rect.left + self.column;
        let first = u64::from(self.row) * u64::from(self.rect.width) + u64::from(self.column);
        let im = self.grid.im(self.rect.top + self.row);
        let mut special = [false; CHUNK];
        let mut any_special = false;
        for (i, (re, special)) in self.re.iter_mut().zip(&mut special).enumerate().take(length) {
            *re = self.grid.re(left + i as u32);
            *special = never_escapes(*re, im) | is_on_rim(*re, im);
            any_special |= *special;
        }
        for (index, i) in self.index.iter_mut().zip(first..) {
            *index = f64::from_bits(i);
        }
        (self.start, self.end, self.im) = (0, length, im);
        if any_special {
            self.end = 0;
            for (i, &special) in special.iter().enumerate().take(length) {
                let (re, index) = (self.re[i], self.index[i]);
                (self.re[self.end], self.index[self.end]) = (re, index);
                self.end += usize::from(!special);
                if special {
                    self.paint_special((re, im), index.to_bits(), paint, cancel)?;
                }
            }
        }
        self.column += length as u32;
        if self.column == self.rect.width {
            (self.row, self.column) = (self.row + 1, 0);
        }
        Ok(())
    }

    /// Paints a pixel that isn't for the lanes.
    #[inline(always)]
    fn paint_special<P: Paint>(
        &self,
        (re, im): (f64, f64),
        index: u64,
        paint: &mut P,
        cancel: &Cancel,
    ) -> Result<(), Cancelled> {
        if never_escapes(re, im) {
            paint.inside(index);
            return Ok(());
        }
        let escape = reference::escape(re, im, self.limit, cancel)?;
        paint.batch(Batch {
            index: &[index],
            count: &[escape.count],
            steps: &[f64::from(escape.steps)],
            magnitude: &[escape.magnitude],
        });
        Ok(())
    }
}
