//! `--each-host`: the command once on every host, its output tagged with the host's name. A job for each host, whose only
//! task may run nowhere else.

use std::io;
use std::sync::Arc;

use titan_manager::journal::Past;
use titan_manager::{Condition, JobSpec};
use titan_proto::command::{CommandJob, CommandTask};
use titan_proto::id::TaskId;
use titan_proto::message::Part;
use tokio::sync::mpsc;

use super::files::Declared;
use super::template::Template;
use crate::args::MapArgs;
use crate::batch::{Context, Work};
use crate::driver::sink::JobSink;
use crate::driver::{BatchJob, TaskSource};
use crate::files::reuse::Reuse;
use crate::files::{Input, Output, TaskFiles};
use crate::output::printer::Outlet;
use crate::output::{Book, Concluded};
use crate::progress::TaskNames;

/// The command on every host.
pub(super) struct OnHosts {
    pub(super) template: Template,
    pub(super) files: Declared,
    pub(super) in_scratch: bool,
    /// The names of the hosts.
    pub(super) hosts: Vec<String>,
}

impl OnHosts {
    fn command_line(&self) -> Vec<u8> {
        let words: Vec<Vec<u8>> = self.template.words(&[], 1).iter().map(|word| word.for_slot(1)).collect();
        self.template.shown(&words)
    }
}

impl TaskNames for OnHosts {
    fn label(&self, task: TaskId) -> String {
        (u64::from(task.job.0) + 1).to_string()
    }

    fn command(&self, _task: TaskId) -> Option<Vec<u8>> {
        Some(self.command_line())
    }
}

/// The only task on one host.
struct OnHost {
    all: Arc<OnHosts>,
    number: usize,
}

impl TaskSource for OnHost {
    fn part(&self, _index: u32) -> Part {
        Part::Command(Box::new(CommandTask {
            words: self.all.template.words(&[], 1),
            number: 1,
            env: Vec::new(),
            folder: None,
            stdin: self.all.files.stdin(&[], 1, self.all.in_scratch),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }))
    }

    fn files(&self, _index: u32) -> Result<TaskFiles, String> {
        self.all.files.of_task(&[], 1, self.all.in_scratch)
    }

    fn base(&self) -> &[Input] {
        &self.all.files.base
    }
}

impl Book for OnHost {
    fn outputs(&self, _index: u32) -> Vec<Output> {
        self.files(0).map(|files| files.outputs).unwrap_or_default()
    }

    fn conclude(&self, index: u32) -> Concluded {
        Concluded { values: self.values(index), command: self.all.command_line() }
    }

    fn values(&self, _index: u32) -> Vec<Vec<u8>> {
        vec![self.all.hosts[self.number].clone().into_bytes()]
    }
}

/// The jobs, one for each host; `spec` is what they have in common.
pub(super) fn work(
    args: &MapArgs,
    context: &Context<'_>,
    past: &Past,
    spec: &JobSpec,
    job: &CommandJob,
    all: &Arc<OnHosts>,
) -> io::Result<Work> {
    // With JSON each object names its host.
    let outlet = super::outlet(args, context, past, !args.common.noise.json)?;
    let mut jobs = Vec::new();
    let mut sinks: Vec<Box<dyn JobSink>> = Vec::new();
    for (number, host) in all.hosts.iter().enumerate() {
        let mut spec = JobSpec { tasks: 1, closed: true, ..spec.clone() };
        spec.work = titan_proto::message::Work::Command(CommandJob { name: host.clone(), ..job.clone() });
        let condition = Condition { label: "name".to_owned(), value: Some(host.clone()), negated: false };
        spec.request.wanted.push(condition);
        let task = || OnHost { all: Arc::clone(all), number };
        sinks.push(Box::new(outlet.printer(number, Arc::new(task()))?));
        jobs.push(BatchJob { spec, source: Box::new(task()) });
    }
    let (_, fed) = mpsc::channel(1);
    let Outlet { root, committed, examples, .. } = outlet;
    Ok(Work {
        jobs,
        sinks,
        fed,
        root,
        committed,
        examples,
        max_result_bytes: u64::MAX,
        reuse: Reuse::default(),
        is_one: false,
    })
}
