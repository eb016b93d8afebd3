//! What differs between batches in what is shown: kernels have a picture and phases, commands have words and are silent
//! when all is well.

use std::fmt;
use std::sync::Arc;

use titan_proto::id::TaskId;

use crate::exit;

/// How people know tasks.
pub(crate) trait TaskNames: Send + Sync {
    /// What a task is called.
    fn label(&self, task: TaskId) -> String;
    /// A command that runs it again by itself, where that is another one than its own.
    fn alone(&self, _task: TaskId) -> Option<String> {
        None
    }
    /// What it runs, as it could be pasted into sh; None if that isn't known any more.
    fn command(&self, task: TaskId) -> Option<Vec<u8>>;
}

/// How a batch is shown.
#[derive(Clone)]
pub(crate) struct Manner {
    /// What tasks are called; None: by their index.
    pub(crate) names: Option<Arc<dyn TaskNames>>,
    /// Nothing is said where there is no terminal and all is well.
    pub(crate) is_silent: bool,
}

impl fmt::Debug for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manner").field("is_silent", &self.is_silent).finish_non_exhaustive()
    }
}

impl Manner {
    /// For a kernel.
    pub(crate) fn kernel() -> Self {
        Self { names: None, is_silent: false }
    }

    /// For jobs of a file.
    pub(crate) fn batch(names: Arc<dyn TaskNames>) -> Self {
        Self { names: Some(names), is_silent: false }
    }

    /// For commands whose output is what people want to see.
    pub(crate) fn commands(names: Arc<dyn TaskNames>) -> Self {
        Self { names: Some(names), is_silent: true }
    }

    /// Whether a summary is printed at an end with that code.
    pub(crate) fn is_summary_wanted(&self, code: u8) -> bool {
        !self.is_silent || code != exit::SUCCESS
    }

    /// Whether the summary tells how the time divides.
    pub(crate) fn has_phases(&self) -> bool {
        !self.is_silent
    }
}
