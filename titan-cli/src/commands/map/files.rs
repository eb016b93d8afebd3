//! `-i`, `-o`, `--trc`, `--base`: which files a task is given and leaves, and what was forgotten.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::args::FileOptions;
use crate::config::cluster::{Cluster, Reach};
use crate::config::text::printable;
use crate::exit::{self, Failure};
use crate::files::{Input, Output, TaskFiles, as_part, listing};
use crate::template::language::{Language, Pattern};

use super::table::Values;
use super::template::no_such_value;

/// What was declared, for all tasks at once.
#[derive(Debug, Default)]
pub(super) struct Declared {
    inputs: Vec<FilePattern>,
    outputs: Vec<FilePattern>,
    stdin: Stdin,
    pub(super) base: Vec<Input>,
}

/// The stdin of tasks.
#[derive(Debug, Default)]
enum Stdin {
    /// /dev/null.
    #[default]
    Nothing,
    /// A file, perhaps another for each task.
    Pattern(FilePattern),
    /// This file.
    File(Vec<u8>),
}

/// A path with replacement strings.
#[derive(Debug)]
struct FilePattern {
    pattern: Pattern,
    is_glob: bool,
}

impl Declared {
    /// Reads the options.
    pub(super) fn of(
        options: &FileOptions,
        stdin: Option<&OsString>,
        language: &Language<'_>,
    ) -> Result<Self, Failure> {
        let whole = (!options.trc.is_empty()).then(|| OsStr::from_bytes(language.whole).to_owned());
        let parse = |(option, text): (&str, &OsString)| parse(option, text, language);
        let inputs = options.inputs.iter().chain(&whole).map(|text| ("--input", text));
        let outputs = options.outputs.iter().map(|text| ("--output", text));
        let returned = options.trc.iter().map(|text| ("--trc", text));
        let base = options.base.iter().map(|text| self::base(text));
        Ok(Self {
            inputs: inputs.map(parse).collect::<Result<_, _>>()?,
            outputs: outputs.chain(returned).map(parse).collect::<Result<_, _>>()?,
            stdin: match stdin {
                Some(stdin) if stdin != "-" => Stdin::Pattern(self::parse("--stdin", stdin, language)?),
                _ => Stdin::Nothing,
            },
            base: base.collect::<Result<_, _>>()?,
        })
    }

    /// All tasks read that file.
    pub(super) fn set_stdin(&mut self, file: Vec<u8>) {
        self.stdin = Stdin::File(file);
    }

    /// The file here that a task reads.
    fn stdin_file(&self, values: &[Vec<u8>], sequence: u64) -> Option<Vec<u8>> {
        let file = match &self.stdin {
            Stdin::Nothing => return None,
            Stdin::Pattern(pattern) => pattern.pattern.word(values, sequence, |_, values| values.join(&b' ')).text,
            Stdin::File(file) => file.clone(),
        };
        // It is there everywhere, and nothing to send.
        (file != b"/dev/null").then_some(file)
    }

    /// What a task reads, as it finds it where it runs.
    pub(super) fn stdin(&self, values: &[Vec<u8>], sequence: u64, in_scratch: bool) -> Option<Vec<u8>> {
        let file = self.stdin_file(values, sequence)?;
        if !in_scratch {
            return Some(file);
        }
        Input::from_anywhere(&file).map(|input| input.own_place().to_vec()).ok()
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.outputs.is_empty() && self.base.is_empty()
    }

    /// Whether a task leaves files.
    pub(super) fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// The files of a task, but for those that all are given.
    ///
    /// # Errors
    /// A value makes a path that can't be: a sentence.
    pub(super) fn of_task(&self, values: &[Vec<u8>], sequence: u64, in_scratch: bool) -> Result<TaskFiles, String> {
        let stdin = self.stdin_file(values, sequence).filter(|_| in_scratch);
        let inputs = self.inputs.iter().map(|input| Input::new(&input.text(values, sequence), input.is_glob));
        let inputs = inputs.chain(stdin.map(|file| Input::from_anywhere(&file)));
        let outputs = self.outputs.iter().map(|output| Output::new(&output.text(values, sequence), output.is_glob));
        let of_jobs = Vec::new();
        Ok(TaskFiles {
            of_jobs,
            inputs: inputs.collect::<Result<_, _>>()?,
            outputs: outputs.collect::<Result<_, _>>()?,
        })
    }
}

