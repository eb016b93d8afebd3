//! What only several jobs, or their tasks, can be wrong in: cycles, counts, outputs that two have, inputs that nobody makes.

use std::cell::Cell;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use titan_proto::files::OutputPattern;

use super::template::Template;
use super::{After, InputSpec, Job, MAX_UNASKED_TASKS, Surroundings, What, requests};
use crate::config::text::printable;
use crate::config::toml_file::{Problem, Problems};
use crate::files::listing::expand;
use crate::files::{Input, Output, has_anchor};

/// Tasks of a job whose files are looked at: an array of more is looked at in part.
const MAX_LOOKED_AT: u64 = 100_000;
/// The same for a job whose outputs are patterns: each is held against each input.
const MAX_PATTERNS: u64 = 1_000;
/// Comparisons of patterns with paths for a whole file: about a second. What is beyond is seen when it runs.
const MAX_COMPARISONS: u64 = 2_000_000;
/// Most tasks of a job.
const MAX_TASKS: u64 = u32::MAX as u64 - 1;

/// Checks all jobs together, and puts them in the order in which they can be submitted.
pub(super) fn check(mut jobs: Vec<Job>, base: &Path, surroundings: &Surroundings, problems: &mut Problems) -> Vec<Job> {
    jobs.iter_mut().for_each(imply);
    let is_elsewhere = surroundings.hosts.iter().any(|host| !host.is_here);
    // Of a batch that is gone on with, what was given may have done its work.
    let is_new = surroundings.recorded.is_none();
    for number in 0..jobs.len() {
        let job = &jobs[number];
        requests::check(job, &surroundings.hosts, problems);
        check_workdir(job, problems);
        // What is wrong within a job makes the rest guesswork.
        if job.is_sound {
            check_counts(&jobs, number, surroundings.yes, problems);
            if is_new && (is_elsewhere || has_files(&jobs[number])) {
                check_program(job, base, problems);
            }
        }
    }
    let order = order(&jobs, problems);
    let made = Made::of(&jobs, problems);
    for number in (0..jobs.len()).filter(|number| is_new && jobs[*number].is_sound) {
        made.check_inputs(&jobs, number, base, problems);
    }
    match order {
        Some(order) => sorted(jobs, &order),
        None => jobs,
    }
}

/// Whether its tasks have folders of their own wherever they run.
pub(crate) fn has_files(job: &Job) -> bool {
    let is_command = !matches!(job.what, What::Kernel { .. });
    is_command && (!job.inputs.is_empty() || !job.outputs.is_empty())
}

fn check_workdir(job: &Job, problems: &mut Problems) {
    if job.workdir.is_some() && has_files(job) {
        let message = format!("'{}' has files and a workdir: with files tasks run in folders of their own", job.name);
        let remedy = "leave it out, or for a disk that all hosts share leave out inputs and outputs";
        problems.add(job.places.workdir.clone(), message, remedy);
    }
}

/// A program that is a file here, and that tasks aren't given.
fn check_program(job: &Job, base: &Path, problems: &mut Problems) {
    let What::Command(words) = &job.what else { return };
    if job.workdir.is_some() || job.count() == 0 {
        return;
    }
    let values = job.values(0);
    let Some(program) = words.first().map(|word| word.text(&values, 0)) else { return };
    let place = program.strip_prefix(b"./").unwrap_or(&program);
    let is_file = program.contains(&b'/') && program[0] != b'/' && base.join(OsStr::from_bytes(&program)).is_file();
    let is_given = |input: &InputSpec| match input {
        InputSpec::OfJob(_) => true,
        InputSpec::Mapped { to, .. } => to.text(&values, 0) == place,
        InputSpec::Path(path) => {
            let pattern = if path.has_glob() { path.pattern(&values, 0) } else { path.text(&values, 0) };
            // An input covers what an output of the same words would.
            Output::new(&pattern, path.has_glob()).is_ok_and(|output| output.pattern.covers(place))
        }
    };
    if is_file && !job.inputs.iter().any(is_given) {
        let shown = printable(&String::from_utf8_lossy(&program));
        let message = format!("'{shown}' is a file here, but tasks of '{}' run in folders of their own", job.name);
        problems.add(job.places.what.clone(), message, format!("add it to inputs: \"{shown}\""));
    }
}

/// `{ job = … }` waits for that job.
fn imply(job: &mut Job) {
    for (place, input) in job.inputs.iter().enumerate() {
        if let InputSpec::OfJob(of) = *input
            && !job.after.iter().any(|after| after.job == of && !after.each)
        {
            let place = job.places.inputs.get(place).cloned().unwrap_or_default();
            job.after.push(After { job: of, each: false, any_end: false, place });
        }
    }
}

