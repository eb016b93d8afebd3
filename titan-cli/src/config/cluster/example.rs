//! `cluster.toml.example` against the code: it shows every key, and the defaults that it shows are those that hold.

use std::path::Path;
use std::time::Duration;

use super::{Cluster, Host, Reach, Scheduler, SshOptions, Trust, host, scheduler, ssh};
use crate::config::jobs::Slots;

const EXAMPLE: &str = include_str!("../../../../cluster.toml.example");
/// Ends the lines of keys that have no default and therefore show an example.
const NO_DEFAULT: &str = "# no default";

fn parse(text: &str) -> Cluster {
    Cluster::parse(text, Path::new("cluster.toml.example"), Trust::Named).unwrap_or_else(|error| panic!("{error}"))
}

/// The line without its `# `, if what is left is a table's header or a key's line.
fn uncommented(line: &str) -> Option<&str> {
    let line = line.strip_prefix("# ")?;
    let is_header = line.starts_with('[') && line.ends_with(']');
    let is_key =
        line.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    (is_header || is_key).then_some(line)
}

/// The example with the lines uncommented that `wanted` accepts.
fn example_with(wanted: impl Fn(&str) -> bool) -> String {
    let lines = EXAMPLE.lines().map(|line| uncommented(line).filter(|line| wanted(line)).unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_as_it_is_changes_nothing() {
    assert_eq!(parse(EXAMPLE), Cluster::default());
}

#[test]
fn the_shown_defaults_are_those_of_the_code() {
    let needed = |line: &str| ["ssh = ", "local = ", "command = "].iter().any(|key| line.starts_with(key));
    let cluster = parse(&example_with(|line| !line.ends_with(NO_DEFAULT) || needed(line)));

    assert_eq!(cluster.scheduler, Scheduler::default());
    assert_eq!(cluster.ssh, SshOptions::default());
    let render1 = Reach::Ssh { destination: "render1".to_owned(), user: None, port: None };
    let docker = Reach::Command(["docker", "exec", "-i", "c1", "sh"].map(str::to_owned).to_vec());
    let hosts = [("render1", render1), ("localhost", Reach::Local), ("c1", docker)];
    assert_eq!(cluster.hosts, hosts.map(|(name, reach)| Host::new(name, reach)));
}

#[test]
fn the_example_in_full_is_a_valid_file() {
    let cluster = parse(&example_with(|_| true));
    assert_eq!(cluster.hosts[0].slots, Slots::Exactly(8));
    assert_eq!(
        cluster.scheduler,
        Scheduler { retries: Some(2), wait_for_hosts: Some(Duration::from_secs(3_600)), ..Scheduler::default() }
    );
    assert_eq!(cluster.ssh.user.as_deref(), Some("ann"));
}

#[test]
fn every_key_is_shown() {
    let shown: Vec<_> = EXAMPLE.lines().filter_map(uncommented).filter_map(|line| line.split(" = ").next()).collect();
    for rules in [host::RULES, host::DEFAULTS_RULES, scheduler::RULES, ssh::RULES] {
        assert!(shown.contains(&rules.name), "{} isn't shown", rules.name);
        for key in rules.keys {
            assert!(shown.contains(key), "{key} of {} isn't shown", rules.name);
        }
    }
    // A table's keys follow its header, or the parse of the whole would have failed.
}
