//! PNG's filters for rows of RGB bytes: each byte is replaced by its difference from a guess.

/// Bytes of a pixel: a row's left neighbours are that far away.
const PIXEL: usize = 3;

/// Of each this many bytes, [`SAMPLE`] are looked at to choose a row's filter.
const SAMPLE_EVERY: usize = 384;

/// Bytes looked at in one place.
const SAMPLE: usize = 96;

/// How a byte is guessed; the numbers are PNG's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Filter {
    /// By the byte to its left.
    Sub = 1,
    /// By the byte above.
    Up = 2,
    /// By that of left, above and above left which is nearest to left + above - above left.
    Paeth = 4,
}

const FILTERS: [Filter; 3] = [Filter::Paeth, Filter::Up, Filter::Sub];

/// Appends the row as PNG stores it: the filter's number, then the differences. `above` has the same length.
#[inline(always)]
pub(super) fn append(row: &[u8], above: &[u8], out: &mut Vec<u8>) {
    let filter = choose(row, above);
    out.push(filter as u8);
    let start = out.len();
    out.resize(start + row.len(), 0);
    apply(filter, row, above, &mut out[start..]);
}

/// The filter whose differences are smallest in a sample of the row.
#[inline(always)]
fn choose(row: &[u8], above: &[u8]) -> Filter {
    let (mut best, mut least) = (Filter::Up, u64::MAX);
    // Not by `min_by_key`: its closure isn't inlined, so it would be compiled for any CPU.
    for filter in FILTERS {
        let cost = cost(filter, row, above);
        if cost < least {
            (best, least) = (filter, cost);
        }
    }
    best
}

/// The sum of the differences in a sample of the row.
#[inline(always)]
fn cost(filter: Filter, row: &[u8], above: &[u8]) -> u64 {
    let mut differences = [0; SAMPLE];
    let mut sum = 0;
    for start in (0..row.len()).step_by(SAMPLE_EVERY) {
        let range = start..row.len().min(start + SAMPLE);
        let differences = &mut differences[..range.len()];
        apply(filter, &row[range.clone()], &above[range], differences);
        for difference in differences {
            sum += u64::from(difference.cast_signed().unsigned_abs());
        }
    }
    sum
}

/// Writes the row's differences; all slices have the same length.
#[inline(always)]
fn apply(filter: Filter, row: &[u8], above: &[u8], out: &mut [u8]) {
    let first = row.len().min(PIXEL);
    for i in 0..first {
        let guess = if filter == Filter::Sub { 0 } else { above[i] };
        out[i] = row[i].wrapping_sub(guess);
    }
    let rest = row.len() - first;
    let (here, left) = (&row[first..], &row[..rest]);
    let (up, corner, out) = (&above[first..], &above[..rest], &mut out[first..]);
    match filter {
        Filter::Sub => zip(out, here, left, |left| left),
        Filter::Up => zip(out, here, up, |up| up),
        Filter::Paeth => {
            for ((((out, &here), &left), &up), &corner) in out.iter_mut().zip(here).zip(left).zip(up).zip(corner) {
                *out = here.wrapping_sub(paeth(left, up, corner));
            }
        }
    }
}

#[inline(always)]
fn zip(out: &mut [u8], here: &[u8], neighbours: &[u8], guess: impl Fn(u8) -> u8) {
    for ((out, &here), &neighbour) in out.iter_mut().zip(here).zip(neighbours) {
        *out = here.wrapping_sub(guess(neighbour));
    }
}

/// PNG's predictor, without branches; the order of preference is left, above, above left.
#[inline(always)]
fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let (a, b, c) = (i16::from(left), i16::from(up), i16::from(corner));
    let (from_left, from_up) = ((b - c).abs(), (a - c).abs());
    let from_corner = (a + b - 2 * c).abs();
    let other = if from_up <= from_corner { up } else { corner };
    if from_left <= from_up && from_left <= from_corner { left } else { other }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(filter: Filter) -> Vec<u8> {
        let (row, above) = ([10, 20, 30, 11, 22, 33, 12], [9, 18, 27, 10, 20, 30, 255]);
        let mut out = vec![0; row.len()];
        apply(filter, &row, &above, &mut out);
        out
    }

    #[test]
    fn filters_subtract_their_guesses() {
        assert_eq!(applied(Filter::Sub), [10, 20, 30, 1, 2, 3, 1]);
        assert_eq!(applied(Filter::Up), [1, 2, 3, 1, 2, 3, 13]);
        assert_eq!(applied(Filter::Paeth), [1, 2, 3, 1, 2, 3, 13]);
    }

    #[test]
    fn a_row_like_the_one_above_is_filtered_to_zeros() {
        let row: Vec<u8> = (0..500).map(|i| (i * 7 % 251) as u8).collect();
        let mut out = Vec::new();
        append(&row, &row, &mut out);
        assert_eq!(out.len(), 501);
        assert!(out[1..].iter().all(|&d| d == 0));
    }

    #[test]
    fn rows_shorter_than_a_pixel_are_filtered() {
        let mut out = Vec::new();
        append(&[5], &[3], &mut out);
        assert_eq!(out, [4, 2]);
    }
}
