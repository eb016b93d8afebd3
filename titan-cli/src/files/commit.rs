//! What a task left → its places here: all of it under temporary names beside them, then, when all of it is on the disk, renamed.
//! What was there before stays until then. If titan dies on the way, the next one does it again from the result that was kept: the
//! same files. Only what [`super::check`] has admitted comes here.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use titan_manager::journal::entry::MAX_ENTRY_FILES;
use titan_manager::journal::{Entry as Noted, PlacedContent, PlacedFile};
use titan_proto::capture::{Channel, Splitter};
use titan_proto::files::{BlobId, Entry, EntryKind, EntryReader};
use titan_proto::id::TaskId;

use super::Output;
use crate::paths::{folder_of, named};
use crate::state::dir::{BatchDir, Temporaries};
use crate::state::disk::{sync_files, sync_folders_of};
use crate::state::journal::Journal;

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;
/// Bytes of paths that stand in one entry of the journal, or a few more.
const MAX_ENTRY_BYTES: usize = 256 << 10;

/// Permissions that a host may give: not set-user-id and its like, and nobody but the user and a group may write.
const MODES: u32 = 0o775;

/// Puts outputs in their places.
#[derive(Debug)]
pub(crate) struct Committer {
    /// The folder that places are relative to.
    root: PathBuf,
    batch: String,
    temporaries: Temporaries,
    journal: Journal,
    /// Tells it from others of the same batch.
    number: usize,
    /// Temporary names that were used.
    used: u64,
    /// Folders that were made for the task that is being put in place.
    made: Vec<PathBuf>,
}

/// A file, link or empty folder that is in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    /// As a person would name it.
    pub(crate) path: PathBuf,
    /// Its place in the task's folder.
    pub(crate) place: Vec<u8>,
    pub(crate) content: PlacedContent,
}

impl Placed {
    /// As it is noted in the journal.
    fn noted(&self) -> PlacedFile {
        let path = self.path.as_os_str().as_bytes().to_vec();
        let anchor = path.len().saturating_sub(self.place.len()) as u32;
        PlacedFile { path, anchor, content: self.content }
    }

    /// One that an earlier titan has put in its place.
    pub(crate) fn of_journal(PlacedFile { path, anchor, content }: &PlacedFile) -> Self {
        let place = path.get(*anchor as usize..).unwrap_or_default().to_vec();
        Self { path: PathBuf::from(OsStr::from_bytes(path)), place, content: *content }
    }
}

/// Notes what is in its place of a task.
pub(crate) fn note(journal: &Journal, task: TaskId, files: &[Placed]) {
    let mut part: Vec<PlacedFile> = Vec::new();
    let mut bytes = 0;
    let mut entries = Vec::new();
    for file in files {
        bytes += file.path.as_os_str().len();
        part.push(file.noted());
        if bytes > MAX_ENTRY_BYTES || part.len() >= MAX_ENTRY_FILES {
            entries.push(Noted::Placed { task, files: std::mem::take(&mut part) });
            bytes = 0;
        }
    }
    entries.push(Noted::Placed { task, files: part });
    journal.note(entries, None);
}

/// Something that is there under a temporary name, or is to be.
struct Pending {
    /// None for a folder, which is made where it is.
    temporary: Option<PathBuf>,
    target: PathBuf,
    /// The part of the target that a person has named; the rest was chosen by who sent it.
    named: PathBuf,
    entry: Entry,
    /// Of a file, when it has been written.
    blob: Option<BlobId>,
}

impl Pending {
    /// A file that was written under its temporary name.
    fn written(&self) -> Option<&PathBuf> {
        self.blob.and(self.temporary.as_ref())
    }

    fn into_placed(self) -> Placed {
        let content = match (&self.temporary, self.blob) {
            (None, _) => PlacedContent::Folder,
            (Some(_), None) => PlacedContent::Link,
            (Some(_), Some(blob)) => PlacedContent::File(blob),
        };
        Placed { path: self.target, place: self.entry.place, content }
    }
}

impl Committer {
    pub(crate) fn new(root: PathBuf, directory: &BatchDir, number: usize) -> Self {
        let (batch, temporaries, journal) =
            (directory.id().to_string(), directory.temporaries(), directory.journal().clone());
        Self { root, batch, temporaries, journal, number, used: 0, made: Vec::new() }
    }

