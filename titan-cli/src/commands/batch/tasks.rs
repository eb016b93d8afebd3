//! What each task of a command's job runs, is given and leaves: worked out from its index when it is needed.

use std::sync::Arc;

use titan_proto::command::{CommandTask, Word};
use titan_proto::id::JobId;
use titan_proto::message::Part;

use crate::batch_file::template::Template;
use crate::batch_file::{InputSpec, Job, What};
use crate::driver::TaskSource;
use crate::files::{Input, Output, TaskFiles};
use crate::output::{Book, Concluded};
use crate::template::shell;

/// The tasks of a job.
pub(super) struct CommandTasks {
    job: Arc<Job>,
    /// Each has a folder of its own.
    in_scratch: bool,
}

impl CommandTasks {
    pub(super) fn new(job: Arc<Job>, in_scratch: bool) -> Self {
        Self { job, in_scratch }
    }
}

/// The words of a task; None for a kernel's.
fn words(job: &Job, index: u32) -> Option<Vec<Vec<u8>>> {
    let values = job.values(index);
    match &job.what {
        What::Command(words) => Some(words.iter().map(|word| word.text(&values, index)).collect()),
        What::Shell(line) => Some(vec![b"/bin/sh".to_vec(), b"-c".to_vec(), line.line(&values, index)]),
        What::Kernel { .. } => None,
    }
}

/// What a task runs, as it can be pasted into sh; None for a kernel's.
pub(super) fn command_line(job: &Job, index: u32) -> Option<Vec<u8>> {
    let words = words(job, index)?;
    Some(match &job.what {
        What::Shell(_) => words.into_iter().next_back().unwrap_or_default(),
        _ => shell::for_paste(&words),
    })
}

/// The files of a task.
///
/// # Errors
/// A value makes a path that can't be: a sentence.
pub(super) fn files(job: &Job, index: u32, in_scratch: bool) -> Result<TaskFiles, String> {
    let values = job.values(index);
    let mut files = TaskFiles::default();
    for input in &job.inputs {
        match input {
            InputSpec::OfJob(other) => files.of_jobs.push(JobId(*other as u32)),
            InputSpec::Path(path) => files.inputs.push(self::input(path, &values, index)?),
            InputSpec::Mapped { from, to } => {
                let to = Input::new(&to.text(&values, index), false)?.text;
                let from = Input::from_anywhere(&from.text(&values, index))?;
                files.inputs.push(Input { place: Some(to), ..from });
            }
        }
    }
    if in_scratch && let Some(stdin) = &job.stdin {
        files.inputs.push(Input::new(&stdin.text(&values, index), false)?);
    }
    for output in &job.outputs {
        let text = |is_glob| if is_glob { output.pattern(&values, index) } else { output.text(&values, index) };
        files.outputs.push(Output::new(&text(output.has_glob()), output.has_glob())?);
    }
    Ok(files)
}

fn input(path: &Template, values: &[Vec<u8>], index: u32) -> Result<Input, String> {
    match path.has_glob() {
        true => Input::new(&path.pattern(values, index), true),
        false => Input::new(&path.text(values, index), false),
    }
}

impl TaskSource for Arc<CommandTasks> {
    fn part(&self, index: u32) -> Part {
        let values = self.job.values(index);
        let env = self.job.env.iter().map(|(name, value)| (name.clone().into_bytes(), value.text(&values, index)));
        Part::Command(Box::new(CommandTask {
            words: words(&self.job, index).unwrap_or_default().iter().map(|word| Word::from(&word[..])).collect(),
            env: env.collect(),
            stdin: self.job.stdin.as_ref().map(|stdin| stdin.text(&values, index)),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }))
    }

    fn files(&self, index: u32) -> Result<TaskFiles, String> {
        files(&self.job, index, self.in_scratch)
    }
}

impl Book for CommandTasks {
    fn conclude(&self, index: u32) -> Concluded {
        let outputs = files(&self.job, index, self.in_scratch).map(|files| files.outputs).unwrap_or_default();
        let command = command_line(&self.job, index).unwrap_or_default();
        Concluded { values: self.job.values(index), command, outputs }
    }

    fn values(&self, index: u32) -> Vec<Vec<u8>> {
        self.job.values(index)
    }
}
