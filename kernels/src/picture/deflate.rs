//! A small deflate for filtered pixels: runs, and a Huffman code for each block.
//!
//! What filters leave of smooth pictures is noise around zero, in which only repetitions of the last byte or the last
//! pixel are worth looking for. So the search is cheap, and most of the time is spent on writing codes.

use super::bits::{BitWriter, MOST_BITS};
use super::huffman::{Code, codes, lengths};
use super::runs::{Run, SHORTEST, find_runs, match_lengths};

/// The longest code for literals and lengths: four literals fit between two flushes.
const LITERAL_BITS: u8 = 14;
const _: () = assert!(4 * LITERAL_BITS as u32 <= MOST_BITS);

/// The longest code in a dynamic block's own code.
const HEADER_CODE_BITS: u8 = 7;

/// Symbols: 256 literals, the end of a block, 29 lengths.
const SYMBOLS: usize = 286;
const END_OF_BLOCK: usize = 256;

/// Symbols for distances: those of 1, 2 and 3.
const DISTANCES: usize = 3;

/// The block that ends a deflate stream: a final one without any symbol, in the fixed code.
pub(super) const LAST_BLOCK: [u8; 2] = [3, 0];

/// The most bytes of a stored block.
const STORED_BYTES: usize = 65535;

/// The order in which the lengths of the header's own code are written.
const HEADER_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Writes one part of a deflate stream; parts made independently can be joined.
pub(super) struct PartWriter<'a> {
    bits: BitWriter<'a>,
}

impl<'a> PartWriter<'a> {
    /// A writer that appends to `out`.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { bits: BitWriter::new(out) }
    }

    /// Appends a deflate block that holds these bytes.
    #[inline(always)]
    pub(super) fn append(&mut self, block: &[u8]) {
        let runs = find_runs(block);
        let code = BlockCode::new(block, &runs);
        if code.bits > 8 * block.len() as u64 {
            self.append_stored(block);
            return;
        }
        self.bits.put(0b100, 3);
        append_header(&code, &mut self.bits);
        append_symbols(block, &runs, &code, &mut self.bits);
    }

    fn append_stored(&mut self, block: &[u8]) {
        for part in block.chunks(STORED_BYTES) {
            let length = part.len() as u16;
            self.bits.put(0, 3);
            self.bits.align();
            self.bits.put_bytes(&length.to_le_bytes());
            self.bits.put_bytes(&(!length).to_le_bytes());
            self.bits.put_bytes(part);
        }
    }

    /// Ends the part with a sync flush: an empty stored block, which ends at a byte.
    pub(super) fn finish(mut self) {
        self.bits.put(0, 3);
        self.bits.align();
        self.bits.put_bytes(&[0, 0, 0xff, 0xff]);
    }
}

/// The Huffman codes of a block.
struct BlockCode {
    literals: Vec<Code>,
    distances: Vec<Code>,
    /// What the block takes with them, in bits, without its header.
    bits: u64,
}

impl BlockCode {
    fn new(block: &[u8], runs: &[Run]) -> Self {
        let (mut literals, mut distances) = ([0; SYMBOLS], [0; DISTANCES]);
        let mut bytes: ByteCounts = [[0; 256]; 4];
        let mut extra_bits = 0;
        for (literal_bytes, run) in pieces(block, runs) {
            count_bytes(literal_bytes, &mut bytes);
            for match_length in match_lengths(run) {
                let symbol = length_symbol(match_length);
                literals[symbol.number] += 1;
                distances[distance_symbol(run)] += 1;
                extra_bits += u64::from(symbol.extra_bits);
            }
        }
        for (byte, count) in literals[..256].iter_mut().enumerate() {
            *count = bytes.iter().map(|table| table[byte]).sum();
        }
        literals[END_OF_BLOCK] = 1;
        let (literal_lengths, distance_lengths) = (lengths(&literals, LITERAL_BITS), lengths(&distances, LITERAL_BITS));
        let bits = cost(&literals, &literal_lengths) + cost(&distances, &distance_lengths) + extra_bits;
        Self { literals: codes(&literal_lengths), distances: codes(&distance_lengths), bits }
    }
}

fn cost(frequencies: &[u32], lengths: &[u8]) -> u64 {
    frequencies.iter().zip(lengths).map(|(&frequency, &length)| u64::from(frequency) * u64::from(length)).sum()
}

