//! Threads for attempts: each runs one at a time and then another, since to make a thread takes longer than all else that the
//! agent does for a short task.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Stack of a thread: it reads two pipes.
const STACK_BYTES: usize = 256 << 10;

/// What a thread does for an attempt.
type Work = Box<dyn FnOnce(&Turn<'_>) + Send>;

/// The threads. Those that wait end when this is dropped.
#[derive(Default)]
pub(super) struct Crew {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Work that a thread which waits, or soon will, takes.
    given: VecDeque<Work>,
    /// Threads that nothing was given to.
    idle: usize,
    is_over: bool,
}

/// One attempt, as its thread has it.
pub(super) struct Turn<'a> {
    shared: &'a Shared,
    is_over: Cell<bool>,
}

impl Crew {
    /// Has a thread do that. Work that isn't [over](Turn::over) when it has been done ends its thread.
    ///
    /// # Errors
    /// None is idle, and none can be made.
    pub(super) fn run(&self, work: impl FnOnce(&Turn<'_>) + Send + 'static) -> io::Result<()> {
        let work: Work = Box::new(work);
        let mut state = self.shared.lock();
        if state.idle > 0 {
            state.idle -= 1;
            state.given.push_back(work);
            self.shared.changed.notify_one();
            return Ok(());
        }
        drop(state);
        let shared = Arc::clone(&self.shared);
        let body = move || {
            let mut next = Some(work);
            while let Some(work) = next {
                let turn = Turn { shared: &shared, is_over: Cell::new(false) };
                work(&turn);
                next = if turn.is_over.get() { shared.next() } else { None };
            }
        };
        thread::Builder::new().name("task".to_owned()).stack_size(STACK_BYTES).spawn(body).map(drop)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
    }
}

impl Turn<'_> {
    /// The thread may have another attempt: said before anybody is told that this one has ended.
    pub(super) fn over(&self) {
        if !self.is_over.replace(true) {
            self.shared.lock().idle += 1;
        }
    }
}

impl Shared {
    fn next(&self) -> Option<Work> {
        let waits = |state: &mut State| state.given.is_empty() && !state.is_over;
        let state = self.changed.wait_while(self.lock(), waits);
        state.unwrap_or_else(PoisonError::into_inner).given.pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::ThreadId;

    use super::*;

    /// The thread that did it.
    fn done_by(crew: &Crew, is_over: bool) -> ThreadId {
        let (sender, receiver) = mpsc::channel();
        let work = move |turn: &Turn<'_>| {
            if is_over {
                turn.over();
            }
            sender.send(thread::current().id()).unwrap();
        };
        crew.run(work).unwrap();
        receiver.recv().unwrap()
    }

    #[test]
    fn a_thread_does_one_after_the_other_unless_it_may_not() {
        let crew = Crew::default();
        let first = done_by(&crew, true);
        assert_eq!(done_by(&crew, true), first);
        assert_eq!(done_by(&crew, false), first);
        assert_ne!(done_by(&crew, true), first);
    }

    #[test]
    fn those_that_run_at_once_have_threads_of_their_own() {
        let crew = Crew::default();
        let (all, barrier) = (4, Arc::new(std::sync::Barrier::new(5)));
        for _ in 0..2 {
            for _ in 0..all {
                let barrier = Arc::clone(&barrier);
                crew.run(move |turn| {
                    barrier.wait();
                    turn.over();
                })
                .unwrap();
            }
            barrier.wait();
        }
    }
}