fn check_counts(jobs: &[Job], number: usize, yes: bool, problems: &mut Problems) {
    let job = &jobs[number];
    let count = job.count();
    if count > MAX_TASKS {
        let count = if count == u64::MAX { "too many".to_owned() } else { count.to_string() };
        problems.add(
            job.places.name.clone(),
            format!("'{}' has {count} tasks", job.name),
            "4 thousand million are too many",
        );
    } else if count > MAX_UNASKED_TASKS && !yes {
        let message = format!("'{}' has {count} tasks", job.name);
        problems.add(job.places.name.clone(), message, "if that is meant, say --yes");
    }
    for after in job.after.iter().filter(|after| after.each) {
        let other = &jobs[after.job];
        if other.is_sound && other.count() != count {
            let message = format!("'{}' has {} tasks and '{}' has {}", other.name, other.count(), job.name, count);
            problems.add(after.place.clone(), message, "each needs the same number of both");
        }
    }
    if let What::Kernel { name, .. } = &job.what
        && job.outputs.len() != 1
    {
        let message = format!("a job of {name} has one output, and this has {}", job.outputs.len());
        problems.add(job.places.what.clone(), message, "write outputs = [\"FILE\"]");
    }
}

/// The order in which each job comes after those that it waits for; None: there is none, and all that stands in its way has
/// been noted.
fn order(jobs: &[Job], problems: &mut Problems) -> Option<Vec<usize>> {
    let mut order = Vec::new();
    let mut done: BTreeSet<usize> = BTreeSet::new();
    let mut has_cycle = false;
    while done.len() < jobs.len() {
        let is_ready = |number: &usize| jobs[*number].after.iter().all(|after| done.contains(&after.job));
        match (0..jobs.len()).filter(|number| !done.contains(number)).find(is_ready) {
            Some(next) => {
                done.insert(next);
                order.push(next);
            }
            None => {
                has_cycle = true;
                // As if it weren't one: what else there is shows then.
                done.extend(note_cycle(jobs, &done, problems));
            }
        }
    }
    (!has_cycle).then_some(order)
}

/// Notes a cycle among the jobs that aren't done, and returns it.
fn note_cycle(jobs: &[Job], done: &BTreeSet<usize>, problems: &mut Problems) -> Vec<usize> {
    let first = (0..jobs.len()).find(|number| !done.contains(number)).unwrap_or_default();
    let mut path = vec![first];
    // Whoever isn't done waits for somebody who isn't: sooner or later somebody comes twice.
    let begin = loop {
        let last = path[path.len() - 1];
        let waits_for = jobs[last].after.iter().map(|after| after.job);
        let next =
            waits_for.into_iter().find(|job| !done.contains(job)).expect("whoever isn't ready waits for somebody");
        if let Some(begin) = path.iter().position(|job| *job == next) {
            break begin;
        }
        path.push(next);
    };
    let cycle = &path[begin..];
    let names: Vec<&str> = cycle.iter().chain(&cycle[..1]).map(|job| jobs[*job].name.as_str()).collect();
    let first = &jobs[cycle[0]];
    let place = first.after.iter().find(|after| !done.contains(&after.job)).map(|after| after.place.clone());
    let message = format!("these jobs wait for each other: {}", names.join(" after "));
    problems.add(place.unwrap_or_default(), message, "leave one of them out");
    cycle.to_vec()
}

fn sorted(jobs: Vec<Job>, order: &[usize]) -> Vec<Job> {
    let mut places = vec![0; jobs.len()];
    for (place, number) in order.iter().enumerate() {
        places[*number] = place;
    }
    let mut jobs: Vec<Option<Job>> = jobs.into_iter().map(Some).collect();
    let mut sorted: Vec<Job> = order.iter().filter_map(|number| jobs[*number].take()).collect();
    for job in &mut sorted {
        job.after.iter_mut().for_each(|after| after.job = places[after.job]);
        for input in &mut job.inputs {
            if let InputSpec::OfJob(of) = input {
                *of = places[*of];
            }
        }
    }
    sorted
}

/// Who makes what.
struct Made {
    /// For each job those that it waits for.
    waits_for: Vec<Vec<usize>>,
    /// For each job those that wait for it.
    dependents: Vec<Vec<usize>>,
    /// Paths below the base folder, and the job and task that make them.
    paths: HashMap<Vec<u8>, (usize, u32)>,
    /// The folders that these are in, and the jobs that make something in them.
    folders: HashMap<Vec<u8>, BTreeSet<usize>>,
    /// Patterns, and the job that makes what they match.
    patterns: Vec<(OutputPattern, usize)>,
    /// Whether that is all: of an unsound job nobody knows.
    is_all: bool,
    /// Comparisons of patterns with paths that may still be made.
    budget: Cell<u64>,
}

