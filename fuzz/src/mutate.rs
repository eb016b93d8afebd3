//! Bytes that are almost right: what was valid is cut, flipped, repeated, spliced, and told to be longer than it is.

use crate::chance::Chance;

/// Most changes of one input.
const MAX_CHANGES: usize = 6;
/// Most bytes that are taken out, put in or repeated at once.
const MAX_PIECE_BYTES: usize = 64;

/// Changes bytes somewhere, or nowhere.
pub fn bytes(chance: &mut Chance, bytes: &mut Vec<u8>) {
    for _ in 0..chance.below(MAX_CHANGES) {
        change(chance, bytes);
    }
}

/// Changes a text somewhere, or nowhere: in its characters, by these pieces, and by pieces of its own.
pub fn text(chance: &mut Chance, text: &mut String, pieces: &[&str]) {
    for _ in 0..chance.below(MAX_CHANGES) {
        let (at, end) = (place(chance, text), place(chance, text));
        let (range, piece) = (at.min(end)..at.max(end), chance.pick(pieces));
        match chance.below(4) {
            0 => text.insert_str(at, piece),
            1 => text.replace_range(range, piece),
            2 if range.len() < MAX_PIECE_BYTES => text.replace_range(range, ""),
            _ => {
                let own = text[range].to_owned();
                text.insert_str(place(chance, text), &own);
            }
        }
    }
}

fn place(chance: &mut Chance, text: &str) -> usize {
    let mut at = chance.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn change(chance: &mut Chance, bytes: &mut Vec<u8>) {
    let at = chance.below(bytes.len() + 1);
    let end = (at + chance.below(MAX_PIECE_BYTES)).min(bytes.len());
    match chance.below(8) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => drop(bytes.splice(at..at, chance.bytes(MAX_PIECE_BYTES))),
        3 => {
            let piece = bytes[at..end].to_vec();
            let to = chance.below(bytes.len() + 1);
            bytes.splice(to..to, piece);
        }
        // A length, as likely as not.
        4 => overwrite(bytes, at, &(chance.number() as u32).to_le_bytes()),
        5 => overwrite(bytes, at, &chance.number().to_le_bytes()),
        _ => flip(chance, bytes),
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let length = with.len().min(bytes.len() - at);
    bytes[at..at + length].copy_from_slice(&with[..length]);
}

fn flip(chance: &mut Chance, bytes: &mut [u8]) {
    if !bytes.is_empty() {
        let at = chance.below(bytes.len());
        bytes[at] ^= 1 << chance.below(8);
    }
}
