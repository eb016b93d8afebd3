//! Tasks that do nothing: what is left is what a task costs.

use std::io;

use crate::typed::{given, number, refused};
use crate::{
    Cancel, Compute, ComputeError, Kernel, OptionError, OptionSpec, OutputSpec, Outputs, Plan, Request, Results, Sink,
    SinkReport,
};

/// The option, and how many tasks there are without it.
const TASKS: &str = "tasks";
const DEFAULT_TASKS: u32 = 100_000;

/// The kernel.
#[derive(Debug, Clone, Copy)]
pub struct Noop;

/// So many tasks: as a plan, on a host, and their sink.
#[derive(Debug, Clone, Copy)]
struct Nothing {
    tasks: u32,
}

impl Kernel for Noop {
    fn name(&self) -> &'static str {
        "noop"
    }

    fn about(&self) -> &'static str {
        "tasks that do nothing, to see what a task costs"
    }

    fn examples(&self) -> &'static str {
        "titan run noop\n    a hundred thousand tasks here; the last line tells how many a second\n\
         titan run noop --tasks 1000000 -S alpha,beta\n    a million on two hosts"
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[OptionSpec {
            name: TASKS,
            value: "N",
            default: Some("100000"),
            help: "How many tasks; 1 to 100000000",
            choices: &[],
        }]
    }

    fn outputs(&self) -> &'static [OutputSpec] {
        &[]
    }

    fn plan(&self, request: &Request) -> Result<Box<dyn Plan>, OptionError> {
        let hint = "type a number from 1 to 100000000";
        let tasks = given(request, TASKS, number, hint)?.unwrap_or(DEFAULT_TASKS);
        match (1..=100_000_000).contains(&tasks) {
            true => Ok(Box::new(Nothing { tasks })),
            false => Err(refused(TASKS, format!("there can't be {tasks}"), hint)),
        }
    }

    fn load(&self, params: &[u8]) -> Result<Box<dyn Compute>, ComputeError> {
        match params.try_into() {
            Ok(tasks) => Ok(Box::new(Nothing { tasks: u32::from_le_bytes(tasks) })),
            Err(_) => Err(ComputeError::BadParams { reason: format!("{} bytes", params.len()) }),
        }
    }
}

impl Plan for Nothing {
    fn params(&self) -> Vec<u8> {
        self.tasks.to_le_bytes().to_vec()
    }

    fn tasks(&self) -> u32 {
        self.tasks
    }

    fn describe(&self, task: u32) -> String {
        format!("{task}\tnothing")
    }

    fn result_bytes(&self, _task: u32) -> u64 {
        0
    }

    fn task_memory_bytes(&self) -> u64 {
        0
    }

    fn smaller_tasks_hint(&self) -> &'static str {
        "they can't be smaller"
    }

    fn smaller_batch_hint(&self) -> &'static str {
        "a smaller --tasks"
    }

    fn output_bytes(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    fn sink(&self, _outputs: Box<dyn Outputs>) -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(*self))
    }
}

impl Compute for Nothing {
    fn compute(&self, task: u32, _cancel: &Cancel) -> Result<Vec<u8>, ComputeError> {
        match task < self.tasks {
            true => Ok(Vec::new()),
            false => Err(ComputeError::NoSuchTask { task, tasks: self.tasks }),
        }
    }
}

impl Sink for Nothing {
    fn completed(&mut self, _task: u32, _results: &dyn Results) -> io::Result<()> {
        Ok(())
    }

    fn missing(&mut self, _task: u32, _results: &dyn Results) -> io::Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<SinkReport> {
        Ok(SinkReport::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(tasks: &str) -> Result<Box<dyn Plan>, OptionError> {
        let options = [(TASKS.to_owned(), tasks.to_owned())].into();
        Noop.plan(&Request { options, ..Request::default() })
    }

    #[test]
    fn tasks_do_nothing_and_are_as_many_as_asked_for() {
        let plan = planned("3").unwrap();
        let compute = Noop.load(&plan.params()).unwrap();
        let done: Vec<_> = (0..4).map(|task| compute.compute(task, &Cancel::default())).collect();
        assert_eq!((plan.tasks(), &done[..3]), (3, &[Ok(vec![]), Ok(vec![]), Ok(vec![])][..]));
        assert_eq!(done[3], Err(ComputeError::NoSuchTask { task: 3, tasks: 3 }));
    }

    #[test]
    fn other_numbers_and_parameters_are_refused() {
        for tasks in ["0", "-1", "many", "100000001"] {
            assert_eq!(planned(tasks).err().map(|error| error.option), Some(TASKS.to_owned()), "{tasks}");
        }
        assert!(Noop.load(b"abc").is_err());
    }
}
