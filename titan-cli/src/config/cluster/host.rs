//! `[[host]]` and `[defaults]`: one machine, and what holds for each machine that doesn't say otherwise.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use super::{Host, Reach, Trust};
use crate::config::destination::Destination;
use crate::config::jobs::{MOST_SLOTS, Slots};
use crate::config::text::shorten;
use crate::config::toml_file::{Rules, Section, no_nul};

/// The keys of `[[host]]`.
pub(super) const RULES: Rules = Rules {
    name: "[[host]]",
    keys: &[
        "name",
        "ssh",
        "local",
        "command",
        "slots",
        "memory",
        "resources",
        "labels",
        "env",
        "setup",
        "agent",
        "workdir",
    ],
    instead_of: &[
        ("host", "ssh"),
        ("hostname", "ssh"),
        ("address", "ssh"),
        ("destination", "ssh"),
        ("cores", "slots"),
        ("cpus", "slots"),
        ("jobs", "slots"),
        ("mem", "memory"),
        ("tags", "labels"),
        ("gpus", "resources"),
        ("gpu", "resources"),
        ("module", "setup"),
        ("cwd", "workdir"),
    ],
};

/// The keys of `[defaults]`.
pub(super) const DEFAULTS_RULES: Rules =
    Rules { name: "[defaults]", keys: &["slots", "memory", "env", "setup", "workdir"], instead_of: RULES.instead_of };

/// The keys that say how a host is reached; one of them, and only one.
const REACH_KEYS: [&str; 3] = ["ssh", "local", "command"];
/// What a file may not say unless the user named it: it would run a program, or send one.
const NAMED_ONLY: [&str; 2] = ["command", "agent"];
/// Labels that every host has without being told; see `--where`.
const OWN_LABELS: [&str; 3] = ["name", "os", "arch"];
/// More labels than anybody tells hosts apart by; each costs a comparison for each task.
const MOST_LABELS: usize = 256;
/// More of one resource than any machine has.
const MOST_RESOURCES: u32 = 1_000_000;
/// The longest name of a host, as long as a DNS name can be.
const MOST_NAME_BYTES: usize = 253;

/// What a host has that doesn't say it itself.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    slots: Option<u32>,
    memory: Option<u64>,
    env: BTreeMap<String, String>,
    setup: Option<String>,
    workdir: Option<PathBuf>,
}

impl Defaults {
    /// Reads the keys that a host and `[defaults]` have in common.
    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        Self {
            slots: section.integer("slots", 1..=MOST_SLOTS),
            memory: section.size("memory"),
            env: section.variables("env").unwrap_or_default(),
            setup: section.parsed("setup", |setup| no_nul(setup).map(|()| setup.to_owned())),
            workdir: section.path("workdir"),
        }
    }
}

/// Reads one host; none if it is so broken that not even its name is known.
pub(super) fn read(section: &mut Section<'_, '_>, defaults: &Defaults, trust: Trust) -> Option<Host> {
    if trust == Trust::Found {
        refuse_named_only(section);
    }
    let own = Defaults::read(section);
    let labels = labels(section);
    let resources = section.counts("resources", 0..=MOST_RESOURCES).unwrap_or_default();
    let agent = section.path("agent");
    let written_name = section.parsed("name", |name| check_name(name).map(|()| name.to_owned()));
    let reach = reach(section)?;
    let name = match written_name {
        Some(name) => name,
        None if section.has("name") => return None,
        None => default_name(section, &reach)?,
    };
    let mut env = defaults.env.clone();
    env.extend(own.env);
    let setup = own.setup.or_else(|| defaults.setup.clone());
    if trust == Trust::Found && reach == Reach::Local && !env.is_empty() {
        refuse_local(section, "env");
    }
    if trust == Trust::Found && reach == Reach::Local && setup.is_some() {
        refuse_local(section, "setup");
    }
    Some(Host {
        name,
        reach,
        slots: own.slots.or(defaults.slots).map_or(Slots::Cores, Slots::Exactly),
        memory: own.memory.or(defaults.memory),
        resources,
        labels,
        env,
        setup,
        agent,
        workdir: own.workdir.or_else(|| defaults.workdir.clone()),
    })
}

/// Where a host's name was written, or what it was taken from.
pub(super) fn name_span(section: &Section<'_, '_>) -> Range<usize> {
    let key = ["name"].iter().chain(&REACH_KEYS).find(|key| section.has(key));
    key.map_or_else(|| section.span(), |key| section.value_span(key))
}

fn refuse_named_only(section: &mut Section<'_, '_>) {
    for key in NAMED_ONLY.into_iter().filter(|key| section.has(key)).collect::<Vec<_>>() {
        let span = section.key_span(key);
        let message = format!("'{key}' isn't taken from a file that was merely found in the current directory");
        section.problems().add(span, message, Trust::REMEDY);
    }
}

/// What a program on this machine finds in its environment can make it load any file; a setup is a program itself.
fn refuse_local(section: &mut Section<'_, '_>, key: &str) {
    let span = if section.has(key) { section.key_span(key) } else { section.key_span("local") };
    let message =
        format!("'{key}' for this machine isn't taken from a file that was merely found in the current directory");
    section.problems().add(span, message, Trust::REMEDY);
}

