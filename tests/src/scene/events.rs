//! What a running titan has said so far.

use serde_json::Value;
use std::fmt;

/// One line of titan's stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A task changed its state.
    Task {
        /// Its number.
        task: u64,
        /// What it is now.
        state: String,
        /// Where, if that is somewhere.
        host: Option<String>,
    },
    /// A host changed its state.
    Host {
        /// Its name.
        host: String,
        /// What it is now.
        state: String,
        /// Why.
        reason: Option<String>,
    },
    /// A line for people.
    Text(String),
}

/// All lines, in order.
#[derive(Clone, Debug, Default)]
pub struct Events(Vec<Event>);

impl Events {
    pub(super) fn push_line(&mut self, line: &str) {
        let event = serde_json::from_str(line).ok().and_then(|value| parse(&value));
        self.0.push(event.unwrap_or_else(|| Event::Text(line.to_owned())));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Those that came after the first `count`.
    #[must_use]
    pub fn since(&self, count: usize) -> Self {
        Self(self.0.iter().skip(count).cloned().collect())
    }

    /// Tasks that are COMPLETED, in order.
    pub fn completed(&self) -> Vec<u64> {
        self.in_state("COMPLETED", None)
    }

    /// Tasks that a host has COMPLETED.
    pub fn completed_on(&self, host: &str) -> Vec<u64> {
        self.in_state("COMPLETED", Some(host))
    }

    /// Tasks that were started on a host, once for each time.
    pub fn started_on(&self, host: &str) -> Vec<u64> {
        self.in_state("RUNNING", Some(host))
    }

    /// How often a task was started.
    pub fn starts_of(&self, task: u64) -> usize {
        let is_start =
            |event: &&Event| matches!(event, Event::Task { task: of, state, .. } if *of == task && state == "RUNNING");
        self.0.iter().filter(is_start).count()
    }

    /// Tasks that run on a host and haven't COMPLETED anywhere.
    pub fn running_on(&self, host: &str) -> Vec<u64> {
        let completed = self.completed();
        self.started_on(host).into_iter().filter(|task| !completed.contains(task)).collect()
    }

    /// Some tasks are COMPLETED, and this host is in the middle of others.
    pub fn is_midway_on(&self, host: &str) -> bool {
        self.completed_on(host).len() >= 2 && !self.running_on(host).is_empty()
    }

    /// The states that a host has had, in order; what is said of one more than once counts once.
    pub fn states_of(&self, host: &str) -> Vec<&str> {
        let mut states: Vec<&str> = self.0.iter().filter_map(|event| event.host_state(host)).collect();
        states.dedup();
        states
    }

    /// Whether a host was in that state.
    pub fn was(&self, host: &str, state: &str) -> bool {
        self.states_of(host).contains(&state)
    }

    /// The lines for people, joined.
    pub fn text(&self) -> String {
        let line = |event: &Event| match event {
            Event::Text(line) => Some(line.clone()),
            _ => None,
        };
        self.0.iter().filter_map(line).collect::<Vec<_>>().join("\n")
    }

    fn in_state(&self, wanted: &str, on: Option<&str>) -> Vec<u64> {
        let is_there = |host: &Option<String>| on.is_none() || host.as_deref() == on;
        let task = |event: &Event| match event {
            Event::Task { task, state, host } if state == wanted && is_there(host) => Some(*task),
            _ => None,
        };
        self.0.iter().filter_map(task).collect()
    }
}

impl Event {
    fn host_state(&self, wanted: &str) -> Option<&str> {
        match self {
            Self::Host { host, state, .. } if host == wanted => Some(state),
            _ => None,
        }
    }
}

impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.0 {
            match event {
                Event::Task { task, state, host } => {
                    writeln!(f, "task {task} {state} {}", host.as_deref().unwrap_or_default())?;
                }
                Event::Host { host, state, reason } => {
                    writeln!(f, "host {host} {state} {}", reason.as_deref().unwrap_or_default())?;
                }
                Event::Text(line) => writeln!(f, "{line}")?,
            }
        }
        Ok(())
    }
}

fn parse(value: &Value) -> Option<Event> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    match value["type"].as_str()? {
        "task" => Some(Event::Task { task: value["task"].as_u64()?, state: text("state")?, host: text("host") }),
        "host" => Some(Event::Host { host: text("host")?, state: text("state")?, reason: text("reason") }),
        "message" => Some(Event::Text(text("text")?)),
        _ => None,
    }
}
