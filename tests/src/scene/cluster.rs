//! The text of cluster files.

use std::fmt::Write as _;

/// A cluster file in the making; each method adds to it.
#[derive(Clone, Debug, Default)]
pub struct ClusterText {
    hosts: String,
    ssh: String,
    scheduler: String,
}

impl ClusterText {
    /// A file without hosts.
    pub fn new() -> Self {
        Self::default()
    }

    /// These hosts, by ssh, of two slots each, where these faults happen.
    pub fn of(hosts: &[&str], faults: &str) -> Self {
        hosts.iter().fold(Self::new(), |cluster, host| cluster.host(host, faults))
    }

    /// One more host, by ssh, of two slots, where these faults happen.
    #[must_use]
    pub fn host(self, name: &str, faults: &str) -> Self {
        self.table(&format!("ssh = {name:?}\nslots = 2\nenv = {{ TITAN_TEST_FAULTS = {faults:?} }}"))
    }

    /// One more host, by ssh, with another line of its own.
    #[must_use]
    pub fn host_line(self, name: &str, faults: &str, line: &str) -> Self {
        self.table(&format!("ssh = {name:?}\nslots = 2\nenv = {{ TITAN_TEST_FAULTS = {faults:?} }}\n{line}"))
    }

    /// One more host, by a command that gives a shell.
    #[must_use]
    pub fn command(self, name: &str, words: &[&str], faults: &str) -> Self {
        let env = format!("{{ TITAN_TEST_FAULTS = {faults:?} }}");
        self.table(&format!("command = {words:?}\nname = {name:?}\nslots = 2\nenv = {env}"))
    }

    /// A line in `[ssh]`.
    #[must_use]
    pub fn ssh(mut self, line: &str) -> Self {
        let _ = writeln!(self.ssh, "{line}");
        self
    }

    /// A line in `[scheduler]`.
    #[must_use]
    pub fn scheduler(mut self, line: &str) -> Self {
        let _ = writeln!(self.scheduler, "{line}");
        self
    }

    /// Silence is noticed after a second or two, and a session is given up four seconds after its last word.
    #[must_use]
    pub fn hasty(self) -> Self {
        self.ssh("connect_timeout = '2s'")
            .scheduler("tick = '100ms'")
            .scheduler("heartbeat = '200ms'")
            .scheduler("unhealthy_after = '1500ms'")
            .scheduler("lease = '4s'")
    }

    /// The file.
    pub fn text(&self) -> String {
        format!("{}[ssh]\n{}[scheduler]\n{}", self.hosts, self.ssh, self.scheduler)
    }

    fn table(mut self, lines: &str) -> Self {
        let _ = writeln!(self.hosts, "[[host]]\n{lines}");
        self
    }
}
