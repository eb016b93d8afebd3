//! Targets for fuzzing: all that one side reads of the other.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use titan_fuzz::{Chance, arbitrary, mutate, run};

use crate::capture::{self, Channel, Splitter};
use crate::codec::{self, MAX_MESSAGE_BYTES};
use crate::files::{self, Entry, EntryReader, OutputPattern};
use crate::frame::{Decoder, Frame, FrameKind, Received, write_frame};
use crate::handshake::{GOODBYE, Hello, MAGIC, Opening, Role};
use crate::id::{BatchId, Epoch, SessionId};
use crate::message::{ToAgent, ToManager};
use crate::session::{Incoming, Session};
use crate::time::Timestamp;

/// What a list may take that a message only says to be long, and what its items take beyond their bytes.
const MESSAGE_BOUND_BYTES: usize = 4 * MAX_MESSAGE_BYTES;
/// Bytes in memory for a byte of a message, at most.
const GROWTH: usize = 64;

fn kind(chance: &mut Chance) -> FrameKind {
    chance.pick(&[FrameKind::Control, FrameKind::Bulk, FrameKind::Ack])
}

fn stream_of_frames(chance: &mut Chance) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..chance.below(5) {
        let start = stream.len();
        write_frame(kind(chance), chance.number(), chance.number(), &[&chance.bytes(100)], &mut stream);
        if chance.once_in(4) {
            // Another body, and its checksum.
            let mut body = stream.split_off(start + 8);
            mutate::bytes(chance, &mut body);
            stream.truncate(start);
            stream.extend((body.len() as u32).to_le_bytes());
            stream.extend(crc32fast::hash(&body).to_le_bytes());
            stream.extend(body);
        }
        if chance.once_in(10) {
            stream.extend(GOODBYE);
        }
    }
    if chance.once_in(2) {
        mutate::bytes(chance, &mut stream);
    }
    stream
}

fn again(frame: &Frame) -> Option<Received> {
    let mut bytes = Vec::new();
    write_frame(frame.kind, frame.sequence, frame.acknowledged, &[&frame.payload], &mut bytes);
    let mut decoder = Decoder::default();
    decoder.push(&bytes);
    decoder.next_frame().expect("it was written just now")
}

#[test]
fn frames() {
    let make = |chance: &mut Chance| (stream_of_frames(chance), 1 + chance.below(200));
    let bound = |(stream, _): &(Vec<u8>, usize)| 8 * stream.len() + (4 << 10);
    run("frames", make, bound, |(stream, cut)| {
        let mut decoder = Decoder::default();
        for piece in stream.chunks(cut) {
            decoder.push(piece);
            loop {
                match decoder.next_frame() {
                    Ok(Some(Received::Frame(frame))) => assert_eq!(again(&frame), Some(Received::Frame(frame.clone()))),
                    Ok(Some(Received::Goodbye)) => {}
                    Ok(None) => break,
                    Err(error) => return drop(error.to_string()),
                }
            }
        }
    });
}

fn hello(chance: &mut Chance) -> Hello {
    let words = ["0.1.0", "mandelbrot", "\n", "=", ",", "\u{1b}[2J", "\u{1f600}", "session", "\0"];
    Hello {
        version: chance.number() as u16,
        role: chance.pick(&[Role::Agent, Role::Manager]),
        build: chance.text(&words, 100),
        target: chance.text(&words, 4),
        cores: chance.number() as u32,
        memory_bytes: chance.number(),
        kernels: (0..chance.below(300)).map(|_| chance.text(&words, 4)).collect(),
        batch: BatchId::parse(chance.pick(&["k3f9", "x"])),
        session: chance.once_in(2).then(|| SessionId(chance.number())),
        epoch: Epoch(chance.number() as u32),
        last_seen: chance.number(),
        is_alone: chance.once_in(2),
        adopts: chance.once_in(2),
    }
}

#[test]
fn openings() {
    let make = |chance: &mut Chance| {
        let mut bytes = match chance.below(8) {
            0 => GOODBYE.to_vec(),
            1 => [&MAGIC[..], &chance.bytes(60)].concat(),
            _ => hello(chance).encode(),
        };
        mutate::bytes(chance, &mut bytes);
        bytes
    };
    run(
        "openings",
        make,
        |bytes| GROWTH * bytes.len() + (64 << 10),
        |bytes| {
            let Ok(Some((opening, length))) = Opening::decode(&bytes) else { return };
            assert!(length <= bytes.len());
            if let Opening::Hello(hello) = opening {
                let encoded = hello.encode();
                assert_eq!(Opening::decode(&encoded), Ok(Some((Opening::Hello(hello.clone()), encoded.len()))));
                drop(hello.check("0.1.0").map_err(|error| error.to_string()));
            }
        },
    );
}

