//! Faults of titan itself, to show that the rules notice them.

use titan_manager::{Effect, Lifecycle, Record, TaskEnd};
use titan_proto::message::ToAgent;

/// What titan does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing.
    None,
    /// Acknowledges outcomes before it records them.
    AcknowledgesFirst,
    /// Delivers results before they are recorded.
    DeliversFirst,
    /// Takes a task for COMPLETED when it has run well, though its files have no place yet.
    CompletesBeforeCommit,
    /// Delivers results twice.
    DeliversTwice,
    /// Never discards anything.
    SkipsDiscard,
    /// Starts each task twice, under one attempt.
    StartsTwice,
    /// Says nothing of tasks that are missing.
    HidesMissing,
    /// Forgets to acknowledge.
    SkipsAcknowledge,
    /// Counts one task too many.
    Miscounts,
    /// Doesn't pass on that attempts have ended.
    LosesOutcomes,
    /// Hears each message twice.
    HearsTwice,
    /// Doesn't look whether results are whole.
    TrustsResults,
    /// Takes frames that aren't the next.
    AcceptsAnyFrame,
    /// Takes each lost agent for dead.
    ForgetsLeases,
    /// Lets agents forget outcomes that aren't on the disk yet.
    AcknowledgesBeforeSync,
    /// Puts files in their places before it is on the disk whose they are.
    CommitsBeforeSync,
    /// Tells people of ends that aren't on the disk yet.
    TellsBeforeSync,
    /// Says that the journal is on the disk without having waited for it.
    SyncsNothing,
    /// Syncs the journal and not the results that it speaks of.
    SyncsNoResults,
    /// Overlooks a frame of the journal when it goes on.
    ForgetsAFrame,
    /// Overlooks what may still run when it goes on.
    ForgetsWhatRuns,
    /// Goes on under the epoch of the titan before it.
    KeepsItsEpoch,
    /// Its agents listen to titans of earlier lives.
    FencesNoEpoch,
    /// Takes an outcome for that of whatever attempt its task has now.
    FencesNoAttempt,
    /// Thinks that leases are a quarter as long as they are.
    MistakesTheLease,
    /// Lets its agents live three times as long as they should without it.
    StretchesTheLease,
    /// Says that it has more of a result than it has.
    OverstatesWhatItHas,
    /// Lets run what it doesn't adopt.
    ForgetsNothing,
    /// Its agents run what they have given back.
    RunsWhatItGaveBack,
}

impl Sabotage {
    /// All that trouble by seed shows.
    pub const BY_SEED: [Self; 21] = [
        Self::AcknowledgesFirst,
        Self::DeliversTwice,
        Self::StartsTwice,
        Self::SkipsDiscard,
        Self::LosesOutcomes,
        Self::TrustsResults,
        Self::ForgetsLeases,
        Self::AcknowledgesBeforeSync,
        Self::CommitsBeforeSync,
        Self::TellsBeforeSync,
        Self::SyncsNothing,
        Self::SyncsNoResults,
        Self::ForgetsAFrame,
        Self::ForgetsWhatRuns,
        Self::KeepsItsEpoch,
        Self::FencesNoEpoch,
        Self::FencesNoAttempt,
        Self::MistakesTheLease,
        Self::StretchesTheLease,
        Self::OverstatesWhatItHas,
        Self::RunsWhatItGaveBack,
    ];
}

impl Sabotage {
    /// Does to the manager's effects what is wrong.
    pub(super) fn spoil(self, effects: &mut Vec<Effect>) {
        match self {
            Self::AcknowledgesFirst => effects.sort_by_key(|effect| !is_acknowledge(effect)),
            Self::DeliversFirst => effects.sort_by_key(|effect| !matches!(effect, Effect::Deliver { .. })),
            Self::CompletesBeforeCommit => effects.iter_mut().for_each(complete),
            Self::DeliversTwice => repeat(effects, |effect| matches!(effect, Effect::Deliver { .. })),
            Self::SkipsDiscard => effects.retain(|effect| !matches!(effect, Effect::Discard { .. })),
            Self::StartsTwice => repeat(effects, is_start),
            Self::HidesMissing => {
                effects.retain(|effect| !matches!(effect, Effect::Deliver(end) if end.state != Lifecycle::Completed));
            }
            Self::SkipsAcknowledge => effects.retain(|effect| !is_acknowledge(effect)),
            Self::ForgetsNothing => effects.retain(|effect| !is_forget(effect)),
            Self::Miscounts => effects.iter_mut().for_each(miscount),
            Self::None
            | Self::LosesOutcomes
            | Self::HearsTwice
            | Self::TrustsResults
            | Self::AcceptsAnyFrame
            | Self::ForgetsLeases
            | Self::AcknowledgesBeforeSync
            | Self::CommitsBeforeSync
            | Self::TellsBeforeSync
            | Self::SyncsNothing
            | Self::SyncsNoResults
            | Self::ForgetsAFrame
            | Self::ForgetsWhatRuns
            | Self::KeepsItsEpoch
            | Self::FencesNoEpoch
            | Self::FencesNoAttempt
            | Self::MistakesTheLease
            | Self::StretchesTheLease
            | Self::OverstatesWhatItHas
            | Self::RunsWhatItGaveBack => {}
        }
    }
}

fn is_acknowledge(effect: &Effect) -> bool {
    matches!(effect, Effect::Send { message: ToAgent::Acknowledge { .. }, .. })
}

fn is_forget(effect: &Effect) -> bool {
    matches!(effect, Effect::Send { message: ToAgent::Forget { .. }, .. })
}

fn is_start(effect: &Effect) -> bool {
    matches!(effect, Effect::Send { message: ToAgent::Start { .. }, .. })
}

fn repeat(effects: &mut Vec<Effect>, which: fn(&Effect) -> bool) {
    let repeated =
        effects.iter().flat_map(|effect| std::iter::repeat_n(effect.clone(), 1 + usize::from(which(effect))));
    *effects = repeated.collect();
}

fn complete(effect: &mut Effect) {
    if let Effect::Record(Record::Kept(kept)) = *effect {
        let end = TaskEnd {
            task: kept.task,
            state: Lifecycle::Completed,
            attempt: Some(kept.attempt),
            attempts: 1,
            host: Some(kept.host),
            has_result: true,
            process: kept.process,
            reason: None,
        };
        *effect = Effect::Record(Record::Ended { end, summary: Some(kept.summary) });
    }
}

fn miscount(effect: &mut Effect) {
    if let Effect::Finished(verdict) = effect {
        verdict.completed += 1;
    }
    if let Effect::Record(Record::Ended { summary: Some(summary), .. }) = effect {
        summary.bytes += 1;
    }
}
