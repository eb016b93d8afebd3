//! `[scheduler]`: how work is given out, and how long silence is borne.

use std::time::Duration;

use titan_manager::policy::PolicyKind as Policy;

use crate::config::suggest::nearest;
use crate::config::toml_file::{Rules, Section};
use crate::config::units::exact_duration;

/// The keys of `[scheduler]`.
pub(super) const RULES: Rules = Rules {
    name: "[scheduler]",
    keys: &[
        "policy",
        "tick",
        "heartbeat",
        "unhealthy_after",
        "lease",
        "wait_for_hosts",
        "quarantine",
        "retries",
        "crash_limit",
        "min_workers",
        "speculate",
    ],
    instead_of: &[("interval", "tick"), ("heartbeat_interval", "heartbeat"), ("timeout", "unhealthy_after")],
};

/// The shortest tick or heartbeat: below it the manager would do little else.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);
/// The most tries, losses or workers that a key can ask for.
const MOST: u32 = 1_000_000;

/// How work is given out, and how long silence is borne.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scheduler {
    /// Which worker gets a task.
    pub(crate) policy: Policy,
    /// How often the manager looks at what only time can tell.
    pub(crate) tick: Duration,
    /// How often an agent says that it lives.
    pub(crate) heartbeat: Duration,
    /// After how long a silence a worker is UNHEALTHY and gets no more tasks.
    pub(crate) unhealthy_after: Duration,
    /// How long an agent goes on without its manager; zero: it ends with its channel.
    pub(crate) lease: Duration,
    /// How long is waited when no host is up; if unset, for the length of the lease where one may run.
    pub(crate) wait_for_hosts: Option<Duration>,
    /// How long a host with repeated faults of its own gets no tasks, the first time; zero: it goes on.
    pub(crate) quarantine: Duration,
    /// Further tries after the first that FAILED; if unset, the kind of job decides.
    pub(crate) retries: Option<u32>,
    /// So many attempts of one task may be lost with their workers until the task FAILED.
    pub(crate) crash_limit: u32,
    /// No task starts before so many workers are HEALTHY.
    pub(crate) min_workers: u32,
    /// Whether stragglers at the tail get a second attempt where they may run twice.
    pub(crate) speculates: bool,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            tick: Duration::from_secs(5),
            heartbeat: Duration::from_secs(10),
            unhealthy_after: Duration::from_secs(30),
            lease: Duration::from_secs(600),
            wait_for_hosts: None,
            quarantine: Duration::from_secs(300),
            retries: None,
            crash_limit: 5,
            min_workers: 1,
            speculates: true,
        }
    }
}

impl Scheduler {
    /// Refuses durations that don't fit together. Holds for what a file says and for what arguments made of it.
    pub(crate) fn check(&self) -> Result<(), SchedulerError> {
        let Self { tick, heartbeat, unhealthy_after, lease, .. } = *self;
        for (key, period) in [("tick", tick), ("heartbeat", heartbeat)] {
            if period < SHORTEST_PERIOD {
                return Err(SchedulerError::TooOften { key, period });
            }
        }
        if unhealthy_after <= heartbeat {
            return Err(SchedulerError::Impatient { heartbeat, unhealthy_after });
        }
        if !lease.is_zero() && lease <= unhealthy_after.saturating_add(heartbeat) {
            return Err(SchedulerError::ShortLease { heartbeat, unhealthy_after, lease });
        }
        Ok(())
    }
}

/// `auto` or `off`.
///
/// # Errors
/// It is neither.
pub(crate) fn parse_speculate(text: &str) -> Result<bool, String> {
    match text {
        "auto" => Ok(true),
        "off" => Ok(false),
        _ => Err("is none of them: write \"auto\" or \"off\"".to_owned()),
    }
}

/// Why the durations of a [`Scheduler`] don't fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SchedulerError {
    /// A period is so short that the work would stand still.
    #[error("{key} = {} is too short", exact_duration(*.period))]
    TooOften {
        /// Which period.
        key: &'static str,
        /// How long it is.
        period: Duration,
    },
    /// A worker would be given up before its next heartbeat is due.
    #[error(
        "unhealthy_after = {} isn't longer than heartbeat = {}",
        exact_duration(*.unhealthy_after), exact_duration(*.heartbeat)
    )]
    Impatient {
        /// The time between heartbeats.
        heartbeat: Duration,
        /// The silence that is borne.
        unhealthy_after: Duration,
    },
    /// An agent could end its tasks while its manager still counts on them.
    #[error(
        "lease = {} isn't longer than unhealthy_after + heartbeat = {}",
        exact_duration(*.lease), exact_duration(.unhealthy_after.saturating_add(*.heartbeat))
    )]
    ShortLease {
        /// The time between heartbeats.
        heartbeat: Duration,
        /// The silence that is borne.
        unhealthy_after: Duration,
        /// How long an agent goes on alone.
        lease: Duration,
    },
}

