//! Targets for fuzzing: a journal that isn't as it was written.

use titan_fuzz::{Chance, arbitrary, mutate, run};

use super::*;

/// What a list may take that an entry only says to be long.
const ENTRY_BOUND_BYTES: usize = 4 * codec::MAX_MESSAGE_BYTES;
/// Bytes in memory for a byte of a journal, at most.
const GROWTH: usize = 128;

fn groups(chance: &mut Chance) -> Vec<Vec<Entry>> {
    (0..chance.below(5)).map(|_| (0..=chance.below(3)).map(|_| arbitrary::value(chance)).collect()).collect()
}

/// A file in which some frames were synced before the next was written.
fn file(chance: &mut Chance, payloads: &[Vec<u8>]) -> Vec<u8> {
    let (mut file, mut synced) = (frame::header().to_vec(), 0);
    for payload in payloads {
        file.extend(frame::frame(file.len() as u64, synced, payload));
        synced = if chance.once_in(2) { file.len() as u64 } else { synced };
    }
    file
}

fn payloads(groups: &[Vec<Entry>]) -> Vec<Vec<u8>> {
    groups.iter().filter_map(|group| codec::encode_compact(group).ok()).collect()
}

fn entries(file: &[u8]) -> Result<Vec<Entry>, Damage> {
    let mut entries = Vec::new();
    read(file, |entry, _| entries.push(entry)).map(|_| entries)
}

#[test]
fn damaged_journals() {
    let make = |chance: &mut Chance| {
        let groups = groups(chance);
        let mut file = file(chance, &payloads(&groups));
        mutate::bytes(chance, &mut file);
        (file, groups.concat())
    };
    let bound = |(file, _): &(Vec<u8>, Vec<Entry>)| ENTRY_BOUND_BYTES + GROWTH * file.len();
    run("damaged journals", make, bound, |(file, written)| match entries(&file) {
        // Whatever was done to it: a beginning of what was written, or damage that is told.
        Ok(entries) => assert!(written.starts_with(&entries), "{entries:?} were never written"),
        Err(damage) => drop(damage.to_string()),
    });
}

#[test]
fn entries_of_journals() {
    let make = |chance: &mut Chance| {
        let groups = groups(chance);
        let mut payloads = payloads(&groups);
        payloads.iter_mut().for_each(|payload| mutate::bytes(chance, payload));
        file(chance, &payloads)
    };
    run(
        "entries of journals",
        make,
        |file| ENTRY_BOUND_BYTES + GROWTH * file.len(),
        |file| {
            let Ok(entries) = entries(&file) else { return };
            let mut past = Past::of(entries);
            past.reopen_stopped(true);
            past.counts();
            past.results().into_iter().for_each(|result| past.reopen(result.task));
            assert!(past.results().is_empty());
        },
    );
}
