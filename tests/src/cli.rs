//! What tests of titan's command line are made of: a person's desk, where titan runs with an environment of its own.
//!
//! # Layout
//! - this file: the [`Desk`], and what a titan that ran there has [`Left`] behind.
//! - [`running`]: a titan that runs, and how it ended.
//! - [`terminal`]: a pseudo terminal, and what a person sees on it.
//! - [`picture`]: pictures and counts, and what they have to be.
//! - [`contract`]: what `docs/json.md` says, and whether an object is as it says.
//! - [`snapshot`]: texts that are kept as files.
//! - [`stranger`]: hosts that aren't what they should be.
//! - [`other_user`]: a desk that is another user's.

pub mod contract;
pub mod other_user;
pub mod picture;
pub mod running;
pub mod snapshot;
pub mod stranger;
pub mod terminal;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::program::titan;
use crate::rig::wait_until;
pub use running::{Outcome, Running};

/// How long a condition may take that needs no more than a moment.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The width that texts are wrapped at, in columns.
pub const COLUMNS: &str = "100";

/// A home, a folder to work in, and nothing else: where a person types.
#[derive(Debug)]
pub struct Desk {
    folder: TempDir,
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}

impl Desk {
    /// A new desk, with an empty home.
    ///
    /// # Panics
    /// Its folders can't be made.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("desk-").tempdir().expect("a folder can be made");
        let desk = Self { folder };
        for name in ["home", "work", "run", "tmp"] {
            fs::create_dir(desk.folder.path().join(name)).expect("a folder can be made");
        }
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(desk.folder.path().join("run"), private).expect("it was made just now");
        desk
    }

    /// The person's home.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A file in the folder where titan runs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    /// Writes a file into the folder where titan runs.
    ///
    /// # Panics
    /// It can't be written.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is in the desk")).expect("the desk can be written");
        fs::write(&path, text).expect("the desk can be written");
        path
    }

    /// Reads a file of the folder where titan runs.
    ///
    /// # Panics
    /// It can't be read.
    #[track_caller]
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A program that runs here and sees nothing of the test's own environment.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        let base = self.folder.path();
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("XDG_RUNTIME_DIR", base.join("run"))
            .env("TMPDIR", base.join("tmp"))
            .env("COLUMNS", COLUMNS)
            .env("LANG", "C.UTF-8")
            .current_dir(base.join("work"))
            .stdin(Stdio::null());
        command
    }

    /// titan with these words, split at blanks.
    pub fn titan(&self, words: &str) -> Command {
        let mut command = self.command(titan());
        command.args(words.split_whitespace());
        command
    }

    /// Runs titan with these words to its end.
    #[track_caller]
    pub fn run(&self, words: &str) -> Outcome {
        Running::start(&mut self.titan(words)).wait()
    }

    /// Runs titan whose agents have these faults.
    #[track_caller]
    pub fn run_faulty(&self, faults: &str, words: &str) -> Outcome {
        Running::start(self.titan(words).env(titan_agent::faults::VARIABLE, faults)).wait()
    }

    /// Starts titan whose agents have these faults, and waits until a task runs. The words have to hold `-v`.
    ///
    /// # Panics
    /// No task runs.
    #[track_caller]
    pub fn start_faulty(&self, faults: &str, words: &str) -> Running {
        let mut running = Running::start(self.titan(words).env(titan_agent::faults::VARIABLE, faults));
        running.wait_for(" starts on ");
        running
    }

    /// The folder that holds the directories of batches.
    pub fn batches(&self) -> PathBuf {
        self.home().join(".local/state/titan/batches")
    }

    /// Everything that is left of titans that ran here.
    pub fn left(&self) -> Left {
        let names = |folder: &Path| -> Vec<String> {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        let base = self.folder.path();
        let batches = names(&self.batches()).into_iter().filter(|name| name != ".lock");
        let mut files: Vec<String> = batches.flat_map(|name| left_of_batch(&self.batches().join(name))).collect();
        files.extend(names(&base.join("work")).into_iter().filter(|name| name.contains(".titan-")));
        files.extend(names(&base.join("run")));
        files.extend(names(&base.join("tmp")));
        Left { files, processes: self.processes() }
    }

    /// Processes that have this desk's home in their environment, as pid and name. A zombie is none.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let mark = format!("HOME={}", self.home().display());
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter_map(|pid| Some((pid, marked_process(pid, mark.as_bytes())?))).collect()
    }

    /// The agents among them: each has a watcher above it, which isn't one of these.
    pub fn agents(&self) -> Vec<u32> {
        let is_agent = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(b"TITAN_AGENT_WATCHED="))
        };
        self.processes().into_iter().map(|(pid, _)| pid).filter(is_agent).collect()
    }

    /// Waits until nothing is left: no process, no batch, no temporary file.
    ///
    /// # Panics
    /// Something stays.
    #[track_caller]
    pub fn wait_until_tidy(&self) {
        let mut left = self.left();
        let tidy = crate::rig::wait::holds_within(PATIENCE, || {
            left = self.left();
            left.is_nothing()
        });
        assert!(tidy, "this is left: {left:?}");
    }

    /// Waits until so many agents of this desk run.
    #[track_caller]
    pub fn wait_for_agents(&self, count: usize) {
        wait_until(PATIENCE, &format!("{count} agents run"), || self.agents().len() == count);
    }

    /// Every file and folder in the home.
    pub fn home_files(&self) -> Vec<PathBuf> {
        let mut found = vec![self.home()];
        let mut next = 0;
        while let Some(folder) = found.get(next) {
            let entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
            found.extend(entries);
            next += 1;
        }
        found.split_off(1)
    }

    /// The names in the folder where titan runs, in order.
    pub fn work_files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// What titans have left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Directories of batches, temporary files.
    pub files: Vec<String>,
    /// Processes, as pid and name.
    pub processes: Vec<(u32, String)>,
}

impl Left {
    /// Nothing at all.
    pub fn is_nothing(&self) -> bool {
        self.files.is_empty() && self.processes.is_empty()
    }
}

/// What a batch has left beside what it has come to: itself, if somebody still works on it; results that nobody needs.
fn left_of_batch(batch: &Path) -> Vec<String> {
    let shown = |name: &str| format!("{}/{name}", batch.file_name().unwrap_or_default().display());
    let is_free = fs::File::open(batch.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok());
    if !is_free {
        return vec![shown("")];
    }
    let stays: &[&str] = match batch.join("ended").exists() {
        true => &["lock", "journal", "specification", "temporaries", "ended", "kept", "stdin"],
        false => &["lock", "journal", "specification", "temporaries", "kept", "stdin", "spool"],
    };
    let entries = fs::read_dir(batch).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !stays.contains(&name.as_str())).map(|name| shown(&name)).collect()
}

fn marked_process(pid: u32, mark: &[u8]) -> Option<String> {
    let folder = Path::new("/proc").join(pid.to_string());
    let environment = fs::read(folder.join("environ")).ok()?;
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let is_zombie = stat.rsplit_once(") ")?.1.starts_with('Z');
    let is_marked = environment.split(|byte| *byte == 0).any(|variable| variable == mark);
    (is_marked && !is_zombie).then(|| fs::read_to_string(folder.join("comm")).unwrap_or_default().trim().to_owned())
}
