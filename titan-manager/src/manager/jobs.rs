//! Jobs that come, grow and are closed, and that wait for each other. A job that waits for others as a whole has a gate; a
//! task that waits for another job's task of the same index is looked up when that one ends. No list is kept for a task.

use std::ops::Range;

use titan_proto::id::{JobId, TaskId};
use titan_proto::time::Timestamp;

use super::Manager;
use crate::effect::{Effect, Record};
use crate::event::JobSpec;
use crate::task::{Gate, Job, TaskState};

/// Whether the tasks of the same index let a task go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wait {
    /// They have ended as they should.
    Over,
    /// Not yet.
    Longer,
    /// Never, and why.
    Never(String),
}

impl Manager {
    pub(super) fn on_submit(&mut self, now: Timestamp, spec: JobSpec, effects: &mut Vec<Effect>) {
        let job = JobId(self.jobs.len() as u32);
        let (tasks, closed) = (spec.tasks, spec.closed);
        self.queue.add_job(spec.priority);
        self.jobs.push(Job::new(JobSpec { closed: false, tasks: 0, ..spec }));
        self.link(job);
        self.add_tasks(now, job, tasks, effects);
        if closed {
            self.on_close(job, effects);
        }
    }

    pub(super) fn on_grow(&mut self, now: Timestamp, job: JobId, tasks: u32, effects: &mut Vec<Effect>) {
        assert!(!self.job(job).spec.closed, "a closed job grows");
        self.add_tasks(now, job, tasks, effects);
    }

    pub(super) fn on_close(&mut self, job: JobId, effects: &mut Vec<Effect>) {
        self.jobs[job.0 as usize].spec.closed = true;
        effects.push(Effect::Record(Record::Closed { job }));
        let tasks = self.job(job).tasks.len() as u32;
        for dependent in self.job(job).dependents.clone() {
            self.look_at_gate(dependent, effects);
            let groups = tasks.div_ceil(self.job(job).spec.group);
            let beyond = self.job(dependent).group(groups).start..self.job(dependent).tasks.len() as u32;
            if self.job(dependent).each().any(|dependency| dependency.job == job) {
                beyond.for_each(|index| self.look_at_task(TaskId { job: dependent, index }, effects));
            }
        }
    }

    /// Makes a job known to those that it waits for.
    fn link(&mut self, job: JobId) {
        for dependency in self.job(job).spec.after.clone() {
            assert!(dependency.job < job, "a job waits for one that was submitted before");
            let dependents = &mut self.jobs[dependency.job.0 as usize].dependents;
            if dependents.last() != Some(&job) {
                dependents.push(job);
            }
        }
        self.jobs[job.0 as usize].gate = self.find_gate(job);
    }

    fn add_tasks(&mut self, now: Timestamp, job: JobId, tasks: u32, effects: &mut Vec<Effect>) {
        let grown = &mut self.jobs[job.0 as usize];
        let before = grown.tasks.len() as u32;
        let all = before + tasks;
        grown.tasks.grow(tasks);
        grown.spec.tasks = all;
        effects.push(Effect::Record(Record::Grown { job, tasks: all }));
        let have_past = self.recall(now, job, before..all, effects);
        if self.is_stopping() {
            let added = (before..all).map(|index| TaskId { job, index });
            let pending: Vec<_> = added.filter(|task| self.task(*task).state == TaskState::Pending).collect();
            pending.into_iter().for_each(|task| self.cancel_task(task, None, effects));
            self.just_ended.clear();
        } else {
            self.admit(job, before..all, have_past, effects);
        }
    }

    /// Lets tasks of a job go as far as its gate allows. `have_past`: some may be over.
    fn admit(&mut self, job: JobId, tasks: Range<u32>, have_past: bool, effects: &mut Vec<Effect>) {
        match self.job(job).gate {
            Gate::Waiting => {}
            Gate::Open if have_past || self.job(job).each().next().is_some() => {
                tasks.for_each(|index| self.look_at_task(TaskId { job, index }, effects));
            }
            Gate::Open => {
                self.queue.grow(job, tasks);
                self.recheck = true;
            }
            Gate::Shut(by) => {
                let reason = self.bad_end(by);
                for task in tasks.map(|index| TaskId { job, index }) {
                    if self.task(task).state == TaskState::Pending {
                        self.cancel_task(task, Some(reason.clone()), effects);
                    }
                }
            }
        }
    }

