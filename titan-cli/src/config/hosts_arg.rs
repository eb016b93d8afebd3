//! The grammar of `-S, --hosts LIST`: commas between `[SLOTS/][USER@]HOST[:PORT]`, and `:` for this machine.
//!
//! Owns only what is written. Whether a HOST is a name in a cluster file is decided in [`place`](super::place).

use super::destination::DestinationError;
use super::jobs::MOST_SLOTS;
use super::text::shorten;

/// How this machine is written.
pub(crate) const THIS_MACHINE: &str = ":";
/// So many hosts can be given; a longer list is a mistake.
pub(crate) const MOST_HOSTS: usize = 10_000;

/// One host of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostArg {
    /// `SLOTS/`, from 1 on.
    pub(crate) slots: Option<u32>,
    /// The rest: [`THIS_MACHINE`], a name, or `[USER@]HOST[:PORT]`.
    pub(crate) host: String,
}

/// What is wrong with a list of hosts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostsError {
    /// Nothing between two commas, or nothing at all.
    #[error("--hosts '{list}' names an empty host (hint: write HOST, USER@HOST:PORT, or ':' for this machine)")]
    Empty {
        /// The list as it was given.
        list: String,
    },
    /// What is before the slash is no number of slots.
    #[error(
        "--hosts: '{item}' has no valid number of slots (hint: write SLOTS/HOST with SLOTS from 1 to {MOST_SLOTS})"
    )]
    Slots {
        /// The host as it was given.
        item: String,
    },
    /// The host isn't one that ssh could be given.
    #[error("--hosts: {0}")]
    Destination(#[from] DestinationError),
    /// A host is in the list two times.
    #[error("--hosts names '{host}' twice (hint: for more tasks at once there write N/{})", if host == "localhost" { ":" } else { host })]
    Twice {
        /// The host's name.
        host: String,
    },
    /// More hosts than anybody has.
    #[error("--hosts names more than {MOST_HOSTS} hosts")]
    TooMany,
}

/// Takes all lists apart, in order.
pub(crate) fn parse_hosts<T: AsRef<str>>(lists: &[T]) -> Result<Vec<HostArg>, HostsError> {
    let mut hosts = Vec::new();
    for list in lists.iter().map(AsRef::as_ref) {
        for item in list.split(',') {
            let item = item.trim_matches(' ');
            if item.is_empty() {
                return Err(HostsError::Empty { list: shorten(list) });
            }
            if hosts.len() == MOST_HOSTS {
                return Err(HostsError::TooMany);
            }
            hosts.push(parse_host(item)?);
        }
    }
    Ok(hosts)
}

fn parse_host(item: &str) -> Result<HostArg, HostsError> {
    let (slots, host) = match item.split_once('/') {
        Some((digits, host)) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            let slots = digits.parse().ok().filter(|slots| (1..=MOST_SLOTS).contains(slots));
            (Some(slots.ok_or_else(|| HostsError::Slots { item: shorten(item) })?), host)
        }
        _ => (None, item),
    };
    let text = || shorten(item);
    if host.is_empty() {
        return Err(DestinationError::Empty { text: text(), part: "host" }.into());
    }
    if host.starts_with('-') {
        return Err(DestinationError::LeadingDash { text: text() }.into());
    }
    if host.chars().any(char::is_control) {
        return Err(DestinationError::Character { text: text(), what: "a control character" }.into());
    }
    Ok(HostArg { slots, host: host.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts(list: &str) -> Vec<(Option<u32>, String)> {
        parse_hosts(&[list]).expect(list).into_iter().map(|host| (host.slots, host.host)).collect()
    }

    #[test]
    fn a_list_is_hosts_with_or_without_slots() {
        let expected = [(None, "a"), (Some(4), "ann@b:22"), (Some(2), ":"), (None, "[::1]:22")];
        assert_eq!(hosts("a, 4/ann@b:22,2/:,[::1]:22"), expected.map(|(slots, host)| (slots, host.to_owned())));
        assert_eq!(hosts("lab/a"), [(None, "lab/a".to_owned())]);
    }

    #[test]
    fn lists_add_up() {
        assert_eq!(parse_hosts(&["a,b", "c"]).expect("a list").len(), 3);
    }

    #[test]
    fn a_refusal_says_what_to_write() {
        let say = |list| parse_hosts(&[list]).expect_err("refused").to_string();
        insta::assert_snapshot!(say("a,,b"), @"--hosts 'a,,b' names an empty host (hint: write HOST, USER@HOST:PORT, or ':' for this machine)");
        insta::assert_snapshot!(say(""), @"--hosts '' names an empty host (hint: write HOST, USER@HOST:PORT, or ':' for this machine)");
        insta::assert_snapshot!(say("0/a"), @"--hosts: '0/a' has no valid number of slots (hint: write SLOTS/HOST with SLOTS from 1 to 4096)");
        insta::assert_snapshot!(say("4/"), @"--hosts: '4/' names no host (hint: write [USER@]HOST[:PORT])");
        insta::assert_snapshot!(say("/a"), @"--hosts: '/a' has no valid number of slots (hint: write SLOTS/HOST with SLOTS from 1 to 4096)");
        insta::assert_snapshot!(say("a,-oProxyCommand=x"), @"--hosts: '-oProxyCommand=x' begins with '-', which ssh would take for an option");
        insta::assert_snapshot!(say("a\x1b"), @r"--hosts: 'a\u{1b}' holds a control character (hint: write USER@HOST:PORT, or a name from your ssh config)");
        insta::assert_snapshot!(say(&"a,".repeat(10_001)), @"--hosts names more than 10000 hosts");
    }

    proptest! {
        #[test]
        fn any_list_gets_an_answer(lists in proptest::collection::vec("[-0-9a/@:,\\[\\] ]{0,20}|.*", 0..4)) {
            for host in parse_hosts(&lists).unwrap_or_default() {
                prop_assert!(!host.host.is_empty() && !host.host.starts_with('-'));
            }
        }
    }
}
