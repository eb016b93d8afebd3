//! Frames in a file: each is whole or isn't there, and one that is missing among others is noticed.
//!
//! The file begins with a header of 16 bytes: `TITANJNL`, the version as a little-endian u32, the CRC-32 of both. A frame is the
//! length of its payload (u32, not 0), its number (u64, from 1), the number of the last frame that was known to be on the disk when
//! it was written (u64), the CRC-32 of all this and the payload, and the payload. Zeros are no frame.
//!
//! A crash can leave any frame that wasn't synced damaged, and later ones whole: a disk writes in whatever order it likes. What a
//! later frame says was synced can only be damaged by something else.

/// What a journal begins with.
const MAGIC: [u8; 8] = *b"TITANJNL";
/// Of all that follows.
const VERSION: u32 = 1;
/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 16;
/// Bytes of a frame before its payload.
const FRONT_BYTES: usize = 24;
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
    /// Where each payload begins, and itself.
    pub(super) payloads: Vec<(u64, &'b [u8])>,
    /// The part of the file that is whole; what follows was never finished, and goes.
    pub(super) whole_bytes: u64,
    /// The last of these that is known to have been on the disk.
    pub(super) synced: u64,
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

/// A payload as a frame. It isn't empty, and no longer than a message can be.
pub(super) fn frame(number: u64, synced: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRONT_BYTES + payload.len());
    frame.extend((payload.len() as u32).to_le_bytes());
    frame.extend(number.to_le_bytes());
    frame.extend(synced.to_le_bytes());
    frame.extend(crc(&frame, payload).to_le_bytes());
    frame.extend(payload);
    frame
}

fn crc(front: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(front);
    crc.update(payload);
    crc.finalize()
}

/// Takes a file apart.
///
/// # Errors
/// It isn't what was written.
pub(super) fn read(bytes: &[u8]) -> Result<Frames<'_>, Damage> {
    if bytes.len() < HEADER_BYTES {
        // It was never synced, or all of its header would be there.
        return Ok(Frames { payloads: Vec::new(), whole_bytes: 0, synced: 0 });
    }
    check_header(bytes)?;
    let (mut payloads, mut at, mut synced) = (Vec::new(), HEADER_BYTES, 0);
    while at < bytes.len() {
        let number = payloads.len() as u64 + 1;
        match WholeFrame::at(&bytes[at..]) {
            Some(frame) if frame.number == number => {
                payloads.push((at as u64, frame.payload));
                synced = frame.synced;
                at += FRONT_BYTES + frame.payload.len();
            }
            _ if is_known_to_be_synced(&bytes[at..], number) => return Err(Damage::Middle { offset: at as u64 }),
            _ => break,
        }
    }
    Ok(Frames { payloads, whole_bytes: at as u64, synced })
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
    number: u64,
    synced: u64,
    payload: &'b [u8],
}

impl<'b> WholeFrame<'b> {
    /// The frame that these bytes begin with.
    fn at(bytes: &'b [u8]) -> Option<Self> {
        let (front, rest) = bytes.split_at_checked(FRONT_BYTES)?;
        let (length, after) = front.split_first_chunk::<4>()?;
        let (number, after) = after.split_first_chunk::<8>()?;
        let (synced, told) = after.split_first_chunk::<8>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let payload = rest.get(..length).filter(|_| (1..=MAX_PAYLOAD_BYTES).contains(&length))?;
        let is_whole = crc(&front[..FRONT_BYTES - 4], payload).to_le_bytes() == told;
        let frame = Self { number: u64::from_le_bytes(*number), synced: u64::from_le_bytes(*synced), payload };
        is_whole.then_some(frame)
    }
}

/// Whether a whole frame somewhere says that the missing one was on the disk.
fn is_known_to_be_synced(bytes: &[u8], missing: u64) -> bool {
    let most = missing + bytes.len() as u64 / FRONT_BYTES as u64;
    (1..bytes.len()).any(|at| {
        let number = bytes.get(at + 4..at + 12).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        // Most places fail here: a checksum over what follows each byte would take for ever.
        let is_later = number.is_some_and(|number| (missing..=most).contains(&number));
        is_later && WholeFrame::at(&bytes[at..]).is_some_and(|frame| frame.synced >= missing)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file in which each frame was synced before the next was written.
    fn file(payloads: &[Vec<u8>]) -> Vec<u8> {
        let numbered = payloads.iter().zip(1_u64..);
        let frames = numbered.flat_map(|(payload, number)| frame(number, number - 1, payload));
        header().into_iter().chain(frames).collect()
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
        let mut unsynced = [&header()[..], &frame(1, 0, &one), &frame(2, 0, &two)].concat();
        unsynced[HEADER_BYTES + FRONT_BYTES] ^= 1;
        assert_eq!(payloads(&unsynced), Ok(vec![]));
        let mut synced = file(&[one, two]);
        synced[HEADER_BYTES + FRONT_BYTES] ^= 1;
        assert_eq!(payloads(&synced), Err(Damage::Middle { offset: HEADER_BYTES as u64 }));
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
            let last = written.len() as u64;
            let next = frame(last + 1, last, b"next");
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
