//! The environment of a person who has nothing but a home: what programs under test see of the world.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A person's folders, all of them below one.
#[derive(Clone, Debug)]
pub struct Person {
    base: PathBuf,
}

impl Person {
    /// Makes the folders of a person below `base`.
    pub(super) fn create(base: PathBuf) -> Self {
        let person = Self { base };
        for dir in [person.ssh_dir(), person.config_dir(), person.tmp_dir(), person.work_dir(), person.runtime_dir()] {
            fs::create_dir_all(&dir).expect("the rig's folder can be written");
        }
        for private in [person.ssh_dir(), person.runtime_dir()] {
            fs::set_permissions(private, fs::Permissions::from_mode(0o700)).expect("it was made just now");
        }
        person
    }

    /// The home folder.
    pub fn home(&self) -> PathBuf {
        self.base.join("home")
    }

    /// `~/.ssh`
    pub fn ssh_dir(&self) -> PathBuf {
        self.home().join(".ssh")
    }

    /// `$XDG_CONFIG_HOME`
    pub fn config_dir(&self) -> PathBuf {
        self.home().join(".config")
    }

    /// `$XDG_STATE_HOME`
    pub fn state_dir(&self) -> PathBuf {
        self.home().join(".local/state")
    }

    /// `$XDG_CACHE_HOME`
    pub fn cache_dir(&self) -> PathBuf {
        self.home().join(".cache")
    }

    /// `$XDG_RUNTIME_DIR`: short, because the names of sockets have at most 104 bytes.
    pub fn runtime_dir(&self) -> PathBuf {
        self.base.join("run")
    }

    /// `$TMPDIR`
    pub fn tmp_dir(&self) -> PathBuf {
        self.base.join("tmp")
    }

    /// A folder for a test's own inputs and outputs; snapshots don't look into it.
    pub fn work_dir(&self) -> PathBuf {
        self.base.join("work")
    }

    /// The folders in which nothing may be left.
    pub(super) fn watched_dirs(&self) -> [PathBuf; 3] {
        [self.home(), self.runtime_dir(), self.tmp_dir()]
    }

    /// Gives `command` this person's environment, and nothing that would lead it to anyone else's ssh or titan.
    pub(super) fn dress(&self, command: &mut Command) {
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("SSH_") || text.starts_with("TITAN_") || text.starts_with("XDG_") {
                command.env_remove(&name);
            }
        }
        command.envs(self.variables());
    }

    /// The variables that name this person's folders.
    pub(super) fn variables(&self) -> [(&'static str, PathBuf); 7] {
        [
            ("HOME", self.home()),
            ("XDG_CONFIG_HOME", self.config_dir()),
            ("XDG_STATE_HOME", self.state_dir()),
            ("XDG_CACHE_HOME", self.cache_dir()),
            ("XDG_DATA_HOME", self.home().join(".local/share")),
            ("XDG_RUNTIME_DIR", self.runtime_dir()),
            ("TMPDIR", self.tmp_dir()),
        ]
    }

    /// Puts `text` before everything else in `~/.ssh/config`, where it wins.
    ///
    /// # Panics
    /// When the file can't be written.
    pub fn add_ssh_config(&self, text: &str) {
        let file = self.ssh_dir().join("config");
        let rest = fs::read_to_string(&file).unwrap_or_default();
        write(&file, &format!("{}\n{rest}", text.trim_end()));
    }
}

/// Writes one of the rig's files.
#[track_caller]
pub(super) fn write(file: &Path, text: &str) {
    if let Err(error) = fs::write(file, text) {
        panic!("cannot write {}: {error}", file.display());
    }
}
