//! What people see while a batch runs and when it has ended. Consumes notes; decides nothing.
//!
//! # Layout
//! - this file: which way of showing, and what is said at once whatever the way; [`reports`]: of what the manager reports.
//! - [`tally`]: what is counted, for all of them.
//! - [`bars`], [`plain`], [`events`]: the ways; `screen`: the thread that they write on.
//! - [`live`]: how far it is, for whoever asks from elsewhere.
//! - [`manner`]: what differs between kernels and commands.
//! - [`summary`]: what is said at the end.

pub(crate) mod bars;
pub(crate) mod events;
mod live;
mod manner;
pub(crate) mod plain;
mod reports;
mod screen;
pub(crate) mod summary;
pub(crate) mod tally;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use titan_manager::{Counts, HostId, Lifecycle, Manager, Report, TaskEnd};
use titan_proto::id::{JobId, TaskId};

use crate::args::{NoiseOptions, ProgressMode};
use crate::config::text::{cut, printable};
use crate::config::units::{human_duration, human_size};
use crate::driver::Observer;
use crate::driver::note::Note;
use crate::driver::signals::Ending;

pub(crate) use manner::{Manner, TaskNames};
pub(crate) use screen::Stage;
use screen::{Screen, ScreenThread, View};
use tally::{HostState, Tally};

/// Failing attempts that are told one by one; after them only the summary.
const MAX_TOLD_FAILURES: u32 = 10;

/// Characters of a command that are shown in one line.
const MAX_COMMAND_CHARS: usize = 120;
/// Characters of a reason.
const MAX_REASON_CHARS: usize = 500;
/// Characters of what is said on a session.
const MAX_SAID_CHARS: usize = 200;
/// It is written how far the batch is this often.
const LIVE_SPAN: Duration = Duration::from_secs(1);
/// Reasons why tasks wait that are shown at once.
const MAX_SHOWN_WAITS: usize = 3;

/// Shows a batch.
pub(crate) struct Progress {
    pub(crate) tally: Tally,
    names: Option<Arc<dyn TaskNames>>,
    screen: ScreenThread,
    is_events: bool,
    quiet: bool,
    verbose: u8,
    told_failures: u32,
    /// The task whose failed try was told last.
    last_failed: Option<TaskId>,
    /// Hosts of which it was told that they lack something.
    told_lacks: BTreeSet<HostId>,
    told_setups: BTreeSet<(JobId, HostId)>,
    /// Hosts whose trouble was told since they were lost.
    told_troubles: BTreeSet<HostId>,
    /// Hosts of which it was told that their connection is gone.
    told_away: BTreeSet<HostId>,
    /// Where it is told how far the batch is, and when next.
    directory: PathBuf,
    next_live: Instant,
}

impl Progress {
    /// Progress for hosts of these names, as it was asked for.
    pub(crate) fn new(noise: &NoiseOptions, manner: &Manner, title: &str, hosts: &[String], directory: &Path) -> Self {
        let tally = Tally::new(hosts.iter().cloned());
        let mode = match noise.progress {
            ProgressMode::Auto if noise.quiet => ProgressMode::None,
            ProgressMode::Auto if io::stderr().is_terminal() => ProgressMode::Bar,
            ProgressMode::Auto if manner.is_silent => ProgressMode::None,
            ProgressMode::Auto => ProgressMode::Plain,
            asked => asked,
        };
        let screen: Box<dyn Screen> = match mode {
            ProgressMode::Bar => Box::new(bars::Bars::new(title, tally.hosts.len())),
            ProgressMode::None | ProgressMode::Json => Box::new(Lines),
            ProgressMode::Plain | ProgressMode::Auto => Box::new(plain::Plain::new()),
        };
        let (screen, is_events) = (ScreenThread::start(screen), mode == ProgressMode::Json);
        Self {
            tally,
            names: manner.names.clone(),
            screen,
            is_events,
            quiet: noise.quiet,
            verbose: noise.verbose,
            told_failures: 0,
            last_failed: None,
            told_lacks: BTreeSet::new(),
            told_setups: BTreeSet::new(),
            told_troubles: BTreeSet::new(),
            told_away: BTreeSet::new(),
            directory: directory.to_owned(),
            next_live: Instant::now() + LIVE_SPAN,
        }
    }

