//! Frames in a file: each is whole or isn't there, and one that is missing among others is noticed.
//!
//! The file begins with a header of 16 bytes: `TITANJNL`, the version as a little-endian u32, the CRC-32 of both. A frame is the
//! byte [`MARK`], the length of its payload (not 0) and the bytes before it that weren't known to be on the disk when it was written,
//! both as LEB128, the CRC-32 of its place in the file, of these and of the payload, and the payload: some eight bytes more than it.
//!
//! A crash can leave any frame that wasn't synced damaged, and later ones whole: a disk writes in whatever order it likes. What a
//! later frame says was synced can only be damaged by something else.

/// What a journal begins with.
const MAGIC: [u8; 8] = *b"TITANJNL";
/// Of all that follows.
const VERSION: u32 = 2;
/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 16;
/// What a frame begins with: zeros are none, and where one may begin is soon found among damage.
const MARK: u8 = 0xf5;
/// The longest number, and the checksum.
const LEB_BYTES: usize = 10;
const CRC_BYTES: usize = 4;
/// The longest payload.
const MAX_PAYLOAD_BYTES: usize = titan_proto::codec::MAX_MESSAGE_BYTES;

/// A file that isn't what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It begins with something else.
    #[error("it doesn't begin as a journal does")]
    NoJournal,
    /// Another titan has written it.
    #[error("it is of version {version}, and this titan reads version {VERSION}")]
    Version {
        /// The version.
        version: u32,
    },
    /// What was on the disk once is damaged.
    #[error("it is damaged at byte {offset}, and what follows is whole")]
    Middle {
        /// Where.
        offset: u64,
    },
    /// A frame is whole, and what is in it isn't known.
    #[error("what is at byte {offset} is no entry")]
    NoEntry {
        /// Where.
        offset: u64,
    },
}

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frames<'b> {
    /// Where each frame begins, and its payload.
    pub(super) payloads: Vec<(u64, &'b [u8])>,
    /// The part of the file that is whole; what follows was never finished, and goes.
    pub(super) whole_bytes: u64,
    /// The part that is known to have been on the disk.
    pub(super) synced_bytes: u64,
}

/// What a new file begins with.
pub(super) fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32fast::hash(&header[..12]);
    header[12..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// A payload as the frame at that place of a file whose first `synced` bytes are on the disk. It isn't empty, and no longer than a
/// message can be.
pub(super) fn frame(at: u64, synced: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(1 + 2 * LEB_BYTES + CRC_BYTES + payload.len());
    frame.push(MARK);
    put_number(payload.len() as u64, &mut frame);
    put_number(at - synced, &mut frame);
    frame.extend(crc(at, &frame, payload).to_le_bytes());
    frame.extend(payload);
    frame
}

fn crc(at: u64, front: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&at.to_le_bytes());
    crc.update(front);
    crc.update(payload);
    crc.finalize()
}

fn put_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The number that these bytes begin with, and what follows it.
fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (i, &byte) in bytes.iter().take(LEB_BYTES).enumerate() {
        number |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte < 0x80 {
            return Some((number, &bytes[i + 1..]));
        }
    }
    None
}

/// Takes a file apart.
///
/// # Errors
/// It isn't what was written.
pub(super) fn read(bytes: &[u8]) -> Result<Frames<'_>, Damage> {
    if bytes.len() < HEADER_BYTES {
        // It was never synced, or all of its header would be there.
        return Ok(Frames { payloads: Vec::new(), whole_bytes: 0, synced_bytes: 0 });
    }
    check_header(bytes)?;
    let (mut payloads, mut at, mut synced_bytes) = (Vec::new(), HEADER_BYTES, 0);
    while at < bytes.len() {
        match WholeFrame::at(bytes, at) {
            Some(frame) => {
                payloads.push((at as u64, frame.payload));
                synced_bytes = frame.synced;
                at = frame.end;
            }
            None if is_known_to_be_synced(bytes, at) => return Err(Damage::Middle { offset: at as u64 }),
            None => break,
        }
    }
    Ok(Frames { payloads, whole_bytes: at as u64, synced_bytes })
}

fn check_header(bytes: &[u8]) -> Result<(), Damage> {
    if bytes[..HEADER_BYTES] == header() {
        return Ok(());
    }
    let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    let crc = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
    let is_ours = bytes[..8] == MAGIC && crc == crc32fast::hash(&bytes[..12]);
    Err(if is_ours { Damage::Version { version } } else { Damage::NoJournal })
}

struct WholeFrame<'b> {
    payload: &'b [u8],
    /// So much of the file was on the disk when it was written.
    synced: u64,
    /// Where it ends.
    end: usize,
}

