//! Which contents are missing, and what is asked for next: never more at once than a bound, in the order in which attempts
//! need them. A content that can't be had fails the attempts that need it, and nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque, btree_map};
use std::io;
use std::sync::Arc;

use titan_proto::files::{BlobId, Content, Entry, EntryKind, FileSet, MAX_PIECE_BYTES};
use titan_proto::id::AttemptId;
use titan_proto::message::Outcome;

use super::blobs::{Incoming, Store};
use super::{Order, Staged, Told};

/// Bytes that are asked for and haven't come.
const MAX_ASKED_BYTES: u64 = 16 << 20;
/// Pieces that are asked for and haven't come.
const MAX_ASKED: usize = 256;

/// How a store is opened when it is needed first.
type Open = Box<dyn Fn() -> io::Result<Store> + Send>;

/// What is known of files and contents.
pub(super) struct Fetcher {
    host: String,
    open: Open,
    store: Option<Store>,
    sets: BTreeMap<FileSet, Set>,
    /// The sets of attempts that aren't over.
    attempts: BTreeMap<AttemptId, Vec<FileSet>>,
    /// What attempts still wait for.
    missing: BTreeMap<AttemptId, BTreeSet<BlobId>>,
    /// How many attempts need a content.
    users: BTreeMap<BlobId, u32>,
    downloads: BTreeMap<BlobId, Download>,
    /// Contents of which not all was asked for.
    queue: VecDeque<BlobId>,
    /// What was asked for, by stream.
    asked: BTreeMap<u64, Asked>,
    asked_bytes: u64,
    next_stream: u64,
    next_download: u64,
}

/// A set of entries, looked through once as they come: many attempts may need it.
#[derive(Debug, Default)]
struct Set {
    entries: Arc<Vec<Entry>>,
    /// The contents that have to be fetched, and their lengths.
    contents: BTreeMap<BlobId, u64>,
    /// Why no task may have it.
    problem: Option<String>,
}

#[derive(Debug)]
struct Download {
    /// Tells it from an earlier one of the same content, of which pieces may still come.
    number: u64,
    bytes: u64,
    /// Asked for up to here.
    asked: u64,
    /// Opened when its first piece is asked for.
    incoming: Option<Incoming>,
    received: u64,
}

#[derive(Debug)]
struct Asked {
    blob: BlobId,
    /// The download that it is for.
    download: u64,
    bytes: u64,
    received: u64,
}

impl Fetcher {
    pub(super) fn new(host: String, open: impl Fn() -> io::Result<Store> + Send + 'static) -> Self {
        Self {
            host,
            open: Box::new(open),
            store: None,
            sets: BTreeMap::new(),
            attempts: BTreeMap::new(),
            missing: BTreeMap::new(),
            users: BTreeMap::new(),
            downloads: BTreeMap::new(),
            queue: VecDeque::new(),
            asked: BTreeMap::new(),
            asked_bytes: 0,
            next_stream: 0,
            next_download: 0,
        }
    }

    /// Does what it is told, and tells what comes of it.
    pub(super) fn handle(&mut self, order: Order, tell: &impl Fn(Told)) {
        match order {
            Order::Files { set, entries } => self.sets.entry(set).or_default().extend(entries),
            Order::Stage { attempt, sets } => self.stage(attempt, sets, tell),
            Order::Bytes { stream, data } => self.on_bytes(stream, &data, tell),
            Order::Piece { stream, failure } => self.on_piece(stream, failure, tell),
            Order::Release { attempt } => self.release(attempt),
        }
        self.ask(tell);
    }

