//! Every instruction set against the definition.

use std::sync::mpsc::{self, RecvTimeoutError::Timeout};
use std::thread;
use std::time::Duration;

use super::*;
use proptest::prelude::*;

/// A point's count and, if it escaped, its steps and the bits of |z|².
type Point = (u32, Option<(u32, u64)>);

/// What a rectangle's pixels became, in their order.
struct Painted {
    points: Vec<Option<Point>>,
    limit: u32,
}

impl Painted {
    fn set(&mut self, index: usize, point: Point) {
        assert_eq!(self.points[index].replace(point), None, "pixel {index} is painted twice");
    }
}

impl Paint for Painted {
    const NEEDS_MAGNITUDE: bool = true;

    fn batch(&mut self, batch: Batch<'_>) {
        for (i, &index) in batch.index.iter().enumerate() {
            let count = batch.count[i];
            let escape = (count < self.limit).then(|| (batch.steps[i] as u32, batch.magnitude[i].to_bits()));
            self.set(index as usize, (count, escape));
        }
    }

    fn inside(&mut self, index: u64) {
        let limit = self.limit;
        self.set(index as usize, (limit, None));
    }
}

fn painted(simd: Simd, grid: &Grid, rect: Rect, limit: u32) -> Painted {
    let mut painted = Painted { points: vec![None; rect.pixels() as usize], limit };
    compute(simd, grid, rect, limit, &mut painted, &Cancel::default()).unwrap();
    painted
}

fn defined(grid: &Grid, rect: Rect, limit: u32) -> Painted {
    let mut points = Vec::new();
    for row in rect.top..rect.top + rect.height {
        for column in rect.left..rect.left + rect.width {
            let point = reference::escape(grid.re(column), grid.im(row), limit, &Cancel::default()).unwrap();
            let escape = (point.count < limit).then(|| (point.steps, point.magnitude.to_bits()));
            points.push(Some((point.count, escape)));
        }
    }
    Painted { points, limit }
}

fn assert_as_defined(center: (f64, f64), width: f64, rect: Rect, limit: u32) {
    let grid = Grid::new(center, width, (rect.left + rect.width + 1, rect.top + rect.height + 2));
    let expected = defined(&grid, rect, limit);
    for simd in Simd::available() {
        let got = painted(simd, &grid, rect, limit);
        for (index, (got, expected)) in got.points.iter().zip(&expected.points).enumerate() {
            assert_eq!(got, expected, "{simd:?}, pixel {index} of {rect:?} at {center:?} {width}, limit {limit}");
        }
    }
}

fn square(side: u32) -> Rect {
    Rect { left: 0, top: 0, width: side, height: side }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_instruction_set_computes_what_is_defined(
        center in (-2.2..0.8f64, -1.3..1.3f64),
        zoom in 0..40i32,
        (left, top) in (0..5u32, 0..5u32),
        (width, height) in (1..40u32, 1..20u32),
        limit in prop_oneof![Just(1u32), Just(2), Just(15), Just(16), Just(17), Just(33), 1..1000u32],
    ) {
        let rect = Rect { left, top, width, height };
        assert_as_defined(center, 3.0 / f64::from(zoom).exp2(), rect, limit);
    }
}

#[test]
fn the_whole_set_and_its_named_neighbourhood_are_as_defined() {
    for limit in [1, 2, 15, 16, 17, 1000] {
        assert_as_defined((-0.5, 0.0), 3.0, square(61), limit);
    }
    assert_as_defined((-0.746, 0.102), 0.004, square(50), 1000);
}

#[test]
fn cycles_inside_are_as_defined() {
    // Around the bulb of period 3 and a small copy of the set.
    assert_as_defined((-0.1226, 0.7449), 0.25, square(24), 50_000);
    assert_as_defined((-1.7549, 0.0), 0.05, square(24), 50_000);
    // Limits about those from which cycles are looked for.
    for limit in [4095, 4096, 4111] {
        assert_as_defined((-0.1226, 0.7449), 0.25, square(40), limit);
    }
}

#[test]
fn both_sides_of_the_edges_of_bulbs_are_as_defined() {
    // The tops and flanks of those of period 3, 4 and 5, of the one left of the disk, and of one of period 31.
    let edges =
        [(-0.1226, 0.8391), (-0.2200, 0.7449), (0.2823, 0.5590), (0.3800, 0.3400), (-1.3681, 0.0), (-0.7463, 0.1008)];
    for center in edges {
        for width in [0.05, 0.001, 1e-6] {
            let rect = Rect { left: 3, top: 0, width: 90, height: 50 };
            assert_as_defined(center, width, rect, 2500);
        }
    }
}

#[test]
fn limits_about_the_ages_at_which_points_are_tried_are_as_defined() {
    // The bulb of period 3, its satellite of period 9 and a small copy.
    for limit in [255, 256, 257, 383, 384, 385, 1535, 1536, 1537, 6143, 6144, 6145] {
        let rect = Rect { left: 0, top: 0, width: 60, height: 30 };
        assert_as_defined((-0.1226, 0.8391), 0.06, rect, limit);
    }
}

#[test]
fn what_has_another_period_than_its_neighbour_ends_long_before_a_great_limit() {
    // Satellites of the bulb of period 3. To the limit a group of pixels takes seconds at the best, and there are hundreds.
    let (limit, side) = (1 << 31, 64);
    let grid = Grid::new((-0.1226, 0.8391), 0.03, (side, side));
    for simd in Simd::available() {
        let mut paint = Painted { points: vec![None; (side * side / 2) as usize], limit };
        let (cancel, (done, waits)) = (Cancel::default(), mpsc::channel::<()>());
        thread::scope(|scope| {
            let cancel = &cancel;
            scope.spawn(move || {
                if waits.recv_timeout(Duration::from_secs(60)) == Err(Timeout) {
                    cancel.set();
                }
            });
            let rect = Rect { left: 0, top: side / 2, width: side, height: side / 2 };
            assert_eq!(compute(simd, &grid, rect, limit, &mut paint, cancel), Ok(()), "{simd:?}: not in a minute");
            drop(done);
        });
        assert!(paint.points.iter().filter(|point| point.is_some_and(|(count, _)| count == limit)).count() > 300);
    }
}

#[test]
fn where_many_escape_at_once_all_is_as_defined() {
    // Columns of every length, so that groups are full, nearly so, and cut off by the end of a row.
    for width in [1, 23, 24, 25, 40, 47, 300] {
        let rect = Rect { left: 0, top: 0, width, height: 20 };
        assert_as_defined((-0.5, 0.9), 2.0, rect, 300);
        assert_as_defined((1.5, 1.5), 1.0, rect, 7);
    }
}

#[test]
fn points_on_the_rim_are_as_defined() {
    assert_as_defined((-2.0, 0.0), 1e-14, square(9), 3000);
    assert_as_defined((-2.0, 0.0), 1e-11, square(15), 3000);
    assert_as_defined((0.0, 2.0), 1e-12, square(9), 3000);
}

#[test]
fn points_far_away_escape_at_once() {
    assert_as_defined((1e6, -1e6), 1e6, square(9), 50);
}

#[test]
fn a_set_cancel_ends_every_instruction_set() {
    let (cancel, grid) = (Cancel::default(), Grid::new((-1.31, 0.0), 1e-3, (64, 64)));
    cancel.set();
    for simd in Simd::available() {
        let mut paint = Painted { points: vec![None; 64 * 64], limit: 9 };
        assert_eq!(compute(simd, &grid, square(64), 1_000_000, &mut paint, &cancel), Err(Cancelled));
    }
}
