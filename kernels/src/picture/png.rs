//! PNG files of RGB pixels, written from the top in bands that are compressed side by side.
//!
//! Each band of [`band_rows`] rows is filtered and deflated on its own and ends with a sync flush, so that bands join
//! to one zlib stream; a band is one IDAT chunk. The file's bytes depend on the pixels alone.

use super::adler::Adler;
use super::deflate::{LAST_BLOCK, PartWriter};
use super::filter;
use crate::simd::Simd;
use rayon::prelude::*;
use std::io::{self, Write};

/// Bytes of a pixel.
const PIXEL_BYTES: u64 = 3;

/// Rows of a band, where they aren't very long.
const BAND_ROWS: u64 = 64;

/// Bytes of pixels that a band doesn't exceed by more than a row.
const BAND_BYTES: u64 = 16 << 20;

/// Bytes of filtered pixels that share a Huffman code, in whole rows.
const BLOCK_BYTES: usize = 256 << 10;

/// The first bytes of each PNG file.
const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// The header of a zlib stream: deflate, a window of 32 KiB, the fastest level.
const ZLIB_HEADER: [u8; 2] = [0x78, 0x01];

/// Rows of a band in pictures of that width; the last band of a picture may have fewer.
pub fn band_rows(width: u32) -> u32 {
    (BAND_BYTES / (u64::from(width) * PIXEL_BYTES)).clamp(1, BAND_ROWS) as u32
}

/// The most bytes of a file with that many pixels across and down: chunks and blocks add little to rows as they are.
pub fn most_bytes((width, height): (u32, u32)) -> u64 {
    let raw = (u64::from(width) * PIXEL_BYTES + 1) * u64::from(height);
    raw + raw / 1000 + 1024 * (u64::from(height) / u64::from(band_rows(width)) + 1)
}

/// A band of rows to be compressed.
#[derive(Debug, Clone, Copy)]
pub struct Band<'a> {
    /// Its pixels, row by row, three bytes each.
    pub rgb: &'a [u8],
    /// The row above its first; all zeros above the first band.
    pub above: &'a [u8],
}

/// A band that is ready for the file, and room to make it.
#[derive(Default)]
struct Compressed {
    deflated: Vec<u8>,
    adler: Adler,
    filtered: Vec<u8>,
}

/// Writes one PNG file.
pub struct PngWriter<W> {
    out: W,
    row_bytes: usize,
    adler: Adler,
    /// One for each band of the largest group so far: memory that is used again needn't be got and cleared again.
    compressed: Vec<Compressed>,
}

impl<W: Write> PngWriter<W> {
    /// Begins a file with that many pixels across and down.
    ///
    /// # Errors
    /// Writing failed.
    pub fn new(mut out: W, (width, height): (u32, u32)) -> io::Result<Self> {
        out.write_all(&SIGNATURE)?;
        let mut header = [0; 13];
        header[..4].copy_from_slice(&width.to_be_bytes());
        header[4..8].copy_from_slice(&height.to_be_bytes());
        // 8 bits a channel, RGB; deflate, adaptive filters, not interlaced.
        header[8..].copy_from_slice(&[8, 2, 0, 0, 0]);
        write_chunk(&mut out, *b"IHDR", &[&header])?;
        write_chunk(&mut out, *b"IDAT", &[&ZLIB_HEADER])?;
        let row_bytes = width as usize * PIXEL_BYTES as usize;
        Ok(Self { out, row_bytes, adler: Adler::default(), compressed: Vec::new() })
    }

    /// Compresses these bands side by side, and writes them in order.
    ///
    /// # Errors
    /// Writing failed.
    pub fn write_bands(&mut self, bands: &[Band<'_>]) -> io::Result<()> {
        let simd = Simd::chosen();
        let Self { row_bytes, compressed, .. } = self;
        compressed.resize_with(bands.len().max(compressed.len()), Compressed::default);
        compressed.par_iter_mut().zip(bands).for_each(|(room, band)| room.fill(simd, *band, *row_bytes));
        for band in &self.compressed[..bands.len()] {
            self.adler = self.adler.join(band.adler);
            write_chunk(&mut self.out, *b"IDAT", &[&band.deflated])?;
        }
        Ok(())
    }

    /// Ends the file, after all bands.
    ///
    /// # Errors
    /// Writing failed.
    pub fn finish(mut self) -> io::Result<()> {
        write_chunk(&mut self.out, *b"IDAT", &[&LAST_BLOCK, &self.adler.value().to_be_bytes()])?;
        write_chunk(&mut self.out, *b"IEND", &[])?;
        self.out.flush()
    }
}

impl Compressed {
    /// Filters and deflates a band with an instruction set: the same to the bit with each.
    fn fill(&mut self, simd: Simd, band: Band<'_>, row_bytes: usize) {
        match simd.supported() {
            Simd::Portable => self.fill_with_any(band, row_bytes),
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "a function for certain CPUs is called after asking the CPU")]
            // SAFETY: `supported` has found these instructions on this CPU.
            Simd::Avx2 | Simd::Avx512 => unsafe { self.fill_with_avx2(band, row_bytes) },
            #[cfg(not(target_arch = "x86_64"))]
            Simd::Avx2 | Simd::Avx512 => unreachable!("`supported` never answers with another architecture's set"),
        }
    }

    /// As `fill_with_any`: filters and the search for runs become vector code, and shifts shorter.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi2")]
    fn fill_with_avx2(&mut self, band: Band<'_>, row_bytes: usize) {
        self.fill_with_any(band, row_bytes);
    }

    /// Filters and deflates a band, some rows at a time. Inlined, as most of what it calls for every byte, so that it is
    /// compiled for the instruction set of its caller.
    #[inline(always)]
    fn fill_with_any(&mut self, band: Band<'_>, row_bytes: usize) {
        let Self { deflated, adler, filtered } = self;
        *adler = Adler::default();
        deflated.clear();
        deflated.reserve(band.rgb.len() / 2);
        let mut part = PartWriter::new(deflated);
        let rows_per_block = (BLOCK_BYTES / row_bytes).max(1);
        let mut above = band.above;
        for rows in band.rgb.chunks(rows_per_block * row_bytes) {
            filtered.clear();
            for row in rows.chunks_exact(row_bytes) {
                filter::append(row, above, filtered);
                above = row;
            }
            adler.update(filtered);
            part.append(filtered);
        }
        part.finish();
    }
}

