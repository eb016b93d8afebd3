//! Outputs on this machine: written under a temporary name beside their place, flushed to the disk, and renamed when the
//! batch has ended well. What was there before stays until then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::paths::{folder_of, named};
use crate::state::dir::Temporaries;
use crate::state::steady::Steady;

/// Bytes gathered before a write.
const BUFFER_BYTES: usize = 256 << 10;

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Standard output, as it is made.
    Stdout,
    /// A file.
    File(PathBuf),
    /// A folder of files; made if it isn't there.
    Folder(PathBuf),
}

impl Target {
    /// Its path, if it has one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdout => None,
            Self::File(path) | Self::Folder(path) => Some(path),
        }
    }
}

/// The outputs of a batch. A clone is the same outputs.
#[derive(Debug, Clone)]
pub(crate) struct Outputs {
    targets: BTreeMap<String, Target>,
    batch: String,
    temporaries: Temporaries,
    written: Arc<Mutex<Vec<Written>>>,
}

#[derive(Debug)]
struct Written {
    temporary: PathBuf,
    target: PathBuf,
    /// The target as a person named it.
    named_as: PathBuf,
}

impl Outputs {
    /// Outputs by the name of their option.
    pub(crate) fn new(targets: BTreeMap<String, Target>, batch: String, temporaries: Temporaries) -> Self {
        Self { targets, batch, temporaries, written: Arc::default() }
    }

    /// Gives every file its final name, once its bytes are on the disk.
    ///
    /// # Errors
    /// A file can't be flushed or renamed; those before it are in place.
    pub(crate) fn commit(&self) -> io::Result<Vec<PathBuf>> {
        let written = std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner));
        for file in &written {
            let flushed = File::open(&file.temporary).and_then(|open| open.sync_all());
            flushed.map_err(|error| named(&file.target, &error))?;
        }
        for file in &written {
            fs::rename(&file.temporary, &file.target).map_err(|error| named(&file.target, &error))?;
            self.temporaries.forget(&file.temporary);
        }
        let folders: BTreeSet<&Path> = written.iter().map(|file| folder_of(&file.target)).collect();
        for folder in folders {
            let flushed = File::open(folder).and_then(|open| open.sync_all());
            flushed.map_err(|error| named(folder, &error))?;
        }
        Ok(written.into_iter().map(|file| file.named_as).collect())
    }

    /// What was written goes, and gets no place.
    pub(crate) fn abandon(&self) {
        for file in std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner)) {
            let _ = fs::remove_file(&file.temporary);
            self.temporaries.forget(&file.temporary);
        }
    }

    fn create_file(&self, target: &Path) -> io::Result<Box<dyn Write + Send>> {
        // What a link leads to is replaced, not the link.
        let (named_as, target) = (target, &fs::canonicalize(target).unwrap_or_else(|_| target.to_owned()));
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = target.with_file_name(format!(".{name}.titan-{}.tmp", self.batch));
        // Absolute: the next titan may run elsewhere.
        let temporary = std::path::absolute(&temporary)?;
        let make = || OpenOptions::new().write(true).create_new(true).open(&temporary);
        let file = self.temporaries.make(&temporary, make).map_err(|error| named(target, &error))?;
        if let Ok(before) = fs::metadata(target) {
            file.set_permissions(before.permissions()).map_err(|error| named(target, &error))?;
        }
        let written = Written { temporary, target: target.to_owned(), named_as: named_as.to_owned() };
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push(written);
        Ok(Box::new(BufWriter::with_capacity(BUFFER_BYTES, Steady::new(file, folder_of(target).to_owned(), 0))))
    }
}

impl kernels::Outputs for Outputs {
    fn create(&mut self, output: &str, file: Option<&str>) -> io::Result<Box<dyn Write + Send>> {
        let target = self.targets.get(output).ok_or_else(|| io::Error::other(format!("no output --{output}")))?;
        match (target, file) {
            (Target::Stdout, None) => Ok(Box::new(BufWriter::with_capacity(BUFFER_BYTES, io::stdout()))),
            (Target::File(path), None) if is_special(path) => Ok(Special::at(path)),
            (Target::File(path), None) => self.create_file(path),
            (Target::Folder(folder), Some(name)) => {
                fs::create_dir_all(folder).map_err(|error| named(folder, &error))?;
                self.create_file(&folder.join(name))
            }
            _ => Err(io::Error::other(format!("--{output} isn't that kind of output"))),
        }
    }
}

/// A device or a pipe: written as it is, never replaced.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| !data.is_file() && !data.is_dir())
}

/// A device or a pipe, opened with the first byte: until a pipe has a reader its opening waits.
struct Special {
    path: PathBuf,
    file: Option<File>,
}

impl Special {
    fn at(path: &Path) -> Box<dyn Write + Send> {
        Box::new(BufWriter::with_capacity(BUFFER_BYTES, Self { path: path.to_owned(), file: None }))
    }
}

impl Write for Special {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.file.is_none() {
            let opened = OpenOptions::new().write(true).open(&self.path);
            self.file = Some(opened.map_err(|error| named(&self.path, &error))?);
        }
        self.file.as_mut().map_or(Ok(0), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether an output could be written there, before anything is done for it.
///
/// # Errors
/// Why not, and what to do.
pub(crate) fn check(target: &Target) -> Result<(), String> {
    match target {
        Target::Stdout => Ok(()),
        Target::File(path) => check_file(path),
        Target::Folder(path) if path.as_os_str().is_empty() => Err("'' names no folder".to_owned()),
        Target::Folder(path) if path.is_dir() => check_writable(path),
        Target::Folder(path) if path.exists() => Err(format!("{} is not a folder", path.display())),
        Target::Folder(path) => check_writable(folder_of(path)),
    }
}

fn check_file(path: &Path) -> Result<(), String> {
    if is_special(path) {
        return Ok(());
    }
    if path.is_dir() {
        return Err(format!("{} is a folder: name a file in it", path.display()));
    }
    if path.file_name().is_none() {
        return Err(format!("'{}' names no file", path.display()));
    }
    check_writable(folder_of(path))
}

/// The same for all ways to write a path, whether there is something or not.
pub(crate) fn place_of(path: &Path) -> PathBuf {
    let folder = fs::canonicalize(folder_of(path)).unwrap_or_else(|_| folder_of(path).to_owned());
    fs::canonicalize(path).unwrap_or_else(|_| folder.join(path.file_name().unwrap_or_default()))
}

fn check_writable(folder: &Path) -> Result<(), String> {
    if !folder.is_dir() {
        return Err(format!("the folder {0} doesn't exist: mkdir -p {0}", folder.display()));
    }
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|error| format!("the folder {} can't be written: {error}", folder.display()))
}
