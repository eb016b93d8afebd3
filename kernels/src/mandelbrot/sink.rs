//! Joins tiles, which come in any order, to a picture and its counts, which are written from the top.
//!
//! A band of rows is written when all tiles that it touches are known to be there or missing. Bands are read from the
//! results only then, so that memory holds one group of bands, however late the first tile comes.

use super::options::{COUNTS, PICTURE, TILES_DIR};
use super::params::Params;
use super::tile::{HEADER_BYTES, Layout, RGB_BYTES};
use super::tile_files;
use crate::picture::npy::{self, Element};
use crate::picture::png::{self, Band, PngWriter};
use crate::{Outputs, Results, Sink, SinkReport};
use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::ops::Range;

/// Bytes that a group of bands takes at most, unless a single one takes more: pixels, what they were read into, and
/// what they are compressed to.
const GROUP_BYTES: u64 = 64 << 20;

/// Times that a band's pixels are in memory.
const COPIES: u64 = 2;

/// Bands for each thread in a group, so that a slow one doesn't keep the others waiting.
const BANDS_PER_THREAD: u64 = 2;

/// The width of the stripes of a missing tile's pattern, in pixels.
const STRIPE: u32 = 16;

/// The colours of the stripes.
const STRIPES: [[u8; 3]; 2] = [[255, 0, 255], [40, 40, 40]];

/// The count of every pixel of a missing tile.
const MISSING_COUNT: [u8; 4] = u32::MAX.to_le_bytes();

type File = BufWriter<Box<dyn Write + Send>>;

/// What is known of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tile {
    Awaited,
    Completed,
    Missing,
}

/// The sink.
pub(super) struct PictureSink {
    params: Params,
    outputs: Box<dyn Outputs>,
    has_tile_files: bool,
    picture: Option<PngWriter<File>>,
    counts: Option<File>,
    tiles: Vec<Tile>,
    /// The first row that is not yet written.
    next_row: u32,
    /// The last row that was written to the picture.
    above: Vec<u8>,
    /// Room for the bands of a group: memory that is used again needn't be got and cleared again.
    bands: Vec<Vec<u8>>,
    pixels: u64,
    iterations: u64,
}

impl PictureSink {
    pub(super) fn new(params: Params, wanted: &BTreeSet<String>, mut outputs: Box<dyn Outputs>) -> io::Result<Self> {
        let size = params.tiling.size;
        let mut open = |name: &str| -> io::Result<Option<File>> {
            wanted.contains(name).then(|| outputs.create(name, None).map(BufWriter::new)).transpose()
        };
        let picture = open(PICTURE)?.map(|file| PngWriter::new(file, size)).transpose()?;
        let mut counts = open(COUNTS)?;
        if let Some(counts) = &mut counts {
            npy::write_header(counts, Element::U32, size)?;
        }
        Ok(Self {
            outputs,
            has_tile_files: wanted.contains(TILES_DIR),
            picture,
            counts,
            tiles: vec![Tile::Awaited; params.tiling.count() as usize],
            next_row: 0,
            above: vec![0; size.0 as usize * RGB_BYTES as usize],
            bands: Vec::new(),
            pixels: 0,
            iterations: 0,
            params,
        })
    }

    /// Writes the bands that have become complete, a group at a time.
    fn write_complete_bands(&mut self, results: &dyn Results) -> io::Result<()> {
        loop {
            let group = self.complete_bands();
            if group.is_empty() {
                return Ok(());
            }
            self.write_group(&group, results)?;
        }
    }

    /// The rows of the next bands that are complete, at most a group.
    fn complete_bands(&self) -> Vec<Range<u32>> {
        let (width, height) = self.params.tiling.size;
        let band_rows = png::band_rows(width);
        let mut bands = Vec::new();
        let mut start = self.next_row;
        while start < height && bands.len() < group_bands(width) {
            let rows = start..height.min(start + band_rows);
            if !self.is_complete(rows.clone()) {
                break;
            }
            start = rows.end;
            bands.push(rows);
        }
        bands
    }

    fn is_complete(&self, rows: Range<u32>) -> bool {
        let mut tile_rows = self.params.tiling.rows_touching(rows);
        tile_rows.all(|row| self.params.tiling.tiles_of_row(row).all(|tile| self.tiles[tile as usize] != Tile::Awaited))
    }

    fn write_group(&mut self, group: &[Range<u32>], results: &dyn Results) -> io::Result<()> {
        if self.picture.is_some() {
            self.write_to_picture(group, results)?;
        }
        let reader = BandReader { params: &self.params, tiles: &self.tiles, results };
        let mut band = Vec::new();
        for rows in group {
            let Some(counts) = &mut self.counts else { break };
            reader.counts(rows.clone(), &mut band)?;
            counts.write_all(&band)?;
        }
        self.next_row = group.last().map_or(self.next_row, |rows| rows.end);
        Ok(())
    }

