//! The batch directory's place for results: written while they arrive, named after their task once they count, read by the
//! sink in any order. Memory holds none of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::ResultSummary;

use super::steady::Steady;
use crate::paths::named;

/// Files that a reader keeps open: a row of tiles, and fewer than a shell's usual limit of 1,024.
const MAX_OPEN_FILES: usize = 256;

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;
/// How the names of results end that don't count yet.
const PART: &str = ".part";

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    folder: PathBuf,
}

impl Spool {
    /// A spool in that folder, which exists.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// For one session: takes results as they arrive.
    pub(crate) fn writer(&self, max_result_bytes: u64, max_parts: usize) -> Writer {
        Writer { spool: self.clone(), parts: BTreeMap::new(), max_result_bytes, max_parts }
    }

    /// An attempt's result becomes its task's. An empty one has no file.
    pub(crate) fn keep(&self, attempt: AttemptId, task: TaskId) -> io::Result<()> {
        match fs::rename(self.part(attempt), self.result(task)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            renamed => renamed,
        }
    }

    /// A task's result, to be read from its beginning; None: it is empty.
    pub(crate) fn open(&self, task: TaskId) -> io::Result<Option<File>> {
        let path = self.result(task);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some).map_err(|error| named(&path, &error)),
        }
    }

    /// What an attempt has written so far, to be read from its beginning; None: nothing, or it isn't there any more.
    pub(crate) fn open_part(&self, attempt: AttemptId) -> io::Result<Option<File>> {
        match File::open(self.part(attempt)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Whether a task's result is there as it was, and on the disk from now on.
    ///
    /// # Errors
    /// It isn't.
    pub(crate) fn check(&self, task: TaskId, summary: ResultSummary) -> Result<(), Damaged> {
        let mut file = match File::open(self.result(task)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Damaged::Missing),
            Err(error) => return Err(Damaged::Unreadable(error)),
        };
        let (mut crc, mut bytes, mut buffer) = (crc32fast::Hasher::new(), 0, vec![0; READ_BYTES]);
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                length => {
                    bytes += length as u64;
                    crc.update(&buffer[..length]);
                }
            }
        }
        if (bytes, crc.finalize()) != (summary.bytes, summary.crc) {
            return Err(Damaged::Changed);
        }
        Ok(file.sync_all()?)
    }

    /// What attempts of an earlier titan have sent goes.
    pub(crate) fn remove_parts(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(PART) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The tasks whose results are here.
    pub(crate) fn results(&self) -> Vec<TaskId> {
        let task = |name: &str| {
            let (job, index) = name.split_once('.')?;
            Some(TaskId { job: JobId(job.parse().ok()?), index: index.parse().ok()? })
        };
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| task(entry.file_name().to_str()?)).collect()
    }

    /// Where a task's result is.
    pub(crate) fn path(&self, task: TaskId) -> PathBuf {
        self.result(task)
    }

    /// A task's result isn't needed any more.
    pub(crate) fn remove(&self, task: TaskId) {
        let _ = fs::remove_file(self.result(task));
    }

    /// An attempt's result, or what is there of it, goes.
    pub(crate) fn discard(&self, attempt: AttemptId) {
        let _ = fs::remove_file(self.part(attempt));
    }

    /// How much of an attempt's result is there.
    pub(crate) fn part_bytes(&self, attempt: AttemptId) -> u64 {
        fs::metadata(self.part(attempt)).map_or(0, |data| data.len())
    }

    /// For the sink: reads results of a job's tasks.
    pub(crate) fn reader(&self, job: JobId) -> Reader {
        Reader { spool: self.clone(), job, open: RefCell::new(Vec::new()) }
    }

    fn part(&self, attempt: AttemptId) -> PathBuf {
        self.folder.join(format!("{attempt}{PART}"))
    }

    fn result(&self, task: TaskId) -> PathBuf {
        self.folder.join(task.to_string())
    }
}

/// Why a result can't be gone on with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damaged {
    /// It isn't there.
    #[error("it is missing")]
    Missing,
    /// It isn't what was kept.
    #[error("it isn't what was kept")]
    Changed,
    /// This machine can't read it.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
}

/// Why bytes can't be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// The sender does what no agent does.
    #[error("{reason}")]
    Sender {
        /// What that is.
        reason: String,
    },
    /// This machine can't keep them.
    #[error("cannot write {}: {cause}", path.display())]
    Here {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// Takes the results of one session. What isn't finished goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    spool: Spool,
    parts: BTreeMap<AttemptId, Part>,
    max_result_bytes: u64,
    max_parts: usize,
}

#[derive(Debug)]
struct Part {
    file: Steady,
    crc: crc32fast::Hasher,
}

impl Writer {
    /// The next bytes of an attempt's result.
    pub(crate) fn append(&mut self, attempt: AttemptId, data: &[u8]) -> Result<(), SpoolError> {
        let max_bytes = self.max_result_bytes;
        let path = self.spool.part(attempt);
        let part = self.part(attempt)?;
        if part.file.bytes() + data.len() as u64 > max_bytes {
            let reason = format!("a result of more than the {max_bytes} bytes that it can have");
            return Err(SpoolError::Sender { reason });
        }
        part.crc.update(data);
        part.file.write_all(data).map_err(|cause| SpoolError::Here { path, cause })
    }

