//! Where the output of tasks goes: to stdout and stderr when a task has ended, whole and never mixed with another's; in
//! order if asked; as JSON; into a folder; into a log. What waits, waits in the spool.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kernels::SinkReport;
use titan_manager::journal::{Entry, Past, PlacedContent, PlacedFile};
use titan_manager::{Lifecycle, TaskEnd};
use titan_proto::capture::{Channel, Splitter};
use titan_proto::id::{AttemptId, JobId, TaskId};

use super::Book;
use super::failures::Examples;
use super::joblog::JobLog;
use super::kept::Kept;
use super::live::Live;
use super::record::{TaskRecord, tag};
use super::results::ResultsFolder;
use super::streams::Streams;
use super::tagged::Tagged;
use crate::driver::sink::JobSink;
use crate::files::commit::{self, Committer, Placed};
use crate::files::reuse::Reuse;
use crate::files::{Committed, Output};
use crate::progress::Stage;
use crate::state::dir::BatchDir;
use crate::state::journal::Journal;
use crate::state::now_ms;
use crate::state::spool::Spool;

/// Bytes read from the spool at once.
const READ_BYTES: usize = 64 << 10;

/// What is done with what tasks write.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manners {
    /// In the order of the tasks, not of their ends.
    pub(crate) keeps_order: bool,
    /// Each line after the task's values and a TAB.
    pub(crate) tags: bool,
    /// Nothing is printed.
    pub(crate) is_mute: bool,
    /// Each task is an object.
    pub(crate) json: bool,
    /// Lines are printed as they come, of every attempt.
    pub(crate) is_live: bool,
}

/// What the sinks of all jobs of a batch of commands have in common.
pub(crate) struct Outlet<'a> {
    /// The names of the batch's hosts.
    pub(crate) hosts: &'a [String],
    pub(crate) directory: &'a BatchDir,
    /// What earlier titans have come to.
    pub(crate) past: &'a Past,
    /// The folder that outputs are relative to.
    pub(crate) root: PathBuf,
    pub(crate) stage: Stage,
    pub(crate) manners: Manners,
    /// What needn't be made again.
    pub(crate) reuse: Reuse,
    /// Outputs that are in place, noted for other jobs and the summary.
    pub(crate) committed: Committed,
    /// Of failures, for the summary.
    pub(crate) examples: Examples,
}

/// The sink of a command's job.
pub(crate) struct Printer {
    manners: Manners,
    batch: String,
    hosts: Vec<String>,
    book: Arc<dyn Book>,
    spool: Spool,
    results: Option<ResultsFolder>,
    joblog: Option<JobLog>,
    streams: Streams,
    committer: Committer,
    committed: Committed,
    /// Tasks that have run well, of which it hasn't been told how they ended: their files that are in place.
    in_place: BTreeMap<u32, Vec<PathBuf>>,
    examples: Examples,
    live: Live,
    /// Ended, and to be told after others: what else there is to know of them is asked for then.
    held: BTreeMap<u32, Ended>,
    /// The next one in order.
    next: u32,
    /// Those that an earlier titan has told of.
    told_before: BTreeSet<u32>,
    journal: Journal,
    /// Tasks that are told of, and when that is on the disk: their results go then.
    removable: VecDeque<Removable>,
    kept: Kept,
    reuse: Reuse,
}

/// A task that has come to its end.
struct Ended {
    end: TaskEnd,
    /// By this machine's clock, since 1970.
    at: Duration,
}

/// A task of which all is told.
struct Removable {
    /// What has to be on the disk before its result goes.
    noted: u64,
    task: TaskId,
    has_files: bool,
}

impl Outlet<'_> {
    /// What is in place already, for other jobs and the summary.
    pub(crate) fn committed_before(past: &Past) -> Committed {
        let committed = Committed::default();
        for (task, files) in past.placed() {
            files.iter().for_each(|file| committed.add(task.job, &Placed::of_journal(file)));
        }
        committed
    }

    /// The sink of the job of that number.
    pub(crate) fn printer(&self, number: usize, book: Arc<dyn Book>) -> io::Result<Printer> {
        let batch = self.directory.id().to_string();
        let job = JobId(number as u32);
        let placed = self.past.placed().filter(|(task, _)| task.job == job);
        let files = |files: &[PlacedFile]| named_files(files.iter().map(Placed::of_journal));
        let (told_before, spool) = (self.past.told(job), self.directory.spool());
        let mut kept = Kept::new(self.directory.path())?;
        // The titan that told of them ended before it could do that.
        let left = if told_before.is_empty() { Vec::new() } else { spool.results() };
        for task in left.into_iter().filter(|task| task.job == job && told_before.contains(&task.index)) {
            kept.retire(&spool, task, true);
        }
        Ok(Printer {
            manners: self.manners,
            hosts: self.hosts.to_vec(),
            book,
            spool,
            results: None,
            joblog: None,
            streams: Streams::new(self.stage.clone())?,
            committer: Committer::new(self.root.clone(), self.directory, number),
            committed: self.committed.clone(),
            in_place: placed.map(|(task, of_task)| (task.index, files(of_task))).collect(),
            examples: self.examples.clone(),
            live: Live::default(),
            held: BTreeMap::new(),
            next: 0,
            told_before,
            journal: self.directory.journal().clone(),
            removable: VecDeque::new(),
            kept,
            reuse: self.reuse.clone(),
            batch,
        })
    }
}

