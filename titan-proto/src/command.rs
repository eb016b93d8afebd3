//! What a task that is a command runs, and how it ended. Words, paths and values are bytes: what a person typed isn't always
//! UTF-8.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::files::{FileSet, OutputPattern};

/// A line of sh between a setup and what follows it: the setup has failed if its last command has.
pub const SETUP_CHECK: &[u8] = b"\ncase $? in 0) ;; *) exit ;; esac\n";

/// The value of a variable, or a script that sets some: for tasks alone, as it may be a password. No log shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What all tasks of a command's job share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandJob {
    /// The job's name, for tasks to know.
    pub name: String,
    /// Added to the agent's own environment, in order; later ones win.
    pub env: Vec<(Vec<u8>, Secret)>,
    /// Run once by each agent under `sh` before its first task of the job; what it leaves in the environment is the tasks'.
    pub setup: Option<Secret>,
    /// Where tasks run.
    pub workdir: Workdir,
    /// How long a task may run, in ms; 0: as long as it likes.
    pub timeout_ms: u64,
    /// How long a task has between SIGTERM and SIGKILL, in ms.
    pub kill_after_ms: u64,
    /// Added to the niceness of tasks.
    pub nice: i32,
    /// Cores that a task asks for and is kept on; 0: it didn't ask.
    pub cpus: u32,
    /// Resident memory at which a task's tree is ended, in bytes; 0: none.
    pub memory_bytes: u64,
    /// Counted resources that a task asks for, by name.
    pub resources: Vec<(String, u32)>,
    /// Whether what a task writes is wanted at all; otherwise it goes to /dev/null.
    pub captures: bool,
}

/// Where a command's tasks run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Workdir {
    /// Where the agent is.
    Inherited,
    /// In that folder of the host.
    Folder(Vec<u8>),
    /// In a fresh folder for each attempt, which goes with it.
    Scratch,
}

/// What one task of a command's job runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandTask {
    /// The program and its arguments; never empty.
    pub words: Vec<Word>,
    /// The number by which people and the task itself know it, from 1.
    pub number: u64,
    /// Added to the environment after the job's.
    pub env: Vec<(Vec<u8>, Secret)>,
    /// The folder of the host that it runs in, where that isn't what its job says.
    pub folder: Option<Vec<u8>>,
    /// A file of the host that is its stdin; None: /dev/null.
    pub stdin: Option<Vec<u8>>,
    /// What is put into its folder before it starts; told before.
    pub inputs: Vec<FileSet>,
    /// What it has to leave in its folder.
    pub outputs: Vec<OutputPattern>,
}

/// One argument. The slot is known only where it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// The argument without the slot's number.
    pub text: Vec<u8>,
    /// Offsets in `text` at which the slot's number is inserted, ascending.
    pub slot_at: Vec<u32>,
}

impl Word {
    /// The argument for that slot. Offsets beyond the text are as at its end.
    pub fn for_slot(&self, slot: u32) -> Vec<u8> {
        let number = slot.to_string();
        let mut whole = Vec::with_capacity(self.text.len() + number.len() * self.slot_at.len());
        let mut from = 0;
        for &at in &self.slot_at {
            let at = (at as usize).clamp(from, self.text.len());
            whole.extend_from_slice(&self.text[from..at]);
            whole.extend_from_slice(number.as_bytes());
            from = at;
        }
        whole.extend_from_slice(&self.text[from..]);
        whole
    }
}

impl From<&[u8]> for Word {
    fn from(text: &[u8]) -> Self {
        Self { text: text.to_vec(), slot_at: Vec::new() }
    }
}

/// What is known of a process that has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEnd {
    /// Its exit code, if it exited.
    pub exit: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// From its start to its end, in µs.
    pub wall_us: u64,
    /// Time on processors, its waited-for children included, in µs.
    pub cpu_us: u64,
    /// Most resident memory of it or of one of its waited-for children, in bytes.
    pub max_rss_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_is_inserted_wherever_it_was_named() {
        let word = Word { text: b"a-b".to_vec(), slot_at: vec![0, 2, 3] };
        assert_eq!(word.for_slot(12), b"12a-12b12");
        assert_eq!(Word::from(&b"plain"[..]).for_slot(1), b"plain");
    }

    #[test]
    fn a_log_shows_no_value_of_a_variable() {
        assert_eq!(format!("{:?}", (b"A", Secret(b"hunter2".to_vec()))), "([65], …)");
    }

    #[test]
    fn offsets_that_no_template_makes_do_no_harm() {
        let word = Word { text: b"ab".to_vec(), slot_at: vec![9, 1] };
        assert_eq!(word.for_slot(1), b"ab11");
    }
}
