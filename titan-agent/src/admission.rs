//! Whom an agent listens to: managers are told apart by their epoch, and of one manager the conversations.

use titan_proto::id::{Epoch, SessionId};

/// One conversation with one manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversation {
    /// Its name.
    pub session: SessionId,
    /// The manager's life.
    pub epoch: Epoch,
}

/// What comes of a manager's hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The first conversation.
    Begins,
    /// The same one over another connection.
    GoesOn,
    /// The batch's next manager: what runs may go on for it.
    TakesOver,
    /// The manager is of an earlier life: nobody listens to it.
    IsOver,
    /// Whoever manages now has given up the conversation that was, and all that it was about.
    Ends,
}

/// What comes of a hello for that conversation; `adopts`: whether its manager wants what still runs.
pub fn admit(current: Option<Conversation>, asked: Conversation, adopts: bool) -> Admission {
    match current {
        None => Admission::Begins,
        Some(current) if current == asked => Admission::GoesOn,
        Some(current) if asked.epoch < current.epoch => Admission::IsOver,
        Some(current) if asked.epoch > current.epoch && adopts => Admission::TakesOver,
        Some(_) => Admission::Ends,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_manager_takes_over_and_an_earlier_one_is_not_heard() {
        let conversation = |session, epoch| Conversation { session: SessionId(session), epoch: Epoch(epoch) };
        let current = Some(conversation(7, 3));
        for (asked, adopts, admission) in [
            (conversation(7, 3), false, Admission::GoesOn),
            (conversation(8, 3), true, Admission::Ends),
            (conversation(7, 2), true, Admission::IsOver),
            (conversation(8, 4), true, Admission::TakesOver),
            (conversation(8, 4), false, Admission::Ends),
        ] {
            assert_eq!(admit(current, asked, adopts), admission, "{asked:?}");
        }
        assert_eq!(admit(None, conversation(1, 1), true), Admission::Begins);
    }
}
