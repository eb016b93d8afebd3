//! What a task sees in its environment: what the agent has or a setup has left, then the job's, the task's, and titan's own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::Attempt;

/// Variables that nobody inherits: those for the agent are no task's affair, and those of a task in which titan itself runs
/// are no other task's.
const NOT_INHERITED: [&str; 8] = [
    crate::faults::VARIABLE,
    super::watcher::VARIABLE,
    super::lease::VARIABLE,
    crate::descriptors::VARIABLE,
    "TITAN_TASK_ID",
    "TITAN_ATTEMPT",
    "TITAN_SLOT",
    SETUP_FILE,
];

/// Where a setup leaves its environment.
const SETUP_FILE: &str = "TITAN_SETUP_FILE";

/// What tells the processes of a task, or of a setup, from all others.
const MARKS: [&str; 5] = ["TITAN_BATCH_ID", "TITAN_JOB_ID", "TITAN_TASK_ID", "TITAN_ATTEMPT", SETUP_FILE];

/// An environment that tasks start from, as `NAME=value`, by name: made once, since it is the same for all of them.
#[derive(Debug, Default)]
pub(crate) struct Inherited(BTreeMap<OsString, CString>);

impl Inherited {
    /// What the agent has, which is this process.
    pub(super) fn of_agent() -> Arc<Self> {
        static VARIABLES: OnceLock<Arc<Inherited>> = OnceLock::new();
        Arc::clone(VARIABLES.get_or_init(|| Arc::new(Self::new(std::env::vars_os()))))
    }

    /// These variables, without those that nobody inherits.
    pub(super) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let tasks = variables.into_iter().filter(|(name, _)| !NOT_INHERITED.iter().any(|hidden| name == hidden));
        Self(tasks.filter_map(|(name, value)| entry(&name, &value).map(|entry| (name, entry))).collect())
    }

    fn get(&self, name: &OsStr) -> Option<&OsStr> {
        let entry = self.0.get(name)?.as_bytes();
        Some(OsStr::from_bytes(&entry[name.len() + 1..]))
    }
}

/// `NAME=value`; None: there is a NUL byte in it.
fn entry(name: &OsStr, value: &OsStr) -> Option<CString> {
    CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
}

/// Everything that a task sees in its environment.
#[derive(Debug, Default)]
pub(super) struct Environment {
    /// What it starts from.
    inherited: Arc<Inherited>,
    /// What is set for it, whatever it starts from.
    set: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// The environment of an attempt.
    pub(super) fn of_task(attempt: &Attempt, inherited: Arc<Inherited>) -> Self {
        let mut environment = Self::of_both(attempt, inherited);
        environment.set("TITAN_TASK_ID", attempt.command.number.to_string());
        environment.set("TITAN_ATTEMPT", attempt.tried.to_string());
        environment.set("TITAN_SLOT", attempt.slot.to_string());
        environment
    }

    /// The environment of the setup of an attempt's job: what its tasks have but for what tells one from the other. `file` is
    /// where it leaves its own.
    pub(super) fn of_setup(attempt: &Attempt, file: &Path) -> Self {
        let mut environment = Self::of_both(attempt, Inherited::of_agent());
        environment.set(SETUP_FILE, file);
        environment
    }

    /// What tasks and their setup have.
    fn of_both(attempt: &Attempt, inherited: Arc<Inherited>) -> Self {
        let mut environment = Self { inherited, set: BTreeMap::new() };
        for (name, value) in attempt.job.spec.env.iter().chain(&attempt.command.env) {
            environment.set(OsString::from_vec(name.clone()), OsString::from_vec(value.0.clone()));
        }
        environment.set("TITAN_BATCH_ID", &attempt.here.batch);
        environment.set("TITAN_JOB_ID", &attempt.job.spec.name);
        environment.set("TITAN_HOST", &attempt.here.host);
        environment
    }

    /// Sets a variable, whatever it was.
    pub(super) fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.set.insert(name.into(), value.into());
    }

    /// What a variable is.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        let name = OsStr::new(name);
        self.set.get(name).map(OsString::as_os_str).or_else(|| self.inherited.get(name))
    }

    /// What tells processes of this task or setup from all others: they have it in their environment, unless they cleared that.
    pub(super) fn marks(&self) -> Vec<Vec<u8>> {
        let mark = |name: &&str| Some([name.as_bytes(), b"=", self.set.get(OsStr::new(name))?.as_bytes()].concat());
        MARKS.iter().filter_map(mark).collect()
    }

    /// All of it, as a process gets it.
    ///
    /// # Errors
    /// It can't be passed on: why.
    pub(super) fn entries(&self) -> Result<Vec<Cow<'_, CStr>>, String> {
        let inherited = self.inherited.0.iter().filter(|(name, _)| !self.set.contains_key(*name));
        let inherited = inherited.map(|(_, entry)| Ok(Cow::Borrowed(entry.as_c_str())));
        let set = self.set.iter().map(|(name, value)| {
            let no_entry = || format!("a NUL byte in its variable {}, which no environment can hold", name.display());
            entry(name, value).map(Cow::Owned).ok_or_else(no_entry)
        });
        inherited.chain(set).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Environment { inherited: Arc::new(Inherited::new(variables)), set: BTreeMap::new() }
    }

    #[test]
    fn what_is_set_takes_the_place_of_what_was_there() {
        let mut environment = environment(&[("HOME", "/root"), ("EMPTY", ""), ("PATH", "/bin")]);
        environment.set("PATH", "/opt=x");
        environment.set("NEW", "1");
        assert_eq!(environment.get("PATH"), Some(OsStr::new("/opt=x")));
        assert_eq!(environment.get("EMPTY"), Some(OsStr::new("")));
        assert_eq!(environment.get("NONE"), None);
        let entries = environment.entries().unwrap();
        let entries: Vec<&str> = entries.iter().map(|entry| entry.to_str().unwrap()).collect();
        assert_eq!(entries, ["EMPTY=", "HOME=/root", "NEW=1", "PATH=/opt=x"]);
    }

    #[test]
    fn variables_for_the_agent_are_no_affair_of_tasks() {
        let environment = environment(&[(NOT_INHERITED[0], "x"), ("TITAN_TASK_ID", "7"), ("TITAN_COLOUR", "y")]);
        assert_eq!(environment.entries().unwrap(), [c"TITAN_COLOUR=y"]);
    }

    #[test]
    fn a_variable_that_no_environment_can_hold_is_said() {
        let mut environment = environment(&[]);
        environment.set("X", "a\0b");
        assert_eq!(environment.entries().unwrap_err(), "a NUL byte in its variable X, which no environment can hold");
    }
}
