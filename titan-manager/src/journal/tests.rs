//! The journal on a disk that does as it is told, tears and fails.

use proptest::prelude::*;
use titan_proto::id::{JobId, TaskId};

use super::*;

/// A disk on which only what was synced is sure to stay.
#[derive(Debug, Default, Clone)]
struct Disk {
    bytes: Vec<u8>,
    synced: usize,
    /// Calls that succeed; None: all.
    calls_left: Option<u32>,
}

impl Disk {
    fn call(&mut self) -> io::Result<()> {
        match &mut self.calls_left {
            Some(0) => Err(io::Error::other("the disk fails")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Storage for &mut Disk {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        self.call().map(|()| self.bytes.clone())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.call() {
            Ok(()) => self.bytes.extend(bytes),
            Err(error) => {
                self.bytes.extend(&bytes[..bytes.len() / 2]);
                return Err(error);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.call()?;
        self.synced = self.bytes.len();
        Ok(())
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.call()?;
        self.bytes.truncate(bytes as usize);
        Ok(())
    }
}

fn told(index: u32) -> Entry {
    Entry::Told { task: TaskId { job: JobId(0), index } }
}

fn entries(disk: &mut Disk) -> Result<Vec<Entry>, JournalError> {
    let mut entries = Vec::new();
    Journal::open(disk, |entry, _| entries.push(entry)).map(|_| entries)
}

#[test]
fn what_was_noted_is_there_when_it_is_opened_again() {
    let mut disk = Disk::default();
    let mut journal = Journal::open(&mut disk, |_, _| panic!("it is new")).unwrap();
    let first = journal.append(&[told(1), told(2)]).unwrap();
    let second = journal.append(&[told(3)]).unwrap();
    assert!(first < second);
    assert_eq!((journal.sync().unwrap(), journal.written()), (second, second));
    assert_eq!(entries(&mut disk).unwrap(), [told(1), told(2), told(3)]);
    assert_eq!(entries(&mut disk).unwrap().len(), 3, "opening changes nothing");
}

#[test]
fn what_no_later_frame_says_to_be_on_the_disk_is_not_sure() {
    let mut disk = Disk::default();
    let mut journal = Journal::open(&mut disk, |_, _| ()).unwrap();
    journal.append(&[told(1)]).unwrap();
    journal.sync().unwrap();
    journal.append(&[told(2)]).unwrap();
    journal.append(&[told(3)]).unwrap();
    let mut sure = Vec::new();
    Journal::open(&mut disk, |_, is_sure| sure.push(is_sure)).unwrap();
    assert_eq!(sure, [true, false, false]);
}

#[test]
fn more_than_fits_into_a_frame_goes_into_several() {
    let mut disk = Disk::default();
    let mut journal = Journal::open(&mut disk, |_, _| ()).unwrap();
    let values = |index| Entry::Taken { task: TaskId { job: JobId(0), index }, values: vec![vec![7; 400 << 10]] };
    assert!(journal.append(&[values(0), values(1), values(2), values(3)]).is_ok());
    let long = Entry::Taken { task: TaskId { job: JobId(0), index: 4 }, values: vec![vec![7; 2 << 20]] };
    assert!(matches!(journal.append(&[long]), Err(JournalError::TooLong(_))));
    assert!(matches!(journal.append(&[told(1)]), Err(JournalError::Failed)));
    assert_eq!(entries(&mut disk).unwrap().len(), 4);
}

#[test]
fn after_a_failure_nothing_more_is_written() {
    for calls in 0..8 {
        let mut disk = Disk { calls_left: Some(calls), ..Disk::default() };
        let Ok(mut journal) = Journal::open(&mut disk, |_, _| ()) else { continue };
        let noted = journal.append(&[told(1)]).and_then(|_| journal.sync());
        if noted.is_err() {
            assert!(matches!(journal.append(&[told(2)]), Err(JournalError::Failed)));
            assert!(matches!(journal.sync(), Err(JournalError::Failed)));
        }
        disk.calls_left = None;
        let there = entries(&mut disk).unwrap();
        assert!(there.is_empty() || there == [told(1)], "{there:?}");
    }
}

proptest! {
    #[test]
    fn a_crash_costs_nothing_that_was_synced_and_leaves_a_beginning(
        syncs in proptest::collection::vec(any::<bool>(), 1..20), flips in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut disk = Disk::default();
        let mut journal = Journal::open(&mut disk, |_, _| ()).unwrap();
        let mut durable = 0;
        for (number, syncs) in syncs.iter().enumerate() {
            journal.append(&[told(number as u32)]).unwrap();
            if *syncs {
                journal.sync().unwrap();
                durable = number + 1;
            }
        }
        // What wasn't synced is there in part, in any order.
        let unsynced = disk.synced..disk.bytes.len();
        for flip in flips.iter().filter(|_| !unsynced.is_empty()) {
            disk.bytes[unsynced.start + flip.index(unsynced.len())] ^= 0x55;
        }
        let there = entries(&mut disk).unwrap();
        prop_assert!(there.len() >= durable);
        let all: Vec<Entry> = (0..syncs.len() as u32).map(told).collect();
        prop_assert_eq!(&there[..], &all[..there.len()]);
    }
}
