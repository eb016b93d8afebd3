//! `--joblog FILE`: GNU parallel's nine columns, a line for each task that ran.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use super::record::TaskRecord;
use crate::paths::named;

/// What this machine is called where nobody has named it.
const LOCALHOST: &str = "localhost";

const COLUMNS: usize = 9;
const STARTTIME: usize = 2;
/// Where the last line of a log is looked for.
const TAIL_BYTES: u64 = 256 << 10;
const HEADER: &str = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

/// The open log.
pub(crate) struct JobLog {
    path: PathBuf,
    /// None: a pipe, which is opened when there is something to write, since that waits for its reader.
    file: Option<File>,
    /// The last line that was there when somebody went on with the log: its task may come once more, if titan was killed before
    /// that was noted.
    last: Option<Vec<u8>>,
}

impl JobLog {
    /// Begins a new log; what was there is replaced.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let is_pipe = fs::metadata(path).is_ok_and(|data| data.file_type().is_fifo());
        let file = if is_pipe { None } else { Some(begin(path).map_err(|error| named(path, &error))?) };
        Ok(Self { path: path.to_owned(), file, last: None })
    }

    /// Goes on with a log; what was there stays, but for a line that wasn't written to its end.
    pub(crate) fn resume(path: &Path) -> io::Result<Self> {
        let is_file = fs::metadata(path).is_ok_and(|data| data.is_file());
        if !is_file {
            return Self::create(path);
        }
        let open = || {
            let file = File::options().read(true).append(true).open(path)?;
            let last = cut_to_whole_lines(&file)?;
            Ok(Self { path: path.to_owned(), file: Some(file), last })
        };
        open().map_err(|error: io::Error| named(path, &error))
    }

    /// A task that ran, and how many bytes it wrote.
    pub(crate) fn put(&mut self, record: &TaskRecord, received_bytes: u64) -> io::Result<()> {
        let process = record.end.process.unwrap_or_default();
        // This machine has no name there.
        let host = record.host.as_deref().filter(|host| *host != LOCALHOST).unwrap_or(":");
        let started = record.started().unwrap_or(record.ended).as_secs_f64();
        let runtime = record.wall().unwrap_or_default().as_secs_f64();
        let reason = record.end.reason.as_deref().unwrap_or_default();
        let exit = match process.exit {
            _ if reason.starts_with("timed out") => -1,
            Some(exit) => exit,
            None if process.signal.is_some() => 0,
            None if reason.contains("isn't found on") => 127,
            None => -1,
        };
        let signal = process.signal.unwrap_or(0);
        let front = format!(
            "{}\t{host}\t{started:.3}\t{runtime:10.3}\t0\t{received_bytes}\t{exit}\t{signal}\t",
            record.sequence()
        );
        let line = [front.as_bytes(), &record.asked.command, b"\n"].concat();
        if self.last.take().is_some_and(|last| is_same(&last, &line)) {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(begin(&self.path).map_err(|error| named(&self.path, &error))?),
        };
        file.write_all(&line).map_err(|error| named(&self.path, &error))
    }
}

fn begin(path: &Path) -> io::Result<File> {
    let mut file = File::create(path)?;
    file.write_all(HEADER.as_bytes())?;
    Ok(file)
}

/// Ends a log after its last whole line, and returns that.
fn cut_to_whole_lines(file: &File) -> io::Result<Option<Vec<u8>>> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL_BYTES);
    let mut tail = vec![0; (length - from) as usize];
    file.read_exact_at(&mut tail, from)?;
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else { return Ok(None) };
    file.set_len(from + end as u64 + 1)?;
    let begin = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    Ok(Some(tail[begin..=end].to_vec()))
}

/// Whether two lines tell of the same end: all but the time when that was told agrees.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let columns = |line: &[u8]| {
        let mut columns: Vec<Vec<u8>> = line.splitn(COLUMNS, |byte| *byte == b'\t').map(<[u8]>::to_vec).collect();
        if columns.len() == COLUMNS {
            columns.remove(STARTTIME);
        }
        columns
    };
    columns(one) == columns(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_goes_and_the_one_before_is_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let line = |started: &str, runtime: &str| format!("3\t:\t{started}\t{runtime}\t0\t9\t0\t0\techo a\tb\n");
        fs::write(&path, format!("{HEADER}{}4\t:\t12", line("1.5", "0.250"))).unwrap();
        let log = JobLog::resume(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{HEADER}{}", line("1.5", "0.250")));
        let last = log.last.unwrap();
        assert!(is_same(&last, line("7.5", "0.250").as_bytes()), "told again, a little later");
        assert!(!is_same(&last, line("1.5", "0.251").as_bytes()), "run again");
    }
}
