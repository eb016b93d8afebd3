//! titan's side of one session with a worker: what it was given, what it may send, and what its words come to. Sans-io, as the
//! session below it: the driver and the simulator both put their streams to it.

use std::collections::BTreeMap;

use titan_proto::codec::{self, CodecError};
use titan_proto::frame::Frame;
use titan_proto::id::AttemptId;
use titan_proto::message::{Outcome, ResultSummary, ToAgent, ToManager};
use titan_proto::session::{Incoming, Session, SessionError};
use titan_proto::time::Timestamp;

/// Where what attempts send is kept.
pub trait Results {
    /// The next bytes of an attempt's result.
    ///
    /// # Errors
    /// They can't be kept.
    fn append(&mut self, attempt: AttemptId, data: &[u8]) -> Result<(), Unkept>;

    /// An attempt has told its outcome, with this result: the outcome that this comes to.
    fn finish(&mut self, attempt: AttemptId, outcome: Outcome, summary: ResultSummary) -> Outcome;

    /// Nothing more comes of an attempt, and what came doesn't count.
    fn abandon(&mut self, attempt: AttemptId);
}

/// Why bytes can't be kept.
#[derive(Debug)]
pub enum Unkept {
    /// The sender does what no agent does.
    Sender(String),
    /// This machine can't: the attempt fails with this reason.
    Here(String),
}

/// An agent that does what no agent does. Its session is over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// Its frames aren't in order.
    #[error("{0}")]
    Session(#[from] SessionError),
    /// It sends no message.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// It sends what it wasn't asked for.
    #[error("{0}")]
    Unasked(String),
}

/// What a frame comes to.
#[derive(Debug)]
pub enum Heard {
    /// A message, for the manager.
    Message(ToManager),
    /// A sign of life.
    Nothing,
}

/// An attempt that the worker was given.
#[derive(Debug)]
enum Given {
    /// It may send what it makes.
    Open,
    /// What it sends can't be kept here, for this reason.
    Unkept(String),
    /// It has told its outcome: nothing more comes.
    Over,
}

/// One session, as titan sees it.
#[derive(Debug)]
pub struct Desk {
    /// The session itself: what is to be written, when, and whether it is over.
    pub session: Session,
    /// The attempts that the worker was given and that it hasn't been told to forget.
    given: BTreeMap<AttemptId, Given>,
}

impl Desk {
    /// A desk for a session that has just begun.
    pub fn new(session: Session) -> Self {
        Self { session, given: BTreeMap::new() }
    }

    /// Says something. From a start on the worker may send what it makes of it; what it has told is forgotten when it is
    /// acknowledged.
    ///
    /// # Errors
    /// The message is longer than any may be: nothing was said.
    pub fn say(&mut self, message: &ToAgent, results: &mut impl Results) -> Result<(), CodecError> {
        let bytes = codec::encode(message)?;
        match message {
            ToAgent::Start { attempt, .. } | ToAgent::Adopt { attempt, .. } => {
                self.given.insert(*attempt, Given::Open);
            }
            ToAgent::Acknowledge { attempt } => self.forget(*attempt, results),
            _ => {}
        }
        self.session.send(bytes);
        Ok(())
    }

    /// Takes a frame.
    ///
    /// # Errors
    /// No agent sends that.
    pub fn on_frame(&mut self, now: Timestamp, frame: Frame, results: &mut impl Results) -> Result<Heard, Broken> {
        match self.session.on_frame(now, frame)? {
            Incoming::Control(bytes) => {
                let message = codec::decode(&bytes)?;
                self.on_message(message, results).map(Heard::Message)
            }
            Incoming::Bulk { stream, data } => {
                self.on_bytes(AttemptId::from_stream(stream), &data, results)?;
                Ok(Heard::Nothing)
            }
            Incoming::Heartbeat => Ok(Heard::Nothing),
        }
    }

    fn on_message(&mut self, message: ToManager, results: &mut impl Results) -> Result<ToManager, Broken> {
        let (attempt, outcome, process) = match message {
            ToManager::Finished { attempt, outcome, process } => (attempt, outcome, process),
            ToManager::Recalled { attempt } => {
                self.forget(attempt, results);
                return Ok(message);
            }
            other => return Ok(other),
        };
        let given = self.given.get_mut(&attempt).map(|given| std::mem::replace(given, Given::Over));
        let outcome = match (given, outcome.result()) {
            (None | Some(Given::Over), _) => {
                return Err(Broken::Unasked(format!("the outcome of {attempt}, which it doesn't run")));
            }
            (Some(Given::Unkept(_)), _) if outcome == Outcome::Cancelled => outcome,
            (Some(Given::Unkept(reason)), _) => Outcome::failed(reason),
            (Some(Given::Open), Some(summary)) => results.finish(attempt, outcome, summary),
            (Some(Given::Open), None) => {
                results.abandon(attempt);
                outcome
            }
        };
        Ok(ToManager::Finished { attempt, outcome, process })
    }

    fn on_bytes(&mut self, attempt: AttemptId, data: &[u8], results: &mut impl Results) -> Result<(), Broken> {
        match self.given.get(&attempt) {
            Some(Given::Open) => {}
            Some(Given::Unkept(_)) => return Ok(()),
            Some(Given::Over) | None => {
                return Err(Broken::Unasked(format!("a result of {attempt}, which it doesn't run")));
            }
        }
        match results.append(attempt, data) {
            Ok(()) => Ok(()),
            Err(Unkept::Sender(reason)) => Err(Broken::Unasked(reason)),
            Err(Unkept::Here(reason)) => {
                results.abandon(attempt);
                self.given.insert(attempt, Given::Unkept(reason));
                Ok(())
            }
        }
    }