    fn stage(&mut self, attempt: AttemptId, sets: Vec<FileSet>, tell: &impl Fn(Told)) {
        let problem = self.sets_of(&sets).find_map(|set| set.problem.clone());
        if let Some(problem) = problem {
            // It uses nothing, and so has nothing to release.
            self.sets.remove(&FileSet::Attempt(attempt));
            return self.fail(attempt, Outcome::failed(problem), tell);
        }
        let wanted = self.contents_of(&sets);
        self.attempts.insert(attempt, sets);
        let missing = self.find_missing(&wanted);
        for blob in wanted.keys() {
            *self.users.entry(*blob).or_default() += 1;
        }
        match missing {
            Ok(missing) => drop(self.missing.insert(attempt, missing)),
            Err(error) => {
                let outcome = self.cannot_keep(&error);
                return self.fail(attempt, outcome, tell);
            }
        }
        self.tell_staged(attempt, tell);
    }

    fn find_missing(&mut self, wanted: &BTreeMap<BlobId, u64>) -> io::Result<BTreeSet<BlobId>> {
        if wanted.is_empty() {
            return Ok(BTreeSet::new());
        }
        if self.store.is_none() {
            self.store = Some((self.open)()?);
        }
        let store = self.store.as_mut().expect("the lines above have opened it");
        let mut missing = BTreeSet::new();
        for (&blob, &bytes) in wanted {
            match self.downloads.entry(blob) {
                btree_map::Entry::Vacant(_) if store.has(blob, bytes) => continue,
                btree_map::Entry::Vacant(free) => {
                    let number = self.next_download;
                    self.next_download += 1;
                    free.insert(Download { number, bytes, asked: 0, incoming: None, received: 0 });
                    self.queue.push_back(blob);
                }
                btree_map::Entry::Occupied(_) => {}
            }
            missing.insert(blob);
        }
        Ok(missing)
    }

    fn sets_of<'a>(&'a self, sets: &'a [FileSet]) -> impl Iterator<Item = &'a Set> {
        sets.iter().filter_map(|set| self.sets.get(set))
    }

    fn contents_of(&self, sets: &[FileSet]) -> BTreeMap<BlobId, u64> {
        self.sets_of(sets).flat_map(|set| &set.contents).map(|(blob, bytes)| (*blob, *bytes)).collect()
    }

    fn tell_staged(&mut self, attempt: AttemptId, tell: &impl Fn(Told)) {
        if self.missing.get(&attempt).is_none_or(|missing| !missing.is_empty()) {
            return;
        }
        self.missing.remove(&attempt);
        let sets = self.sets_of(&self.attempts[&attempt]).map(|set| Arc::clone(&set.entries)).collect();
        let store = self.store.as_ref().map(|store| store.folder().to_owned()).unwrap_or_default();
        tell(Told::Staged { attempt, staged: Ok(Staged { sets, store }) });
    }

    fn fail(&mut self, attempt: AttemptId, outcome: Outcome, tell: &impl Fn(Told)) {
        self.missing.remove(&attempt);
        tell(Told::Staged { attempt, staged: Err(outcome) });
    }

    fn cannot_keep(&self, error: &io::Error) -> Outcome {
        Outcome::failed_by_machine(format!("{} can't keep files: {error}", self.host))
    }

    fn on_bytes(&mut self, stream: u64, data: &[u8], tell: &impl Fn(Told)) {
        let Some(asked) = self.asked.get_mut(&stream) else { return };
        asked.received += data.len() as u64;
        let (blob, is_too_much) = (asked.blob, asked.received > asked.bytes);
        let Some(download) = self.downloads.get_mut(&blob).filter(|download| download.number == asked.download) else {
            return;
        };
        if is_too_much {
            return self.give_up(blob, &Outcome::failed("more came than was asked for"), tell);
        }
        if let Some(Err(error)) = download.incoming.as_mut().map(|incoming| incoming.write(data)) {
            let outcome = self.cannot_keep(&error);
            self.give_up(blob, &outcome, tell);
        }
    }

    fn on_piece(&mut self, stream: u64, failure: Option<String>, tell: &impl Fn(Told)) {
        let Some(asked) = self.asked.remove(&stream) else { return };
        self.asked_bytes -= asked.bytes;
        let blob = asked.blob;
        let Some(download) = self.downloads.get_mut(&blob).filter(|download| download.number == asked.download) else {
            return;
        };
        if let Some(reason) = failure {
            return self.give_up(blob, &Outcome::failed(reason), tell);
        }
        if asked.received != asked.bytes {
            return self.give_up(blob, &Outcome::failed("less came than was asked for"), tell);
        }
        download.received += asked.bytes;
        if download.received == download.bytes {
            self.complete(blob, tell);
        }
    }

