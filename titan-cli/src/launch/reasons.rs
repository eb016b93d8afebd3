//! What went wrong on the way to an agent: one line, the remedy, and whether trying again can help.

use std::io;
use std::path::Path;

use super::binaries::{places, target_name};
use crate::config::text::printable;

/// A start that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LaunchError {
    /// One line, fit to be printed.
    pub(crate) reason: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    pub(crate) lasting: Lasting,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// Not without a person.
    Permanent,
    /// The host may come back.
    Away,
    /// sshd has too many logins under way, or an agent is in the way that ends: after a moment.
    Busy,
}

/// What ssh says, what it means, and what to do; `{}` is what a person types after `ssh`. The first that is found counts.
const SSH_SAYS: &[(&str, &str, &str, Lasting)] = &[
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key has changed",
        "if that is as it should be: ssh-keygen -R {}, then ssh {} true",
        Lasting::Permanent,
    ),
    (
        "Host key verification failed",
        "its host key isn't known yet",
        "look at it and accept it once: ssh {} true",
        Lasting::Permanent,
    ),
    (
        "host key is known for",
        "its host key isn't known yet",
        "look at it and accept it once: ssh {} true",
        Lasting::Permanent,
    ),
    (
        "Too many authentication failures",
        "too many keys were offered",
        "name the right one in ~/.ssh/config (IdentityFile, IdentitiesOnly yes)",
        Lasting::Permanent,
    ),
    (
        "Permission denied",
        "the login was refused: it takes no key of yours, or wants a password",
        "ssh-copy-id {}, or open a connection yourself and set control = \"user\" in [ssh]",
        Lasting::Permanent,
    ),
    ("Could not resolve hostname", "no such host name", "check the name; ssh {} true must work", Lasting::Permanent),
    ("Bad configuration option", "ssh doesn't like its configuration", "ssh {} true shows where", Lasting::Permanent),
    (
        "Connection refused",
        "no ssh server answers there",
        "is sshd running, and is it the right port? ssh {} true",
        Lasting::Away,
    ),
    ("timed out", "it doesn't answer", "is it on, and reachable from here? ssh {} true", Lasting::Away),
    ("No route to host", "there is no way to it", "is it on, and reachable from here? ssh {} true", Lasting::Away),
    ("Network is unreachable", "there is no way to it", "is this machine's network up?", Lasting::Away),
    // What sshd says when it has too many logins, and anybody whose connection ends early: after all that says why.
    (
        "kex_exchange_identification",
        "sshd turned the login away",
        "too many logins at once? lower max_logins in [ssh]",
        Lasting::Busy,
    ),
    (
        "Connection closed by",
        "sshd turned the login away",
        "too many logins at once? lower max_logins in [ssh]",
        Lasting::Busy,
    ),
    (
        "Connection reset by",
        "sshd turned the login away",
        "too many logins at once? lower max_logins in [ssh]",
        Lasting::Busy,
    ),
];

/// What a host's loader or shell says when an agent can't run there.
const AGENT_SAYS: &[(&str, &str, &str)] = &[
    (
        "GLIBC_",
        "its C library is too old for this agent",
        "build a static one: RUSTFLAGS='-C target-feature=+crt-static' cargo build --release -p titan-agent --target x86_64-unknown-linux-gnu, and name it in the host's agent key",
    ),
    ("Exec format error", "the agent is for another kind of processor", "name the right one in the host's agent key"),
    ("Permission denied", "the agent may not be executed there", "is its cache directory mounted noexec?"),
    ("account is currently not available", "the account has no shell", "give it one (chsh), or use another user"),
    ("nologin", "the account has no shell", "give it one (chsh), or use another user"),
];

impl LaunchError {
    fn new(reason: impl AsRef<str>, hint: Option<String>, lasting: Lasting) -> Self {
        Self { reason: printable(reason.as_ref()), hint, lasting }
    }

    /// Whether that is one of ssh's own complaints.
    pub(crate) fn is_sshs(stderr: &str) -> bool {
        SSH_SAYS.iter().any(|(says, ..)| stderr.contains(says))
    }

    /// A program of this machine that can't be started.
    pub(crate) fn no_program(program: &str, error: &io::Error) -> Self {
        let hint = (error.kind() == io::ErrorKind::NotFound).then(|| format!("install {program}, or check its name"));
        Self::new(format!("cannot run {program}: {error}"), hint, Lasting::Permanent)
    }

    /// A file of this machine that is to be sent.
    pub(crate) fn agent_file(path: &Path, reason: &str) -> Self {
        let hint = "build one: cargo build --release -p titan-agent".to_owned();
        Self::new(format!("cannot send the agent {}: {reason}", path.display()), Some(hint), Lasting::Permanent)
    }

    /// ssh didn't get there.
    pub(crate) fn ssh(typed: &str, log: &str) -> Self {
        for (says, reason, hint, lasting) in SSH_SAYS {
            if log.contains(says) {
                return Self::new(*reason, Some(hint.replace("{}", typed)), *lasting);
            }
        }
        let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("ssh ended without a word");
        Self::new(last.trim(), Some(format!("ssh {typed} true shows more")), Lasting::Away)
    }

