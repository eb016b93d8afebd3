//! What the agent decides is done: attempts begin, are stopped or withdrawn, things are said and fetched.

use std::sync::Arc;
use std::time::Duration;

use titan_proto::id::AttemptId;
use titan_proto::message::{Configure, ToManager};

use super::executors::Executors;
use super::starts::Start;
use super::{Happening, Server, encode};
use crate::core::{Computed, Effect, Event};
use crate::files::{Files, Order};
use crate::process::Here;

impl Server {
    pub(super) fn carry_out(&mut self, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Configure(configure) => self.configure(configure)?,
            Effect::Prepare { job, work } => {
                if let Some(executors) = &mut self.executors {
                    executors.prepare(job, work);
                }
            }
            // Of one that wasn't adopted yet it is said when it is.
            Effect::Send(ToManager::Finished { attempt, .. }) if self.unadopted.contains_key(&attempt) => {}
            Effect::Send(message) => self.session.send(encode(&message)),
            Effect::SendResult { attempt, .. } if self.unadopted.contains_key(&attempt) => {}
            Effect::SendResult { attempt, result, then } => {
                self.session.send_bulk(attempt.stream(), result, encode(&then));
            }
            Effect::SayAgain { attempt, have, result, then } => self.say_again(attempt, have, result, then),
            Effect::Drop { attempt } => {
                self.unadopted.remove(&attempt);
                self.handed.remove(&attempt);
            }
            Effect::Start { attempt, task, tried, part, waits } => {
                let staged = self.staged.remove(&attempt).unwrap_or_default();
                self.starts.add(Start { attempt, task, tried, part, staged, waits });
            }
            Effect::Withdraw { attempt } => {
                let had_waited = self.starts.withdraw(attempt)
                    || self.executors.as_mut().is_some_and(|executors| executors.withdraw(attempt));
                self.decide(Event::Withdrawn { attempt, had_waited })?;
            }
            Effect::Stop { attempt } => self.stop(attempt)?,
            Effect::Files { set, entries } => self.order(Order::Files { set, entries }),
            Effect::Stage { attempt, sets } => self.order(Order::Stage { attempt, sets }),
            Effect::Piece { stream, failure } => self.order(Order::Piece { stream, failure }),
            Effect::Release { attempt } => {
                self.staged.remove(&attempt);
                self.order(Order::Release { attempt });
            }
            Effect::Exit(exit) => self.exit = Some(exit),
        }
        Ok(())
    }

    fn configure(&mut self, configure: Configure) -> Result<(), String> {
        let Configure { batch, host, slots, heartbeat_ms, cache_bytes, reports_load, .. } = configure;
        self.session.set_heartbeat(Duration::from_millis(heartbeat_ms.max(1)));
        self.reports_load = reports_load;
        if reports_load {
            // The manager waits for it.
            self.report_load();
        }
        let poster = self.poster.clone();
        let tell = move |told| {
            poster.post(Happening::Files(told));
        };
        let files = Files::start(host.clone(), cache_bytes, self.scratch.path().to_owned(), tell);
        self.files = Some(files.map_err(|error| format!("cannot start a thread: {error}"))?);
        match &self.executors {
            // What runs for an earlier manager runs on.
            Some(executors) => executors.set_slots(slots),
            None => {
                let (scratch, budget) = (Arc::clone(&self.scratch), Arc::clone(&self.budget));
                let (faults, listener) = (Arc::clone(&self.faults), Arc::new(self.poster.clone()));
                let here = Here { batch, host };
                self.executors = Some(Executors::new(here, slots, scratch, budget, faults, listener));
            }
        }
        Ok(())
    }

    /// Begins what may. When one can't, for want of a thread, the next ones wait: others may end meanwhile.
    pub(super) fn start_ready(&mut self) -> Result<(), String> {
        let mut problem = None;
        if let Some(executors) = &mut self.executors {
            let mut rouses = false;
            while problem.is_none()
                && let Some(start) = self.starts.next()
            {
                rouses |= !start.is_command();
                let attempt = start.attempt;
                problem = executors.start(start).err().map(|outcome| (attempt, outcome));
            }
            if rouses {
                executors.rouse();
            }
        }
        // Told here and not through the inbox: this thread is the one that empties it.
        let Some((attempt, outcome)) = problem else { return Ok(()) };
        self.decide(Event::Computed { attempt, end: Computed::ended(outcome) })
    }

    fn stop(&mut self, attempt: AttemptId) -> Result<(), String> {
        let had_not_begun =
            self.starts.withdraw(attempt) || self.executors.as_mut().is_some_and(|executors| executors.stop(attempt));
        match had_not_begun {
            true => self.decide(Event::Computed { attempt, end: Computed::Cancelled }),
            false => Ok(()),
        }
    }
}