    /// Puts in place what a task left, and says what that is.
    ///
    /// # Errors
    /// It can't be written; what was there before is still there, unless the renaming had begun.
    pub(crate) fn commit(&mut self, task: TaskId, result: &mut File, outputs: &[Output]) -> io::Result<Vec<Placed>> {
        let mut pending = Vec::new();
        self.made.clear();
        let unpacked = self.unpack(result, outputs, &mut pending);
        let put_all = |()| {
            sync_files(&pending.iter().filter_map(Pending::written).cloned().collect::<Vec<_>>())?;
            pending.iter().try_for_each(|file| self.put(file).map_err(|error| named(&file.target, &error)))?;
            // The innermost first: what is put into a folder changes its time.
            pending.iter().rev().try_for_each(|file| self.end(file).map_err(|error| named(&file.target, &error)))?;
            sync_folders_of(&pending.iter().map(|file| self.root.join(&file.target)).collect::<Vec<_>>())
        };
        if let Err(error) = unpacked.and_then(put_all) {
            // Room for others; what was renamed isn't there under that name any more.
            for temporary in pending.iter().filter_map(|file| file.temporary.as_ref()) {
                let _ = fs::remove_file(temporary);
                self.temporaries.forget(temporary);
            }
            // Those that are empty.
            self.made.iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
            return Err(error);
        }
        let holds_others: BTreeSet<PathBuf> =
            pending.iter().filter_map(|file| file.target.parent().map(Path::to_owned)).collect();
        // A folder that holds something comes with what it holds.
        let is_placed = |file: &Pending| file.temporary.is_some() || !holds_others.contains(&file.target);
        let placed: Vec<Placed> = pending.into_iter().filter(is_placed).map(Pending::into_placed).collect();
        note(&self.journal, task, &placed);
        Ok(placed)
    }

    fn unpack(&mut self, result: &mut File, outputs: &[Output], pending: &mut Vec<Pending>) -> io::Result<()> {
        let (mut splitter, mut reader) = (Splitter::default(), EntryReader::default());
        let mut open: Option<OpenFile> = None;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let length = result.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            let mut taken = Ok(());
            let mut take = |channel: Channel, bytes: &[u8]| -> io::Result<()> {
                match channel {
                    Channel::Stdout | Channel::Stderr => {}
                    Channel::Content => open.as_mut().map_or(Ok(()), |file| file.write(bytes))?,
                    Channel::Entry => {
                        for entry in reader.push(bytes).map_err(io::Error::other)? {
                            close(open.take(), pending)?;
                            let (file, begun) = self.begin(entry, outputs)?;
                            pending.push(begun);
                            open = file;
                        }
                    }
                }
                Ok(())
            };
            let split = splitter.push(&buffer[..length], |channel, bytes| {
                if taken.is_ok() {
                    taken = take(channel, bytes);
                }
            });
            split.map_err(io::Error::other)?;
            taken?;
        }
        close(open, pending)
    }

    fn begin(&mut self, entry: Entry, outputs: &[Output]) -> io::Result<(Option<OpenFile>, Pending)> {
        let output = outputs.iter().find(|output| output.pattern.covers(&entry.place));
        let output = output.ok_or_else(|| io::Error::other("a file that wasn't declared"))?;
        let target = output.target(&entry.place);
        self.begin_at(&target, output.named(), entry).map_err(|error| named(&target, &error))
    }

    fn begin_at(&mut self, target: &Path, named: PathBuf, entry: Entry) -> io::Result<(Option<OpenFile>, Pending)> {
        let target = target.to_owned();
        let place = self.root.join(&target);
        if entry.kind == EntryKind::Folder {
            if place.symlink_metadata().is_ok_and(|data| !data.is_dir()) && !(place.is_dir() && named == target) {
                return Err(io::Error::new(io::ErrorKind::NotADirectory, "there is a file or a link of that name"));
            }
            return Ok((None, Pending { temporary: None, target, named, entry, blob: None }));
        }
        make_folders(&self.root.join(&named), folder_of(&place), &mut self.made)?;
        if place.is_dir() && !place.is_symlink() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "there is a folder of that name"));
        }
        self.used += 1;
        let temporary = place.with_file_name(format!(".titan-{}-{}-{}.tmp", self.batch, self.number, self.used));
        let file = self.temporaries.make(&temporary, || match &entry.kind {
            EntryKind::Link { target } => symlink(OsStr::from_bytes(target), &temporary).map(|()| None),
            _ => OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map(Some),
        })?;
        let open = |file| OpenFile { file: BufWriter::new(file), hash: Sha256::new(), target: target.clone() };
        let file = file.map(open);
        Ok((file, Pending { temporary: Some(temporary), target, named, entry, blob: None }))
    }

    fn put(&mut self, Pending { temporary, target, named, .. }: &Pending) -> io::Result<()> {
        let (place, named) = (self.root.join(target), self.root.join(named));
        let Some(temporary) = temporary else { return make_folders(&named, &place, &mut self.made) };
        // Looked at again: what was put before this may be a link.
        make_folders(&named, folder_of(&place), &mut self.made)?;
        fs::rename(temporary, &place)?;
        self.temporaries.forget(temporary);
        Ok(())
    }
}

