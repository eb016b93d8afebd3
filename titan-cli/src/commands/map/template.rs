//! From what was typed to the words of each task: the command or the script with its replacement strings, and the values.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use titan_proto::command::Word;

use super::feed::JOB;
use super::files::Declared;
use super::table::Values;
use crate::args::{MapArgs, ValueOptions};
use crate::batch::start::Start;
use crate::config::cluster::{Cluster, Reach};
use crate::config::text::printable;
use crate::exit::{self, Failure};
use crate::template::language::{Language, NoSuchValue, Pattern};
use crate::template::shell::{self, ShellPlace};
use crate::template::sources::{self, SourceKind, SourceSpec};
use crate::template::values::{Opened, Reading, combine};

/// The values of the tasks that are still to be taken.
pub(super) type Source = Box<dyn Iterator<Item = Result<Values, String>> + Send>;

/// What is to be run, and for which values.
pub(super) struct Asked {
    pub(super) template: Template,
    pub(super) files: Declared,
    /// The values of the first task, if they are known without waiting.
    pub(super) first: Option<Values>,
    pub(super) values: Source,
    /// How many tasks there are, if that is known.
    pub(super) total: Option<u64>,
    /// What the first values named their columns.
    pub(super) names: Vec<Vec<u8>>,
    /// All of stdin, if it had to be read before anything begins.
    pub(super) stdin: Option<Vec<u8>>,
}

/// What each task runs, but for its values.
pub(super) enum Template {
    /// A program and its arguments.
    Command(Vec<Pattern>),
    /// A line of sh, and what surrounds each of its replacement strings.
    Script { script: Pattern, places: Vec<ShellPlace> },
}

impl Asked {
    /// Reads what was typed.
    pub(super) fn of(args: &MapArgs, cluster: &Cluster, seed: u64, start: &Start) -> Result<Self, Failure> {
        let options = &args.values;
        let separator = options.arg_sep.clone().unwrap_or_else(|| ":::".into());
        let words = sources::split(&args.words, &separator);
        check_texts(options)?;
        check_command(&words.command, options, cluster)?;
        let mut specs: Vec<SourceSpec> = options.arg_files.iter().map(file_spec).collect();
        specs.extend(words.sources);
        let on_each_host = args.process.each_host;
        if on_each_host && !specs.is_empty() {
            let problem = "--each-host takes no values: the command runs once on every host";
            return Err(Failure::hinted(exit::USAGE, problem, "leave out the values, or --each-host"));
        }
        if on_each_host {
            specs.push(SourceSpec { kind: SourceKind::Values(Vec::new()), is_linked: false });
        }
        if specs.is_empty() {
            specs.push(file_spec(&OsString::from("-")));
        }
        let count = (specs.len() > 1 || options.colsep.is_none()).then_some(specs.len() * at_once(options));
        let reading = reading(options)?;
        if reading.skips_empty {
            specs.iter_mut().for_each(skip_empty);
        }
        check_sources(&specs, args)?;
        // Whoever goes on with the batch has no such stdin.
        let stdin = match start.recorded() {
            Some(recorded) => recorded.stdin.clone(),
            None if specs.iter().any(is_stdin) && (specs.len() > 1 || options.shuf) => Some(read_stdin()?),
            None => None,
        };
        let sources =
            Sources { stdin: stdin.as_deref(), is_resumed: start.recorded().is_some(), is_closed: is_closed(start) };
        let opened = sources.open_all(specs, args)?;
        let mut tasks = combine(opened, &reading).map_err(|reason| Failure::plain(exit::USAGE, reason))?;
        if let Some(recorded) = start.recorded() {
            tasks.names.clone_from(&recorded.names);
        }
        let language = Language {
            whole: options.replace.as_deref().map_or(b"{}", OsStrExt::as_bytes),
            names: &tasks.names,
            values: count,
        };
        let template = match &options.script {
            Some(script) => Template::script(script.as_bytes(), &language, options)?,
            None => Template::command(&words.command, &language, options)?,
        };
        let (values, total) = match options.shuf {
            true => shuffled(tasks.values, seed)?,
            false => (tasks.values, tasks.total),
        };
        let files = Declared::of(&args.files, args.process.stdin.as_ref(), &language)?;
        // What has to be waited for isn't looked at before it is needed.
        let mut values = values.peekable();
        let first = total.and_then(|_| values.peek().and_then(|first| first.clone().ok()));
        Ok(Self { template, files, first, values: Box::new(values), total, names: tasks.names, stdin })
    }
}