    fn find_gate(&self, job: JobId) -> Gate {
        let mut gate = Gate::Open;
        for dependency in self.job(job).whole() {
            let other = self.job(dependency.job);
            match other.spoiled {
                Some(index) if !dependency.any_end => return Gate::Shut(TaskId { job: dependency.job, index }),
                _ if !other.is_over() => gate = Gate::Waiting,
                _ => {}
            }
        }
        gate
    }

    /// A job that this one waits for has changed.
    fn look_at_gate(&mut self, job: JobId, effects: &mut Vec<Effect>) {
        if self.job(job).gate != Gate::Waiting || self.is_stopping() {
            return;
        }
        let gate = self.find_gate(job);
        if gate != Gate::Waiting {
            self.jobs[job.0 as usize].gate = gate;
            self.admit(job, 0..self.job(job).tasks.len() as u32, self.is_resumed, effects);
        }
    }

    /// A task that this one waits for has changed.
    pub(super) fn look_at_task(&mut self, task: TaskId, effects: &mut Vec<Effect>) {
        let is_open = self.job(task.job).gate == Gate::Open && !self.is_stopping();
        if !is_open || self.task(task).state != TaskState::Pending || self.queue.contains(task) || self.is_held(task) {
            return;
        }
        match self.find_wait(task) {
            Wait::Longer => {}
            Wait::Never(reason) => self.cancel_task(task, Some(reason), effects),
            Wait::Over => {
                self.queue.add(task);
                self.recheck = true;
            }
        }
    }

    /// Whether all that a task waits for lets it go.
    pub(super) fn may_begin(&self, task: TaskId) -> bool {
        self.job(task.job).gate == Gate::Open && self.find_wait(task) == Wait::Over
    }

    /// Whether the tasks of the same index that this one waits for let it go.
    pub(super) fn find_wait(&self, task: TaskId) -> Wait {
        let mut wait = Wait::Over;
        let group = task.index / self.job(task.job).spec.group;
        for dependency in self.job(task.job).each() {
            let other = self.job(dependency.job);
            for index in other.group(group) {
                let by = TaskId { job: dependency.job, index };
                match other.tasks.get(index) {
                    None if other.spec.closed => {
                        let number = u64::from(index / other.spec.group) + 1;
                        return Wait::Never(format!("{} has no task {number}", other.spec.name));
                    }
                    None => wait = Wait::Longer,
                    Some(task) if !task.state.is_final() => wait = Wait::Longer,
                    Some(task) if task.state == TaskState::Completed || dependency.any_end => {}
                    Some(_) => return Wait::Never(self.bad_end(by)),
                }
            }
        }
        wait
    }

    fn bad_end(&self, by: TaskId) -> String {
        let word = if self.task(by).state == TaskState::Failed { "FAILED" } else { "CANCELLED" };
        let JobSpec { name, group, .. } = &self.job(by.job).spec;
        format!("task {} of {name} {word}", u64::from(by.index / group) + 1)
    }

    /// Lets those go that waited for what has just ended. What that cancels has ended too.
    pub(super) fn follow_dependencies(&mut self, effects: &mut Vec<Effect>) {
        while let Some(ended) = self.just_ended.pop() {
            for place in 0..self.job(ended.job).dependents.len() {
                let job = self.job(ended.job);
                let (dependent, may_open) = (job.dependents[place], job.is_over() || job.spoiled.is_some());
                let waits_for_each = self.job(dependent).each().any(|dependency| dependency.job == ended.job);
                if waits_for_each {
                    let group = ended.index / self.job(ended.job).spec.group;
                    let there = self.job(dependent).tasks.len() as u32;
                    for index in self.job(dependent).group(group).filter(|index| *index < there) {
                        self.look_at_task(TaskId { job: dependent, index }, effects);
                    }
                }
                if may_open {
                    self.look_at_gate(dependent, effects);
                }
            }
        }
    }
}
