//! The folder for ssh's control sockets, and the guard that ends our ssh processes when titan can't: after SIGKILL, with a
//! network that is gone, an ssh would wait for its host for as long as TCP does.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::config::cluster::{Cluster, Reach};
use crate::exit::{self, Failure};
use crate::state::dir::Temporaries;

/// Waits until titan is gone, however that came; then ends what is still noted, and removes the folder.
const GUARD: &str = r#"trap '' 1 2 3 13 15
read -r x
for f in "$1"/*.pid; do [ -f "$f" ] && kill -9 "$(cat "$f")" 2>/dev/null; done
rm -rf "$1""#;
/// How long the guard may take.
const GUARD_SPAN: Duration = Duration::from_secs(2);

/// The folder, until it is dropped.
#[derive(Debug)]
pub(crate) struct ControlDirectory {
    path: PathBuf,
    guard: Child,
}

impl ControlDirectory {
    /// One if a host is reached by ssh: short, ours alone, noted as temporary if there is a batch.
    ///
    /// # Errors
    /// It can't be made anywhere: exit code 4.
    pub(crate) fn for_cluster(
        cluster: &Cluster,
        name: &str,
        temporaries: Option<&Temporaries>,
    ) -> Result<Option<Self>, Failure> {
        if !cluster.hosts.iter().any(|host| matches!(host.reach, Reach::Ssh { .. })) {
            return Ok(None);
        }
        let runtime = dirs::runtime_dir().filter(|folder| folder.is_dir());
        let candidates = match &cluster.ssh.control_directory {
            Some(folder) => vec![folder.clone()],
            None => runtime.into_iter().chain([PathBuf::from("/tmp"), PathBuf::from("/var/tmp")]).collect(),
        };
        let mut problem = String::new();
        for parent in candidates {
            let folder = parent.join(format!("titan-{name}"));
            if !is_short_enough(&folder) {
                problem = format!("{} is too long for a socket", folder.display());
                continue;
            }
            let make = || Self::create(folder.clone());
            match temporaries.map_or_else(make, |temporaries| temporaries.make(&folder, make)) {
                Ok(control) => return Ok(Some(control)),
                Err(error) => problem = format!("{}: {error}", folder.display()),
            }
        }
        let hint = "set control_directory in [ssh] to a short path that you can write";
        Err(Failure::hinted(exit::CANNOT_WRITE, format!("no folder for ssh's sockets: {problem}"), hint))
    }

    /// Makes the folder, which isn't there yet, for this user alone.
    fn create(path: PathBuf) -> io::Result<Self> {
        DirBuilder::new().mode(0o700).create(&path)?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", GUARD, "titan-guard"]).arg(&path).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(guard) => Ok(Self { path, guard }),
            Err(error) => {
                let _ = fs::remove_dir(&path);
                Err(error)
            }
        }
    }

    /// A file in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Notes a process of ours under that name, for the guard.
    pub(crate) fn note(&self, name: &str, pid: u32) -> Noted {
        let file = self.file(&format!("{name}.pid"));
        // If it can't be written the process has one guard less.
        let _ = fs::write(&file, pid.to_string());
        Noted { file, pid }
    }
}

impl Drop for ControlDirectory {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let deadline = Instant::now() + GUARD_SPAN;
        while matches!(self.guard.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A process of ours that the guard knows.
#[derive(Debug)]
pub(crate) struct Noted {
    file: PathBuf,
    pid: u32,
}

impl Noted {
    /// Ends the process at once. It must be known to be ours still.
    pub(crate) fn kill(&self) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Where it is noted.
    #[cfg(test)]
    fn file(&self) -> &Path {
        &self.file
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// Whether that path is short enough for the sockets in it: an address holds 108 bytes, and ssh adds 17 of its own.
fn is_short_enough(path: &Path) -> bool {
    const MAX_PATH_BYTES: usize = 80;
    path.as_os_str().len() <= MAX_PATH_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_ends_with_the_folder() {
        let parent = tempfile::tempdir().unwrap();
        let folder = ControlDirectory::create(parent.path().join("x")).unwrap();
        let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
        let noted = folder.note("0", sleeper.id());
        assert!(noted.file().exists());
        drop(folder);
        assert!(!sleeper.wait().unwrap().success());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_has_ended_before_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = ControlDirectory::create(parent.path().join("x")).unwrap();
        let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
        drop(folder.note("0", sleeper.id()));
        drop(folder);
        assert!(sleeper.try_wait().unwrap().is_none());
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
}
