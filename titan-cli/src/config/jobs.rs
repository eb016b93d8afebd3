//! How many tasks a host runs at once: `-j N|N%|+N|-N`, and what is left when nothing was said.

use std::fmt;

/// The most slots of one host: far beyond what a machine can run, and few enough that counting them costs nothing.
pub(crate) const MOST_SLOTS: u32 = titan_proto::message::MAX_SLOTS;

/// What `-j` was given; how many slots that is depends on the cores of each host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jobs {
    /// `N`: so many, whatever the cores.
    Count(u32),
    /// `N%` of the cores.
    Percent(u32),
    /// `+N`: so many more than cores.
    More(u32),
    /// `-N`: so many fewer than cores.
    Fewer(u32),
}

impl Jobs {
    /// The slots of a host with so many usable cores, at least one.
    pub(crate) fn resolve(self, cores: u32) -> u32 {
        let slots = match self {
            Self::Count(count) => count,
            Self::Percent(percent) => (u64::from(cores) * u64::from(percent) / 100).min(u64::from(MOST_SLOTS)) as u32,
            Self::More(more) => cores.saturating_add(more),
            Self::Fewer(fewer) => cores.saturating_sub(fewer),
        };
        slots.clamp(1, MOST_SLOTS)
    }
}

/// Reads the value of `-j`. The error completes a sentence that begins with the value.
pub(crate) fn parse_jobs(text: &str) -> Result<Jobs, String> {
    let kind: (&str, fn(u32) -> Jobs) = if let Some(percent) = text.strip_suffix('%') {
        (percent, Jobs::Percent)
    } else if let Some(more) = text.strip_prefix('+') {
        (more, Jobs::More)
    } else if let Some(fewer) = text.strip_prefix('-') {
        (fewer, Jobs::Fewer)
    } else {
        (text, Jobs::Count)
    };
    let (digits, jobs_of) = kind;
    let number = number(digits)?;
    match jobs_of(number) {
        Jobs::Count(0) | Jobs::Percent(0) => Err(
            "is no slots at all: write the number of tasks to run at once, such as 4 (-j0 doesn't mean unlimited here)"
                .to_owned(),
        ),
        Jobs::Count(count) if count > MOST_SLOTS => Err(format!("is more than {MOST_SLOTS} tasks at once")),
        jobs => Ok(jobs),
    }
}

/// Digits only: `str::parse` would take a second sign.
fn number(digits: &str) -> Result<u32, String> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err("isn't N, N%, +N or -N: write a number such as 4, or 50% of the cores".to_owned());
    }
    digits.parse().map_err(|_| "is too large".to_owned())
}

impl fmt::Display for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::More(more) => write!(f, "+{more}"),
            Self::Fewer(fewer) => write!(f, "-{fewer}"),
        }
    }
}

/// The slots of one host, as far as they are known before its agent has told its cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Slots {
    /// One for each core that the agent may use.
    #[default]
    Cores,
    /// A number that was written down for this host.
    Exactly(u32),
    /// What `-j` makes of the agent's cores.
    Jobs(Jobs),
}

impl Slots {
    /// The number of slots once the agent has told its usable cores, at least one.
    pub(crate) fn resolve(self, cores: u32) -> u32 {
        match self {
            Self::Cores => cores.clamp(1, MOST_SLOTS),
            Self::Exactly(slots) => slots.clamp(1, MOST_SLOTS),
            Self::Jobs(jobs) => jobs.resolve(cores),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_form_counts_from_the_cores() {
        for (text, slots) in
            [("3", 3), ("50%", 4), ("150%", 12), ("1%", 1), ("+2", 10), ("-2", 6), ("-99", 1), ("+0", 8)]
        {
            assert_eq!(parse_jobs(text).map(|jobs| jobs.resolve(8)), Ok(slots), "{text}");
        }
    }

    #[test]
    fn zero_is_refused_with_what_to_write() {
        insta::assert_snapshot!(parse_jobs("0").expect_err("refused"), @"is no slots at all: write the number of tasks to run at once, such as 4 (-j0 doesn't mean unlimited here)");
        insta::assert_snapshot!(parse_jobs("many").expect_err("refused"), @"isn't N, N%, +N or -N: write a number such as 4, or 50% of the cores");
        for text in ["", "0%", "%", "+", "-", "--1", "+-1", "1.5", "4 ", "99999999999", "65537", "-50%"] {
            assert!(parse_jobs(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn slots_are_at_least_one() {
        assert_eq!(Slots::Cores.resolve(0), 1);
        assert_eq!(Slots::Exactly(4).resolve(1), 4);
        assert_eq!(Slots::Jobs(Jobs::Percent(10)).resolve(4), 1);
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer_within_bounds(text in "[-+]?[0-9]{1,12}%?|.*", cores: u32) {
            if let Ok(jobs) = parse_jobs(&text) {
                prop_assert!((1..=MOST_SLOTS).contains(&jobs.resolve(cores)));
                prop_assert_eq!(parse_jobs(&jobs.to_string()), Ok(jobs));
            }
        }
    }
}
