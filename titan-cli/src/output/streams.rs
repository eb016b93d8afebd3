//! titan's own stdout and stderr, as what tasks wrote is printed there.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;

use rustix::fs::sendfile;
use rustix::io::Errno;
use titan_proto::capture::{Channel, HEADER_BYTES, NoRecord, parse_header};

use crate::progress::Stage;

/// What is read at once of a result that goes to a pipe; the rest of what is longer goes there within the system.
const SHORT_BYTES: usize = 4 << 10;

/// titan's own stdout and stderr, as tasks write to them.
pub(super) struct Streams {
    stdout: Stream,
    stderr: Stream,
    /// Where one of them is a terminal, on which something else may be shown.
    stage: Option<Stage>,
    /// The stream whose last line on a terminal has no end.
    open_line: Option<Channel>,
}

struct Stream {
    file: File,
    /// Pages can be sent there as they are. Not to a file: that doesn't heed who else writes to it.
    is_pipe: bool,
}

impl Stream {
    fn new(stream: BorrowedFd<'_>) -> io::Result<Self> {
        let file = File::from(stream.try_clone_to_owned()?);
        let kind = file.metadata()?.file_type();
        Ok(Self { file, is_pipe: kind.is_fifo() || kind.is_socket() })
    }
}

impl Streams {
    /// Unbuffered: what a task wrote is there when the next is told of.
    pub(super) fn new(stage: Stage) -> io::Result<Self> {
        let is_shared = io::stderr().is_terminal();
        let (stdout, stderr) = (Stream::new(io::stdout().as_fd())?, Stream::new(io::stderr().as_fd())?);
        Ok(Self { stdout, stderr, stage: is_shared.then_some(stage), open_line: None })
    }

    /// On a terminal that shows more than output, what comes next would be drawn over a line without an end.
    pub(super) fn end_line(&mut self) -> io::Result<()> {
        self.open_line.take().map_or(Ok(()), |channel| self.write(channel, b"\n"))
    }

    /// Writes some of what a task wrote.
    pub(super) fn write(&mut self, channel: Channel, bytes: &[u8]) -> io::Result<()> {
        let mut stream = &self.stream(channel).file;
        let written = match &self.stage {
            Some(stage) if stream.is_terminal() => {
                let (mut stream, bytes) = (stream.try_clone()?, bytes.to_vec());
                if let Some(last) = bytes.last() {
                    self.open_line = (*last != b'\n').then_some(channel);
                }
                stage.write(move || stream.write_all(&bytes)).unwrap_or(Ok(()))
            }
            _ => stream.write_all(bytes),
        };
        forgive(channel, written.map_err(|error| unwritten(channel, error)))
    }

    /// Whether [`Streams::copy`] can be used.
    pub(super) fn is_pipe(&self, channel: Channel) -> bool {
        self.stream(channel).is_pipe
    }

    /// Copies what a task wrote to that channel, what is long within the system; whether it wrote anything elsewhere.
    pub(super) fn copy(&self, result: File, channel: Channel) -> io::Result<bool> {
        forgive(channel, copy(result, channel, &self.stream(channel).file))
    }

    fn stream(&self, channel: Channel) -> &Stream {
        match channel {
            Channel::Stdout => &self.stdout,
            _ => &self.stderr,
        }
    }
}

/// A stderr that nobody reads is no reason to stop.
fn forgive<T: Default>(channel: Channel, written: io::Result<T>) -> io::Result<T> {
    match written {
        Err(error) if channel == Channel::Stderr && error.kind() == io::ErrorKind::BrokenPipe => Ok(T::default()),
        written => written,
    }
}

/// Why nothing more can be written there; that nobody reads it any more is known by the error's kind.
fn unwritten(channel: Channel, error: io::Error) -> io::Error {
    match (channel, error.kind()) {
        (Channel::Stderr, _) | (_, io::ErrorKind::BrokenPipe) => error,
        (_, kind) => io::Error::new(kind, format!("stdout: {error}")),
    }
}

