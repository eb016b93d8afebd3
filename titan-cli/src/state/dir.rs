//! The directory of one batch: its name, its lock, its spool, and what goes with it. It stays when titan ends, unless nothing was
//! begun; what a killed titan left elsewhere, the next one removes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use titan_agent::machine;
use titan_manager::Verdict;
use titan_manager::journal::{Entry, JournalError, Past};
use titan_proto::id::{BatchId, TaskId};

use super::ended::{BatchState, EndMark};
use super::journal::{Journal, UNSURE};
use super::specification::Specification;
use super::{make_file, make_folders};
use crate::exit::{self, Failure};
use crate::paths::named;
use crate::state::spool::{Damaged, Spool};

/// In a batch's directory: held while its titan lives, with who that is.
const LOCK: &str = "lock";
/// In a batch's directory: what else is to go with it, each path with a zero byte after it.
const TEMPORARIES: &str = "temporaries";
/// In a batch's directory: results that the sinks haven't taken.
const SPOOL: &str = "spool";
/// In a batch's directory: somebody wants it to end for good.
const CANCEL: &str = "cancel";

/// How often a lock is tried that is held by nobody with a name, and how long is waited in between.
const MAX_LOOKS: u32 = 20;
const LOOK_SPAN: Duration = Duration::from_millis(10);

/// A batch's directory, whose lock is held until it is dropped.
#[derive(Debug)]
pub(crate) struct BatchDir {
    id: BatchId,
    path: PathBuf,
    temporaries: Temporaries,
    journal: Journal,
    /// What nobody else can guess.
    secret: u64,
    /// Something was begun: the directory stays.
    stays: AtomicBool,
    lock: File,
}

/// A batch that is gone on with.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) directory: BatchDir,
    pub(crate) specification: Specification,
    pub(crate) past: Past,
}

/// How a batch has come to its end, for its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conclusion {
    pub(crate) verdict: Verdict,
    pub(crate) exit_code: u8,
    /// Nothing is left to be gone on with.
    pub(crate) is_final: bool,
    /// What it has come to.
    pub(crate) state: BatchState,
}

/// Files and folders outside the batch's directory that are ours: removed when titan ends.
#[derive(Debug, Clone)]
pub(crate) struct Temporaries(Arc<Mutex<Noted>>);

#[derive(Debug)]
struct Noted {
    list: File,
    paths: BTreeSet<PathBuf>,
    /// The batch is over: nothing more is made.
    closed: bool,
}

impl Temporaries {
    fn begin(directory: &Path) -> io::Result<Self> {
        let list = make_file(&directory.join(TEMPORARIES))?;
        Ok(Self(Arc::new(Mutex::new(Noted { list, paths: BTreeSet::new(), closed: false }))))
    }

    /// Notes a path and makes what is to be there. Its name must hold the batch's id, or the next titan won't touch it.
    /// What `make` refuses to make isn't ours; the note on the disk stays, and finds nothing of ours there.
    pub(crate) fn make<T>(&self, path: &Path, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        // Held until it is made: the batch's end removes all that there is, and nothing comes after it.
        let mut noted = self.lock();
        if noted.closed {
            return Err(io::Error::other("the batch is over"));
        }
        // The zero before it ends what a full disk may have cut.
        noted.list.write_all(&[b"\0", path.as_os_str().as_bytes(), b"\0"].concat())?;
        let made = make()?;
        noted.paths.insert(path.to_owned());
        Ok(made)
    }

    /// That path isn't there any more.
    pub(crate) fn forget(&self, path: &Path) {
        self.lock().paths.remove(path);
    }

