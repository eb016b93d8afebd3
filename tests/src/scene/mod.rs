//! titan on a rig: runs of one small picture, watched while they last, and the proof that nothing is left of them.
//!
//! The picture is small and its tiles are many; what makes a run last is the fault `slow` in the hosts' environment.
//!
//! # Layout
//! - this file: the [`Scene`], a rig with its laptop's cluster files, and what may stay after a run.
//! - [`cluster`]: the text of cluster files.
//! - [`run`]: a titan that runs, and what came of it. [`events`]: what it has said so far.
//! - [`picture`]: the picture, as this machine alone makes it.

pub mod cluster;
pub mod events;
pub mod picture;
pub mod run;

pub use cluster::ClusterText;
pub use events::Events;
pub use run::{Finished, Run};

use crate::program::titan;
use crate::rig::{Rig, Snapshot};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// After a normal end, or a signal that titan heard, everything is gone by then.
pub const CLEAN_SPAN: Duration = Duration::from_secs(10);
/// After a SIGKILL of titan every process is gone by then.
pub const KILLED_CLEAN_SPAN: Duration = Duration::from_secs(30);
/// What makes the tiles of a batch that is ended on its way last: it isn't over before that, on a machine under load either.
pub const UNHURRIED: &str = "slow:2000";

/// A rig on whose laptop titan runs.
pub struct Scene {
    /// The laptop and the hosts.
    pub rig: Rig,
    before: Snapshot,
    files: AtomicU32,
}

impl Scene {
    /// A scene on ordinary hosts: alpha, beta, gamma, ...
    pub fn new(hosts: usize) -> Self {
        Self::on(Rig::new(hosts))
    }

    /// A scene on a rig that nothing has happened to.
    pub fn on(rig: Rig) -> Self {
        let before = Snapshot::take(&rig);
        Self { rig, before, files: AtomicU32::new(0) }
    }

    /// A titan with these arguments, in the laptop's work folder.
    pub fn titan<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.rig.command(titan());
        command.args(args).current_dir(self.rig.laptop().work_dir());
        command
    }

    /// What a titan with these arguments says.
    ///
    /// # Panics
    /// It can't be started.
    pub fn output(&self, args: &[&str]) -> Output {
        self.titan(args).output().expect("titan can be started")
    }

    /// Starts the picture on the hosts of that cluster.
    pub fn start(&self, cluster: &ClusterText) -> Run {
        self.start_with(&[OsStr::new("--cluster"), self.write_cluster(cluster).as_os_str()])
    }

    /// Runs the picture on the hosts of that cluster to its end.
    pub fn run(&self, cluster: &ClusterText) -> Finished {
        self.start(cluster).finish()
    }

    /// Starts the picture with arguments that say where.
    pub fn start_with<A: AsRef<OsStr>>(&self, place: &[A]) -> Run {
        let picture = self.work_file("png");
        let mut command = self.titan(picture::ARGUMENTS);
        command.args(place).arg("-o").arg(&picture);
        Run::start(command, picture)
    }

    /// Writes a cluster file into the work folder.
    ///
    /// # Panics
    /// It can't be written.
    pub fn write_cluster(&self, cluster: &ClusterText) -> PathBuf {
        let file = self.work_file("toml");
        fs::write(&file, cluster.text()).expect("the rig's folder can be written");
        file
    }

    /// A path in the work folder that nothing has had.
    pub fn work_file(&self, extension: &str) -> PathBuf {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        self.rig.laptop().work_dir().join(format!("{number}.{extension}"))
    }

    /// Writes a file into the work folder.
    ///
    /// # Panics
    /// It can't be written.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.rig.laptop().work_dir().join(name);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the rig's folder can be written");
        fs::write(&path, text).expect("the rig's folder can be written");
        path
    }

    /// The files of a folder in the work folder, and what they hold.
    ///
    /// # Panics
    /// It isn't there.
    pub fn files_in(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let folder = self.rig.laptop().work_dir().join(folder);
        let entries = fs::read_dir(&folder).expect("the folder is there").flatten();
        let read = |path: PathBuf| fs::read(path).expect("it is a file");
        entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), read(entry.path()))).collect()
    }

    /// Waits until nothing is left of any titan, on hosts and laptop, but what may stay.
    ///
    /// # Panics
    /// With a list of what is left.
    #[track_caller]
    pub fn assert_clean(&self, deadline: Duration) {
        self.before.assert_nothing_left(&self.rig, deadline, may_stay);
        let left = self.half_written();
        assert!(left.is_empty(), "half-written outputs are left: {left:?}");
    }

    /// Waits until no process and no listener of any titan is left, whatever files there are on the laptop.
    ///
    /// # Panics
    /// With a list of what is left.
    #[track_caller]
    pub fn assert_no_process(&self, deadline: Duration) {
        let laptop = self.rig.dir().to_owned();
        self.before.assert_nothing_left(&self.rig, deadline, |path| may_stay(path) || path.starts_with(&laptop));
    }

    /// Asserts that no host has another file than before.
    ///
    /// # Panics
    /// With a list of the differences.
    #[track_caller]
    pub fn assert_hosts_untouched(&self) {
        let laptop = self.rig.dir().to_owned();
        self.before.assert_nothing_left(&self.rig, CLEAN_SPAN, |path| path.starts_with(&laptop));
    }

    /// Outputs under their temporary names.
    pub fn half_written(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.rig.laptop().work_dir()).expect("the rig has made it").flatten();
        let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        entries.map(|entry| entry.path()).filter(hidden).collect()
    }
}

/// What titan may leave behind: agents for the next run, on hosts; the folder in which batches are, on the laptop. And what
/// login shells make for themselves.
fn may_stay(path: &Path) -> bool {
    let is_folder_of_agents = |folder: &Path| {
        folder.ends_with(".cache/titan") || folder.parent().is_some_and(|parent| is_scratch(parent, folder))
    };
    let is_agent = || {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("agent-") && path.parent().is_some_and(is_folder_of_agents)
    };
    let is_blobs = |path: &Path| path.ends_with("blobs") && path.parent().is_some_and(is_folder_of_agents);
    let is_shard =
        |path: &Path| path.file_name().is_some_and(|name| name.len() == 2) && path.parent().is_some_and(is_blobs);
    let is_blob = || path.file_name().is_some_and(|name| name.len() == 64) && path.parent().is_some_and(is_shard);
    let of_batches = [".local", ".local/state", ".local/state/titan", ".local/state/titan/batches"];
    path.ends_with(".cache")
        || is_folder_of_agents(path)
        || is_agent()
        || is_blobs(path)
        || is_shard(path)
        || is_blob()
        || of_batches.iter().any(|folder| path.ends_with(Path::new("home").join(folder)))
        || is_of_batches(path)
        || path.components().any(|part| part.as_os_str() == "fish")
        || ["/home/worker/.config", "/home/worker/.local", "/home/worker/.local/share"]
            .iter()
            .any(|own| path == Path::new(own))
}

/// What batches have come to stays on the laptop.
fn is_of_batches(path: &Path) -> bool {
    path.ancestors().any(|folder| folder.ends_with("home/.local/state/titan/batches"))
}

/// Whether `folder` is the one for agents in a place for temporary files.
fn is_scratch(parent: &Path, folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let places = ["/var/tmp", "/tmp", "/dev/shm"].map(Path::new);
    places.contains(&parent) && name.strip_prefix("titan-").is_some_and(|user| user.parse::<u32>().is_ok())
}
