//! What stays of batches on this machine's disk: a directory for each, from which it can be gone on with.
//!
//! # Layout
//! - this file: the folder of all batches; which one a person means.
//! - [`dir`]: one batch's directory: its name, its lock, what goes with it.
//! - [`specification`]: what was asked for; [`journal`]: what has come of it.
//! - [`spool`]: results, until their sink has them; [`steady`]: files that go to the disk while they are written.
//! - [`disk`]: files that have to stay when the power goes.
//! - [`ended`]: the mark of a batch that is over.
//! - [`live`]: where a batch is that somebody is working on.
//! - [`view`]: how far a batch is, for whoever asks.
//! - [`prune`]: what is too old to be kept.

pub(crate) mod dir;
pub(crate) mod disk;
pub(crate) mod ended;
#[cfg(test)]
mod fuzz;
pub(crate) mod journal;
pub(crate) mod live;
pub(crate) mod prune;
pub(crate) mod specification;
pub(crate) mod spool;
pub(crate) mod steady;
pub(crate) mod view;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use titan_proto::id::BatchId;

use crate::config::cluster::StateOptions;
use crate::config::suggest::nearest;
use crate::config::text::printable;
use crate::exit::{self, Failure};
use crate::paths::named;
use crate::template::shell;
use dir::{BatchDir, Opened, check_ours, open_lock};
use specification::{Heading, RecordedFile, Specification};

/// Held while batches are made and pruned, so that nobody prunes what isn't locked yet.
const DOOR: &str = ".lock";

/// The folder of all batches.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    folder: PathBuf,
}

/// One batch of the folder.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: BatchId,
    pub(crate) path: PathBuf,
    /// When it was begun; sorts batches, and means nothing else.
    pub(crate) began: SystemTime,
    /// What it is, if that can be read.
    pub(crate) heading: Option<Heading>,
}

impl Store {
    /// The folder that was chosen, or the user's own.
    pub(crate) fn find(chosen: Option<&Path>) -> Result<Self, Failure> {
        if let Some(folder) = chosen {
            let absolute = std::path::absolute(folder);
            let problem = |error| Failure::plain(exit::USAGE, format!("--batch-dir {}: {error}", folder.display()));
            return absolute.map(|folder| Self { folder }).map_err(problem);
        }
        let state = dirs::state_dir().ok_or_else(|| {
            let hint = "set HOME, or XDG_STATE_HOME to a directory of yours";
            Failure::hinted(exit::CANNOT_WRITE, "there is no state directory", hint)
        })?;
        Ok(Self { folder: state.join("titan").join("batches") })
    }

    /// The same, where one that was chosen has to be there.
    pub(crate) fn existing(chosen: Option<&Path>) -> Result<Self, Failure> {
        if let Some(folder) = chosen.filter(|folder| !folder.is_dir()) {
            let problem = format!("--batch-dir {}: there is no such folder", folder.display());
            return Err(Failure::plain(exit::USAGE, problem));
        }
        Self::find(chosen)
    }

