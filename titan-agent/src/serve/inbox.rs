//! What waits for the deciding thread: in order, and no more than so much of it. What can wait a moment doesn't wake that thread by
//! itself, since to be woken takes longer than to decide.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The end that takes. When it is dropped, nothing can be put in any more.
pub(super) struct Inbox<T>(Arc<Shared<T>>);

/// An end that puts in.
pub(super) struct Poster<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    /// For who takes.
    arrived: Condvar,
    /// For who waits for room.
    taken: Condvar,
    most: usize,
}

struct State<T> {
    items: VecDeque<T>,
    /// Something among them can't wait.
    is_urgent: bool,
    /// Who takes is asleep.
    is_awaited: bool,
    /// How many wait for room.
    blocked: usize,
    is_closed: bool,
}

impl<T> Inbox<T> {
    /// For at most so many.
    pub(super) fn new(most: usize) -> Self {
        let state = State { items: VecDeque::new(), is_urgent: false, is_awaited: false, blocked: 0, is_closed: false };
        Self(Arc::new(Shared { state: Mutex::new(state), arrived: Condvar::new(), taken: Condvar::new(), most }))
    }

    pub(super) fn poster(&self) -> Poster<T> {
        Poster(Arc::clone(&self.0))
    }

    /// All that is there, after waiting that long at most; for what can wait, so long as `gathering` says.
    pub(super) fn take(&self, patience: Duration, gathering: Duration) -> VecDeque<T> {
        let mut state = self.0.lock();
        let first = gathering.min(patience);
        if !first.is_zero() {
            state = self.0.sleep(state, first, |state| !state.is_urgent && state.items.len() < self.0.most / 2);
        }
        if state.items.is_empty() {
            // From here on nothing can wait.
            state.is_urgent = true;
            state = self.0.sleep(state, patience - first, |state| state.items.is_empty());
        }
        state.is_urgent = false;
        if state.blocked > 0 {
            self.0.taken.notify_all();
        }
        std::mem::take(&mut state.items)
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.taken.notify_all();
    }
}

impl<T> Clone for Poster<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Poster<T> {
    /// Puts something in, when there is room; false: nobody takes it any more.
    pub(super) fn post(&self, item: T) -> bool {
        self.put(item, true)
    }

    /// The same of what can wait a moment.
    pub(super) fn post_quietly(&self, item: T) -> bool {
        self.put(item, false)
    }

    fn put(&self, item: T, is_urgent: bool) -> bool {
        let mut state = self.0.lock();
        while state.items.len() >= self.0.most && !state.is_closed {
            state.blocked += 1;
            state = self.0.taken.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.blocked -= 1;
        }
        if state.is_closed {
            return false;
        }
        state.items.push_back(item);
        state.is_urgent |= is_urgent;
        let wakes = state.is_awaited && (state.is_urgent || state.items.len() >= self.0.most / 2);
        if wakes {
            // Once is enough.
            state.is_awaited = false;
            self.0.arrived.notify_one();
        }
        true
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep<'s>(
        &self,
        mut state: MutexGuard<'s, State<T>>,
        span: Duration,
        goes_on: impl Fn(&State<T>) -> bool,
    ) -> MutexGuard<'s, State<T>> {
        let sleeps = |state: &mut State<T>| {
            state.is_awaited = goes_on(state);
            state.is_awaited
        };
        state = self.arrived.wait_timeout_while(state, span, sleeps).unwrap_or_else(PoisonError::into_inner).0;
        state.is_awaited = false;
        state
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const MOMENT: Duration = Duration::from_millis(30);

    #[test]
    fn what_can_wait_is_taken_after_a_moment() {
        let inbox = Inbox::new(100);
        let begun = Instant::now();
        assert!(inbox.poster().post_quietly(1) && inbox.poster().post_quietly(2));
        assert_eq!(inbox.take(LONG, MOMENT), [1, 2]);
        assert!(begun.elapsed() >= MOMENT);
    }

    #[test]
    fn what_can_not_wait_is_taken_at_once_and_after_all_before_it() {
        let inbox = Inbox::new(100);
        let poster = inbox.poster();
        let both = thread::spawn(move || poster.post_quietly(1) && poster.post(2));
        let mut taken = Vec::new();
        while taken.len() < 2 {
            taken.extend(inbox.take(LONG, LONG));
        }
        assert_eq!(taken, [1, 2]);
        assert!(both.join().unwrap());
    }

    #[test]
    fn nothing_waits_while_nothing_is_gathered() {
        let inbox = Inbox::new(100);
        let (poster, begun) = (inbox.poster(), Instant::now());
        let one = thread::spawn(move || {
            thread::sleep(MOMENT);
            poster.post_quietly(1)
        });
        assert_eq!(inbox.take(LONG, Duration::from_millis(1)), [1]);
        assert!(begun.elapsed() < LONG / 2);
        assert!(one.join().unwrap());
    }

    #[test]
    fn who_finds_it_full_waits_and_hears_of_its_end() {
        let inbox = Inbox::new(2);
        let poster = inbox.poster();
        let three = thread::spawn(move || (0..4).map(|number| poster.post(number)).collect::<Vec<_>>());
        let mut taken = 0;
        while taken < 2 {
            taken += inbox.take(LONG, Duration::ZERO).len();
        }
        drop(inbox);
        let posted = three.join().unwrap();
        assert!(posted[0] && posted[1], "{posted:?}");
    }
}
