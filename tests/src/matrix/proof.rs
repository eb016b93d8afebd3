//! What is asserted of every row when its batch is over.

use super::batch::NOTES;
use super::{Kind, Pace, Recovery, Stage};
use crate::scene::CLEAN_SPAN;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

impl Stage {
    /// Waits for the batch's end, and asserts all that every row asserts. The time that recovery took.
    #[track_caller]
    pub(super) fn prove(mut self) -> Duration {
        self.end_titan(Some(0));
        let tasks = self.table();
        let states: Vec<&str> = tasks.iter().filter_map(|task| task["state"].as_str()).collect();
        assert_eq!(states, vec!["COMPLETED"; self.kind.tasks()], "{}", self.past);
        let status = self.ask(&["status", "--json", &self.batch()]);
        assert_eq!((&status[0]["state"], &status[0]["exit_code"]), (&"COMPLETED".into(), &0.into()), "{status:?}");
        self.assert_attempts(&tasks);
        self.assert_results();
        self.assert_nothing_left();
        self.fault.took.expect("it was waited for")
    }

    /// A line for each task.
    pub fn table(&self) -> Vec<Value> {
        self.ask(&["export", "--json", &self.batch()])
    }

    /// What ran on struck hosts has gone on or was tried again, as the row says; and no command has begun more often than titan
    /// knows.
    #[track_caller]
    fn assert_attempts(&self, tasks: &[Value]) {
        let begun = self.begun();
        let began_once = |task: &u64| match self.kind {
            Kind::Command => begun.get(task) == Some(&1),
            Kind::Kernel => attempts_of(&tasks[*task as usize]) == 1,
        };
        let struck = self.struck_tasks();
        let as_told = match self.row.recovery {
            // A kernel's task may run twice: a new titan doesn't wait with it until it has heard all agents.
            Recovery::GoesOn if self.kind == Kind::Kernel && self.titans > 1 => {
                struck.iter().any(|task| began_once(task) || self.is_of_earlier_titan(&tasks[*task as usize]))
            }
            Recovery::GoesOn => struck.iter().all(began_once),
            Recovery::NewAttempt => {
                self.fault.tried.iter().any(|task| self.is_of_another_attempt(&tasks[*task as usize]))
            }
        };
        assert!(as_told, "{:?} of {:?}: {begun:?} {tasks:#?}\n{}", self.row.recovery, self.fault.running, self.past);
        // What a killed titan had started isn't counted.
        let uncounted = self.titans - 1;
        for (task, begun) in begun {
            let known = attempts_of(&tasks[task as usize]) + uncounted;
            assert!(begun <= known, "task {task} has begun {begun} times, and titan knows of {known}:\n{}", self.past);
        }
    }

    /// Whether the attempt that counts isn't the first, or not of the first titan.
    fn is_of_another_attempt(&self, task: &Value) -> bool {
        let is_of_first = task["attempt"].as_str().is_some_and(|attempt| attempt.starts_with("1-"));
        attempts_of(task) > 1 || (self.titans > 1 && !is_of_first)
    }

    /// Whether the attempt that counts was begun for a titan before the last.
    fn is_of_earlier_titan(&self, task: &Value) -> bool {
        let epoch = task["attempt"].as_str().and_then(|attempt| attempt.split('-').next()?.parse::<u64>().ok());
        epoch.is_some_and(|epoch| epoch < self.titans)
    }

    /// How often each command has begun on hosts that are up, by what it has noted itself.
    pub fn begun(&self) -> BTreeMap<u64, u64> {
        let mut begun = BTreeMap::new();
        for host in self.hosts_that_are_up() {
            let listed = host.exec(&format!("cd {NOTES} && wc -l [0-9]*"));
            for line in String::from_utf8_lossy(&listed.stdout).lines() {
                if let Some((count, Ok(task))) =
                    line.trim().split_once(' ').map(|(count, name)| (count, name.parse::<u64>()))
                {
                    *begun.entry(task - 1).or_default() += count.parse::<u64>().unwrap_or_default();
                }
            }
        }
        begun
    }

    #[track_caller]
    fn assert_results(&self) {
        let results = self.kind.read_results(&self.out);
        let names = |results: &BTreeMap<String, Vec<u8>>| results.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&results), names(&self.whole), "{}", self.past);
        for (name, bytes) in &results {
            assert!(*bytes == self.whole[name], "{name} isn't what it would be:\n{}", self.past);
        }
    }

    #[track_caller]
    fn assert_nothing_left(&self) {
        (self.row.mend)(self);
        for host in self.hosts_that_are_up() {
            host.exec(&format!("rm -rf {NOTES}"));
        }
        let lease = if self.row.pace == Pace::Hasty { self.row.pace.lease() } else { Duration::ZERO };
        self.scene.assert_clean(lease + CLEAN_SPAN);
    }
}

fn attempts_of(task: &Value) -> u64 {
    task["attempts"].as_u64().unwrap_or_default()
}
