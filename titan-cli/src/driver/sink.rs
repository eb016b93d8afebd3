//! The thread that writes outputs: told which results are there, it reads them from the spool and feeds the kernel's sink.

use std::io;
use std::sync::mpsc;
use std::thread;

use kernels::{Sink, SinkReport};
use tokio::sync::oneshot;

use super::spool::Reader;

/// What the thread is told.
enum Announcement {
    Completed(u32),
    Missing(u32),
    Finish,
}

/// The running thread.
pub(crate) struct SinkThread {
    announcements: mpsc::Sender<Announcement>,
    end: oneshot::Receiver<io::Result<SinkReport>>,
}

impl SinkThread {
    /// Starts it.
    pub(crate) fn start(sink: Box<dyn Sink>, results: Reader) -> io::Result<Self> {
        let (announcements, announced) = mpsc::channel();
        let (report, end) = oneshot::channel();
        thread::Builder::new().name("sink".to_owned()).spawn(move || {
            let _ = report.send(write(sink, &results, &announced));
        })?;
        Ok(Self { announcements, end })
    }

    /// This task's result is in the spool.
    pub(crate) fn completed(&self, task: u32) {
        self.announce(Announcement::Completed(task));
    }

    /// This task will have none.
    pub(crate) fn missing(&self, task: u32) {
        self.announce(Announcement::Missing(task));
    }

    fn announce(&self, announcement: Announcement) {
        // It fails only if the thread has failed, and `ended` tells that.
        let _ = self.announcements.send(announcement);
    }

    /// Every task was announced: the outputs are to be ended.
    pub(crate) fn finish(&self) {
        self.announce(Announcement::Finish);
    }

    /// What came of it: comes early if an output can't be written.
    pub(crate) async fn ended(&mut self) -> io::Result<SinkReport> {
        (&mut self.end).await.expect("the thread tells its end unless it panics, and that is a bug of titan")
    }
}

fn write(
    mut sink: Box<dyn Sink>,
    results: &Reader,
    announced: &mpsc::Receiver<Announcement>,
) -> io::Result<SinkReport> {
    while let Ok(announcement) = announced.recv() {
        match announcement {
            Announcement::Completed(task) => sink.completed(task, results)?,
            Announcement::Missing(task) => sink.missing(task, results)?,
            Announcement::Finish => return sink.finish(),
        }
    }
    Err(io::Error::other("the batch was given up"))
}