/// Writes a chunk whose data is in parts.
fn write_chunk(out: &mut impl Write, kind: [u8; 4], data: &[&[u8]]) -> io::Result<()> {
    let length = data.iter().map(|part| part.len()).sum::<usize>();
    let length = u32::try_from(length).map_err(|_| io::Error::other("a PNG chunk would exceed 4 GiB"))?;
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&kind);
    out.write_all(&length.to_be_bytes())?;
    out.write_all(&kind)?;
    for part in data {
        checksum.update(part);
        out.write_all(part)?;
    }
    out.write_all(&checksum.finalize().to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file of these pixels, its bands given in groups of that many.
    fn file((width, height): (u32, u32), rgb: &[u8], group: usize) -> Vec<u8> {
        let row_bytes = width as usize * 3;
        let zeros = vec![0; row_bytes];
        let band_bytes = row_bytes * band_rows(width) as usize;
        let mut bands = Vec::new();
        for (number, band) in rgb.chunks(band_bytes).enumerate() {
            let start = number * band_bytes;
            let above = if number == 0 { &zeros } else { &rgb[start - row_bytes..start] };
            bands.push(Band { rgb: band, above });
        }
        let mut bytes = Vec::new();
        let mut writer = PngWriter::new(&mut bytes, (width, height)).unwrap();
        bands.chunks(group).for_each(|group| writer.write_bands(group).unwrap());
        writer.finish().unwrap();
        bytes
    }

    fn pixels(width: u32, height: u32, seed: u32) -> Vec<u8> {
        let channel = |i: u32| {
            (i / width * (seed & 7) + (i % width) * (seed >> 3 & 7) + (i.wrapping_mul(i).wrapping_mul(seed >> 6) >> 20))
                as u8
        };
        (0..width * height * 3).map(channel).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn files_are_decoded_to_their_pixels(width in 1..300u32, height in 1..200u32, seed in any::<u32>()) {
            let rgb = pixels(width, height, seed >> 16);
            let bytes = file((width, height), &rgb, 2);
            prop_assert!(bytes.len() as u64 <= most_bytes((width, height)));
            let decoded = image::load_from_memory_with_format(&bytes, image::ImageFormat::Png).unwrap();
            prop_assert_eq!((decoded.width(), decoded.height()), (width, height));
            prop_assert!(decoded.into_rgb8().into_raw() == rgb);
        }
    }

    #[test]
    fn groups_of_bands_make_no_difference() {
        let rgb = pixels(70, 500, 12345);
        assert_eq!(file((70, 500), &rgb, 1), file((70, 500), &rgb, 5));
    }

    #[test]
    fn bands_of_several_blocks_are_decoded_to_their_pixels() {
        let rgb = pixels(2000, 140, 12345);
        let decoded = image::load_from_memory_with_format(&file((2000, 140), &rgb, 2), image::ImageFormat::Png);
        assert!(2000 * 64 * 3 > BLOCK_BYTES && decoded.unwrap().into_rgb8().into_raw() == rgb);
    }

    #[test]
    fn every_instruction_set_makes_the_same_bytes() {
        let (width, zeros) = (701, [0; 701 * 3]);
        let rgb = pixels(width, 64, 12345);
        let made = |simd| {
            let mut room = Compressed::default();
            room.fill(simd, Band { rgb: &rgb, above: &zeros }, zeros.len());
            (room.deflated, room.adler)
        };
        let plain = made(Simd::Portable);
        assert!(Simd::available().all(|simd| made(simd) == plain));
    }

    #[test]
    fn very_wide_pictures_have_lower_bands() {
        assert_eq!([band_rows(1), band_rows(65536), band_rows(1 << 20)], [64, 64, 5]);
    }
}
