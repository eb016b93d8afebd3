//! Files of commands' tasks: contents are fetched from the manager once and kept, put into a task's folder before it
//! starts, and what a task declares to leave is sent after it has ended.
//!
//! # Layout
//! - this file: the thread that fetches, so that no disk holds up the deciding thread.
//! - [`fetch`]: which contents are missing, and what is asked for next.
//! - [`blobs`]: the contents that are kept on this host.
//! - [`place`]: entries → a task's folder.
//! - [`collect`]: a task's folder → the outputs that it declared.

mod blobs;
pub(crate) mod collect;
mod fetch;
pub(crate) mod place;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;

use bytes::Bytes;
use titan_proto::files::{BlobId, Entry, FileSet};
use titan_proto::id::AttemptId;
use titan_proto::message::Outcome;

use blobs::Store;
pub(crate) use blobs::clean_up;
use fetch::Fetcher;

/// What is to be put into one task's folder, and where contents are found for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Staged {
    pub(crate) sets: Vec<Arc<Vec<Entry>>>,
    pub(crate) store: PathBuf,
}

/// What the deciding thread tells.
#[derive(Debug)]
pub(crate) enum Order {
    /// A set has these entries, too.
    Files { set: FileSet, entries: Vec<Entry> },
    /// An attempt needs these sets.
    Stage { attempt: AttemptId, sets: Vec<FileSet> },
    /// Bytes of a piece that was asked for.
    Bytes { stream: u64, data: Bytes },
    /// The end of a piece, or why it doesn't come.
    Piece { stream: u64, failure: Option<String> },
    /// An attempt is over.
    Release { attempt: AttemptId },
}

/// What the deciding thread is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// A piece is to be asked for.
    Want { stream: u64, blob: BlobId, offset: u64, bytes: u64 },
    /// Everything that an attempt needs is here, or why it never will be.
    Staged { attempt: AttemptId, staged: Result<Staged, Outcome> },
}

/// The thread that fetches.
pub(crate) struct Files {
    orders: Sender<Order>,
}

impl Files {
    /// Starts it. Contents are kept beside the agent's own file, or in its scratch folder where that isn't to be had.
    ///
    /// # Errors
    /// This machine can't run another thread.
    pub(crate) fn start(
        host: String,
        cache_bytes: u64,
        scratch: PathBuf,
        tell: impl Fn(Told) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (orders, ordered) = mpsc::channel();
        thread::Builder::new().name("files".to_owned()).spawn(move || {
            let mut fetcher = Fetcher::new(host, move || Store::open(&scratch, cache_bytes));
            for order in ordered {
                fetcher.handle(order, &tell);
            }
        })?;
        Ok(Self { orders })
    }

    /// It is done in the order in which it is told.
    pub(crate) fn order(&self, order: Order) {
        // It fails only if the thread has panicked: then attempts wait for ever, and the lease ends them.
        let _ = self.orders.send(order);
    }
}
