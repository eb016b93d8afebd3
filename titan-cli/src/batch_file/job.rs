//! One `[[job]]` of a batch file: its keys, and those that `[defaults]` has in common with it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use titan_manager::{Condition, Rerun};
use toml::Spanned;
use toml::de::DeValue;

use super::axis::{self, Axis, Sets};
use super::template::{ShellTemplate, Template};
use super::{After, InputSpec, Job, Places, What};
use crate::config::rules::parse_where;
use crate::config::suggest::nearest;
use crate::config::text::shorten;
use crate::config::toml_file::{Problem, Problems, Rules, Section, no_nul, quoted};

/// The keys of a job.
const JOB: Rules = Rules {
    name: "[[job]]",
    keys: &[
        "name",
        "command",
        "shell",
        "kernel",
        "params",
        "array",
        "link",
        "inputs",
        "outputs",
        "stdin",
        "env",
        "workdir",
        "setup",
        "cpus",
        "memory",
        "resources",
        "where",
        "timeout",
        "retries",
        "priority",
        "rerun",
        "after",
    ],
    instead_of: &[
        ("script", "shell"),
        ("run", "shell"),
        ("cmd", "command"),
        ("depends", "after"),
        ("depends_on", "after"),
        ("needs", "after"),
        ("matrix", "array"),
        ("axes", "array"),
        ("input", "inputs"),
        ("output", "outputs"),
        ("cores", "cpus"),
        ("resource", "resources"),
        ("dir", "workdir"),
        ("options", "params"),
    ],
};

/// The keys of `[defaults]`.
const DEFAULTS: Rules = Rules {
    name: "[defaults]",
    keys: &["env", "cpus", "memory", "resources", "where", "timeout", "retries", "priority", "workdir", "setup"],
    instead_of: &[("cores", "cpus"), ("resource", "resources"), ("dir", "workdir")],
};

const INPUT: Rules = Rules { name: "an input", keys: &["from", "to", "job"], instead_of: &[("path", "from")] };
const AFTER: Rules =
    Rules { name: "an entry of after", keys: &["job", "each", "when"], instead_of: &[("name", "job"), ("on", "when")] };

/// Words of `when`, and whether any end will do.
const WHEN: [(&str, bool); 2] = [("completed", false), ("ended", true)];

/// What `[defaults]` and a job have in common.
#[derive(Debug, Default, Clone)]
pub(super) struct Shared {
    env: BTreeMap<String, String>,
    cpus: Option<u32>,
    memory: Option<u64>,
    resources: Option<BTreeMap<String, u32>>,
    wanted: Option<Vec<Condition>>,
    timeout: Option<Duration>,
    retries: Option<u32>,
    priority: Option<i32>,
    workdir: Option<String>,
    setup: Option<String>,
}

impl Shared {
    pub(super) fn of_defaults<'t>(value: &'t Spanned<DeValue<'t>>, problems: &mut Problems) -> Option<Self> {
        Section::open_value(&DEFAULTS, value, problems).map(|mut section| Self::of(&mut section))
    }

    fn of(section: &mut Section<'_, '_>) -> Self {
        Self {
            env: section.variables("env").unwrap_or_default(),
            cpus: section.integer("cpus", 1..=4_096),
            memory: section.size("memory"),
            resources: section.counts("resources", 1..=1_000_000),
            wanted: section.parsed("where", |text| parse_where(text).map(|wanted| wanted.0)),
            timeout: section.duration("timeout"),
            retries: section.integer("retries", 0..=1_000_000),
            priority: priority(section),
            workdir: section.string("workdir"),
            setup: section.parsed("setup", |text| no_nul(text).map(|()| text.to_owned())),
        }
    }

    /// What is said here, and what is said there where nothing is said here.
    fn or(self, other: &Self) -> Self {
        let mut env = other.env.clone();
        env.extend(self.env);
        Self {
            env,
            cpus: self.cpus.or(other.cpus),
            memory: self.memory.or(other.memory),
            resources: self.resources.or_else(|| other.resources.clone()),
            wanted: self.wanted.or_else(|| other.wanted.clone()),
            timeout: self.timeout.or(other.timeout),
            retries: self.retries.or(other.retries),
            priority: self.priority.or(other.priority),
            workdir: self.workdir.or_else(|| other.workdir.clone()),
            setup: self.setup.or_else(|| other.setup.clone()),
        }
    }
}

