//! Threads for attempts: as many as there are slots, each runs one attempt at a time and then the next that waits. To make a thread
//! takes longer than all else that the agent does for a short task, and to be given the next one by another thread half as long.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use titan_proto::id::AttemptId;

use crate::machine;

/// A thread that may begin nothing looks again after this.
const LOOK_SPAN: Duration = Duration::from_millis(100);

/// What a thread does for an attempt.
type Work = Box<dyn FnOnce(&Turn<'_>) + Send>;

/// One attempt, as its thread has it.
pub(crate) struct Turn<'a> {
    /// The number of its slot, from 1: no two that work at once have the same.
    pub(crate) slot: u32,
    shared: &'a Shared,
    ends_thread: Cell<bool>,
}

/// The threads. Those that wait end when this is dropped.
pub(crate) struct Crew {
    shared: Arc<Shared>,
}

/// The crew, for threads that look whether more waits for them.
#[derive(Clone)]
pub(crate) struct Backlog(Arc<Shared>);

struct Shared {
    /// What the threads are called.
    name: fn(u32) -> String,
    stack_bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// What no thread has begun, in order.
    given: VecDeque<(AttemptId, Work)>,
    /// Threads that wait, woken ones that haven't taken anything yet included.
    waiting: usize,
    /// The numbers of all threads, from 1.
    numbers: BTreeSet<u32>,
    max_threads: usize,
    /// Nothing begins from then on, by the time since the machine's boot; None: no such time.
    until: Option<Duration>,
    is_over: bool,
}

