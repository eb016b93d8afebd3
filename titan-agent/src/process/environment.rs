//! What a task sees in its environment: what the agent has or a setup has left, then the job's, the task's, and titan's own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::{Arc, OnceLock};

use titan_proto::message::Outcome;

use super::Attempt;

/// Variables for the agent, which are no task's affair.
const AGENTS_VARIABLES: [&str; 4] =
    [crate::faults::VARIABLE, super::watcher::VARIABLE, super::lease::VARIABLE, crate::descriptors::VARIABLE];

/// An environment that tasks start from, as `NAME=value`, by name: made once, since it is the same for all of them.
#[derive(Debug, Default)]
pub(crate) struct Inherited(BTreeMap<OsString, CString>);

impl Inherited {
    /// What the agent has, which is this process.
    pub(super) fn of_agent() -> Arc<Self> {
        static VARIABLES: OnceLock<Arc<Inherited>> = OnceLock::new();
        Arc::clone(VARIABLES.get_or_init(|| Arc::new(Self::new(std::env::vars_os()))))
    }

    /// These variables, without those for the agent.
    pub(super) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let tasks = variables.into_iter().filter(|(name, _)| !AGENTS_VARIABLES.iter().any(|hidden| name == hidden));
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
    pub(super) fn of(attempt: &Attempt, inherited: Arc<Inherited>) -> Self {
        let mut environment = Self { inherited, set: BTreeMap::new() };
        for (name, value) in attempt.job.spec.env.iter().chain(&attempt.command.env) {
            environment.set(OsString::from_vec(name.clone()), OsString::from_vec(value.0.clone()));
        }
        for (name, value) in titans(attempt) {
            environment.set(name, value);
        }
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

    /// All of it.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let inherited = self.inherited.0.keys().filter(|name| !self.set.contains_key(*name));
        let inherited = inherited.filter_map(|name| Some((name.as_os_str(), self.inherited.get(name)?)));
        inherited.chain(self.set.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str())))
    }

    /// All of it, as a process gets it.
    ///
    /// # Errors
    /// It can't be passed on: the outcome says why.
    pub(super) fn entries(&self) -> Result<Vec<Cow<'_, CStr>>, Outcome> {
        let inherited = self.inherited.0.iter().filter(|(name, _)| !self.set.contains_key(*name));
        let inherited = inherited.map(|(_, entry)| Ok(Cow::Borrowed(entry.as_c_str())));
        let set = self.set.iter().map(|(name, value)| {
            let no_entry = || format!("a NUL byte in its variable {}, which no environment can hold", name.display());
            entry(name, value).map(Cow::Owned).ok_or_else(|| Outcome::failed(no_entry()))
        });
        inherited.chain(set).collect()
    }
}

/// What titan tells every task.
fn titans(attempt: &Attempt) -> [(&'static str, String); 6] {
    [
        ("TITAN_BATCH_ID", attempt.here.batch.clone()),
        ("TITAN_JOB_ID", attempt.job.spec.name.clone()),
        ("TITAN_TASK_ID", attempt.command.number.to_string()),
        ("TITAN_ATTEMPT", attempt.tried.to_string()),
        ("TITAN_SLOT", attempt.slot.to_string()),
        ("TITAN_HOST", attempt.here.host.clone()),
    ]
}

/// What every process of an attempt has in its environment, unless it has cleared that.
pub(super) fn marks(attempt: &Attempt) -> Vec<Vec<u8>> {
    let is_mark = |name: &str| ["TITAN_BATCH_ID", "TITAN_JOB_ID", "TITAN_TASK_ID", "TITAN_ATTEMPT"].contains(&name);
    let marks = titans(attempt).into_iter().filter(|(name, _)| is_mark(name));
    marks.map(|(name, value)| format!("{name}={value}").into_bytes()).collect()
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
        let environment = environment(&[(AGENTS_VARIABLES[0], "x"), ("TITAN_COLOUR", "y")]);
        assert_eq!(environment.entries().unwrap(), [c"TITAN_COLOUR=y"]);
    }

    #[test]
    fn a_variable_that_no_environment_can_hold_is_said() {
        let mut environment = environment(&[]);
        environment.set("X", "a\0b");
        let Err(Outcome::Failed { reason, .. }) = environment.entries() else { panic!("it was taken") };
        assert_eq!(reason, "a NUL byte in its variable X, which no environment can hold");
    }
}
