//! The thread that puts results where they go: told which tasks have ended, it hands each to its job's sink, which reads
//! what the task made from the spool.

use std::io;
use std::sync::mpsc;
use std::thread;

use kernels::SinkReport;
use titan_manager::{Lifecycle, TaskEnd};
use tokio::sync::{oneshot, watch};

use super::spool::Reader;

/// Where the results of one job go.
pub(crate) trait JobSink: Send {
    /// A task has come to its end.
    ///
    /// # Errors
    /// What is to be written can't be: the batch ends.
    fn ended(&mut self, end: TaskEnd) -> io::Result<()>;

    /// Nothing more comes. `complete`: every task was told; otherwise the batch was given up before.
    ///
    /// # Errors
    /// What is to be written can't be.
    fn finish(&mut self, complete: bool) -> io::Result<Option<SinkReport>>;
}

/// What the thread is told.
enum Announcement {
    Ended(TaskEnd),
    Finish { complete: bool },
}

/// Tasks that were announced at some moment, and may not be where they go yet.
pub(crate) struct Barrier {
    announced: u64,
    done: watch::Receiver<u64>,
}

/// The running thread.
pub(crate) struct SinkThread {
    announcements: mpsc::Sender<Announcement>,
    /// Tasks that were announced, and of them those that were put where they go.
    announced: u64,
    done: watch::Receiver<u64>,
    end: oneshot::Receiver<io::Result<Vec<SinkReport>>>,
}

impl SinkThread {
    /// Starts it with a sink for each job, in the jobs' order.
    pub(crate) fn start(sinks: Vec<Box<dyn JobSink>>) -> io::Result<Self> {
        let (announcements, announced) = mpsc::channel();
        let (report, end) = oneshot::channel();
        let (told, done) = watch::channel(0);
        thread::Builder::new().name("sink".to_owned()).spawn(move || {
            let _ = report.send(write(sinks, &announced, &told));
        })?;
        Ok(Self { announcements, announced: 0, done, end })
    }

    /// A task has come to its end; what it made is in the spool.
    pub(crate) fn ended_task(&mut self, end: TaskEnd) {
        self.announced += 1;
        self.announce(Announcement::Ended(end));
    }

    /// What has been announced so far.
    pub(crate) fn barrier(&self) -> Barrier {
        Barrier { announced: self.announced, done: self.done.clone() }
    }

    /// No more tasks are announced: the outputs are to be ended.
    pub(crate) fn finish(&self, complete: bool) {
        self.announce(Announcement::Finish { complete });
    }

    fn announce(&self, announcement: Announcement) {
        // It fails only if the thread has failed, and `ended` tells that.
        let _ = self.announcements.send(announcement);
    }

    /// What came of it: comes early if an output can't be written.
    pub(crate) async fn ended(&mut self) -> io::Result<Vec<SinkReport>> {
        (&mut self.end).await.expect("the thread tells its end unless it panics, and that is a bug of titan")
    }
}

impl Barrier {
    /// Waits until all of it is where it goes, or never will be.
    pub(crate) async fn wait(mut self) {
        let _ = self.done.wait_for(|done| *done >= self.announced).await;
    }
}

fn write(
    mut sinks: Vec<Box<dyn JobSink>>,
    announced: &mpsc::Receiver<Announcement>,
    done: &watch::Sender<u64>,
) -> io::Result<Vec<SinkReport>> {
    while let Ok(announcement) = announced.recv() {
        match announcement {
            Announcement::Ended(end) => {
                sinks[end.task.job.0 as usize].ended(end)?;
                done.send_modify(|done| *done += 1);
            }
            Announcement::Finish { complete } => {
                let reports: io::Result<Vec<_>> = sinks.iter_mut().map(|sink| sink.finish(complete)).collect();
                return Ok(reports?.into_iter().flatten().collect());
            }
        }
    }
    Err(io::Error::other("the batch was given up"))
}

/// A kernel's own sink.
pub(crate) struct KernelSink {
    pub(crate) sink: Option<Box<dyn kernels::Sink>>,
    pub(crate) results: Reader,
}

impl JobSink for KernelSink {
    fn ended(&mut self, end: TaskEnd) -> io::Result<()> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        match end.state {
            Lifecycle::Completed => sink.completed(end.task.index, &self.results),
            _ => sink.missing(end.task.index, &self.results),
        }
    }

    fn finish(&mut self, complete: bool) -> io::Result<Option<SinkReport>> {
        match self.sink.take() {
            Some(sink) if complete => sink.finish().map(Some),
            _ => Ok(None),
        }
    }
}
