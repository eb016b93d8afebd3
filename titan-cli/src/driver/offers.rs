//! The files that one worker may ask for: those that its tasks are given, and no others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use titan_proto::files::{BlobId, Content, Entry, EntryKind, FileSet, MAX_PIECE_BYTES};
use titan_proto::id::AttemptId;
use titan_proto::message::ToAgent;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::files::contents::{Listing, Source};

/// Bytes of entries in one message: far below the bound on messages.
const MESSAGE_BYTES: usize = 256 << 10;
/// Bytes of an entry beside its paths, and more.
const ENTRY_BYTES: usize = 128;
/// An agent asks for at most so many pieces ahead, and some.
const MAX_WANTS: usize = 1_024;

/// A piece, or why it can't be read.
type Piece = Result<Vec<u8>, String>;

/// What was offered, and what was asked for.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    /// Contents, and how many sets hold them.
    sources: BTreeMap<BlobId, (Source, u32)>,
    /// The sets of jobs: told once.
    told: BTreeSet<FileSet>,
    /// The own sets of attempts.
    attempts: BTreeMap<AttemptId, Arc<Listing>>,
    wants: VecDeque<Want>,
    reading: Option<(u64, JoinHandle<Piece>)>,
}

#[derive(Debug)]
struct Want {
    stream: u64,
    blob: BlobId,
    offset: u64,
    bytes: u64,
}

impl Offers {
    /// Offers a set for an attempt: the messages that tell of it, if that wasn't done before.
    pub(crate) fn offer(&mut self, attempt: AttemptId, set: FileSet, listing: Arc<Listing>) -> Vec<ToAgent> {
        let is_new = match set {
            FileSet::Job(_) => self.told.insert(set),
            FileSet::Attempt(_) => true,
        };
        if !is_new {
            return Vec::new();
        }
        for (blob, source) in &listing.sources {
            self.sources.entry(*blob).or_insert_with(|| (source.clone(), 0)).1 += 1;
        }
        let messages = messages(set, &listing.entries);
        if set == FileSet::Attempt(attempt) {
            self.attempts.insert(attempt, listing);
        }
        messages
    }

    /// An attempt is over: what only it needed isn't offered any more.
    pub(crate) fn withdraw(&mut self, attempt: AttemptId) {
        let Some(listing) = self.attempts.remove(&attempt) else { return };
        for (blob, _) in &listing.sources {
            if let Some((_, count)) = self.sources.get_mut(blob) {
                *count -= 1;
                if *count == 0 {
                    self.sources.remove(blob);
                }
            }
        }
    }

    /// It asks for a piece.
    ///
    /// # Errors
    /// No agent asks like that.
    pub(crate) fn ask(&mut self, stream: u64, blob: BlobId, offset: u64, bytes: u64) -> Result<(), String> {
        if self.wants.len() >= MAX_WANTS || bytes > MAX_PIECE_BYTES {
            return Err("it asks for more of files at once than an agent does".to_owned());
        }
        self.wants.push_back(Want { stream, blob, offset, bytes });
        Ok(())
    }

    /// The next piece that was read, if there is room for one; otherwise never. Nothing is lost if it isn't waited for.
    pub(crate) async fn next_piece(&mut self, has_room: bool) -> (u64, Piece) {
        if self.reading.is_none()
            && has_room
            && let Some(Want { stream, blob, offset, bytes }) = self.wants.pop_front()
        {
            let source = self.sources.get(&blob).map(|(source, _)| source.clone());
            let read = move || source.ok_or("it isn't needed any more")?.read(offset, bytes);
            self.reading = Some((stream, spawn_blocking(read)));
        }
        let Some((stream, reading)) = &mut self.reading else { return std::future::pending().await };
        let stream = *stream;
        let piece = reading.await.unwrap_or_else(|error| Err(error.to_string()));
        self.reading = None;
        (stream, piece)
    }
}

fn messages(set: FileSet, entries: &[Entry]) -> Vec<ToAgent> {
    let mut messages = Vec::new();
    let mut part: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let path = match &entry.kind {
            EntryKind::Link { target } => target.len(),
            EntryKind::File { content: Content::Here(path), .. } => path.len(),
            _ => 0,
        };
        bytes += ENTRY_BYTES + entry.place.len() + path;
        part.push(entry.clone());
        if bytes >= MESSAGE_BYTES {
            messages.push(ToAgent::Files { set, entries: std::mem::take(&mut part) });
            bytes = 0;
        }
    }
    if !part.is_empty() {
        messages.push(ToAgent::Files { set, entries: part });
    }
    messages
}