impl Crew {
    /// A crew of at most so many threads with such names and stacks; none of them is there yet.
    pub(crate) fn new(max_threads: u32, name: fn(u32) -> String, stack_bytes: usize) -> Self {
        let state = State {
            given: VecDeque::new(),
            waiting: 0,
            numbers: BTreeSet::new(),
            max_threads: max_threads as usize,
            until: None,
            is_over: false,
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Self { shared: Arc::new(Shared { name, stack_bytes, state, changed }) }
    }

    /// Has a thread do that: the next that is free, if it may wait for one.
    ///
    /// # Errors
    /// No thread can be made for it.
    pub(crate) fn give(
        &self,
        attempt: AttemptId,
        may_wait: bool,
        work: impl FnOnce(&Turn<'_>) + Send + 'static,
    ) -> io::Result<()> {
        self.give_quietly(attempt, may_wait, work)?;
        self.shared.changed.notify_one();
        Ok(())
    }

    /// The same of one of many, of which threads that wait hear when [`Crew::rouse`] is called.
    ///
    /// # Errors
    /// No thread can be made for it.
    pub(crate) fn give_quietly(
        &self,
        attempt: AttemptId,
        may_wait: bool,
        work: impl FnOnce(&Turn<'_>) + Send + 'static,
    ) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.given.push_back((attempt, Box::new(work)));
        if state.waiting >= state.given.len() {
            return Ok(());
        }
        match self.shared.add_thread(&mut state) {
            // What may wait is taken by those that are there.
            Err(error) if !may_wait || state.numbers.is_empty() => {
                state.given.pop_back();
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Threads that wait look for what was given quietly.
    pub(crate) fn rouse(&self) {
        self.shared.changed.notify_all();
    }

    /// Whether that attempt hadn't begun; it never will.
    pub(crate) fn withdraw(&self, attempt: AttemptId) -> bool {
        let mut state = self.shared.lock();
        let place = state.given.iter().position(|(given, _)| *given == attempt);
        place.is_some_and(|place| state.given.remove(place).is_some())
    }

    /// What waits for a thread that has ended gets another one, if that can be made now.
    pub(crate) fn replace_ended(&self) {
        let mut state = self.shared.lock();
        if state.given.len() > state.waiting {
            let _ = self.shared.add_thread(&mut state);
        }
    }

    /// There may be so many threads from now on: more are made when they are needed, and too many end when they are free.
    pub(crate) fn set_max_threads(&self, max_threads: u32) {
        self.shared.lock().max_threads = max_threads as usize;
        self.shared.changed.notify_all();
    }

    /// Nothing begins from then on, by the time since the machine's boot.
    pub(crate) fn set_until(&self, until: Option<Duration>) {
        self.shared.lock().until = until;
    }

    pub(crate) fn backlog(&self) -> Backlog {
        Backlog(Arc::clone(&self.shared))
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_over = true;
        let never_begun = std::mem::take(&mut state.given);
        drop(state);
        self.shared.changed.notify_all();
        drop(never_begun);
    }
}

impl Turn<'_> {
    /// The thread is marked by this attempt and ends with it: said before anybody hears of its end. Who hears makes another one, since
    /// a thread that this one makes would be marked too.
    pub(crate) fn end_thread(&self) {
        if !self.ends_thread.replace(true) {
            self.shared.lock().numbers.remove(&self.slot);
        }
    }
}

impl Backlog {
    /// Whether something waits for the next thread that is free.
    pub(crate) fn has_more(&self) -> bool {
        let state = self.0.lock();
        state.given.len() > state.waiting
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more thread, if there may be more.
    fn add_thread(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if state.numbers.len() >= state.max_threads {
            return Ok(());
        }
        let number = (1..).find(|number| !state.numbers.contains(number)).expect("there are more numbers than slots");
        let shared = Arc::clone(self);
        let body = move || shared.work(number);
        thread::Builder::new().name((self.name)(number)).stack_size(self.stack_bytes).spawn(body)?;
        state.numbers.insert(number);
        Ok(())
    }

    /// The life of a thread.
    fn work(self: &Arc<Self>, number: u32) {
        while let Some(work) = self.next(number) {
            let turn = Turn { slot: number, shared: self, ends_thread: Cell::new(false) };
            work(&turn);
            if turn.ends_thread.get() {
                return;
            }
        }
        self.lock().numbers.remove(&number);
    }

    /// What this thread does next; None: nothing any more.
    fn next(&self, number: u32) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.is_over || number as usize > state.max_threads {
                return None;
            }
            let may_begin = state.until.is_none_or(|until| machine::since_boot() < until);
            if may_begin && let Some((_, work)) = state.given.pop_front() {
                return Some(work);
            }
            state.waiting += 1;
            state = match may_begin {
                true => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                false => self.changed.wait_timeout(state, LOOK_SPAN).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.waiting -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::ThreadId;

    use titan_proto::id::Epoch;

    use super::*;

    fn crew(max_threads: u32) -> Crew {
        Crew::new(max_threads, |number| format!("crew-{number}"), 64 << 10)
    }

    fn attempt(number: u32) -> AttemptId {
        AttemptId { epoch: Epoch(1), number }
    }

    /// The thread that did it, and its number.
    fn done_by(crew: &Crew, ends_thread: bool) -> (ThreadId, u32) {
        let (sender, receiver) = mpsc::channel();
        let work = move |turn: &Turn<'_>| {
            if ends_thread {
                turn.end_thread();
            }
            sender.send((thread::current().id(), turn.slot)).unwrap();
        };
        crew.give(attempt(1), true, work).unwrap();
        receiver.recv().unwrap()
    }

    /// Work that lasts until something is sent, or this end is dropped; and what tells the number that it got.
    fn lasting(crew: &Crew, number: u32) -> (mpsc::Sender<()>, mpsc::Receiver<u32>) {
        let (end, ended) = mpsc::channel::<()>();
        let (sender, receiver) = mpsc::channel();
        let work = move |turn: &Turn<'_>| {
            sender.send(turn.slot).unwrap();
            let _ = ended.recv();
        };
        crew.give(attempt(number), true, work).unwrap();
        (end, receiver)
    }

    #[test]
    fn a_thread_does_one_after_the_other_unless_it_may_not() {
        let crew = crew(1);
        let first = done_by(&crew, false);
        assert_eq!(done_by(&crew, true), first);
        let second = done_by(&crew, false);
        assert!(second.0 != first.0 && second.1 == 1, "{second:?}");
    }

    #[test]
    fn what_waited_for_a_thread_that_has_ended_gets_another_one() {
        let crew = crew(1);
        let (end, ended) = mpsc::channel::<()>();
        let (over, is_over) = mpsc::channel::<()>();
        let work = move |turn: &Turn<'_>| {
            let _ = ended.recv();
            turn.end_thread();
            drop(over);
        };
        crew.give(attempt(1), true, work).unwrap();
        let (_end, begun) = lasting(&crew, 2);
        drop(end);
        assert!(is_over.recv().is_err());
        crew.replace_ended();
        assert_eq!(begun.recv().unwrap(), 1);
    }

    #[test]
    fn those_that_run_at_once_have_threads_and_numbers_of_their_own_and_more_wait_for_them() {
        let crew = crew(2);
        let running = [1, 2].map(|number| lasting(&crew, number));
        let mut numbers = running.each_ref().map(|(_, begun)| begun.recv().unwrap());
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2]);
        let waiting = [3, 4].map(|number| lasting(&crew, number));
        assert!(crew.backlog().has_more());
        assert!(crew.withdraw(attempt(3)) && !crew.withdraw(attempt(3)) && !crew.withdraw(attempt(1)));
        drop(running);
        waiting[1].1.recv().unwrap();
        assert!(waiting[0].1.recv().is_err(), "it was withdrawn");
        assert!(!crew.backlog().has_more());
    }

    #[test]
    fn threads_beyond_the_most_end_when_they_are_free() {
        let crew = crew(2);
        let running = [1, 2].map(|number| lasting(&crew, number));
        running.iter().for_each(|(_, begun)| assert!(begun.recv().unwrap() > 0));
        crew.set_max_threads(1);
        drop(running);
        for _ in 0..10 {
            assert_eq!(done_by(&crew, false).1, 1);
        }
        crew.set_max_threads(2);
        let more = [3, 4].map(|number| lasting(&crew, number));
        more.iter().for_each(|(_, begun)| assert!(begun.recv().unwrap() > 0));
    }

    #[test]
    fn what_has_not_begun_never_does_when_the_crew_is_over() {
        let crew = crew(1);
        let (end, begun) = lasting(&crew, 1);
        begun.recv().unwrap();
        let (_end, never) = lasting(&crew, 2);
        drop(crew);
        drop(end);
        assert!(never.recv().is_err());
    }

    #[test]
    fn nothing_begins_too_late() {
        let crew = crew(1);
        let now = machine::since_boot();
        crew.set_until(Some(now));
        let (_end, begun) = lasting(&crew, 1);
        assert!(begun.recv_timeout(LOOK_SPAN * 2).is_err());
        crew.set_until(Some(now + Duration::from_secs(3_600)));
        begun.recv().unwrap();
    }
}
