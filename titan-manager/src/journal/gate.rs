//! What must be durable before it may be seen: effects wait, in order, until the records before them are on the disk. Starts of
//! attempts and words that only stop something go at once: nobody would miss them after a crash.

use std::collections::VecDeque;

use titan_proto::message::ToAgent;

use crate::effect::Effect;

/// Effects that wait. The driver and the simulator both put theirs through one.
#[derive(Debug, Default)]
pub struct Gate {
    /// Each with how far the journal has to be on the disk.
    waiting: VecDeque<(u64, Effect)>,
    durable: u64,
}

impl Gate {
    /// A gate for a journal that is on the disk up to there.
    pub fn new(durable: u64) -> Self {
        Self { waiting: VecDeque::new(), durable }
    }

    /// An effect after all that was written up to there: itself, if it may be carried out now.
    pub fn pass(&mut self, written: u64, effect: Effect) -> Option<Effect> {
        if is_urgent(&effect) || (self.waiting.is_empty() && written <= self.durable) {
            return Some(effect);
        }
        self.waiting.push_back((written, effect));
        None
    }

    /// The journal is on the disk up to there.
    pub fn note_durable(&mut self, written: u64) {
        self.durable = self.durable.max(written);
    }

    /// The next effect that has waited long enough.
    pub fn next_due(&mut self) -> Option<Effect> {
        let is_due = self.waiting.front().is_some_and(|(written, _)| *written <= self.durable);
        if is_due { self.waiting.pop_front().map(|(_, effect)| effect) } else { None }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

fn is_urgent(effect: &Effect) -> bool {
    match effect {
        // What is kept has to be there before the record that says so is synced.
        Effect::Keep { .. } | Effect::Record(_) | Effect::EndSession { .. } => true,
        Effect::Send { message, .. } => !matches!(message, ToAgent::Acknowledge { .. }),
        Effect::Discard { .. }
        | Effect::Commit { .. }
        | Effect::Deliver(_)
        | Effect::Report(_)
        | Effect::Finished(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use titan_proto::id::{AttemptId, Epoch, JobId, TaskId};

    use super::*;
    use crate::event::WorkerId;

    const ATTEMPT: AttemptId = AttemptId { epoch: Epoch(1), number: 1 };
    const TASK: TaskId = TaskId { job: JobId(0), index: 0 };

    fn send(message: ToAgent) -> Effect {
        Effect::Send { worker: WorkerId(1), message }
    }

    #[test]
    fn an_acknowledgement_waits_for_the_disk_and_a_start_does_not() {
        let mut gate = Gate::new(3);
        let acknowledge = || send(ToAgent::Acknowledge { attempt: ATTEMPT });
        assert_eq!(gate.pass(3, acknowledge()), Some(acknowledge()));
        assert_eq!(gate.pass(4, acknowledge()), None);
        let recall = || send(ToAgent::Recall { attempt: ATTEMPT });
        assert_eq!(gate.pass(4, recall()), Some(recall()));
        assert_eq!(gate.next_due(), None);
        gate.note_durable(4);
        assert_eq!(gate.next_due(), Some(acknowledge()));
        assert!(gate.is_empty());
    }

    #[test]
    fn what_waits_goes_in_order_even_when_what_follows_needs_nothing() {
        let mut gate = Gate::new(0);
        let (commit, discard) = (Effect::Commit { task: TASK }, Effect::Discard { attempt: ATTEMPT });
        assert_eq!(gate.pass(1, commit.clone()), None);
        assert_eq!(gate.pass(0, discard.clone()), None);
        gate.note_durable(1);
        assert_eq!([gate.next_due(), gate.next_due(), gate.next_due()], [Some(commit), Some(discard), None]);
    }
}
