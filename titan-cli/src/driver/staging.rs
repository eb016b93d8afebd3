//! Between the manager's decision that a task starts and the word to its worker: what it runs and the files that it is given
//! are put together, off the driver's thread, since files have to be read for their hashes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use titan_manager::WorkerId;
use titan_proto::command::CommandTask;
use titan_proto::files::{BlobId, FileSet};
use titan_proto::id::{AttemptId, JobId, TaskId};
use titan_proto::message::{Part, ToAgent};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;

use crate::files::check::{Claims, OutputCheck};
use crate::files::contents::{Contents, Listing};
use crate::files::{Committed, Input, TaskFiles, listing};

/// Attempts that are put together.
pub(crate) struct Staging {
    shared: Arc<Shared>,
    /// Whose word isn't out yet.
    pending: BTreeMap<AttemptId, WorkerId>,
    staged: mpsc::UnboundedReceiver<StagedStart>,
    done: mpsc::UnboundedSender<StagedStart>,
}

struct Shared {
    root: PathBuf,
    contents: Contents,
    claims: Claims,
    committed: Committed,
    /// Those who read files at once.
    readers: Semaphore,
    /// What all tasks of a job are given, for agents here and for others.
    bases: tokio::sync::Mutex<BTreeMap<(JobId, bool), Listed>>,
}

/// Files that were listed, or why they can't be.
type Listed = Result<Arc<Listing>, String>;

/// What is to be put together.
pub(crate) struct Start {
    pub(crate) worker: WorkerId,
    pub(crate) is_local: bool,
    pub(crate) attempt: AttemptId,
    pub(crate) task: TaskId,
    pub(crate) tried: u32,
    pub(crate) command: Box<CommandTask>,
    pub(crate) files: Result<TaskFiles, String>,
    /// What it is, but for the contents that it is given.
    pub(crate) identity: Option<BlobId>,
}

/// What was put together, or why that can't be.
pub(crate) struct StagedStart {
    pub(crate) worker: WorkerId,
    pub(crate) attempt: AttemptId,
    pub(crate) task: TaskId,
    /// What it is.
    pub(crate) identity: Option<BlobId>,
    pub(crate) start: Result<Box<FullStart>, String>,
}

/// A start with all that goes with it.
#[derive(Debug)]
pub(crate) struct FullStart {
    pub(crate) message: ToAgent,
    pub(crate) sets: Vec<(FileSet, Arc<Listing>)>,
    /// Follows what the worker sends for it.
    pub(crate) check: Option<OutputCheck>,
}

impl Staging {
    /// For a batch whose files are relative to that folder, and whose sinks note what they have put in place.
    /// `identifies`: contents are hashed even for agents that read them where they are.
    pub(crate) fn new(root: PathBuf, committed: Committed, identifies: bool) -> Self {
        let (done, staged) = mpsc::unbounded_channel();
        let shared = Shared {
            root,
            contents: Contents::new(identifies),
            claims: Claims::default(),
            committed,
            readers: Semaphore::new(titan_agent::machine::cores().max(1) as usize),
            bases: tokio::sync::Mutex::default(),
        };
        Self { shared: Arc::new(shared), pending: BTreeMap::new(), staged, done }
    }

    /// Begins; an attempt without files is ready at once.
    pub(crate) fn begin(&mut self, start: Start, base: &[Input]) -> Option<StagedStart> {
        let (worker, attempt, task, identity) = (start.worker, start.attempt, start.task, start.identity);
        let files = match start.files {
            Ok(files) => files,
            Err(problem) => return Some(StagedStart { worker, attempt, task, identity, start: Err(problem) }),
        };
        let Start { is_local, tried, mut command, .. } = start;
        command.outputs = files.outputs.iter().map(|output| output.pattern.clone()).collect();
        let check = (!files.outputs.is_empty())
            .then(|| OutputCheck::new(task, Arc::new(files.outputs), self.shared.claims.clone()));
        let full = move |command, sets| FullStart {
            message: ToAgent::Start { attempt, task, tried, part: Part::Command(command) },
            sets,
            check,
        };
        let has_inputs = !(files.inputs.is_empty() && files.of_jobs.is_empty() && base.is_empty());
        if !has_inputs {
            return Some(StagedStart {
                worker,
                attempt,
                task,
                identity,
                start: Ok(Box::new(full(command, Vec::new()))),
            });
        }
        self.pending.insert(attempt, worker);
        let (shared, done, base) = (Arc::clone(&self.shared), self.done.clone(), base.to_vec());
        tokio::spawn(async move {
            let others = shared.committed.of(&files.of_jobs);
            let inputs = files.inputs.into_iter().chain(others).collect();
            let mut given = Sha256::new();
            let start = shared.sets(attempt, task.job, is_local, base, inputs).await.map(|sets| {
                sets.iter().for_each(|(_, listing)| given.update(listing.identity.0));
                command.inputs = sets.iter().map(|(set, _)| *set).collect();
                Box::new(full(command, sets))
            });
            // It fails only when the batch is over.
            let identity = identity.map(|of_task| BlobId(given.chain_update(of_task.0).finalize().into()));
            let _ = done.send(StagedStart { worker, attempt, task, identity, start });
        });
        None
    }

    /// What follows what an attempt sends that is to leave these.
    pub(crate) fn check(&self, task: TaskId, files: TaskFiles) -> Option<OutputCheck> {
        let outputs = Arc::new(files.outputs);
        (!outputs.is_empty()).then(|| OutputCheck::new(task, outputs, self.shared.claims.clone()))
    }

    /// The next that is ready.
    pub(crate) async fn next(&mut self) -> StagedStart {
        match self.staged.recv().await {
            Some(staged) => staged,
            // Never: a sender is kept here.
            None => std::future::pending().await,
        }
    }

    /// Whether that attempt was being put together; from now on it isn't.
    pub(crate) fn withdraw(&mut self, attempt: AttemptId) -> bool {
        self.pending.remove(&attempt).is_some()
    }

    /// That worker's session is over.
    pub(crate) fn forget(&mut self, worker: WorkerId) {
        self.pending.retain(|_, of| *of != worker);
    }
}

impl Shared {
    async fn sets(
        self: Arc<Self>,
        attempt: AttemptId,
        job: JobId,
        is_local: bool,
        base: Vec<Input>,
        inputs: Vec<Input>,
    ) -> Result<Vec<(FileSet, Arc<Listing>)>, String> {
        let mut sets = Vec::new();
        if !base.is_empty() {
            // Held while it is read: whoever else needs it waits.
            let mut bases = self.bases.lock().await;
            let known = bases.get(&(job, is_local)).cloned();
            let listed = match known {
                Some(listed) => listed,
                None => Arc::clone(&self).read(base, is_local).await,
            };
            bases.insert((job, is_local), listed.clone());
            sets.push((FileSet::Job(job), listed?));
        }
        if !inputs.is_empty() {
            sets.push((FileSet::Attempt(attempt), self.read(inputs, is_local).await?));
        }
        Ok(sets)
    }

    async fn read(self: Arc<Self>, inputs: Vec<Input>, is_local: bool) -> Listed {
        let shared = Arc::clone(&self);
        let _permit = shared.readers.acquire().await;
        let read = move || {
            let locals = listing::list(&self.root, &inputs)?;
            self.contents.describe(locals, is_local).map(Arc::new)
        };
        spawn_blocking(read).await.unwrap_or_else(|error| Err(format!("its inputs can't be read: {error}")))
    }
}
