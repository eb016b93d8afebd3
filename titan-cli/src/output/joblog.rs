//! `--joblog FILE`: GNU parallel's nine columns, a line for each task that ran.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::record::TaskRecord;
use crate::driver::spool::named;

/// What this machine is called where nobody has named it.
const LOCALHOST: &str = "localhost";

const HEADER: &str = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

/// The open log.
pub(crate) struct JobLog {
    path: PathBuf,
    /// None: a pipe, which is opened when there is something to write, since that waits for its reader.
    file: Option<File>,
}

impl JobLog {
    /// Begins a new log; what was there is replaced.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let is_pipe = fs::metadata(path).is_ok_and(|data| data.file_type().is_fifo());
        let file = if is_pipe { None } else { Some(begin(path).map_err(|error| named(path, &error))?) };
        Ok(Self { path: path.to_owned(), file })
    }

    /// Goes on with a log; what was there stays.
    pub(crate) fn resume(path: &Path) -> io::Result<Self> {
        let is_file = fs::metadata(path).is_ok_and(|data| data.is_file());
        match is_file {
            true => {
                let file = File::options().append(true).open(path).map_err(|error| named(path, &error))?;
                Ok(Self { path: path.to_owned(), file: Some(file) })
            }
            false => Self::create(path),
        }
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
