//! The rules: what each effect, each step and the end must be like. A broken one panics and says which.

use titan_manager::{
    self as manager, Effect, Health, Lifecycle, Manager, Record, Report, Rerun, TaskEnd, Verdict, WorkerId, WorkerView,
};
use titan_proto::id::{AttemptId, TaskId};
use titan_proto::message::{Fault, Outcome, ResultSummary, ToAgent};

use super::model::{Commit, End, Model, Place, Told, meets};
use super::tasks::{self, Quirk};

impl Model {
    /// Judges what one event has led to; effects are to be carried out after it.
    pub(super) fn judge(&mut self, effects: &[Effect], manager: &Manager) {
        assert!(self.verdict.is_none() || effects.is_empty(), "effects after the end: {effects:?}");
        self.note_health(manager);
        for effect in effects {
            if let Effect::EndSession { worker } = effect {
                self.on_session_lost(*worker);
            }
        }
        for effect in effects {
            self.judge_effect(effect, manager);
        }
        if let Some(answer) = self.outcome.take().filter(|_| self.verdict.is_none()) {
            assert!(self.acknowledged.contains(&answer.attempt), "{} ended and isn't acknowledged", answer.attempt);
        }
        self.check_spool();
    }

    fn judge_effect(&mut self, effect: &Effect, manager: &Manager) {
        match effect {
            Effect::Send { worker, message } => self.judge_message(*worker, message, manager),
            Effect::Keep { attempt, task, .. } => self.judge_kept(*attempt, *task),
            Effect::Discard { attempt } => self.judge_discarded(*attempt),
            Effect::Commit { task } => self.judge_commit(*task),
            Effect::Record(record) => self.judge_record(record),
            Effect::Deliver(end) => self.judge_delivered(end),
            Effect::Finished(verdict) => self.judge_verdict(*verdict),
            Effect::Report(Report::Quarantined { host, .. }) => {
                assert!(self.quarantined.insert(*host), "{host:?} is sent away twice");
                let is_away = |view: &WorkerView| self.quarantined.contains(&view.host);
                let works = |view: WorkerView| view.health == Health::Healthy && !is_away(&view);
                assert!(manager.workers().any(works), "{host:?} is the last one, and sent away");
            }
            Effect::Report(Report::Released { host, .. }) => {
                assert!(self.quarantined.remove(host), "{host:?} wasn't away");
            }
            Effect::EndSession { .. } | Effect::Report(_) => {}
        }
    }

    fn judge_delivered(&mut self, end: &TaskEnd) {
        let task = end.task;
        if !end.is_noted() {
            self.judge_end(end, None);
        }
        let recorded = self.tasks[&task].end.unwrap_or_else(|| panic!("{task} is delivered before it is recorded"));
        let (state, told) = match recorded {
            End::Completed => (Lifecycle::Completed, Told::Delivered),
            End::Failed => (Lifecycle::Failed, Told::Missing),
            End::Cancelled => (Lifecycle::Cancelled, Told::Missing),
        };
        assert_eq!(end.state, state, "{task} is delivered as what it isn't");
        let tried = self.attempts.values().filter(|tried| tried.task == task && !tried.never_began).count();
        // The starts of earlier titans aren't noted.
        assert!(self.is_resumed || end.attempts as usize == tried, "the attempts of {task}: {} {tried}", end.attempts);
        assert_eq!(end.has_result, self.spool.kept(task).is_some(), "the result of {task}");
        self.tell(task, told);
    }

    fn tell(&mut self, task: TaskId, told: Told) {
        let before = self.tasks.get_mut(&task).expect("only tasks are told of").told.replace(told);
        assert_eq!(before, None, "the sink is told twice of {task}");
    }

    fn judge_message(&mut self, worker: WorkerId, message: &ToAgent, manager: &Manager) {
        let agent = self.workers.get_mut(&worker).expect("messages go to workers that have joined");
        match message {
            ToAgent::Job { job, .. } => drop(agent.jobs.insert(*job)),
            ToAgent::Start { attempt, task, .. } => self.judge_start(worker, *attempt, *task, manager),
            ToAgent::Acknowledge { attempt } => self.judge_acknowledged(*attempt),
            ToAgent::Adopt { attempt, task, .. } => self.judge_adopted(worker, *attempt, *task, manager),
            ToAgent::Forget { attempt } => {
                let is_open = self.attempts.get(attempt).is_some_and(|tried| tried.is_open);
                assert!(!is_open, "{attempt} is forgotten, and it counts");
            }
            ToAgent::Configure(_)
            | ToAgent::Recall { .. }
            | ToAgent::Cancel { .. }
            | ToAgent::Files { .. }
            | ToAgent::Piece { .. } => {}
        }
    }

