//! Repetitions in filtered pixels: of the last byte, or of the last pixel.

/// The shortest and the longest match.
pub(super) const SHORTEST: usize = 3;
const LONGEST: usize = 258;

/// Bytes compared at once when looking for repetitions; those of twice that length less one are all found.
const STRIDE: usize = 4;

/// Repetitions shorter than this are cheaper as literals.
const WORTHWHILE: usize = 8;

/// A repetition: `length` bytes at `start` equal those `distance` before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: usize,
    pub(super) length: usize,
    pub(super) distance: usize,
}

/// The repetitions in a block, in order and apart from each other.
pub(super) fn find_runs(block: &[u8]) -> Vec<Run> {
    let mut runs = Vec::new();
    let (mut i, mut free_from) = (STRIDE, 0);
    while i + STRIDE <= block.len() {
        let Some(run) = run_around(block, i, free_from) else {
            i += STRIDE;
            continue;
        };
        i = (run.start + run.length).max(i + STRIDE);
        if run.length >= WORTHWHILE {
            free_from = run.start + run.length;
            runs.push(run);
        }
    }
    runs
}

/// The repetition that covers [`STRIDE`] bytes from `i`, grown in both directions.
fn run_around(block: &[u8], i: usize, free_from: usize) -> Option<Run> {
    let word = |at: usize| -> &[u8; STRIDE] { block[at..].first_chunk().expect("a stride is left") };
    let here = word(i);
    let distance = [1, 3].into_iter().find(|&distance| word(i - distance) == here)?;
    let mut start = i;
    while start > free_from.max(distance) && block[start - 1] == block[start - 1 - distance] {
        start -= 1;
    }
    let after = i + STRIDE;
    let pairs = block[after..].iter().zip(&block[after - distance..]);
    let more = pairs.take_while(|(a, b)| a == b).count();
    Some(Run { start, length: after + more - start, distance })
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

    #[test]
    fn runs_are_found_from_their_first_byte_to_their_last() {
        let mut block = vec![1, 2, 3, 4];
        block.extend([9; 20]);
        block.extend([1, 2, 3].repeat(9));
        let runs = [Run { start: 5, length: 19, distance: 1 }, Run { start: 27, length: 24, distance: 3 }];
        assert_eq!(find_runs(&block), runs);
        assert_eq!(find_runs(&[1, 2, 3]), []);
    }
}
