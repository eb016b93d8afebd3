//! What a message and a frame cost: `cargo bench -p titan-proto`.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

use titan_proto::codec;
use titan_proto::frame::{Decoder, FrameKind, write_frame};
use titan_proto::id::{AttemptId, Epoch, JobId, TaskId};
use titan_proto::message::{Part, ToAgent};

/// The bytes of a frame of bulk, and of one that carries a message.
const SIZES: [usize; 2] = [16 << 10, 40];
/// Messages, or frames, at once.
const MANY: u32 = 1_000;

fn main() {
    divan::main();
}

fn start(number: u32) -> ToAgent {
    let attempt = AttemptId { epoch: Epoch(1), number };
    ToAgent::Start { attempt, task: TaskId { job: JobId(0), index: number }, tried: 1, part: Part::OfJob }
}

#[divan::bench]
fn encode_a_start(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(MANY))
        .bench(|| (0..MANY).for_each(|number| drop(black_box(codec::encode(&start(number))))));
}

#[divan::bench]
fn decode_a_start(bencher: Bencher<'_, '_>) {
    let bytes = codec::encode(&start(7)).expect("it is short");
    bencher
        .counter(ItemsCount::new(MANY))
        .bench(|| (0..MANY).for_each(|_| drop(black_box(codec::decode::<ToAgent>(black_box(&bytes))))));
}

#[divan::bench(args = SIZES)]
fn write_frames(bencher: Bencher<'_, '_>, bytes: usize) {
    let payload = vec![7; bytes];
    bencher.counter(BytesCount::new(u64::from(MANY) * bytes as u64)).bench(|| frames(&payload));
}

#[divan::bench(args = SIZES)]
fn read_frames(bencher: Bencher<'_, '_>, bytes: usize) {
    let frames = frames(&vec![7; bytes]);
    bencher.counter(BytesCount::new(u64::from(MANY) * bytes as u64)).bench(|| {
        let mut decoder = Decoder::default();
        let mut count = 0;
        for piece in frames.chunks(64 << 10) {
            decoder.push(piece);
            while decoder.next_frame().expect("they are whole").is_some() {
                count += 1;
            }
        }
        assert_eq!(count, MANY);
    });
}

fn frames(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    (1..=MANY).for_each(|number| write_frame(FrameKind::Bulk, number.into(), 0, &[payload], &mut out));
    out
}
