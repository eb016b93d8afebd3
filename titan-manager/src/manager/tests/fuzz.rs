//! A target for fuzzing: workers that say whatever they like.

use titan_fuzz::{Chance, arbitrary, run};

use super::*;
use crate::desk::{Desk, Results, Unkept};
use titan_proto::codec;
use titan_proto::frame::{Frame, FrameKind};
use titan_proto::session::Session;

/// What a manager of a few tasks takes.
const BOUND_BYTES: usize = 4 << 20;
/// Workers at most.
const WORKERS: u32 = 3;
/// More attempts than these cases come to.
const ATTEMPTS: usize = 40;

fn any_attempt(chance: &mut Chance) -> AttemptId {
    AttemptId { epoch: Epoch(chance.below(3) as u32), number: chance.below(ATTEMPTS) as u32 }
}

fn message(chance: &mut Chance) -> ToManager {
    let attempt = any_attempt(chance);
    match chance.below(6) {
        0 => ToManager::Started { attempt },
        1 => ToManager::Recalled { attempt },
        2 => ToManager::AlreadyStarted { attempt },
        3 => arbitrary::value(chance),
        _ => ToManager::Finished { attempt, outcome: arbitrary::value(chance), process: arbitrary::value(chance) },
    }
}

fn event(chance: &mut Chance, workers: &mut u32) -> Event {
    let worker = WorkerId(chance.below(*workers as usize + 1) as u32);
    match chance.below(20) {
        0 if *workers < WORKERS => {
            *workers += 1;
            let held = (0..chance.below(4)).map(|_| {
                let task = TaskId { job: JobId(chance.below(3) as u32), index: chance.below(12) as u32 };
                Held { attempt: any_attempt(chance), task, state: arbitrary::value(chance), from: chance.number() }
            });
            let held = held.collect();
            let (host, worker) = (HostId(*workers), WorkerId(*workers));
            // No agent holds more from an earlier manager than it may hold at all.
            let capacity = capacity(2 + chance.below(4) as u32);
            Event::WorkerJoined { host, worker, capacity, is_alone: chance.once_in(2), held }
        }
        1 => Event::SessionLost { worker, is_dead: chance.once_in(2) },
        2 => Event::Heard { worker },
        3 if chance.once_in(10) => Event::Cancel,
        3..6 => Event::Tick,
        _ => Event::Message { worker, message: message(chance) },
    }
}

#[test]
fn strange_workers() {
    run(
        "strange workers",
        Chance::fork,
        |_| BOUND_BYTES,
        |mut chance| {
            let mut cluster = Cluster::with(Config { epoch: Epoch(2), ..config() });
            for host in 1..=WORKERS {
                cluster.starting(host);
            }
            let jobs = [Rerun::Anytime, Rerun::Lost].map(|rerun| JobSpec { rerun, ..spec(10) });
            cluster.on(Event::Submit(jobs.to_vec()));
            let mut workers = 0;
            for _ in 0..chance.below(60) {
                let event = event(&mut chance, &mut workers);
                cluster.on(event);
                cluster.now = cluster.now + Duration::from_millis(chance.below(20_000) as u64);
            }
        },
    );
}

/// Keeps nothing, and can't keep some of it.
struct Fickle<'c>(&'c mut Chance);

impl Results for Fickle<'_> {
    fn append(&mut self, _: AttemptId, _: &[u8]) -> Result<(), Unkept> {
        match self.0.below(8) {
            0 => Err(Unkept::Here("no room".to_owned())),
            1 => Err(Unkept::Sender("too much".to_owned())),
            _ => Ok(()),
        }
    }

    fn finish(&mut self, _: AttemptId, outcome: Outcome, _: ResultSummary) -> Outcome {
        outcome
    }

    fn abandon(&mut self, _: AttemptId) {}
}

#[test]
fn strange_sessions() {
    run(
        "strange sessions",
        Chance::fork,
        |_| BOUND_BYTES,
        |mut chance| {
            let mut desk = Desk::new(Session::new(Timestamp::default(), Duration::from_secs(10)));
            for sequence in 1..=chance.below(20) as u64 {
                let said = match chance.below(3) {
                    0 => ToAgent::Acknowledge { attempt: any_attempt(&mut chance) },
                    1 => {
                        ToAgent::Start { attempt: any_attempt(&mut chance), task: task(0), tried: 1, part: Part::OfJob }
                    }
                    _ => arbitrary::value(&mut chance),
                };
                let _ = desk.say(&said, &mut Fickle(&mut chance));
                let (kind, payload) = match chance.below(3) {
                    0 => (FrameKind::Bulk, [&any_attempt(&mut chance).stream().to_le_bytes()[..], b"some"].concat()),
                    1 => (FrameKind::Control, chance.bytes(40)),
                    _ => (FrameKind::Control, codec::encode(&message(&mut chance)).unwrap_or_default()),
                };
                let frame = Frame { kind, sequence, acknowledged: 0, payload: payload.into() };
                if desk.on_frame(Timestamp::default(), frame, &mut Fickle(&mut chance)).is_err() {
                    return;
                }
            }
        },
    );
}
