//! The journal's file, and the thread that syncs it: whoever notes something goes on at once, and learns from [`Journal::durable`]
//! when it is on the disk. What one sync takes is one group, however many have noted something meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use titan_manager::journal::{self, Entry, JournalError, Storage};
use tokio::sync::watch;

use super::disk::{sync_files, sync_folders_of};
use crate::paths::named;

/// In a batch's directory.
pub(super) const FILE: &str = "journal";

/// Beside it, if it has failed: it may lack what was written last, and nobody knows what.
pub(super) const UNSURE: &str = "journal.unsure";

/// After so many syncs within this span there is much to do, and no single record is waited for: some are gathered for each sync,
/// until a span has at most half as many.
const EAGER_SYNCS: u32 = 8;
const EAGER_SPAN: Duration = Duration::from_millis(100);
/// For how long.
const GATHERING_SPAN: Duration = Duration::from_millis(10);

/// So many gathered entries are written at once.
const MOST_GATHERED: usize = 256;

/// How far the journal is on the disk, in bytes, or why there will be no more.
pub(crate) type Durable = Result<u64, Arc<io::Error>>;

/// The journal of this batch. A clone is the same.
#[derive(Debug, Clone)]
pub(crate) struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    inner: Mutex<Inner>,
    /// Something has become durable.
    synced: Condvar,
    /// Wakes the thread.
    wake: mpsc::Sender<()>,
    durable: watch::Receiver<Durable>,
    told: watch::Sender<Durable>,
}

#[derive(Debug)]
struct Inner {
    journal: journal::Journal<JournalFile>,
    /// Entries that were noted and aren't written: they become one frame.
    gathered: Vec<Entry>,
    /// Whether something was noted that a killed titan hasn't noted.
    is_unflushed: bool,
    /// Files that what was noted rests on.
    files: Vec<PathBuf>,
    durable: u64,
    failure: Option<Arc<io::Error>>,
}

/// The file, and what is to be written to it next, in one go.
#[derive(Debug)]
struct JournalFile {
    file: File,
    unwritten: Vec<u8>,
}

impl Storage for JournalFile {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes).map(|_| bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unwritten.extend(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.unwritten)?;
        self.unwritten.clear();
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync_data()
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
}

impl Journal {
    /// Opens or begins that of a batch, and hands on what is in it.
    ///
    /// # Errors
    /// The disk fails, or it isn't what was written.
    pub(super) fn open(directory: &Path, take: impl FnMut(Entry, bool)) -> Result<Self, JournalError> {
        let path = directory.join(FILE);
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(&path)?;
        let for_sync = file.try_clone()?;
        let journal = journal::Journal::open(JournalFile { file, unwritten: Vec::new() }, take)?;
        // Its name has to stay too.
        File::open(directory)?.sync_all()?;
        let (wake, woken) = mpsc::channel();
        let (told, durable) = watch::channel(Ok(journal.written()));
        let inner = Inner {
            durable: journal.written(),
            journal,
            gathered: Vec::new(),
            is_unflushed: false,
            files: Vec::new(),
            failure: None,
        };
        let shared = Arc::new(Shared { path, inner: Mutex::new(inner), synced: Condvar::new(), wake, durable, told });
        let weak = Arc::downgrade(&shared);
        thread::Builder::new().name("journal".to_owned()).spawn(move || keep_synced(&for_sync, &weak, &woken))?;
        Ok(Self(shared))
    }

    /// Notes something; `rests_on` is a file that has to be on the disk before. How far the journal has to be durable for it to be:
    /// never, if it has failed, which [`Journal::durable`] tells.
    pub(crate) fn note(&self, entries: impl IntoIterator<Item = Entry>, rests_on: Option<PathBuf>) -> u64 {
        self.note_soon(entries, rests_on);
        self.flush_up_to().unwrap_or(u64::MAX)
    }

    /// As [`Journal::note`], and if titan is killed before [`Journal::flush`], or the next sync, it was never noted.
    pub(crate) fn note_soon(&self, entries: impl IntoIterator<Item = Entry>, rests_on: Option<PathBuf>) -> u64 {
        let mut inner = self.0.lock();
        inner.files.extend(rests_on);
        inner.gathered.extend(entries);
        inner.is_unflushed = true;
        if inner.gathered.len() >= MOST_GATHERED && !self.0.write(&mut inner) {
            return u64::MAX;
        }
        // What is gathered is written in one go, so whatever is durable beyond what is written now has all of it.
        inner.journal.written() + u64::from(!inner.gathered.is_empty())
    }

