//! What is asked for and when, and who fails when a content can't be had.

use std::cell::RefCell;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use titan_proto::id::{Epoch, JobId};

use super::*;

struct Host {
    fetcher: Fetcher,
    told: RefCell<Vec<Told>>,
    _folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let fetcher = Fetcher::new("h".into(), move || Store::open(&path.join("scratch"), 1 << 30));
        Self { fetcher, told: RefCell::default(), _folder: folder }
    }

    fn order(&mut self, order: Order) -> Vec<Told> {
        self.fetcher.handle(order, &|told| self.told.borrow_mut().push(told));
        self.told.take()
    }

    fn stage(&mut self, number: u32, contents: &[&[u8]]) -> Vec<Told> {
        let set = FileSet::Attempt(attempt(number));
        let entries = contents.iter().map(|content| entry(content)).collect();
        self.order(Order::Files { set, entries });
        self.order(Order::Stage { attempt: attempt(number), sets: vec![set] })
    }

    fn send(&mut self, stream: u64, content: &[u8]) -> Vec<Told> {
        let mut told = self.order(Order::Bytes { stream, data: Bytes::copy_from_slice(content) });
        told.extend(self.order(Order::Piece { stream, failure: None }));
        told
    }
}

fn attempt(number: u32) -> AttemptId {
    AttemptId { epoch: Epoch(1), number }
}

fn entry(content: &[u8]) -> Entry {
    let blob = BlobId(Sha256::digest(content).into());
    let kind = EntryKind::File { bytes: content.len() as u64, content: Content::Blob(blob) };
    Entry { place: b"f".to_vec(), mode: 0o644, mtime_ns: 0, kind }
}

fn streams(told: &[Told]) -> Vec<u64> {
    let stream = |told: &Told| if let Told::Want { stream, .. } = told { Some(*stream) } else { None };
    told.iter().filter_map(stream).collect()
}

fn staged(told: &[Told]) -> Vec<(u32, Result<(), String>)> {
    let staged = |told: &Told| match told {
        Told::Staged { attempt, staged: Ok(_) } => Some((attempt.number, Ok(()))),
        Told::Staged { attempt, staged: Err(Outcome::Failed { reason, .. }) } => {
            Some((attempt.number, Err(reason.clone())))
        }
        _ => None,
    };
    told.iter().filter_map(staged).collect()
}

#[test]
fn a_content_is_asked_for_once_however_many_need_it() {
    let mut host = Host::new();
    assert_eq!(streams(&host.stage(1, &[b"one", b"two"])).len(), 2);
    assert_eq!(streams(&host.stage(2, &[b"two"])), []);
    // They are asked for in the order of their names.
    let mut contents = [b"one", b"two"];
    contents.sort_by_key(|content| Sha256::digest(content));
    let mut told = host.send(0, contents[0]);
    told.extend(host.send(1, contents[1]));
    let mut done = staged(&told);
    done.sort();
    assert_eq!(done, [(1, Ok(())), (2, Ok(()))]);
    assert_eq!(staged(&host.stage(3, &[b"one"])), [(3, Ok(()))]);
}

#[test]
fn a_content_that_changed_fails_those_that_need_it_and_nobody_else() {
    let mut host = Host::new();
    host.stage(1, &[b"one"]);
    host.stage(2, &[b"two"]);
    assert_eq!(staged(&host.send(0, b"ONE")), [(1, Err("an input changed while it was sent".to_owned()))]);
    assert_eq!(staged(&host.send(1, b"two")), [(2, Ok(()))]);
}

#[test]
fn what_the_manager_cannot_read_is_told_with_its_words() {
    let mut host = Host::new();
    host.stage(1, &[b"one"]);
    let told = host.order(Order::Piece { stream: 0, failure: Some("a.mov is gone".into()) });
    assert_eq!(staged(&told), [(1, Err("a.mov is gone".to_owned()))]);
}

#[test]
fn what_is_asked_for_is_bounded_and_goes_on_as_it_comes() {
    let mut host = Host::new();
    let large = vec![7; 40 << 20];
    let told = host.stage(1, &[&large]);
    assert_eq!(streams(&told).len() as u64, MAX_ASKED_BYTES / MAX_PIECE_BYTES);
    let mut sent = 0;
    let mut open = streams(&told);
    while let Some(stream) = (!open.is_empty()).then(|| open.remove(0)) {
        let told = host.send(stream, &large[..MAX_PIECE_BYTES as usize]);
        sent += MAX_PIECE_BYTES;
        open.extend(streams(&told));
        assert_eq!(!staged(&told).is_empty(), sent == large.len() as u64);
    }
    assert_eq!(sent, large.len() as u64);
}

#[test]
fn what_nobody_needs_any_more_is_thrown_away() {
    let mut host = Host::new();
    host.stage(1, &[b"one"]);
    host.order(Order::Release { attempt: attempt(1) });
    assert!(host.send(0, b"one").is_empty());
    assert_eq!(streams(&host.stage(2, &[b"one"])), [1]);
}

#[test]
fn empty_files_folders_and_links_need_nothing() {
    let mut host = Host::new();
    assert_eq!(staged(&host.stage(1, &[b""])), [(1, Ok(()))]);
    assert!(host.fetcher.store.is_none());
}

#[test]
fn a_path_that_leaves_the_folder_fails_its_task() {
    let mut host = Host::new();
    let set = FileSet::Job(JobId(0));
    let entries = vec![Entry { place: b"../x".to_vec(), ..entry(b"") }];
    host.order(Order::Files { set, entries });
    let told = host.order(Order::Stage { attempt: attempt(1), sets: vec![set] });
    assert_eq!(staged(&told), [(1, Err("'../x' is no path inside its folder".to_owned()))]);
}

#[test]
fn a_refused_attempt_takes_nothing_from_another() {
    let mut host = Host::new();
    host.stage(1, &[b"one"]);
    let set = FileSet::Attempt(attempt(2));
    let entries = vec![entry(b"one"), Entry { place: b"/x".to_vec(), ..entry(b"") }];
    host.order(Order::Files { set, entries });
    assert!(staged(&host.order(Order::Stage { attempt: attempt(2), sets: vec![set] }))[0].1.is_err());
    host.order(Order::Release { attempt: attempt(2) });
    assert_eq!(staged(&host.send(0, b"one")), [(1, Ok(()))]);
}

#[test]
fn pieces_of_a_download_that_was_given_up_are_not_taken_for_a_later_one() {
    let mut host = Host::new();
    let content = vec![7; 3 << 20];
    let first = streams(&host.stage(1, &[&content]));
    assert_eq!(first.len(), 3);
    host.order(Order::Release { attempt: attempt(1) });
    let second = streams(&host.stage(2, &[&content]));
    assert_eq!(second.len(), 3);
    for stream in first {
        assert_eq!(staged(&host.send(stream, &content[..1 << 20])), [], "it was for nobody");
    }
    let told: Vec<Told> = second.iter().flat_map(|stream| host.send(*stream, &content[..1 << 20])).collect();
    assert_eq!(staged(&told), [(2, Ok(()))]);
}
