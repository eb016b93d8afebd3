//! Escape times of z <- z² + c as a kernel: a task is a tile, and the sink joins tiles to a picture.
//!
//! # Layout
//! `options` reads what was typed, with `views` and `palettes`, into `params`, which `tiles` cuts; `escape`
//! computes points of the `grid`, with `shortcuts`, and `tile` holds them; `plan` speaks of a picture before it is
//! computed, `sink` writes it.

pub mod escape;
mod gradient;
pub mod grid;
mod options;
mod palettes;
pub mod params;
mod plan;
mod shortcuts;
mod sink;
pub(crate) mod tile;
mod tile_files;
pub mod tiles;
pub mod views;

use crate::{Cancel, Compute, ComputeError, Kernel, OptionError, OptionSpec, OutputSpec, Plan, Request};
use escape::Simd;
use palettes::Palette;
use params::Params;
use plan::Picture;
use tile::TilePainter;

/// The kernel.
#[derive(Debug, Clone, Copy)]
pub struct Mandelbrot;

impl Kernel for Mandelbrot {
    fn name(&self) -> &'static str {
        "mandelbrot"
    }

    fn about(&self) -> &'static str {
        "the Mandelbrot set, or any part of it, as a picture of any size"
    }

    fn examples(&self) -> &'static str {
        "titan run mandelbrot\n    the whole set, 4096x4096, to mandelbrot.png\n\
         titan run mandelbrot --view seahorse --palette fire -o seahorse.png\n    a place worth looking at\n\
         titan run mandelbrot --center -0.746,0.102 --width 0.004 --size 16384x16384 -o big.png\n\
         \x20   any place, any size\n\
         titan run mandelbrot --view titan --counts counts.npy --tiles-dir tiles\n\
         \x20   the counts for NumPy, and every tile"
    }

    fn options(&self) -> &'static [OptionSpec] {
        options::OPTIONS
    }

    fn outputs(&self) -> &'static [OutputSpec] {
        options::OUTPUTS
    }

    fn plan(&self, request: &Request) -> Result<Box<dyn Plan>, OptionError> {
        let params = options::params(request)?;
        Ok(Box::new(Picture { params, outputs: request.outputs.clone() }))
    }

    fn load(&self, params: &[u8]) -> Result<Box<dyn Compute>, ComputeError> {
        let params = Params::decode(params).map_err(|reason| ComputeError::BadParams { reason })?;
        Ok(Box::new(Tiles::new(params, Simd::chosen())))
    }
}

/// A picture whose tiles can be computed here.
#[derive(Debug)]
pub struct Tiles {
    params: Params,
    palette: Palette,
    simd: Simd,
}

impl Tiles {
    /// Tiles to be computed with that instruction set, or the nearest that this CPU has.
    pub fn new(params: Params, simd: Simd) -> Self {
        let palette = Palette::new(params.palette);
        Self { params, palette, simd }
    }
}

impl Compute for Tiles {
    fn compute(&self, task: u32, cancel: &Cancel) -> Result<Vec<u8>, ComputeError> {
        let tasks = self.params.tiling.count();
        if task >= tasks {
            return Err(ComputeError::NoSuchTask { task, tasks });
        }
        let (layout, limit) = (self.params.layout(task), self.params.iterations);
        let mut result = vec![0; layout.bytes() as usize];
        let mut painter = TilePainter::new(&self.palette, limit, layout, &mut result);
        let (grid, rect) = (self.params.grid(), self.params.tiling.rect(task));
        escape::compute(self.simd, &grid, rect, limit, &mut painter, cancel).map_err(|_| ComputeError::Cancelled)?;
        let sum = painter.sum();
        result[..tile::HEADER_BYTES as usize].copy_from_slice(&sum.to_le_bytes());
        Ok(result)
    }
}