    fn remove_all(&self) {
        let mut noted = self.lock();
        noted.closed = true;
        noted.paths.iter().for_each(|path| remove(path));
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes what a killed titan has left outside of a batch's directory. Its lock must be held.
pub(super) fn remove_left(directory: &Path, id: &BatchId) {
    let list = fs::read(directory.join(TEMPORARIES)).unwrap_or_default();
    let is_ours = |path: &&Path| {
        path.is_absolute() && path.file_name().is_some_and(|name| name.to_string_lossy().contains(id.as_str()))
    };
    let paths = list.split(|byte| *byte == 0).map(|path| Path::new(OsStr::from_bytes(path)));
    paths.filter(is_ours).for_each(remove);
    super::live::remove(directory);
}

fn remove(path: &Path) {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|data| data.is_dir());
    let _ = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

impl BatchDir {
    /// Makes one in the folder of batches, whose door is held.
    pub(super) fn create(batches: &Path, specification: &Specification) -> io::Result<Self> {
        let (id, path) = make_unused(batches).map_err(|error| named(batches, &error))?;
        let made = Self::make(id, path.clone(), specification);
        if made.is_err() {
            let _ = fs::remove_dir_all(&path);
        }
        made
    }

    fn make(id: BatchId, path: PathBuf, specification: &Specification) -> io::Result<Self> {
        let lock = take_lock(&path)?.map_err(|holder| named(&path, &io::Error::other(holder.to_string())))?;
        specification.write(&path)?;
        let journal = Journal::open(&path, |_, _| ()).map_err(io::Error::other)?;
        let temporaries = Temporaries::begin(&path)?;
        Ok(Self { id, path, temporaries, journal, secret: specification.secret, stays: AtomicBool::new(false), lock })
    }

    /// Goes on with that batch.
    pub(super) fn open(id: &BatchId, path: &Path) -> Result<Opened, Failure> {
        let cannot = |problem: &dyn std::fmt::Display| {
            let problem = format!("batch {id} can't be gone on with: {problem}");
            Failure::hinted(exit::CANNOT_WRITE, problem, format!("what there is of it is in {}", path.display()))
        };
        check_ours(path).map_err(|problem| cannot(&problem))?;
        let lock = match take_lock(path).map_err(|error| cannot(&error))? {
            Ok(lock) => lock,
            Err(holder) => {
                let problem = format!("batch {id} is being run by {holder}");
                let hint = format!("watch it with: titan status {id}; end it with: titan cancel {id}");
                return Err(Failure::hinted(exit::USAGE, problem, hint));
            }
        };
        let specification = Specification::read(path).map_err(|error| cannot(&error))?;
        let mut past = Past::default();
        let journal = Journal::open(path, |entry, is_sure| past.add(entry, is_sure));
        let journal = journal.map_err(|error| cannot(&in_file(path, &error)))?;
        if path.join(UNSURE).exists() {
            // As if its machine had stopped.
            past.boot.clear();
        }
        remove_left(path, id);
        let temporaries = Temporaries::begin(path).map_err(|error| cannot(&error))?;
        let stays = AtomicBool::new(true);
        let secret = specification.secret;
        let directory = Self { id: id.clone(), path: path.to_owned(), temporaries, journal, secret, stays, lock };
        directory.check_results(&mut past).map_err(|error| cannot(&error))?;
        Ok(Opened { directory, specification, past })
    }

    /// Whether the results that are to be gone on with are as they were. One that isn't is made again, if nobody was told of it or
    /// a computation had made it.
    fn check_results(&self, past: &mut Past) -> io::Result<()> {
        let spool = self.spool();
        if past.boot != machine::boot() {
            // Nothing had put them on the disk.
            spool.remove_parts();
        }
        for result in past.results() {
            match spool.check(result.task, result.summary) {
                Ok(()) => {}
                Err(Damaged::Missing) => self.reopen(past, result.task),
                Err(_) if !result.is_sure || result.is_computed => {
                    fs::remove_file(spool.path(result.task))?;
                    self.reopen(past, result.task);
                }
                Err(damaged) => {
                    let path = spool.path(result.task);
                    let problem = format!("{}: {damaged}; remove it, and its task runs again", path.display());
                    return Err(io::Error::other(problem));
                }
            }
        }
        Ok(())
    }

    /// Whoever goes on after this titan mustn't look for that result either.
    fn reopen(&self, past: &mut Past, task: TaskId) {
        past.reopen(task);
        self.journal.note([Entry::Reopened { task }], None);
    }

    pub(crate) fn id(&self) -> &BatchId {
        &self.id
    }

    /// What nobody else can guess, the same in all lives of the batch.
    pub(crate) fn secret(&self) -> u64 {
        self.secret
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn spool(&self) -> Spool {
        Spool::new(self.path.join(SPOOL))
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn temporaries(&self) -> Temporaries {
        self.temporaries.clone()
    }

    /// A manager's life begins: it is on the disk when this returns, and the directory stays from now on.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn begin(&self, began: Entry) -> io::Result<()> {
        super::ended::remove(&self.path);
        make_folders(&self.path.join(SPOOL))?;
        let _ = fs::remove_file(self.path.join(CANCEL));
        self.journal.note([began], None);
        self.journal.sync()?;
        self.stays.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// A manager's life has ended. Of a batch that is over for good nothing is kept but what it has come to.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn conclude(&self, Conclusion { verdict, exit_code, is_final, state }: Conclusion) -> io::Result<()> {
        let at_ms = super::now_ms();
        self.journal.note([Entry::Ended { verdict, exit_code, is_final, at_ms }], None);
        self.journal.sync()?;
        super::live::remove(&self.path);
        let _ = fs::remove_file(self.path.join(CANCEL));
        if is_final {
            EndMark { state, verdict, exit_code, at_ms }.write(&self.path)?;
            let _ = fs::remove_dir_all(self.path.join(SPOOL));
        }
        Ok(())
    }

    /// Whether somebody wants it to end for good.
    pub(crate) fn is_cancel_asked_for(&self) -> bool {
        self.path.join(CANCEL).exists()
    }
}

impl Drop for BatchDir {
    fn drop(&mut self) {
        self.temporaries.remove_all();
        if !self.stays.load(Ordering::Relaxed) {
            let _ = fs::remove_dir_all(&self.path);
        }
        // Nobody holds it any more.
        let _ = self.lock.set_len(0);
    }
}

/// Asks whoever runs a batch to end it for good.
///
/// # Errors
/// It can't be written.
pub(crate) fn ask_to_cancel(batch: &Path) -> io::Result<()> {
    let path = batch.join(CANCEL);
    make_file(&path).map(drop).map_err(|error| named(&path, &error))
}

fn in_file(directory: &Path, error: &JournalError) -> io::Error {
    named(&directory.join(super::journal::FILE), &io::Error::other(error.to_string()))
}

/// A directory that isn't ours, or a link to one, is nothing to trust.
pub(super) fn check_ours(path: &Path) -> io::Result<()> {
    let data = fs::symlink_metadata(path)?;
    let problem = match data.is_dir() {
        false => "is no directory",
        true if data.uid() != rustix::process::geteuid().as_raw() => "belongs to somebody else",
        true => return Ok(()),
    };
    Err(named(path, &io::Error::other(problem)))
}

fn make_unused(batches: &Path) -> io::Result<(BatchId, PathBuf)> {
    loop {
        let id = BatchId::from_random(RandomState::new().hash_one(std::process::id()));
        let path = batches.join(id.as_str());
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok((id, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn open_lock(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(|error| named(path, &error))
}

/// Who holds a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    pub(crate) host: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            0 => f.write_str("another titan"),
            pid => write!(f, "titan with pid {pid} on {}", self.host),
        }
    }
}

/// The lock of a batch, or who holds it.
fn take_lock(batch: &Path) -> io::Result<Result<File, Holder>> {
    let mut lock = open_lock(&batch.join(LOCK))?;
    for round in 1.. {
        match lock.try_lock() {
            Ok(()) => break,
            Err(fs::TryLockError::WouldBlock) => {
                let holder = read_holder(&mut lock);
                // Whoever only looks at it holds it for a moment, and writes no name.
                if holder.pid > 0 || round == MAX_LOOKS {
                    return Ok(Err(holder));
                }
                std::thread::sleep(LOOK_SPAN);
            }
            Err(fs::TryLockError::Error(error)) => return Err(named(batch, &error)),
        }
    }
    lock.set_len(0)?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    lock.rewind()?;
    write!(lock, "{} {host}", std::process::id())?;
    Ok(Ok(lock))
}

/// Who runs a batch; None: nobody.
pub(crate) fn holder(batch: &Path) -> Option<Holder> {
    let mut lock = File::open(batch.join(LOCK)).ok()?;
    match lock.try_lock_shared() {
        Err(fs::TryLockError::WouldBlock) => Some(read_holder(&mut lock)),
        _ => None,
    }
}

fn read_holder(lock: &mut File) -> Holder {
    let mut text = String::new();
    let _ = lock.rewind();
    let _ = lock.take(1_000).read_to_string(&mut text);
    let (pid, host) = text.trim().split_once(' ').unwrap_or(("0", ""));
    Holder { pid: pid.parse().unwrap_or(0), host: crate::config::text::printable(host) }
}

/// The lock of a batch whose titan is certainly gone; None: it died before it had one.
///
/// # Errors
/// Its titan lives, or that can't be told.
pub(super) fn take_over(batch: &Path) -> io::Result<Option<File>> {
    match File::open(batch.join(LOCK)) {
        Ok(lock) => lock.try_lock().map(|()| Some(lock)).map_err(|error| io::Error::other(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use titan_manager::{End, Lifecycle, Record, TaskEnd};
    use titan_proto::command::ProcessEnd;
    use titan_proto::files::BlobId;
    use titan_proto::id::{AttemptId, Epoch, JobId};
    use titan_proto::message::ResultSummary;

    use super::*;
    use crate::config::cluster::StateOptions;
    use crate::state::Store;

    fn create(store: &Store) -> BatchDir {
        store.try_create(&Specification::default(), StateOptions::default()).unwrap()
    }

    fn began(epoch: u32) -> Entry {
        let (epoch, plan, boot) = (Epoch(epoch), BlobId([0; 32]), String::new());
        Entry::Began { epoch, boot, hosts: Vec::new(), jobs: Vec::new(), plan, retries_failed: false, at_ms: 0 }
    }

    #[test]
    fn a_batch_that_was_never_begun_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let batches = folder.path().join("titan/batches");
        let batch = create(&Store::at(&batches));
        let temporary = folder.path().join(format!("x-{}", batch.id()));
        let temporaries = batch.temporaries();
        temporaries.make(&temporary, || fs::write(&temporary, "x")).unwrap();
        let theirs = folder.path().join(format!("theirs-{}", batch.id()));
        fs::write(&theirs, "").unwrap();
        assert!(temporaries.make(&theirs, || fs::create_dir(&theirs)).is_err(), "it is there already");
        assert!(batch.path().is_dir());
        drop(batch);
        assert!(!temporary.exists() && theirs.exists());
        assert!(temporaries.make(&temporary, || Ok(())).is_err(), "nothing is made after the end");
        let left: Vec<_> = fs::read_dir(&batches).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [".lock"]);
    }

    #[test]
    fn a_batch_that_was_begun_can_be_gone_on_with_by_one_titan_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let batch = create(&store);
        batch.begin(began(1)).unwrap();
        let id = batch.id().clone();
        let stored = store.named(id.as_str()).unwrap();
        let refused = store.open(&stored).unwrap_err();
        assert_eq!(refused.code, exit::USAGE);
        let message = refused.message.unwrap();
        assert!(message.contains(&format!("titan with pid {} on ", std::process::id())), "{message}");
        assert_eq!(holder(&stored.path).unwrap().pid, std::process::id());
        drop(batch);
        assert_eq!(holder(&stored.path), None);
        let opened = store.open(&stored).unwrap();
        assert_eq!((opened.past.epoch, opened.directory.id()), (Epoch(1), &id));
    }

    #[test]
    fn of_a_batch_that_is_over_stays_what_it_has_come_to() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let batch = create(&store);
        batch.begin(began(1)).unwrap();
        let verdict = Verdict { end: End::Done, completed: 1, failed: 0, cancelled: 0 };
        batch.conclude(Conclusion { verdict, exit_code: 0, is_final: true, state: BatchState::Completed }).unwrap();
        let stored = store.named(batch.id().as_str()).unwrap();
        drop(batch);
        assert!(!stored.path.join(SPOOL).exists());
        let opened = store.open(&stored).unwrap();
        assert!(opened.past.ended.is_some_and(|ended| ended.is_final && ended.verdict == verdict));
    }

    #[test]
    fn a_journal_that_is_damaged_is_told_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let batch = create(&store);
        batch.begin(began(1)).unwrap();
        batch.begin(began(2)).unwrap();
        let stored = store.named(batch.id().as_str()).unwrap();
        drop(batch);
        let journal = stored.path.join("journal");
        let mut bytes = fs::read(&journal).unwrap();
        bytes[50] ^= 1;
        fs::write(&journal, &bytes).unwrap();
        let refused = store.open(&stored).unwrap_err();
        assert_eq!(refused.code, exit::CANNOT_WRITE);
        assert!(refused.message.unwrap().contains("journal: it is damaged at byte 16"), "it names the place");
        assert_eq!(fs::read(&journal).unwrap(), bytes);
    }

    /// Opens a batch again, of which a result isn't what was kept; whether the batch goes on without it.
    fn goes_on_without(process: Option<ProcessEnd>) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let batch = create(&store);
        batch.begin(began(1)).unwrap();
        let task = TaskId { job: JobId(0), index: 3 };
        let end = TaskEnd {
            task,
            state: Lifecycle::Completed,
            attempt: Some(AttemptId { epoch: Epoch(1), number: 1 }),
            attempts: 1,
            host: None,
            has_result: true,
            process,
            reason: None,
        };
        let summary = Some(ResultSummary { bytes: 5, crc: 1, compute_us: 1 });
        let ended = Entry::Manager { record: Record::Ended { end, summary }, at_ms: 0 };
        for entry in [ended, Entry::Taken { task, values: Vec::new() }] {
            batch.journal().note([entry], None);
            batch.journal().sync().unwrap();
        }
        let result = batch.spool().path(task);
        fs::write(&result, "").unwrap();
        let stored = store.named(batch.id().as_str()).unwrap();
        drop(batch);
        match store.open(&stored) {
            Ok(opened) => {
                assert!(opened.past.results().is_empty() && !result.exists());
                true
            }
            Err(refused) => {
                assert!(refused.message.unwrap().contains("it isn't what was kept"));
                false
            }
        }
    }

    #[test]
    fn what_a_computation_made_is_made_again_if_it_is_gone_and_nothing_else() {
        assert!(goes_on_without(None));
        assert!(!goes_on_without(Some(ProcessEnd::default())));
    }

    #[test]
    fn the_next_titan_removes_what_a_killed_one_left_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let living = create(&store);
        let dead = folder.path().join("dead");
        fs::create_dir(&dead).unwrap();
        let (ours, theirs) = (folder.path().join("tmp-dead"), folder.path().join("precious"));
        fs::write(&ours, "").unwrap();
        fs::write(&theirs, "").unwrap();
        let odd = folder.path().join(OsStr::from_bytes(b"tmp\n\xff-dead"));
        fs::write(&odd, "").unwrap();
        let noted = [&ours, &theirs, &odd].map(|path| [path.as_os_str().as_bytes(), b"\0"].concat());
        fs::write(dead.join(TEMPORARIES), noted.concat()).unwrap();
        let next = create(&store);
        assert!(!dead.exists() && !ours.exists() && !odd.exists());
        assert!(theirs.exists() && living.path().exists() && next.path().exists());
    }
}