impl SchedulerError {
    /// What to write instead, in a file or as an option.
    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::TooOften { key, .. } => format!("write at least {}: {key} = \"1s\"", exact_duration(SHORTEST_PERIOD)),
            Self::Impatient { heartbeat, .. } => {
                let enough = exact_duration(heartbeat.saturating_mul(3));
                format!("write unhealthy_after = \"{enough}\" (--unhealthy-after {enough}), or a shorter heartbeat")
            }
            Self::ShortLease { heartbeat, unhealthy_after, .. } => {
                let least = unhealthy_after.saturating_add(*heartbeat);
                let enough = exact_duration(least.saturating_add(least / 2));
                format!("write lease = \"{enough}\" (--lease {enough}), or 0: the agent ends with its channel")
            }
        }
    }

    /// The keys that have to do with it, the one to change first.
    fn keys(&self) -> &'static [&'static str] {
        match self {
            Self::TooOften { key: "tick", .. } => &["tick"],
            Self::TooOften { .. } => &["heartbeat"],
            Self::Impatient { .. } => &["unhealthy_after", "heartbeat"],
            Self::ShortLease { .. } => &["lease", "unhealthy_after", "heartbeat"],
        }
    }
}

/// Reads a policy's name. The error completes a sentence that begins with the value.
pub(crate) fn parse_policy(text: &str) -> Result<Policy, String> {
    let names = Policy::ALL.map(Policy::name);
    Policy::find(text).ok_or_else(|| match nearest(text, names) {
        Some(near) => format!("is no policy: did you mean '{near}'?"),
        None => format!("is no policy: there are {}", names.join(", ")),
    })
}

/// Reads `[scheduler]`; what it doesn't say, or says wrongly, is the default.
pub(super) fn read(section: &mut Section<'_, '_>) -> Scheduler {
    let default = Scheduler::default();
    let scheduler = Scheduler {
        policy: section.parsed("policy", parse_policy).unwrap_or(default.policy),
        tick: section.duration("tick").unwrap_or(default.tick),
        heartbeat: section.duration("heartbeat").unwrap_or(default.heartbeat),
        unhealthy_after: section.duration("unhealthy_after").unwrap_or(default.unhealthy_after),
        lease: section.duration("lease").unwrap_or(default.lease),
        wait_for_hosts: section.duration("wait_for_hosts"),
        quarantine: section.duration("quarantine").unwrap_or(default.quarantine),
        retries: section.integer("retries", 0..=MOST),
        crash_limit: section.integer("crash_limit", 1..=MOST).unwrap_or(default.crash_limit),
        min_workers: section.integer("min_workers", 1..=MOST).unwrap_or(default.min_workers),
        speculates: section.parsed("speculate", parse_speculate).unwrap_or(default.speculates),
    };
    if let Err(error) = scheduler.check() {
        let key = error.keys().iter().find(|key| section.has(key)).unwrap_or(&error.keys()[0]);
        section.refuse(key, error.to_string(), error.remedy());
    }
    scheduler
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut Scheduler)) -> String {
        let mut scheduler = Scheduler::default();
        change(&mut scheduler);
        let error = scheduler.check().expect_err("refused");
        format!("{error}: {}", error.remedy())
    }

    #[test]
    fn the_defaults_fit_together() {
        assert_eq!(Scheduler::default().check(), Ok(()));
    }

    #[test]
    fn a_lease_of_zero_ends_the_agent_with_its_channel() {
        assert_eq!(Scheduler { lease: Duration::ZERO, ..Scheduler::default() }.check(), Ok(()));
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_the_remedy() {
        insta::assert_snapshot!(refusal(|s| s.lease = Duration::from_secs(40)), @r#"lease = 40s isn't longer than unhealthy_after + heartbeat = 40s: write lease = "60s" (--lease 60s), or 0: the agent ends with its channel"#);
        insta::assert_snapshot!(refusal(|s| s.unhealthy_after = Duration::from_secs(10)), @r#"unhealthy_after = 10s isn't longer than heartbeat = 10s: write unhealthy_after = "30s" (--unhealthy-after 30s), or a shorter heartbeat"#);
        insta::assert_snapshot!(refusal(|s| s.heartbeat = Duration::ZERO), @r#"heartbeat = 0s is too short: write at least 10ms: heartbeat = "1s""#);
    }

    #[test]
    fn the_longest_durations_do_not_overflow() {
        assert!(!refusal(|s| s.unhealthy_after = Duration::MAX).is_empty());
        assert!(!refusal(|s| s.heartbeat = Duration::MAX).is_empty());
    }

    #[test]
    fn a_policy_is_read_by_the_name_that_it_shows() {
        for policy in Policy::ALL {
            assert_eq!(parse_policy(policy.name()), Ok(policy));
        }
        insta::assert_snapshot!(parse_policy("roundrobin").expect_err("refused"), @"is no policy: did you mean 'round-robin'?");
    }
}
