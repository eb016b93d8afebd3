//! `--results DIR`: for each task that ran a folder with what it wrote, and a table of all of them.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use titan_proto::capture::Channel;

use super::printer::each_piece;
use super::record::TaskRecord;
use crate::driver::spool::{Spool, named};

const TABLE: &str = "results.csv";
const HEADER: &str = "seq,state,host,exit,signal,started,seconds,attempts,command,values\n";
/// Digits of a folder's name where the number of tasks isn't known: a ten-millionth task gets one more.
const UNKNOWN_DIGITS: usize = 7;

/// The folder of a batch.
pub(crate) struct ResultsFolder {
    path: PathBuf,
    table: BufWriter<File>,
    digits: usize,
    /// Of two titans that find it empty only one gets it.
    _lock: File,
}

/// Whether that folder could be used: it must be new or empty.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{} has files of another batch", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

impl ResultsFolder {
    /// Makes it, for that many tasks.
    pub(crate) fn create(path: &Path, tasks: Option<u64>) -> io::Result<Self> {
        fs::create_dir_all(path).map_err(|error| named(path, &error))?;
        let lock = File::open(path).map_err(|error| named(path, &error))?;
        let is_ours = lock.try_lock().is_ok() && check(path).is_ok();
        if !is_ours {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("--results: another titan writes to {}", path.display()),
            ));
        }
        let table = path.join(TABLE);
        let mut file = BufWriter::new(File::create(&table).map_err(|error| named(&table, &error))?);
        file.write_all(HEADER.as_bytes())?;
        let digits = tasks.map_or(UNKNOWN_DIGITS, |tasks| tasks.to_string().len());
        Ok(Self { path: path.to_owned(), table: file, digits, _lock: lock })
    }

    /// A task that ran.
    pub(crate) fn put(&mut self, record: &TaskRecord, spool: &Spool) -> io::Result<()> {
        let folder = self.path.join(format!("{:0digits$}", record.sequence(), digits = self.digits));
        fs::create_dir(&folder).map_err(|error| named(&folder, &error))?;
        let mut stdout = File::create(folder.join("stdout"))?;
        let mut stderr = File::create(folder.join("stderr"))?;
        each_piece(spool, record, |channel, bytes| match channel {
            Channel::Stdout => stdout.write_all(bytes),
            _ => stderr.write_all(bytes),
        })
        .map_err(|error| named(&folder, &error))?;
        let object = crate::json::line("task", record.object());
        let path = folder.join("task.json");
        fs::write(&path, object + "\n").map_err(|error| named(&path, &error))?;
        self.table.write_all(&row(record)).map_err(|error| named(&self.path.join(TABLE), &error))
    }

    /// Nothing more comes.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.table.flush().map_err(|error| named(&self.path.join(TABLE), &error))
    }
}

fn row(record: &TaskRecord) -> Vec<u8> {
    let number = |number: Option<i32>| number.map(|number| number.to_string()).unwrap_or_default();
    let process = record.end.process.unwrap_or_default();
    let started = record.started().map(|at| format!("{:.3}", at.as_secs_f64())).unwrap_or_default();
    let seconds = record.wall().map(|wall| format!("{:.6}", wall.as_secs_f64())).unwrap_or_default();
    let mut fields: Vec<Vec<u8>> = vec![
        record.sequence().to_string().into(),
        record.state().into(),
        record.host.clone().unwrap_or_default().into(),
        number(process.exit).into(),
        number(process.signal).into(),
        started.into(),
        seconds.into(),
        record.end.attempts.to_string().into(),
        record.asked.command.clone(),
    ];
    fields.extend(record.asked.values.iter().cloned());
    let mut row = fields.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(&b',');
    row.push(b'\n');
    row
}

/// A field of RFC 4180.
fn quoted(field: &[u8]) -> Vec<u8> {
    if !field.iter().any(|byte| b",\"\r\n".contains(byte)) {
        return field.to_vec();
    }
    let mut quoted = vec![b'"'];
    for &byte in field {
        if byte == b'"' {
            quoted.push(b'"');
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_commas_quotes_or_newlines_are_quoted() {
        assert_eq!(quoted(b"plain"), b"plain");
        assert_eq!(quoted(b"a,\"b\"\nc"), b"\"a,\"\"b\"\"\nc\"");
    }
}