impl Printer {
    /// The same that also writes these.
    pub(crate) fn with_logs(self, results: Option<ResultsFolder>, joblog: Option<JobLog>) -> Self {
        Self { results, joblog, ..self }
    }
}

impl JobSink for Printer {
    fn commit(&mut self, task: TaskId) -> io::Result<()> {
        if let Some(files) = self.reuse.files_of(task) {
            let placed: Vec<Placed> = files.iter().map(Placed::of_journal).collect();
            placed.iter().for_each(|file| self.committed.add(task.job, file));
            commit::note(&self.journal, task, &placed);
            self.in_place.insert(task.index, named_files(placed));
            return Ok(());
        }
        let files = self.put_in_place(task, &self.book.outputs(task.index))?;
        self.in_place.insert(task.index, files);
        Ok(())
    }

    fn begun(&mut self, attempt: AttemptId, task: TaskId) {
        let tag = self.manners.tags.then(|| tag(&self.book.values(task.index)));
        self.live.begin(attempt, task, tag);
    }

    fn discarded(&mut self, attempt: AttemptId) -> io::Result<()> {
        let Self { live, streams, spool, .. } = self;
        live.end(attempt, spool, &mut |channel, bytes| streams.write(channel, bytes))
    }

    fn looks(&self) -> bool {
        self.manners.is_live
    }

    fn look(&mut self) -> io::Result<()> {
        let Self { live, streams, spool, .. } = self;
        live.look(spool, &mut |channel, bytes| streams.write(channel, bytes))
    }

    fn ended(&mut self, end: TaskEnd) -> io::Result<()> {
        let index = end.task.index;
        if self.manners.is_live {
            let tag = self.manners.tags.then(|| tag(&self.book.values(index)));
            let Self { live, streams, spool, .. } = self;
            live.conclude(&end, tag, spool, &mut |channel, bytes| streams.write(channel, bytes))?;
        }
        let ended = Ended { end, at: Duration::from_millis(now_ms()) };
        if !self.manners.keeps_order {
            return self.put(ended);
        }
        self.held.insert(index, ended);
        while let Some(ended) = self.next_in_order() {
            self.put(ended)?;
        }
        Ok(())
    }

    fn finish(&mut self, _complete: bool) -> io::Result<Option<SinkReport>> {
        for ended in std::mem::take(&mut self.held).into_values() {
            self.put(ended)?;
        }
        if !self.removable.is_empty() {
            self.journal.sync()?;
            self.remove_results();
        }
        Ok(None)
    }
}

impl Printer {
    /// The next one in order, if it has ended.
    fn next_in_order(&mut self) -> Option<Ended> {
        while self.told_before.remove(&self.next) {
            self.next += 1;
        }
        let ended = self.held.remove(&self.next);
        self.next += u32::from(ended.is_some());
        ended
    }

    /// Tells of a task, and makes room for another.
    fn put(&mut self, Ended { end, at }: Ended) -> io::Result<()> {
        let index = end.task.index;
        let host = end.host.map(|host| self.hosts[host.0 as usize].clone());
        let committed = self.in_place.remove(&index).unwrap_or_default();
        let asked = self.book.conclude(index);
        let record = &TaskRecord { batch: self.batch.clone(), end, host, asked, committed, ended: at };
        self.examples.look_at(record, &self.spool)?;
        if record.end.state != Lifecycle::Cancelled {
            if let Some(results) = &mut self.results {
                results.put(record, &self.spool)?;
            }
            if let Some(joblog) = &mut self.joblog {
                joblog.put(record, result_bytes(&self.spool, record)?)?;
            }
        }
        if self.manners.json {
            let object = record.json(&self.spool)?;
            self.streams.write(Channel::Stdout, format!("{object}\n").as_bytes())?;
        } else if !self.manners.is_mute && !self.manners.is_live {
            self.print(record)?;
        }
        if record.end.state != Lifecycle::Cancelled {
            let noted = self.journal.note([Entry::Told { task: record.end.task }], None);
            let (task, has_files) = (record.end.task, !record.committed.is_empty());
            self.removable.push_back(Removable { noted, task, has_files });
        }
        self.remove_results();
        Ok(())
    }

    /// Results go when it is on the disk that they are needed no more.
    fn remove_results(&mut self) {
        let durable = self.journal.durable_now();
        while let Some(Removable { task, has_files, .. }) = self.removable.pop_front_if(|first| first.noted <= durable)
        {
            self.kept.retire(&self.spool, task, has_files);
        }
    }

    fn put_in_place(&mut self, task: TaskId, outputs: &[Output]) -> io::Result<Vec<PathBuf>> {
        let Some(mut result) = self.spool.open(task)? else { return Ok(Vec::new()) };
        let files = self.committer.commit(task, &mut result, outputs)?;
        for file in &files {
            self.committed.add(task.job, file);
        }
        Ok(named_files(files))
    }

