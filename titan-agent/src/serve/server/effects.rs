//! What the agent decides is done: attempts begin, are stopped or withdrawn, things are said and fetched.

use std::sync::Arc;
use std::time::Duration;

use titan_proto::id::AttemptId;
use titan_proto::message::{Part, ToManager, Work};

use super::starts::Start;
use super::{Happening, Server, encode};
use crate::compute::Pool;
use crate::core::{Computed, Effect, Event};
use crate::files::{Files, Order};
use crate::process::{Here, Listener, Processes};

impl Server {
    pub(super) fn carry_out(&mut self, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Configure(configure) => {
                self.session.set_heartbeat(Duration::from_millis(configure.heartbeat_ms.max(1)));
                let slots = configure.slots;
                self.reports_load = configure.reports_load;
                if self.reports_load {
                    // The manager waits for it.
                    self.report_load();
                }
                let poster = self.poster.clone();
                let tell = move |told| {
                    poster.post(Happening::Files(told));
                };
                let files =
                    Files::start(configure.host.clone(), configure.cache_bytes, self.scratch.path().to_owned(), tell);
                self.files = Some(files.map_err(|error| format!("cannot start a thread: {error}"))?);
                // What runs for an earlier manager runs on.
                if let Some(processes) = &self.processes {
                    processes.set_slots(slots);
                }
                if let Some(pool) = &self.pool {
                    pool.set_slots(slots);
                }
                if self.pool.is_none() {
                    let here = Here { batch: configure.batch, host: configure.host };
                    let (scratch, budget) = (Arc::clone(&self.scratch), Arc::clone(&self.budget));
                    let listener = Arc::new(self.poster.clone());
                    let pool = Pool::new(slots, Arc::clone(&self.faults), Arc::clone(&listener) as Arc<dyn Listener>);
                    self.processes = Some(Processes::new(here, slots, scratch, budget, listener));
                    self.pool = Some(pool);
                }
            }
            Effect::Prepare { job, work } => match (work, &mut self.pool, &mut self.processes) {
                (Work::Kernel { name, params, timeout_ms }, Some(pool), _) => {
                    pool.prepare(job, &name, &params, timeout_ms);
                }
                (Work::Command(spec), _, Some(processes)) => processes.prepare(job, spec),
                _ => {}
            },
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
            Effect::Compute { attempt, task, tried, part, waits } => {
                let staged = self.staged.remove(&attempt).unwrap_or_default();
                self.starts.add(Start { attempt, task, tried, part, staged, waits });
            }
            Effect::Withdraw { attempt } => {
                let processes = self.processes.as_mut();
                let had_waited =
                    self.starts.withdraw(attempt) || processes.is_some_and(|processes| processes.withdraw(attempt));
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

    /// Begins what may. When one can't, for want of a thread, the next ones wait: others may end meanwhile.
    pub(super) fn start_ready(&mut self) -> Result<(), String> {
        let mut rouses = false;
        while let Some(Start { attempt, task, tried, part, staged, waits }) = self.starts.next() {
            rouses |= !matches!(part, Part::Command(_));
            let started = match (part, &mut self.pool, &mut self.processes) {
                (Part::Command(command), _, Some(processes)) => {
                    processes.start((attempt, task, tried), *command, staged, waits)
                }
                (Part::OfJob, Some(pool), _) => pool.start(attempt, task),
                (Part::Run { params, index }, Some(pool), _) => pool.start_run(attempt, task.job, &params, index),
                _ => Ok(()),
            };
            if let Err(outcome) = started {
                // Told here and not through the inbox: this thread is the one that empties it.
                self.decide(Event::Computed { attempt, end: Computed::ended(outcome) })?;
                break;
            }
        }
        if let Some(pool) = self.pool.as_ref().filter(|_| rouses) {
            pool.rouse();
        }
        Ok(())
    }

    fn stop(&mut self, attempt: AttemptId) -> Result<(), String> {
        if let Some(processes) = self.processes.as_mut().filter(|processes| processes.has(attempt)) {
            if processes.stop(attempt) {
                return self.decide(Event::Computed { attempt, end: Computed::Cancelled });
            }
        } else if self.starts.withdraw(attempt) {
            return self.decide(Event::Computed { attempt, end: Computed::Cancelled });
        } else if let Some(pool) = &mut self.pool {
            pool.stop(attempt);
        }
        Ok(())
    }
}
