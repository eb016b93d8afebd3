//! `--line-buffer`: what attempts write is read from the spool while it grows, and handed on line by line. Whatever waits,
//! waits there; nothing is kept here but the beginnings of lines.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use titan_manager::TaskEnd;
use titan_proto::capture::{Channel, Splitter};
use titan_proto::id::{AttemptId, TaskId};

use super::tagged::Tagged;
use crate::state::spool::Spool;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// The longest beginning of a line that is kept: a longer line is handed on in parts.
const MAX_LINE_BYTES: usize = 1 << 20;

/// The attempts that write.
#[derive(Debug, Default)]
pub(crate) struct Live {
    tails: BTreeMap<AttemptId, Tail>,
}

#[derive(Debug)]
struct Tail {
    task: TaskId,
    /// What stands before each line, of stdout and of stderr.
    tags: Option<[Tagged; 2]>,
    file: Option<File>,
    splitter: Splitter,
    /// Of stdout and of stderr: what has no newline yet.
    begun: [Vec<u8>; 2],
}

impl Live {
    /// An attempt begins.
    pub(crate) fn begin(&mut self, attempt: AttemptId, task: TaskId, tag: Option<Vec<u8>>) {
        self.tails.insert(attempt, Tail::new(task, tag));
    }

    /// Hands on all lines that are complete.
    pub(crate) fn look(&mut self, spool: &Spool, write: &mut Write<'_>) -> io::Result<()> {
        self.tails.iter_mut().try_for_each(|(attempt, tail)| {
            if tail.file.is_none() {
                tail.file = spool.open_part(*attempt)?;
            }
            tail.read(write)
        })
    }

    /// An attempt counts for nothing: what it wrote is still handed on.
    pub(crate) fn end(&mut self, attempt: AttemptId, spool: &Spool, write: &mut Write<'_>) -> io::Result<()> {
        let Some(mut tail) = self.tails.remove(&attempt) else { return Ok(()) };
        if tail.file.is_none() {
            tail.file = spool.open_part(attempt)?;
        }
        tail.finish(write)
    }

    /// A task has come to its end: what that attempt wrote is its result.
    pub(crate) fn conclude(
        &mut self,
        end: &TaskEnd,
        tag: Option<Vec<u8>>,
        spool: &Spool,
        write: &mut Write<'_>,
    ) -> io::Result<()> {
        // One that was begun under an earlier titan: whatever that has handed on, it is handed on whole.
        let begun = end.attempt.map(|attempt| self.tails.remove(&attempt).unwrap_or_else(|| Tail::new(end.task, tag)));
        if let Some(mut tail) = begun {
            if tail.file.is_none() && end.has_result {
                tail.file = spool.open(end.task)?;
            }
            tail.finish(write)?;
        }
        self.tails.retain(|_, tail| tail.task != end.task);
        Ok(())
    }
}

/// Where lines go.
pub(crate) type Write<'a> = dyn FnMut(Channel, &[u8]) -> io::Result<()> + 'a;

impl Tail {
    fn new(task: TaskId, tag: Option<Vec<u8>>) -> Self {
        let tags = tag.map(|tag| [Tagged::new(&tag), Tagged::new(&tag)]);
        Self { task, tags, file: None, splitter: Splitter::default(), begun: [Vec::new(), Vec::new()] }
    }

    /// All that there is, and the rest of its last lines.
    fn finish(mut self, write: &mut Write<'_>) -> io::Result<()> {
        self.read(write)?;
        for (number, rest) in std::mem::take(&mut self.begun).into_iter().enumerate() {
            if !rest.is_empty() {
                self.write(number, rest, write)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, number: usize, lines: Vec<u8>, write: &mut Write<'_>) -> io::Result<()> {
        let lines = match &mut self.tags {
            Some(tags) => tags[number].apply(&lines),
            None => lines,
        };
        write([Channel::Stdout, Channel::Stderr][number], &lines)
    }

    fn read(&mut self, write: &mut Write<'_>) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let Some(file) = &mut self.file else { return Ok(()) };
            let length = file.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            let begun = &mut self.begun;
            // What was here before has no newline.
            let searched = [begun[0].len(), begun[1].len()];
            let split = self.splitter.push(&buffer[..length], |channel, bytes| match channel {
                Channel::Stdout => begun[0].extend_from_slice(bytes),
                Channel::Stderr => begun[1].extend_from_slice(bytes),
                Channel::Entry | Channel::Content => {}
            });
            split.map_err(io::Error::other)?;
            for number in [0, 1] {
                let begun = &mut self.begun[number];
                let newline = memchr::memrchr(b'\n', &begun[searched[number]..]);
                let end = newline.map_or(0, |at| searched[number] + at + 1);
                let end = if begun.len() - end > MAX_LINE_BYTES { begun.len() } else { end };
                if end > 0 {
                    let lines: Vec<u8> = begun.drain(..end).collect();
                    self.write(number, lines, write)?;
                }
            }
        }
    }
}
