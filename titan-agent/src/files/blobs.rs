//! Contents that are kept on this host, each under its hash: whole or not there at all. The least recently used go first when
//! there are too many bytes, but none that is in use here or was used a moment ago by somebody else. They are spread over 256
//! folders: file systems get slow where one folder has a hundred thousand files.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry, File, FileTimes, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};
use titan_proto::files::BlobId;

use crate::own_folder;

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;
/// Another agent may be about to use what was used less than this ago.
const RECENT_SPAN: Duration = Duration::from_secs(600);
/// What is used all the time is marked as used this often: well within the time for which others leave it alone.
const MARK_SPAN: Duration = Duration::from_secs(60);
/// A half-written content that is older than this belongs to nobody any more.
const ABANDONED_SPAN: Duration = Duration::from_secs(24 * 3_600);

/// What the name of a folder of half-written contents begins with.
const INCOMING: &str = ".incoming-";

/// The folder of contents.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    /// What this agent is writing, until it is whole; goes with the agent.
    incoming: PathBuf,
    max_bytes: u64,
    /// Bytes that are there, as far as this agent knows.
    bytes: u64,
    /// Checked by this agent: whole; and when they were last marked as used.
    verified: BTreeMap<BlobId, Instant>,
}

/// Where contents lie if the folder of the agent's own file is ours alone.
fn beside() -> Option<PathBuf> {
    let file = std::env::current_exe().ok()?;
    file.parent().filter(|folder| own_folder::is_ours(folder)).map(|folder| folder.join("blobs"))
}

/// Several hosts may share the folder.
fn incoming_name(agent: u32) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{INCOMING}{host}-{agent}")
}

/// Removes what an agent of that number, which has ended, was writing.
pub(crate) fn clean_up(agent: u32) {
    if let Some(folder) = beside() {
        let _ = fs::remove_dir_all(folder.join(incoming_name(agent)));
    }
}

/// A content that is being written.
#[derive(Debug)]
pub(super) struct Incoming {
    id: BlobId,
    path: PathBuf,
    file: File,
    hash: Sha256,
    bytes: u64,
    is_kept: bool,
}

impl Store {
    /// The store of this user on this host: beside the agent's own file if that folder is ours alone, else in `scratch`.
    pub(super) fn open(scratch: &Path, max_bytes: u64) -> io::Result<Self> {
        let folder = match beside() {
            Some(folder) if own_folder::make(&folder).is_ok() => folder,
            _ => {
                own_folder::make(scratch)?;
                let folder = scratch.join("blobs");
                own_folder::make(&folder)?;
                folder
            }
        };
        Self::at(folder, max_bytes)
    }

    fn at(folder: PathBuf, max_bytes: u64) -> io::Result<Self> {
        let incoming = folder.join(incoming_name(std::process::id()));
        let mut store = Self { folder, incoming, max_bytes, bytes: 0, verified: BTreeMap::new() };
        for entry in store.entries()? {
            let Ok(data) = entry.metadata() else { continue };
            let is_temporary = entry.file_name().as_encoded_bytes().starts_with(b".");
            if is_temporary && age(&data) > ABANDONED_SPAN {
                let _ = fs::remove_file(entry.path());
            } else if !is_temporary {
                store.bytes += data.len();
            }
        }
        // Of agents whose watcher has died too.
        for folder in fs::read_dir(&store.folder)?.flatten() {
            let is_incoming = folder.file_name().as_encoded_bytes().starts_with(INCOMING.as_bytes());
            if is_incoming && folder.metadata().is_ok_and(|data| age(&data) > ABANDONED_SPAN) {
                let _ = fs::remove_dir(folder.path());
            }
        }
        Ok(store)
    }