fn skip_empty(source: &mut SourceSpec) {
    if let SourceKind::Values(values) = &mut source.kind {
        values.retain(|value| !value.is_empty());
    }
}

fn at_once(options: &ValueOptions) -> usize {
    options.max_args.map_or(1, |count| count.max(1) as usize)
}

fn file_spec(name: &OsString) -> SourceSpec {
    SourceSpec { kind: SourceKind::File(name.clone()), is_linked: false }
}

fn reading(options: &ValueOptions) -> Result<Reading, Failure> {
    let end = match options.delimiter.as_deref() {
        _ if options.nul => 0,
        None | Some("\\n") => b'\n',
        Some("\\t") => b'\t',
        Some("\\0") => 0,
        Some(text) if text.len() == 1 => text.as_bytes()[0],
        Some(text) => {
            let problem = format!("--delimiter '{}' is no single character", printable(text));
            return Err(Failure::hinted(exit::USAGE, problem, "write one character, or \\n, \\t or \\0"));
        }
    };
    Ok(Reading {
        end,
        skips_empty: options.no_run_if_empty,
        column_end: options.colsep.as_ref().map(|end| column_end(end)),
        has_header: options.header.is_some(),
        at_once: at_once(options),
        links_all: options.link,
    })
}

fn column_end(text: &OsStr) -> Vec<u8> {
    if text == "\\t" { b"\t".to_vec() } else { text.as_bytes().to_vec() }
}

fn is_stdin(spec: &SourceSpec) -> bool {
    spec.kind == SourceKind::File("-".into())
}

/// stdin is one source at most, and then nothing else.
fn check_sources(specs: &[SourceSpec], args: &MapArgs) -> Result<(), Failure> {
    if specs.iter().filter(|spec| is_stdin(spec)).count() > 1 {
        return Err(Failure::plain(exit::USAGE, "stdin can be one source only"));
    }
    if specs.iter().any(is_stdin) && args.process.stdin.as_deref() == Some(OsStr::new("-")) {
        let hint = "give the values after :::, or in a file after ::::";
        return Err(Failure::hinted(exit::USAGE, "stdin can't be both the values and the tasks' stdin", hint));
    }
    Ok(())
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    tell_terminal();
    let mut text = Vec::new();
    io::stdin().lock().read_to_end(&mut text).map_err(|error| cannot_read(OsStr::new("stdin"), &error))?;
    Ok(text)
}

fn tell_terminal() {
    if io::stdin().is_terminal() {
        crate::tell::to_stderr("titan: reading values from the terminal, one a line, Ctrl-D ends");
    }
}

fn cannot_read(name: &OsStr, error: &io::Error) -> Failure {
    let problem = format!("cannot read values from {}: {error}", name.display());
    match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::hinted(exit::USAGE, problem, "after :::: stand files that hold values; after ::: the values")
        }
        _ => Failure::plain(exit::USAGE, problem),
    }
}

/// Whether all values were taken by an earlier titan.
fn is_closed(start: &Start) -> bool {
    start.past().is_some_and(|past| past.is_closed(JOB))
}

/// Opens sources of values.
struct Sources<'s> {
    /// All of stdin, if that was read before.
    stdin: Option<&'s [u8]>,
    is_resumed: bool,
    /// All values were taken before: a single source isn't needed any more.
    is_closed: bool,
}