    fn forget(&mut self, attempt: AttemptId, results: &mut impl Results) {
        if self.given.remove(&attempt).is_some() {
            results.abandon(attempt);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use titan_proto::frame::FrameKind;
    use titan_proto::id::{Epoch, JobId, TaskId};
    use titan_proto::message::Part;

    use super::*;

    /// Keeps 4 bytes of each attempt.
    #[derive(Default)]
    struct Small {
        parts: BTreeMap<AttemptId, Vec<u8>>,
        is_full: bool,
    }

    impl Results for Small {
        fn append(&mut self, attempt: AttemptId, data: &[u8]) -> Result<(), Unkept> {
            if self.is_full {
                return Err(Unkept::Here("no room".to_owned()));
            }
            let part = self.parts.entry(attempt).or_default();
            part.extend_from_slice(data);
            if part.len() > 4 { Err(Unkept::Sender("too much".to_owned())) } else { Ok(()) }
        }

        fn finish(&mut self, attempt: AttemptId, outcome: Outcome, summary: ResultSummary) -> Outcome {
            let part = self.parts.get(&attempt).map_or(0, Vec::len);
            if part as u64 == summary.bytes { outcome } else { Outcome::failed("damaged") }
        }

        fn abandon(&mut self, attempt: AttemptId) {
            self.parts.remove(&attempt);
        }
    }

    /// A desk whose worker was given attempt 1, and what it sends next.
    struct Case {
        desk: Desk,
        results: Small,
        sequence: u64,
    }

    fn attempt(number: u32) -> AttemptId {
        AttemptId { epoch: Epoch(1), number }
    }

    fn completed(bytes: u64) -> Outcome {
        Outcome::Completed(ResultSummary { bytes, crc: 0, compute_us: 0 })
    }

    impl Case {
        fn new() -> Self {
            let desk = Desk::new(Session::new(Timestamp::default(), Duration::from_secs(1)));
            let mut case = Self { desk, results: Small::default(), sequence: 0 };
            let task = TaskId { job: JobId(0), index: 0 };
            let start = ToAgent::Start { attempt: attempt(1), task, tried: 1, part: Part::OfJob };
            case.desk.say(&start, &mut case.results).unwrap();
            case
        }

        fn frame(&mut self, kind: FrameKind, payload: Vec<u8>) -> Result<Heard, String> {
            self.sequence += 1;
            let frame = Frame { kind, sequence: self.sequence, acknowledged: 0, payload: payload.into() };
            self.desk.on_frame(Timestamp::default(), frame, &mut self.results).map_err(|error| error.to_string())
        }

        fn bytes(&mut self, number: u32, data: &[u8]) -> Result<Heard, String> {
            let payload = [&attempt(number).stream().to_le_bytes()[..], data].concat();
            self.frame(FrameKind::Bulk, payload)
        }

        fn says(&mut self, message: &ToManager) -> Result<Heard, String> {
            self.frame(FrameKind::Control, codec::encode(message).unwrap())
        }

        fn ends(&mut self, number: u32, outcome: Outcome) -> Result<Outcome, String> {
            let message = ToManager::Finished { attempt: attempt(number), outcome, process: None };
            match self.says(&message)? {
                Heard::Message(ToManager::Finished { outcome, .. }) => Ok(outcome),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_result_that_is_whole_counts_and_one_that_is_not_fails() {
        let mut case = Case::new();
        case.bytes(1, b"abc").unwrap();
        assert_eq!(case.ends(1, completed(3)), Ok(completed(3)));
        let mut case = Case::new();
        case.bytes(1, b"abc").unwrap();
        assert_eq!(case.ends(1, completed(2)), Ok(Outcome::failed("damaged")));
    }

    #[test]
    fn nothing_is_taken_that_was_not_asked_for() {
        let doesnt_run = |what: &str, number| Err(format!("{what} of 1-{number}, which it doesn't run"));
        assert_eq!(Case::new().bytes(2, b"a").map(drop), doesnt_run("a result", 2));
        assert_eq!(Case::new().ends(2, completed(0)).map(drop), doesnt_run("the outcome", 2));
        let mut case = Case::new();
        case.ends(1, completed(0)).unwrap();
        assert_eq!(case.bytes(1, b"a").map(drop), doesnt_run("a result", 1));
        assert_eq!(case.ends(1, completed(0)).map(drop), doesnt_run("the outcome", 1));
        let mut case = Case::new();
        case.says(&ToManager::Recalled { attempt: attempt(1) }).unwrap();
        assert_eq!(case.ends(1, completed(0)).map(drop), doesnt_run("the outcome", 1));
    }

    #[test]
    fn what_does_not_count_goes_at_once() {
        let mut case = Case::new();
        case.bytes(1, b"abc").unwrap();
        assert_eq!(case.ends(1, Outcome::Cancelled), Ok(Outcome::Cancelled));
        assert!(case.results.parts.is_empty());
        let mut case = Case::new();
        case.bytes(1, b"abc").unwrap();
        case.says(&ToManager::Recalled { attempt: attempt(1) }).unwrap();
        assert!(case.results.parts.is_empty());
    }

    #[test]
    fn what_cannot_be_kept_here_fails_its_attempt_alone_and_too_much_ends_the_session() {
        let mut case = Case::new();
        case.bytes(1, b"a").unwrap();
        case.results.is_full = true;
        case.bytes(1, b"b").unwrap();
        case.results.is_full = false;
        case.bytes(1, b"c").unwrap();
        assert!(case.results.parts.is_empty());
        assert_eq!(case.ends(1, completed(3)), Ok(Outcome::failed("no room")));
        assert_eq!(Case::new().bytes(1, b"abcde").map(drop), Err("too much".to_owned()));
    }
}