    /// The streams ended before there was an agent on them.
    pub(crate) fn ended(stderr: &str, chatter: &str) -> Self {
        let said = format!("{chatter}\n{stderr}");
        for (says, reason, hint) in AGENT_SAYS {
            if said.contains(says) {
                return Self::new(*reason, Some((*hint).to_owned()), Lasting::Permanent);
            }
        }
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        let reason = match last {
            Some(line) => format!("there is no agent on it: {}", line.trim().chars().take(200).collect::<String>()),
            None => "its shell ended without a word".to_owned(),
        };
        let hint = "does its login shell start a plain command? an exec in an rc file swallows it".to_owned();
        Self::new(reason, Some(hint), Lasting::Away)
    }

    /// No agent for what that host is.
    pub(crate) fn no_agent_for(uname: &str) -> Self {
        let Some(target) = target_name(uname) else {
            let reason = format!("it is '{uname}', and agents run on Linux x86_64 and aarch64");
            return Self::new(reason, None, Lasting::Permanent);
        };
        let place = places(target).first().map(|path| path.display().to_string()).unwrap_or_default();
        let triple = target.replace("-linux", "-unknown-linux-gnu");
        let hint = format!("cargo build --release -p titan-agent --target {triple}, and copy it to {place}");
        Self::new(format!("there is no agent here for {target}"), Some(hint), Lasting::Permanent)
    }

    /// No directory there takes an agent.
    pub(crate) fn nowhere(why: &str) -> Self {
        let reason = format!("no directory there takes an agent: {}", why.trim().trim_end_matches(';'));
        let hint = "set XDG_CACHE_HOME in its shell's rc file to a directory of yours with space and without noexec";
        Self::new(reason, Some(hint.to_owned()), Lasting::Permanent)
    }

    /// The agent didn't get there whole.
    pub(crate) fn not_placed(why: &str) -> Self {
        // Some reasons say it all.
        let hint = (!why.contains("workdir")).then(|| "is its disk full, or the connection bad?".to_owned());
        Self::new(why, hint, Lasting::Away)
    }

    /// More is printed than any rc file has to say.
    pub(crate) fn endless(bytes: usize) -> Self {
        let reason = format!("it printed {} KiB before titan's own words, and goes on", bytes >> 10);
        let hint = "what does its login shell start? look at what its rc files print";
        Self::new(reason, Some(hint.to_owned()), Lasting::Permanent)
    }

    /// Something in the script's place that isn't the script's.
    pub(crate) fn strange(host: &str, line: &str) -> Self {
        let line: String = line.chars().take(100).collect();
        Self::new(format!("{host} said '{line}' where titan's own words were expected"), None, Lasting::Permanent)
    }

    /// The whole start took too long.
    pub(crate) fn too_slow(span: std::time::Duration) -> Self {
        let hint = "raise start_timeout in [ssh] if it is just slow".to_owned();
        Self::new(format!("no agent after {} s", span.as_secs_f32()), Some(hint), Lasting::Away)
    }

    /// A session that is over; the host may come back.
    pub(crate) fn lost(reason: &str) -> Self {
        Self::new(reason, None, Lasting::Away)
    }

    /// An agent that can't be talked to.
    pub(crate) fn handshake(error: &titan_proto::handshake::HandshakeError) -> Self {
        Self::new(error.to_string(), None, Lasting::Permanent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_sshs_complaints_has_a_remedy() {
        let error = LaunchError::ssh("render2", "me@render2: Permission denied (publickey,password).\r\n");
        assert_eq!(error.reason, "the login was refused: it takes no key of yours, or wants a password");
        assert!(error.hint.is_some_and(|hint| hint.starts_with("ssh-copy-id render2")));
        let changed = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.\n";
        assert_eq!(LaunchError::ssh("a", changed).reason, "its host key has changed");
        let unknown =
            "No ED25519 host key is known for a and you have requested strict checking.\nHost key verification failed.";
        assert_eq!(LaunchError::ssh("a", unknown).hint.as_deref(), Some("look at it and accept it once: ssh a true"));
        let busy = "kex_exchange_identification: read: Connection reset by peer";
        assert_eq!(LaunchError::ssh("a", busy).lasting, Lasting::Busy);
        let behind = "channel 0: open failed: connect failed: Connection refused\nkex_exchange_identification: Connection closed";
        assert_eq!(LaunchError::ssh("a", behind).lasting, Lasting::Away, "the jump host says why");
    }

    #[test]
    fn what_a_host_says_cannot_move_the_cursor() {
        assert_eq!(LaunchError::ssh("a", "\x1b[2Jboo").reason, r"\u{1b}[2Jboo");
        assert!(!LaunchError::ended("\x1b]0;x\x07", "").reason.contains('\x1b'));
    }

    #[test]
    fn an_old_c_library_is_told_from_a_missing_shell() {
        let old = "./agent: /lib/libc.so.6: version `GLIBC_2.34' not found (required by ./agent)";
        assert!(LaunchError::ended(old, "").reason.contains("C library"));
        assert!(LaunchError::ended("", "This account is currently not available.\n").reason.contains("no shell"));
    }

    #[test]
    fn another_system_is_named_and_another_processor_gets_its_build_command() {
        assert!(LaunchError::no_agent_for("Darwin arm64").reason.contains("'Darwin arm64'"));
        let arm = LaunchError::no_agent_for("Linux aarch64");
        assert!(arm.hint.is_some_and(|hint| hint.contains("--target aarch64-unknown-linux-gnu")));
    }
}
