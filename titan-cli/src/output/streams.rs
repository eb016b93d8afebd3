//! titan's own stdout and stderr, as what tasks wrote is printed there.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use rustix::fs::sendfile;
use rustix::io::Errno;
use titan_proto::capture::{Channel, HEADER_BYTES, NoRecord, parse_header};

use crate::progress::Stage;

/// What is read of a result that is printed as it is; what is longer goes its way within the system.
const SHORT_BYTES: usize = 4 << 10;

/// titan's own stdout and stderr, as tasks write to them.
pub(super) struct Streams {
    stdout: File,
    stderr: File,
    /// Where one of them is a terminal, on which something else may be shown.
    stage: Option<Stage>,
    /// The stream whose last line on a terminal has no end.
    open_line: Option<Channel>,
}

impl Streams {
    /// Unbuffered: what a task wrote is there when the next is told of.
    pub(super) fn new(stage: Stage) -> io::Result<Self> {
        let is_shared = io::stderr().is_terminal();
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Ok(Self { stdout, stderr, stage: is_shared.then_some(stage), open_line: None })
    }

    /// On a terminal that shows more than output, what comes next would be drawn over a line without an end.
    pub(super) fn end_line(&mut self) -> io::Result<()> {
        self.open_line.take().map_or(Ok(()), |channel| self.write(channel, b"\n"))
    }

    /// Writes some of what a task wrote.
    pub(super) fn write(&mut self, channel: Channel, bytes: &[u8]) -> io::Result<()> {
        let is_shared = self.is_shared(channel);
        if let (true, Some(last)) = (is_shared, bytes.last()) {
            self.open_line = (*last != b'\n').then_some(channel);
        }
        let mut stream = self.stream(channel);
        let written = match &self.stage {
            Some(stage) if is_shared => {
                let (mut stream, bytes) = (stream.try_clone()?, bytes.to_vec());
                stage.write(move || stream.write_all(&bytes)).unwrap_or(Ok(()))
            }
            _ => stream.write_all(bytes),
        };
        forgive(channel, written)
    }

    /// Whether it goes to a terminal on which something else may be shown: then [`Streams::write`] is the only way there.
    pub(super) fn is_shared(&self, channel: Channel) -> bool {
        self.stage.is_some() && self.stream(channel).is_terminal()
    }

    /// Copies what a task wrote to that channel, what is long within the system; whether it wrote anything elsewhere.
    pub(super) fn copy(&self, result: File, channel: Channel) -> io::Result<bool> {
        forgive(channel, copy(result, channel, self.stream(channel)))
    }

    fn stream(&self, channel: Channel) -> &File {
        match channel {
            Channel::Stdout => &self.stdout,
            _ => &self.stderr,
        }
    }
}

/// What can't be written is an error that names the stream; but nobody needs to read stderr, and who reads no more of stdout
/// is known by the error's kind.
fn forgive<T: Default>(channel: Channel, written: io::Result<T>) -> io::Result<T> {
    match (channel, written) {
        (Channel::Stderr, Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(T::default()),
        (Channel::Stdout, Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(io::Error::new(error.kind(), format!("stdout: {error}")))
        }
        (_, written) => written,
    }
}

/// Copies records of that channel; whether there are any of another one.
fn copy(result: File, channel: Channel, mut stream: &File) -> io::Result<bool> {
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
        let (read, rest) = (here.len(), u64::from(length) - here.len() as u64);
        stream.write_all(here)?;
        result.consume(read);
        send(result.get_mut(), stream, rest)?;
    }
}

/// Copies the next `bytes` of a file to a stream without reading them here, where the system can do that. Nobody may change
/// the file afterwards: a pipe refers to it.
fn send(file: &mut File, mut stream: &File, mut bytes: u64) -> io::Result<()> {
    while bytes > 0 {
        match sendfile(stream, &*file, None, bytes as usize) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(sent) => bytes -= sent as u64,
            Err(Errno::INTR) => {}
            // As to a file that is only appended to.
            Err(Errno::INVAL | Errno::NOSYS) => return io::copy(&mut file.take(bytes), &mut stream).map(|_| ()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use titan_proto::capture::header;

    use super::*;

    /// What is copied of such a result to a pipe, and whether there is anything else.
    fn copied(records: &[(Channel, &[u8])], channel: Channel) -> (Vec<u8>, bool) {
        let (mut reader, writer) = io::pipe().unwrap();
        let writer = File::from(std::os::fd::OwnedFd::from(writer));
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
    fn a_file_that_is_appended_to_gets_the_same() {
        let (long, folder) = (vec![7; 60_000], tempfile::tempdir().unwrap());
        let path = folder.path().join("log");
        std::fs::write(&path, "before").unwrap();
        let log = File::options().append(true).open(&path).unwrap();
        copy(result(&[(Channel::Stdout, &long)]), Channel::Stdout, &log).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [b"before", &long[..]].concat());
    }

    #[test]
    fn a_result_that_is_cut_off_or_is_none_is_an_error() {
        let nowhere = File::options().write(true).open("/dev/null").unwrap();
        let cut = result(&[(Channel::Stdout, &[1; 60_000])]);
        cut.set_len(50_000).unwrap();
        let problem = |file| copy(file, Channel::Stdout, &nowhere).unwrap_err().kind();
        assert_eq!(problem(cut), io::ErrorKind::UnexpectedEof);
        let mut none = tempfile::tempfile().unwrap();
        none.write_all(b"no record").unwrap();
        none.rewind().unwrap();
        assert_eq!(problem(none), io::ErrorKind::Other);
    }
}
