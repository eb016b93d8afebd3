//! `titan init [HOST…]`: writes a commented cluster.toml, never over one that is there, then looks at its hosts.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::args::InitArgs;
use crate::commands::hosts::look_and_print;
use crate::config::cluster::{Cluster, Trust};
use crate::config::destination::Destination;
use crate::config::hosts_arg::THIS_MACHINE;
use crate::exit::{self, Failure};

/// The file that is written.
const FILE: &str = "cluster.toml";
/// Every key with its default: what the file ends with.
const EXAMPLE: &str = include_str!("../../../cluster.toml.example");
/// Hosts of the ssh config that are listed.
const MAX_LISTED: usize = 100;

/// Writes the file.
pub(crate) fn run(args: &InitArgs) -> Result<u8, Failure> {
    let known = known_hosts();
    let text = match args.hosts.is_empty() {
        true => document(&known, "# "),
        false => document(&checked(&args.hosts)?, ""),
    };
    let cluster =
        Cluster::parse(&text, Path::new(FILE), Trust::Named).map_err(|error| Failure::complete(exit::USAGE, error))?;
    write_new(&text)?;
    crate::tell::to_stderr(&format!("titan: wrote ./{FILE}"));
    if cluster.hosts.is_empty() {
        let remedy =
            if known.is_empty() { "write a [[host]] there" } else { "take the # away before the hosts that you want" };
        crate::tell::to_stderr(&format!(
            "titan: {remedy}, then: titan hosts; until then commands in this folder need --local, or rm {FILE}"
        ));
        return Ok(exit::SUCCESS);
    }
    let code = look_and_print(&cluster, false)?;
    if code == exit::NO_WORKERS {
        crate::tell::to_stderr(&format!("titan: ./{FILE} stays for whoever mends it; without it: rm {FILE}"));
    }
    Ok(code)
}

fn checked(hosts: &[String]) -> Result<Vec<String>, Failure> {
    for host in hosts.iter().filter(|host| *host != THIS_MACHINE) {
        Destination::parse(host).map_err(|error| Failure::plain(exit::USAGE, error))?;
    }
    Ok(hosts.to_vec())
}

fn document(hosts: &[String], comment: &str) -> String {
    let mut text = String::from("# The hosts that titan runs on from this folder. `titan hosts` looks at them.\n\n");
    for host in hosts {
        let reach = match host == THIS_MACHINE {
            true => "local = true".to_owned(),
            false => format!("ssh = {}", toml::Value::String(host.clone())),
        };
        text.push_str(&format!("{comment}[[host]]\n{comment}{reach}\n\n"));
    }
    text.push_str(
        "# Everything else that can stand here, with its default. A host's keys belong to the [[host]] above them;\n",
    );
    text.push_str("# what is to hold for all hosts stands in [defaults].\n#\n");
    for line in EXAMPLE.lines() {
        // What isn't a comment in the example is one here.
        let is_comment = line.starts_with('#') || line.is_empty();
        text.push_str(if is_comment { "" } else { "# " });
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn write_new(text: &str) -> Result<(), Failure> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(FILE).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let hint = format!("titan hosts looks at its hosts; edit it, or move it away: mv {FILE} {FILE}.old");
            Failure::hinted(exit::USAGE, format!("./{FILE} is there already"), hint)
        }
        _ => Failure::plain(exit::CANNOT_WRITE, format!("cannot write ./{FILE}: {error}")),
    })?;
    file.write_all(text.as_bytes())
        .map_err(|error| Failure::plain(exit::CANNOT_WRITE, format!("cannot write ./{FILE}: {error}")))
}

/// The names in the user's ssh config, wildcards left out.
fn known_hosts() -> Vec<String> {
    let config: Option<PathBuf> = dirs::home_dir().map(|home| home.join(".ssh").join("config"));
    let text = config.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    ssh_config_hosts(&text)
}

fn ssh_config_hosts(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(host_line).flat_map(str::split_whitespace);
    let mut hosts: Vec<String> = Vec::new();
    for name in names.filter(|name| !name.contains(['*', '?', '!', '"'])) {
        let is_new = !hosts.iter().any(|host| host == name);
        if is_new && hosts.len() < MAX_LISTED && Destination::parse(name).is_ok() {
            hosts.push(name.to_owned());
        }
    }
    hosts
}

/// What stands after the keyword `Host`.
fn host_line(line: &str) -> Option<&str> {
    let (keyword, names) = line.trim().split_once([' ', '\t', '='])?;
    keyword.eq_ignore_ascii_case("host").then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_an_ssh_config_are_found_and_wildcards_left_out() {
        let config = "Host a b *.lab\n  HostName x\nhost=c\nHost !d e? a\nMatch host z\n";
        assert_eq!(ssh_config_hosts(config), ["a", "b", "c"]);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let text = document(&["render1".to_owned(), "me@[::1]:2222".to_owned()], "");
        let cluster = Cluster::parse(&text, Path::new(FILE), Trust::Found).expect("it is ours");
        assert_eq!(cluster.hosts.len(), 2, "{text}");
        let commented = document(&["render1".to_owned()], "# ");
        assert_eq!(Cluster::parse(&commented, Path::new(FILE), Trust::Found).expect("it is ours").hosts.len(), 0);
    }
}