impl<'b> WholeFrame<'b> {
    /// The frame that begins there.
    fn at(bytes: &'b [u8], at: usize) -> Option<Self> {
        let from = bytes.get(at..)?;
        let (length, rest) = take_number(from.strip_prefix(&[MARK])?)?;
        let (unsynced, rest) = take_number(rest)?;
        let front = &from[..from.len() - rest.len()];
        let (told, rest) = rest.split_first_chunk::<CRC_BYTES>()?;
        let length = usize::try_from(length).ok().filter(|length| (1..=MAX_PAYLOAD_BYTES).contains(length))?;
        let (payload, synced) = (rest.get(..length)?, (at as u64).checked_sub(unsynced)?);
        let end = at + front.len() + CRC_BYTES + length;
        (crc(at as u64, front, payload).to_le_bytes() == *told).then_some(Self { payload, synced, end })
    }
}

/// Whether a whole frame somewhere says that what should be there was on the disk.
fn is_known_to_be_synced(bytes: &[u8], missing: usize) -> bool {
    (missing + 1..bytes.len()).any(|at| WholeFrame::at(bytes, at).is_some_and(|frame| frame.synced > missing as u64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file in which each frame was synced before the next was written.
    fn file(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut file = header().to_vec();
        for payload in payloads {
            let at = file.len() as u64;
            file.extend(frame(at, at, payload));
        }
        file
    }

    fn payloads(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Damage> {
        read(bytes).map(|frames| frames.payloads.into_iter().map(|(_, payload)| payload.to_vec()).collect())
    }

    #[test]
    fn a_file_of_another_kind_or_version_is_told() {
        assert_eq!(payloads(b"# a text that is long enough"), Err(Damage::NoJournal));
        let mut other = header();
        other[8] = 9;
        let crc = crc32fast::hash(&other[..12]);
        other[12..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(payloads(&other), Err(Damage::Version { version: 9 }));
        assert_eq!(payloads(b""), Ok(vec![]));
    }

    #[test]
    fn zeros_at_the_end_are_no_frame() {
        let whole = file(&[b"one".to_vec(), b"two".to_vec()]);
        let read = read(&[&whole[..], &[0; 4_096]].concat()).unwrap().whole_bytes;
        assert_eq!(read, whole.len() as u64);
    }

    #[test]
    fn what_was_not_synced_may_be_torn_before_what_is_whole_and_what_was_synced_may_not() {
        let [one, two] = [&b"one"[..], b"two"].map(<[u8]>::to_vec);
        let (header, first) = (header(), frame(16, 16, &one));
        let mut unsynced = [&header[..], &first, &frame(16 + first.len() as u64, 16, &two)].concat();
        unsynced[HEADER_BYTES + 8] ^= 1;
        assert_eq!(payloads(&unsynced), Ok(vec![]));
        let mut synced = file(&[one, two]);
        synced[HEADER_BYTES + 8] ^= 1;
        assert_eq!(payloads(&synced), Err(Damage::Middle { offset: HEADER_BYTES as u64 }));
    }

    #[test]
    fn numbers_of_all_lengths_are_read_as_they_were_written() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_number(number, &mut bytes);
            assert_eq!(take_number(&[&bytes[..], &[7]].concat()), Some((number, &[7][..])));
        }
        assert_eq!((take_number(&[]), take_number(&[0x80; 12])), (None, None));
    }

    fn written() -> impl Strategy<Value = Vec<Vec<u8>>> {
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 1..8)
    }

    proptest! {
        #[test]
        fn a_file_cut_at_any_byte_holds_the_frames_before_the_cut(
            written in written(), cut in any::<prop::sample::Index>(),
        ) {
            let whole = file(&written);
            let cut = &whole[..cut.index(whole.len() + 1)];
            let read = payloads(cut).unwrap();
            prop_assert_eq!(&read[..], &written[..read.len()]);
            prop_assert!(cut.len() < whole.len() || read.len() == written.len());
        }

        #[test]
        fn a_flipped_bit_is_told_or_takes_the_last_frame_and_never_changes_one(
            written in written(), at in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let mut damaged = file(&written);
            let at = at.index(damaged.len());
            damaged[at] ^= 1 << bit;
            match payloads(&damaged) {
                Err(_) => {}
                Ok(read) => prop_assert_eq!(&read[..], &written[..written.len() - 1]),
            }
        }

        #[test]
        fn a_torn_end_is_cut_off_and_what_is_written_then_is_read(
            written in written(), torn in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let torn = [file(&written), torn].concat();
            let whole = read(&torn).unwrap().whole_bytes as usize;
            let next = frame(whole as u64, whole as u64, b"next");
            let read = payloads(&[&torn[..whole], &next].concat()).unwrap();
            prop_assert_eq!(read.len(), written.len() + 1);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
            let _ = read(&[&header()[..], &bytes].concat());
        }
    }
}
