//! The conversation between one manager and one agent, as either side keeps it: what has been seen, what is to be sent
//! next, what must be sent again on another connection. No clock, no socket: `now` and frames come in, bytes go out.
//!
//! Control goes before bulk. Bulk goes in small frames, and only so much of it as the [`Pacer`] allows. Within one
//! connection frames come in order and once: anything else is an error that ends the connection. Over several
//! connections each frame is delivered exactly once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Buf, Bytes};

use crate::frame::{self, Frame, FrameKind};
use crate::handshake::GOODBYE;
use crate::pacer::Pacer;
use crate::time::Timestamp;

/// Bulk bytes in one frame: what stands before a control frame at most, on a link of 1 MB/s for 16 ms.
pub const BULK_FRAME_BYTES: usize = 16 << 10;
/// Bytes handed out for one write: more control than this waits for the next.
const TRANSMIT_BYTES: usize = 64 << 10;
/// Bytes of a stream's name before the bulk.
const STREAM_BYTES: usize = 8;

/// One side of a session.
#[derive(Debug)]
pub struct Session {
    next_sequence: u64,
    last_seen: u64,
    control: VecDeque<Vec<u8>>,
    bulk: VecDeque<Bulk>,
    sent: VecDeque<Sent>,
    /// Bytes of bulk that were queued and that the other side hasn't acknowledged.
    bulk_bytes: u64,
    /// How many of `sent` went out on this connection.
    on_wire: usize,
    pacer: Pacer,
    heartbeat: Duration,
    last_sent_at: Timestamp,
    acknowledgement_owed: bool,
    goodbye: Goodbye,
}

#[derive(Debug, PartialEq, Eq)]
enum Goodbye {
    No,
    Wanted,
    Said,
}

/// A result on its way out, and what is to be said when all of it is.
#[derive(Debug)]
struct Bulk {
    stream: u64,
    /// What is left. Shared with the owner, who keeps a result until its outcome is acknowledged.
    data: Bytes,
    then: Option<Vec<u8>>,
}

/// A frame that the other side hasn't acknowledged.
#[derive(Debug)]
struct Sent {
    sequence: u64,
    payload: Payload,
}

/// What a frame of this side carries.
#[derive(Debug)]
enum Payload {
    Control(Vec<u8>),
    Bulk { stream: u64, data: Bytes },
}

/// What a frame means to the session's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A message.
    Control(Bytes),
    /// The next bytes of a stream.
    Bulk {
        /// The stream's name.
        stream: u64,
        /// The bytes.
        data: Bytes,
    },
    /// Only a sign of life.
    Heartbeat,
}

/// Why a connection can't go on. What was exchanged before is still true.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// A frame was lost or repeated within a connection.
    #[error("frame {got} came where {expected} should have come")]
    OutOfOrder {
        /// The number that should have come.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// The other side acknowledges what was never sent.
    #[error("frame {got} was acknowledged, but only {sent} were sent")]
    NeverSent {
        /// The number that was acknowledged.
        got: u64,
        /// The last number that was sent.
        sent: u64,
    },
    /// The other side has forgotten what it acknowledged before.
    #[error("the other side has seen {seen} frames, but acknowledged more before")]
    Forgotten {
        /// The number that it says it has seen.
        seen: u64,
    },
    /// A bulk frame without a stream's name.
    #[error("a bulk frame of {bytes} bytes has no stream")]
    NoStream {
        /// Its length.
        bytes: usize,
    },
}

impl Session {
    /// A new session on a connection that has just begun.
    pub fn new(now: Timestamp, heartbeat: Duration) -> Self {
        Self {
            next_sequence: 1,
            last_seen: 0,
            control: VecDeque::new(),
            bulk: VecDeque::new(),
            sent: VecDeque::new(),
            bulk_bytes: 0,
            on_wire: 0,
            pacer: Pacer::new(now),
            heartbeat,
            last_sent_at: now,
            acknowledgement_owed: false,
            goodbye: Goodbye::No,
        }
    }

    /// Sets the longest silence that this side leaves.
    pub fn set_heartbeat(&mut self, heartbeat: Duration) {
        self.heartbeat = heartbeat;
    }

    /// Queues a message.
    pub fn send(&mut self, message: Vec<u8>) {
        self.control.push_back(message);
    }

