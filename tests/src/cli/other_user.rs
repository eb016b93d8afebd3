//! A desk that is another user's, for tests of what users can do to each other. Wants root.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Desk;
use crate::program::titan;
use crate::rig::availability::skipped_for;

/// The folders that an agent's socket may be in.
const PARENTS: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// A desk whose titan runs as a user that nobody else is.
#[derive(Debug)]
pub struct OtherUser {
    /// The desk.
    pub desk: Desk,
    uid: u32,
}

impl OtherUser {
    /// The user of that number, or None where it can't be become: that is said loudly.
    ///
    /// # Panics
    /// The desk can't be given to it.
    pub fn become_one(uid: u32) -> Option<Self> {
        let answer = match rustix::process::geteuid().is_root() {
            true => Ok(()),
            false => Err("this user isn't root".to_owned()),
        };
        if skipped_for("becoming another user", answer) {
            return None;
        }
        let desk = Desk::new();
        let base = desk.home().parent().expect("a desk has a folder").to_owned();
        for folder in [base.clone(), desk.home(), desk.path(""), base.join("run"), base.join("tmp")] {
            chown(folder, Some(uid), Some(uid)).expect("root may give");
        }
        fs::set_permissions(base, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let user = Self { desk, uid };
        user.remove_meetings();
        let answer = user.titan("--version").output().map(drop).map_err(|error| error.to_string());
        (!skipped_for("titan that any user may run", answer)).then_some(user)
    }

    /// titan with these words, as that user.
    pub fn titan(&self, words: &str) -> Command {
        let mut command = self.desk.command(titan());
        command.args(words.split_whitespace()).uid(self.uid).gid(self.uid);
        command
    }

    /// The folders that an agent of that user may be met in, in order.
    pub fn meetings(&self) -> [PathBuf; 3] {
        PARENTS.map(|parent| Path::new(parent).join(format!("titan-meet-{}", self.uid)))
    }

    /// The sockets that agents of that user are met at.
    pub fn sockets(&self) -> Vec<PathBuf> {
        let entries = self.meetings().into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "sock")).collect()
    }

    fn remove_meetings(&self) {
        for folder in self.meetings() {
            let is_folder = fs::symlink_metadata(&folder).is_ok_and(|data| data.is_dir());
            let _ = if is_folder { fs::remove_dir_all(folder) } else { fs::remove_file(folder) };
        }
    }
}

impl Drop for OtherUser {
    fn drop(&mut self) {
        self.remove_meetings();
    }
}
