//! Escape times of z <- z² + c, the same to the bit on every machine.
//!
//! The count of c is the first n < N with fma(x, x, y·y) > 4, starting from z = 0 and tested before each step, or N.
//! A step is (x, y) <- (fma(x, x, fma(-y, y, re)), fma(x + x, y, im)). After its escape a point goes on, uncounted,
//! until |z|² > 2^16 or for 8 steps, so that colours can be continuous. The module `reference` is that text as code.
//!
//! `engine`, `finish`, `trap` and `early` are the vector algorithm, written once and compiled for each instruction set
//! with the operations of `portable`, `avx2` or `avx512`. The environment variable `TITAN_SIMD` (one of those names;
//! read once) forces a set.

#[macro_use]
mod engine;
#[macro_use]
mod finish;
#[macro_use]
mod trap;
#[macro_use]
mod early;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod feed;
mod portable;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

pub use crate::simd::Simd;

use super::grid::{Grid, Rect};
use crate::Cancel;
use feed::Feed;

/// The nearest integer, for numbers from 0 to 2^51: adding 2^52 leaves it in the low bits. Faster than `as`, which
/// has to think of every other number.
#[inline(always)]
pub(super) fn integer(value: f64) -> u64 {
    (value + TWO_TO_52).to_bits() ^ TWO_TO_52.to_bits()
}

/// 2^52: its successors among the numbers are 1 apart.
pub(super) const TWO_TO_52: f64 = 4_503_599_627_370_496.0;

/// |z|² beyond which a point has escaped.
const ESCAPE: f64 = 4.0;

/// |z|² beyond which colours stop following an escaped point.
const SMOOTH_ESCAPE: f64 = 65536.0;

/// The most steps that are made after an escape for colours.
const SMOOTH_STEPS: u32 = 8;

/// The computation was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled;

/// Points that are finished; all slices have the same length.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Number of the pixel within its rectangle, row by row.
    pub index: &'a [u64],
    /// Steps until the escape; the limit if there was none.
    pub count: &'a [u32],
    /// All steps made, those for colours included.
    pub steps: &'a [f64],
    /// |z|² at the end; without meaning for points that didn't escape.
    pub magnitude: &'a [f64],
}

/// Takes finished points, in any order and each exactly once.
///
/// Implementations are `#[inline(always)]`, so that they are compiled for the instruction set that calls them.
pub trait Paint {
    /// Whether steps and |z|² beyond the escape are looked at; without them there is less to compute.
    const NEEDS_MAGNITUDE: bool;

    /// These points are finished.
    fn batch(&mut self, batch: Batch<'_>);

    /// The point of this number never escapes.
    fn inside(&mut self, index: u64);
}

/// Computes every pixel of the rectangle; looks at `cancel` every few milliseconds.
///
/// # Errors
/// `cancel` was set; some pixels have not been painted.
pub fn compute<P: Paint>(
    simd: Simd,
    grid: &Grid,
    rect: Rect,
    limit: u32,
    paint: &mut P,
    cancel: &Cancel,
) -> Result<(), Cancelled> {
    let feed = Feed::new(grid, rect, limit);
    match simd.supported() {
        Simd::Portable => portable::run(feed, limit, paint, cancel),
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "a function for certain CPUs is called after asking the CPU")]
        // SAFETY: `supported` has found these instructions on this CPU.
        Simd::Avx2 => unsafe { avx2::run(feed, limit, paint, cancel) },
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "a function for certain CPUs is called after asking the CPU")]
        // SAFETY: `supported` has found these instructions on this CPU.
        Simd::Avx512 => unsafe { avx512::run(feed, limit, paint, cancel) },
        #[cfg(not(target_arch = "x86_64"))]
        Simd::Avx2 | Simd::Avx512 => unreachable!("`supported` never answers with another architecture's set"),
    }
}

/// Steps of z <- z² + c without any test, on independent vectors: the iteration alone, as fast as the CPU can do it.
/// Returns how many steps were made (points times steps); at least one step is made.
pub fn bare_iterations(simd: Simd, steps: u32) -> u64 {
    let steps = steps.max(1);
    match simd.supported() {
        Simd::Portable => portable::bare(steps),
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "a function for certain CPUs is called after asking the CPU")]
        // SAFETY: `supported` has found these instructions on this CPU.
        Simd::Avx2 => unsafe { avx2::bare(steps) },
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "a function for certain CPUs is called after asking the CPU")]
        // SAFETY: `supported` has found these instructions on this CPU.
        Simd::Avx512 => unsafe { avx512::bare(steps) },
        #[cfg(not(target_arch = "x86_64"))]
        Simd::Avx2 | Simd::Avx512 => unreachable!("`supported` never answers with another architecture's set"),
    }
}