impl FilePattern {
    fn text(&self, values: &[Vec<u8>], sequence: u64) -> Vec<u8> {
        self.pattern.word(values, sequence, |_, values| as_part(&values.join(&b' '), self.is_glob)).text
    }
}

fn parse(option: &str, text: &OsStr, language: &Language<'_>) -> Result<FilePattern, Failure> {
    let pattern = language.parse(text.as_bytes()).map_err(|error| no_such_value(&text.to_string_lossy(), &error))?;
    if pattern.names_slot() {
        let problem = format!("{option} {}: the slot isn't known before the task runs", text.display());
        return Err(Failure::hinted(exit::USAGE, problem, "use {#}, the number of the task"));
    }
    let parsed = FilePattern { is_glob: pattern.has_glob(), pattern };
    // One that is the same for all tasks is wrong for all of them.
    if !parsed.pattern.has_holes() && option != "--stdin" {
        let text = parsed.text(&[], 1);
        Input::new(&text, parsed.is_glob)
            .map_err(|problem| Failure::plain(exit::USAGE, format!("{option}: {problem}")))?;
    }
    Ok(parsed)
}

fn base(text: &OsStr) -> Result<Input, Failure> {
    let is_glob = titan_proto::files::has_glob(text.as_bytes()) && !Path::new(text).exists();
    Input::new(text.as_bytes(), is_glob).map_err(|problem| Failure::plain(exit::USAGE, format!("--base: {problem}")))
}

/// What was forgotten: tasks run elsewhere, or in folders of their own, and the first value or the program is a file here.
///
/// # Errors
/// What it is, and what to do.
pub(super) fn check_staged(
    cluster: &Cluster,
    declared: &Declared,
    command: &[Vec<u8>],
    first: Option<&Values>,
) -> Result<(), Failure> {
    let away: Vec<&str> =
        cluster.hosts.iter().filter(|host| host.reach != Reach::Local).map(|host| host.name.as_str()).collect();
    let files = match first {
        Some(values) if !away.is_empty() => {
            declared.of_task(values, 1, true).map_err(|problem| Failure::plain(exit::USAGE, problem))?
        }
        // What is wrong with it fails its task with a sentence.
        Some(values) => declared.of_task(values, 1, true).unwrap_or_default(),
        None => TaskFiles::default(),
    };
    let inputs: Vec<Input> = files.inputs.into_iter().chain(declared.base.iter().cloned()).collect();
    // What isn't there fails its task with a sentence.
    let staged = listing::list(Path::new(""), &inputs).unwrap_or_default();
    let is_unstaged = |word: &[u8]| {
        let path = Path::new(OsStr::from_bytes(word));
        let place = word.strip_prefix(b"./").unwrap_or(word);
        // Paths are the same whether they say where their place begins, or not.
        let here = std::fs::canonicalize(path).unwrap_or_default();
        path.is_file() && !staged.iter().any(|local| local.place == place || local.path == here)
    };
    let refusal = |word: &[u8], option: &str| {
        let word = printable(&String::from_utf8_lossy(word));
        let problem = match away.is_empty() {
            true => format!("'{word}' is a file here, but tasks run in folders of their own: add {option}"),
            false => format!(
                "'{word}' is a file on this machine, but tasks run on {}: add {option} (or --workdir DIR for a shared \
                 disk, or --no-stage-check)",
                away.join(", ")
            ),
        };
        Err(Failure::plain(exit::USAGE, problem))
    };
    // On this machine a value may be meant as a name alone.
    let value = first.and_then(|values| values.first()).filter(|_| !away.is_empty());
    if let Some(value) = value.filter(|value| is_unstaged(value)) {
        return refusal(value, "-i {}");
    }
    let program = command.first().filter(|word| word.contains(&b'/') && word.first() != Some(&b'/'));
    if let Some(program) = program.filter(|word| is_unstaged(word)) {
        return refusal(program, &format!("--base {}", printable(&String::from_utf8_lossy(program))));
    }
    Ok(())
}
