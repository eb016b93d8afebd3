//! What a host is to be like, said before it starts.

use super::{Rig, tools};
use std::path::PathBuf;

/// A user's login shell, which is what runs each `ssh host COMMAND`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shell {
    /// GNU bash: reads `.bashrc` for ssh commands.
    Bash,
    /// dash: a small POSIX shell.
    Dash,
    /// zsh: reads `.zshenv`.
    Zsh,
    /// fish: not POSIX.
    Fish,
    /// tcsh: not POSIX.
    Tcsh,
    /// The shell of accounts that nobody may log in to: a line on stdout and exit code 1.
    NoLogin,
    /// Any other program.
    Other(PathBuf),
}

impl Shell {
    /// The shells that people log in to.
    pub const ALL: [Self; 5] = [Self::Bash, Self::Dash, Self::Zsh, Self::Fish, Self::Tcsh];

    /// Where the shell is, or None when it isn't installed.
    pub fn find_path(&self) -> Option<PathBuf> {
        let name = match self {
            Self::Bash => "bash",
            Self::Dash => "dash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
            Self::Tcsh => "tcsh",
            Self::NoLogin => "nologin",
            Self::Other(path) => return Some(path.clone()),
        };
        tools::find(name)
    }
}

/// A host's home folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Home {
    /// The host's own, kept when its power goes.
    #[default]
    Own,
    /// The host's own, mounted noexec.
    NoExec,
    /// The host's own, mounted read-only.
    ReadOnly,
    /// A file system without a free block.
    Full,
    /// A file system of that size, in KiB (at least 4): a large file doesn't fit.
    Small {
        /// The size of the file system.
        kib: u32,
    },
    /// The one folder that all hosts with such a home have in common.
    Shared,
}

/// One host before it is started: options that each return the host, for chains.
#[derive(Clone, Debug)]
pub struct HostSpec {
    pub(super) name: String,
    pub(super) shell: Shell,
    pub(super) home: Home,
    pub(super) noexec_everywhere: bool,
    pub(super) home_files: Vec<(PathBuf, String)>,
    pub(super) key_accepted: bool,
    pub(super) sshd_lines: String,
    pub(super) sshd: bool,
    pub(super) powered: bool,
}

impl HostSpec {
    /// A host with bash, a quiet home of its own, and an sshd that accepts the laptop's key.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            shell: Shell::Bash,
            home: Home::Own,
            noexec_everywhere: false,
            home_files: Vec::new(),
            key_accepted: true,
            sshd_lines: String::new(),
            sshd: true,
            powered: true,
        }
    }

    /// The worker's login shell.
    pub fn shell(mut self, shell: Shell) -> Self {
        self.shell = shell;
        self
    }

    /// The worker's home.
    pub fn home(mut self, home: Home) -> Self {
        self.home = home;
        self
    }

    /// A home, /tmp, /var/tmp and /dev/shm from which nothing can be executed.
    pub fn noexec_everywhere(mut self) -> Self {
        self.home = Home::NoExec;
        self.noexec_everywhere = true;
        self
    }

    /// A file in the home from the start; `path` is relative to it.
    pub fn home_file(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.home_files.push((path.into(), text.into()));
        self
    }

    /// Every shell's rc file writes a line to stdout and another to stderr (dash reads none).
    pub fn chatty(mut self) -> Self {
        const POSIX: &str = "echo \"Welcome to $(hostname)!\"\necho 'You have mail.' >&2\n";
        const FISH: &str = "echo 'Welcome!'\necho 'You have mail.' >&2\n";
        const TCSH: &str = "echo 'Welcome.'\nsh -c 'echo You have mail. >&2'\n";
        let posix = [".bashrc", ".bash_profile", ".profile", ".zshenv"].map(|file| (file, POSIX));
        let others = [(".config/fish/config.fish", FISH), (".tcshrc", TCSH)];
        for (file, text) in posix.into_iter().chain(others) {
            self = self.home_file(file, text);
        }
        self
    }

    /// No key is accepted: only [`PASSWORD`](super::PASSWORD) opens.
    pub fn password_only(mut self) -> Self {
        self.key_accepted = false;
        self
    }

    /// A line for `sshd_config`, before the rig's own: `MaxStartups 2`.
    pub fn sshd_line(mut self, line: &str) -> Self {
        self.sshd_lines.push_str(line);
        self.sshd_lines.push('\n');
        self
    }

    /// A host that is up but has no sshd: connections are refused. `Host::start_sshd` starts it.
    pub fn without_sshd(mut self) -> Self {
        self.sshd = false;
        self
    }

    /// A host that isn't switched on: its address is a black hole. `Host::power_on` starts it.
    pub fn powered_off(mut self) -> Self {
        self.powered = false;
        self
    }
}

/// A rig before it is started.
#[derive(Clone, Debug, Default)]
pub struct RigBuilder {
    pub(super) hosts: Vec<HostSpec>,
}

impl RigBuilder {
    /// One more host.
    pub fn host(mut self, host: HostSpec) -> Self {
        self.hosts.push(host);
        self
    }

    /// More hosts.
    pub fn hosts(mut self, hosts: impl IntoIterator<Item = HostSpec>) -> Self {
        self.hosts.extend(hosts);
        self
    }

    /// Starts the laptop and all hosts, and waits until each sshd listens.
    ///
    /// # Panics
    /// When a part can't be started.
    pub fn start(self) -> Rig {
        Rig::start(self)
    }
}
