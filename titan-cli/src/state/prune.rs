//! What is too old to be kept. Ages are those of files by this machine's clock: a clock that is wrong keeps a batch longer, or not
//! as long, and changes nothing else.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Store;
use super::dir::{remove_left, take_over};
use super::ended::{self, BatchState, EndMark};
use crate::config::cluster::StateOptions;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Batches that are COMPLETED and kept.
const MAX_COMPLETED: usize = 100;
/// Batches that ended otherwise are kept so long.
const KEEP_ENDED: Duration = DAY.saturating_mul(30);
/// Batches that could be gone on with are kept so long.
const KEEP_UNFINISHED: Duration = DAY.saturating_mul(90);

/// How far a batch is, by the mark in its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It was killed before anything was begun.
    Unborn,
    Unfinished,
    Completed,
    Ended,
}

/// Removes batches that are too old, and what killed titans have left elsewhere. The door must be held.
pub(super) fn sweep(store: &Store, options: StateOptions) {
    let mut completed: Vec<(Duration, std::path::PathBuf)> = Vec::new();
    for (id, path) in store.entries() {
        let Ok(_lock) = take_over(&path) else { continue };
        remove_left(&path, &id);
        let (stage, age) = (stage(&path), age(&path));
        let limit = match stage {
            Stage::Unborn => Duration::ZERO,
            Stage::Unfinished => KEEP_UNFINISHED,
            Stage::Ended => KEEP_ENDED,
            Stage::Completed => options.keep,
        };
        if age >= limit {
            let _ = fs::remove_dir_all(&path);
        } else if stage == Stage::Completed {
            completed.push((age, path));
        }
    }
    completed.sort();
    for (_, path) in completed.iter().skip(MAX_COMPLETED) {
        let _ = fs::remove_dir_all(path);
    }
}

fn stage(batch: &Path) -> Stage {
    match EndMark::read(batch) {
        Some(mark) if mark.state == BatchState::Completed => Stage::Completed,
        Some(_) => Stage::Ended,
        // A journal is more than its header once something was begun.
        None => match fs::metadata(batch.join(super::journal::FILE)) {
            Ok(journal) if journal.len() > 16 => Stage::Unfinished,
            _ => Stage::Unborn,
        },
    }
}

/// For how long nobody has worked on it.
fn age(batch: &Path) -> Duration {
    let modified = |file: &str| fs::metadata(batch.join(file)).and_then(|data| data.modified()).ok();
    let last = modified(ended::FILE).into_iter().chain(modified(super::journal::FILE)).max();
    #[expect(clippy::disallowed_methods, reason = "how long files are kept is for people")]
    let now = SystemTime::now();
    last.and_then(|last| now.duration_since(last).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use titan_manager::{End, Verdict};

    use super::*;
    use crate::state::specification::Specification;

    fn make(folder: &Path, id: &str, state: Option<BatchState>, age: Duration) {
        let batch = folder.join(id);
        fs::create_dir(&batch).unwrap();
        #[expect(clippy::disallowed_methods, reason = "files that are old")]
        let then = SystemTime::now() - age;
        let mut files = vec![("lock", String::new()), ("journal", "x".repeat(20))];
        let verdict = Verdict { end: End::Done, completed: 1, failed: 0, cancelled: 0 };
        let mark = |state| serde_json::to_string(&EndMark { state, verdict, exit_code: 0, at_ms: 0 }).unwrap();
        files.extend(state.map(|state| ("ended", mark(state))));
        for (name, text) in files {
            fs::write(batch.join(name), text).unwrap();
            File::options().write(true).open(batch.join(name)).unwrap().set_modified(then).unwrap();
        }
    }

    #[test]
    fn each_kind_of_batch_is_kept_as_long_as_it_is_worth() {
        let folder = tempfile::tempdir().unwrap();
        let hour = Duration::from_secs(3_600);
        for (id, ended, limit) in [
            ("completed", Some(BatchState::Completed), DAY * 7),
            ("failed", Some(BatchState::Failed), DAY * 30),
            ("cancelled", Some(BatchState::Cancelled), DAY * 30),
            ("unfinished", None, DAY * 90),
        ] {
            make(folder.path(), &format!("{id}1"), ended, limit - hour);
            make(folder.path(), &format!("{id}2"), ended, limit + hour);
        }
        let store = Store::at(folder.path());
        let new = store.try_create(&Specification::default(), StateOptions::default()).unwrap();
        let mut left: Vec<_> = store.entries().map(|(id, _)| id.to_string()).collect();
        left.retain(|id| id != new.id().as_str());
        left.sort();
        assert_eq!(left, ["cancelled1", "completed1", "failed1", "unfinished1"]);
    }

    #[test]
    fn of_very_many_completed_ones_the_newest_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..MAX_COMPLETED + 5 {
            make(
                folder.path(),
                &format!("b{number:04}"),
                Some(BatchState::Completed),
                Duration::from_secs(number as u64 * 60),
            );
        }
        let store = Store::at(folder.path());
        sweep(&store, StateOptions::default());
        let mut left: Vec<_> = store.entries().map(|(id, _)| id.to_string()).collect();
        left.sort();
        assert_eq!((left.len(), left.last().unwrap().as_str()), (MAX_COMPLETED, "b0099"));
    }
}
