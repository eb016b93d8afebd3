//! Bytes on a connection ↔ frames: a length, a checksum, a header, a payload of bounded size.
//!
//! ```text
//! length u32 | crc32 u32 | kind u8 | sequence u64 | acknowledged u64 | payload      (little endian)
//! ```
//! The length counts what follows the checksum, which covers just that. A Goodbye stands at a frame's beginning with
//! bytes of its own (see [`crate::handshake`]): read as a length they are far beyond the bound.

use bytes::{Buf, Bytes, BytesMut};

use crate::codec::MAX_MESSAGE_BYTES;
use crate::handshake::GOODBYE;

/// Bytes of length and checksum.
const PREFIX_BYTES: usize = 8;
/// Bytes of kind, sequence number and acknowledgement.
const HEADER_BYTES: usize = 17;
/// Longest payload: the longest message.
pub const MAX_PAYLOAD_BYTES: usize = MAX_MESSAGE_BYTES;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// One message.
    Control,
    /// A stream's name (u64) and the next of its bytes.
    Bulk,
    /// Nothing but the acknowledgement; has no sequence number of its own. Also the heartbeat.
    Ack,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the payload is.
    pub kind: FrameKind,
    /// Place in the order of frames from this side, from 1; 0 for [`FrameKind::Ack`].
    pub sequence: u64,
    /// The last sequence number that the sender has seen from the other side.
    pub acknowledged: u64,
    /// The content: a part of what arrived with it, which stays in memory as long as this.
    pub payload: Bytes,
}

/// What a connection delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A frame whose checksum was right.
    Frame(Frame),
    /// The other side ends the session.
    Goodbye,
}

/// Why bytes are no frame. The connection can't be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length outside its bounds.
    #[error("a frame of {length} bytes (at most {max} are allowed)", max = HEADER_BYTES + MAX_PAYLOAD_BYTES)]
    Length {
        /// The length that was read.
        length: usize,
    },
    /// Damaged on its way.
    #[error("a frame's checksum is wrong")]
    Checksum,
    /// A kind that this version doesn't know.
    #[error("a frame of unknown kind {kind}")]
    Kind {
        /// The kind that was read.
        kind: u8,
    },
}

impl FrameKind {
    fn to_byte(self) -> u8 {
        match self {
            Self::Control => 1,
            Self::Bulk => 2,
            Self::Ack => 3,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, FrameError> {
        match byte {
            1 => Ok(Self::Control),
            2 => Ok(Self::Bulk),
            3 => Ok(Self::Ack),
            kind => Err(FrameError::Kind { kind }),
        }
    }
}

/// Appends a frame to `out`, its payload in parts.
pub fn write_frame(kind: FrameKind, sequence: u64, acknowledged: u64, payload: &[&[u8]], out: &mut Vec<u8>) {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    assert!(length <= MAX_PAYLOAD_BYTES, "a payload is cut to size before it is framed");
    let start = out.len();
    out.reserve(PREFIX_BYTES + HEADER_BYTES + length);
    out.extend_from_slice(&((HEADER_BYTES + length) as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.push(kind.to_byte());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&acknowledged.to_le_bytes());
    payload.iter().for_each(|part| out.extend_from_slice(part));
    let crc = crc32fast::hash(&out[start + PREFIX_BYTES..]);
    out[start + 4..start + PREFIX_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// Cuts a stream of bytes into frames. Holds at most one frame and what arrived with it.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Takes bytes as they arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Where what arrives can be appended without a copy, with room for so many bytes.
    pub fn room(&mut self, bytes: usize) -> &mut BytesMut {
        self.buffer.reserve(bytes);
        &mut self.buffer
    }

    /// The next frame, or None until more bytes are there.
    ///
    /// # Errors
    /// The bytes are no frame; nothing after them can be trusted.
    pub fn next_frame(&mut self) -> Result<Option<Received>, FrameError> {
        let bytes = &self.buffer[..];
        if bytes.len() < PREFIX_BYTES {
            return Ok(None);
        }
        if bytes.starts_with(GOODBYE) {
            self.buffer.advance(GOODBYE.len());
            return Ok(Some(Received::Goodbye));
        }
        let length = read_u32(bytes) as usize;
        if !(HEADER_BYTES..=HEADER_BYTES + MAX_PAYLOAD_BYTES).contains(&length) {
            return Err(FrameError::Length { length });
        }
        let Some(body) = bytes[PREFIX_BYTES..].get(..length) else {
            return Ok(None);
        };
        if crc32fast::hash(body) != read_u32(&bytes[4..]) {
            return Err(FrameError::Checksum);
        }
        let kind = FrameKind::from_byte(body[0])?;
        let (sequence, acknowledged) = (read_u64(&body[1..]), read_u64(&body[9..]));
        self.buffer.advance(PREFIX_BYTES + HEADER_BYTES);
        let payload = self.buffer.split_to(length - HEADER_BYTES).freeze();
        Ok(Some(Received::Frame(Frame { kind, sequence, acknowledged, payload })))
    }
}

fn read_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Reads a little-endian u64 from the front of `bytes`, which has at least eight.
pub(crate) fn read_u64(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_frame(FrameKind::Control, 7, 8, &[payload], &mut bytes);
        bytes
    }

    #[test]
    fn a_frame_keeps_its_bytes() {
        let bytes = framed(b"hi");
        assert_eq!(&bytes[..4], &19u32.to_le_bytes());
        assert_eq!(bytes[8..], [1, 7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, b'h', b'i']);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed_or_waited_for() {
        let clean = framed(b"some payload");
        for bit in 0..clean.len() * 8 {
            let mut bytes = clean.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            assert!(!matches!(decoder.next_frame(), Ok(Some(_))), "bit {bit}");
        }
    }

    #[test]
    fn a_goodbye_is_seen_between_frames() {
        let mut decoder = Decoder::default();
        decoder.push(&framed(b"x"));
        decoder.push(GOODBYE);
        assert!(matches!(decoder.next_frame(), Ok(Some(Received::Frame(_)))));
        assert_eq!(decoder.next_frame(), Ok(Some(Received::Goodbye)));
        assert_eq!(decoder.next_frame(), Ok(None));
    }

    #[test]
    fn a_huge_length_is_refused_at_once() {
        let mut decoder = Decoder::default();
        decoder.push(&[0xff; 8]);
        assert!(matches!(decoder.next_frame(), Err(FrameError::Length { .. })));
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting_of_the_stream(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..8),
            cut in 1usize..64,
        ) {
            let stream: Vec<u8> = payloads.iter().flat_map(|payload| framed(payload)).collect();
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.push(piece);
                while let Some(Received::Frame(frame)) = decoder.next_frame().unwrap() {
                    seen.push(frame.payload);
                }
            }
            prop_assert_eq!(seen, payloads);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }
}