    /// All that lies in the folders of contents.
    fn entries(&self) -> io::Result<impl Iterator<Item = DirEntry> + use<>> {
        let folders = fs::read_dir(&self.folder)?.flatten();
        Ok(folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten()))
    }

    /// Where contents lie.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether that content is there and whole; if so it counts as used now.
    pub(super) fn has(&mut self, id: BlobId, bytes: u64) -> bool {
        if self.verified.get(&id).is_some_and(|used| used.elapsed() < MARK_SPAN) {
            return true;
        }
        let path = path_of(&self.folder, id);
        let Ok(file) = File::open(&path) else { return false };
        let is_whole = file.metadata().is_ok_and(|data| data.len() == bytes)
            && (self.verified.contains_key(&id) || hash_of(&file).is_ok_and(|hash| hash == id));
        if is_whole {
            self.verified.insert(id, Instant::now());
            let _ = file.set_times(FileTimes::new().set_modified(wall_clock()));
        } else {
            let _ = fs::remove_file(&path);
        }
        is_whole
    }

    /// Begins to write a content.
    pub(super) fn begin(&self, id: BlobId) -> io::Result<Incoming> {
        own_folder::make(&self.incoming)?;
        let path = self.incoming.join(format!(".{id}"));
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Incoming { id, path, file, hash: Sha256::new(), bytes: 0, is_kept: false })
    }

    /// The content is complete; false: it isn't what its name says.
    pub(super) fn finish(&mut self, mut incoming: Incoming, in_use: impl Fn(BlobId) -> bool) -> io::Result<bool> {
        if BlobId(incoming.hash.clone().finalize().into()) != incoming.id {
            return Ok(false);
        }
        let path = path_of(&self.folder, incoming.id);
        own_folder::make(path.parent().unwrap_or(&self.folder))?;
        fs::rename(&incoming.path, path)?;
        incoming.is_kept = true;
        self.verified.insert(incoming.id, Instant::now());
        self.bytes += incoming.bytes;
        if self.bytes > self.max_bytes {
            self.evict(in_use)?;
        }
        Ok(true)
    }

    fn evict(&mut self, in_use: impl Fn(BlobId) -> bool) -> io::Result<()> {
        let mut found: Vec<(SystemTime, u64, BlobId)> = Vec::new();
        for entry in self.entries()? {
            if let (Some(id), Ok(data)) = (parse(entry.file_name().as_encoded_bytes()), entry.metadata()) {
                found.push((data.modified()?, data.len(), id));
            }
        }
        found.sort();
        self.bytes = found.iter().map(|(_, bytes, _)| bytes).sum();
        for (used, bytes, id) in found {
            if self.bytes <= self.max_bytes {
                break;
            }
            // Somebody else's clock may have written that time: one in the future is recent.
            let is_recent = wall_clock().duration_since(used).map_or(true, |age| age < RECENT_SPAN);
            let is_own = self.verified.contains_key(&id);
            if !in_use(id) && (is_own || !is_recent) && fs::remove_file(path_of(&self.folder, id)).is_ok() {
                self.verified.remove(&id);
                self.bytes -= bytes;
            }
        }
        Ok(())
    }
}

impl Incoming {
    /// Its next bytes.
    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.hash.update(data);
        self.bytes += data.len() as u64;
        self.file.write_all(data)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Where a content lies in a store's folder.
pub(super) fn path_of(folder: &Path, id: BlobId) -> PathBuf {
    let name = id.to_string();
    folder.join(&name[..2]).join(name)
}

fn parse(name: &[u8]) -> Option<BlobId> {
    let text = std::str::from_utf8(name).ok().filter(|text| text.len() == 64)?;
    let mut id = [0; 32];
    for (place, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    Some(BlobId(id))
}

fn hash_of(mut file: &File) -> io::Result<BlobId> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(BlobId(hash.finalize().into())),
            length => hash.update(&buffer[..length]),
        }
    }
}

fn age(data: &fs::Metadata) -> Duration {
    data.modified().ok().and_then(|at| wall_clock().duration_since(at).ok()).unwrap_or_default()
}

#[expect(
    clippy::disallowed_methods,
    reason = "files have no other time; a wrong one makes a content be sent once more"
)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(content: &[u8]) -> BlobId {
        BlobId(Sha256::digest(content).into())
    }

    fn put(store: &mut Store, content: &[u8]) -> BlobId {
        let mut incoming = store.begin(id_of(content)).unwrap();
        incoming.write(content).unwrap();
        assert!(store.finish(incoming, |_| false).unwrap());
        id_of(content)
    }

    #[test]
    fn what_is_not_what_its_name_says_is_never_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::at(folder.path().to_owned(), 100).unwrap();
        let mut incoming = store.begin(id_of(b"right")).unwrap();
        incoming.write(b"wrong").unwrap();
        assert!(!store.finish(incoming, |_| false).unwrap());
        assert_eq!(store.entries().unwrap().count(), 0);
    }

    #[test]
    fn what_was_damaged_on_the_disk_is_noticed_by_the_next_agent() {
        let folder = tempfile::tempdir().unwrap();
        let id = put(&mut Store::at(folder.path().to_owned(), 100).unwrap(), b"content");
        let mut next = Store::at(folder.path().to_owned(), 100).unwrap();
        assert!(next.has(id, 7));
        fs::write(path_of(folder.path(), id), b"CONTENT").unwrap();
        let mut next = Store::at(folder.path().to_owned(), 100).unwrap();
        assert!(!next.has(id, 7));
        assert!(!path_of(folder.path(), id).exists());
    }

    #[test]
    fn the_least_recently_used_goes_first_and_never_one_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::at(folder.path().to_owned(), 25).unwrap();
        let (first, second) = (put(&mut store, b"1234567890"), put(&mut store, b"0987654321"));
        let at = |id, seconds| {
            let file = File::options().write(true).open(path_of(folder.path(), id)).unwrap();
            file.set_modified(wall_clock() - Duration::from_secs(seconds)).unwrap();
        };
        at(first, 2_000);
        at(second, 1_000);
        let mut incoming = store.begin(id_of(b"abcdefghij")).unwrap();
        incoming.write(b"abcdefghij").unwrap();
        assert!(store.finish(incoming, |id| id == first).unwrap());
        assert!(store.has(first, 10) && !store.has(second, 10) && store.has(id_of(b"abcdefghij"), 10));
    }
}
