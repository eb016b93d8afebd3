//! Who is talked to: hellos, and what becomes of a conversation when another one begins.

use bytes::Bytes;
use titan_proto::PROTOCOL_VERSION;
use titan_proto::frame::Decoder;
use titan_proto::handshake::{GOODBYE, Hello, Opening, Role};
use titan_proto::id::{AttemptId, Epoch, SessionId};
use titan_proto::message::{Held, MAX_HELD, ToManager};
use titan_proto::session::Session;

use super::super::line::{Line, Stage};
use super::{FIRST_HEARTBEAT, Server, encode};
use crate::admission::{Admission, Conversation, admit};
use crate::core::{Event, Exit};
use crate::machine;

impl Server {
    pub(super) fn hello(&self) -> Hello {
        Hello {
            version: PROTOCOL_VERSION,
            role: Role::Agent,
            build: self.build.clone(),
            target: machine::target(),
            cores: machine::cores(),
            memory_bytes: machine::memory_bytes(),
            kernels: kernels::KERNELS.iter().map(|kernel| kernel.name().to_owned()).collect(),
            batch: None,
            session: self.current.map(|current| current.session),
            epoch: self.current.map_or(Epoch(0), |current| current.epoch),
            last_seen: self.session.last_seen(),
            is_alone: self.listens,
            adopts: false,
        }
    }

    /// The manager's hello, if all of it is there: a new conversation, or the same one over another connection.
    pub(super) fn greet(&mut self) -> Result<(), String> {
        let Some(Line { stage: Stage::Greeting { bytes, .. }, .. }) = &mut self.line else { return Ok(()) };
        let opening = match Opening::decode(bytes) {
            Ok(None) => return Ok(()),
            Ok(Some(opening)) => opening,
            Err(error) => return self.refuse(&error.to_string()),
        };
        let (hello, rest) = match opening {
            (Opening::Hello(hello), length) => (hello, bytes.split_off(length)),
            (Opening::Goodbye, _) => {
                self.exit = Some(Exit::Goodbye);
                return Ok(());
            }
        };
        if let Err(error) = hello.check(&self.build) {
            return self.refuse(&error.to_string());
        }
        let asked = Conversation { session: hello.session.unwrap_or(SessionId(0)), epoch: hello.epoch };
        match admit(self.current, asked, hello.adopts) {
            Admission::Begins => self.current = Some(asked),
            Admission::GoesOn => {
                self.session.resume(self.now(), hello.last_seen).map_err(|error| error.to_string())?;
            }
            Admission::TakesOver => self.take_over(asked)?,
            Admission::IsOver => return self.refuse("a titan of an earlier life of the batch"),
            Admission::Ends => {
                self.exit = Some(Exit::Superseded);
                return Ok(());
            }
        }
        if let Some(line) = &mut self.line {
            let mut decoder = Decoder::default();
            decoder.push(&rest);
            line.stage = Stage::Talking(decoder);
        }
        self.decide(Event::Heard)?;
        self.receive()
    }

    /// Another conversation begins, with what is left of the one before.
    fn take_over(&mut self, asked: Conversation) -> Result<(), String> {
        self.current = Some(asked);
        let session = Session::new(self.now(), FIRST_HEARTBEAT);
        let streams = std::mem::replace(&mut self.session, session).into_unacknowledged();
        self.decide(Event::TakenOver)?;
        let mut held = Vec::new();
        for (attempt, task, state) in self.agent.held().into_iter().take(MAX_HELD) {
            // What an earlier one hadn't adopted yet comes first.
            let mut rest = self.unadopted.remove(&attempt).unwrap_or_default();
            rest.extend(streams.get(&attempt.stream()).into_iter().flatten());
            let handed = self.handed.get(&attempt).copied().unwrap_or(0);
            held.push(Held { attempt, task, state, from: handed.saturating_sub(rest.len() as u64) });
            self.unadopted.insert(attempt, rest);
        }
        // What was fetched was for what hadn't begun; what is about to begin has its files.
        self.files = None;
        self.staged.clear();
        self.session.send(encode(&ToManager::Holds { held }));
        Ok(())
    }

    /// An attempt goes on for the manager that is there now: what that hasn't of its stream, and its outcome if it has ended.
    pub(super) fn say_again(&mut self, attempt: AttemptId, have: u64, result: Bytes, then: Option<ToManager>) {
        let rest = self.unadopted.remove(&attempt).unwrap_or_default();
        // A result that was made as a whole is there as a whole.
        let (bytes, from) = match result.is_empty() {
            true => {
                let from = self.handed.get(&attempt).copied().unwrap_or(0).saturating_sub(rest.len() as u64);
                (rest.into(), from)
            }
            false => (result, 0),
        };
        let skipped = usize::try_from(have.saturating_sub(from)).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = bytes.slice(skipped..);
        match then {
            Some(then) => self.session.send_bulk(attempt.stream(), bytes, encode(&then)),
            None => self.session.send_chunk(attempt.stream(), bytes),
        }
    }

    /// Nobody to talk to: who is alone with it ends, and who has a session waits for its titan.
    pub(super) fn refuse(&mut self, reason: &str) -> Result<(), String> {
        if self.current.is_none() {
            return Err(reason.to_owned());
        }
        if let Some(line) = self.line.as_mut().filter(|line| !line.is_busy) {
            line.write(GOODBYE.to_vec());
        }
        self.line = None;
        Ok(())
    }
}
