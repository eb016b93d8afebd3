//! Attempts that are to begin: some only when the manager has been told.

use std::collections::VecDeque;

use titan_proto::id::{AttemptId, TaskId};
use titan_proto::message::Part;

use crate::files::Staged;

/// An attempt that is to begin.
pub(super) struct Start {
    pub(super) attempt: AttemptId,
    pub(super) task: TaskId,
    pub(super) tried: u32,
    pub(super) part: Part,
    /// The files that it was given.
    pub(super) staged: Staged,
    /// It waits for its slot, which is heard of when it has it.
    pub(super) waits: bool,
}

impl Start {
    /// Whether it may be this agent's end: then the manager has to know before that it has begun, to count the loss. A command is a
    /// process of its own; of one that was tried before that is no comfort.
    fn may_take_agent_down(&self) -> bool {
        !self.is_command() || self.tried > 1
    }

    pub(super) fn is_command(&self) -> bool {
        matches!(self.part, Part::Command(_))
    }
}

/// All of them, in order.
#[derive(Default)]
pub(super) struct Starts {
    /// Those whose announcement hasn't left yet; the first `leaving` of them are in the write under way.
    unannounced: VecDeque<Start>,
    leaving: usize,
    /// Those that begin now.
    ready: VecDeque<Start>,
}

impl Starts {
    /// One more.
    pub(super) fn add(&mut self, start: Start) {
        let queue = if start.may_take_agent_down() { &mut self.unannounced } else { &mut self.ready };
        queue.push_back(start);
    }

    /// Whether one waits until the manager has been told.
    pub(super) fn has_unannounced(&self) -> bool {
        !self.unannounced.is_empty()
    }

    /// All of their announcements are being written.
    pub(super) fn leave(&mut self) {
        self.leaving = self.unannounced.len();
    }

    /// It has been written.
    pub(super) fn have_left(&mut self) {
        self.ready.extend(self.unannounced.drain(..std::mem::take(&mut self.leaving)));
    }

    /// The next that begins.
    pub(super) fn next(&mut self) -> Option<Start> {
        self.ready.pop_front()
    }

    /// Whether that is a command that hasn't begun; it never will.
    pub(super) fn withdraw(&mut self, attempt: AttemptId) -> bool {
        let is_it = |start: &Start| start.attempt == attempt && start.is_command();
        if let Some(place) = self.ready.iter().position(is_it) {
            self.ready.remove(place);
            return true;
        }
        let Some(place) = self.unannounced.iter().position(is_it) else { return false };
        self.unannounced.remove(place);
        self.leaving -= usize::from(place < self.leaving);
        true
    }
}

#[cfg(test)]
mod tests {
    use titan_proto::command::CommandTask;
    use titan_proto::id::{Epoch, JobId};

    use super::*;

    fn start(number: u32, tried: u32, is_command: bool) -> Start {
        let (attempt, task) = (AttemptId { epoch: Epoch(1), number }, TaskId { job: JobId(0), index: number });
        let command = || CommandTask {
            words: Vec::new(),
            number: number.into(),
            env: Vec::new(),
            folder: None,
            stdin: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        let part = if is_command { Part::Command(Box::new(command())) } else { Part::OfJob };
        Start { attempt, task, tried, part, staged: Staged::default(), waits: false }
    }

    fn begun(starts: &mut Starts) -> Vec<u32> {
        std::iter::from_fn(|| starts.next()).map(|start| start.attempt.number).collect()
    }

    #[test]
    fn what_may_take_the_agent_down_begins_when_the_manager_knows() {
        let mut starts = Starts::default();
        for start in [start(1, 1, true), start(2, 2, true), start(3, 1, false)] {
            starts.add(start);
        }
        assert_eq!(begun(&mut starts), [1]);
        starts.leave();
        starts.add(start(4, 1, false));
        starts.have_left();
        assert_eq!(begun(&mut starts), [2, 3]);
        assert!(starts.has_unannounced());
    }

    #[test]
    fn a_command_that_has_not_begun_is_withdrawn_wherever_it_waits() {
        let mut starts = Starts::default();
        for start in [start(1, 1, true), start(2, 2, true), start(3, 2, true), start(4, 1, false)] {
            starts.add(start);
        }
        starts.leave();
        let mut withdrawn = |number| starts.withdraw(AttemptId { epoch: Epoch(1), number });
        assert_eq!([1, 2, 4, 5].map(&mut withdrawn), [true, true, false, false]);
        starts.have_left();
        assert_eq!(begun(&mut starts), [3, 4]);
    }
}
