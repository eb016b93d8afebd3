//! What `titan bench` measures of kernels: how near they come to what bounds them.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use image::ImageEncoder;
use image::codecs::png::PngEncoder;

use crate::mandelbrot::escape::{self, Batch, Paint, Simd};
use crate::mandelbrot::grid::Grid;
use crate::mandelbrot::tile::RGB_BYTES;
use crate::mandelbrot::tiles::Tiling;
use crate::picture::png::{self, Band, PngWriter};
use crate::{Cancel, Kernel, Request};

/// Steps between two looks at the clock.
const STEPS_PER_LOOK: u32 = 1 << 18;

/// A part of the plane, as a square picture.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// A letter.
    pub name: &'static str,
    /// What is there.
    pub about: &'static str,
    /// Real and imaginary part of the middle.
    pub center: (f64, f64),
    /// Distance between the left and the right edge.
    pub width: f64,
    /// Pixels across, and down.
    pub side: u32,
    /// The limit of the counts.
    pub iterations: u32,
}

/// The views that shares are told for.
pub const VIEWS: [View; 5] = [
    View { name: "A", about: "a valley", center: (-0.746, 0.102), width: 0.004, side: 4096, iterations: 1000 },
    View { name: "B", about: "the whole set", center: (-0.5, 0.0), width: 3.0, side: 4096, iterations: 1000 },
    View {
        name: "C",
        about: "a deep spiral",
        center: (-0.743643887037151, 0.131825904205330),
        width: 5.1299e-8,
        side: 2048,
        iterations: 20_000,
    },
    View {
        name: "D",
        about: "near a small copy",
        center: (-1.768778833, 0.001738996),
        width: 1e-6,
        side: 2048,
        iterations: 50_000,
    },
    View {
        name: "E",
        about: "inside a small copy",
        center: (-1.7548776662, 0.0),
        width: 0.04,
        side: 1024,
        iterations: 100_000,
    },
];

/// Iterations a second of that many threads together, with nothing but the iteration: three fused operations and an addition
/// for each step, on independent vectors, no test. For that long.
pub fn limit(simd: Simd, threads: usize, span: Duration) -> f64 {
    let rate = || {
        let (start, mut iterations) = (Instant::now(), 0);
        while start.elapsed() < span {
            iterations += escape::bare_iterations(simd, STEPS_PER_LOOK);
        }
        iterations as f64 / start.elapsed().as_secs_f64()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(rate)).collect();
        threads.into_iter().map(|thread| thread.join().expect("the loop doesn't panic")).sum()
    })
}

/// Iterations a second of the calling thread in that view: all of its counts, exact to the bit, and no colours; tile by tile,
/// as they are computed on a host, and all of them again until that has taken so long.
pub fn rate(view: &View, simd: Simd, span: Duration) -> f64 {
    let grid = Grid::new(view.center, view.width, (view.side, view.side));
    let tiling = Tiling::auto((view.side, view.side), 1, RGB_BYTES);
    // Written, so that the system has given the memory before the clock starts.
    let counts = vec![u32::MAX; tiling.largest().pixels() as usize];
    let mut counts = Counts { counts, sum: 0, limit: view.iterations };
    let start = Instant::now();
    loop {
        for rect in (0..tiling.count()).map(|tile| tiling.rect(tile)) {
            escape::compute(simd, &grid, rect, view.iterations, &mut counts, &Cancel::default())
                .expect("nobody cancels");
        }
        if start.elapsed() >= span {
            return counts.sum as f64 / start.elapsed().as_secs_f64();
        }
    }
}

/// Keeps counts.
struct Counts {
    counts: Vec<u32>,
    sum: u64,
    limit: u32,
}

impl Paint for Counts {
    const NEEDS_MAGNITUDE: bool = false;

    #[inline(always)]
    fn batch(&mut self, batch: Batch<'_>) {
        for (&index, &count) in batch.index.iter().zip(batch.count) {
            self.counts[index as usize] = count;
            self.sum += u64::from(count);
        }
    }

    #[inline(always)]
    fn inside(&mut self, index: u64) {
        self.counts[index as usize] = self.limit;
        self.sum += u64::from(self.limit);
    }
}

/// A picture, for encoders.
#[derive(Debug)]
pub struct Picture {
    side: u32,
    rgb: Vec<u8>,
}

/// How one encoder did.
#[derive(Debug, Clone, Copy)]
pub struct Encoded {
    /// Length of the file.
    pub bytes: u64,
    /// Bytes of pixels a second.
    pub rate: f64,
}

impl Picture {
    /// A view's, in the default colours. None: there is no such view.
    pub fn of(view: &str, side: u32) -> Option<Self> {
        let options = [("view", view), ("size", &format!("{side}x{side}")), ("tiles", "1x1")];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let kernel = crate::mandelbrot::Mandelbrot;
        let plan = kernel.plan(&Request { options, slots: 1, ..Request::default() }).ok()?;
        let tile = kernel.load(&plan.params()).ok()?.compute(0, &Cancel::default()).ok()?;
        let pixels = side as usize * side as usize * 3;
        Some(Self { side, rgb: tile[tile.len() - pixels..].to_vec() })
    }

    /// Encoded as the sink does it, on one core.
    ///
    /// # Errors
    /// None that memory could make.
    pub fn encode(&self) -> io::Result<Encoded> {
        self.timed(|file| {
            let row_bytes = self.side as usize * 3;
            let zeros = vec![0; row_bytes];
            let band_bytes = row_bytes * png::band_rows(self.side) as usize;
            let mut writer = PngWriter::new(file, (self.side, self.side))?;
            for (number, rgb) in self.rgb.chunks(band_bytes).enumerate() {
                let start = number * band_bytes;
                let above = if number == 0 { &zeros } else { &self.rgb[start - row_bytes..start] };
                writer.write_bands(&[Band { rgb, above }])?;
            }
            writer.finish().map(drop)
        })
    }

    /// Encoded by the `image` crate, as it does unless told otherwise.
    ///
    /// # Errors
    /// The encoder's own.
    pub fn encode_by_image(&self) -> io::Result<Encoded> {
        self.timed(|file| {
            let encoder = PngEncoder::new(file);
            let written = encoder.write_image(&self.rgb, self.side, self.side, image::ExtendedColorType::Rgb8);
            written.map_err(io::Error::other)
        })
    }

    fn timed(&self, encode: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<Encoded> {
        let (start, mut file) = (Instant::now(), Vec::new());
        encode(&mut file)?;
        let rate = self.rgb.len() as f64 / start.elapsed().as_secs_f64();
        Ok(Encoded { bytes: file.len() as u64, rate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_has_a_rate_and_so_has_the_bare_iteration() {
        let small = View { side: 16, ..VIEWS[1] };
        assert!(Simd::available().all(|simd| rate(&small, simd, Duration::ZERO) > 0.0));
        assert!(limit(Simd::chosen(), 2, Duration::from_millis(1)) > 0.0);
    }

    #[test]
    fn both_encoders_write_the_same_pixels() {
        let picture = Picture::of("titan", 64).unwrap();
        let (ours, theirs) = (picture.encode().unwrap(), picture.encode_by_image().unwrap());
        assert!(ours.bytes > 1000 && theirs.bytes > 1000);
        assert!(Picture::of("nowhere", 64).is_none());
    }
}
