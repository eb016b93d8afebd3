//! Fluxes between neighbouring cells of shallow water, along one direction: a second-order Godunov method.
//!
//! The equations, with gravity and mean depth 1, for the depth h and the velocities u along and v across the direction:
//! h_t + (hu)_x = 0, (hu)_t + (hu² + h²/2)_x = 0, (hv)_t + (huv)_x = 0 (LeVeque, Finite Volume Methods for Hyperbolic
//! Problems, 2002, ch. 13). Slopes are limited as by van Leer's MC limiter (there, ch. 6), values at a cell's edges are
//! taken half a step ahead by the equations in h, u and v (MUSCL-Hancock; Toro, Riemann Solvers and Numerical Methods
//! for Fluid Dynamics, 2009, ch. 14), and the two values at an edge give Rusanov's flux (LeVeque, ch. 12).
//!
//! Only +, -, *, /, comparisons and square roots, none of them fused: the bits are the same everywhere.

/// How lines of cells lie in their slices: depths from 0 on, velocities along from `stride` on, across from
/// 2 * `stride` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    /// Distance between fields.
    pub(super) stride: usize,
    /// Number of fluxes; not more than `stride`.
    pub(super) count: usize,
    /// Length of a step divided by that of a cell.
    pub(super) ratio: f64,
}

/// What a cell holds, or what flows through an edge: of depth, of what moves along, of what moves across.
#[derive(Debug, Clone, Copy)]
struct Cell {
    h: f64,
    u: f64,
    v: f64,
}

/// The smaller one; unlike `f64::min` it is one comparison, of which all bits are defined.
#[inline(always)]
fn smaller(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// The larger one.
#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// Half of the limited slope of a cell between two others.
#[inline(always)]
fn half_slope(before: f64, here: f64, after: f64) -> f64 {
    let (back, ahead) = (here - before, after - here);
    let centred = 0.25 * (back + ahead);
    let rising = smaller(smaller(back, ahead), centred);
    let falling = larger(larger(back, ahead), centred);
    larger(rising, 0.0) + smaller(falling, 0.0)
}

/// The cell `here` half a step ahead, at the edge to the one after it (`side` is 1) or before it (-1).
#[inline(always)]
fn at_edge(before: Cell, here: Cell, after: Cell, ratio: f64, side: f64) -> Cell {
    let h = half_slope(before.h, here.h, after.h);
    let u = half_slope(before.u, here.u, after.u);
    let v = half_slope(before.v, here.v, after.v);
    Cell {
        h: here.h + side * h - ratio * (here.u * h + here.h * u),
        u: here.u + side * u - ratio * (here.u * u + h),
        v: here.v + side * v - ratio * (here.u * v),
    }
}

/// What flows from a cell with the value `left` at the edge to one with the value `right`.
#[inline(always)]
fn flux(left: Cell, right: Cell) -> Cell {
    let speed = larger(left.u.abs(), right.u.abs()) + larger(left.h, right.h).sqrt();
    let (left_flow, right_flow) = (left.h * left.u, right.h * right.u);
    let of_depth = left_flow + right_flow - speed * (right.h - left.h);
    let pressure = 0.5 * (left.h * left.h + right.h * right.h);
    let along = left_flow * left.u + right_flow * right.u + pressure - speed * (right_flow - left_flow);
    let across = left_flow * left.v + right_flow * right.v - speed * (right.h * right.v - left.h * left.v);
    Cell { h: 0.5 * of_depth, u: 0.5 * along, v: 0.5 * across }
}

/// The fields of a line of cells.
#[inline(always)]
fn fields(line: &[f64], lines: Lines) -> [&[f64]; 3] {
    let Lines { stride, count, .. } = lines;
    [&line[..count], &line[stride..][..count], &line[2 * stride..][..count]]
}

/// The fluxes between the cells of `left` and those of `right`, which lie between `before` and `after`.
#[inline(always)]
pub(super) fn fluxes(lines: Lines, before: &[f64], left: &[f64], right: &[f64], after: &[f64], out: &mut [f64]) {
    let Lines { stride, count, ratio } = lines;
    let [before, left, right, after] = [before, left, right, after].map(|line| fields(line, lines));
    let (out_h, rest) = out.split_at_mut(stride);
    let (out_u, out_v) = rest.split_at_mut(stride);
    let (out_h, out_u, out_v) = (&mut out_h[..count], &mut out_u[..count], &mut out_v[..count]);
    for i in 0..count {
        let cell = |line: [&[f64]; 3]| Cell { h: line[0][i], u: line[1][i], v: line[2][i] };
        let (before, left, right, after) = (cell(before), cell(left), cell(right), cell(after));
        let left_edge = at_edge(before, left, right, ratio, 1.0);
        let right_edge = at_edge(left, right, after, ratio, -1.0);
        let flux = flux(left_edge, right_edge);
        (out_h[i], out_u[i], out_v[i]) = (flux.h, flux.u, flux.v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(h: f64, u: f64, v: f64) -> Cell {
        Cell { h, u, v }
    }

    #[test]
    fn slopes_are_those_of_straight_lines_and_none_at_extremes() {
        assert_eq!(half_slope(1.0, 3.0, 5.0), 1.0);
        assert_eq!(half_slope(5.0, 3.0, 1.0), -1.0);
        assert_eq!(half_slope(1.0, 3.0, 2.0), 0.0);
        assert_eq!(half_slope(0.0, 1.0, 100.0), 1.0, "an edge isn't beyond a neighbour");
    }

    #[test]
    fn between_equal_cells_flows_what_the_equations_say() {
        let here = cell(2.0, 3.0, 5.0);
        let flux = flux(here, here);
        assert_eq!([flux.h, flux.u, flux.v], [6.0, 2.0 * 9.0 + 2.0, 30.0]);
    }

    #[test]
    fn water_flows_from_the_deeper_cell_alike_in_both_directions() {
        let (deep, shallow) = (cell(1.5, 0.0, 0.0), cell(1.0, 0.0, 0.0));
        assert!(flux(deep, shallow).h > 0.0);
        assert_eq!(flux(shallow, deep).h, -flux(deep, shallow).h);
    }

    #[test]
    fn a_line_has_the_fluxes_of_its_cells() {
        let lines = Lines { stride: 5, count: 4, ratio: 0.3 };
        let line = |shift: usize| -> Vec<f64> { (0..15).map(|i| 1.0 + ((i + shift) * 7 % 5) as f64 / 9.0).collect() };
        let [before, left, right, after] = [0, 1, 2, 3].map(line);
        let mut out = vec![0.0; 15];
        fluxes(lines, &before, &left, &right, &after, &mut out);
        for i in 0..4 {
            let [before, left, right, after] =
                [&before, &left, &right, &after].map(|line| cell(line[i], line[5 + i], line[10 + i]));
            let expected = flux(at_edge(before, left, right, 0.3, 1.0), at_edge(left, right, after, 0.3, -1.0));
            assert_eq!([out[i], out[5 + i], out[10 + i]], [expected.h, expected.u, expected.v]);
        }
        assert_eq!([out[4], out[9], out[14]], [0.0; 3]);
    }
}
