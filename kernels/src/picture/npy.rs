//! `.npy` files of two-dimensional arrays, written row by row: format 1.0, little-endian, C order.

use std::io::{self, Write};

/// The first bytes: the format's name and version.
const MAGIC: [u8; 8] = *b"\x93NUMPY\x01\x00";

/// Data begins at a multiple of this.
const ALIGNMENT: usize = 64;

/// Length of the header: enough for any shape of two u32.
const HEADER_BYTES: usize = 2 * ALIGNMENT;

/// What an array holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Whole numbers of 32 bits without a sign.
    U32,
    /// Floating-point numbers of 64 bits.
    F64,
}

impl Element {
    /// Its name in a header.
    fn name(self) -> &'static str {
        match self {
            Self::U32 => "<u4",
            Self::F64 => "<f8",
        }
    }

    /// Its length.
    fn bytes(self) -> u64 {
        match self {
            Self::U32 => 4,
            Self::F64 => 8,
        }
    }
}

/// Length of the file of that many columns and rows.
pub fn bytes(element: Element, (width, height): (u32, u32)) -> u64 {
    HEADER_BYTES as u64 + u64::from(width) * u64::from(height) * element.bytes()
}

/// Writes the header of an array of that many columns and rows; its elements have to follow, row by row.
///
/// # Errors
/// Writing failed.
pub fn write_header(out: &mut impl Write, element: Element, (width, height): (u32, u32)) -> io::Result<()> {
    let name = element.name();
    let dictionary = format!("{{'descr': '{name}', 'fortran_order': False, 'shape': ({height}, {width}), }}");
    let length = HEADER_BYTES - MAGIC.len() - 2;
    out.write_all(&MAGIC)?;
    out.write_all(&(length as u16).to_le_bytes())?;
    writeln!(out, "{dictionary:<padded$}", padded = length - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(element: Element, size: (u32, u32)) -> Vec<u8> {
        let mut header = Vec::new();
        write_header(&mut header, element, size).unwrap();
        header
    }

    #[test]
    fn the_header_is_what_numpy_reads_and_writes() {
        for (element, name) in [(Element::U32, "<u4"), (Element::F64, "<f8")] {
            let header = header(element, (640, 480));
            assert_eq!(header[..10], *b"\x93NUMPY\x01\x00\x76\x00");
            let text = std::str::from_utf8(&header[10..]).unwrap();
            let dictionary = format!("{{'descr': '{name}', 'fortran_order': False, 'shape': (480, 640), }}");
            assert_eq!(text.trim_end(), dictionary);
            assert!(text.ends_with(" \n"));
        }
    }

    #[test]
    fn data_is_aligned_whatever_the_shape() {
        for size in [(1, 1), (65536, 65536), (u32::MAX, u32::MAX)] {
            assert_eq!(header(Element::U32, size).len(), HEADER_BYTES);
            assert_eq!(header(Element::F64, size).len() % ALIGNMENT, 0);
        }
        assert_eq!(bytes(Element::U32, (10, 20)), 128 + 800);
        assert_eq!(bytes(Element::F64, (10, 20)), 128 + 1600);
    }
}