/// What is wrong, and what to do.
type Wrong = (String, String);

impl Made {
    fn of(jobs: &[Job], problems: &mut Problems) -> Self {
        let is_all = jobs.iter().all(|job| job.is_sound);
        let budget = Cell::new(MAX_COMPARISONS);
        let (paths, folders, patterns) = (HashMap::new(), HashMap::new(), Vec::new());
        let waits_for: Vec<Vec<usize>> =
            jobs.iter().map(|job| job.after.iter().map(|after| after.job).collect()).collect();
        let mut dependents = vec![Vec::new(); jobs.len()];
        for (number, others) in waits_for.iter().enumerate() {
            others.iter().for_each(|other| dependents[*other].push(number));
        }
        let mut made = Self { waits_for, dependents, paths, folders, patterns, is_all, budget };
        for (number, job) in jobs.iter().enumerate().filter(|(_, job)| job.is_sound) {
            for (place, template) in job.outputs.iter().enumerate() {
                let span = job.places.outputs.get(place).cloned().unwrap_or_default();
                if let Some(problem) = made.note(jobs, number, template, &span) {
                    problems.add_related(problem);
                }
            }
        }
        made
    }

    /// Notes an output of a job, for all of its tasks that are looked at.
    fn note(&mut self, jobs: &[Job], number: usize, template: &Template, span: &Range<usize>) -> Option<Problem> {
        let (job, is_glob) = (&jobs[number], template.has_glob());
        let simple = |message, label: &str| Problem { span: span.clone(), message, label: label.into(), related: None };
        if is_glob && matches!(job.what, What::Kernel { .. }) {
            return Some(simple("a kernel's output is one file or folder, no pattern".into(), "name it"));
        }
        let most = if is_glob { MAX_PATTERNS } else { MAX_LOOKED_AT };
        self.is_all &= job.count() <= most;
        for index in 0..job.count().min(most) as u32 {
            let values = job.values(index);
            let text = if is_glob { template.pattern(&values, index) } else { template.text(&values, index) };
            let output = match Output::new(&text, is_glob) {
                Ok(output) => output,
                Err(problem) => return Some(simple(problem, "")),
            };
            if is_glob {
                self.patterns.extend(output.folder.as_os_str().is_empty().then_some((output.pattern, number)));
                continue;
            }
            let path = output.target(&output.pattern.text).into_os_string().into_vec();
            for end in path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at) {
                self.folders.entry(path[..end].to_vec()).or_default().insert(number);
            }
            match self.paths.entry(path) {
                Entry::Vacant(free) => drop(free.insert((number, index))),
                Entry::Occupied(taken) => {
                    let ((other, task), path) = (*taken.get(), printable(&String::from_utf8_lossy(taken.key())));
                    let message = format!(
                        "task {} of '{}' and task {} of '{}' have the same output {path}",
                        u64::from(task) + 1,
                        jobs[other].name,
                        u64::from(index) + 1,
                        job.name
                    );
                    let related = jobs[other].places.outputs.first().cloned().map(|place| (place, "the other"));
                    let related = related.filter(|_| other != number);
                    let label = match (other == number, task == index) {
                        (true, true) => "leave one of them out",
                        (true, false) => "name an axis in it whose values differ",
                        (false, _) => "give each a name of its own",
                    };
                    return Some(Problem { related, ..simple(message, label) });
                }
            }
        }
        None
    }

    fn check_inputs(&self, jobs: &[Job], number: usize, base: &Path, problems: &mut Problems) {
        let job = &jobs[number];
        let before = reachable(&self.waits_for, number);
        // What it makes itself, or what is made of that, it can't be waiting for.
        let mut after = reachable(&self.dependents, number);
        after.insert(number);
        let place = Place { before, after, base };
        let spans = job.places.inputs.iter().cloned().chain(std::iter::repeat(0..0));
        let stdin = job.stdin.iter().map(|stdin| (Given::Stdin(stdin), job.places.stdin.clone()));
        let inputs = job.inputs.iter().zip(spans).filter_map(|(input, span)| match input {
            InputSpec::OfJob(_) => None,
            InputSpec::Path(path) => Some((Given::Path(path), span)),
            InputSpec::Mapped { from, to } => Some((Given::Mapped { from, to }, span)),
        });
        for (given, span) in inputs.chain(stdin) {
            for index in 0..job.count().min(MAX_LOOKED_AT) as u32 {
                let wrong = given.input(&job.values(index), index).and_then(|input| match input {
                    Some(input) => self.check_input(jobs, &input, &place),
                    None => Ok(()),
                });
                if let Err((problem, remedy)) = wrong {
                    problems.add(span.clone(), problem, remedy);
                    break;
                }
            }
        }
    }

    fn check_input(&self, jobs: &[Job], input: &Input, place: &Place<'_>) -> Result<(), Wrong> {
        let shown = printable(&String::from_utf8_lossy(&input.text));
        let is_here = || match input.is_glob {
            true => !expand(place.base, &input.text).is_empty(),
            false => place.base.join(OsStr::from_bytes(&input.text)).exists(),
        };
        let (whole, part) = self.makers(input);
        let others = |makers: &BTreeSet<usize>| -> Vec<usize> { makers.difference(&place.after).copied().collect() };
        let (whole, part) = (others(&whole), others(&part));
        if whole.iter().chain(&part).any(|maker| place.before.contains(maker)) {
            return Ok(());
        }
        // Of what lies here already a part may be meant.
        let unawaited = whole.first().or_else(|| part.first().filter(|_| !is_here()));
        match unawaited {
            Some(maker) => {
                let name = &jobs[*maker].name;
                Err((
                    format!("'{shown}' is made by '{name}', which isn't waited for"),
                    format!("add after = [\"{name}\"]"),
                ))
            }
            // A pattern is looked at when its task is ready.
            None if !self.is_all || input.is_glob || is_here() => Ok(()),
            None => Err((format!("'{shown}' isn't there, and no job makes it"), String::new())),
        }
    }

    /// The jobs that make what an input names or the folder that it is in, and those that make a part of it.
    fn makers(&self, input: &Input) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let path = &input.text;
        if input.is_glob {
            let pattern = OutputPattern { text: path.clone(), is_glob: true };
            let looked_at = self.paths.iter().take(self.afford(self.paths.len()));
            let matching = looked_at.filter(|(made, _)| pattern.matches(made)).map(|(_, (job, _))| *job);
            return (BTreeSet::new(), matching.collect());
        }
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let by_path = ends.chain([path.len()]).filter_map(|end| self.paths.get(&path[..end])).map(|(job, _)| *job);
        let looked_at = self.patterns.iter().take(self.afford(self.patterns.len()));
        let by_pattern = looked_at.filter(|(pattern, _)| pattern.covers(path)).map(|(_, job)| *job);
        (by_path.chain(by_pattern).collect(), self.folders.get(path).cloned().unwrap_or_default())
    }

    /// So many comparisons, if there are so many left; otherwise none.
    fn afford(&self, comparisons: usize) -> usize {
        let left = self.budget.get().checked_sub(comparisons as u64);
        self.budget.set(left.unwrap_or(0));
        if left.is_some() { comparisons } else { 0 }
    }
}

