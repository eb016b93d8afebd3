//! How much bulk may be on its way without an acknowledgement: the measured rate × (round trip + 50 ms), so that a slow
//! link's own buffers never hold more than about 50 ms of it and control passes at once.
//!
//! The rate is measured as BBR does (Cardwell et al., "BBR: Congestion-Based Congestion Control", 2016): what was
//! delivered between a frame's sending and its acknowledgement, divided by that time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// The part of the window that stands in queues on the way.
const QUEUE_SPAN: Duration = Duration::from_millis(50);
/// Always allowed: two frames, so that a rate can be measured at all.
pub const MIN_WINDOW_BYTES: u64 = 32 << 10;
/// Never more than this, however fast the link: it is also memory.
pub const MAX_WINDOW_BYTES: u64 = 8 << 20;
/// The window before anything has been measured.
const INITIAL_WINDOW_BYTES: u64 = 64 << 10;
/// The shortest round trip is measured anew after this, since routes change.
const ROUND_TRIP_MEMORY: Duration = Duration::from_secs(10);

/// Measures a connection and bounds what is in flight on it.
#[derive(Debug)]
pub struct Pacer {
    in_flight: VecDeque<Flight>,
    in_flight_bytes: u64,
    delivered_bytes: u64,
    delivered_at: Timestamp,
    rate_bytes_per_s: u64,
    round_trip: Option<(Duration, Timestamp)>,
    window_bytes: u64,
}

#[derive(Debug)]
struct Flight {
    sequence: u64,
    bytes: u64,
    sent_at: Timestamp,
    delivered_before: u64,
    delivered_before_at: Timestamp,
    filled_window: bool,
}

impl Pacer {
    /// A connection that begins now; nothing is known of it.
    pub fn new(now: Timestamp) -> Self {
        Self {
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            delivered_bytes: 0,
            delivered_at: now,
            rate_bytes_per_s: 0,
            round_trip: None,
            window_bytes: INITIAL_WINDOW_BYTES,
        }
    }

    /// Whether another frame of bulk may go out.
    pub fn allows(&self, bytes: usize) -> bool {
        self.in_flight.is_empty() || self.in_flight_bytes + bytes as u64 <= self.window_bytes
    }

    /// A frame of bulk went out.
    pub fn on_sent(&mut self, now: Timestamp, sequence: u64, bytes: usize) {
        if self.in_flight.is_empty() {
            self.delivered_at = now;
        }
        self.in_flight_bytes += bytes as u64;
        self.in_flight.push_back(Flight {
            sequence,
            bytes: bytes as u64,
            sent_at: now,
            delivered_before: self.delivered_bytes,
            delivered_before_at: self.delivered_at,
            filled_window: self.in_flight_bytes * 2 > self.window_bytes,
        });
    }

    /// The other side has seen everything up to `sequence`.
    pub fn on_acknowledged(&mut self, now: Timestamp, sequence: u64) {
        let mut newest = None;
        while self.in_flight.front().is_some_and(|flight| flight.sequence <= sequence) {
            if let Some(flight) = self.in_flight.pop_front() {
                self.in_flight_bytes -= flight.bytes;
                self.delivered_bytes += flight.bytes;
                newest = Some(flight);
            }
        }
        if let Some(flight) = newest {
            self.delivered_at = now;
            self.measure(now, &flight);
        }
    }

    fn measure(&mut self, now: Timestamp, flight: &Flight) {
        let trip = now.since(flight.sent_at);
        match self.round_trip {
            Some((shortest, at)) if trip > shortest && now.since(at) < ROUND_TRIP_MEMORY => {}
            _ => self.round_trip = Some((trip, now)),
        }
        let span_us = now.since(flight.delivered_before_at).as_micros().max(1);
        let delivered = u128::from(self.delivered_bytes - flight.delivered_before);
        let sample = u64::try_from(delivered * 1_000_000 / span_us).unwrap_or(u64::MAX);
        if sample > self.rate_bytes_per_s {
            self.rate_bytes_per_s = sample;
        } else if flight.filled_window {
            // A sample taken with little in flight says nothing of the link.
            self.rate_bytes_per_s -= (self.rate_bytes_per_s - sample) / 8;
        }
        let span = self.round_trip() + QUEUE_SPAN;
        let window = u128::from(self.rate_bytes_per_s) * span.as_micros() / 1_000_000;
        self.window_bytes = u64::try_from(window).unwrap_or(u64::MAX).clamp(MIN_WINDOW_BYTES, MAX_WINDOW_BYTES);
    }

    /// The shortest round trip measured lately; zero before the first.
    fn round_trip(&self) -> Duration {
        self.round_trip.map_or(Duration::ZERO, |(shortest, _)| shortest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 16 << 10;

    /// Sends as much as the pacer allows over a link of that rate and round trip for that time; returns the longest time
    /// that a byte stood in the link's queue in the last half, and the share of the link's rate that was used in it.
    fn drive(rate_bytes_per_s: u64, round_trip: Duration, span: Duration) -> (Duration, f64) {
        let mut now = Timestamp::default();
        let mut pacer = Pacer::new(now);
        let mut link_free = now;
        let mut acknowledgements: VecDeque<(Timestamp, u64)> = VecDeque::new();
        let (mut sequence, mut longest, mut used) = (0, Duration::ZERO, 0);
        let end = now + span;
        let half = now + span / 2;
        while now < end {
            while pacer.allows(FRAME) {
                sequence += 1;
                pacer.on_sent(now, sequence, FRAME);
                let starts = link_free.max(now);
                if now > half {
                    longest = longest.max(starts.since(now));
                    used += FRAME as u64;
                }
                link_free = starts + Duration::from_micros(FRAME as u64 * 1_000_000 / rate_bytes_per_s);
                acknowledgements.push_back((link_free + round_trip, sequence));
            }
            let (at, seen) = acknowledgements.pop_front().unwrap();
            now = at;
            pacer.on_acknowledged(now, seen);
        }
        (longest, used as f64 / (rate_bytes_per_s as f64 * span.as_secs_f64() / 2.0))
    }

    #[test]
    fn a_slow_link_is_kept_busy_with_a_short_queue() {
        let (queue, share) = drive(1 << 20, Duration::from_millis(40), Duration::from_secs(20));
        assert!(queue < Duration::from_millis(120), "{queue:?}");
        assert!(share > 0.9, "{share}");
    }

    #[test]
    fn a_long_fat_link_is_filled() {
        let (queue, share) = drive(40 << 20, Duration::from_millis(100), Duration::from_secs(20));
        assert!(queue < Duration::from_millis(120), "{queue:?}");
        assert!(share > 0.9, "{share}");
    }

    #[test]
    fn a_very_slow_link_still_moves() {
        let (queue, share) = drive(64 << 10, Duration::from_millis(300), Duration::from_secs(60));
        assert!(queue < Duration::from_millis(800), "{queue:?}");
        assert!(share > 0.8, "{share}");
    }
}