impl Sources<'_> {
    fn open_all(&self, specs: Vec<SourceSpec>, args: &MapArgs) -> Result<Vec<(Opened, bool)>, Failure> {
        let is_single = specs.len() == 1 && !args.values.shuf;
        specs.into_iter().map(|spec| Ok((self.open(spec.kind, is_single)?, spec.is_linked))).collect()
    }

    fn open(&self, kind: SourceKind, is_single: bool) -> Result<Opened, Failure> {
        let name = match kind {
            SourceKind::Values(values) => return Ok(Opened::Known(values)),
            SourceKind::File(name) => name,
        };
        // A pipe is gone; what was taken of it is known.
        let is_gone = self.is_resumed && is_single && (self.is_closed || name == "-" || is_pipe(&name));
        let reader: Box<dyn BufRead + Send> = match self.stdin {
            _ if is_gone => Box::new(io::empty()),
            Some(text) if name == "-" => Box::new(io::Cursor::new(text.to_vec())),
            _ if name == "-" => {
                tell_terminal();
                Box::new(BufReader::new(io::stdin()))
            }
            _ => open_file(&name)?,
        };
        if is_gone && !self.is_closed {
            let name = if name == "-" { "stdin".to_owned() } else { printable(&name.to_string_lossy()) };
            crate::tell::to_stderr(&format!("titan: {name} is gone: going on with the values that were read of it"));
        }
        let name = if name == "-" { "stdin".to_owned() } else { name.display().to_string() };
        Ok(Opened::Lines { name, reader })
    }
}

fn is_pipe(name: &OsStr) -> bool {
    std::fs::metadata(name).is_ok_and(|data| !data.is_file() && !data.is_dir())
        || name.as_bytes().starts_with(b"/dev/fd/")
}

fn open_file(name: &OsStr) -> Result<Box<dyn BufRead + Send>, Failure> {
    let file = File::open(name).map_err(|error| cannot_read(name, &error))?;
    if file.metadata().is_ok_and(|data| data.is_dir()) {
        return Err(cannot_read(name, &io::Error::from(io::ErrorKind::IsADirectory)));
    }
    Ok(Box::new(BufReader::new(file)))
}

/// What a random order follows from.
pub(super) fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