    fn write_to_picture(&mut self, group: &[Range<u32>], results: &dyn Results) -> io::Result<()> {
        let reader = BandReader { params: &self.params, tiles: &self.tiles, results };
        self.bands.resize_with(group.len().max(self.bands.len()), Vec::new);
        group.iter().zip(&mut self.bands).try_for_each(|(rows, band)| reader.rgb(rows.clone(), band))?;
        let pixels = &self.bands[..group.len()];
        let row_bytes = self.above.len();
        let last_row = |pixels: &'_ [u8]| pixels.len() - row_bytes;
        let mut bands: Vec<Band<'_>> = Vec::with_capacity(pixels.len());
        for (number, rgb) in pixels.iter().enumerate() {
            let above = if number == 0 { &self.above } else { &pixels[number - 1] };
            bands.push(Band { rgb, above: &above[last_row(above)..] });
        }
        if let Some(picture) = &mut self.picture {
            picture.write_bands(&bands)?;
        }
        if let Some(last) = pixels.last() {
            self.above.copy_from_slice(&last[last_row(last)..]);
        }
        Ok(())
    }
}

impl Sink for PictureSink {
    fn completed(&mut self, task: u32, results: &dyn Results) -> io::Result<()> {
        let mut header = [0; HEADER_BYTES as usize];
        results.read_at(task, 0, &mut header)?;
        self.iterations = self.iterations.saturating_add(u64::from_le_bytes(header));
        self.pixels += self.params.layout(task).pixels;
        if self.has_tile_files {
            tile_files::write(&self.params, task, results, self.outputs.as_mut(), TILES_DIR)?;
        }
        self.tiles[task as usize] = Tile::Completed;
        self.write_complete_bands(results)
    }

    fn missing(&mut self, task: u32, results: &dyn Results) -> io::Result<()> {
        self.tiles[task as usize] = Tile::Missing;
        self.write_complete_bands(results)
    }

    fn finish(self: Box<Self>) -> io::Result<SinkReport> {
        debug_assert_eq!(self.next_row, self.params.tiling.size.1, "every task was announced");
        if let Some(picture) = self.picture {
            picture.finish()?;
        }
        if let Some(mut counts) = self.counts {
            counts.flush()?;
        }
        Ok(SinkReport { totals: vec![("pixels", self.pixels), ("iterations", self.iterations)] })
    }
}

/// How many bands are compressed side by side.
fn group_bands(width: u32) -> usize {
    let band_bytes = u64::from(width) * RGB_BYTES * u64::from(png::band_rows(width));
    let by_threads = BANDS_PER_THREAD * rayon::current_num_threads() as u64;
    by_threads.min(GROUP_BYTES / (COPIES * band_bytes)).max(1) as usize
}

/// Reads whole rows of the picture from the results of the tiles that they touch.
struct BandReader<'a> {
    params: &'a Params,
    tiles: &'a [Tile],
    results: &'a dyn Results,
}

impl BandReader<'_> {
    /// Makes `band` the colours of these rows.
    fn rgb(&self, rows: Range<u32>, band: &mut Vec<u8>) -> io::Result<()> {
        self.read(rows, band, Layout::rgb_at, |x, y| STRIPES[((x + y) / STRIPE % 2) as usize])
    }

    /// Makes `band` the counts of these rows.
    fn counts(&self, rows: Range<u32>, band: &mut Vec<u8>) -> io::Result<()> {
        self.read(rows, band, Layout::count_at, |_, _| MISSING_COUNT)
    }

    /// Makes `band` the values, of `BYTES` each, of all pixels in these rows: `at` says where a tile's result has them, and
    /// `missing` what stands for them at the pixel (x, y).
    fn read<const BYTES: usize>(
        &self,
        rows: Range<u32>,
        band: &mut Vec<u8>,
        at: impl Fn(&Layout, u64) -> u64,
        missing: impl Fn(u32, u32) -> [u8; BYTES],
    ) -> io::Result<()> {
        let tiling = &self.params.tiling;
        let row_bytes = tiling.size.0 as usize * BYTES;
        // Tiles cover all of it.
        band.resize(row_bytes * rows.len(), 0);
        let mut part = Vec::new();
        for tile in tiling.rows_touching(rows.clone()).flat_map(|row| tiling.tiles_of_row(row)) {
            let rect = tiling.rect(tile);
            let (top, end) = (rect.top.max(rows.start), (rect.top + rect.height).min(rows.end));
            let part_bytes = rect.width as usize * BYTES;
            part.resize(part_bytes * (end - top) as usize, 0);
            if self.tiles[tile as usize] == Tile::Completed {
                let first = u64::from(top - rect.top) * u64::from(rect.width);
                self.results.read_at(tile, at(&self.params.layout(tile), first), &mut part)?;
            } else {
                let pixels = (top..end).flat_map(|y| (rect.left..rect.left + rect.width).map(move |x| (x, y)));
                part.as_chunks_mut().0.iter_mut().zip(pixels).for_each(|(value, (x, y))| *value = missing(x, y));
            }
            let left = rect.left as usize * BYTES;
            let into = band.chunks_exact_mut(row_bytes).skip((top - rows.start) as usize);
            for (row, part) in into.zip(part.chunks_exact(part_bytes)) {
                row[left..left + part_bytes].copy_from_slice(part);
            }
        }
        Ok(())
    }
}