/// Where a job stands among the others.
struct Place<'b> {
    /// Jobs that have ended when it starts.
    before: BTreeSet<usize>,
    /// Jobs that start when it has ended, and itself.
    after: BTreeSet<usize>,
    base: &'b Path,
}

/// A file that a task is given.
enum Given<'j> {
    Path(&'j Template),
    Mapped { from: &'j Template, to: &'j Template },
    Stdin(&'j Template),
}

impl Given<'_> {
    /// The input for a task's values; None: it is there everywhere.
    fn input(&self, values: &[Vec<u8>], index: u32) -> Result<Option<Input>, Wrong> {
        let plain = |problem| (problem, String::new());
        match self {
            Self::Path(path) if path.has_glob() => Input::new(&path.pattern(values, index), true),
            Self::Path(path) => Input::new(&path.text(values, index), false),
            Self::Mapped { from, .. } if from.has_glob() => {
                return Err(("a pattern can't get another name".into(), "name one file or folder".into()));
            }
            Self::Mapped { from, to } => {
                let to = to.text(values, index);
                let shown = printable(&String::from_utf8_lossy(&to));
                if Input::new(&to, false).is_err() || has_anchor(&to) {
                    return Err((
                        format!("'{shown}' is no path below the task's folder"),
                        "write a name, or FOLDER/NAME".into(),
                    ));
                }
                Input::from_anywhere(&from.text(values, index))
            }
            Self::Stdin(file) => match &file.text(values, index)[..] {
                b"/dev/null" => return Ok(None),
                file => Input::from_anywhere(file),
            },
        }
        .map(Some)
        .map_err(plain)
    }
}

/// All jobs that these edges lead to from one.
fn reachable(edges: &[Vec<usize>], number: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut next = vec![number];
    while let Some(job) = next.pop() {
        next.extend(edges[job].iter().copied().filter(|other| found.insert(*other)));
    }
    found
}
