//! The file as a whole: its tables, and what must hold between hosts.

use std::collections::HashMap;
use std::path::Path;

use toml::Spanned;
use toml::de::DeValue;

use super::host::{self, Defaults};
use super::{Cluster, Host, Trust, scheduler, ssh, state};
use crate::config::text::{printable, shorten};
use crate::config::toml_file::{ConfigError, Problem, Problems, Rules, Section, parse_document};

/// The tables of a cluster file.
const FILE: Rules = Rules {
    name: "the file",
    keys: &["host", "defaults", "scheduler", "ssh", "state"],
    instead_of: &[
        ("hosts", "host"),
        ("default", "defaults"),
        ("worker", "host"),
        ("workers", "host"),
        ("node", "host"),
    ],
};

impl Cluster {
    /// Reads the text of a cluster file, which messages call `path`. All that is wrong is told at once.
    ///
    /// Paths are left as they were written; see [`Cluster::anchor_paths`].
    pub(crate) fn parse(text: &str, path: &Path, trust: Trust) -> Result<Self, ConfigError> {
        let file = printable(&path.to_string_lossy());
        let document = parse_document(text, &file)?;
        let mut problems = Problems::default();
        let tables = Tables::of(&mut Section::open(&FILE, &document, &mut problems));
        let cluster = tables.read(trust, &mut problems);
        problems.unless_any(&file, text, cluster)
    }
}

/// The tables of the file, unread.
struct Tables<'t> {
    hosts: &'t [Spanned<DeValue<'t>>],
    defaults: Option<&'t Spanned<DeValue<'t>>>,
    scheduler: Option<&'t Spanned<DeValue<'t>>>,
    ssh: Option<&'t Spanned<DeValue<'t>>>,
    state: Option<&'t Spanned<DeValue<'t>>>,
}

impl<'t> Tables<'t> {
    fn of(file: &mut Section<'t, '_>) -> Self {
        Self {
            hosts: host_tables(file),
            defaults: file.value("defaults"),
            scheduler: file.value("scheduler"),
            ssh: file.value("ssh"),
            state: file.value("state"),
        }
    }

    fn read(&self, trust: Trust, problems: &mut Problems) -> Cluster {
        let scheduler = self.scheduler.and_then(|value| Section::open_value(&scheduler::RULES, value, problems));
        let scheduler = scheduler.map(|mut section| scheduler::read(&mut section)).unwrap_or_default();
        let ssh = self.ssh.and_then(|value| Section::open_value(&ssh::RULES, value, problems));
        let ssh = ssh.map(|mut section| ssh::read(&mut section, trust)).unwrap_or_default();
        let state = self.state.and_then(|value| Section::open_value(&state::RULES, value, problems));
        let state = state.map(|mut section| state::read(&mut section)).unwrap_or_default();
        let defaults = self.defaults.and_then(|value| Section::open_value(&host::DEFAULTS_RULES, value, problems));
        let defaults = defaults.map(|mut section| Defaults::read(&mut section)).unwrap_or_default();
        Cluster { hosts: read_hosts(self.hosts, &defaults, trust, problems), scheduler, ssh, state }
    }
}

fn host_tables<'t>(file: &mut Section<'t, '_>) -> &'t [Spanned<DeValue<'t>>] {
    let Some(value) = file.value("host") else { return &[] };
    match value.get_ref() {
        DeValue::Array(hosts) => hosts,
        DeValue::Table(_) => {
            let span = file.key_span("host");
            file.problems().add(span, "hosts are a list of tables", "write [[host]], with two brackets");
            &[]
        }
        _ => {
            file.refuse("host", "hosts are a list of tables", "write a table [[host]] for each host");
            &[]
        }
    }
}

fn read_hosts(
    tables: &[Spanned<DeValue<'_>>],
    defaults: &Defaults,
    trust: Trust,
    problems: &mut Problems,
) -> Vec<Host> {
    let mut hosts = Vec::new();
    let mut first_places = HashMap::new();
    for table in tables {
        let Some(mut section) = Section::open_value(&host::RULES, table, problems) else { continue };
        let Some(host) = host::read(&mut section, defaults, trust) else { continue };
        let span = host::name_span(&section);
        if let Some(first) = first_places.insert(host.name.clone(), span.clone()) {
            problems.add_related(Problem {
                span,
                message: format!("two hosts are named '{}'", shorten(&host.name)),
                label: "give each a name of its own: name = \"…\"".to_owned(),
                related: Some((first, "the other is")),
            });
        }
        hosts.push(host);
    }
    hosts
}