    /// What counts goes on; what doesn't is heard of until it has stopped.
    fn judge_adopted(&mut self, worker: WorkerId, attempt: AttemptId, task: TaskId, manager: &Manager) {
        let known = &self.tasks[&task];
        let is_over = known.end.is_some() || known.commit.is_some() || known.is_kept;
        let counts = manager.is_live(attempt);
        assert!(!is_over || !counts, "{task} is over, and {attempt} counts");
        self.begun |= counts;
        let runs = |tried: &&super::model::Tried| tried.task == task && tried.is_open && !tried.has_ended;
        let open = self.attempts.values().filter(runs).count();
        let may_be_second = self.jobs[task.job.0 as usize].rerun == Rerun::Anytime;
        let has_ended = self.attempts.get(&attempt).is_some_and(|tried| tried.has_ended);
        assert!(
            !counts || may_be_second || has_ended || open == 0,
            "{attempt} of {task} is adopted and another may run"
        );
        let tried =
            self.attempts.get_mut(&attempt).unwrap_or_else(|| panic!("{attempt} is adopted and nobody began it"));
        assert!(!tried.is_open && tried.task == task && tried.worker == worker, "{attempt} is adopted: {tried:?}");
        (tried.is_open, tried.has_started, tried.never_began, tried.is_adopted) = (true, true, false, true);
        tried.counts = counts;
    }

    fn judge_start(&mut self, worker: WorkerId, attempt: AttemptId, task: TaskId, manager: &Manager) {
        assert!(self.begun, "{attempt} starts before min_workers were HEALTHY");
        assert!(!self.cancelled, "{attempt} starts after the batch was cancelled");
        let known = &self.tasks[&task];
        assert_eq!((known.end, known.commit), (None, None), "{task} is started though it is over");
        let agent = &self.workers[&worker];
        assert!(!self.quarantined.contains(&agent.host), "{attempt} starts on {worker:?}, which is in quarantine");
        assert!(!agent.is_lost, "{attempt} starts on {worker:?}, which is lost");
        assert!(agent.jobs.contains(&task.job), "{attempt} starts before {worker:?} knows its job");
        assert_eq!(self.health(worker, manager), Some(Health::Healthy), "{attempt} starts on {worker:?}");
        let spec = &self.jobs[task.job.0 as usize];
        let slot_bytes = agent.capacity.memory_bytes / u64::from(agent.capacity.slots);
        assert!(spec.slot_memory_bytes <= slot_bytes, "{task} is too large for {worker:?}");
        assert!(meets(spec, &agent.capacity), "{worker:?} hasn't what {task} asks for");
        assert!(!self.is_excluded(task, agent.host), "{task} starts on {worker:?}, which lacks what it needs");
        assert!(self.may_begin(task), "{task} starts before what it waits for has ended");
        assert!(!self.is_halted, "{attempt} starts after the batch was halted");
        let open: Vec<_> = self.attempts.iter().filter(|(_, tried)| tried.task == task && tried.is_open).collect();
        assert!(
            open.len() <= usize::from(spec.rerun == Rerun::Anytime),
            "{task} starts again and may still run: {open:?}"
        );
        for (other, tried) in open {
            let health = self.health(tried.worker, manager);
            let is_helped = self.speculates && tried.has_started && self.is_tail();
            assert!(
                health == Some(Health::Unhealthy) || is_helped,
                "{task} runs twice though {other}'s worker is well"
            );
        }
        let tried = super::model::Tried {
            task,
            worker,
            has_started: false,
            is_open: true,
            never_began: false,
            is_adopted: false,
            counts: true,
            has_ended: false,
        };
        assert!(self.attempts.insert(attempt, tried).is_none(), "{attempt} is used twice");
        let held =
            self.attempts.values().filter(|tried| tried.worker == worker && tried.is_open && !tried.is_adopted).count();
        let most = self.workers[&worker].capacity.slots * (1 + titan_manager::MAX_DEPTH);
        assert!(held <= most as usize, "{worker:?} holds {held} attempts");
        self.check_capacity(worker);
    }

