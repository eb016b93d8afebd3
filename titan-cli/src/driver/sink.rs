//! The thread that puts results where they go: told which tasks have ended, it hands each to its job's sink, which reads
//! what the task made from the spool.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use kernels::SinkReport;
use titan_manager::{Lifecycle, TaskEnd};
use titan_proto::id::{AttemptId, TaskId};
use tokio::sync::{oneshot, watch};

use super::spool::{Reader, Spool};

/// Who looks at what attempts write looks this often.
const LOOK_SPAN: Duration = Duration::from_millis(100);

/// Where the results of one job go.
pub(crate) trait JobSink: Send {
    /// A task has come to its end.
    ///
    /// # Errors
    /// What is to be written can't be: the batch ends.
    fn ended(&mut self, end: TaskEnd) -> io::Result<()>;

    /// An attempt at a task begins. Only for those who look.
    fn begun(&mut self, _attempt: AttemptId, _task: TaskId) {}

    /// An attempt counts for nothing, and what it wrote goes after this. Only for those who look.
    ///
    /// # Errors
    /// What is to be written can't be.
    fn discarded(&mut self, _attempt: AttemptId) -> io::Result<()> {
        Ok(())
    }

    /// Whether it wants to look at what attempts write while they write it.
    fn looks(&self) -> bool {
        false
    }

    /// Looks.
    ///
    /// # Errors
    /// What is to be written can't be.
    fn look(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Nothing more comes. `complete`: every task was told; otherwise the batch was given up before.
    ///
    /// # Errors
    /// What is to be written can't be.
    fn finish(&mut self, complete: bool) -> io::Result<Option<SinkReport>>;
}

/// What the thread is told.
enum Announcement {
    Begun(AttemptId, TaskId),
    Discarded(AttemptId),
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
    /// Whether a sink looks at what attempts write.
    looks: bool,
    end: oneshot::Receiver<io::Result<Vec<SinkReport>>>,
}

impl SinkThread {
    /// Starts it with a sink for each job, in the jobs' order.
    pub(crate) fn start(sinks: Vec<Box<dyn JobSink>>, spool: Spool) -> io::Result<Self> {
        let (announcements, announced) = mpsc::channel();
        let (report, end) = oneshot::channel();
        let (told, done) = watch::channel(0);
        let looks = sinks.iter().any(|sink| sink.looks());
        thread::Builder::new().name("sink".to_owned()).spawn(move || {
            let _ = report.send(write(sinks, &spool, &announced, &told));
        })?;
        Ok(Self { announcements, announced: 0, done, looks, end })
    }

    /// An attempt at a task begins.
    pub(crate) fn begun(&self, attempt: AttemptId, task: TaskId) {
        if self.looks {
            self.announce(Announcement::Begun(attempt, task));
        }
    }

    /// What an attempt wrote is to go; those who look at it see it first.
    pub(crate) fn discard(&self, attempt: AttemptId, spool: &Spool) {
        match self.looks {
            true => self.announce(Announcement::Discarded(attempt)),
            false => spool.discard(attempt),
        }
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
    spool: &Spool,
    announced: &mpsc::Receiver<Announcement>,
    done: &watch::Sender<u64>,
) -> io::Result<Vec<SinkReport>> {
    let looks = sinks.iter().any(|sink| sink.looks());
    let mut next_look = Instant::now() + LOOK_SPAN;
    loop {
        if looks && Instant::now() >= next_look {
            sinks.iter_mut().try_for_each(|sink| sink.look())?;
            next_look = Instant::now() + LOOK_SPAN;
        }
        let span = if looks { next_look.saturating_duration_since(Instant::now()) } else { Duration::MAX };
        let announcement = match announced.recv_timeout(span) {
            Ok(announcement) => announcement,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("the batch was given up")),
        };
        match announcement {
            Announcement::Begun(attempt, task) => sinks[task.job.0 as usize].begun(attempt, task),
            Announcement::Discarded(attempt) => {
                sinks.iter_mut().try_for_each(|sink| sink.discarded(attempt))?;
                spool.discard(attempt);
            }
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
