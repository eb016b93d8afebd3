//! What each task of a command's job runs, is given and leaves: worked out from its index when it is needed.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use titan_proto::codec;
use titan_proto::command::{CommandTask, Secret, Word};
use titan_proto::files::BlobId;
use titan_proto::id::JobId;
use titan_proto::message::Part;

use crate::batch_file::template::Template;
use crate::batch_file::{InputSpec, Job, What};
use crate::driver::TaskSource;
use crate::files::{Input, Output, TaskFiles};
use crate::output::{Book, Concluded};
use crate::template::shell;

/// It is there everywhere, and what a task reads anyway.
const NOTHING: &[u8] = b"/dev/null";

/// The tasks of a job.
pub(super) struct CommandTasks {
    job: Arc<Job>,
    /// Each has a folder of its own.
    in_scratch: bool,
    /// What a relative workdir is relative to, where it isn't the host's affair.
    root: Option<PathBuf>,
}

impl CommandTasks {
    pub(super) fn new(job: Arc<Job>, in_scratch: bool, root: Option<PathBuf>) -> Self {
        Self { job, in_scratch, root }
    }

    fn folder(&self, values: &[Vec<u8>], index: u32) -> Option<Vec<u8>> {
        let folder = self.job.workdir.as_ref()?.text(values, index);
        let Some(root) = &self.root else { return Some(folder) };
        Some(root.join(OsStr::from_bytes(&folder)).into_os_string().into_vec())
    }
}

/// The words of a task; None for a kernel's.
fn words(job: &Job, index: u32) -> Option<Vec<Vec<u8>>> {
    let index = job.number(index);
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
        What::Shell(_) => shell::script_for_paste(words.last().map(Vec::as_slice).unwrap_or_default()),
        _ => shell::for_paste(&words),
    })
}

/// The files of a task.
///
/// # Errors
/// A value makes a path that can't be: a sentence.
pub(super) fn files(job: &Job, index: u32, in_scratch: bool) -> Result<TaskFiles, String> {
    let index = job.number(index);
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
    if let Some(stdin) = job.stdin.as_ref().map(|stdin| stdin.text(&values, index))
        && in_scratch
        && stdin != NOTHING
    {
        files.inputs.push(Input::from_anywhere(&stdin)?);
    }
    for output in &job.outputs {
        let text = |is_glob| if is_glob { output.pattern(&values, index) } else { output.text(&values, index) };
        files.outputs.push(Output::new(&text(output.has_glob()), output.has_glob())?);
    }
    Ok(files)
}

/// What a task reads, as it finds it where it runs.
fn stdin(job: &Job, values: &[Vec<u8>], index: u32, in_scratch: bool) -> Option<Vec<u8>> {
    let file = job.stdin.as_ref()?.text(values, index);
    if !in_scratch || file == NOTHING {
        return (file != NOTHING).then_some(file);
    }
    Input::from_anywhere(&file).map(|input| input.own_place().to_vec()).ok()
}

fn input(path: &Template, values: &[Vec<u8>], index: u32) -> Result<Input, String> {
    match path.has_glob() {
        true => Input::new(&path.pattern(values, index), true),
        false => Input::new(&path.text(values, index), false),
    }
}

impl TaskSource for Arc<CommandTasks> {
    fn part(&self, index: u32) -> Part {
        let index = self.job.number(index);
        let values = self.job.values(index);
        let value = |text: &Template| Secret(text.text(&values, index));
        let env = self.job.env.iter().map(|(name, text)| (name.clone().into_bytes(), value(text)));
        Part::Command(Box::new(CommandTask {
            words: words(&self.job, index).unwrap_or_default().iter().map(|word| Word::from(&word[..])).collect(),
            number: u64::from(index) + 1,
            env: env.collect(),
            folder: self.folder(&values, index),
            stdin: stdin(&self.job, &values, index, self.in_scratch),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }))
    }

    fn files(&self, index: u32) -> Result<TaskFiles, String> {
        files(&self.job, index, self.in_scratch)
    }

    fn identity(&self, index: u32) -> Option<BlobId> {
        let Part::Command(task) = self.part(index) else { return None };
        let CommandTask { words, env, folder, stdin, .. } = *task;
        let outputs = self.files(index).map(|files| files.outputs).unwrap_or_default();
        let outputs: Vec<_> =
            outputs.iter().map(|output| (&output.pattern, output.folder.as_os_str().as_bytes())).collect();
        Some(identity_of(&("command", words, env, folder, stdin, &self.job.setup, outputs)))
    }
}

/// A number that stands for all of this.
pub(super) fn identity_of(parts: &impl serde::Serialize) -> BlobId {
    // What is too long to be told to an agent is never run.
    BlobId(Sha256::digest(codec::encode_long(parts).unwrap_or_default()).into())
}

impl Book for CommandTasks {
    fn outputs(&self, index: u32) -> Vec<Output> {
        files(&self.job, index, self.in_scratch).map(|files| files.outputs).unwrap_or_default()
    }

    fn conclude(&self, index: u32) -> Concluded {
        let command = command_line(&self.job, index).unwrap_or_default();
        Concluded { values: self.job.values(index), command }
    }

    fn values(&self, index: u32) -> Vec<Vec<u8>> {
        self.job.values(index)
    }
}