    /// Whether every task that may begin has an attempt that may run.
    fn is_tail(&self) -> bool {
        let has_attempt = |task: TaskId| self.attempts.values().any(|tried| tried.task == task && tried.is_open);
        self.tasks.iter().all(|(task, known)| {
            known.end.is_some() || known.commit.is_some() || has_attempt(*task) || !self.may_begin(*task)
        })
    }

    /// How the manager sees that worker now; None if it has lost it.
    fn health(&self, worker: WorkerId, manager: &Manager) -> Option<Health> {
        let host = self.workers[&worker].host;
        let is_up = self.hosts[&host] == Place::Up(worker);
        manager.workers().find(|view| is_up && view.host == host).map(|view| view.health)
    }

    fn judge_kept(&mut self, attempt: AttemptId, task: TaskId) {
        assert_eq!(self.attempts[&attempt].task, task, "{attempt} is kept for another task");
        let known = &self.tasks[&task];
        assert_eq!((known.end, known.commit), (None, None), "{task} is over and gets a result");
        self.spool.keep(attempt, task);
        let pure = tasks::result(task, self.manners.of(task).bytes);
        assert!(self.spool.kept(task) == Some(&pure), "{task}'s result isn't what the task makes");
    }

    fn judge_discarded(&mut self, attempt: AttemptId) {
        let is_open = self.attempts.get(&attempt).is_some_and(|tried| tried.is_open);
        assert!(!is_open, "the result of {attempt} is discarded while its worker may still send it");
        self.spool.discard(attempt);
    }

    fn judge_commit(&mut self, task: TaskId) {
        assert!(self.spool.kept(task).is_some(), "{task} is committed, but nothing is there of it");
        let known = self.tasks.get_mut(&task).expect("only tasks are committed");
        assert!(known.is_kept, "{task} is committed before that is recorded");
        assert_eq!(known.commit.replace(Commit::UnderWay), None, "{task} is committed twice");
    }

    fn judge_acknowledged(&mut self, attempt: AttemptId) {
        let answer = self.outcome.as_ref().filter(|answer| answer.attempt == attempt);
        let answer = answer.unwrap_or_else(|| panic!("{attempt} is acknowledged, but didn't end now"));
        let Some(tried) = self.attempts.get(&attempt).filter(|_| answer.counts) else {
            self.acknowledged.push(attempt);
            return;
        };
        let known = &self.tasks[&tried.task];
        let is_recorded = match &answer.outcome {
            Outcome::Completed(_) => known.end == Some(End::Completed) || known.is_kept,
            Outcome::Failed { fault: Fault::Task, .. } => known.failures > 0,
            Outcome::Failed { fault: Fault::Host, .. } => !known.lacks.is_empty(),
            Outcome::Failed { fault: Fault::Setup, .. } => !self.setups.is_empty(),
            Outcome::Failed { fault: Fault::Machine, .. } => true,
            Outcome::Cancelled => true,
        };
        assert!(is_recorded, "{attempt} is acknowledged before it is recorded");
        self.acknowledged.push(attempt);
    }

    fn judge_record(&mut self, record: &Record) {
        match record {
            Record::Grown { .. }
            | Record::Closed { .. }
            | Record::Given { .. }
            | Record::Over { .. }
            | Record::HostFault { .. } => {}
            Record::Kept(kept) => {
                self.judge_result(kept.task, kept.attempt, kept.summary);
                self.tasks.get_mut(&kept.task).expect("only tasks are kept").is_kept = true;
            }
            Record::AttemptFailed { task, attempt, reason, .. } => self.judge_failure(*task, *attempt, reason),
            Record::Ended { end, summary } => {
                assert!(end.is_noted(), "{} has an entry of its own", end.task);
                self.judge_end(end, *summary);
            }
        }
    }