    /// Queues a stream of bulk, and the message that follows its last byte.
    pub fn send_bulk(&mut self, stream: u64, data: Bytes, then: Vec<u8>) {
        self.bulk_bytes += data.len() as u64;
        self.bulk.push_back(Bulk { stream, data, then: Some(then) });
    }

    /// Queues more of a stream; what ends it comes with a later [`Session::send_bulk`], which may be empty itself.
    pub fn send_chunk(&mut self, stream: u64, data: Bytes) {
        self.bulk_bytes += data.len() as u64;
        self.bulk.push_back(Bulk { stream, data, then: None });
    }

    /// Queues the end: it goes out before anything else, and nothing after it.
    pub fn say_goodbye(&mut self) {
        if self.goodbye == Goodbye::No {
            self.goodbye = Goodbye::Wanted;
        }
    }

    /// Whether the end has been handed out.
    pub fn said_goodbye(&self) -> bool {
        self.goodbye == Goodbye::Said
    }

    /// Takes a frame that arrived on the current connection.
    ///
    /// # Errors
    /// The frame can't be the next one: the connection is to be closed.
    pub fn on_frame(&mut self, now: Timestamp, frame: Frame) -> Result<Incoming, SessionError> {
        self.on_acknowledged(now, frame.acknowledged)?;
        if frame.kind == FrameKind::Ack {
            return Ok(Incoming::Heartbeat);
        }
        let expected = self.last_seen + 1;
        if frame.sequence != expected {
            return Err(SessionError::OutOfOrder { expected, got: frame.sequence });
        }
        let incoming = open(frame)?;
        self.last_seen = expected;
        self.acknowledgement_owed = true;
        Ok(incoming)
    }

    fn on_acknowledged(&mut self, now: Timestamp, sequence: u64) -> Result<(), SessionError> {
        let sent = self.last_transmitted();
        if sequence > sent {
            return Err(SessionError::NeverSent { got: sequence, sent });
        }
        while self.sent.front().is_some_and(|frame| frame.sequence <= sequence)
            && let Some(frame) = self.sent.pop_front()
        {
            self.on_wire -= 1;
            if let Payload::Bulk { data, .. } = frame.payload {
                self.bulk_bytes -= data.len() as u64;
            }
        }
        self.pacer.on_acknowledged(now, sequence);
        Ok(())
    }

    fn last_transmitted(&self) -> u64 {
        match self.on_wire.checked_sub(1) {
            Some(last) => self.sent[last].sequence,
            None => self.sent.front().map_or(self.next_sequence, |frame| frame.sequence) - 1,
        }
    }

    /// Begins another connection: what the other side hasn't seen goes out again, in order, before anything new.
    ///
    /// # Errors
    /// The other side claims to have seen less than it acknowledged, or more than there was.
    pub fn resume(&mut self, now: Timestamp, peer_last_seen: u64) -> Result<(), SessionError> {
        self.on_wire = self.sent.len();
        let acknowledged_before = self.sent.front().map_or(self.next_sequence, |frame| frame.sequence) - 1;
        if peer_last_seen < acknowledged_before {
            return Err(SessionError::Forgotten { seen: peer_last_seen });
        }
        self.on_acknowledged(now, peer_last_seen)?;
        self.on_wire = 0;
        self.pacer = Pacer::new(now);
        self.acknowledgement_owed = false;
        Ok(())
    }

