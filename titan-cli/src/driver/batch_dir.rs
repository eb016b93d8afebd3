//! The directory of one batch: its name, its lock, its spool. It goes when the batch ends; what a killed titan left, the
//! next one removes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use titan_proto::id::BatchId;

use super::journal::Journal;
use super::spool::{Spool, named};

/// Held while batches are made and swept, so that nobody sweeps what isn't locked yet.
const DOOR: &str = ".lock";
/// In a batch's directory: held while its titan lives.
const LOCK: &str = "lock";
/// In a batch's directory: what else is to go with it, each path with a zero byte after it.
const TEMPORARIES: &str = "temporaries";

/// A batch's directory, until it is dropped.
#[derive(Debug)]
pub(crate) struct BatchDir {
    id: BatchId,
    path: PathBuf,
    temporaries: Temporaries,
    journal: Journal,
    _lock: File,
}

/// Files and folders outside the batch's directory that are ours: removed with it.
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

impl BatchDir {
    /// Makes one under `batches`, and removes those whose titan is gone.
    ///
    /// # Errors
    /// The folder can't be made or written.
    pub(crate) fn create(batches: &Path) -> io::Result<Self> {
        make_folders(batches).map_err(|error| named(batches, &error))?;
        let door = open_lock(&batches.join(DOOR))?;
        door.lock()?;
        sweep(batches);
        let (id, path) = make_unused(batches).map_err(|error| named(batches, &error))?;
        let lock = open_lock(&path.join(LOCK))?;
        lock.try_lock().map_err(|error| named(&path, &io::Error::other(error.to_string())))?;
        make_folders(&path.join("spool"))?;
        let noted = Noted { list: File::create(path.join(TEMPORARIES))?, paths: BTreeSet::new(), closed: false };
        Ok(Self {
            id,
            path,
            temporaries: Temporaries(Arc::new(Mutex::new(noted))),
            journal: Journal::default(),
            _lock: lock,
        })
    }

    pub(crate) fn id(&self) -> &BatchId {
        &self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn spool(&self) -> Spool {
        Spool::new(self.path.join("spool"))
    }

    pub(crate) fn journal(&self) -> Journal {
        self.journal.clone()
    }

    pub(crate) fn temporaries(&self) -> Temporaries {
        self.temporaries.clone()
    }
}

impl Drop for BatchDir {
    fn drop(&mut self) {
        self.temporaries.remove_all();
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn make_folders(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn open_lock(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    opened.map_err(|error| named(path, &error))
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

/// Removes every batch whose lock is free, with what it noted elsewhere.
fn sweep(batches: &Path) {
    for entry in fs::read_dir(batches).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(BatchId::parse) else { continue };
        let Ok(_lock) = take_over(&entry.path()) else { continue };
        let list = fs::read(entry.path().join(TEMPORARIES)).unwrap_or_default();
        let is_ours = |path: &&Path| {
            path.is_absolute() && path.file_name().is_some_and(|name| name.to_string_lossy().contains(id.as_str()))
        };
        let paths = list.split(|byte| *byte == 0).map(|path| Path::new(OsStr::from_bytes(path)));
        paths.filter(is_ours).for_each(remove);
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// The lock of a batch whose titan is certainly gone; None: it died before it had one.
///
/// # Errors
/// Its titan lives, or that can't be told.
fn take_over(batch: &Path) -> io::Result<Option<File>> {
    match File::open(batch.join(LOCK)) {
        Ok(lock) => lock.try_lock().map(|()| Some(lock)).map_err(|error| io::Error::other(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|data| data.is_dir());
    let _ = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let batches = folder.path().join("titan/batches");
        let batch = BatchDir::create(&batches).unwrap();
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
        assert_eq!(left, [DOOR]);
    }

    #[test]
    fn the_next_titan_removes_what_a_killed_one_left_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let living = BatchDir::create(folder.path()).unwrap();
        let dead = folder.path().join("dead");
        fs::create_dir(&dead).unwrap();
        let (ours, theirs) = (folder.path().join("tmp-dead"), folder.path().join("precious"));
        fs::write(&ours, "").unwrap();
        fs::write(&theirs, "").unwrap();
        let odd = folder.path().join(OsStr::from_bytes(b"tmp\n\xff-dead"));
        fs::write(&odd, "").unwrap();
        let noted = [&ours, &theirs, &odd].map(|path| [path.as_os_str().as_bytes(), b"\0"].concat());
        fs::write(dead.join(TEMPORARIES), noted.concat()).unwrap();
        let next = BatchDir::create(folder.path()).unwrap();
        assert!(!dead.exists() && !ours.exists() && !odd.exists());
        assert!(theirs.exists() && living.path().exists() && next.path().exists());
    }
}