    fn judge_end(&mut self, end: &TaskEnd, summary: Option<ResultSummary>) {
        let task = end.task;
        let reached = match end.state {
            Lifecycle::Completed => {
                let attempt = end.attempt.unwrap_or_else(|| panic!("{task} is completed by no attempt"));
                let summary = summary.unwrap_or_else(|| panic!("{task} is completed without a result"));
                self.judge_result(task, attempt, summary);
                let commit = self.jobs[task.job.0 as usize].commits.then_some(Commit::Done);
                assert_eq!(self.tasks[&task].commit, commit, "{task} is COMPLETED and its files aren't there");
                End::Completed
            }
            Lifecycle::Failed => {
                let known = &self.tasks[&task];
                let is_used_up = known.failures > self.jobs[task.job.0 as usize].retries;
                assert!(
                    is_used_up
                        || known.losses >= self.crash_limit
                        || self.is_for_nobody(task)
                        || known.commit == Some(Commit::Failed),
                    "{task} is FAILED after {} failures and {} losses: {:?}",
                    known.failures,
                    known.losses,
                    end.reason
                );
                End::Failed
            }
            Lifecycle::Cancelled => {
                self.given_up |= self.is_hopeless();
                let is_stopped = self.cancelled || self.given_up || self.is_halted;
                assert!(is_stopped || self.is_doomed(task), "{task} is CANCELLED and nobody cancelled");
                End::Cancelled
            }
            other => panic!("{task} is recorded to have ended as {other:?}"),
        };
        self.end(task, reached);
    }

    fn judge_result(&self, task: TaskId, attempt: AttemptId, ResultSummary { bytes, crc, .. }: ResultSummary) {
        let kept = self.spool.kept(task).unwrap_or_else(|| panic!("{task} is recorded before it is kept"));
        assert_eq!((bytes, crc), (kept.len() as u64, tasks::checksum(kept)), "{task}'s record");
        assert_eq!(self.attempts[&attempt].task, task, "{task} is completed by another's attempt");
    }

    fn judge_failure(&mut self, task: TaskId, attempt: AttemptId, reason: &str) {
        let tried = &self.attempts[&attempt];
        let host = self.workers[&tried.worker].host;
        if reason.starts_with(tasks::SETUP) {
            assert!(self.manners.fails_setup(task.job, host.0), "{host:?} has no reason to fail that setup");
            self.setups.insert((task.job, host));
            return;
        }
        if reason.starts_with(tasks::LACKS) {
            assert!(self.manners.lacks(task, host.0), "{host:?} lacks nothing that {task} needs");
            self.tasks.get_mut(&task).expect("only tasks fail").lacks.insert(host);
            return;
        }
        let has_reason = matches!(self.manners.of(task).quirk, Quirk::Fails | Quirk::Panics | Quirk::Damaged);
        let has_lied = self.workers[&tried.worker].has_lied;
        assert!(has_reason || has_lied, "{attempt} of {task} has no reason to fail: {reason}");
        assert!(!tried.is_open, "{attempt} has failed and may still run");
        self.tasks.get_mut(&task).expect("only tasks fail").failures += 1;
    }

    fn end(&mut self, task: TaskId, end: End) {
        let before = self.tasks.get_mut(&task).expect("only tasks end").end.replace(end);
        assert_eq!(before, None, "{task} ends twice");
        self.is_halted |= self.must_halt();
    }

    fn judge_verdict(&mut self, verdict: Verdict) {
        let count = |end| self.tasks.values().filter(|known| known.end == Some(end)).count() as u64;
        let counts = (count(End::Completed), count(End::Failed), count(End::Cancelled));
        assert_eq!((verdict.completed, verdict.failed, verdict.cancelled), counts, "the verdict and the journal");
        for (task, known) in &self.tasks {
            assert!(known.end.is_some(), "{task} is forgotten");
            let told = if known.end == Some(End::Completed) { Told::Delivered } else { Told::Missing };
            assert_eq!(known.told, Some(told), "what the sink was told of {task}");
        }
        match verdict.end {
            manager::End::Done => {
                let doomed = self.tasks.iter().filter(|(task, _)| self.is_doomed(**task)).count() as u64;
                assert!(!self.cancelled && counts.2 <= doomed, "Done after a cancel");
            }
            manager::End::Halted(_) => assert!(self.is_halted && !self.cancelled, "nothing halted"),
            manager::End::Cancelled => assert!(self.cancelled, "nobody cancelled"),
            manager::End::NoWorkers => {
                assert!(self.given_up || self.is_hopeless(), "given up though somebody could go on");
            }
        }
        self.verdict = Some(verdict);
    }

    /// Parts are of attempts that may still be sent, by those who hold them; a stranger's go with its session.
    fn check_spool(&self) {
        for (attempt, owner) in self.spool.parts() {
            let is_odd = self.workers[&owner].has_lied || self.attempts[&attempt].worker != owner;
            let is_wanted = is_odd || self.attempts[&attempt].is_open;
            assert!(self.verdict.is_some() || is_wanted, "what is there of {attempt} was forgotten");
        }
    }
}
