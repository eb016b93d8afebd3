//! Two sessions joined by connections that drop.

use proptest::prelude::*;

use super::*;
use crate::frame::{Decoder, Received};

const HEARTBEAT: Duration = Duration::from_secs(10);

struct Side {
    session: Session,
    decoder: Decoder,
    control: Vec<Vec<u8>>,
    bulk: Vec<u8>,
}

impl Side {
    fn new() -> Self {
        let session = Session::new(Timestamp::default(), HEARTBEAT);
        Self { session, decoder: Decoder::default(), control: Vec::new(), bulk: Vec::new() }
    }

    fn receive(&mut self, now: Timestamp, bytes: &[u8]) {
        self.decoder.push(bytes);
        while let Some(Received::Frame(frame)) = self.decoder.next_frame().unwrap() {
            match self.session.on_frame(now, frame).unwrap() {
                Incoming::Control(message) => self.control.push(message.to_vec()),
                Incoming::Bulk { data, .. } => self.bulk.extend(data),
                Incoming::Heartbeat => {}
            }
        }
    }
}

struct Pair {
    now: Timestamp,
    manager: Side,
    agent: Side,
}

impl Pair {
    fn new() -> Self {
        Self { now: Timestamp::default(), manager: Side::new(), agent: Side::new() }
    }

    /// Exchanges until nobody has anything to say.
    fn drive(&mut self) {
        loop {
            self.now = self.now + Duration::from_millis(1);
            let to_agent = self.manager.session.poll_transmit(self.now);
            let to_manager = self.agent.session.poll_transmit(self.now);
            if to_agent.is_none() && to_manager.is_none() {
                return;
            }
            self.agent.receive(self.now, &to_agent.unwrap_or_default());
            self.manager.receive(self.now, &to_manager.unwrap_or_default());
        }
    }

    /// Loses what is in flight and connects again.
    fn reconnect(&mut self) {
        let (manager_seen, agent_seen) = (self.manager.session.last_seen(), self.agent.session.last_seen());
        self.manager.decoder = Decoder::default();
        self.agent.decoder = Decoder::default();
        self.manager.session.resume(self.now, agent_seen).unwrap();
        self.agent.session.resume(self.now, manager_seen).unwrap();
    }
}

#[test]
fn messages_arrive_in_order_and_are_acknowledged() {
    let mut pair = Pair::new();
    pair.manager.session.send(b"one".to_vec());
    pair.manager.session.send(b"two".to_vec());
    pair.drive();
    assert_eq!(pair.agent.control, [b"one", b"two"]);
    assert!(pair.manager.session.is_idle());
}

#[test]
fn the_message_after_a_stream_comes_after_its_last_byte() {
    let mut pair = Pair::new();
    let data: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
    pair.agent.session.send_bulk(7, data.clone().into(), b"done".to_vec());
    pair.agent.session.send_bulk(8, Bytes::new(), b"empty".to_vec());
    loop {
        pair.now = pair.now + Duration::from_millis(1);
        let Some(bytes) = pair.agent.session.poll_transmit(pair.now) else { break };
        pair.manager.receive(pair.now, &bytes);
        assert_eq!(pair.manager.control.is_empty(), pair.manager.bulk.len() < data.len());
        let acknowledgement = pair.manager.session.poll_transmit(pair.now).unwrap_or_default();
        pair.agent.receive(pair.now, &acknowledgement);
    }
    assert_eq!(pair.manager.bulk, data);
    assert_eq!(pair.manager.control, [b"done".to_vec(), b"empty".to_vec()]);
}

#[test]
fn control_passes_bulk_that_waits() {
    let mut pair = Pair::new();
    pair.agent.session.send_bulk(7, vec![0; 10 << 20].into(), b"done".to_vec());
    while pair.agent.session.poll_transmit(pair.now).is_some() {}
    pair.agent.session.send(b"urgent".to_vec());
    let bytes = pair.agent.session.poll_transmit(pair.now).expect("control needs no window");
    assert!(bytes.windows(6).any(|window| window == b"urgent"));
}

#[test]
fn silence_ends_with_a_heartbeat() {
    let mut session = Session::new(Timestamp::default(), HEARTBEAT);
    assert_eq!(session.poll_transmit(Timestamp::from_micros(9_999_999)), None);
    let deadline = session.next_deadline();
    assert_eq!(deadline, Timestamp::from_micros(10_000_000));
    assert!(session.poll_transmit(deadline).is_some());
    assert_eq!(session.poll_transmit(deadline), None);
}

