//! Where ssh is to go: `[USER@]HOST[:PORT]`, as it is written in lists of hosts and in cluster files.
//!
//! Owns what may be handed to ssh as a host or a user. Whether such a host exists is ssh's affair.

use std::fmt;
use std::net::Ipv6Addr;

use super::text::shorten;

/// The parts of `[USER@]HOST[:PORT]`. None of them can be taken for an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// The user to log in as; otherwise ssh decides.
    pub(crate) user: Option<String>,
    /// A name that ssh knows, or an address; an IPv6 address is without brackets.
    pub(crate) host: String,
    /// The port; otherwise ssh decides.
    pub(crate) port: Option<u16>,
}

/// Why a text is no [`Destination`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DestinationError {
    /// Nothing was written, or nothing before the `@` or the `:`.
    #[error("'{text}' names no {part} (hint: write [USER@]HOST[:PORT])")]
    Empty {
        /// What was written.
        text: String,
        /// The part that is missing.
        part: &'static str,
    },
    /// ssh would take it for an option.
    #[error("'{text}' begins with '-', which ssh would take for an option")]
    LeadingDash {
        /// What was written.
        text: String,
    },
    /// A character that no host and no user has.
    #[error("'{text}' holds {what} (hint: write USER@HOST:PORT, or a name from your ssh config)")]
    Character {
        /// What was written.
        text: String,
        /// The kind of character.
        what: &'static str,
    },
    /// What follows the colon isn't from 1 to 65535.
    #[error("'{text}' has no valid port (hint: write a number from 1 to 65535)")]
    Port {
        /// What was written.
        text: String,
    },
    /// Brackets that don't hold an IPv6 address, or more than one colon outside of them.
    #[error("'{text}' isn't an IPv6 address (hint: write it as ::1, or with a port as [::1]:22)")]
    Ipv6 {
        /// What was written.
        text: String,
    },
}

impl Destination {
    /// Takes a text apart and checks each part.
    pub(crate) fn parse(text: &str) -> Result<Self, DestinationError> {
        let shown = || shorten(text);
        if let Some(what) = text.chars().find_map(forbidden) {
            return Err(DestinationError::Character { text: shown(), what });
        }
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, text),
        };
        let (host, port) = split_port(place)?;
        for (part, name) in [(user, "user"), (Some(host), "host")] {
            match part {
                Some("") => return Err(DestinationError::Empty { text: shown(), part: name }),
                Some(part) if part.starts_with('-') => return Err(DestinationError::LeadingDash { text: shown() }),
                _ => {}
            }
        }
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

fn forbidden(c: char) -> Option<&'static str> {
    match c {
        _ if c.is_control() => Some("a control character"),
        _ if c.is_whitespace() => Some("a blank"),
        '/' => Some("a '/'"),
        _ => None,
    }
}

/// Splits `HOST[:PORT]`, where the host may be an IPv6 address, bare or in brackets.
fn split_port(place: &str) -> Result<(&str, Option<u16>), DestinationError> {
    let ipv6_error = || DestinationError::Ipv6 { text: shorten(place) };
    if let Some(bracketed) = place.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']').ok_or_else(ipv6_error)?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(port_number(place, port)?),
            None if rest.is_empty() => None,
            None => return Err(ipv6_error()),
        };
        return if is_ipv6(address) { Ok((address, port)) } else { Err(ipv6_error()) };
    }
    match place.split_once(':') {
        None => Ok((place, None)),
        Some((_, rest)) if rest.contains(':') => {
            if is_ipv6(place) {
                Ok((place, None))
            } else {
                Err(ipv6_error())
            }
        }
        Some((host, port)) => Ok((host, Some(port_number(place, port)?))),
    }
}

fn port_number(place: &str, digits: &str) -> Result<u16, DestinationError> {
    let all_digits = digits.bytes().all(|digit| digit.is_ascii_digit());
    let port = digits.parse().ok().filter(|port| *port != 0 && all_digits);
    port.ok_or_else(|| DestinationError::Port { text: shorten(place) })
}

/// An address, perhaps with the network interface that it is reached by: `fe80::1%eth0`.
fn is_ipv6(text: &str) -> bool {
    let (address, interface) = text.split_once('%').unwrap_or((text, "lo"));
    !interface.is_empty() && address.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> (Option<&str>, String, Option<u16>) {
        let destination = Destination::parse(text).expect(text);
        let user = text.rsplit_once('@').map(|(user, _)| user);
        assert_eq!(destination.user.as_deref(), user);
        (user, destination.host, destination.port)
    }

    #[test]
    fn each_form_is_taken_apart() {
        assert_eq!(parts("render1"), (None, "render1".into(), None));
        assert_eq!(parts("ann@render1:2222"), (Some("ann"), "render1".into(), Some(2222)));
        assert_eq!(parts("ann@corp.example@gate"), (Some("ann@corp.example"), "gate".into(), None));
        assert_eq!(parts("[::1]:22"), (None, "::1".into(), Some(22)));
        assert_eq!(parts("ann@fe80::1%eth0"), (Some("ann"), "fe80::1%eth0".into(), None));
    }

    #[test]
    fn a_refusal_names_the_reason() {
        let say = |text| Destination::parse(text).expect_err("refused").to_string();
        insta::assert_snapshot!(say(""), @"'' names no host (hint: write [USER@]HOST[:PORT])");
        insta::assert_snapshot!(say("@render1"), @"'@render1' names no user (hint: write [USER@]HOST[:PORT])");
        insta::assert_snapshot!(say("-oProxyCommand=x"), @"'-oProxyCommand=x' begins with '-', which ssh would take for an option");
        insta::assert_snapshot!(say("ann@-render1"), @"'ann@-render1' begins with '-', which ssh would take for an option");
        insta::assert_snapshot!(say("a\x1b[2J"), @r"'a\u{1b}[2J' holds a control character (hint: write USER@HOST:PORT, or a name from your ssh config)");
        insta::assert_snapshot!(say("ssh://render1"), @"'ssh://render1' holds a '/' (hint: write USER@HOST:PORT, or a name from your ssh config)");
        insta::assert_snapshot!(say("render1:0"), @"'render1:0' has no valid port (hint: write a number from 1 to 65535)");
        insta::assert_snapshot!(say("render1:+22"), @"'render1:+22' has no valid port (hint: write a number from 1 to 65535)");
        insta::assert_snapshot!(say("a:b:c"), @"'a:b:c' isn't an IPv6 address (hint: write it as ::1, or with a port as [::1]:22)");
        insta::assert_snapshot!(say("[::1]22"), @"'[::1]22' isn't an IPv6 address (hint: write it as ::1, or with a port as [::1]:22)");
    }

    proptest! {
        #[test]
        fn no_part_can_be_taken_for_an_option(text in "[-@:\\[\\]a1% ]{0,12}|.*") {
            if let Ok(destination) = Destination::parse(&text) {
                prop_assert_eq!(Destination::parse(&destination.to_string()), Ok(destination.clone()));
                let Destination { user, host, .. } = destination;
                for part in user.iter().chain([&host]) {
                    prop_assert!(!part.is_empty() && !part.starts_with('-'));
                    prop_assert!(!part.chars().any(char::is_control));
                }
            }
        }
    }
}