fn shuffled(values: Source, seed: u64) -> Result<(Source, Option<u64>), Failure> {
    let all: Result<Vec<Values>, String> = values.collect();
    let mut all = all.map_err(|reason| Failure::plain(exit::USAGE, reason))?;
    let mut state = seed;
    for last in (1..all.len()).rev() {
        let other = next_random(&mut state) % (last as u64 + 1);
        all.swap(last, other as usize);
    }
    let total = all.len() as u64;
    Ok((Box::new(all.into_iter().map(Ok)), Some(total)))
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same order from the same seed, in every build.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A text that stands for something can't be empty.
fn check_texts(options: &ValueOptions) -> Result<(), Failure> {
    let texts = [
        ("-I", &options.replace),
        ("--arg-sep", &options.arg_sep),
        ("--colsep", &options.colsep),
        ("-s", &options.script),
    ];
    match texts.into_iter().find(|(_, text)| text.as_ref().is_some_and(|text| text.is_empty())) {
        Some((option, _)) => {
            let hint = "write what it stands for, or leave it out";
            Err(Failure::hinted(exit::USAGE, format!("{option} '' is empty"), hint))
        }
        None => Ok(()),
    }
}

/// Whether there is something to run, and that it isn't a line of sh.
fn check_command(command: &[OsString], options: &ValueOptions, cluster: &Cluster) -> Result<(), Failure> {
    match (command, &options.script) {
        ([], Some(_)) => Ok(()),
        ([first, ..], Some(_)) => {
            let problem = format!("with -s there is no command, and '{}' stands where one would", first.display());
            Err(Failure::hinted(exit::USAGE, problem, "put it into the script, or after :::"))
        }
        ([], None) => {
            let hint = "titan map COMMAND ::: VALUE…, or for lines of sh as values: titan map sh -c {} ::: 'LINE'…";
            Err(Failure::hinted(exit::USAGE, "there is no command", hint))
        }
        ([first, ..], None) if first.is_empty() => {
            Err(Failure::hinted(exit::USAGE, "the command is empty", "titan map COMMAND ::: VALUE…"))
        }
        ([only], None) => check_only_word(only, cluster),
        _ => Ok(()),
    }
}

fn check_only_word(word: &OsStr, cluster: &Cluster) -> Result<(), Failure> {
    let looks_like_shell = word.as_bytes().iter().any(|byte| b" \t\n|&;<>$".contains(byte));
    let is_here = cluster.hosts.iter().all(|host| host.reach == Reach::Local);
    if !looks_like_shell || (is_here && is_program(word)) {
        return Ok(());
    }
    let word = printable(&word.to_string_lossy());
    Err(Failure::hinted(exit::USAGE, format!("'{word}' is a shell line: use -s"), format!("titan map -s '{word}' …")))
}

fn is_program(word: &OsStr) -> bool {
    std::fs::metadata(word).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

impl Template {
    fn command(words: &[OsString], language: &Language<'_>, options: &ValueOptions) -> Result<Self, Failure> {
        let parse = |word: &OsString| {
            language.parse(word.as_bytes()).map_err(|error| no_such_value(&word.to_string_lossy(), &error))
        };
        let mut patterns = words.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        if !patterns.iter().any(Pattern::has_holes) && options.max_args != Some(0) {
            patterns.push(language.parse(language.whole).expect("all values are always there"));
        }
        Ok(Self::Command(patterns))
    }

    fn script(script: &[u8], language: &Language<'_>, options: &ValueOptions) -> Result<Self, Failure> {
        let parse = |script: &[u8]| {
            language.parse(script).map_err(|error| no_such_value(&String::from_utf8_lossy(script), &error))
        };
        let appended = [script.trim_ascii_end(), b" ", language.whole].concat();
        let mut pattern = parse(script)?;
        let appends = !pattern.has_holes() && options.max_args != Some(0);
        if appends {
            pattern = parse(&appended)?;
        }
        let script = if appends { &appended[..] } else { script };
        let places = shell::places(script, pattern.places()).map_err(|refusal| {
            let text = String::from_utf8_lossy(script);
            with_caret(&text, refusal.at, &format!("a value can't be put here: {}", refusal.reason))
        })?;
        Ok(Self::Script { script: pattern, places })
    }

    /// The words of a task.
    pub(super) fn words(&self, values: &[Vec<u8>], sequence: u64) -> Vec<Word> {
        match self {
            Self::Command(patterns) => patterns.iter().flat_map(|pattern| pattern.words(values, sequence)).collect(),
            Self::Script { script, places } => {
                let line = script.word(values, sequence, |hole, values| shell::quote(values, places[hole]));
                vec![Word::from(&b"/bin/sh"[..]), Word::from(&b"-c"[..]), line]
            }
        }
    }

    /// The program and its words, of a command.
    pub(super) fn command_words(&self, values: &[Vec<u8>]) -> Vec<Vec<u8>> {
        match self {
            Self::Command(_) => self.words(values, 1).iter().map(|word| word.for_slot(1)).collect(),
            Self::Script { .. } => Vec::new(),
        }
    }

    /// The words as people know them; can be pasted into sh.
    pub(super) fn shown(&self, words: &[Vec<u8>]) -> Vec<u8> {
        match self {
            Self::Command(_) => shell::for_paste(words),
            Self::Script { .. } => shell::script_for_paste(words.last().map(Vec::as_slice).unwrap_or_default()),
        }
    }
}

pub(super) fn no_such_value(word: &str, error: &NoSuchValue) -> Failure {
    let NoSuchValue { hole, at, values } = error;
    let plural = if *values == 1 { "value" } else { "values" };
    with_caret(word, *at, &format!("{hole} names a value that isn't there: a task has {values} {plural}"))
}

/// A refusal that shows the line, with a caret under the place.
fn with_caret(text: &str, at: usize, problem: &str) -> Failure {
    let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let begin = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[begin..].lines().next().unwrap_or_default();
    let column = crate::config::text::columns(&printable(&text[begin..at]));
    Failure::complete(exit::USAGE, format!("error: {problem}\n  {}\n  {}^", printable(line), " ".repeat(column)))
}