#[test]
fn a_gap_a_repeat_and_a_false_acknowledgement_end_the_connection() {
    let frame =
        |sequence, acknowledged| Frame { kind: FrameKind::Control, sequence, acknowledged, payload: Bytes::new() };
    let mut session = Session::new(Timestamp::default(), HEARTBEAT);
    let now = Timestamp::default();
    assert_eq!(session.on_frame(now, frame(2, 0)), Err(SessionError::OutOfOrder { expected: 1, got: 2 }));
    assert!(session.on_frame(now, frame(1, 0)).is_ok());
    assert_eq!(session.on_frame(now, frame(1, 0)), Err(SessionError::OutOfOrder { expected: 2, got: 1 }));
    assert_eq!(session.on_frame(now, frame(2, 1)), Err(SessionError::NeverSent { got: 1, sent: 0 }));
    let short = Frame { kind: FrameKind::Bulk, sequence: 2, acknowledged: 0, payload: vec![1, 2].into() };
    assert_eq!(session.on_frame(now, short), Err(SessionError::NoStream { bytes: 2 }));
}

#[test]
fn a_peer_that_forgot_what_it_acknowledged_is_refused() {
    let mut pair = Pair::new();
    pair.manager.session.send(b"one".to_vec());
    pair.drive();
    assert_eq!(pair.manager.session.resume(pair.now, 0), Err(SessionError::Forgotten { seen: 0 }));
}

#[test]
fn a_goodbye_goes_first_and_last() {
    let mut session = Session::new(Timestamp::default(), HEARTBEAT);
    session.send(b"late".to_vec());
    session.say_goodbye();
    assert_eq!(session.poll_transmit(Timestamp::default()), Some(GOODBYE.to_vec()));
    assert_eq!(session.poll_transmit(Timestamp::default()), None);
    assert!(session.said_goodbye());
}

#[derive(Debug, Clone)]
enum Step {
    ManagerSays,
    AgentSays,
    AgentSendsBulk(u16),
    ToAgent { lost: bool },
    ToManager { lost: bool },
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::ManagerSays),
        Just(Step::AgentSays),
        any::<u16>().prop_map(Step::AgentSendsBulk),
        any::<bool>().prop_map(|lost| Step::ToAgent { lost }),
        any::<bool>().prop_map(|lost| Step::ToManager { lost }),
        Just(Step::Reconnect),
    ]
}

proptest! {
    /// A loss is only possible together with the end of the connection, so it is followed by a reconnect.
    #[test]
    fn everything_arrives_exactly_once_over_connections_that_drop(
        steps in proptest::collection::vec(step(), 1..80)
    ) {
        let mut pair = Pair::new();
        let (mut said_by_manager, mut said_by_agent, mut bulk) = (Vec::new(), Vec::new(), Vec::new());
        for (number, step) in steps.into_iter().enumerate() {
            pair.now = pair.now + Duration::from_millis(3);
            let message = vec![number as u8];
            match step {
                Step::ManagerSays => {
                    pair.manager.session.send(message.clone());
                    said_by_manager.push(message);
                }
                Step::AgentSays => {
                    pair.agent.session.send(message.clone());
                    said_by_agent.push(message);
                }
                Step::AgentSendsBulk(length) => {
                    let data = vec![number as u8; usize::from(length)];
                    bulk.extend(&data);
                    pair.agent.session.send_bulk(number as u64, data.into(), message.clone());
                    said_by_agent.push(message);
                }
                Step::ToAgent { lost } => {
                    let bytes = pair.manager.session.poll_transmit(pair.now).unwrap_or_default();
                    if lost { pair.reconnect() } else { pair.agent.receive(pair.now, &bytes) }
                }
                Step::ToManager { lost } => {
                    let bytes = pair.agent.session.poll_transmit(pair.now).unwrap_or_default();
                    if lost { pair.reconnect() } else { pair.manager.receive(pair.now, &bytes) }
                }
                Step::Reconnect => pair.reconnect(),
            }
        }
        pair.drive();
        prop_assert_eq!(pair.agent.control, said_by_manager);
        pair.manager.control.sort();
        said_by_agent.sort();
        prop_assert_eq!(pair.manager.control, said_by_agent);
        prop_assert_eq!(pair.manager.bulk, bulk);
        prop_assert!(pair.manager.session.is_idle() && pair.agent.session.is_idle());
    }
}
