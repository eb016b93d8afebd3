//! What ssh is told, for both ways of using it, and what the user's own configuration says (`ssh -G`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Stdio;

use super::{LaunchError, child};
use crate::config::cluster::{Host, Reach, SshOptions};

/// The program.
pub(crate) const SSH: &str = "ssh";

/// Where ssh goes for one host.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    host: String,
    user: Option<String>,
    port: Option<u16>,
}

/// What `ssh -G` tells: the user's own configuration for one destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UserConfig {
    values: BTreeMap<String, String>,
}

impl Destination {
    /// Where ssh goes for that host, which is reached by ssh.
    pub(crate) fn of(host: &Host) -> Self {
        let Reach::Ssh { destination, user, port } = &host.reach else {
            unreachable!("only hosts that are reached by ssh have an ssh launcher")
        };
        Self { host: destination.clone(), user: user.clone(), port: *port }
    }

    /// The word that a person would type after `ssh`.
    pub(crate) fn typed(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.port.map(|port| format!("-p {port} ")).unwrap_or_default();
        format!("{port}{user}{}", self.host)
    }

    /// The arguments that both ways share, the destination last.
    pub(crate) fn arguments(&self, options: &SshOptions) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut option = |flag: &str, value: OsString| words.extend([OsString::from(flag), value]);
        let set = |key: &str, value: &dyn std::fmt::Display| OsString::from(format!("{key}={value}"));
        option("-o", "BatchMode=yes".into());
        // Reasons are read from what it says.
        option("-o", "LogLevel=INFO".into());
        // Whatever the user's configuration adds to a login is not for this one.
        option("-o", "ClearAllForwardings=yes".into());
        // Not cleared by that. A forwarded X11 is a listener there, and a forwarded agent is everybody's who is root there.
        option("-o", "ForwardX11=no".into());
        option("-o", "ForwardAgent=no".into());
        option("-o", "RemoteCommand=none".into());
        option("-o", "PermitLocalCommand=no".into());
        option("-o", set("ConnectTimeout", &options.connect_timeout.as_secs().max(1)));
        if let Some(interval) = options.server_alive_interval {
            option("-o", set("ServerAliveInterval", &interval.as_secs().max(1)));
        }
        if let Some(on) = options.compression {
            option("-o", set("Compression", &if on { "yes" } else { "no" }));
        }
        if let Some(port) = self.port.or(options.port) {
            option("-p", port.to_string().into());
        }
        if let Some(user) = self.user.as_ref().or(options.user.as_ref()) {
            option("-l", user.into());
        }
        if let Some(file) = &options.keyfile {
            option("-o", "IdentitiesOnly=yes".into());
            option("-i", file.into());
        }
        if let Some(file) = &options.config_file {
            option("-F", file.into());
        }
        if !options.jump_hosts.is_empty() {
            let hops: Vec<String> = options.jump_hosts.iter().map(ToString::to_string).collect();
            option("-J", hops.join(",").into());
        }
        words.extend(["--".into(), OsString::from(&self.host)]);
        words
    }

    /// Asks ssh what it would do, without contacting anybody.
    pub(crate) async fn user_config(&self, options: &SshOptions) -> Result<UserConfig, LaunchError> {
        let mut command = child::detached(SSH);
        command.arg("-G").args(self.arguments(options)).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|error| LaunchError::no_program(SSH, &error))?;
        if !output.status.success() {
            return Err(LaunchError::ssh(&self.typed(), &String::from_utf8_lossy(&output.stderr)));
        }
        Ok(UserConfig::parse(&String::from_utf8_lossy(&output.stdout)))
    }
}

impl UserConfig {
    fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Self { values: pairs.map(|(key, value)| (key.to_lowercase(), value.to_owned())).collect() }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| *value != "none")
    }

    /// Host keys are checked strictly, unless the user's own configuration says otherwise. `ask` can't be asked.
    pub(crate) fn host_key_checking(&self) -> &str {
        match self.get("stricthostkeychecking") {
            Some(theirs @ ("accept-new" | "no" | "off" | "false")) => theirs,
            _ => "yes",
        }
    }

    /// Whether the way leads through another host or program.
    pub(crate) fn has_proxy(&self) -> bool {
        self.get("proxyjump").or(self.get("proxycommand")).is_some()
    }

    /// The sshd whose logins are counted: the first jump host, or the host itself.
    pub(crate) fn gate(&self) -> String {
        if let Some(hops) = self.get("proxyjump") {
            return format!("jump {}", hops.split(',').next().unwrap_or(hops));
        }
        if let Some(proxy) = self.get("proxycommand") {
            return format!("proxy {proxy}");
        }
        let part = |key| self.get(key).unwrap_or_default();
        format!("{}:{}", part("hostname"), part("port"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_behind_one_jump_host_share_a_gate() {
        let behind = |name: &str| UserConfig::parse(&format!("hostname {name}\nport 22\nproxyjump me@hop,b\n")).gate();
        assert_eq!(behind("a"), "jump me@hop");
        assert_eq!(behind("a"), behind("b"));
        assert_eq!(UserConfig::parse("hostname a\nport 22\nproxyjump none\n").gate(), "a:22");
    }

    #[test]
    fn nothing_is_forwarded_whatever_the_configuration_says() {
        let destination = Destination { host: "a".to_owned(), user: None, port: None };
        let words = destination.arguments(&SshOptions::default());
        for option in ["ClearAllForwardings=yes", "ForwardX11=no", "ForwardAgent=no", "PermitLocalCommand=no"] {
            assert!(words.windows(2).any(|pair| pair[0] == "-o" && pair[1] == option), "{option}");
        }
    }

    #[test]
    fn host_keys_are_strict_unless_the_user_says_otherwise() {
        let with = |value: &str| UserConfig::parse(&format!("stricthostkeychecking {value}\n"));
        assert_eq!(with("ask").host_key_checking(), "yes");
        assert_eq!(with("true").host_key_checking(), "yes");
        assert_eq!(with("accept-new").host_key_checking(), "accept-new");
        assert_eq!(with("false").host_key_checking(), "false");
    }
}
