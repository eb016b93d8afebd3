//! A target for fuzzing: what hosts send as a task's files.

use titan_fuzz::{Chance, arbitrary, mutate, run};
use titan_proto::capture::header;
use titan_proto::files::{encode_entry, is_inside};
use titan_proto::id::JobId;

use super::*;

/// What a list may take that an entry only says to be long.
const BOUND_BYTES: usize = 4 << 20;

fn entry(chance: &mut Chance) -> Entry {
    let names = ["out", "/", "..", ".", "a", "b", "\0", "x.png", "\u{e4}"];
    let place = chance.text(&names, 6).into_bytes();
    let kind = match chance.below(3) {
        0 => EntryKind::File { bytes: chance.below(4) as u64, content: Content::Follows },
        1 => EntryKind::Link { target: chance.text(&names, 6).into_bytes() },
        _ => arbitrary::value(chance),
    };
    Entry { place, mode: chance.number() as u32, mtime_ns: chance.number().cast_signed(), kind }
}

fn stream(chance: &mut Chance) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..chance.below(6) {
        let (channel, bytes) = match chance.below(3) {
            0 => (Channel::Content, chance.bytes(4)),
            _ => (Channel::Entry, encode_entry(&entry(chance)).unwrap_or_default()),
        };
        stream.extend(header(channel, bytes.len() as u32));
        stream.extend(bytes);
    }
    if chance.once_in(2) {
        mutate::bytes(chance, &mut stream);
    }
    stream
}

#[test]
fn files_of_hosts() {
    let make = |chance: &mut Chance| (stream(chance), 1 + chance.below(50));
    let bound = |(stream, _): &(Vec<u8>, usize)| BOUND_BYTES + 64 * stream.len();
    run("files of hosts", make, bound, |(stream, cut)| {
        let (claims, outputs) = (Claims::default(), ["out", "*.png"].map(|text| Output::new(text.as_bytes(), true)));
        let outputs: Vec<Output> = outputs.into_iter().map(Result::unwrap).collect();
        let task = TaskId { job: JobId(0), index: 0 };
        let mut check = OutputCheck::new(task, Arc::new(outputs), claims.clone());
        stream.chunks(cut).for_each(|piece| check.push(piece));
        if check.finish().is_ok() {
            for target in claims.0.lock().unwrap().keys() {
                let target = target.as_os_str().as_bytes();
                // A folder stands for all that is in it.
                let first = target.split(|byte| *byte == b'/').next().unwrap_or_default();
                let is_declared = first == b"out" || first.ends_with(b".png");
                assert!(is_inside(target) && is_declared, "{}", target.escape_ascii());
            }
        }
    });
}