/// The literal bytes before each run, and the run; at the end those after the last, and an empty run.
fn pieces<'a>(block: &'a [u8], runs: &'a [Run]) -> impl Iterator<Item = (&'a [u8], Run)> {
    let end = Run { start: block.len(), length: 0, distance: 1 };
    let mut from = 0;
    runs.iter().copied().chain([end]).map(move |run| {
        let literals = &block[from..run.start];
        from = run.start + run.length;
        (literals, run)
    })
}

/// How often each byte occurs, in four tables that are to be added up: so equal neighbours don't wait for each other.
type ByteCounts = [[u32; 256]; 4];

#[inline(always)]
fn count_bytes(bytes: &[u8], counts: &mut ByteCounts) {
    let (quads, rest) = bytes.as_chunks::<4>();
    for quad in quads {
        for (table, &byte) in counts.iter_mut().zip(quad) {
            table[usize::from(byte)] += 1;
        }
    }
    for &byte in rest {
        counts[0][usize::from(byte)] += 1;
    }
}

/// A match length as deflate writes it.
struct LengthSymbol {
    number: usize,
    extra: u64,
    extra_bits: u32,
}

fn length_symbol(length: usize) -> LengthSymbol {
    let beyond = length - SHORTEST;
    match beyond {
        0..8 => LengthSymbol { number: END_OF_BLOCK + 1 + beyond, extra: 0, extra_bits: 0 },
        255 => LengthSymbol { number: SYMBOLS - 1, extra: 0, extra_bits: 0 },
        _ => {
            let extra_bits = beyond.ilog2() - 2;
            let number = END_OF_BLOCK + 1 + 4 * extra_bits as usize + (beyond >> extra_bits);
            LengthSymbol { number, extra: beyond as u64 & ((1 << extra_bits) - 1), extra_bits }
        }
    }
}

fn distance_symbol(run: Run) -> usize {
    // Distances 1 to 4 have the symbols 0 to 3 and no extra bits.
    run.distance - 1
}

/// Writes a dynamic block's header: the lengths of both codes, themselves coded.
fn append_header(code: &BlockCode, bits: &mut BitWriter<'_>) {
    let all: Vec<u8> = code.literals.iter().chain(&code.distances).map(|code| code.length).collect();
    let items = header_items(&all);
    let mut frequencies = [0; 19];
    for item in &items {
        frequencies[usize::from(item.symbol)] += 1;
    }
    let header_code = codes(&lengths(&frequencies, HEADER_CODE_BITS));
    let used =
        HEADER_ORDER.iter().rposition(|&symbol| header_code[symbol].length > 0).map_or(4, |last| (last + 1).max(4));
    bits.put(SYMBOLS as u64 - 257, 5);
    bits.put(DISTANCES as u64 - 1, 5);
    bits.put(used as u64 - 4, 4);
    for &symbol in &HEADER_ORDER[..used] {
        bits.put(u64::from(header_code[symbol].length), 3);
    }
    for item in items {
        let code = header_code[usize::from(item.symbol)];
        bits.put(u64::from(code.bits), u32::from(code.length));
        bits.put(u64::from(item.extra), item.extra_bits);
    }
}

/// A code length, or some equal ones, as the header has it.
struct HeaderItem {
    symbol: u8,
    extra: u8,
    extra_bits: u32,
}

/// Code lengths with repetitions: 16 repeats the last one 3 to 6 times, 17 and 18 are 3 to 138 zeros.
fn header_items(lengths: &[u8]) -> Vec<HeaderItem> {
    let mut items = Vec::new();
    for equal in lengths.chunk_by(|a, b| a == b) {
        let (length, mut left) = (equal[0], equal.len());
        if length > 0 {
            items.push(HeaderItem { symbol: length, extra: 0, extra_bits: 0 });
            left -= 1;
        }
        while left > 0 {
            let item = match (length, left) {
                (_, 1..3) => HeaderItem { symbol: length, extra: 0, extra_bits: 0 },
                (0, 3..11) => HeaderItem { symbol: 17, extra: left as u8 - 3, extra_bits: 3 },
                (0, _) => HeaderItem { symbol: 18, extra: left.min(138) as u8 - 11, extra_bits: 7 },
                (_, _) => HeaderItem { symbol: 16, extra: left.min(6) as u8 - 3, extra_bits: 2 },
            };
            left -= match item.symbol {
                16 | 17 => usize::from(item.extra) + 3,
                18 => usize::from(item.extra) + 11,
                _ => 1,
            };
            items.push(item);
        }
    }
    items
}

