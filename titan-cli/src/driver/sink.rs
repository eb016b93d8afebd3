//! The thread that puts results where they go: told which tasks have run well and which have ended, it hands each to its
//! job's sink, which reads what the task made from the spool.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use kernels::SinkReport;
use titan_manager::{Lifecycle, TaskEnd};
use titan_proto::id::{AttemptId, TaskId};
use tokio::sync::mpsc as async_mpsc;

use crate::state::spool::{Reader, Spool};

/// Who looks at what attempts write looks this often.
const LOOK_SPAN: Duration = Duration::from_millis(100);

/// Where the results of one job go.
pub(crate) trait JobSink: Send {
    /// Puts the files that a task has left in their places. Only for jobs that commit; `ended` follows.
    ///
    /// # Errors
    /// They can't be written: that task fails, and the others go on.
    fn commit(&mut self, _task: TaskId) -> io::Result<()> {
        Ok(())
    }

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
    Commit(TaskId),
    Ended(TaskEnd),
    Finish { complete: bool },
}

/// What the thread tells.
#[derive(Debug)]
pub(crate) enum SinkNews {
    /// What came of a commit.
    Committed {
        task: TaskId,
        /// Why its files aren't in their places.
        problem: Option<String>,
    },
    /// Nothing more comes. An error comes early: nothing can be written any more.
    Ended(io::Result<Written>),
}

/// What the sinks have written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) reports: Vec<SinkReport>,
    /// The first file that couldn't be put in its place; its task has FAILED.
    pub(crate) unwritten: Option<io::Error>,
}

/// The running thread.
pub(crate) struct SinkThread {
    announcements: mpsc::Sender<Vec<Announcement>>,
    /// What is announced next, together: each time that the thread is woken costs more than what is said.
    outbox: Vec<Announcement>,
    news: async_mpsc::UnboundedReceiver<SinkNews>,
    /// Whether a sink looks at what attempts write.
    looks: bool,
}

impl SinkThread {
    /// Starts it with a sink for each job, in the jobs' order.
    pub(crate) fn start(sinks: Vec<Box<dyn JobSink>>, spool: Spool) -> io::Result<Self> {
        let (announcements, announced) = mpsc::channel();
        let (told, news) = async_mpsc::unbounded_channel();
        let looks = sinks.iter().any(|sink| sink.looks());
        thread::Builder::new().name("sink".to_owned()).spawn(move || {
            let end = write(sinks, &spool, &announced, &told);
            // It fails only if the batch was given up.
            let _ = told.send(SinkNews::Ended(end));
        })?;
        Ok(Self { announcements, outbox: Vec::new(), news, looks })
    }

    /// An attempt at a task begins.
    pub(crate) fn begun(&mut self, attempt: AttemptId, task: TaskId) {
        if self.looks {
            self.announce(Announcement::Begun(attempt, task));
        }
    }

    /// What an attempt wrote is to go; those who look at it see it first.
    pub(crate) fn discard(&mut self, attempt: AttemptId, spool: &Spool) {
        match self.looks {
            true => self.announce(Announcement::Discarded(attempt)),
            false => spool.discard(attempt),
        }
    }

    /// A task has run well: what it left is to be put in its places.
    pub(crate) fn commit(&mut self, task: TaskId) {
        self.announce(Announcement::Commit(task));
    }

    /// A task has come to its end; what it made is in the spool.
    pub(crate) fn ended_task(&mut self, end: TaskEnd) {
        self.announce(Announcement::Ended(end));
    }

    /// No more tasks are announced: the outputs are to be ended.
    pub(crate) fn finish(&mut self, complete: bool) {
        self.announce(Announcement::Finish { complete });
        self.send_out();
    }

    /// Soon; [`SinkThread::send_out`] says when.
    fn announce(&mut self, announcement: Announcement) {
        self.outbox.push(announcement);
    }

    /// Hands over what was announced.
    pub(crate) fn send_out(&mut self) {
        if !self.outbox.is_empty() {
            // It fails only if the thread has failed, and it has told that.
            let _ = self.announcements.send(std::mem::take(&mut self.outbox));
        }
    }

    /// The next that it tells, until its end.
    pub(crate) async fn next(&mut self) -> SinkNews {
        self.news.recv().await.expect("the thread tells its end unless it panics, and that is a bug of titan")
    }
}

fn write(
    mut sinks: Vec<Box<dyn JobSink>>,
    spool: &Spool,
    announced: &mpsc::Receiver<Vec<Announcement>>,
    told: &async_mpsc::UnboundedSender<SinkNews>,
) -> io::Result<Written> {
    let mut unwritten: Option<io::Error> = None;
    let looks = sinks.iter().any(|sink| sink.looks());
    let mut next_look = Instant::now() + LOOK_SPAN;
    loop {
        if looks && Instant::now() >= next_look {
            sinks.iter_mut().try_for_each(|sink| sink.look())?;
            next_look = Instant::now() + LOOK_SPAN;
        }
        let span = if looks { next_look.saturating_duration_since(Instant::now()) } else { Duration::MAX };
        let announcements = match announced.recv_timeout(span) {
            Ok(announcements) => announcements,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("the batch was given up")),
        };
        for announcement in announcements {
            match announcement {
                Announcement::Begun(attempt, task) => sinks[task.job.0 as usize].begun(attempt, task),
                Announcement::Discarded(attempt) => {
                    sinks.iter_mut().try_for_each(|sink| sink.discarded(attempt))?;
                    spool.discard(attempt);
                }
                Announcement::Commit(task) => {
                    let error = sinks[task.job.0 as usize].commit(task).err();
                    let problem = error.as_ref().map(|error| format!("cannot write its output {error}"));
                    unwritten = unwritten.or(error);
                    let _ = told.send(SinkNews::Committed { task, problem });
                }
                Announcement::Ended(end) => sinks[end.task.job.0 as usize].ended(end)?,
                Announcement::Finish { complete } => {
                    let reports: io::Result<Vec<_>> = sinks.iter_mut().map(|sink| sink.finish(complete)).collect();
                    return Ok(Written { reports: reports?.into_iter().flatten().collect(), unwritten });
                }
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