impl Committer {
    /// Folders get their times and permissions when all is in them.
    fn end(&self, Pending { temporary, target, entry, .. }: &Pending) -> io::Result<()> {
        if temporary.is_some() {
            return Ok(());
        }
        let folder = File::open(self.root.join(target))?;
        folder.set_times(FileTimes::new().set_modified(entry.modified()))?;
        // One that its owner couldn't write would keep the next run out.
        folder.set_permissions(Permissions::from_mode(entry.mode & MODES | 0o700))
    }
}

/// A file that is being written.
struct OpenFile {
    file: BufWriter<File>,
    hash: Sha256,
    target: PathBuf,
}

impl OpenFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(|error| named(&self.target, &error))
    }

    /// All of it is written; the entry says how old it is, and who may do what with it.
    fn close(mut self, entry: &Entry) -> io::Result<BlobId> {
        let mut end = || {
            self.file.flush()?;
            let file = self.file.get_ref();
            file.set_times(FileTimes::new().set_modified(entry.modified()))?;
            file.set_permissions(Permissions::from_mode(entry.mode & MODES))
        };
        end().map_err(|error| named(&self.target, &error))?;
        Ok(BlobId(self.hash.finalize().into()))
    }
}

/// A file is written, the last that has begun.
fn close(open: Option<OpenFile>, pending: &mut [Pending]) -> io::Result<()> {
    if let (Some(open), Some(last)) = (open, pending.last_mut()) {
        last.blob = Some(open.close(&last.entry)?);
    }
    Ok(())
}