/// Copies records of that channel to a pipe; whether there are any of another one.
fn copy(result: File, channel: Channel, mut pipe: &File) -> io::Result<bool> {
    // No more is read than a header and what is short: the rest needn't come here.
    let mut result = BufReader::with_capacity(SHORT_BYTES, result);
    let mut has_others = false;
    loop {
        let mut header = [0; HEADER_BYTES];
        match result.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(has_others),
            read => read?,
        }
        let (of, length) = parse_header(header).ok_or_else(|| io::Error::other(NoRecord))?;
        if matches!(of, Channel::Entry | Channel::Content) {
            return Ok(has_others);
        }
        if of != channel {
            has_others = true;
            result.seek_relative(length.into())?;
            continue;
        }
        let here = result.buffer();
        let here = &here[..here.len().min(length as usize)];
        let (read, rest) = (here.len(), length as usize - here.len());
        let written = pipe.write_all(here);
        result.consume(read);
        let sent = written.and_then(|()| send(result.get_mut(), pipe, rest));
        sent.map_err(|error| unwritten(channel, error))?;
    }
}

/// Copies the next `bytes` of a file to a pipe, without reading them here where the system can do that. Nobody may change the
/// file afterwards: the pipe refers to it.
fn send(file: &mut File, mut pipe: &File, mut bytes: usize) -> io::Result<()> {
    while bytes > 0 {
        match sendfile(pipe, &*file, None, bytes) {
            // Cut off: the same as its end. That it was whole has been seen when it came.
            Ok(0) => return Ok(()),
            Ok(sent) => bytes -= sent,
            Err(Errno::INTR) => {}
            // The file is where that can't be done.
            Err(Errno::INVAL | Errno::NOSYS) => return io::copy(&mut file.take(bytes as u64), &mut pipe).map(|_| ()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Seek;
    use std::os::fd::OwnedFd;

    use titan_proto::capture::header;

    use super::*;

    /// What is copied of such a result to a pipe, and whether there is anything else.
    fn copied(records: &[(Channel, &[u8])], channel: Channel) -> (Vec<u8>, bool) {
        let (mut reader, writer) = io::pipe().unwrap();
        let writer = File::from(OwnedFd::from(writer));
        let result = result(records);
        let copying = std::thread::spawn(move || copy(result, channel, &writer));
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        (bytes, copying.join().unwrap().unwrap())
    }

    fn result(records: &[(Channel, &[u8])]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        for (channel, bytes) in records {
            file.write_all(&header(*channel, bytes.len() as u32)).unwrap();
            file.write_all(bytes).unwrap();
        }
        file.rewind().unwrap();
        file
    }

    #[test]
    fn each_channel_is_copied_by_itself_and_files_are_not() {
        let long: Vec<u8> = (0..60_000_u32).map(|number| number as u8).collect();
        let records = [
            (Channel::Stdout, &b"short\n"[..]),
            (Channel::Stderr, &long[..50_000]),
            (Channel::Stdout, &long),
            (Channel::Stderr, b"end\n"),
            (Channel::Stdout, &long[..SHORT_BYTES]),
            (Channel::Entry, b"a file"),
            (Channel::Content, b"its bytes"),
        ];
        let stdout = [&b"short\n"[..], &long, &long[..SHORT_BYTES]].concat();
        assert_eq!(copied(&records, Channel::Stdout), (stdout, true));
        assert_eq!(copied(&records, Channel::Stderr), ([&long[..50_000], b"end\n"].concat(), true));
        assert_eq!(copied(&records[2..3], Channel::Stdout), (long, false));
        assert_eq!(copied(&[], Channel::Stdout), (Vec::new(), false));
    }

    #[test]
    fn what_is_no_record_is_an_error_and_not_of_the_stream() {
        let mut none = tempfile::tempfile().unwrap();
        none.write_all(b"no record").unwrap();
        none.rewind().unwrap();
        let (_reader, writer) = io::pipe().unwrap();
        let problem = copy(none, Channel::Stdout, &File::from(OwnedFd::from(writer))).unwrap_err();
        assert_eq!(problem.to_string(), "what it wrote isn't told in records");
    }

    #[test]
    fn a_stderr_that_nobody_reads_is_no_reason_to_stop() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let writer = File::from(OwnedFd::from(writer));
        for bytes in [&[1; 60_000][..], b"short"] {
            let copied =
                |channel| forgive(channel, copy(result(&[(channel, bytes), (channel, bytes)]), channel, &writer));
            assert!(copied(Channel::Stderr).is_ok());
            assert_eq!(copied(Channel::Stdout).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
    }

    #[test]
    fn only_a_pipe_is_sent_pages() {
        let file = tempfile::tempfile().unwrap();
        let (_reader, writer) = io::pipe().unwrap();
        let is_pipe = |stream| Stream::new(stream).unwrap().is_pipe;
        assert!(is_pipe(writer.as_fd()) && !is_pipe(file.as_fd()));
    }
}
