//! `[ssh]`: how ssh is used, as far as the user's own ssh config doesn't say it better.

use std::path::PathBuf;
use std::time::Duration;

use super::Trust;
use crate::config::destination::Destination;
use crate::config::toml_file::{Rules, Section};

/// The keys of `[ssh]`.
pub(super) const RULES: Rules = Rules {
    name: "[ssh]",
    keys: &[
        "control",
        "connect_timeout",
        "start_timeout",
        "server_alive_interval",
        "max_logins",
        "user",
        "port",
        "keyfile",
        "config_file",
        "control_directory",
        "compression",
        "jump_hosts",
    ],
    instead_of: &[
        ("timeout", "connect_timeout"),
        ("identity", "keyfile"),
        ("identity_file", "keyfile"),
        ("key", "keyfile"),
        ("proxy_jump", "jump_hosts"),
        ("jump", "jump_hosts"),
    ],
};

/// What any file may say, even one that was merely found.
const FOUND_MAY: [&str; 4] = ["control", "connect_timeout", "start_timeout", "server_alive_interval"];
/// ssh counts its own times in seconds, and zero would mean something else.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);
/// No sshd lets in more at once without being told to.
const MOST_LOGINS: u32 = 1_000;

/// How ssh is used. What is none is left to the user's own ssh config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SshOptions {
    /// Whose connection is used.
    pub(crate) control: Control,
    /// How long a connection may take; at least a second.
    pub(crate) connect_timeout: Duration,
    /// How long a host's whole start may take, login, upload and agent; at least a second.
    pub(crate) start_timeout: Duration,
    /// How often ssh asks a silent host whether it is there; at least a second.
    pub(crate) server_alive_interval: Option<Duration>,
    /// Logins at once to one sshd or jump host.
    pub(crate) max_logins: u32,
    /// The user to log in as, where a host doesn't say it.
    pub(crate) user: Option<String>,
    /// The port, where a host doesn't say it.
    pub(crate) port: Option<u16>,
    /// The private key.
    pub(crate) keyfile: Option<PathBuf>,
    /// Used instead of the user's ssh config.
    pub(crate) config_file: Option<PathBuf>,
    /// Where the sockets of connections are put.
    pub(crate) control_directory: Option<PathBuf>,
    /// Whether ssh compresses.
    pub(crate) compression: Option<bool>,
    /// The hosts to go through, the first one first, each `[USER@]HOST[:PORT]`.
    pub(crate) jump_hosts: Vec<String>,
}

impl Default for SshOptions {
    fn default() -> Self {
        Self {
            control: Control::Own,
            connect_timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(60),
            server_alive_interval: None,
            max_logins: 8,
            user: None,
            port: None,
            keyfile: None,
            config_file: None,
            control_directory: None,
            compression: None,
            jump_hosts: Vec::new(),
        }
    }
}

/// Whose ssh connection is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// One of titan's own for each host.
    Own,
    /// The one that the user has opened and keeps open.
    User,
}

/// Reads `[ssh]`; what it doesn't say, or says wrongly, is the default.
pub(super) fn read(section: &mut Section<'_, '_>, trust: Trust) -> SshOptions {
    if trust == Trust::Found {
        refuse_beyond_found(section);
    }
    let default = SshOptions::default();
    SshOptions {
        control: section.parsed("control", parse_control).unwrap_or(default.control),
        connect_timeout: timeout(section, "connect_timeout").unwrap_or(default.connect_timeout),
        start_timeout: timeout(section, "start_timeout").unwrap_or(default.start_timeout),
        server_alive_interval: timeout(section, "server_alive_interval"),
        max_logins: section.integer("max_logins", 1..=MOST_LOGINS).unwrap_or(default.max_logins),
        user: section.parsed("user", parse_user),
        port: section.integer("port", 1..=u32::from(u16::MAX)).map(|port| port as u16),
        keyfile: section.path("keyfile"),
        config_file: section.path("config_file"),
        control_directory: section.path("control_directory"),
        compression: section.boolean("compression"),
        jump_hosts: jump_hosts(section),
    }
}

fn refuse_beyond_found(section: &mut Section<'_, '_>) {
    for key in RULES.keys.iter().filter(|key| !FOUND_MAY.contains(key)) {
        if section.has(key) {
            let span = section.key_span(key);
            let message = format!("'{key}' isn't taken from a file that was merely found in the current directory");
            section.problems().add(span, message, Trust::REMEDY);
        }
    }
}

fn timeout(section: &mut Section<'_, '_>, key: &str) -> Option<Duration> {
    let timeout = section.duration(key)?;
    if timeout < SHORTEST_TIMEOUT {
        section.refuse(key, format!("{key} is too short"), "write at least 1s");
        return None;
    }
    Some(timeout)
}

fn parse_control(text: &str) -> Result<Control, String> {
    match text {
        "own" => Ok(Control::Own),
        "user" => Ok(Control::User),
        _ => Err("isn't a kind of control: write \"own\" or \"user\"".to_owned()),
    }
}

fn parse_user(user: &str) -> Result<String, String> {
    match Destination::parse(&format!("{user}@host")) {
        Ok(_) => Ok(user.to_owned()),
        Err(_) => Err("isn't a user that ssh could log in as".to_owned()),
    }
}

fn jump_hosts(section: &mut Section<'_, '_>) -> Vec<String> {
    let mut jumps = Vec::new();
    for jump in section.strings("jump_hosts").unwrap_or_default() {
        // A comma would make two of one: ssh takes the jumps as a list.
        match Destination::parse(jump.get_ref()) {
            Ok(_) if jump.get_ref().contains(',') => {
                section.problems().add(jump.span(), "two jump hosts in one", "put each in quotes of its own");
            }
            Ok(_) => jumps.push(jump.into_inner()),
            Err(error) => section.problems().add(jump.span(), error.to_string(), ""),
        }
    }
    jumps
}
