//! What an agent says and does, message by message.

use titan_proto::command::{CommandTask, ProcessEnd};
use titan_proto::id::Epoch;
use titan_proto::message::Work;

use super::*;

fn configure(slots: u32, heartbeat_ms: u64, lease_ms: u64) -> Configure {
    let (batch, host) = ("b".to_owned(), "h".to_owned());
    Configure { batch, host, slots, heartbeat_ms, lease_ms, cache_bytes: 0, reports_load: false }
}

struct Host {
    agent: Agent,
    now: Timestamp,
}

impl Host {
    fn new(slots: u32) -> Self {
        let mut host = Self { agent: Agent::new(Timestamp::default()), now: Timestamp::default() };
        host.told(ToAgent::Configure(configure(slots, 10_000, 60_000)));
        let work = Work::Kernel { name: "test".into(), params: vec![], timeout_ms: 0 };
        host.told(ToAgent::Job { job: JobId(0), work });
        host
    }

    fn on(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.agent.handle(self.now, event, &mut effects);
        effects
    }

    fn told(&mut self, message: ToAgent) -> Vec<Effect> {
        self.on(Event::Message(message))
    }

    fn start(&mut self, number: u32) -> Vec<Effect> {
        self.told(ToAgent::Start { attempt: attempt(number), task: task(number), tried: 1, part: Part::OfJob })
    }

    fn ends(&mut self, number: u32, bytes: usize) -> Vec<Effect> {
        let end = Computed::Completed { result: vec![0; bytes].into(), crc: 0, compute: Duration::from_secs(1) };
        self.on(Event::Computed { attempt: attempt(number), end })
    }

    fn later(&mut self, seconds: u64) -> Vec<Effect> {
        self.now = self.now + Duration::from_secs(seconds);
        self.on(Event::Tick)
    }
}

fn attempt(number: u32) -> AttemptId {
    AttemptId { epoch: Epoch(1), number }
}

fn task(index: u32) -> TaskId {
    TaskId { job: JobId(0), index }
}

fn computes(effects: &[Effect]) -> Vec<u32> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Start { attempt, .. } => Some(attempt.number),
            _ => None,
        })
        .collect()
}

#[test]
fn a_start_is_announced_before_it_is_carried_out() {
    let started = Effect::Send(ToManager::Started { attempt: attempt(1) });
    let compute = Effect::Start { attempt: attempt(1), task: task(1), tried: 1, part: Part::OfJob, waits: false };
    assert_eq!(Host::new(1).start(1), [started, compute]);
}

#[test]
fn no_more_run_than_there_are_slots() {
    let mut host = Host::new(2);
    assert_eq!(computes(&host.start(1)), [1]);
    assert_eq!(computes(&host.start(2)), [2]);
    assert_eq!(computes(&host.start(3)), []);
    assert_eq!(computes(&host.ends(1, 10)), [3]);
}

#[test]
fn of_many_computations_that_are_over_at_once_several_are_begun_together() {
    let ends_at_once = |host: &mut Host, number| {
        let end = Computed::Completed { result: Bytes::new(), crc: 0, compute: Duration::from_micros(1) };
        computes(&host.on(Event::Computed { attempt: attempt(number), end }))
    };
    let together = TOGETHER as u32;
    let mut host = Host::new(1);
    host.start(1);
    // It may have taken an agent down before.
    host.told(ToAgent::Start { attempt: attempt(2), task: task(2), tried: 2, part: Part::OfJob });
    let all = 5 * together;
    (3..=all).for_each(|number| assert_eq!(computes(&host.start(number)), []));
    assert_eq!(ends_at_once(&mut host, 1), [2]);
    assert_eq!(ends_at_once(&mut host, 2), (3..3 + together).collect::<Vec<_>>());
    let mut begun = 2 + together;
    for number in 3..=all {
        let (left, wait) = (host.agent.running() as u32 - 1, all - begun);
        let more = ends_at_once(&mut host, number).len() as u32;
        // More are begun when half of them are over, fewer and fewer, and the last ones as slots get free.
        assert!(more == 0 || left <= together / 2 && left + more <= 1.max(wait / 2), "{more} of {wait} beside {left}");
        begun += more;
        assert!(host.agent.running() as u32 <= together, "{} run after {number}", host.agent.running());
    }
    assert_eq!((begun, host.agent.running()), (all, 0));
    // Slow ones are as many as there are slots.
    host.start(all + 1);
    host.ends(all + 1, 0);
    (all + 2..=all + 200).for_each(|number| drop(host.start(number)));
    assert_eq!((host.agent.running(), computes(&host.ends(all + 2, 0))), (1, vec![all + 3]));
}

