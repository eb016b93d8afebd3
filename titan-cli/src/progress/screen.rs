//! The thread that writes to stderr. A terminal that is stopped (Ctrl-S) or a reader that doesn't read stops this thread
//! and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use titan_manager::Counts;

use super::tally::HostTally;

/// How long the end waits for what is still to be written.
const LAST_SPAN: Duration = Duration::from_secs(2);

/// A way of showing progress.
pub(super) trait Screen: Send {
    /// A line that stays.
    fn say(&mut self, line: &str);
    /// Time has passed.
    fn tick(&mut self, view: &View);
    /// The terminal has written ^C on its own.
    fn interrupted(&mut self) {}
    /// Runs something that writes to the terminal itself, with nothing of this screen in its way.
    fn beside(&mut self, write: &mut dyn FnMut()) {
        write();
    }
    /// The end: whatever isn't to stay goes.
    fn clear(&mut self) {}
}

/// What there is to see.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// Where the batch is, in a few words.
    pub(super) whereabouts: String,
    pub(super) counts: Counts,
    pub(super) hosts: Vec<HostTally>,
}

enum Frame {
    Say(String),
    Tick(View),
    Interrupted,
    Beside(Box<dyn FnMut() + Send>, Sender<()>),
    Clear(Sender<()>),
}

/// Lets others write to the terminal beside what is shown there.
#[derive(Clone)]
pub(crate) struct Stage {
    frames: Sender<Frame>,
}

impl Stage {
    /// One on which nothing is shown, nor written.
    #[cfg(test)]
    pub(crate) fn of_nothing() -> Self {
        Self { frames: mpsc::channel().0 }
    }

    /// Writes with nothing in the way, and waits until it is written.
    pub(crate) fn write<T: Send + 'static>(&self, write: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (result, written) = mpsc::channel();
        let mut write = Some(write);
        let once = move || {
            if let Some(write) = write.take() {
                let _ = result.send(write());
            }
        };
        let (done, is_done) = mpsc::channel();
        self.frames.send(Frame::Beside(Box::new(once), done)).ok()?;
        let _ = is_done.recv();
        written.recv().ok()
    }
}

/// The thread, as the others see it.
pub(super) struct ScreenThread {
    frames: Sender<Frame>,
    /// A view waits to be shown: another one isn't sent before.
    is_behind: Arc<AtomicBool>,
}

impl ScreenThread {
    /// Shows everything on that screen from now on.
    pub(super) fn start(screen: Box<dyn Screen>) -> Self {
        let (frames, received) = mpsc::channel();
        let is_behind = Arc::new(AtomicBool::new(false));
        let behind = Arc::clone(&is_behind);
        // Without the thread there is nothing to see, but the batch runs.
        let _ = thread::Builder::new().name("screen".to_owned()).spawn(move || show(screen, &received, &behind));
        Self { frames, is_behind }
    }

    pub(super) fn say(&self, line: &str) {
        let _ = self.frames.send(Frame::Say(line.to_owned()));
    }

    /// Shows a view, unless the last one is still to be shown.
    pub(super) fn tick(&self, view: impl FnOnce() -> View) {
        if !self.is_behind.swap(true, Ordering::Relaxed) {
            let _ = self.frames.send(Frame::Tick(view()));
        }
    }

    pub(super) fn stage(&self) -> Stage {
        Stage { frames: self.frames.clone() }
    }

    pub(super) fn interrupted(&self) {
        let _ = self.frames.send(Frame::Interrupted);
    }

    /// Waits until all is written and the screen is as it was. What is said afterwards stands below.
    pub(super) fn clear(&self) {
        let (done, cleared) = mpsc::channel();
        if self.frames.send(Frame::Clear(done)).is_ok() {
            let _ = cleared.recv_timeout(LAST_SPAN);
        }
    }
}

fn show(mut screen: Box<dyn Screen>, frames: &Receiver<Frame>, is_behind: &AtomicBool) {
    while let Ok(frame) = frames.recv() {
        match frame {
            Frame::Say(line) => screen.say(&line),
            Frame::Tick(view) => {
                screen.tick(&view);
                is_behind.store(false, Ordering::Relaxed);
            }
            Frame::Interrupted => screen.interrupted(),
            Frame::Beside(mut write, done) => {
                screen.beside(&mut *write);
                let _ = done.send(());
            }
            Frame::Clear(done) => {
                screen.clear();
                let _ = done.send(());
            }
        }
    }
}
