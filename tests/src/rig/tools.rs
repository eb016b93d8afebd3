//! The system's programs that the rig is made of: where they are, and running them.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where sshd and the tools for networks are, whatever the PATH of the person who runs the tests.
const SYSTEM_DIRS: [&str; 6] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"];

/// The program of that name: in PATH, or where systems keep those of their administrators.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = SYSTEM_DIRS.iter().map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// A PATH with the system's folders alone.
pub(super) fn system_path() -> String {
    SYSTEM_DIRS.join(":")
}

/// A command with nothing of the test's environment but the system's PATH.
pub(super) fn clean_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", system_path());
    command
}

/// Runs a command that the rig can't do without.
#[track_caller]
pub(super) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Makes a new ssh key pair at `file` (and `file.pub`), and returns its public half: `ssh-ed25519 AAAA...`.
pub(super) fn make_key(file: &Path) -> String {
    let public = file.with_extension("pub");
    for old in [file, &public] {
        let _ = std::fs::remove_file(old);
    }
    run(clean_command(find("ssh-keygen").expect("looked for by available()"))
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "rig", "-f"])
        .arg(file));
    let line = std::fs::read_to_string(public).expect("ssh-keygen wrote it");
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
