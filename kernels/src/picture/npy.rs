//! `.npy` files of two-dimensional arrays of u32, written row by row: format 1.0, little-endian, C order.

use std::io::{self, Write};

/// The first bytes: the format's name and version.
const MAGIC: [u8; 8] = *b"\x93NUMPY\x01\x00";

/// Data begins at a multiple of this.
const ALIGNMENT: usize = 64;

/// Length of the header: enough for any shape of two u32.
const HEADER_BYTES: usize = 2 * ALIGNMENT;

/// Length of the file of that many columns and rows.
pub fn bytes((width, height): (u32, u32)) -> u64 {
    HEADER_BYTES as u64 + u64::from(width) * u64::from(height) * 4
}

/// Writes the header of an array of that many columns and rows; its elements have to follow, row by row.
///
/// # Errors
/// Writing failed.
pub fn write_header(out: &mut impl Write, (width, height): (u32, u32)) -> io::Result<()> {
    let dictionary = format!("{{'descr': '<u4', 'fortran_order': False, 'shape': ({height}, {width}), }}");
    let length = HEADER_BYTES - MAGIC.len() - 2;
    out.write_all(&MAGIC)?;
    out.write_all(&(length as u16).to_le_bytes())?;
    writeln!(out, "{dictionary:<padded$}", padded = length - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(size: (u32, u32)) -> Vec<u8> {
        let mut header = Vec::new();
        write_header(&mut header, size).unwrap();
        header
    }

    #[test]
    fn the_header_is_what_numpy_reads() {
        let header = header((640, 480));
        assert_eq!(header[..10], *b"\x93NUMPY\x01\x00\x76\x00");
        let text = std::str::from_utf8(&header[10..]).unwrap();
        assert_eq!(text.trim_end(), "{'descr': '<u4', 'fortran_order': False, 'shape': (480, 640), }");
        assert!(text.ends_with(" \n"));
    }

    #[test]
    fn data_is_aligned_whatever_the_shape() {
        for size in [(1, 1), (65536, 65536), (u32::MAX, u32::MAX)] {
            assert_eq!(header(size).len(), HEADER_BYTES);
        }
        assert_eq!(bytes((10, 20)), 128 + 800);
    }
}
