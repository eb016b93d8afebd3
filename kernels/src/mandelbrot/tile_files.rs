//! One PNG file for each tile, written when its result is there.

use super::params::Params;
use crate::{Outputs, Results};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError};
use std::io::{self, BufWriter, Write};

/// Writes the tile's file into the output of that name.
///
/// # Errors
/// The result couldn't be read, or the file couldn't be written.
pub(super) fn write(
    params: &Params,
    tile: u32,
    results: &dyn Results,
    outputs: &mut dyn Outputs,
    output: &str,
) -> io::Result<()> {
    let (layout, rect) = (params.layout(tile), params.tiling.rect(tile));
    let mut rgb = vec![0; (layout.bytes() - layout.rgb_at(0)) as usize];
    results.read_at(tile, layout.rgb_at(0), &mut rgb)?;
    let (column, row) = params.tiling.place(tile);
    let mut file = BufWriter::new(outputs.create(output, Some(&format!("tile-{row}-{column}.png")))?);
    let encoded = PngEncoder::new(&mut file).write_image(&rgb, rect.width, rect.height, ExtendedColorType::Rgb8);
    encoded.map_err(|error| match error {
        ImageError::IoError(error) => error,
        other => io::Error::other(other),
    })?;
    file.flush()
}
