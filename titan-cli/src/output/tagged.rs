//! `--tag`: each line after the task's values.

/// Puts a tag before each line of a stream that comes in pieces.
#[derive(Debug)]
pub(crate) struct Tagged {
    tag: Vec<u8>,
    is_within_line: bool,
}

impl Tagged {
    pub(crate) fn new(tag: &[u8]) -> Self {
        Self { tag: tag.to_vec(), is_within_line: false }
    }

    /// The next piece, tagged.
    pub(crate) fn apply(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut tagged = Vec::with_capacity(piece.len() + self.tag.len());
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            if !self.is_within_line {
                tagged.extend_from_slice(&self.tag);
            }
            tagged.extend_from_slice(line);
            self.is_within_line = !line.ends_with(b"\n");
        }
        tagged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_tagged_once_however_it_is_cut() {
        let mut tagged = Tagged::new(b"a\t");
        let pieces = [&b"on"[..], b"e\ntw", b"o\n", b"\n", b"end"];
        let whole: Vec<u8> = pieces.iter().flat_map(|piece| tagged.apply(piece)).collect();
        assert_eq!(whole, b"a\tone\na\ttwo\na\t\na\tend");
    }
}