fn reach(section: &mut Section<'_, '_>) -> Option<Reach> {
    let given: Vec<_> = REACH_KEYS.into_iter().filter(|key| section.has(key)).collect();
    match given[..] {
        ["ssh"] => ssh(section),
        ["local"] => local(section),
        ["command"] => command(section),
        [] => {
            let span = section.span();
            let remedy =
                "add ssh = \"alias\", local = true, or command = [\"docker\", \"exec\", \"-i\", \"c1\", \"sh\"]";
            section.problems().add(span, "this host doesn't say how it is reached", remedy);
            None
        }
        [first, second, ..] => {
            let span = section.key_span(second);
            let message = format!("a host can't have both '{first}' and '{second}'");
            section.problems().add(span, message, "write two hosts, or leave one out");
            None
        }
        [_] => None,
    }
}

fn ssh(section: &mut Section<'_, '_>) -> Option<Reach> {
    let text = section.string("ssh")?;
    Destination::parse(&text).map(Reach::from).map_err(|error| section.refuse("ssh", error.to_string(), "")).ok()
}

fn local(section: &mut Section<'_, '_>) -> Option<Reach> {
    if section.boolean("local")? {
        return Some(Reach::Local);
    }
    section.refuse("local", "this host doesn't say how it is reached", "write local = true, or ssh = \"alias\"");
    None
}

fn command(section: &mut Section<'_, '_>) -> Option<Reach> {
    let words = section.strings("command")?;
    if words.first().is_none_or(|program| program.get_ref().is_empty()) {
        section.refuse(
            "command",
            "a command begins with a program",
            "such as [\"docker\", \"exec\", \"-i\", \"c1\", \"sh\"]",
        );
        return None;
    }
    for word in &words {
        if let Err(problem) = no_nul(word.get_ref()) {
            section.problems().add(word.span(), format!("this word {problem}"), "");
        }
    }
    Some(Reach::Command(words.into_iter().map(toml::Spanned::into_inner).collect()))
}

/// The name of a host that has none written: the ssh alias, `localhost`, or a command's last word before its shell.
fn default_name(section: &mut Section<'_, '_>, reach: &Reach) -> Option<String> {
    let name = match reach {
        Reach::Local => super::LOCAL_NAME,
        Reach::Ssh { destination, .. } => destination,
        Reach::Command(words) => words.iter().rev().find(|word| !is_shell_or_option(word)).or(words.last())?,
    };
    if check_name(name).is_err() {
        let span = name_span(section);
        let message = format!("'{}' can't be the name of this host", shorten(name));
        section.problems().add(span, message, "add name = \"…\"");
        return None;
    }
    Some(name.to_owned())
}

fn is_shell_or_option(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or(word);
    word.starts_with('-') || ["sh", "ash", "bash", "dash", "zsh"].contains(&name)
}

/// Refuses names that couldn't be written in `--hosts`, or not be shown. The error completes a sentence.
fn check_name(name: &str) -> Result<(), String> {
    let looks_like_slots = name.split_once('/').is_some_and(|(slots, _)| slots.bytes().all(|b| b.is_ascii_digit()));
    let problem = match name {
        "" => "is empty",
        _ if name.len() > MOST_NAME_BYTES => "is too long",
        _ if name.starts_with('-') => "begins with '-': it would be taken for an option",
        _ if name.chars().any(char::is_control) => "holds a control character",
        _ if name.contains(',') => "holds a ',': in --hosts that separates hosts",
        _ if name == ":" => "means this machine in --hosts: choose another name",
        _ if looks_like_slots => "has slots before a '/': in --hosts that means SLOTS/HOST",
        _ if name.trim() != name => "begins or ends with a blank",
        _ => return Ok(()),
    };
    Err(problem.to_owned())
}

fn labels(section: &mut Section<'_, '_>) -> Vec<String> {
    let written = section.strings("labels").unwrap_or_default();
    if written.len() > MOST_LABELS {
        section.refuse("labels", format!("a host can't have more than {MOST_LABELS} labels"), "");
        return Vec::new();
    }
    let mut labels: Vec<String> = Vec::new();
    for label in written {
        let span = label.span();
        let label = label.into_inner();
        if let Err((problem, remedy)) = check_label(&label) {
            section.problems().add(span, format!("label '{}' {problem}", shorten(&label)), remedy);
        } else if !labels.contains(&label) {
            labels.push(label);
        }
    }
    labels
}

/// Refuses labels that `--where A,!B,k=v` couldn't ask for.
fn check_label(label: &str) -> Result<(), (&'static str, &'static str)> {
    let key = label.split('=').next().unwrap_or_default();
    if key.is_empty() {
        return Err(("has no name", "write \"audio\" or \"site=lab\""));
    }
    if label.starts_with('!') || label.contains(',') || label.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err((
            "begins with '!', or holds a comma, a blank or a control character",
            "--where couldn't ask for it",
        ));
    }
    if label.contains('=') && OWN_LABELS.contains(&key) {
        return Err(("is one that titan gives to every host itself", "choose another name"));
    }
    Ok(())
}
