//! Rotating shallow water on a grid of square cells without edges: what leaves on one side comes in on the other.
//!
//! A step takes every row and then every column (the next one every column and then every row: Strang's splitting,
//! LeVeque 2002, ch. 19) through the fluxes of [`super::flux`], which take from one cell what they give to another: so
//! water is neither made nor lost. Then momentum turns by the Coriolis force, by Cayley's rational rotation, which keeps
//! its size.

use super::flux::{Lines, fluxes};
use super::params::Params;
use super::start;
use crate::Cancel;
use crate::simd::Simd;

/// How far a wave may go in a step at most, in cells; 1 is the bound of Courant, Friedrichs and Lewy.
const COURANT: f64 = 0.8;

/// Coriolis parameter, where the shorter side and the speed of long waves are 1: eddies of a quarter of that side last.
pub(super) const CORIOLIS: f64 = 4.0;

/// Cells beyond each end of a row, copies of those at its other end.
const GHOSTS: usize = 2;

/// The computation was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cancelled;

/// Water in motion: depth and momentum of each cell, row by row, and room for what a step needs.
pub(super) struct Model {
    columns: usize,
    rows: usize,
    h: Vec<f64>,
    hu: Vec<f64>,
    hv: Vec<f64>,
    /// Length of a step divided by that of a cell.
    ratio: f64,
    /// Cosine and sine of a step's turn.
    turn: (f64, f64),
    scratch: Scratch,
}

/// Lines of cells, or of fluxes.
struct Scratch {
    /// Four neighbouring lines.
    lines: [Vec<f64>; 4],
    /// The first line as it was before the sweep.
    first_line: Vec<f64>,
    /// The flux into the line that is changed, and out of it.
    fluxes: [Vec<f64>; 2],
    /// The flux into the first line, which is also that out of the last.
    first_flux: Vec<f64>,
}

/// Length of a step: no wave of the start's highest crest and deepest trough outruns it.
///
/// Along a simple wave u ± 2c is constant (LeVeque 2002, ch. 13), c being the root of the depth; so, from rest, |u| + c
/// stays below twice the largest c less the smallest.
pub(super) fn step_length(params: &Params) -> f64 {
    let perturbed = params.perturb * start::MOST_WAVES_HEIGHT;
    let fastest = (1.0 + start::MOST_BUMPS_HEIGHT + perturbed).sqrt();
    let slowest = (1.0 - perturbed).sqrt();
    COURANT * start::cell_length(params.grid) / (2.0 * fastest - slowest)
}

impl Model {
    /// A member at its start.
    pub(super) fn new(params: &Params, member: u32, cancel: &Cancel) -> Result<Self, Cancelled> {
        let h = start::depths(params, member, cancel).ok_or(Cancelled)?;
        let cells = h.len();
        let (columns, rows) = (params.grid.0 as usize, params.grid.1 as usize);
        let step = step_length(params);
        let half_turn = 0.5 * CORIOLIS * step;
        let whole = 1.0 + half_turn * half_turn;
        let line = || vec![0.0; 3 * (columns + 2 * GHOSTS)];
        Ok(Self {
            columns,
            rows,
            h,
            hu: vec![0.0; cells],
            hv: vec![0.0; cells],
            ratio: step / start::cell_length(params.grid),
            turn: ((1.0 - half_turn * half_turn) / whole, 2.0 * half_turn / whole),
            scratch: Scratch {
                lines: [line(), line(), line(), line()],
                first_line: line(),
                fluxes: [line(), line()],
                first_flux: line(),
            },
        })
    }

    /// Depths of all cells, row by row.
    pub(super) fn into_depths(self) -> Vec<f64> {
        self.h
    }

    /// Whether every depth is a number and there is water everywhere.
    pub(super) fn is_sound(&self) -> bool {
        self.h.iter().all(|&depth| depth > 0.0 && depth < f64::INFINITY)
    }

    /// Makes the step of that number, with that instruction set: it changes the speed and no bit.
    pub(super) fn step(&mut self, number: u32, simd: Simd, cancel: &Cancel) -> Result<(), Cancelled> {
        match simd.supported() {
            Simd::Portable => self.step_here(number, cancel),
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "a function for certain CPUs is called after asking the CPU")]
            // SAFETY: `supported` has found these instructions on this CPU; one with AVX-512 has AVX2.
            Simd::Avx2 | Simd::Avx512 => unsafe { self.step_avx2(number, cancel) },
            #[cfg(not(target_arch = "x86_64"))]
            Simd::Avx2 | Simd::Avx512 => unreachable!("`supported` never answers with another architecture's set"),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn step_avx2(&mut self, number: u32, cancel: &Cancel) -> Result<(), Cancelled> {
        self.step_here(number, cancel)
    }

    #[inline(always)]
    fn step_here(&mut self, number: u32, cancel: &Cancel) -> Result<(), Cancelled> {
        if number.is_multiple_of(2) {
            self.sweep_rows(cancel)?;
            self.sweep_columns(cancel)?;
        } else {
            self.sweep_columns(cancel)?;
            self.sweep_rows(cancel)?;
        }
        self.rotate(cancel)
    }

    fn stride(&self) -> usize {
        self.columns + 2 * GHOSTS
    }