    /// The next bytes to write, or None when there is nothing that may go out now. Ask again after each write, each frame
    /// and at [`Session::next_deadline`].
    pub fn poll_transmit(&mut self, now: Timestamp) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match self.goodbye {
            Goodbye::Said => return None,
            Goodbye::Wanted => {
                self.goodbye = Goodbye::Said;
                return Some(GOODBYE.to_vec());
            }
            Goodbye::No => {}
        }
        self.transmit_again(now, &mut out);
        self.transmit_control(&mut out);
        self.transmit_bulk(now, &mut out);
        self.transmit_control(&mut out);
        if out.is_empty() && (self.acknowledgement_owed || self.next_deadline() <= now) {
            frame::write_frame(FrameKind::Ack, 0, self.last_seen, &[], &mut out);
        }
        if out.is_empty() {
            return None;
        }
        self.acknowledgement_owed = false;
        self.last_sent_at = now;
        Some(out)
    }

    fn transmit_again(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        while self.on_wire < self.sent.len() && out.len() < TRANSMIT_BYTES {
            let frame = &self.sent[self.on_wire];
            if let Payload::Bulk { data, .. } = &frame.payload {
                if !self.pacer.allows(STREAM_BYTES + data.len()) {
                    return;
                }
                self.pacer.on_sent(now, frame.sequence, STREAM_BYTES + data.len());
            }
            frame.write(self.last_seen, out);
            self.on_wire += 1;
        }
    }

    fn transmit_control(&mut self, out: &mut Vec<u8>) {
        while self.on_wire == self.sent.len() && out.len() < TRANSMIT_BYTES {
            let Some(message) = self.control.pop_front() else { return };
            self.transmit(Payload::Control(message), out);
        }
    }

    fn transmit_bulk(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        while self.on_wire == self.sent.len() && out.len() < TRANSMIT_BYTES {
            let Some(bulk) = self.bulk.front_mut() else { return };
            let length = bulk.data.len().min(BULK_FRAME_BYTES);
            if length > 0 {
                if !self.pacer.allows(STREAM_BYTES + length) {
                    return;
                }
                let payload = Payload::Bulk { stream: bulk.stream, data: bulk.data.split_to(length) };
                self.pacer.on_sent(now, self.next_sequence, STREAM_BYTES + length);
                self.transmit(payload, out);
            }
            self.end_bulk_if_done();
        }
    }

    fn end_bulk_if_done(&mut self) {
        let done = self.bulk.front().is_some_and(|bulk| bulk.data.is_empty());
        if done && let Some(bulk) = self.bulk.pop_front() {
            self.control.extend(bulk.then);
        }
    }

    fn transmit(&mut self, payload: Payload, out: &mut Vec<u8>) {
        let frame = Sent { sequence: self.next_sequence, payload };
        self.next_sequence += 1;
        frame.write(self.last_seen, out);
        self.sent.push_back(frame);
        self.on_wire += 1;
    }

    /// Ends it, with what the other side hasn't acknowledged of each stream: the last bytes that were queued, in order.
    pub fn into_unacknowledged(self) -> BTreeMap<u64, Vec<u8>> {
        let mut streams: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for frame in self.sent {
            if let Payload::Bulk { stream, data } = frame.payload {
                streams.entry(stream).or_default().extend_from_slice(&data);
            }
        }
        for bulk in self.bulk {
            streams.entry(bulk.stream).or_default().extend_from_slice(&bulk.data);
        }
        streams
    }

    /// When [`Session::poll_transmit`] is to be asked even if nothing happens: the next heartbeat.
    pub fn next_deadline(&self) -> Timestamp {
        self.last_sent_at + self.heartbeat
    }

    /// The last sequence number seen from the other side, for the Hello of another connection.
    pub fn last_seen(&self) -> u64 {
        self.last_seen
    }

    /// Bytes of bulk that were queued and that the other side hasn't acknowledged.
    pub fn bulk_bytes(&self) -> u64 {
        self.bulk_bytes
    }

    /// Whether every message has been handed out to be sent.
    pub fn has_sent_control(&self) -> bool {
        self.control.is_empty() && self.on_wire == self.sent.len()
    }

    /// Messages that wait to go out, or for an acknowledgement.
    pub fn queued(&self) -> usize {
        self.control.len() + self.sent.len()
    }

    /// Whether everything that was queued has been acknowledged.
    pub fn is_idle(&self) -> bool {
        self.control.is_empty() && self.bulk.is_empty() && self.sent.is_empty()
    }
}

impl Sent {
    /// Appends it as a frame.
    fn write(&self, acknowledged: u64, out: &mut Vec<u8>) {
        match &self.payload {
            Payload::Control(message) => {
                frame::write_frame(FrameKind::Control, self.sequence, acknowledged, &[message], out);
            }
            Payload::Bulk { stream, data } => {
                let parts = [&stream.to_le_bytes(), &data[..]];
                frame::write_frame(FrameKind::Bulk, self.sequence, acknowledged, &parts, out);
            }
        }
    }
}

fn open(Frame { kind, mut payload, .. }: Frame) -> Result<Incoming, SessionError> {
    if kind == FrameKind::Control {
        return Ok(Incoming::Control(payload));
    }
    let bytes = payload.len();
    match payload.try_get_u64_le() {
        Ok(stream) => Ok(Incoming::Bulk { stream, data: payload }),
        Err(_) => Err(SessionError::NoStream { bytes }),
    }
}

#[cfg(test)]
mod tests;