fn priority(section: &mut Section<'_, '_>) -> Option<i32> {
    let value = section.value("priority")?.get_ref();
    let number = matches!(value, DeValue::Integer(_)).then(|| axis::scalar(value)).flatten();
    let number = number.and_then(|text| text.parse::<i32>().ok());
    if number.is_none() {
        section.refuse("priority", "priority must be a whole number", "higher goes first; 0 is the default");
    }
    number
}

/// The names of all jobs; what is wrong with them is noted.
pub(super) fn names(jobs: &[&Spanned<DeValue<'_>>], problems: &mut Problems) -> Vec<String> {
    let mut names: Vec<(String, Range<usize>)> = Vec::new();
    for job in jobs {
        let name = job.get_ref().as_table().and_then(|table| table.get("name"));
        let Some((name, span)) = name.and_then(|name| Some((name.get_ref().as_str()?.to_owned(), name.span()))) else {
            names.push((String::new(), job.span()));
            continue;
        };
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !is_name {
            let message = format!("'{}' can't name a job", shorten(&name));
            problems.add(span.clone(), message, "write letters, digits, '_' and '-', beginning with a letter");
        }
        if let Some((_, first)) = names.iter().find(|(other, _)| *other == name) {
            let message = format!("there are two jobs '{}'", shorten(&name));
            let related = Some((first.clone(), "the first"));
            problems.add_related(Problem { span: span.clone(), message, label: String::new(), related });
        }
        names.push((name, span));
    }
    names.into_iter().map(|(name, _)| name).collect()
}

/// A job that is being read.
struct Reader<'t, 'p, 'n> {
    section: Section<'t, 'p>,
    names: &'n [String],
    axes: Vec<Axis>,
}

/// Reads a job. What is wrong with it is noted, and makes it unsound: what could be read of it is there.
pub(super) fn read<'t>(
    value: &'t Spanned<DeValue<'t>>,
    names: &[String],
    defaults: &Shared,
    base: &Path,
    sets: &mut Sets,
    problems: &mut Problems,
) -> Option<Job> {
    let before = problems.len();
    let mut section = Section::open_value(&JOB, value, problems)?;
    if !section.has("name") {
        let span = section.span();
        section.problems().add(span, "a job needs a name", "write name = \"…\"");
    }
    let name = section.string("name").unwrap_or_default();
    let before_axes = section.problems().len();
    let axes = axes(&mut section, base, sets);
    let has_axes = section.problems().len() == before_axes;
    let link = section.boolean("link").unwrap_or(false);
    let shared = Shared::of(&mut section).or(defaults);
    let rerun = section.parsed("rerun", |text| match text {
        "anytime" => Ok(Rerun::Anytime),
        "lost" => Ok(Rerun::Lost),
        _ => Err("is none of them: write \"anytime\" or \"lost\"".to_owned()),
    });
    let mut reader = Reader { section, names, axes };
    if link && has_axes {
        reader.check_lengths();
    }
    let places = reader.places();
    let what = reader.what();
    let (after, inputs, outputs) = (reader.after(), reader.inputs(), reader.outputs());
    let stdin = reader.template("stdin");
    let env = shared.env.iter().filter_map(|(name, text)| {
        let template = reader.parse(text, reader.section.key_span("env"))?;
        Some((name.clone(), template))
    });
    let env = env.collect();
    let workdir = shared.workdir.as_ref().and_then(|text| reader.parse(text, reader.section.key_span("workdir")));
    let axes = reader.axes;
    Some(Job {
        name,
        what: what.unwrap_or(What::Command(Vec::new())),
        axes,
        link,
        inputs,
        outputs,
        stdin,
        env,
        workdir,
        setup: shared.setup,
        cpus: shared.cpus,
        memory: shared.memory,
        resources: shared.resources.unwrap_or_default(),
        wanted: shared.wanted.unwrap_or_default(),
        timeout: shared.timeout,
        retries: shared.retries,
        priority: shared.priority.unwrap_or(0),
        rerun,
        after,
        places,
        is_sound: problems.len() == before,
        only: None,
    })
}

fn axes(section: &mut Section<'_, '_>, base: &Path, sets: &mut Sets) -> Vec<Axis> {
    let Some(value) = section.value("array") else { return Vec::new() };
    match value.get_ref().as_table() {
        Some(table) => axis::read_axes(table, base, sets, section.problems()),
        None => {
            section.refuse("array", "array must be a table", "write array = { n = { range = [1, 9] } }");
            Vec::new()
        }
    }
}