#[test]
fn what_has_not_begun_can_be_given_back() {
    let mut host = Host::new(1);
    host.start(1);
    host.start(2);
    let recall = |number| ToAgent::Recall { attempt: attempt(number) };
    assert_eq!(host.told(recall(2)), [Effect::Send(ToManager::Recalled { attempt: attempt(2) })]);
    assert_eq!(host.told(recall(1)), [Effect::Send(ToManager::AlreadyStarted { attempt: attempt(1) })]);
    assert_eq!(computes(&host.ends(1, 0)), [], "attempt 2 is gone");
}

/// A host of one slot and many short commands, of which the first has just ended.
fn host_of_short_commands() -> (Host, Vec<Effect>) {
    let mut host = Host::new(1);
    for number in 1..=3 * AHEAD as u32 {
        let command = CommandTask {
            words: Vec::new(),
            number: number.into(),
            env: Vec::new(),
            folder: None,
            stdin: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        let (attempt, task, part) = (attempt(number), task(number), Part::Command(Box::new(command)));
        host.told(ToAgent::Start { attempt, task, tried: 1, part });
    }
    assert!(host.agent.ahead.is_empty(), "nothing is known of them yet");
    let effects = host.on(Event::Computed { attempt: attempt(1), end: short() });
    (host, effects)
}

fn short() -> Computed {
    let process = ProcessEnd { exit: Some(0), signal: None, wall_us: 1_000, cpu_us: 0, max_rss_bytes: 0 };
    let outcome = Outcome::Completed(ResultSummary { bytes: 0, crc: 0, compute_us: 1_000 });
    Computed::Ended { outcome, process: Some(process), bytes: 0 }
}

#[test]
fn short_commands_wait_for_their_slots_and_are_told_when_they_begin() {
    let (mut host, effects) = host_of_short_commands();
    let waiting = |effect: &Effect| match effect {
        Effect::Start { attempt, waits: true, .. } => Some(attempt.number),
        _ => None,
    };
    let ahead: Vec<u32> = effects.iter().filter_map(waiting).collect();
    let next = 3 + AHEAD as u32;
    assert_eq!(ahead, (3..next).collect::<Vec<_>>());
    assert_eq!(host.agent.running(), 1);
    let begun = host.on(Event::Begun { attempt: attempt(3) });
    assert_eq!(begun[0], Effect::Send(ToManager::Started { attempt: attempt(3) }));
    assert_eq!(begun[1..].iter().filter_map(waiting).collect::<Vec<_>>(), [next]);
}

#[test]
fn a_command_that_waits_for_its_slot_can_be_given_back_or_ended_or_go_on_for_another_manager() {
    let (mut host, _) = host_of_short_commands();
    let recall = |number| ToAgent::Recall { attempt: attempt(number) };
    assert_eq!(host.told(recall(4)), [Effect::Withdraw { attempt: attempt(4) }]);
    let answer = host.on(Event::Withdrawn { attempt: attempt(4), had_waited: true });
    assert_eq!(answer[0], Effect::Send(ToManager::Recalled { attempt: attempt(4) }));
    assert_eq!(host.told(recall(5)), [Effect::Withdraw { attempt: attempt(5) }]);
    let answer = host.on(Event::Withdrawn { attempt: attempt(5), had_waited: false });
    assert_eq!(answer[0], Effect::Send(ToManager::AlreadyStarted { attempt: attempt(5) }));
    assert_eq!(host.told(ToAgent::Cancel { attempt: attempt(6) }), [Effect::Stop { attempt: attempt(6) }]);
    let ended = host.on(Event::Computed { attempt: attempt(6), end: Computed::Cancelled });
    assert!(matches!(ended[0], Effect::Send(ToManager::Finished { outcome: Outcome::Cancelled, .. })), "{ended:?}");
    let withdraws = host.on(Event::TakenOver);
    assert!(withdraws.contains(&Effect::Withdraw { attempt: attempt(7) }), "{withdraws:?}");
    assert_eq!(host.on(Event::Withdrawn { attempt: attempt(7), had_waited: true }), [], "who took over starts it anew");
    assert_eq!(host.on(Event::Withdrawn { attempt: attempt(5), had_waited: false }), []);
    let held = host.agent.held();
    assert!(held.contains(&(attempt(5), task(5), HeldState::Runs)), "{held:?}");
    assert!(held.iter().all(|(held, ..)| *held != attempt(7)), "{held:?}");
    assert_eq!(host.on(Event::Begun { attempt: attempt(5) }), [], "who took over is told what is held");
}

#[test]
fn cancelled_attempts_are_answered_once_whether_they_run_or_wait() {
    let mut host = Host::new(1);
    host.start(1);
    host.start(2);
    let cancel = |number| ToAgent::Cancel { attempt: attempt(number) };
    let cancelled = |number| {
        Effect::Send(ToManager::Finished { attempt: attempt(number), outcome: Outcome::Cancelled, process: None })
    };
    assert_eq!(host.told(cancel(2)), [cancelled(2)]);
    assert_eq!(host.told(cancel(1)), [Effect::Stop { attempt: attempt(1) }]);
    assert_eq!(host.on(Event::Computed { attempt: attempt(1), end: Computed::Cancelled }), [cancelled(1)]);
    assert_eq!(host.told(cancel(1)), []);
}

#[test]
fn an_outcome_is_kept_until_it_is_acknowledged() {
    let mut host = Host::new(1);
    host.start(1);
    host.ends(1, 10);
    assert_eq!(host.agent.unacknowledged(), 1);
    host.told(ToAgent::Acknowledge { attempt: attempt(1) });
    assert_eq!(host.agent.unacknowledged(), 0);
}

#[test]
fn results_that_nobody_takes_hold_back_new_starts() {
    let mut host = Host::new(1);
    host.start(1);
    host.start(2);
    assert_eq!(computes(&host.ends(1, MAX_UNACKNOWLEDGED_BYTES as usize)), []);
    assert_eq!(computes(&host.told(ToAgent::Acknowledge { attempt: attempt(1) })), [2]);
}

#[test]
fn silence_for_the_length_of_the_lease_ends_the_agent() {
    let mut host = Host::new(1);
    for _ in 0..59 {
        assert_eq!(host.later(1), []);
    }
    assert_eq!(host.later(1), [Effect::Exit(Exit::LeaseOver)]);
}

#[test]
fn after_its_own_sleep_it_listens_before_it_judges() {
    let mut host = Host::new(1);
    assert_eq!(host.later(3_600), []);
    host.on(Event::Heard);
    assert_eq!(host.later(1), []);
    assert_eq!(host.later(3_600), []);
    assert_eq!(host.later(1), [Effect::Exit(Exit::LeaseOver)]);
}

#[test]
fn a_lease_of_zero_never_ends_by_silence() {
    let mut host = Host::new(1);
    host.told(ToAgent::Configure(configure(1, 1, 0)));
    for _ in 0..1_000 {
        assert_eq!(host.later(1), []);
    }
    assert_eq!(host.on(Event::ChannelClosed), [Effect::Exit(Exit::ChannelClosed)]);
}

#[test]
fn a_goodbye_waits_for_nothing() {
    let mut host = Host::new(1);
    host.start(1);
    assert_eq!(host.on(Event::Goodbye), [Effect::Exit(Exit::Goodbye)]);
    assert_eq!(host.ends(1, 1), []);
}

#[test]
fn a_task_of_an_unknown_job_is_a_protocol_error() {
    let stranger = TaskId { job: JobId(9), index: 0 };
    let effects =
        Host::new(1).told(ToAgent::Start { attempt: attempt(1), task: stranger, tried: 1, part: Part::OfJob });
    assert!(matches!(effects[..], [Effect::Exit(Exit::Protocol { .. })]));
}