    /// Whatever becomes of titan, what was noted stays, and is on the disk soon. False: it has failed, which [`Journal::durable`]
    /// tells.
    pub(crate) fn flush(&self) -> bool {
        self.flush_up_to().is_some()
    }

    /// As [`Journal::flush`]: up to where that is. None: it has failed.
    fn flush_up_to(&self) -> Option<u64> {
        let mut inner = self.0.lock();
        let wakes = inner.is_unflushed;
        let written = self.0.flush(&mut inner).then(|| inner.journal.written());
        // The thread takes this lock first.
        drop(inner);
        if wakes {
            let _ = self.0.wake.send(());
        }
        written
    }

    /// How far it is on the disk.
    pub(crate) fn durable(&self) -> watch::Receiver<Durable> {
        self.0.durable.clone()
    }

    /// How much of it is on the disk, in bytes.
    pub(crate) fn durable_now(&self) -> u64 {
        self.0.lock().durable
    }

    /// Waits until all that was noted is on the disk.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let written = self.flush_up_to().unwrap_or(u64::MAX);
        let mut inner = self.0.lock();
        loop {
            match &inner.failure {
                Some(failure) => return Err(io::Error::new(failure.kind(), failure.to_string())),
                None if inner.durable >= written => return Ok(()),
                None => inner = self.0.synced.wait(inner).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is gathered. False: the journal has failed.
    fn write(&self, inner: &mut Inner) -> bool {
        let Inner { journal, gathered, .. } = inner;
        let written = journal.append(gathered);
        gathered.clear();
        self.is_well(inner, written.map(drop))
    }

    /// Writes what is gathered, and all that is written is the system's. False: the journal has failed.
    fn flush(&self, inner: &mut Inner) -> bool {
        if !std::mem::take(&mut inner.is_unflushed) {
            return inner.failure.is_none();
        }
        self.write(inner) && {
            let flushed = inner.journal.flush();
            self.is_well(inner, flushed)
        }
    }

    fn is_well(&self, inner: &mut Inner, done: Result<(), JournalError>) -> bool {
        if let Err(error) = done {
            self.fail(inner, &io::Error::other(error));
        }
        inner.failure.is_none()
    }

    fn fail(&self, inner: &mut Inner, error: &io::Error) {
        inner.journal.fail();
        // A disk that takes nothing may not take this either.
        let _ = File::create(self.path.with_file_name(UNSURE));
        let failure = inner.failure.get_or_insert_with(|| Arc::new(named(&self.path, error)));
        let _ = self.told.send_replace(Err(Arc::clone(failure)));
        self.synced.notify_all();
    }
}

/// Whether records are gathered before they are synced: while there is much to do.
struct Patience {
    /// The span that is counted now.
    begun: Instant,
    syncs: u32,
    is_busy: bool,
}

impl Patience {
    fn new(now: Instant) -> Self {
        Self { begun: now, syncs: 0, is_busy: false }
    }

    /// Counts one more sync; whether records are gathered for it.
    fn gathers_for_sync(&mut self, now: Instant) -> bool {
        let span = now - self.begun;
        if span > EAGER_SPAN {
            self.is_busy &= self.syncs > EAGER_SYNCS / 2 && span < 2 * EAGER_SPAN;
            (self.begun, self.syncs) = (now, 0);
        }
        self.syncs += 1;
        self.is_busy |= self.syncs > EAGER_SYNCS;
        self.is_busy
    }
}

/// The thread: syncs whenever something was noted, until nobody has the journal any more.
fn keep_synced(file: &File, shared: &Weak<Shared>, woken: &mpsc::Receiver<()>) {
    let mut patience = Patience::new(Instant::now());
    while woken.recv().is_ok() {
        if patience.gathers_for_sync(Instant::now()) {
            thread::sleep(GATHERING_SPAN);
        }
        while woken.try_recv().is_ok() {}
        let Some(shared) = shared.upgrade() else { return };
        let (written, files) = {
            let mut inner = shared.lock();
            if !shared.flush(&mut inner) {
                continue;
            }
            (inner.journal.written(), std::mem::take(&mut inner.files))
        };
        let synced = sync_files(&files).and_then(|()| sync_folders_of(&files)).and_then(|()| file.sync_data());
        let mut inner = shared.lock();
        match synced {
            Ok(()) => {
                inner.journal.note_synced(written);
                inner.durable = inner.durable.max(written);
                if inner.failure.is_none() {
                    let _ = shared.told.send_replace(Ok(written));
                }
                shared.synced.notify_all();
            }
            Err(error) => shared.fail(&mut inner, &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use titan_proto::id::{JobId, TaskId};

    use super::*;

    /// How many of so many syncs, one each `gap_ms`, are gathered for.
    fn gathered(patience: &mut Patience, now: &mut Instant, syncs: u32, gap_ms: u64) -> usize {
        let gathers = |_: &u32| {
            *now += Duration::from_millis(gap_ms);
            patience.gathers_for_sync(*now)
        };
        (0..syncs).filter(gathers).count()
    }

    #[test]
    fn records_are_gathered_while_there_is_much_to_do() {
        let mut now = Instant::now();
        let patience = &mut Patience::new(now);
        assert_eq!(gathered(patience, &mut now, 100, 20), 0, "five in each span");
        *patience = Patience::new(now);
        assert_eq!(gathered(patience, &mut now, 40, 2), 40 - 8, "all but the first eight");
        assert_eq!(gathered(patience, &mut now, 100, 12), 100, "as often as gathering lets it");
        assert_eq!(gathered(patience, &mut now, 1, 1000), 0, "a pause");
    }

    fn told(index: u32) -> Entry {
        Entry::Told { task: TaskId { job: JobId(0), index } }
    }

    #[test]
    fn what_was_noted_becomes_durable_and_is_there_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let result = folder.path().join("result");
        std::fs::write(&result, "x").unwrap();
        let journal = Journal::open(folder.path(), |_, _| panic!("it is new")).unwrap();
        let numbers: Vec<u64> = (0..100).map(|index| journal.note([told(index)], Some(result.clone()))).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        journal.sync().unwrap();
        let last = numbers[99];
        assert_eq!((journal.durable_now(), *journal.durable().borrow().as_ref().unwrap()), (last, last));
        drop(journal);
        let mut entries = Vec::new();
        Journal::open(folder.path(), |entry, _| entries.push(entry)).unwrap();
        assert_eq!(entries, (0..100).map(told).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_noted_soon_is_durable_together_and_takes_one_frame() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path(), |_, _| panic!("it is new")).unwrap();
        let begin = journal.durable_now();
        for index in 0..10 {
            journal.note([told(index)], None);
        }
        journal.sync().unwrap();
        let before = journal.durable_now();
        // The last ten, and then more than is gathered.
        let all = 20 + 2 * MOST_GATHERED as u32;
        for (range, most_bytes) in [(10..20, (before - begin) / 2), (20..all, u64::MAX)] {
            let before = journal.durable_now();
            let noted: Vec<u64> = range.map(|index| journal.note_soon([told(index)], None)).collect();
            assert!(noted.iter().all(|at| *at > before), "not on the disk: {noted:?}, {before}");
            journal.sync().unwrap();
            let durable = journal.durable_now();
            assert!(noted.iter().all(|at| *at <= durable), "on the disk: {noted:?}, {durable}");
            assert!(durable - before <= most_bytes, "{} bytes, at most {most_bytes}", durable - before);
        }
        drop(journal);
        let mut entries = Vec::new();
        Journal::open(folder.path(), |entry, _| entries.push(entry)).unwrap();
        assert_eq!(entries, (0..all).map(told).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_that_is_there_no_more_is_nothing_to_wait_for() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path(), |_, _| ()).unwrap();
        journal.note([told(1)], Some(folder.path().join("gone")));
        journal.sync().unwrap();
    }

    #[test]
    fn a_failure_is_told_to_all_who_wait() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path(), |_, _| ()).unwrap();
        let long = Entry::Taken { task: TaskId { job: JobId(0), index: 0 }, values: vec![vec![0; 2 << 20]] };
        assert!(journal.flush());
        assert_eq!(journal.note([long], None), u64::MAX);
        assert!(!journal.flush(), "nothing may be sent that rests on it");
        let error = journal.sync().unwrap_err().to_string();
        assert!(error.contains("journal: an entry is too long"), "{error}");
        assert!(journal.durable().borrow().is_err());
    }
}
