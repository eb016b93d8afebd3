//! Whether what a host sends is what its task declared. A host is trusted with nothing: whatever it says, nothing but
//! declared paths below the task's own folder is taken, and no path from two tasks.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use titan_proto::capture::{Channel, Splitter};
use titan_proto::files::{Content, Entry, EntryKind, EntryReader};
use titan_proto::id::TaskId;

use super::Output;
use crate::config::text::printable;
use crate::config::units::human_size;

/// Files that one task may leave: each takes some memory here.
const MAX_FILES: usize = 2_000_000;

/// Bytes of their paths: a long one for each would take gigabytes.
const MAX_PATHS_BYTES: usize = 512 << 20;

/// Which task each output belongs to. A clone is the same claims.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims(Arc<Mutex<BTreeMap<PathBuf, TaskId>>>);

impl Claims {
    /// Gives a path to a task.
    ///
    /// # Errors
    /// The task that it belongs to already.
    pub(crate) fn claim(&self, target: PathBuf, task: TaskId) -> Result<(), TaskId> {
        let mut claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *claims.entry(target).or_insert(task) {
            owner if owner == task => Ok(()),
            owner => Err(owner),
        }
    }
}

/// Why what an attempt left isn't taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It would be the same from any host.
    OfTask(String),
    /// The host does what no agent does.
    OfHost(String),
}

/// Follows one attempt's stream.
#[derive(Debug)]
pub(crate) struct OutputCheck {
    task: TaskId,
    outputs: Arc<Vec<Output>>,
    claims: Claims,
    splitter: Splitter,
    reader: EntryReader,
    /// Bytes of the last file that are still to come.
    left: u64,
    /// Where what came goes: claimed when all of it is there.
    targets: Vec<PathBuf>,
    /// Bytes of their paths.
    paths_bytes: usize,
    /// Which outputs have been seen.
    seen: Vec<bool>,
    /// What is wrong, once something is.
    problem: Option<Refused>,
}

impl OutputCheck {
    pub(crate) fn new(task: TaskId, outputs: Arc<Vec<Output>>, claims: Claims) -> Self {
        let seen = vec![false; outputs.len()];
        let (splitter, reader) = (Splitter::default(), EntryReader::default());
        Self {
            task,
            outputs,
            claims,
            splitter,
            reader,
            left: 0,
            targets: Vec::new(),
            paths_bytes: 0,
            seen,
            problem: None,
        }
    }

    /// The next bytes of the stream.
    pub(crate) fn push(&mut self, data: &[u8]) {
        if self.problem.is_some() {
            return;
        }
        let mut splitter = std::mem::take(&mut self.splitter);
        let split = splitter.push(data, |channel, bytes| {
            if self.problem.is_none() {
                self.problem = self.take(channel, bytes).err();
            }
        });
        self.splitter = splitter;
        if let Err(error) = split {
            self.problem.get_or_insert(Refused::OfHost(error.to_string()));
        }
    }

    /// The stream is complete: whether all that was declared came, and nothing else.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn finish(self) -> Result<(), Refused> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        if self.left > 0 {
            return Err(Refused::OfHost("an output came without its end".to_owned()));
        }
        match self.seen.iter().position(|seen| !seen) {
            Some(missing) => {
                let missing = shown(&self.outputs[missing].pattern.text);
                Err(Refused::OfHost(format!("no output {missing} came")))
            }
            None => self.targets.into_iter().try_for_each(|target| {
                self.claims.claim(target.clone(), self.task).map_err(|owner| {
                    let (shown, number) = (shown(target.as_os_str().as_bytes()), u64::from(owner.index) + 1);
                    let whose = if owner.job == self.task.job { "" } else { " of another job" };
                    Refused::OfTask(format!("its output {shown} is task {number}'s{whose} already"))
                })
            }),
        }
    }

    fn take(&mut self, channel: Channel, bytes: &[u8]) -> Result<(), Refused> {
        match channel {
            Channel::Stdout | Channel::Stderr => Ok(()),
            Channel::Content => {
                let left = self.left.checked_sub(bytes.len() as u64);
                self.left = left.ok_or_else(|| Refused::OfHost("more of an output came than was told".to_owned()))?;
                Ok(())
            }
            Channel::Entry => {
                let entries = self.reader.push(bytes).map_err(|error| Refused::OfHost(error.to_string()))?;
                entries.iter().try_for_each(|entry| {
                    let target = self.admit(entry).map_err(Refused::OfHost)?;
                    self.note(entry, target)
                })
            }
        }
    }

    fn note(&mut self, entry: &Entry, target: PathBuf) -> Result<(), Refused> {
        if entry.kind == EntryKind::Folder {
            return Ok(());
        }
        self.paths_bytes += target.as_os_str().len();
        self.targets.push(target);
        if self.targets.len() > MAX_FILES || self.paths_bytes > MAX_PATHS_BYTES {
            let most = human_size(MAX_PATHS_BYTES as u64);
            return Err(Refused::OfTask(format!("it left more than {MAX_FILES} files, or {most} of paths")));
        }
        Ok(())
    }

    /// Where an entry goes.
    fn admit(&mut self, entry: &Entry) -> Result<PathBuf, String> {
        if self.left > 0 {
            return Err("an output came without its end".to_owned());
        }
        if let Some(problem) = entry.problem() {
            return Err(problem);
        }
        let covers = |output: &&Output| output.pattern.covers(&entry.place);
        let Some(output) = self.outputs.iter().find(covers) else {
            return Err(format!("it sent {}, which isn't an output of its task", shown(&entry.place)));
        };
        let target = output.target(&entry.place);
        match &entry.kind {
            EntryKind::File { bytes, content: Content::Follows } => self.left = *bytes,
            EntryKind::File { .. } => return Err(format!("it sent {} without its content", shown(&entry.place))),
            EntryKind::Folder | EntryKind::Link { .. } => {}
        }
        for (seen, output) in self.seen.iter_mut().zip(&*self.outputs) {
            *seen |= output.pattern.covers(&entry.place);
        }
        Ok(target)
    }
}