/// Makes the folders down to that one. What a person has named may be links; below it a link would be a host's, and could
/// lead anywhere.
fn make_folders(named: &Path, folder: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut path = PathBuf::new();
    for name in folder.components() {
        path.push(name);
        let may_be_link = named.starts_with(&path);
        match if may_be_link { fs::metadata(&path) } else { fs::symlink_metadata(&path) } {
            Ok(data) if data.is_dir() => {}
            Ok(_) => {
                let problem = format!("{} is no folder, and links aren't followed there", path.display());
                return Err(io::Error::new(io::ErrorKind::NotADirectory, problem));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().mode(0o777).create(&path)?;
                made.push(path.clone());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use titan_proto::capture::header;
    use titan_proto::files::{Content, encode_entry};
    use titan_proto::id::JobId;

    use super::*;
    use crate::config::cluster::StateOptions;
    use crate::state::Store;
    use crate::state::specification::Specification;

    const TASK: TaskId = TaskId { job: JobId(0), index: 3 };

    fn batch(folder: &Path) -> BatchDir {
        let store = Store::at(&folder.join("batches"));
        store.try_create(&Specification::default(), StateOptions::default()).unwrap()
    }

    /// What is noted in a batch's journal.
    fn noted(directory: &BatchDir) -> Vec<Noted> {
        directory.journal().sync().unwrap();
        let mut entries = Vec::new();
        let bytes = fs::read(directory.path().join("journal")).unwrap();
        titan_manager::journal::read(&bytes, |entry, _| entries.push(entry)).unwrap();
        entries
    }

    fn record(channel: Channel, bytes: &[u8]) -> Vec<u8> {
        [&header(channel, bytes.len() as u32)[..], bytes].concat()
    }

    fn file(place: &str, content: &[u8]) -> Vec<u8> {
        let kind = EntryKind::File { bytes: content.len() as u64, content: Content::Follows };
        let entry = Entry { place: place.as_bytes().to_vec(), mode: 0o644, mtime_ns: 0, kind };
        [record(Channel::Entry, &encode_entry(&entry).unwrap()), record(Channel::Content, content)].concat()
    }

    fn result_of(folder: &Path, records: &[Vec<u8>]) -> File {
        let path = folder.join("result");
        fs::write(&path, records.concat()).unwrap();
        File::open(path).unwrap()
    }

    #[test]
    fn what_got_its_place_is_noted_with_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let directory = batch(folder.path());
        let mut committer = Committer::new(folder.path().to_owned(), &directory, 0);
        let outputs = [Output::new(b"out/*", true).unwrap()];
        let mut result = result_of(folder.path(), &[file("out/a", b"one"), file("out/b", b"")]);
        let placed = committer.commit(TASK, &mut result, &outputs).unwrap();
        assert_eq!(placed.len(), 2);
        let [Noted::Placed { task, files }] = &noted(&directory)[..] else { panic!("{:?}", noted(&directory)) };
        assert_eq!((*task, files.iter().map(Placed::of_journal).collect::<Vec<_>>()), (TASK, placed));
        let hash = |content: &[u8]| PlacedContent::File(BlobId(Sha256::digest(content).into()));
        let listed: Vec<_> = files.iter().map(|file| (&file.path[..], file.content)).collect();
        assert_eq!(listed, [(&b"out/a"[..], hash(b"one")), (b"out/b", hash(b""))]);
    }

    #[test]
    fn doing_it_again_gives_the_same_files() {
        let folder = tempfile::tempdir().unwrap();
        let directory = batch(folder.path());
        let outputs = [Output::new(b"out/*", true).unwrap()];
        for number in 0..2 {
            let mut committer = Committer::new(folder.path().to_owned(), &directory, number);
            let mut result = result_of(folder.path(), &[file("out/a", b"one")]);
            committer.commit(TASK, &mut result, &outputs).unwrap();
        }
        assert_eq!(fs::read(folder.path().join("out/a")).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path().join("out")).unwrap().count(), 1);
    }

    #[test]
    fn nothing_is_put_through_links_that_a_host_may_have_left() {
        let folder = tempfile::tempdir().unwrap();
        let directory = batch(folder.path());
        let (root, elsewhere) = (folder.path().join("root"), folder.path().join("elsewhere"));
        fs::create_dir_all(&elsewhere).unwrap();
        fs::create_dir_all(&root).unwrap();
        let mut committer = Committer::new(root.clone(), &directory, 0);
        let mut commit = |pattern: &str, records: &[Vec<u8>]| {
            let outputs = [Output::new(pattern.as_bytes(), pattern.contains('*')).unwrap()];
            committer.commit(TASK, &mut result_of(folder.path(), records), &outputs)
        };
        let link = Entry {
            place: b"out/l".to_vec(),
            mode: 0o777,
            mtime_ns: 0,
            kind: EntryKind::Link { target: b"..".to_vec() },
        };
        let link = record(Channel::Entry, &encode_entry(&link).unwrap());
        commit("out", std::slice::from_ref(&link)).unwrap();
        for pattern in ["out", "out/*", "**"] {
            let refused = commit(pattern, &[file("out/l/.bashrc", b"evil")]).unwrap_err();
            assert!(refused.to_string().contains("out/l is no folder"), "{refused}");
        }
        fs::remove_file(root.join("out/l")).unwrap();
        assert!(commit("out", &[link, file("out/l/.bashrc", b"evil")]).is_err());
        assert!(!root.join(".bashrc").exists());
        symlink(&elsewhere, root.join("mine")).unwrap();
        commit("mine", &[file("mine/a", b"one")]).unwrap();
        commit("mine/*", &[file("mine/b", b"two")]).unwrap();
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 2, "a person's own link is followed");
    }

    #[test]
    fn what_cannot_get_its_place_is_noted_nowhere_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let directory = batch(folder.path());
        let mut committer = Committer::new(folder.path().to_owned(), &directory, 0);
        fs::create_dir_all(folder.path().join("out/b")).unwrap();
        let outputs = [Output::new(b"out/*", true).unwrap()];
        let mut result = result_of(folder.path(), &[file("out/a", b"one"), file("out/b", b"two")]);
        assert!(committer.commit(TASK, &mut result, &outputs).is_err());
        assert_eq!(noted(&directory), []);
        let left: Vec<_> =
            fs::read_dir(folder.path().join("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["b"]);
    }
}
