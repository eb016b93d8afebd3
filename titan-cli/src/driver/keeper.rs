//! What the attempts of one session send: kept in the spool, and held against what their tasks declared.

use std::collections::BTreeMap;
use std::io;

use titan_manager::desk::{Results, Unkept};
use titan_proto::id::AttemptId;
use titan_proto::message::{Fault, Outcome, ResultSummary};

use crate::files::check::{OutputCheck, Refused};
use crate::paths::named;
use crate::state::spool::{SpoolError, Writer};

/// Takes the results of one session.
pub(crate) struct Keeper {
    spool: Writer,
    /// Of attempts that are to leave files.
    checks: BTreeMap<AttemptId, OutputCheck>,
    /// What couldn't be kept here, until that has been told.
    unkept: Option<io::Error>,
}

impl Keeper {
    pub(crate) fn new(spool: Writer) -> Self {
        Self { spool, checks: BTreeMap::new(), unkept: None }
    }

    /// What an attempt sends is to be looked through.
    pub(crate) fn look_through(&mut self, attempt: AttemptId, check: OutputCheck) {
        self.checks.insert(attempt, check);
    }

    /// An attempt of an earlier titan goes on, of which so many bytes are here.
    ///
    /// # Errors
    /// They can't be read.
    pub(crate) fn adopt(&mut self, attempt: AttemptId, have: u64, mut check: Option<OutputCheck>) -> io::Result<()> {
        self.spool.adopt(attempt, have, |bytes| {
            if let Some(check) = &mut check {
                check.push(bytes);
            }
        })?;
        self.checks.extend(check.map(|check| (attempt, check)));
        Ok(())
    }

    /// What couldn't be kept here since this was asked last.
    pub(crate) fn take_unkept(&mut self) -> Option<io::Error> {
        self.unkept.take()
    }
}

impl Results for Keeper {
    fn append(&mut self, attempt: AttemptId, data: &[u8]) -> Result<(), Unkept> {
        if let Some(check) = self.checks.get_mut(&attempt) {
            check.push(data);
        }
        self.spool.append(attempt, data).map_err(|error| match error {
            SpoolError::Sender { reason } => Unkept::Sender(reason),
            SpoolError::Here { path, cause } => {
                self.unkept = Some(named(&path, &cause));
                Unkept::Here(format!("what it sends can't be kept here: {cause}"))
            }
        })
    }

    /// A result that didn't arrive whole is a failed attempt, and so is one that isn't what was declared.
    fn finish(&mut self, attempt: AttemptId, outcome: Outcome, summary: ResultSummary) -> Outcome {
        let is_whole = self.spool.finish(attempt, summary);
        match (outcome, self.checks.remove(&attempt).map(OutputCheck::finish)) {
            _ if !is_whole => Outcome::failed("its result arrived damaged"),
            // What it has printed is told all the same.
            (Outcome::Completed(_), Some(Err(Refused::OfTask(reason)))) => {
                Outcome::Failed { reason, fault: Fault::Task, result: Some(summary) }
            }
            (Outcome::Completed(_), Some(Err(Refused::OfHost(problem)))) => Outcome::failed_by_host(problem),
            (outcome, _) => outcome,
        }
    }

    fn abandon(&mut self, attempt: AttemptId) {
        self.spool.abandon(attempt);
        self.checks.remove(&attempt);
    }
}