fn shown(path: &[u8]) -> String {
    printable(&String::from_utf8_lossy(path))
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use titan_proto::capture::header;
    use titan_proto::files::encode_entry;
    use titan_proto::id::JobId;

    use super::*;

    fn record(channel: Channel, bytes: &[u8]) -> Vec<u8> {
        [&header(channel, bytes.len() as u32)[..], bytes].concat()
    }

    fn file(place: &str, bytes: u64) -> Vec<u8> {
        entry(place, EntryKind::File { bytes, content: Content::Follows })
    }

    fn entry(place: &str, kind: EntryKind) -> Vec<u8> {
        let entry = Entry { place: place.into(), mode: 0o644, mtime_ns: 0, kind };
        record(Channel::Entry, &encode_entry(&entry).unwrap())
    }

    fn task(index: u32) -> TaskId {
        TaskId { job: JobId(0), index }
    }

    fn check(outputs: &[&str], claims: &Claims, index: u32, stream: &[Vec<u8>]) -> Result<(), Refused> {
        let outputs = outputs.iter().map(|text| Output::new(text.as_bytes(), text.contains('*')).unwrap()).collect();
        let mut check = OutputCheck::new(task(index), Arc::new(outputs), claims.clone());
        stream.concat().chunks(3).for_each(|piece| check.push(piece));
        check.finish()
    }

    #[test]
    fn declared_outputs_are_taken() {
        let stream =
            [record(Channel::Stdout, b"hi"), file("out/a", 2), record(Channel::Content, b"ab"), file("x.png", 0)];
        assert_eq!(check(&["out", "*.png"], &Claims::default(), 0, &stream), Ok(()));
    }

    #[test]
    fn what_a_host_may_not_send_is_refused() {
        let link = |place: &str, target: &str| entry(place, EntryKind::Link { target: target.into() });
        let here = EntryKind::File { bytes: 1, content: Content::Here(b"/etc/passwd".to_vec()) };
        for (stream, expected) in [
            (vec![file("../a", 0)], "'../a' is no path inside its folder"),
            (vec![file("/a", 0)], "'/a' is no path inside its folder"),
            (vec![file("other", 0)], "it sent other, which isn't an output of its task"),
            (vec![link("out/l", "../../x")], "the link 'out/l' leads to '../../x', out of its folder"),
            (vec![entry("out/a", here)], "it sent out/a without its content"),
            (vec![file("out/a", 2), record(Channel::Content, b"abc")], "more of an output came than was told"),
            (vec![file("out/a", 2), record(Channel::Content, b"a")], "an output came without its end"),
            (vec![record(Channel::Entry, &[255; 9])], "the files that it left aren't told in entries"),
            (vec![], "no output out came"),
        ] {
            assert_eq!(check(&["out"], &Claims::default(), 0, &stream), Err(Refused::OfHost(expected.to_owned())));
        }
    }

    #[test]
    fn no_path_is_taken_from_two_tasks_but_twice_from_one() {
        let claims = Claims::default();
        assert_eq!(check(&["a"], &claims, 0, &[file("a", 0)]), Ok(()));
        assert_eq!(check(&["a"], &claims, 0, &[file("a", 0)]), Ok(()));
        assert_eq!(
            check(&["a"], &claims, 1, &[file("a", 0)]),
            Err(Refused::OfTask("its output a is task 1's already".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn no_stream_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&["out"], &Claims::default(), 0, &[bytes]);
        }
    }
}
