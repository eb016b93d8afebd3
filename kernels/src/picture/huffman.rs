//! Prefix codes of limited length: the lengths by package-merge, the codes in deflate's canonical order.

/// A symbol's code, bits reversed so that they can be written from the lowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) bits: u16,
    pub(super) length: u8,
}

/// The best code lengths of at most `limit` bits for symbols that occur that often; 0 for those that don't.
///
/// A lone symbol gets one bit. Package-merge: of the cheapest coins and packages of two in each of `limit` rounds, a
/// symbol's length is how often it is among the first 2n - 2 of the last.
pub(super) fn lengths(frequencies: &[u32], limit: u8) -> Vec<u8> {
    let mut lengths = vec![0; frequencies.len()];
    let mut coins: Vec<(u64, u16)> = Vec::new();
    for (symbol, &frequency) in frequencies.iter().enumerate().filter(|(_, frequency)| **frequency > 0) {
        coins.push((u64::from(frequency), symbol as u16));
    }
    if let [(_, symbol)] = coins[..] {
        lengths[usize::from(symbol)] = 1;
    }
    if coins.len() < 2 {
        return lengths;
    }
    coins.sort_unstable();
    let rounds = rounds(&coins, limit);
    let mut taken = 2 * coins.len() - 2;
    for round in rounds.iter().rev() {
        let symbols = round[..taken].iter().filter(|item| !item.is_package).count();
        for (_, symbol) in &coins[..symbols] {
            lengths[usize::from(*symbol)] += 1;
        }
        taken = 2 * (taken - symbols);
    }
    lengths
}

/// A symbol, or two items of the round before.
#[derive(Clone, Copy)]
struct Item {
    weight: u64,
    is_package: bool,
}

/// The sorted items of each round: all symbols, and pairs of the items of the round before.
fn rounds(coins: &[(u64, u16)], limit: u8) -> Vec<Vec<Item>> {
    let mut rounds: Vec<Vec<Item>> = Vec::with_capacity(usize::from(limit));
    for _ in 0..limit {
        let before = rounds.last().map_or(&[][..], |before| before.as_chunks::<2>().0);
        // Sorted as the items that they are made of.
        let mut pairs = before.iter().map(|[a, b]| Item { weight: a.weight + b.weight, is_package: true }).peekable();
        let mut items = Vec::with_capacity(coins.len() + before.len());
        for &(weight, _) in coins {
            // Symbols come before packages of the same weight.
            while let Some(pair) = pairs.next_if(|pair| pair.weight < weight) {
                items.push(pair);
            }
            items.push(Item { weight, is_package: false });
        }
        items.extend(pairs);
        rounds.push(items);
    }
    rounds
}

/// The canonical codes of these lengths.
pub(super) fn codes(lengths: &[u8]) -> Vec<Code> {
    let mut next = first_codes(lengths);
    let assign = |&length: &u8| {
        let code = next[usize::from(length)];
        next[usize::from(length)] += u16::from(length > 0);
        let bits = if length == 0 { 0 } else { code.reverse_bits() >> (16 - length) };
        Code { bits, length }
    };
    lengths.iter().map(assign).collect()
}

/// The first code of each length.
fn first_codes(lengths: &[u8]) -> [u16; 16] {
    let (mut counts, mut first) = ([0u16; 16], [0u16; 16]);
    for &length in lengths.iter().filter(|length| **length > 0) {
        counts[usize::from(length)] += 1;
    }
    for length in 1..16 {
        first[length] = (first[length - 1] + counts[length - 1]) << 1;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frequent_symbols_get_short_codes() {
        assert_eq!(lengths(&[1, 0, 8, 2, 4], 15), [3, 0, 1, 3, 2]);
        assert_eq!(lengths(&[1, 0, 8, 2, 4], 2), [2, 0, 2, 2, 2]);
    }

    #[test]
    fn few_symbols_are_no_exception() {
        assert_eq!(lengths(&[0, 0], 15), [0, 0]);
        assert_eq!(lengths(&[0, 9], 15), [0, 1]);
        assert_eq!(lengths(&[3, 9], 15), [1, 1]);
    }

    #[test]
    fn codes_are_canonical_and_reversed() {
        let bits: Vec<u16> = codes(&[2, 1, 3, 3, 0]).iter().map(|code| code.bits).collect();
        assert_eq!(bits, [0b01, 0b0, 0b011, 0b111, 0]);
    }

    proptest! {
        #[test]
        fn lengths_are_limited_and_complete(frequencies in proptest::collection::vec(0..1_000_000u32, 2..286)) {
            let lengths = lengths(&frequencies, 9);
            let used = frequencies.iter().filter(|frequency| **frequency > 0).count();
            let sum: u32 = lengths.iter().filter(|length| **length > 0).map(|length| 512u32 >> length).sum();
            prop_assert!(lengths.iter().all(|&length| length <= 9));
            prop_assert!(lengths.iter().zip(&frequencies).all(|(length, frequency)| (*length > 0) == (*frequency > 0)));
            prop_assert!(used < 2 || sum == 512, "Kraft's sum is {} of 512", sum);
        }
    }
}