    fn print(&mut self, record: &TaskRecord) -> io::Result<()> {
        // Most tasks write nothing to stderr, and are read once.
        if self.print_channel(record, Channel::Stdout)? {
            self.print_channel(record, Channel::Stderr)?;
        }
        self.streams.end_line()
    }

    /// Prints what a task wrote there; whether it wrote anything elsewhere.
    fn print_channel(&mut self, record: &TaskRecord, channel: Channel) -> io::Result<bool> {
        let Some(result) = open(&self.spool, record)? else { return Ok(false) };
        if !self.manners.tags && self.streams.is_pipe(channel) {
            return self.streams.copy(result, channel);
        }
        let mut tagged = self.manners.tags.then(|| Tagged::new(&tag(&record.asked.values)));
        let mut has_others = false;
        each_written(result, |of, bytes| {
            match (of == channel, &mut tagged) {
                (false, _) => has_others = true,
                (true, None) => self.streams.write(channel, bytes)?,
                (true, Some(tagged)) => self.streams.write(channel, &tagged.apply(bytes))?,
            }
            Ok(true)
        })?;
        Ok(has_others)
    }
}

/// All but folders.
fn named_files(files: impl IntoIterator<Item = Placed>) -> Vec<PathBuf> {
    files.into_iter().filter(|file| file.content != PlacedContent::Folder).map(|file| file.path).collect()
}

/// Hands on what a task has written to stdout and stderr, piece by piece.
pub(crate) fn each_piece(
    spool: &Spool,
    record: &TaskRecord,
    mut take: impl FnMut(Channel, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let Some(file) = open(spool, record)? else { return Ok(()) };
    each_written(file, |channel, bytes| take(channel, bytes).map(|()| true))
}

/// The same of a result. The files that the task left follow, and aren't read. `take` says whether it wants more; what was read with
/// the last piece that it wanted comes all the same.
pub(super) fn each_written(
    mut result: File,
    mut take: impl FnMut(Channel, &[u8]) -> io::Result<bool>,
) -> io::Result<()> {
    let mut splitter = Splitter::default();
    let mut buffer = vec![0; READ_BYTES];
    let (mut is_over, mut wants_more) = (false, true);
    while !is_over && wants_more {
        let length = result.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let mut taken = Ok(());
        let split = splitter.push(&buffer[..length], |channel, bytes| {
            is_over |= matches!(channel, Channel::Entry | Channel::Content);
            if taken.is_ok() && !is_over {
                taken = take(channel, bytes).map(|more| wants_more = more);
            }
        });
        taken?;
        split.map_err(io::Error::other)?;
    }
    Ok(())
}

fn open(spool: &Spool, record: &TaskRecord) -> io::Result<Option<File>> {
    if record.end.has_result { spool.open(record.end.task) } else { Ok(None) }
}

/// Bytes that it wrote to stdout and stderr.
fn result_bytes(spool: &Spool, record: &TaskRecord) -> io::Result<u64> {
    let mut total = 0;
    each_piece(spool, record, |_, bytes| {
        total += bytes.len() as u64;
        Ok(())
    })?;
    Ok(total)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::config::cluster::StateOptions;
    use crate::output::Concluded;
    use crate::state::Store;
    use crate::state::specification::Specification;

    /// Notes which tasks it is asked of, for good.
    #[derive(Default)]
    struct Noted(Mutex<Vec<u32>>);

    impl Book for Noted {
        fn conclude(&self, index: u32) -> Concluded {
            self.0.lock().unwrap().push(index);
            Concluded::default()
        }

        fn outputs(&self, _index: u32) -> Vec<Output> {
            Vec::new()
        }

        fn values(&self, _index: u32) -> Vec<Vec<u8>> {
            Vec::new()
        }
    }

    fn ended(index: u32) -> TaskEnd {
        TaskEnd {
            task: TaskId { job: JobId(0), index },
            state: Lifecycle::Completed,
            attempt: None,
            attempts: 1,
            host: None,
            has_result: false,
            process: None,
            reason: None,
        }
    }

    #[test]
    fn what_waits_for_its_turn_makes_no_room_for_more() {
        let folder = tempfile::tempdir().unwrap();
        let directory =
            Store::at(folder.path()).try_create(&Specification::default(), StateOptions::default()).unwrap();
        let outlet = Outlet {
            hosts: &[],
            directory: &directory,
            past: &Past::default(),
            root: folder.path().to_owned(),
            stage: Stage::of_nothing(),
            manners: Manners { keeps_order: true, is_mute: true, ..Manners::default() },
            reuse: Reuse::default(),
            committed: Committed::default(),
            examples: Examples::default(),
        };
        let book = Arc::new(Noted::default());
        let mut printer = outlet.printer(0, book.clone()).unwrap();
        for (index, told) in [(1, &[][..]), (2, &[]), (0, &[0, 1, 2]), (3, &[0, 1, 2, 3])] {
            printer.ended(ended(index)).unwrap();
            assert_eq!(*book.0.lock().unwrap(), told, "when {index} has ended");
        }
    }
}
