//! Tasks that may not run twice and whose agent was lost: nobody gets them until the old attempt is known to be dead.

use std::collections::BTreeSet;
use std::time::Duration;

use titan_proto::id::TaskId;
use titan_proto::time::Timestamp;

use super::Manager;
use crate::effect::{Effect, Report};
use crate::event::{HostId, WorkerId};
use crate::task::TaskState;

/// What an agent has beyond its lease: it may have heard its manager a little after its manager heard it, it looks at its
/// clock now and then, and it ends what it runs within 10 s.
const BEYOND_LEASE: Duration = Duration::from_secs(10);

/// Nothing is said of what a resumed batch waits for that comes within that time.
const TOLD_AFTER: Duration = Duration::from_secs(10);

/// Whose end is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    /// An agent that was lost.
    Worker(WorkerId),
    /// Whatever agent an earlier manager had on that host.
    Past(HostId),
}

/// What waits for the end of a lost agent.
#[derive(Debug)]
pub(super) struct Hold {
    /// Where that agent was.
    host: HostId,
    pub(super) until: Timestamp,
    pub(super) tasks: BTreeSet<TaskId>,
    /// When it is told, if it hasn't been: at the beginning of another manager hosts are there a moment later.
    told_at: Option<Timestamp>,
}

impl Manager {
    /// Whether a task whose attempt was lost may still run there.
    pub(super) fn must_hold(&self, task: TaskId) -> bool {
        let state = self.task(task).state;
        let runs_nowhere = !state.is_over() && state.live().all(|attempt| self.attempts[&attempt].has_ended);
        runs_nowhere && !self.may_run_twice(task) && !self.is_stopping()
    }

    /// Keeps tasks back until the lost agent's lease is over. What was only SCHEDULED may have begun unheard.
    pub(super) fn hold(
        &mut self,
        now: Timestamp,
        (holder, host): (Holder, HostId),
        tasks: BTreeSet<TaskId>,
        effects: &mut Vec<Effect>,
    ) {
        if tasks.is_empty() {
            return;
        }
        let span = self.config.lease + BEYOND_LEASE;
        let told_at = match holder {
            Holder::Worker(_) => {
                effects.push(Effect::Report(Report::Held { host, tasks: tasks.len() as u32, span }));
                None
            }
            Holder::Past(_) => Some(now + TOLD_AFTER),
        };
        let hold = self.held.entry(holder);
        let hold = hold.or_insert_with(|| Hold { host, until: now + span, tasks: BTreeSet::new(), told_at });
        hold.until = hold.until.max(now + span);
        hold.tasks.extend(tasks);
    }

    /// Called now and then: tells of what is still waited for.
    pub(super) fn tell_holds(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        for hold in self.held.values_mut().filter(|hold| hold.told_at.is_some_and(|at| at <= now)) {
            hold.told_at = None;
            let (host, tasks, span) = (hold.host, hold.tasks.len() as u32, hold.until.since(now));
            effects.push(Effect::Report(Report::Held { host, tasks, span }));
        }
    }

    pub(super) fn release_due(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let due = |hold: &Hold| hold.until <= now;
        let holders: Vec<Holder> = self.held.iter().filter(|(_, hold)| due(hold)).map(|(&id, _)| id).collect();
        for holder in holders {
            self.release_held(holder, effects);
        }
    }

    /// A lost agent's attempts can't run any more.
    pub(super) fn release_held(&mut self, holder: Holder, effects: &mut Vec<Effect>) {
        let Some(hold) = self.held.remove(&holder) else { return };
        let pending = |task: &TaskId| self.task(*task).state == TaskState::Pending;
        for task in hold.tasks.into_iter().filter(pending).collect::<Vec<_>>() {
            match self.may_begin(task) {
                // It may run elsewhere too.
                true if !self.is_held(task) => self.queue.give_back(task),
                true => {}
                // What an earlier manager had started may wait for something that is tried again, or can't be any more.
                false => self.look_at_task(task, effects),
            }
        }
        self.recheck = true;
    }

    /// What ran on a host before has ended.
    pub(super) fn release_host(&mut self, host: HostId, effects: &mut Vec<Effect>) {
        let of_host = |hold: &Hold| hold.host == host;
        let holders: Vec<Holder> = self.held.iter().filter(|(_, hold)| of_host(hold)).map(|(&id, _)| id).collect();
        holders.into_iter().for_each(|holder| self.release_held(holder, effects));
        self.past_given.retain(|_, given| *given != host);
        self.past_places.remove(&host);
    }

    /// A task needn't wait for the end of an agent: it goes on there.
    pub(super) fn release_from_holds(&mut self, task: TaskId) {
        self.held.values_mut().for_each(|hold| hold.tasks.retain(|held| *held != task));
        self.held.retain(|_, hold| !hold.tasks.is_empty());
        self.past_given.remove(&task);
    }

    /// Whether a task waits for the end of an agent.
    pub(super) fn is_held(&self, task: TaskId) -> bool {
        self.held.values().any(|hold| hold.tasks.contains(&task))
    }
}