    /// More of a result comes of which an earlier titan has kept so many bytes: hands them on.
    ///
    /// # Errors
    /// They can't be read.
    pub(crate) fn adopt(&mut self, attempt: AttemptId, have: u64, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        // An agent may have more from an earlier titan than it has tasks: all of them that have ended.
        self.max_parts += 1;
        if have == 0 {
            // The file may be there: the earlier titan ended just when it had made it.
            self.spool.discard(attempt);
            return Ok(());
        }
        let path = self.spool.part(attempt);
        let mut file = OpenOptions::new().read(true).append(true).open(&path).map_err(|error| named(&path, &error))?;
        let (mut crc, mut left, mut buffer) = (crc32fast::Hasher::new(), have, vec![0; READ_BYTES]);
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            file.read_exact(&mut buffer[..wanted]).map_err(|error| named(&path, &error))?;
            crc.update(&buffer[..wanted]);
            take(&buffer[..wanted]);
            left -= wanted as u64;
        }
        self.parts.insert(attempt, Part { file: Steady::new(file, self.spool.folder.clone(), have), crc });
        Ok(())
    }

    /// The result is complete: whether it is whole.
    pub(crate) fn finish(&mut self, attempt: AttemptId, summary: ResultSummary) -> bool {
        let Some(part) = self.parts.remove(&attempt) else {
            return summary.bytes == 0 && summary.crc == crc32fast::hash(b"");
        };
        part.file.bytes() == summary.bytes && part.crc.finalize() == summary.crc
    }

    /// Nothing more comes of an attempt, and what came doesn't count.
    pub(crate) fn abandon(&mut self, attempt: AttemptId) {
        if self.parts.remove(&attempt).is_some() {
            self.spool.discard(attempt);
        }
    }

    fn part(&mut self, attempt: AttemptId) -> Result<&mut Part, SpoolError> {
        if !self.parts.contains_key(&attempt) {
            if self.parts.len() >= self.max_parts {
                return Err(SpoolError::Sender { reason: "more results at once than it has tasks".to_owned() });
            }
            let path = self.spool.part(attempt);
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            let file = file.map_err(|cause| SpoolError::Here { path, cause })?;
            self.parts.insert(
                attempt,
                Part { file: Steady::new(file, self.spool.folder.clone(), 0), crc: crc32fast::Hasher::new() },
            );
        }
        Ok(self.parts.get_mut(&attempt).expect("the lines above have made it"))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        for attempt in self.parts.keys() {
            self.spool.discard(*attempt);
        }
    }
}

/// Reads results, with the files used last kept open.
#[derive(Debug)]
pub(crate) struct Reader {
    spool: Spool,
    job: JobId,
    open: RefCell<Vec<(u32, File)>>,
}

impl kernels::Results for Reader {
    fn read_at(&self, task: u32, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut open = self.open.borrow_mut();
        let place = match open.iter().position(|(opened, _)| *opened == task) {
            Some(place) => {
                let used = open.remove(place);
                open.push(used);
                open.len() - 1
            }
            None => {
                if open.len() >= MAX_OPEN_FILES {
                    open.remove(0);
                }
                let path = self.spool.result(TaskId { job: self.job, index: task });
                open.push((task, File::open(&path).map_err(|error| named(&path, &error))?));
                open.len() - 1
            }
        };
        open[place].1.read_exact_at(buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    use kernels::Results;
    use titan_proto::id::Epoch;

    use super::*;

    const ATTEMPT: AttemptId = AttemptId { epoch: Epoch(1), number: 1 };
    const TASK: TaskId = TaskId { job: JobId(0), index: 7 };

    fn summary(data: &[u8]) -> ResultSummary {
        ResultSummary { bytes: data.len() as u64, crc: crc32fast::hash(data), compute_us: 0 }
    }

    #[test]
    fn a_kept_result_can_be_read_anywhere() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().to_owned());
        let mut writer = spool.writer(100, 2);
        writer.append(ATTEMPT, b"hello ").unwrap();
        writer.append(ATTEMPT, b"world").unwrap();
        assert!(writer.finish(ATTEMPT, summary(b"hello world")));
        spool.keep(ATTEMPT, TASK).unwrap();
        let mut word = [0; 5];
        spool.reader(JobId(0)).read_at(7, 6, &mut word).unwrap();
        assert_eq!(&word, b"world");
    }

    #[test]
    fn a_damaged_result_is_not_whole_and_an_empty_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Spool::new(folder.path().to_owned()).writer(100, 2);
        writer.append(ATTEMPT, b"hellO").unwrap();
        assert!(!writer.finish(ATTEMPT, summary(b"hello")));
        let other = AttemptId { number: 2, ..ATTEMPT };
        assert!(writer.finish(other, summary(b"")));
    }

    #[test]
    fn a_sender_can_fill_neither_disk_nor_table() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Spool::new(folder.path().to_owned()).writer(4, 1);
        assert!(matches!(writer.append(ATTEMPT, b"12345"), Err(SpoolError::Sender { .. })));
        let other = AttemptId { number: 2, ..ATTEMPT };
        assert!(matches!(writer.append(other, b"1"), Err(SpoolError::Sender { .. })));
        writer.abandon(ATTEMPT);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        writer.append(other, b"1").unwrap();
    }

    #[test]
    fn what_an_earlier_titan_has_kept_is_added_to_be_it_nothing_yet() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().to_owned());
        for there in [&b""[..], b"hello "] {
            fs::write(spool.part(ATTEMPT), there).unwrap();
            let mut writer = spool.writer(100, 0);
            writer.adopt(ATTEMPT, there.len() as u64, |_| {}).unwrap();
            writer.append(ATTEMPT, b"world").unwrap();
            assert!(writer.finish(ATTEMPT, summary(&[there, b"world"].concat())));
            spool.discard(ATTEMPT);
        }
    }

    #[test]
    fn what_is_not_finished_goes_with_its_session() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().to_owned());
        let mut writer = spool.writer(100, 2);
        writer.append(ATTEMPT, b"half").unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
