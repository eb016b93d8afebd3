//! The definition of a count, one point at a time: what the vector code has to equal, and what computes the few points
//! that it may not.

use super::{Cancelled, ESCAPE, SMOOTH_ESCAPE, SMOOTH_STEPS};
use crate::Cancel;

/// Steps between two looks at `cancel`: a few milliseconds where fused operations are done in software.
const STEPS_PER_LOOK: u32 = 1 << 16;

/// What became of one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Escape {
    /// Steps until the escape; the limit if there was none.
    pub(crate) count: u32,
    /// All steps made, those for colours included.
    pub(crate) steps: u32,
    /// |z|² at the end.
    pub(crate) magnitude: f64,
}

/// The escape of c = (re, im) within `limit` steps.
///
/// # Errors
/// `cancel` was set.
#[inline(always)]
pub(crate) fn escape(re: f64, im: f64, limit: u32, cancel: &Cancel) -> Result<Escape, Cancelled> {
    let (mut x, mut y) = (0.0, 0.0);
    let mut count = 0;
    while count < limit && magnitude(x, y) <= ESCAPE {
        (x, y) = step(x, y, re, im);
        count += 1;
        if count % STEPS_PER_LOOK == 0 && cancel.is_set() {
            return Err(Cancelled);
        }
    }
    Ok(follow((x, y), (re, im), count, limit))
}

/// Goes on after an escape, for colours.
#[inline(always)]
fn follow((mut x, mut y): (f64, f64), (re, im): (f64, f64), count: u32, limit: u32) -> Escape {
    let mut steps = count;
    while count < limit && steps < count + SMOOTH_STEPS && magnitude(x, y) <= SMOOTH_ESCAPE {
        (x, y) = step(x, y, re, im);
        steps += 1;
    }
    Escape { count, steps, magnitude: magnitude(x, y) }
}

#[inline(always)]
fn magnitude(x: f64, y: f64) -> f64 {
    x.mul_add(x, y * y)
}

#[inline(always)]
fn step(x: f64, y: f64, re: f64, im: f64) -> (f64, f64) {
    (x.mul_add(x, (-y).mul_add(y, re)), (x + x).mul_add(y, im))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(re: f64, im: f64, limit: u32) -> u32 {
        escape(re, im, limit, &Cancel::default()).unwrap().count
    }

    #[test]
    fn counts_of_points_that_can_be_followed_by_hand() {
        assert_eq!(count(0.0, 0.0, 1000), 1000);
        assert_eq!(count(-2.0, 0.0, 1000), 1000);
        assert_eq!(count(3.0, 0.0, 1000), 1);
        assert_eq!(count(1.0, 0.0, 1000), 3); // 0, 1, 2, 5
        assert_eq!(count(3.0, 0.0, 1), 1);
    }

    #[test]
    fn colours_follow_an_escaped_point_but_no_other() {
        let escaped = escape(1.0, 0.0, 1000, &Cancel::default()).unwrap();
        assert_eq!((escaped.count, escaped.steps, escaped.magnitude), (3, 5, 677.0 * 677.0)); // 5, 26, 677
        let inside = escape(0.0, 0.0, 5, &Cancel::default()).unwrap();
        assert_eq!((inside.count, inside.steps), (5, 5));
    }

    #[test]
    fn a_set_cancel_ends_a_long_orbit() {
        let cancel = Cancel::default();
        cancel.set();
        assert_eq!(escape(0.0, 0.0, u32::MAX - 1, &cancel), Err(Cancelled));
    }
}
