//! Tasks that needn't run again: an earlier batch of the same file has completed the same ones, and what they left is still there.
//!
//! A task is the same if its identity is: a hash of what it runs, its environment, its stdin, the contents that it is given and what it is
//! to leave. Of several that are alike each earlier one stands for one. What a task reads without having declared it isn't seen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use titan_manager::journal::{Entry, Identity, JobName, PlacedContent, PlacedFile};
use titan_manager::{Lifecycle, Record};
use titan_proto::id::{JobId, TaskId};

use crate::files::contents::hash_of;
use crate::paths::folder_of;
use crate::state::Stored;
use crate::state::view;

/// Earlier batches that are looked at.
const MAX_BATCHES: usize = 20;

/// What earlier batches have made. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reuse(Option<Arc<Mutex<Inner>>>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// For each identity what tasks of it have left.
    known: BTreeMap<Identity, Vec<Arc<Vec<PlacedFile>>>>,
    /// Tasks that weren't run, until their sink has been told.
    taken: BTreeMap<TaskId, Arc<Vec<PlacedFile>>>,
    count: u64,
}

impl Reuse {
    /// What these batches, the newest first, have left in that folder.
    pub(crate) fn of<'b>(batches: impl Iterator<Item = &'b Stored>, root: &Path) -> Self {
        let mut known: BTreeMap<Identity, Vec<Arc<Vec<PlacedFile>>>> = BTreeMap::new();
        for batch in batches.take(MAX_BATCHES) {
            let mut made = Made::default();
            // What can't be read is nothing to keep.
            let _ = view::read(&batch.path, |entry| made.take(entry));
            let mut of_batch: BTreeMap<Identity, Vec<Arc<Vec<PlacedFile>>>> = BTreeMap::new();
            for (identity, files) in made.complete() {
                of_batch.entry(identity).or_default().push(files);
            }
            // A newer batch has what an older one had.
            of_batch.into_iter().for_each(|(identity, files)| {
                known.entry(identity).or_insert(files);
            });
        }
        let (root, taken) = (root.to_owned(), BTreeMap::new());
        Self(Some(Arc::new(Mutex::new(Inner { root, known, taken, count: 0 }))))
    }

    /// Whether a task needn't run, since one of its identity has left what is still there.
    pub(crate) fn take(&self, task: TaskId, identity: Identity) -> bool {
        let Some(mut inner) = self.lock() else { return false };
        let Some(files) = inner.known.get_mut(&identity).and_then(Vec::pop) else { return false };
        if !files.iter().all(|file| is_in_place(&inner.root, file)) {
            return false;
        }
        inner.taken.insert(task, files);
        inner.count += 1;
        true
    }

    /// What stands for the result of a task that wasn't run. Asked once.
    pub(crate) fn files_of(&self, task: TaskId) -> Option<Arc<Vec<PlacedFile>>> {
        self.lock()?.taken.remove(&task)
    }

    /// How many tasks weren't run.
    pub(crate) fn count(&self) -> u64 {
        self.lock().map_or(0, |inner| inner.count)
    }

    fn lock(&self) -> Option<MutexGuard<'_, Inner>> {
        self.0.as_ref().map(|inner| inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn is_in_place(root: &Path, PlacedFile { path, content, .. }: &PlacedFile) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let path = root.join(std::ffi::OsStr::from_bytes(path));
    match content {
        PlacedContent::File(blob) => hash_of(&path).is_ok_and(|now| now == *blob),
        PlacedContent::Link => path.is_symlink(),
        PlacedContent::Folder => path.is_dir() || folder_of(&path) == path,
    }
}

/// What one batch has made.
#[derive(Default)]
struct Made {
    jobs: Vec<JobName>,
    identities: BTreeMap<TaskId, Identity>,
    completed: BTreeMap<TaskId, bool>,
    placed: BTreeMap<TaskId, Vec<PlacedFile>>,
}

impl Made {
    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Began { jobs, .. } => self.jobs = jobs,
            Entry::Identified { task, identity } => drop(self.identities.insert(task, identity)),
            Entry::Placed { task, files } => self.placed.entry(task).or_default().extend(files),
            Entry::Manager { record: Record::Kept(kept), .. } => drop(self.placed.remove(&kept.task)),
            Entry::Manager { record: Record::Ended { end, .. }, .. } => {
                self.completed.insert(end.task, end.state == Lifecycle::Completed);
            }
            Entry::Reopened { task } => {
                self.completed.remove(&task);
                self.placed.remove(&task);
            }
            Entry::Manager { .. } | Entry::Taken { .. } | Entry::Told { .. } | Entry::Ended { .. } => {}
        }
    }

    /// The identities of tasks that are COMPLETED with all that belong to them, and what these have left together.
    fn complete(self) -> Vec<(Identity, Arc<Vec<PlacedFile>>)> {
        let group = |job: JobId| self.jobs.get(job.0 as usize).map_or(1, |job| job.group.max(1));
        let mut complete = Vec::new();
        let mut groups: BTreeMap<(JobId, u32), Vec<TaskId>> = BTreeMap::new();
        for task in self.identities.keys() {
            groups.entry((task.job, task.index / group(task.job))).or_default().push(*task);
        }
        for ((job, _), tasks) in groups {
            let is_completed = |task: &TaskId| self.completed.get(task) == Some(&true);
            if tasks.len() as u32 == group(job) && tasks.iter().all(is_completed) {
                let files = tasks.iter().filter_map(|task| self.placed.get(task)).flatten().cloned();
                let files = Arc::new(files.collect::<Vec<_>>());
                complete.extend(tasks.iter().map(|task| (self.identities[task], Arc::clone(&files))));
            }
        }
        complete
    }
}