    /// Moves water along rows.
    #[inline(always)]
    fn sweep_rows(&mut self, cancel: &Cancel) -> Result<(), Cancelled> {
        let (columns, stride) = (self.columns, self.stride());
        let lines = Lines { stride, count: columns + 1, ratio: self.ratio };
        let Scratch { lines: [line, ..], fluxes: [flux, _], .. } = &mut self.scratch;
        let rows = self.h.chunks_exact_mut(columns).zip(self.hu.chunks_exact_mut(columns));
        for ((h, hu), hv) in rows.zip(self.hv.chunks_exact_mut(columns)) {
            if cancel.is_set() {
                return Err(Cancelled);
            }
            load(h, hu, hv, line, stride, GHOSTS);
            for field in line.chunks_exact_mut(stride) {
                field.copy_within(columns..columns + GHOSTS, 0);
                field.copy_within(GHOSTS..2 * GHOSTS, columns + GHOSTS);
            }
            fluxes(lines, line, &line[1..], &line[2..], &line[3..], flux);
            for (field, flux) in [h, hu, hv].into_iter().zip(flux.chunks_exact(stride)) {
                change(field, flux, &flux[1..], self.ratio);
            }
        }
        Ok(())
    }

    /// Moves water along columns: all of them together, row by row, with what was there before in four lines.
    #[inline(always)]
    fn sweep_columns(&mut self, cancel: &Cancel) -> Result<(), Cancelled> {
        let (columns, rows, stride) = (self.columns, self.rows, self.stride());
        let shape = Lines { stride, count: columns, ratio: self.ratio };
        let Scratch { lines, first_line, fluxes: [flux_in, flux_out], first_flux } = &mut self.scratch;
        let (h, hu, hv) = (&mut self.h, &mut self.hu, &mut self.hv);
        for (line, row) in lines.iter_mut().zip([rows - 2, rows - 1, 0, 1]) {
            let cells = row * columns..(row + 1) * columns;
            load(&h[cells.clone()], &hv[cells.clone()], &hu[cells], line, stride, 0);
        }
        first_line.copy_from_slice(&lines[2]);
        fluxes(shape, &lines[0], &lines[1], &lines[2], &lines[3], first_flux);
        flux_in.copy_from_slice(first_flux);
        for row in 0..rows {
            if cancel.is_set() {
                return Err(Cancelled);
            }
            lines.rotate_left(1);
            if row + 2 < rows {
                let cells = (row + 2) * columns..(row + 3) * columns;
                load(&h[cells.clone()], &hv[cells.clone()], &hu[cells], &mut lines[3], stride, 0);
            } else {
                lines[3].copy_from_slice(first_line);
            }
            if row + 1 < rows {
                fluxes(shape, &lines[0], &lines[1], &lines[2], &lines[3], flux_out);
            } else {
                flux_out.copy_from_slice(first_flux);
            }
            let cells = row * columns..(row + 1) * columns;
            let fields = [&mut h[cells.clone()], &mut hv[cells.clone()], &mut hu[cells]];
            let flows = flux_in.chunks_exact(stride).zip(flux_out.chunks_exact(stride));
            for (field, (flow_in, flow_out)) in fields.into_iter().zip(flows) {
                change(field, flow_in, flow_out, self.ratio);
            }
            std::mem::swap(flux_in, flux_out);
        }
        Ok(())
    }

    /// Turns momentum to the right, as the Coriolis force does in a step.
    #[inline(always)]
    fn rotate(&mut self, cancel: &Cancel) -> Result<(), Cancelled> {
        let (cosine, sine) = self.turn;
        let rows = self.hu.chunks_exact_mut(self.columns).zip(self.hv.chunks_exact_mut(self.columns));
        for (hu, hv) in rows {
            if cancel.is_set() {
                return Err(Cancelled);
            }
            for (hu, hv) in hu.iter_mut().zip(hv) {
                (*hu, *hv) = (cosine * *hu + sine * *hv, cosine * *hv - sine * *hu);
            }
        }
        Ok(())
    }
}

/// Fills a line from `at` on with depths and velocities, from depths and momenta along and across it.
#[inline(always)]
fn load(h: &[f64], along: &[f64], across: &[f64], line: &mut [f64], stride: usize, at: usize) {
    let count = h.len();
    let (line_h, rest) = line.split_at_mut(stride);
    let (line_u, line_v) = rest.split_at_mut(stride);
    let (line_h, line_u, line_v) = (&mut line_h[at..][..count], &mut line_u[at..][..count], &mut line_v[at..][..count]);
    let (along, across) = (&along[..count], &across[..count]);
    for i in 0..count {
        let per_depth = 1.0 / h[i];
        line_h[i] = h[i];
        line_u[i] = along[i] * per_depth;
        line_v[i] = across[i] * per_depth;
    }
}

/// What a field becomes when this flows into and out of its cells.
#[inline(always)]
fn change(field: &mut [f64], flow_in: &[f64], flow_out: &[f64], ratio: f64) {
    for ((value, flow_in), flow_out) in field.iter_mut().zip(flow_in).zip(flow_out) {
        *value -= ratio * (flow_out - flow_in);
    }
}

#[cfg(test)]
impl Model {
    /// Sets the depth of each cell by its column and row; nothing moves yet.
    pub(super) fn set_depths(&mut self, depth: impl Fn(usize, usize) -> f64) {
        self.h.iter_mut().enumerate().for_each(|(cell, h)| *h = depth(cell % self.columns, cell / self.columns));
        self.hu.fill(0.0);
        self.hv.fill(0.0);
    }
}
