//! What a task left → its places here: all of it under temporary names beside them, then, when all of it is there, renamed.
//! What was there before stays until then. Only what [`super::check`] has admitted comes here.

use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use titan_proto::capture::{Channel, Splitter};
use titan_proto::files::{Entry, EntryKind, EntryReader};

use super::Output;
use crate::driver::batch_dir::Temporaries;
use crate::driver::outputs::folder_of;
use crate::driver::spool::named;

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// Puts outputs in their places.
#[derive(Debug)]
pub(crate) struct Committer {
    /// The folder that places are relative to.
    root: PathBuf,
    batch: String,
    temporaries: Temporaries,
    /// Tells it from others of the same batch.
    number: usize,
    /// Temporary names that were used.
    used: u64,
}

/// Something that is there under a temporary name, or is to be.
struct Pending {
    /// None for a folder, which is made where it is.
    temporary: Option<PathBuf>,
    target: PathBuf,
    entry: Entry,
}

impl Committer {
    pub(crate) fn new(root: PathBuf, batch: String, temporaries: Temporaries, number: usize) -> Self {
        Self { root, batch, temporaries, number, used: 0 }
    }

    /// Puts in place what a task left, and says what that is, as a person would name it, and its place in the task's
    /// folder.
    ///
    /// # Errors
    /// It can't be written; what was there before is still there, unless the renaming had begun.
    pub(crate) fn commit(&mut self, result: &mut File, outputs: &[Output]) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut pending = Vec::new();
        let unpacked = self.unpack(result, outputs, &mut pending);
        let put = |file: &Pending| self.put(file).map_err(|error| named(&file.target, &error));
        if let Err(error) = unpacked.and_then(|()| pending.iter().try_for_each(put)) {
            // Room for others; what was renamed isn't there under that name any more.
            pending.iter().filter_map(|file| file.temporary.as_ref()).for_each(|path| drop(fs::remove_file(path)));
            return Err(error);
        }
        let is_file = |file: &Pending| file.entry.kind != EntryKind::Folder;
        Ok(pending.into_iter().filter(is_file).map(|file| (file.target, file.entry.place)).collect())
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
                            open.take().map_or(Ok(()), OpenFile::close)?;
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
        open.take().map_or(Ok(()), OpenFile::close)
    }

    fn begin(&mut self, entry: Entry, outputs: &[Output]) -> io::Result<(Option<OpenFile>, Pending)> {
        let output = outputs.iter().find(|output| output.pattern.covers(&entry.place));
        let target = output.ok_or_else(|| io::Error::other("a file that wasn't declared"))?.target(&entry.place);
        self.begin_at(&target, entry).map_err(|error| named(&target, &error))
    }

    fn begin_at(&mut self, target: &Path, entry: Entry) -> io::Result<(Option<OpenFile>, Pending)> {
        let target = target.to_owned();
        let place = self.root.join(&target);
        if entry.kind == EntryKind::Folder {
            return Ok((None, Pending { temporary: None, target, entry }));
        }
        make_folders(folder_of(&place))?;
        if place.is_dir() && !place.is_symlink() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "there is a folder of that name"));
        }
        self.used += 1;
        let temporary = place.with_file_name(format!(".titan-{}-{}-{}.tmp", self.batch, self.number, self.used));
        let file = self.temporaries.make(&temporary, || match &entry.kind {
            EntryKind::Link { target } => symlink(std::ffi::OsStr::from_bytes(target), &temporary).map(|()| None),
            _ => OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map(Some),
        })?;
        let file = file.map(|file| OpenFile { file: BufWriter::new(file), target: target.clone() });
        Ok((file, Pending { temporary: Some(temporary), target, entry }))
    }

    fn put(&self, Pending { temporary, target, entry }: &Pending) -> io::Result<()> {
        let place = self.root.join(target);
        let Some(temporary) = temporary else { return make_folders(&place) };
        if matches!(entry.kind, EntryKind::File { .. }) {
            let file = File::open(temporary)?;
            file.set_times(FileTimes::new().set_modified(entry.modified()))?;
            // Set-user-id and its like come from no host.
            file.set_permissions(Permissions::from_mode(entry.mode & 0o777))?;
        }
        fs::rename(temporary, &place)
    }
}

/// A file that is being written.
struct OpenFile {
    file: BufWriter<File>,
    target: PathBuf,
}

impl OpenFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).map_err(|error| named(&self.target, &error))
    }

    fn close(mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| named(&self.target, &error))
    }
}

fn make_folders(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o777).create(path)
}
