//! `--results DIR`: for each task that ran a folder with what it wrote, and a table of all of them. Each task is there once: what an
//! earlier titan had begun to write of a task that it hadn't told of is written anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use titan_proto::capture::Channel;

use super::printer::each_piece;
use super::record::TaskRecord;
use crate::paths::named;
use crate::state::disk::{sync_files, sync_folders_of};
use crate::state::spool::Spool;

const TABLE: &str = "results.csv";
const HEADER: &str = "seq,state,host,exit,signal,started,seconds,attempts,command,values\n";
/// Digits of a folder's name where the number of tasks isn't known: a ten-millionth task gets one more.
const UNKNOWN_DIGITS: usize = 7;

/// The folder of a batch.
pub(crate) struct ResultsFolder {
    path: PathBuf,
    table: File,
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
        Self::begin(path, HEADER.as_bytes(), tasks, lock)
    }

    /// The same of a batch that is gone on with: the rows of these tasks stay.
    pub(crate) fn resume(path: &Path, tasks: Option<u64>, told: &BTreeSet<u32>) -> io::Result<Self> {
        fs::create_dir_all(path).map_err(|error| named(path, &error))?;
        let lock = File::open(path).map_err(|error| named(path, &error))?;
        lock.try_lock().map_err(|error| named(path, &io::Error::other(error.to_string())))?;
        let before = fs::read(path.join(TABLE)).unwrap_or_default();
        let mut rows: BTreeMap<u32, &[u8]> = BTreeMap::new();
        for row in rows_of(&before) {
            let number = row.split(|byte| *byte == b',').next().and_then(|number| std::str::from_utf8(number).ok());
            let index = number.and_then(|number| number.parse::<u32>().ok()).and_then(|number| number.checked_sub(1));
            rows.extend(index.filter(|index| told.contains(index)).map(|index| (index, row)));
        }
        let rows: Vec<&[u8]> = std::iter::once(HEADER.as_bytes()).chain(rows.into_values()).collect();
        Self::begin(path, &rows.concat(), tasks, lock)
    }

    fn begin(path: &Path, rows: &[u8], tasks: Option<u64>, lock: File) -> io::Result<Self> {
        let table = path.join(TABLE);
        let temporary = path.join(format!(".{TABLE}.new"));
        let begin = || {
            let mut file = File::create(&temporary)?;
            file.write_all(rows)?;
            file.sync_all()?;
            fs::rename(&temporary, &table).map(|()| file)
        };
        let file = begin().map_err(|error| named(&table, &error))?;
        let digits = tasks.map_or(UNKNOWN_DIGITS, |tasks| tasks.to_string().len());
        Ok(Self { path: path.to_owned(), table: file, digits, _lock: lock })
    }

    /// A task that ran: it is on the disk when this returns.
    pub(crate) fn put(&mut self, record: &TaskRecord, spool: &Spool) -> io::Result<()> {
        let folder = self.path.join(format!("{:0digits$}", record.sequence(), digits = self.digits));
        if let Err(error) = fs::remove_dir_all(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(named(&folder, &error));
        }
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
        let table = self.path.join(TABLE);
        self.table.write_all(&row(record)).map_err(|error| named(&table, &error))?;
        let written = [folder.join("stdout"), folder.join("stderr"), path, table];
        sync_files(&written).and_then(|()| sync_folders_of(&[written[0].clone(), folder]))
    }
}

/// The complete rows of a table after its first.
fn rows_of(table: &[u8]) -> Vec<&[u8]> {
    let (mut rows, mut begin, mut in_quotes) = (Vec::new(), 0, false);
    for (at, byte) in table.iter().enumerate() {
        match byte {
            b'"' => in_quotes = !in_quotes,
            b'\n' if !in_quotes => {
                rows.push(&table[begin..=at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    rows.split_off(rows.len().min(1))
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
pub(crate) fn quoted(field: &[u8]) -> Vec<u8> {
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
    fn the_rows_of_tasks_that_are_told_of_stay_and_no_half_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join(TABLE);
        fs::write(&table, format!("{HEADER}2,COMPLETED,\"a\nb\"\n1,FAILED,x\n7,COMPLETED,y\n3,COMPL")).unwrap();
        ResultsFolder::resume(folder.path(), Some(9), &BTreeSet::from([0, 1, 2])).unwrap();
        let kept = format!("{HEADER}1,FAILED,x\n2,COMPLETED,\"a\nb\"\n");
        assert_eq!(fs::read_to_string(&table).unwrap(), kept);
    }

    #[test]
    fn fields_with_commas_quotes_or_newlines_are_quoted() {
        assert_eq!(quoted(b"plain"), b"plain");
        assert_eq!(quoted(b"a,\"b\"\nc"), b"\"a,\"\"b\"\"\nc\"");
    }
}
