//! What is done with what tasks write and leave: printed whole and never mixed, told as JSON, put into a folder, logged; and
//! files in their places.
//!
//! # Layout
//! - this file: what the room has to be told of a task.
//! - [`printer`]: the sink of a job of commands.
//! - [`record`], [`tagged`], [`results`], [`joblog`]: its parts.
//! - [`streams`]: titan's own stdout and stderr.
//! - [`live`]: lines as they come.
//! - [`kept`]: what tasks have written, for whoever asks later.
//! - [`failures`]: an example of each kind of failure, for the summary.

pub(crate) mod failures;
pub(crate) mod joblog;
pub(crate) mod kept;
pub(crate) mod live;
pub(crate) mod printer;
pub(crate) mod record;
pub(crate) mod results;
mod streams;
mod tagged;

use crate::files::Output;

/// What is known of the tasks of a job by who has made them.
pub(crate) trait Book: Send + Sync {
    /// That task is told of: what there is to know of it. Asked once.
    fn conclude(&self, index: u32) -> Concluded;

    /// What that task has to leave, while it is under way.
    fn outputs(&self, index: u32) -> Vec<Output>;

    /// What that task is made of, while it is under way.
    fn values(&self, index: u32) -> Vec<Vec<u8>>;
}

/// A task that has come to its end, as it was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Concluded {
    /// What it was made of.
    pub(crate) values: Vec<Vec<u8>>,
    /// What it ran; can be pasted into sh.
    pub(crate) command: Vec<u8>,
}