    /// A folder of batches.
    #[cfg(test)]
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// A new batch. What is too old goes, and what killed titans have left elsewhere.
    pub(crate) fn create(&self, specification: &Specification, options: StateOptions) -> Result<BatchDir, Failure> {
        self.try_create(specification, options).map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space there, or set",
                _ => "set",
            };
            let hint = format!("{remedy} XDG_STATE_HOME to a directory of yours, or give one as --batch-dir DIR");
            Failure::hinted(exit::CANNOT_WRITE, format!("cannot make a batch's directory: {error}"), hint)
        })
    }

    /// The same, with the problem as it is.
    ///
    /// # Errors
    /// The folder can't be made or written.
    pub(crate) fn try_create(&self, specification: &Specification, options: StateOptions) -> io::Result<BatchDir> {
        make_folders(&self.folder).map_err(|error| named(&self.folder, &error))?;
        let door = open_lock(&self.folder.join(DOOR))?;
        door.lock()?;
        prune::sweep(self, options);
        BatchDir::create(&self.folder, specification)
    }

    /// Goes on with a batch.
    pub(crate) fn open(&self, batch: &Stored) -> Result<Opened, Failure> {
        BatchDir::open(&batch.id, &batch.path)
    }

    /// All batches, the newest first.
    pub(crate) fn list(&self) -> Vec<Stored> {
        let mut batches: Vec<Stored> = self.entries().filter_map(|(id, path)| Stored::read(id, path)).collect();
        batches.sort_by(|one, other| other.began.cmp(&one.began).then_with(|| one.id.cmp(&other.id)));
        batches
    }

    /// What looks like a batch's directory. Others may write in the folder: one of theirs could name anything of ours to be removed.
    fn entries(&self) -> impl Iterator<Item = (BatchId, PathBuf)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let named = entries.filter_map(|entry| Some((BatchId::parse(entry.file_name().to_str()?)?, entry.path())));
        named.filter(|(_, path)| check_ours(path).is_ok())
    }

    /// The batch that a person means: by its id, by a beginning of one, or by its name.
    pub(crate) fn named(&self, word: &str) -> Result<Stored, Failure> {
        let all = self.list();
        if let Some(exact) = all.iter().find(|batch| batch.id.as_str() == word) {
            return Ok(exact.clone());
        }
        let alike: Vec<&Stored> = all.iter().filter(|batch| batch.id.as_str().starts_with(word)).collect();
        let of_name = || all.iter().find(|batch| batch.heading.as_ref().is_some_and(|heading| heading.name == word));
        match (&alike[..], of_name()) {
            (_, Some(newest)) => Ok(newest.clone()),
            ([only], None) if !word.is_empty() => Ok((*only).clone()),
            ([_, _, ..], None) if !word.is_empty() => {
                let ids: Vec<&str> = alike.iter().map(|batch| batch.id.as_str()).collect();
                let problem = format!("'{}' begins several batches: {}", printable(word), ids.join(", "));
                Err(Failure::hinted(exit::USAGE, problem, "write one of them"))
            }
            _ => {
                let names = all.iter().flat_map(|batch| {
                    let name = batch.heading.as_ref().map(|heading| heading.name.as_str());
                    [Some(batch.id.as_str()), name].into_iter().flatten()
                });
                let hint = match nearest(word, names) {
                    Some(near) => format!("did you mean '{near}'? titan batches lists them"),
                    None => "titan batches lists those that there are".to_owned(),
                };
                Err(Failure::hinted(exit::USAGE, format!("there is no batch '{}'", printable(word)), hint))
            }
        }
    }
}

impl Stored {
    fn read(id: BatchId, path: PathBuf) -> Option<Self> {
        let (began, heading) = Heading::read(&path)?;
        Some(Self { id, path, began, heading })
    }

    /// What to type to go on with it, with these options.
    pub(crate) fn way_on(&self, options: &str) -> String {
        let folder = self.path.parent().unwrap_or(&self.path);
        let is_default = Store::find(None).is_ok_and(|store| store.folder == folder);
        let chosen = match is_default {
            true => String::new(),
            false => {
                let folder = shell::for_paste(&[folder.as_os_str().as_bytes().to_vec()]);
                format!(" --batch-dir {}", String::from_utf8_lossy(&folder))
            }
        };
        format!("titan resume{options}{chosen} {}", self.id)
    }

    /// The batch file that it was made of, if it was made of one.
    pub(crate) fn recorded_file(&self) -> Option<RecordedFile> {
        Specification::read(&self.path).ok()?.file
    }
}

/// Makes folders that nobody else can enter.
pub(super) fn make_folders(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a file, or empties it, that nobody else can read.
pub(crate) fn make_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Writes a file that nobody else can read.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    make_file(path)?.write_all(bytes)
}

/// ms since 1970, for people.
pub(crate) fn now_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "for people only")]
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
