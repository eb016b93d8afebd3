//! Repetitions in filtered pixels: of the last byte, or of the last pixel.

/// The shortest and the longest match.
pub(super) const SHORTEST: usize = 3;
const LONGEST: usize = 258;

/// Repetitions shorter than this are cheaper as literals.
const WORTHWHILE: usize = 8;

/// How far back a repeated byte is: the last byte, and that of the last pixel.
const DISTANCES: [usize; 2] = [1, 3];

/// Bytes that are looked at together.
const WINDOW: usize = 64;

/// A repetition: `length` bytes at `start` equal those `distance` before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: usize,
    pub(super) length: usize,
    pub(super) distance: usize,
}

/// The repetitions in a block, in order and apart from each other; of those that begin in its last
/// window some may be left out.
#[inline(always)]
pub(super) fn find_runs(block: &[u8]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut at = DISTANCES[1];
    while at + WINDOW <= block.len() {
        let (of_byte, of_pixel) = (starts(block, at, DISTANCES[0]), starts(block, at, DISTANCES[1]));
        if of_byte | of_pixel == 0 {
            at += WINDOW - WORTHWHILE + 1;
            continue;
        }
        let first = (of_byte | of_pixel).trailing_zeros();
        let (start, distance) = (at + first as usize, DISTANCES[usize::from(of_byte >> first & 1 == 0)]);
        let length = common_length(&block[start..], &block[start - distance..]);
        runs.push(Run { start, length, distance });
        at = start + length;
    }
    runs
}

/// Where in the window at `at` repetitions begin that are worthwhile, or such ones go on, as bits.
#[inline(always)]
fn starts(block: &[u8], at: usize, distance: usize) -> u64 {
    let window = |at: usize| block[at..].first_chunk::<WINDOW>().expect("a window is left").as_chunks::<8>().0;
    let (here, before) = (window(at), window(at - distance));
    let mut equal = 0;
    for (word, (here, before)) in here.iter().zip(before).enumerate() {
        equal |= zero_bytes(u64::from_le_bytes(*here) ^ u64::from_le_bytes(*before)) << (8 * word);
    }
    // Each bit: this one and those after it, two, then four, then eight.
    let two = equal & equal >> 1;
    let four = two & two >> 2;
    four & four >> 4
}

/// Which of eight bytes are zero, as bits.
#[inline(always)]
fn zero_bytes(bytes: u64) -> u64 {
    const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    // The highest bit of each byte that is zero, and then all of them side by side.
    let zeros = !(((bytes & LOW_BITS) + LOW_BITS) | bytes | LOW_BITS);
    (zeros >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// How many bytes both begin with.
fn common_length(a: &[u8], b: &[u8]) -> usize {
    let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let whole = 8 * words.take_while(|(a, b)| a == b).count();
    whole + a[whole..].iter().zip(&b[whole..]).take_while(|(a, b)| a == b).count()
}

/// A run as matches of allowed lengths: the longest, but so that no rest is too short.
pub(super) fn match_lengths(run: Run) -> impl Iterator<Item = usize> {
    let mut left = run.length;
    std::iter::from_fn(move || {
        let length =
            if (LONGEST + 1..LONGEST + SHORTEST).contains(&left) { LONGEST - SHORTEST } else { left.min(LONGEST) };
        left -= length;
        (length > 0).then_some(length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_run_is_split_into_allowed_lengths(length in 3..5000usize) {
            let run = Run { start: 0, length, distance: 1 };
            prop_assert!(match_lengths(run).all(|length| (SHORTEST..=LONGEST).contains(&length)));
            prop_assert_eq!(match_lengths(run).sum::<usize>(), length);
        }
    }

    /// Found one byte at a time.
    fn slowly_found(block: &[u8]) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut at = DISTANCES[1];
        while at + WINDOW <= block.len() {
            let at_distance = |distance| {
                let length = (at..block.len()).take_while(|&i| block[i] == block[i - distance]).count();
                Run { start: at, length, distance }
            };
            let run = DISTANCES.map(at_distance).into_iter().find(|run| run.length >= WORTHWHILE);
            at += run.map_or(1, |run| run.length);
            runs.extend(run);
        }
        runs
    }

    proptest! {
        #[test]
        fn every_worthwhile_run_is_found(
            pieces in proptest::collection::vec((0..3u8, 1..4usize, 0..40usize), 0..40),
            rest in proptest::collection::vec(0..2u8, 0..200),
        ) {
            let mut block = Vec::new();
            for (byte, period, length) in pieces {
                block.extend((0..length).map(|i| byte + (i % period) as u8));
            }
            block.extend(rest);
            let runs = find_runs(&block);
            // Whether later ones are found depends on where windows begin.
            let before_last_window = |runs: &[Run]| runs.iter().filter(|run| run.start + WINDOW <= block.len()).copied().collect::<Vec<_>>();
            prop_assert_eq!(before_last_window(&runs), slowly_found(&block));
        }

        #[test]
        fn zero_bytes_are_told_from_others(bytes in any::<[u8; 8]>(), zeros in any::<u8>()) {
            let bytes: [u8; 8] = std::array::from_fn(|i| if zeros >> i & 1 == 1 { 0 } else { bytes[i] });
            let expected = bytes.iter().enumerate().fold(0, |bits, (i, &byte)| bits | u64::from(byte == 0) << i);
            prop_assert_eq!(zero_bytes(u64::from_le_bytes(bytes)), expected);
        }
    }

    #[test]
    fn runs_are_found_from_their_first_byte_to_their_last() {
        let mut block = vec![1, 2, 3, 4];
        block.extend([9; 20]);
        block.extend([1, 2, 3].repeat(9));
        block.extend(4..4 + WINDOW as u8);
        let runs = [Run { start: 5, length: 19, distance: 1 }, Run { start: 27, length: 24, distance: 3 }];
        assert_eq!(find_runs(&block), runs);
        assert_eq!(find_runs(&[1, 2, 3]), []);
    }
}
