//! From values to what a task runs: where values come from, the `{}` language, and quoting for `sh`. Pure but for the
//! readers that are given: bytes in, bytes or a refusal with its place out.
//!
//! # Layout
//! - [`sources`]: the words of a command line → a command and its sources.
//! - [`values`]: sources → the values of each task.
//! - [`language`]: `{}`, `{.}`, `{2/}`, `{#}` …: a word with values → a word.
//! - [`shell`]: how a value is quoted at its place in a line of `sh`.

#[cfg(test)]
mod fuzz;
pub(crate) mod language;
pub(crate) mod shell;
pub(crate) mod sources;
pub(crate) mod values;
