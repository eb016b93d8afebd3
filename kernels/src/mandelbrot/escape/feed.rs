//! Hands out a rectangle's pixels to lanes that have become free, row by row, without those that need no iterations
//! (which it paints itself) and those on the rim (which it computes itself, one by one).

use super::{Batch, Cancelled, Paint, reference};
use crate::Cancel;
use crate::mandelbrot::grid::{Grid, Rect};
use crate::mandelbrot::shortcuts::{is_on_rim, never_escapes};

/// Pixels looked at in one go; small enough for the nearest cache.
const CHUNK: usize = 256;

/// The most lanes of a vector.
const MAX_LANES: usize = 8;

/// Room for a chunk, what was left of the one before, and the idle lanes after the last.
const ROOM: usize = CHUNK + 2 * MAX_LANES;

/// The index that marks a lane as idle.
pub(super) const IDLE: f64 = -1.0;

/// The pixels still to be computed, and a few that are ready to be handed out.
pub(super) struct Feed<'a> {
    grid: &'a Grid,
    rect: Rect,
    limit: u32,
    /// The next pixel that is not yet in the arrays.
    row: u32,
    column: u32,
    /// Ready pixels are at `start..end` of the arrays, padded by idle ones once the rectangle is exhausted.
    start: usize,
    end: usize,
    handed_out: u64,
    re: [f64; ROOM],
    im: [f64; ROOM],
    index: [f64; ROOM],
}

/// The next ready pixels: at least [`MAX_LANES`] of them, idle ones included.
pub(super) struct Ready<'f> {
    pub(super) re: &'f [f64],
    pub(super) im: &'f [f64],
    pub(super) index: &'f [f64],
}

impl<'a> Feed<'a> {
    pub(super) fn new(grid: &'a Grid, rect: Rect, limit: u32) -> Self {
        let zeros = [0.0; ROOM];
        let (row, column, start, end) = (0, 0, 0, 0);
        Self { grid, rect, limit, row, column, start, end, handed_out: 0, re: zeros, im: zeros, index: [IDLE; ROOM] }
    }

    /// Pixels that were given to lanes so far; complete when [`Feed::is_exhausted`].
    pub(super) fn handed_out(&self) -> u64 {
        self.handed_out
    }

    /// Whether every pixel was handed out.
    pub(super) fn is_exhausted(&self) -> bool {
        self.start == self.end && !self.has_more_chunks()
    }

    /// Whether [`Feed::refill`] has to be called before [`Feed::ready`].
    #[inline(always)]
    pub(super) fn is_short(&self) -> bool {
        self.start + MAX_LANES > self.end && self.has_more_chunks()
    }

    /// The next pixels.
    #[inline(always)]
    pub(super) fn ready(&self) -> Ready<'_> {
        let next = self.start..self.start + MAX_LANES;
        Ready { re: &self.re[next.clone()], im: &self.im[next.clone()], index: &self.index[next] }
    }

    /// The first `count` of the ready pixels were taken.
    #[inline(always)]
    pub(super) fn take(&mut self, count: usize) {
        let taken = count.min(self.end - self.start);
        self.start += taken;
        self.handed_out += taken as u64;
    }

    fn has_more_chunks(&self) -> bool {
        self.row < self.rect.height
    }

    /// Moves what is left to the front, adds chunks until a vector's worth is ready, and pads with idle pixels.
    #[inline(always)]
    pub(super) fn refill<P: Paint>(&mut self, paint: &mut P, cancel: &Cancel) -> Result<(), Cancelled> {
        for array in [&mut self.re, &mut self.im, &mut self.index] {
            array.copy_within(self.start..self.end, 0);
        }
        self.end -= self.start;
        self.start = 0;
        while self.end < MAX_LANES && self.has_more_chunks() {
            if cancel.is_set() {
                return Err(Cancelled);
            }
            self.add_chunk(paint, cancel)?;
        }
        let padding = self.end..self.end + MAX_LANES;
        self.re[padding.clone()].fill(0.0);
        self.im[padding.clone()].fill(0.0);
        self.index[padding].fill(IDLE);
        Ok(())
    }

    /// Looks at the next pixels of the current row.
    #[inline(always)]
    fn add_chunk<P: Paint>(&mut self, paint: &mut P, cancel: &Cancel) -> Result<(), Cancelled> {
        let length = (self.rect.width - self.column).min(CHUNK as u32) as usize;
        let left = self.rect.left + self.column;
        let im = self.grid.im(self.rect.top + self.row);
        let first = u64::from(self.row) * u64::from(self.rect.width) + u64::from(self.column);
        let (mut re, mut special) = ([0.0; CHUNK], [false; CHUNK]);
        for (i, (re, special)) in re.iter_mut().zip(&mut special).enumerate() {
            *re = self.grid.re(left + i as u32);
            *special = never_escapes(*re, im) | is_on_rim(*re, im);
        }
        for (i, (&re, &special)) in re.iter().zip(&special).enumerate().take(length) {
            self.re[self.end] = re;
            self.im[self.end] = im;
            self.index[self.end] = (first + i as u64) as f64;
            self.end += usize::from(!special);
            if special {
                self.paint_special((re, im), first + i as u64, paint, cancel)?;
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
            index: &[index as f64],
            count: &[f64::from(escape.count)],
            steps: &[f64::from(escape.steps)],
            magnitude: &[escape.magnitude],
        });
        Ok(())
    }
}
