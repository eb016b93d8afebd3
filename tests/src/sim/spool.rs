//! The model of titan's place for results: takes them as they arrive, keeps one for each task, and complains of what the
//! real one would.

use std::collections::BTreeMap;

use titan_manager::WorkerId;
use titan_proto::id::{AttemptId, TaskId};
use titan_proto::message::ResultSummary;

use super::random::Random;
use super::tasks;

/// Longest result that any task can have.
const MAX_RESULT_BYTES: usize = 1 << 20;

/// Results, whole and in parts.
#[derive(Debug, Default)]
pub(super) struct Spool {
    parts: BTreeMap<AttemptId, Part>,
    /// Parts that an earlier titan has left, until somebody goes on with them.
    left: BTreeMap<AttemptId, Vec<u8>>,
    kept: BTreeMap<TaskId, Whole>,
}

/// A task's result.
#[derive(Debug)]
struct Whole {
    attempt: AttemptId,
    data: Vec<u8>,
    is_synced: bool,
}

/// What has arrived of a result.
#[derive(Debug)]
struct Part {
    owner: WorkerId,
    data: Vec<u8>,
    is_finished: bool,
}

impl Spool {
    /// The next bytes of an attempt's result.
    ///
    /// # Errors
    /// The sender does what no agent does.
    pub(super) fn append(
        &mut self,
        owner: WorkerId,
        attempt: AttemptId,
        data: &[u8],
        most: usize,
    ) -> Result<(), String> {
        let part = self.part(owner, attempt, most)?;
        part.data.extend_from_slice(data);
        match part.data.len() > MAX_RESULT_BYTES {
            true => Err("a result longer than it can be".to_owned()),
            false => Ok(()),
        }
    }

    /// The result is complete: whether it is whole.
    ///
    /// # Errors
    /// The sender does what no agent does.
    pub(super) fn finish(
        &mut self,
        owner: WorkerId,
        attempt: AttemptId,
        summary: ResultSummary,
        most: usize,
    ) -> Result<bool, String> {
        let part = self.part(owner, attempt, most)?;
        part.is_finished = true;
        Ok(part.data.len() as u64 == summary.bytes && tasks::checksum(&part.data) == summary.crc)
    }

    fn part(&mut self, owner: WorkerId, attempt: AttemptId, most: usize) -> Result<&mut Part, String> {
        let open = self.parts.values().filter(|part| part.owner == owner && !part.is_finished).count();
        let part = self.parts.entry(attempt).or_insert(Part { owner, data: Vec::new(), is_finished: false });
        if part.owner != owner || part.is_finished {
            return Err(format!("a result of {attempt}, which isn't its own or has ended"));
        }
        match open > most {
            true => Err("more results at once than it has tasks".to_owned()),
            false => Ok(part),
        }
    }

    /// Nothing more comes of an attempt that hasn't finished.
    pub(super) fn abandon(&mut self, attempt: AttemptId) {
        if self.parts.get(&attempt).is_some_and(|part| !part.is_finished) {
            self.parts.remove(&attempt);
        }
    }

    /// A session is over: what isn't finished goes with it.
    pub(super) fn end_session(&mut self, owner: WorkerId) {
        self.parts.retain(|_, part| part.owner != owner || part.is_finished);
    }

    /// An attempt's result becomes its task's.
    pub(super) fn keep(&mut self, attempt: AttemptId, task: TaskId) {
        let part =
            self.parts.remove(&attempt).unwrap_or_else(|| panic!("{attempt} is kept, but nothing is there of it"));
        assert!(part.is_finished, "{attempt} is kept before all of it is there");
        let before = self.kept.insert(task, Whole { attempt, data: part.data, is_synced: false });
        assert!(before.is_none(), "{task} has two results");
    }

    /// What is there of an attempt's result goes.
    pub(super) fn discard(&mut self, attempt: AttemptId) {
        self.parts.remove(&attempt);
    }

    /// A task's result, as the sink reads it.
    pub(super) fn kept(&self, task: TaskId) -> Option<&[u8]> {
        self.kept.get(&task).map(|whole| whole.data.as_slice())
    }

    /// Whose result a task's is.
    pub(super) fn kept_of(&self, task: TaskId) -> Option<AttemptId> {
        self.kept.get(&task).map(|whole| whole.attempt)
    }

    /// These are on the disk.
    pub(super) fn sync(&mut self, tasks: &[TaskId]) {
        for task in tasks {
            if let Some(whole) = self.kept.get_mut(task) {
                whole.is_synced = true;
            }
        }
    }

    /// titan dies: what has arrived of results stays.
    pub(super) fn leave_parts(&mut self) {
        self.left.clear();
        let parts = std::mem::take(&mut self.parts);
        self.left.extend(parts.into_iter().map(|(attempt, part)| (attempt, part.data)));
    }

    /// Power is cut: what wasn't synced may be damaged, or gone.
    pub(super) fn power_cut(&mut self, random: &mut Random) {
        self.left.clear();
        // An empty result has no file that could be lost.
        self.kept.retain(|_, whole| whole.is_synced || whole.data.is_empty() || random.chance(50));
        let unsynced = self.kept.values_mut().filter(|whole| !whole.is_synced && !whole.data.is_empty());
        unsynced.filter(|_| random.chance(50)).for_each(|whole| whole.data[0] ^= 1);
    }

    /// Whether a task's result is what the journal says, and on the disk from now on. One that isn't goes.
    pub(super) fn check(&mut self, task: TaskId, summary: ResultSummary) -> bool {
        let is_as_noted = |whole: &&mut Whole| {
            (whole.data.len() as u64, tasks::checksum(&whole.data)) == (summary.bytes, summary.crc)
        };
        match self.kept.get_mut(&task).filter(is_as_noted) {
            Some(whole) => whole.is_synced = true,
            None => drop(self.kept.remove(&task)),
        }
        self.kept.contains_key(&task)
    }

    /// What isn't the journal's goes.
    pub(super) fn retain(&mut self, is_known: impl Fn(TaskId) -> bool) {
        self.kept.retain(|task, _| is_known(*task));
    }

    /// How much an earlier titan has left of an attempt's result.
    pub(super) fn left_bytes(&self, attempt: AttemptId) -> u64 {
        self.left.get(&attempt).map_or(0, |data| data.len() as u64)
    }

    /// An attempt goes on for this titan.
    pub(super) fn adopt(&mut self, owner: WorkerId, attempt: AttemptId) {
        if let Some(data) = self.left.remove(&attempt).filter(|data| !data.is_empty()) {
            self.parts.insert(attempt, Part { owner, data, is_finished: false });
        }
    }

    /// Attempts of which something is there, and who sends it.
    pub(super) fn parts(&self) -> impl Iterator<Item = (AttemptId, WorkerId)> + '_ {
        self.parts.iter().map(|(&attempt, part)| (attempt, part.owner))
    }
}
