//! Paths of a cluster file that are on this machine: relative ones are relative to the file's folder, `~/` is the home.

use std::path::{Path, PathBuf};

use super::Cluster;

impl Cluster {
    /// Makes every path that is on this machine absolute, as far as `folder` and `home` are. Paths on hosts stay.
    pub(crate) fn anchor_paths(&mut self, folder: &Path, home: Option<&Path>) {
        let agents = self.hosts.iter_mut().map(|host| &mut host.agent);
        let ssh = &mut self.ssh;
        let ssh_paths = [&mut ssh.keyfile, &mut ssh.control_directory, &mut ssh.config_file];
        for path in agents.chain(ssh_paths).flatten() {
            *path = anchored(path, folder, home);
        }
    }
}

fn anchored(path: &Path, folder: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(below), Some(home)) => home.join(below),
        _ => folder.join(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_relative_to_the_file_or_to_the_home() {
        let (folder, home) = (Path::new("/lab"), Path::new("/home/ann"));
        let anchor = |path: &str| anchored(Path::new(path), folder, Some(home));
        assert_eq!(anchor("agents/arm"), Path::new("/lab/agents/arm"));
        assert_eq!(anchor("/opt/agent"), Path::new("/opt/agent"));
        assert_eq!(anchor("~/.ssh/lab"), Path::new("/home/ann/.ssh/lab"));
        assert_eq!(anchor("~ann/x"), Path::new("/lab/~ann/x"));
    }
}
