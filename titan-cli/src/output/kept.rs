//! What tasks have written, kept for whoever asks later (`titan logs`): as much as fits, and nothing of the files that they left.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use titan_proto::capture::header;
use titan_proto::id::TaskId;

use super::printer::each_written;
use crate::state::make_folders;
use crate::state::spool::Spool;

/// In a batch's directory.
const FOLDER: &str = "kept";
/// Bytes that are kept of one task.
const MAX_TASK_BYTES: u64 = 1 << 20;
/// Bytes that are kept of a job.
const MAX_BYTES: u64 = 64 << 20;

/// What is kept of one job.
#[derive(Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
    bytes: u64,
}

impl Kept {
    /// For a job of that batch.
    pub(crate) fn new(batch: &Path) -> io::Result<Self> {
        let folder = batch.join(FOLDER);
        make_folders(&folder)?;
        Ok(Self { folder, bytes: 0 })
    }

    /// A task's result isn't needed any more: a small one stays, and of one with files what it wrote. What can't be kept goes.
    pub(crate) fn retire(&mut self, spool: &Spool, task: TaskId, has_files: bool) {
        let from = spool.path(task);
        let to = self.folder.join(task.to_string());
        let Ok(bytes) = fs::metadata(&from).map(|data| data.len()) else { return };
        if self.bytes < MAX_BYTES {
            let kept = match has_files || bytes > MAX_TASK_BYTES {
                false => fs::rename(&from, &to).map(|()| bytes),
                true => copy_written(&from, &to),
            };
            self.bytes += kept.unwrap_or(0);
        }
        spool.remove(task);
    }
}

/// The kept output of a task, as records.
pub(crate) fn open(batch: &Path, task: TaskId) -> Option<File> {
    File::open(batch.join(FOLDER).join(task.to_string())).ok()
}

/// Copies what a task wrote to stdout and stderr, as far as it is kept. How many bytes.
fn copy_written(from: &Path, to: &Path) -> io::Result<u64> {
    let from = File::open(from)?;
    let mut to = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    let mut copied = 0;
    each_written(from, |channel, bytes| {
        copied += bytes.len() as u64;
        to.write_all(&header(channel, bytes.len() as u32)).and_then(|()| to.write_all(bytes))?;
        Ok(copied < MAX_TASK_BYTES)
    })?;
    Ok(copied)
}