impl Reader<'_, '_, '_> {
    fn places(&self) -> Places {
        let items = |key: &str| {
            let array = self.section.value(key).and_then(|value| value.get_ref().as_array());
            array.map(|items| items.iter().map(Spanned::span).collect()).unwrap_or_default()
        };
        Places {
            name: self.section.value_span("name"),
            what: ["command", "shell", "kernel"]
                .into_iter()
                .find(|key| self.section.has(key))
                .map_or_else(|| self.section.span(), |key| self.section.value_span(key)),
            inputs: items("inputs"),
            outputs: items("outputs"),
            resources: self.section.value_span("resources"),
            wanted: self.section.value_span("where"),
            cpus: self.section.value_span("cpus"),
            memory: self.section.value_span("memory"),
            params: if self.section.has("params") { self.section.value_span("params") } else { self.section.span() },
            stdin: self.section.value_span("stdin"),
            workdir: if self.section.has("workdir") { self.section.value_span("workdir") } else { self.section.span() },
        }
    }

    fn check_lengths(&mut self) {
        let counts: Vec<String> =
            self.axes.iter().map(|axis| format!("{} has {}", axis.name, axis.set.count())).collect();
        if self.axes.windows(2).any(|pair| pair[0].set.count() != pair[1].set.count()) {
            let message = format!("linked axes must be of one length: {}", counts.join(", "));
            self.section.refuse("array", message, "leave out link for a product");
        }
    }

    /// A text with axes; what is wrong with it is noted at that place.
    fn parse(&mut self, text: &str, place: Range<usize>) -> Option<Template> {
        let axes: Vec<&str> = self.axes.iter().map(|axis| axis.name.as_str()).collect();
        let parsed = no_nul(text).and_then(|()| Template::parse(text, &axes));
        parsed.map_err(|problem| self.note(place, &problem)).ok()
    }

    /// A problem is "what is wrong" or "what is wrong: what to do".
    fn note(&mut self, place: Range<usize>, problem: &str) {
        let (wrong, remedy) = problem.split_once(": ").unwrap_or((problem, ""));
        self.section.problems().add(place, wrong, remedy);
    }

    fn template(&mut self, key: &str) -> Option<Template> {
        let text = self.section.string(key)?;
        self.parse(&text, self.section.value_span(key))
    }

    fn what(&mut self) -> Option<What> {
        let kinds = ["command", "shell", "kernel"];
        let given: Vec<&str> = kinds.into_iter().filter(|key| self.section.has(key)).collect();
        if self.section.has("params") && !given.contains(&"kernel") {
            self.section.refuse("params", "params are a kernel's", "leave them out, or write kernel = \"…\"");
        }
        match given[..] {
            ["command"] => self.command(),
            ["shell"] => self.shell(),
            ["kernel"] => self.kernel(),
            [] => {
                let place = self.section.span();
                self.note(place, "a job needs something to run: write command, shell or kernel");
                None
            }
            _ => {
                let place = self.section.key_span(given[1]);
                self.note(place, &format!("a job has only one of {}: leave out the others", given.join(" and ")));
                None
            }
        }
    }

    fn command(&mut self) -> Option<What> {
        if let Some(DeValue::String(line)) = self.section.value("command").map(Spanned::get_ref) {
            let label = format!("write [\"PROGRAM\", \"ARGUMENT\", …], or for sh: shell = {}", quoted(line));
            self.section.refuse("command", "a command is an array of strings, not a string", label);
            return None;
        }
        let words = self.section.strings("command")?;
        if words.first().is_none_or(|word| word.get_ref().is_empty()) {
            self.section.refuse("command", "a command needs a program", "write [\"PROGRAM\", \"ARGUMENT\", …]");
            return None;
        }
        let templates: Vec<Option<Template>> =
            words.iter().map(|word| self.parse(word.get_ref(), word.span())).collect();
        templates.into_iter().collect::<Option<_>>().map(What::Command)
    }

    fn shell(&mut self) -> Option<What> {
        let text = self.section.string("shell")?;
        if text.trim().is_empty() {
            self.section.refuse("shell", "an empty line does nothing", "write what sh is to run");
            return None;
        }
        let place = self.section.value_span("shell");
        let axes: Vec<&str> = self.axes.iter().map(|axis| axis.name.as_str()).collect();
        let parsed = no_nul(&text).and_then(|()| ShellTemplate::parse(&text, &axes));
        parsed.map_err(|problem| self.note(place, &problem)).ok().map(What::Shell)
    }

    fn kernel(&mut self) -> Option<What> {
        let name = self.section.string("kernel")?;
        let names = || kernels::KERNELS.iter().map(|kernel| kernel.name());
        let Some(kernel) = kernels::find(&name) else {
            let remedy = match nearest(&name, names()) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
            };
            self.section.refuse("kernel", format!("there is no kernel '{}'", shorten(&name)), remedy);
            return None;
        };
        let mut params = Vec::new();
        let table = self.section.value("params");
        let table = table.map(|table| table.get_ref().as_table());
        match table {
            Some(None) => self.section.refuse("params", "params must be a table", "write { size = \"1920x1080\" }"),
            None => {}
            Some(Some(table)) => {
                for (option, value) in table.iter() {
                    let is_option = kernel.options().iter().any(|spec| spec.name == option.get_ref().as_ref());
                    if !is_option {
                        let near = nearest(option.get_ref(), kernel.options().iter().map(|spec| spec.name));
                        let remedy = near.map(|near| format!(": did you mean '{near}'?")).unwrap_or_default();
                        let option_name = shorten(option.get_ref());
                        self.note(option.span(), &format!("{name} has no option '{option_name}'{remedy}"));
                    }
                    let text = match value.get_ref() {
                        DeValue::Boolean(value) => Some(value.to_string()),
                        other => axis::scalar(other),
                    };
                    match text {
                        None => self.note(value.span(), "a param is a string, a number or true or false"),
                        Some(text) => {
                            let template = self.parse(&text, value.span());
                            params.extend(template.map(|template| (option.get_ref().to_string(), template)));
                        }
                    }
                }
            }
        }
        Some(What::Kernel { name, params })
    }

    fn outputs(&mut self) -> Vec<Template> {
        let Some(texts) = self.section.strings("outputs") else { return Vec::new() };
        texts.iter().filter_map(|text| self.parse(text.get_ref(), text.span())).collect()
    }

    fn job_index(&mut self, name: &str, place: Range<usize>) -> Option<usize> {
        let found = self.names.iter().position(|other| other == name);
        if found.is_none() {
            let names = self.names.iter().map(String::as_str).filter(|name| !name.is_empty());
            let remedy = nearest(name, names).map(|near| format!(": did you mean '{near}'?")).unwrap_or_default();
            self.note(place, &format!("there is no job '{}'{remedy}", shorten(name)));
        }
        found
    }

    fn inputs(&mut self) -> Vec<InputSpec> {
        let Some(value) = self.section.value("inputs") else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.section.refuse("inputs", "inputs must be an array", "write [\"FILE\", …]");
            return Vec::new();
        };
        items.iter().filter_map(|item| self.input(item)).collect()
    }

    fn input(&mut self, item: &Spanned<DeValue<'_>>) -> Option<InputSpec> {
        match item.get_ref() {
            DeValue::String(text) => self.parse(text, item.span()).map(InputSpec::Path),
            DeValue::Table(_) => {
                let mut entry = Section::open_value(&INPUT, item, self.section.problems())?;
                let (from, to, job) = (entry.string("from"), entry.string("to"), entry.string("job"));
                match (from, to, job) {
                    (None, None, Some(job)) => self.job_index(&job, item.span()).map(InputSpec::OfJob),
                    (Some(from), Some(to), None) => {
                        let from = self.parse(&from, item.span());
                        let to = self.parse(&to, item.span());
                        Some(InputSpec::Mapped { from: from?, to: to? })
                    }
                    _ => {
                        self.note(item.span(), "an input is a path, { from = …, to = … } or { job = … }");
                        None
                    }
                }
            }
            _ => {
                self.note(item.span(), "an input is a path, { from = …, to = … } or { job = … }");
                None
            }
        }
    }

    fn after(&mut self) -> Vec<After> {
        let Some(value) = self.section.value("after") else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.section.refuse("after", "after must be an array", "write after = [\"JOB\"]");
            return Vec::new();
        };
        items.iter().filter_map(|item| self.dependency(item)).collect()
    }

    fn dependency(&mut self, item: &Spanned<DeValue<'_>>) -> Option<After> {
        let place = item.span();
        let (job, each, any_end) = match item.get_ref() {
            DeValue::String(name) => (name.to_string(), false, false),
            _ => {
                let mut entry = Section::open_value(&AFTER, item, self.section.problems())?;
                let when = entry.parsed("when", |text| {
                    let known = WHEN.iter().find(|(word, _)| *word == text).map(|(_, any_end)| *any_end);
                    known.ok_or_else(|| "is none of them: write \"completed\" or \"ended\"".to_owned())
                });
                let Some(job) = entry.string("job") else {
                    self.note(place, "an entry of after names a job: write { job = \"…\" }");
                    return None;
                };
                (job, entry.boolean("each").unwrap_or(false), when.unwrap_or(false))
            }
        };
        let job = self.job_index(&job, place.clone())?;
        Some(After { job, each, any_end, place })
    }
}