    /// Where others can write beside what is shown.
    pub(crate) fn stage(&self) -> Stage {
        self.screen.stage()
    }

    /// The number by which people know a task.
    fn label(&self, task: TaskId) -> String {
        self.names.as_ref().map_or_else(|| task.index.to_string(), |names| names.label(task))
    }

    /// What a task runs, to be put after a line that tells of it.
    fn what(&self, task: TaskId) -> String {
        let command = self.names.as_ref().and_then(|names| names.command(task));
        let Some(command) = command else { return String::new() };
        format!(": {}", cut(&printable(&String::from_utf8_lossy(&command)), MAX_COMMAND_CHARS))
    }

    /// A line for people, unless they want quiet.
    pub(crate) fn say(&mut self, line: &str) {
        if !self.quiet {
            self.tell(line);
        }
    }

    /// A line for people, even if they want quiet.
    pub(crate) fn tell(&mut self, line: &str) {
        match self.is_events {
            true => self.screen.say(&events::message(line)),
            false => self.screen.say(line),
        }
    }

    /// Ends the show: waits until all is written.
    pub(crate) fn clear(&mut self) {
        self.screen.clear();
    }

    /// What is said of a note as soon as it comes.
    fn line(&mut self, note: &Note) -> Option<String> {
        let name = |host: &titan_manager::HostId| printable(self.tally.name(*host));
        let with_hint = |hint: &Option<String>| hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        match note {
            Note::Down { host, error } => Some(format!("{}: {}{}", name(host), error.reason, with_hint(&error.hint))),
            Note::Lost { host, reason } => {
                Some(format!("{}: lost: {}; starting it afresh", name(host), printable(reason)))
            }
            Note::Away { host, reason } => {
                self.told_away.insert(*host);
                Some(format!("{}: {}; it goes on, and is being reached again", name(host), printable(reason)))
            }
            Note::Back { host } if self.verbose > 0 || self.told_away.remove(host) => {
                Some(format!("{}: reached again", name(host)))
            }
            Note::Trouble { host, error } if self.verbose > 0 || self.told_troubles.insert(*host) => {
                Some(format!("{}: {}; trying again", name(host), error.reason))
            }
            Note::Joined { host, joined } if self.verbose > 0 => {
                let sent = match joined.story.sent_bytes {
                    None => String::new(),
                    Some(0) => "; agent there already".to_owned(),
                    Some(bytes) => format!("; {} of agent sent", human_size(bytes)),
                };
                Some(format!(
                    "{}: up after {}, login {} ({} cores, {}, agent {}{sent})",
                    name(host),
                    human_duration(joined.took),
                    human_duration(joined.story.login),
                    joined.cores,
                    joined.target,
                    joined.build
                ))
            }
            Note::NoMoreTasks { reason } => Some(format!("no more tasks: {}", printable(reason))),
            Note::Stopping(_) => Some("stopping; once more to stop at once".to_owned()),
            Note::Cancelling => Some("cancelled by titan cancel: stopping".to_owned()),
            Note::Manager(report) => self.report_line(report),
            Note::Missed(end) => self.missed_line(end),
            Note::Said { host, is_ours, message } => {
                let arrow = if *is_ours { "<-" } else { "->" };
                Some(format!("{} {arrow} {}", name(host), cut(&printable(message), MAX_SAID_CHARS)))
            }
            _ => None,
        }
    }

