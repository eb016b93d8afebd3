//! What an agent says and does, message by message.

use titan_proto::id::Epoch;

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
        let end = Computed::Completed { result: Arc::new(vec![0; bytes]), crc: 0, compute: Duration::from_secs(1) };
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
            Effect::Compute { attempt, .. } => Some(attempt.number),
            _ => None,
        })
        .collect()
}

#[test]
fn a_start_is_announced_before_it_is_carried_out() {
    let started = Effect::Send(ToManager::Started { attempt: attempt(1) });
    let compute = Effect::Compute { attempt: attempt(1), task: task(1), tried: 1, part: Part::OfJob };
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
        let end = Computed::Completed { result: Arc::default(), crc: 0, compute: Duration::from_micros(1) };
        computes(&host.on(Event::Computed { attempt: attempt(number), end }))
    };
    let together = TOGETHER as u32;
    let mut host = Host::new(1);
    host.start(1);
    // It may have taken an agent down before.
    host.told(ToAgent::Start { attempt: attempt(2), task: task(2), tried: 2, part: Part::OfJob });
    (3..=100).for_each(|number| assert_eq!(computes(&host.start(number)), []));
    assert_eq!(ends_at_once(&mut host, 1), [2]);
    assert_eq!(ends_at_once(&mut host, 2), (3..3 + together).collect::<Vec<_>>());
    let mut begun = 2 + together;
    for number in 3..=100 {
        begun += ends_at_once(&mut host, number).len() as u32;
        let most = if begun <= 100 - together { together } else { 1.max(begun - number) };
        assert!(host.agent.running() as u32 <= most, "{} run after {number}", host.agent.running());
    }
    assert_eq!(begun, 100);
    // Slow ones are as many as there are slots.
    host.start(101);
    host.ends(101, 0);
    (102..=200).for_each(|number| drop(host.start(number)));
    assert_eq!((host.agent.running(), computes(&host.ends(102, 0))), (1, vec![103]));
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