/// A message that is read is what its bytes say, to the last of them.
fn messages<T: Serialize + DeserializeOwned>(target: &str) {
    let make = |chance: &mut Chance| {
        let mut bytes = codec::encode(&arbitrary::value::<T>(chance)).unwrap_or_default();
        match chance.below(20) {
            0 => bytes = chance.bytes(300),
            1 => {}
            _ => mutate::bytes(chance, &mut bytes),
        }
        bytes
    };
    run(
        target,
        make,
        |bytes| MESSAGE_BOUND_BYTES + GROWTH * bytes.len(),
        |bytes| match codec::decode::<T>(&bytes) {
            Ok(message) => assert_eq!(codec::encode(&message).expect("it was as long before"), bytes),
            Err(error) => drop(error.to_string()),
        },
    );
}

#[test]
fn messages_to_agents() {
    messages::<ToAgent>("messages to agents");
}

#[test]
fn messages_to_managers() {
    messages::<ToManager>("messages to managers");
}

/// The next frame of a peer that may be honest.
fn next_frame(chance: &mut Chance, session: &Session, sent: u64) -> Frame {
    let near = session.last_seen().wrapping_add(1);
    let sequence = if chance.once_in(5) { chance.number() } else { near };
    let acknowledged = if chance.once_in(5) { chance.number() } else { sent.wrapping_sub(chance.below(3) as u64) };
    Frame { kind: kind(chance), sequence, acknowledged, payload: chance.bytes(40).into() }
}

fn step(chance: &mut Chance, now: Timestamp, session: &mut Session, sent: &mut u64) {
    let data = |chance: &mut Chance| Bytes::from(chance.bytes(100));
    match chance.below(8) {
        0 => session.send(chance.bytes(50)),
        1 => session.send_chunk(chance.number(), data(chance)),
        2 => session.send_bulk(chance.number(), data(chance), chance.bytes(9)),
        3 => {
            let before = session.last_seen();
            if session.resume(now, if chance.once_in(3) { chance.number() } else { *sent }).is_ok() {
                assert_eq!(session.last_seen(), before);
            }
        }
        4 => {
            let out = session.poll_transmit(now).unwrap_or_default();
            let mut decoder = Decoder::default();
            decoder.push(&out);
            while let Some(Received::Frame(frame)) = decoder.next_frame().expect("it is this side's own") {
                *sent = (*sent).max(frame.sequence);
            }
        }
        _ => {
            let before = session.last_seen();
            let frame = next_frame(chance, session, *sent);
            match session.on_frame(now, frame) {
                Ok(Incoming::Heartbeat) | Err(_) => assert_eq!(session.last_seen(), before),
                Ok(_) => assert_eq!(session.last_seen(), before + 1),
            }
        }
    }
}

#[test]
fn sessions() {
    run(
        "sessions",
        Chance::fork,
        |_| 256 << 10,
        |mut chance| {
            let mut now = Timestamp::default();
            let mut session = Session::new(now, Duration::from_secs(10));
            let mut sent = 0;
            for _ in 0..chance.below(60) {
                now = now + Duration::from_micros(chance.number() % 10_000_000);
                step(&mut chance, now, &mut session, &mut sent);
            }
            session.into_unacknowledged();
        },
    );
}

fn records(chance: &mut Chance) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..chance.below(5) {
        let entry: Entry = arbitrary::value(chance);
        let (channel, bytes) = match chance.below(4) {
            0 => (Channel::Stdout, chance.bytes(50)),
            1 => (Channel::Content, chance.bytes(50)),
            _ => (Channel::Entry, files::encode_entry(&entry).unwrap_or_default()),
        };
        stream.extend(capture::header(channel, bytes.len() as u32));
        stream.extend(bytes);
    }
    mutate::bytes(chance, &mut stream);
    stream
}

#[test]
fn captured_records() {
    let make = |chance: &mut Chance| (records(chance), 1 + chance.below(200));
    let bound = |(stream, _): &(Vec<u8>, usize)| MESSAGE_BOUND_BYTES + GROWTH * stream.len();
    run("captured records", make, bound, |(stream, cut)| {
        let (mut splitter, mut reader) = (Splitter::default(), EntryReader::default());
        for piece in stream.chunks(cut) {
            let split = splitter.push(piece, |channel, bytes| {
                if channel == Channel::Entry {
                    reader.push(bytes).into_iter().flatten().for_each(|entry| judge(&entry));
                }
            });
            if split.is_err() {
                return;
            }
        }
    });
}

fn judge(entry: &Entry) {
    assert!(files::encode_entry(entry).is_some());
    entry.modified();
    if entry.problem().is_none() {
        assert!(!entry.place.split(|byte| *byte == b'/').any(|name| name == b".."));
    }
}

#[test]
fn patterns_of_outputs() {
    let parts = ["*", "**", "**/", "?", "[", "]", "[a-b]", "{", "}", ",", "{a,*}", "!", "\\", "/", "a", "b", "\u{e4}"];
    let make = |chance: &mut Chance| (chance.text(&parts, 24), chance.text(&["a", "b", "/", "\u{e4}"], 200));
    run(
        "patterns of outputs",
        make,
        |(text, place)| 64 * (text.len() + place.len()) + 1_024,
        |(text, place)| {
            let pattern = OutputPattern { text: text.into_bytes(), is_glob: true };
            pattern.covers(place.as_bytes());
            pattern.known_folder();
        },
    );
}