    fn complete(&mut self, blob: BlobId, tell: &impl Fn(Told)) {
        let incoming = self.downloads.remove(&blob).and_then(|download| download.incoming);
        let (Some(incoming), Some(store)) = (incoming, &mut self.store) else { return };
        let users = &self.users;
        match store.finish(incoming, |blob| users.contains_key(&blob)) {
            Ok(true) => {
                let waiting =
                    self.missing.iter_mut().filter_map(|(attempt, missing)| missing.remove(&blob).then_some(*attempt));
                for attempt in waiting.collect::<Vec<_>>() {
                    self.tell_staged(attempt, tell);
                }
            }
            Ok(false) => self.give_up(blob, &Outcome::failed("an input changed while it was sent"), tell),
            Err(error) => {
                let outcome = self.cannot_keep(&error);
                self.give_up(blob, &outcome, tell);
            }
        }
    }

    /// All that need that content fail.
    fn give_up(&mut self, blob: BlobId, outcome: &Outcome, tell: &impl Fn(Told)) {
        self.downloads.remove(&blob);
        self.queue.retain(|queued| *queued != blob);
        let waiting = self.missing.iter().filter(|(_, missing)| missing.contains(&blob)).map(|(attempt, _)| *attempt);
        for attempt in waiting.collect::<Vec<_>>() {
            self.fail(attempt, outcome.clone(), tell);
        }
    }

    fn release(&mut self, attempt: AttemptId) {
        let Some(sets) = self.attempts.remove(&attempt) else { return };
        self.missing.remove(&attempt);
        for blob in self.contents_of(&sets).into_keys() {
            if let Some(users) = self.users.get_mut(&blob) {
                *users -= 1;
                if *users == 0 {
                    self.users.remove(&blob);
                    // Nobody waits for it any more; what was asked for is thrown away when it comes.
                    self.downloads.remove(&blob);
                }
            }
        }
        self.queue.retain(|queued| self.downloads.contains_key(queued));
        self.sets.remove(&FileSet::Attempt(attempt));
    }

    fn ask(&mut self, tell: &impl Fn(Told)) {
        while self.asked.len() < MAX_ASKED && self.asked_bytes < MAX_ASKED_BYTES {
            let (Some(blob), Some(store)) = (self.queue.front().copied(), &self.store) else { return };
            let Some(download) = self.downloads.get_mut(&blob) else { return };
            if download.incoming.is_none() {
                match store.begin(blob) {
                    Ok(incoming) => download.incoming = Some(incoming),
                    Err(error) => {
                        let outcome = self.cannot_keep(&error);
                        self.give_up(blob, &outcome, tell);
                        continue;
                    }
                }
            }
            let bytes = (download.bytes - download.asked).min(MAX_PIECE_BYTES);
            let (stream, offset, number) = (self.next_stream, download.asked, download.number);
            self.next_stream += 1;
            download.asked += bytes;
            if download.asked == download.bytes {
                self.queue.pop_front();
            }
            self.asked.insert(stream, Asked { blob, download: number, bytes, received: 0 });
            self.asked_bytes += bytes;
            tell(Told::Want { stream, blob, offset, bytes });
        }
    }
}

impl Set {
    fn extend(&mut self, entries: Vec<Entry>) {
        for entry in &entries {
            self.contents.extend(content(entry));
            self.problem = self.problem.take().or_else(|| entry.problem());
        }
        Arc::make_mut(&mut self.entries).extend(entries);
    }
}

/// The content that an entry needs to be fetched, and its length. An empty file needs none.
fn content(entry: &Entry) -> Option<(BlobId, u64)> {
    match entry.kind {
        EntryKind::File { bytes: bytes @ 1.., content: Content::Blob(blob) } => Some((blob, bytes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