    /// A task that is FAILED without a failed try that was told: no host has what it needs, or it was lost too often.
    fn missed_line(&mut self, end: &TaskEnd) -> Option<String> {
        let reason = end.reason.as_ref().filter(|_| end.state == Lifecycle::Failed)?;
        if self.last_failed == Some(end.task) {
            return None;
        }
        self.told_failures += 1;
        let (label, what) = (self.label(end.task), self.what(end.task));
        (self.told_failures <= MAX_TOLD_FAILURES).then(|| format!("task {label}: {}{what}", printable(reason)))
    }
}

impl Observer for Progress {
    fn note(&mut self, note: &Note) {
        self.tally.note(note);
        if let Note::Lost { host, .. } | Note::Joined { host, .. } = note {
            self.told_troubles.remove(host);
        }
        if let Note::Stopping(Ending::Interrupt) = note {
            self.screen.interrupted();
        }
        if let Some(event) = self.is_events.then(|| events::event(note, &self.tally)).flatten() {
            self.screen.say(&event);
        }
        if let Some(line) = self.line(note) {
            // What goes wrong is said even to those who want quiet.
            let is_trouble = matches!(
                note,
                Note::Down { .. }
                    | Note::NoMoreTasks { .. }
                    | Note::Missed(_)
                    | Note::Manager(Report::AttemptFailed { .. })
            );
            if !self.quiet || is_trouble {
                self.tell(&format!("titan: {line}"));
            }
        }
    }

    fn wants_sessions(&self) -> bool {
        self.verbose > 1
    }

    fn tick(&mut self, manager: &Manager) {
        let tally = &self.tally;
        self.screen.tick(|| {
            let counts = manager.counts();
            let waits = manager.waits();
            let waits = waits.iter().take(MAX_SHOWN_WAITS).map(|wait| format!("; {}", printable(wait)));
            let whereabouts = whereabouts(tally, &counts) + &waits.collect::<String>();
            View { whereabouts, counts, hosts: tally.hosts.clone() }
        });
        if Instant::now() >= self.next_live {
            self.next_live = Instant::now() + LIVE_SPAN;
            let live = live::live(&self.tally, manager, |task| self.label(task));
            // Whoever asks is told what there was before.
            let _ = live.write(&self.directory);
        }
    }
}

/// Shows nothing but what is said.
struct Lines;

impl Screen for Lines {
    fn say(&mut self, line: &str) {
        crate::tell::to_stderr(line);
    }

    fn tick(&mut self, _view: &View) {}
}

/// How many tasks there are; `?` as long as there may be more.
fn total_of(counts: &Counts) -> String {
    if counts.is_growing { "?".to_owned() } else { counts.total.to_string() }
}

/// `12 of 64, 3.1/s, about 20 s left`: where a batch is.
pub(crate) fn whereabouts(tally: &Tally, counts: &Counts) -> String {
    if tally.is_stopping {
        return format!("{} of {} done, stopping", counts.completed, total_of(counts));
    }
    let ended = counts.completed + counts.failed + counts.cancelled;
    let waiting = counts.total - ended - counts.running;
    let mut text = format!("{ended}/{}", total_of(counts));
    if let Some(first) = tally.first_start
        && tally.completed > 0
    {
        let rate = tally.completed as f64 / first.elapsed().as_secs_f64().max(0.001);
        text.push_str(&format!(", {rate:.1}/s"));
    }
    if counts.failed > 0 {
        text.push_str(&format!(", {} failed", counts.failed));
    }
    if ended < counts.total && !tally.hosts.iter().any(|host| host.state == HostState::Healthy) {
        text.push_str(", no host is up");
        return text;
    }
    if counts.is_growing {
        return text;
    }
    match tally.remaining(waiting) {
        Some(left) => text.push_str(&format!(", about {} left", human_duration(left))),
        None if waiting == 0 && counts.running == 1 => text.push_str(", the last one runs"),
        None if waiting == 0 && counts.running > 0 => text.push_str(&format!(", the last {} run", counts.running)),
        None if ended == counts.total => text.push_str(", writing"),
        None => {}
    }
    text
}
