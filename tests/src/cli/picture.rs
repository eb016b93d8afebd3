//! Pictures and counts as files, and what they have to be: the set computed point by point, in the plainest way.

use std::path::Path;

use image::RgbImage;

/// The count of a missing tile's pixels.
pub const MISSING: u32 = u32::MAX;

/// A part of the plane, and how it is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// The point in the middle.
    pub center: (f64, f64),
    /// Span of the real axis.
    pub width: f64,
    /// Pixels across and down.
    pub size: (u32, u32),
    /// The limit of steps.
    pub iterations: u32,
}

/// Escape counts, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Pixels across and down.
    pub size: (u32, u32),
    /// One for each pixel.
    pub values: Vec<u32>,
}

impl Look {
    /// The counts, each computed by itself.
    pub fn counts(&self) -> Counts {
        let (columns, rows) = self.size;
        let step = self.width / f64::from(columns);
        let re = |i: u32| self.center.0 + (f64::from(i) + 0.5 - f64::from(columns) / 2.0) * step;
        let im = |j: u32| self.center.1 - (f64::from(j) + 0.5 - f64::from(rows) / 2.0) * step;
        let pixels = (0..rows).flat_map(|j| (0..columns).map(move |i| (i, j)));
        let values = pixels.map(|(i, j)| escape(re(i), im(j), self.iterations)).collect();
        Counts { size: self.size, values }
    }
}

/// Steps of z <- z² + c from 0 until |z| > 2, at most `limit`. Products and sums are fused, as on every host.
fn escape(re: f64, im: f64, limit: u32) -> u32 {
    let (mut x, mut y) = (0.0f64, 0.0f64);
    for count in 0..limit {
        if x.mul_add(x, y * y) > 4.0 {
            return count;
        }
        (x, y) = (x.mul_add(x, (-y).mul_add(y, re)), (2.0 * x).mul_add(y, im));
    }
    limit
}

impl Counts {
    /// Reads a file of NumPy's that holds a matrix of little-endian u32.
    ///
    /// # Panics
    /// It isn't one.
    #[track_caller]
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
        let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = String::from_utf8_lossy(&bytes[10..start]).into_owned();
        assert!(header.contains("'descr': '<u4'") && header.contains("'fortran_order': False"), "{header}");
        let (_, shape) = header.split_once("'shape': (").expect("a header has a shape");
        let (shape, _) = shape.split_once(')').expect("a shape ends");
        let sides: Vec<u32> = shape.split(", ").map(|side| side.parse().expect("a side is a number")).collect();
        let values: Vec<u32> = bytes[start..].as_chunks().0.iter().map(|value| u32::from_le_bytes(*value)).collect();
        assert_eq!(values.len(), (sides[0] * sides[1]) as usize);
        Self { size: (sides[1], sides[0]), values }
    }

    /// The count of the pixel in column `x` and row `y`.
    pub fn at(&self, x: u32, y: u32) -> u32 {
        self.values[(y * self.size.0 + x) as usize]
    }

    /// The picture in the colours of `--palette titan`.
    pub fn painted(&self, limit: u32) -> RgbImage {
        let channel = |count: u32, factor: u32| (u64::from(count) * u64::from(factor) % 256) as u8;
        let colour = |count: u32| [channel(count, 5), channel(count, 13), channel(count, 23)];
        RgbImage::from_fn(self.size.0, self.size.1, |x, y| match self.at(x, y) {
            count if count >= limit => image::Rgb([0, 0, 0]),
            count => image::Rgb(colour(count)),
        })
    }
}

/// A PNG file's pixels.
///
/// # Panics
/// It can't be read.
#[track_caller]
pub fn read_png(path: &Path) -> RgbImage {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    decode_png(&bytes)
}

/// The pixels of a PNG file's bytes.
///
/// # Panics
/// They aren't a PNG file's.
#[track_caller]
pub fn decode_png(bytes: &[u8]) -> RgbImage {
    let decoded = image::load_from_memory_with_format(bytes, image::ImageFormat::Png);
    decoded.unwrap_or_else(|error| panic!("{error}")).into_rgb8()
}
