//! What people wrote about where and how to run: the cluster file, lists of hosts, `-j`, and the units in them.
//!
//! [`place`] is the one door for commands: it turns what was typed and what surrounds it into a [`cluster::Cluster`].
//! The leaves below it are pure: text in, meaning or an error with a remedy out. Nothing here contacts a host.
//!
//! # Layout
//! - [`place`]: which hosts a command runs on, and what it says about that.
//! - [`cluster`]: the cluster file: what its keys mean and what their defaults are.
//! - [`hosts_arg`], [`destination`], [`jobs`]: the grammars of `--hosts`, of where ssh goes, and of `-j`.
//! - [`labels`]: what `where` can name of a host.
//! - [`units`]: durations and sizes, read and shown.
//! - [`toml_file`]: reading any TOML file of a person's and telling what is wrong with it; the batch file's too.
//! - [`suggest`], [`text`]: near misses, and text made fit to print.

pub(crate) mod cluster;
pub(crate) mod destination;
pub(crate) mod hosts_arg;
pub(crate) mod jobs;
pub(crate) mod labels;
pub(crate) mod place;
pub(crate) mod rules;
pub(crate) mod suggest;
pub(crate) mod text;
pub(crate) mod toml_file;
pub(crate) mod units;
