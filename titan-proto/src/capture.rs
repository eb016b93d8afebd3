//! What a command's task wrote and the files that it left, as one stream: records of a channel and its bytes, in the order
//! in which they were read.

/// Which of a task's outputs a record belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The header of an output: an encoded [`crate::files::Entry`].
    Entry,
    /// Bytes of the file that the last header told of.
    Content,
}

impl Channel {
    fn byte(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::Entry => 3,
            Self::Content => 4,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            3 => Some(Self::Entry),
            4 => Some(Self::Content),
            _ => None,
        }
    }
}

/// Bytes before a record's own: the channel, and the length as a little-endian u32.
pub const HEADER_BYTES: usize = 5;
/// Longest record.
pub const MAX_RECORD_BYTES: usize = 64 << 10;

/// A record's header.
pub fn header(channel: Channel, length: u32) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = length.to_le_bytes();
    [channel.byte(), a, b, c, d]
}

/// The channel and the length that a header names; None: it is none.
pub fn parse_header(bytes: [u8; HEADER_BYTES]) -> Option<(Channel, u32)> {
    let [channel, a, b, c, d] = bytes;
    let length = u32::from_le_bytes([a, b, c, d]);
    (length as usize <= MAX_RECORD_BYTES).then_some((Channel::from_byte(channel)?, length))
}

/// Takes a stream apart that comes in pieces of any size.
#[derive(Debug, Default)]
pub struct Splitter {
    header: Vec<u8>,
    /// The record under way, and how much of it is still to come.
    current: Option<(Channel, usize)>,
}

/// The stream has something in it that is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what it wrote isn't told in records")]
pub struct NoRecord;

impl Splitter {
    /// Hands on what this piece holds, channel by channel.
    ///
    /// # Errors
    /// Something is no record; nothing after it is one either.
    pub fn push(&mut self, mut piece: &[u8], mut take: impl FnMut(Channel, &[u8])) -> Result<(), NoRecord> {
        while !piece.is_empty() {
            match self.current.take() {
                Some((channel, left)) => {
                    let length = left.min(piece.len());
                    take(channel, &piece[..length]);
                    piece = &piece[length..];
                    self.current = (left > length).then_some((channel, left - length));
                }
                None => piece = self.push_header(piece)?,
            }
        }
        Ok(())
    }

    fn push_header<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], NoRecord> {
        let length = (HEADER_BYTES - self.header.len()).min(piece.len());
        self.header.extend_from_slice(&piece[..length]);
        if let Ok(header) = <[u8; HEADER_BYTES]>::try_from(&self.header[..]) {
            self.header.clear();
            let (channel, length) = parse_header(header).ok_or(NoRecord)?;
            self.current = (length > 0).then_some((channel, length as usize));
        }
        Ok(&piece[length..])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>), NoRecord> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut splitter = Splitter::default();
        for piece in pieces {
            splitter.push(piece, |channel, bytes| match channel {
                Channel::Stdout => out.extend_from_slice(bytes),
                _ => err.extend_from_slice(bytes),
            })?;
        }
        Ok((out, err))
    }

    proptest! {
        #[test]
        fn records_come_apart_however_they_are_cut(
            records in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..10),
            size in 1..20_usize,
        ) {
            let (mut stream, mut out, mut err) = (Vec::new(), Vec::new(), Vec::new());
            for (is_out, bytes) in &records {
                let (channel, whole) = if *is_out { (Channel::Stdout, &mut out) } else { (Channel::Stderr, &mut err) };
                stream.extend(header(channel, bytes.len() as u32));
                stream.extend(bytes);
                whole.extend(bytes);
            }
            let pieces: Vec<&[u8]> = stream.chunks(size).collect();
            prop_assert_eq!(split(&pieces), Ok((out, err)));
        }

        #[test]
        fn no_stream_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = split(&[&bytes]);
        }
    }
}