/// Writes a block's literals, matches and end.
#[inline(always)]
fn append_symbols(block: &[u8], runs: &[Run], code: &BlockCode, bits: &mut BitWriter<'_>) {
    for (literal_bytes, run) in pieces(block, runs) {
        append_literals(literal_bytes, &code.literals, bits);
        for length in match_lengths(run) {
            let symbol = length_symbol(length);
            let (length, distance) = (code.literals[symbol.number], code.distances[distance_symbol(run)]);
            bits.add(u64::from(length.bits), u32::from(length.length));
            bits.add(symbol.extra, symbol.extra_bits);
            bits.add(u64::from(distance.bits), u32::from(distance.length));
            bits.flush();
        }
    }
    let end = code.literals[END_OF_BLOCK];
    bits.put(u64::from(end.bits), u32::from(end.length));
}

#[inline(always)]
fn append_literals(bytes: &[u8], codes: &[Code], bits: &mut BitWriter<'_>) {
    let codes: &[Code; 256] = codes.first_chunk().expect("every byte has a code, even if an empty one");
    let (quads, rest) = bytes.as_chunks::<4>();
    for quad in quads {
        // Joined before they are added: only then does the next one wait for the length of those before it. Not by
        // `map`: its closure isn't inlined here.
        let [a, b, c, d] = *quad;
        let code = |byte: u8| codes[usize::from(byte)];
        let (bits_of_four, length) = joined([code(a), code(b), code(c), code(d)]);
        bits.add(bits_of_four, length);
        bits.flush();
    }
    for &byte in rest {
        let code = codes[usize::from(byte)];
        bits.put(u64::from(code.bits), u32::from(code.length));
    }
}

/// Four codes one after the other, and their length.
#[inline(always)]
fn joined([a, b, c, d]: [Code; 4]) -> (u64, u32) {
    let pair = |first: Code, second: Code| u64::from(first.bits) | u64::from(second.bits) << first.length;
    let (front, back) = (a.length + b.length, c.length + d.length);
    (pair(a, b) | pair(c, d) << front, u32::from(front + back))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    fn compressed(blocks: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut part = PartWriter::new(&mut out);
        blocks.iter().for_each(|block| part.append(block));
        part.finish();
        out
    }

    fn inflated(parts: &[u8]) -> Vec<u8> {
        let mut stream = parts.to_vec();
        stream.extend(LAST_BLOCK);
        let mut bytes = Vec::new();
        flate2::read::DeflateDecoder::new(stream.as_slice()).read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Bytes as filters leave them: mostly small, with runs.
    fn filtered() -> impl Strategy<Value = Vec<u8>> {
        let piece = (any::<u8>(), 1..700usize, 0..4u8).prop_map(|(byte, length, kind)| match kind {
            0 => vec![byte; length],
            1 => (0..length).map(|i| byte.wrapping_add((i % 3) as u8)).collect(),
            2 => (0..length).map(|i| (i * i) as u8 & 7).collect(),
            _ => vec![byte],
        });
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_was_compressed_is_inflated_again(a in filtered(), b in proptest::collection::vec(any::<u8>(), 0..900)) {
            let mut parts = compressed(&[&a, &b]);
            parts.extend(compressed(&[&a]));
            prop_assert_eq!(inflated(&parts), [a.as_slice(), &b, &a].concat());
        }

    }

    #[test]
    fn nothing_and_noise_are_inflated_again() {
        let noise: Vec<u8> = (0..200_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert_eq!(inflated(&compressed(&[])), []);
        assert_eq!(inflated(&compressed(&[&[]])), []);
        assert_eq!(inflated(&compressed(&[&noise])), noise);
        assert!(compressed(&[&noise]).len() < noise.len() + 100);
    }

    #[test]
    fn flat_blocks_become_small() {
        assert!(compressed(&[&[0; 100_000]]).len() < 200);
        let pixels = [1, 200, 9].repeat(30_000);
        assert!(compressed(&[&pixels]).len() < 200);
    }
}
