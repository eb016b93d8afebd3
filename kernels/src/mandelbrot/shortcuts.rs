//! Points whose count is known without iterating: the main cardioid and the period-2 disk, each less a safe margin, and
//! the thin rim around |c| = 2 where blocks of steps may not be taken.

/// How far inside the cardioid and the disk a point has to be, in the units of their polynomials. Rounding moves an
/// orbit by about 2^-52 a step, and at this depth an orbit is attracted strongly enough for that to be forgotten.
const MARGIN: f64 = 1.0 / 65536.0;

/// Half the thickness of the rim in |c|².
const RIM: f64 = 1.0 / (1u64 << 40) as f64;

/// Whether the point certainly never escapes, however many steps are made.
#[inline(always)]
pub(super) fn never_escapes(re: f64, im: f64) -> bool {
    let from_cusp = re - 0.25;
    let im_squared = im * im;
    let q = from_cusp * from_cusp + im_squared;
    let cardioid = q * (q + from_cusp) - 0.25 * im_squared;
    let from_disk = re + 1.0;
    let disk = from_disk * from_disk + im_squared - 0.0625;
    (cardioid < -MARGIN) | (disk < -MARGIN)
}

/// Whether |c| is so near 2 that an orbit could be rounded back from beyond |z|² = 4.
///
/// Anywhere else an orbit that has passed |z|² > 4 stays there: |z² + c| >= |z|² - |c|, which exceeds |z| by at least
/// 2^-47 or so, far more than rounding takes away. So blocks of steps need one test at their end only.
#[inline(always)]
pub(super) fn is_on_rim(re: f64, im: f64) -> bool {
    (re * re + im * im - 4.0).abs() < RIM
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cancel;
    use crate::mandelbrot::escape::reference;
    use proptest::prelude::*;

    const STEPS: u32 = 20_000;

    fn count(re: f64, im: f64) -> u32 {
        reference::escape(re, im, STEPS, &Cancel::default()).unwrap().count
    }

    /// The cardioid's boundary point of angle `t`, pulled towards its centre by the factor `scale`.
    fn cardioid_point(t: f64, scale: f64) -> (f64, f64) {
        let re = 0.5 * t.cos() - 0.25 * (2.0 * t).cos();
        let im = 0.5 * t.sin() - 0.25 * (2.0 * t).sin();
        (re * scale, im * scale)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn near_the_cardioids_edge_the_shortcut_claims_only_what_stays(t in 0.0..6.3f64, depth in 0.0..3e-4f64) {
            let (re, im) = cardioid_point(t, 1.0 - depth);
            if never_escapes(re, im) {
                prop_assert_eq!(count(re, im), STEPS);
            }
        }

        #[test]
        fn near_the_disks_edge_the_shortcut_claims_only_what_stays(t in 0.0..6.3f64, depth in 0.0..3e-4f64) {
            let (re, im) = (0.25 * (1.0 - depth) * t.cos() - 1.0, 0.25 * (1.0 - depth) * t.sin());
            if never_escapes(re, im) {
                prop_assert_eq!(count(re, im), STEPS);
            }
        }

        #[test]
        fn outside_the_edges_nothing_is_claimed(t in 0.0..6.3f64, excess in 1e-9..0.5f64) {
            let (re, im) = cardioid_point(t, 1.0 + excess);
            prop_assert!(!never_escapes(re, im) || (re + 1.0).hypot(im) < 0.25);
        }
    }

    #[test]
    fn most_of_the_cardioid_and_the_disk_is_claimed() {
        assert!(
            never_escapes(0.0, 0.0)
                && never_escapes(-0.5, 0.5)
                && never_escapes(-1.0, 0.24)
                && never_escapes(0.22, 0.0)
        );
        assert!(!never_escapes(0.2501, 0.0) && !never_escapes(-0.75, 0.01) && !never_escapes(-1.3, 0.0));
    }

    #[test]
    fn the_tip_of_the_needle_is_on_the_rim() {
        assert!(is_on_rim(-2.0, 0.0) && is_on_rim(0.0, 2.0));
        assert!(!is_on_rim(-2.0 + 1e-9, 0.0) && !is_on_rim(f64::INFINITY, 0.0));
    }
}
