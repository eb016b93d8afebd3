//! A simulated connection: bytes that take their time, arrive in arbitrary pieces, in order, once; unless somebody cuts it,
//! silences it, or tampers with it.

use std::collections::VecDeque;
use std::time::Duration;

use titan_manager::WorkerId;
use titan_proto::handshake::GOODBYE;
use titan_proto::time::Timestamp;

use super::random::Random;

/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;
/// Bytes of a frame's length and checksum, and where its kind stands.
const PREFIX_BYTES: usize = 8;
/// The kind of frames that have no sequence number.
const ACK: u8 = 3;

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The end in titan.
    Manager,
    /// The end on the host.
    Agent,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Manager => Self::Agent,
            Self::Agent => Self::Manager,
        }
    }
}

/// What a broken peer or way does to one frame within a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tamper {
    /// Changes a byte.
    Corrupt,
    /// Sends it twice.
    Repeat,
    /// Leaves it out.
    Skip,
}

/// How fast a way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speed {
    /// From an end to the other, at least; up to a quarter more by chance.
    pub latency: Duration,
    /// Bytes in a second.
    pub bytes_per_s: u64,
}

/// Names a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(pub(super) u32);

/// One connection between titan and an agent.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) worker: WorkerId,
    /// Whether bytes still arrive. The ends learn of a cut later.
    pub(super) is_open: bool,
    pub(super) to_manager: Pipe,
    pub(super) to_agent: Pipe,
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Pipe {
    speed: Speed,
    random: Random,
    in_flight: VecDeque<(Timestamp, Vec<u8>)>,
    last_due: Timestamp,
    pub(super) is_busy: bool,
    pub(super) silent_until: Option<Timestamp>,
    pub(super) tamper: Option<Tamper>,
    skipped: bool,
    written: u64,
    delivered: u64,
    /// When that many bytes are delivered, the receiver must have closed the connection.
    must_close_at: Option<u64>,
}

impl Link {
    pub(super) fn new(worker: WorkerId, now: Timestamp, speed: Speed, random: &mut Random) -> Self {
        let (to_manager, to_agent) = (Pipe::new(now, speed, random.fork()), Pipe::new(now, speed, random.fork()));
        Self { worker, is_open: true, to_manager, to_agent }
    }

    /// The direction that this end reads.
    pub(super) fn toward(&mut self, side: Side) -> &mut Pipe {
        match side {
            Side::Manager => &mut self.to_manager,
            Side::Agent => &mut self.to_agent,
        }
    }

    /// The direction that this end writes.
    pub(super) fn from(&mut self, side: Side) -> &mut Pipe {
        self.toward(side.other())
    }

    /// Until when nothing reaches this end.
    pub(super) fn silent_until(&self, side: Side) -> Option<Timestamp> {
        match side {
            Side::Manager => self.to_manager.silent_until,
            Side::Agent => self.to_agent.silent_until,
        }
    }
}

impl Pipe {
    fn new(now: Timestamp, speed: Speed, random: Random) -> Self {
        Self {
            speed,
            random,
            in_flight: VecDeque::new(),
            last_due: now,
            is_busy: false,
            silent_until: None,
            tamper: None,
            skipped: false,
            written: 0,
            delivered: 0,
            must_close_at: None,
        }
    }

    /// Takes what an end writes: when the write is over, and when pieces of it will arrive.
    pub(super) fn write(&mut self, now: Timestamp, bytes: Vec<u8>) -> (Timestamp, Vec<Timestamp>) {
        let bytes = self.tampered(bytes);
        self.written += bytes.len() as u64;
        let took = Duration::from_micros(bytes.len() as u64 * 1_000_000 / self.speed.bytes_per_s);
        let mut dues = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let length = match self.random.chance(60) {
                true => rest.len(),
                false => self.random.between(1, rest.len() as u64) as usize,
            };
            let (piece, after) = rest.split_at(length);
            let jitter = self.random.millis(0, 1 + self.speed.latency.as_millis() as u64 / 4);
            self.last_due = self.last_due.max(now + took + self.speed.latency + jitter);
            self.in_flight.push_back((self.last_due, piece.to_vec()));
            dues.push(self.last_due);
            rest = after;
        }
        (now + took, dues)
    }

    /// What has arrived by now.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<Vec<u8>> {
        if self.in_flight.front()?.0 > now {
            return None;
        }
        let (_, piece) = self.in_flight.pop_front()?;
        self.delivered += piece.len() as u64;
        Some(piece)
    }

    /// When the last byte written so far arrives.
    pub(super) fn last_due(&self) -> Timestamp {
        self.last_due
    }

    /// Whether the receiver has everything that tells it that this connection is broken.
    pub(super) fn must_be_closed(&self) -> bool {
        self.must_close_at.is_some_and(|end| self.delivered >= end)
    }

    fn tampered(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if (self.tamper.is_none() && !self.skipped) || self.must_close_at.is_some() || bytes == GOODBYE {
            return bytes;
        }
        let mut out = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (frame, after) = rest.split_at(frame_length(rest));
            self.pass(frame, &mut out);
            rest = after;
        }
        out
    }

    fn pass(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        let has_sequence = frame[PREFIX_BYTES] != ACK;
        let end_after = |pipe: &Self, out: &[u8]| Some(pipe.written + out.len() as u64);
        match self.tamper.take_if(|_| has_sequence) {
            None => {
                out.extend_from_slice(frame);
                if self.skipped && has_sequence && self.must_close_at.is_none() {
                    self.must_close_at = end_after(self, out);
                }
            }
            Some(Tamper::Skip) => self.skipped = true,
            Some(Tamper::Repeat) => {
                out.extend_from_slice(frame);
                out.extend_from_slice(frame);
                self.must_close_at = end_after(self, out);
            }
            Some(Tamper::Corrupt) => {
                let start = out.len();
                out.extend_from_slice(frame);
                let place = self.random.between(0, frame.len() as u64 - 1) as usize;
                out[start + place] ^= 1 << self.random.between(0, 7);
                // With a wrong length the receiver may wait for more: then it is silence that ends the connection.
                self.must_close_at = if place < LENGTH_BYTES { Some(u64::MAX) } else { end_after(self, out) };
            }
        }
    }
}

fn frame_length(bytes: &[u8]) -> usize {
    PREFIX_BYTES + u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
}
