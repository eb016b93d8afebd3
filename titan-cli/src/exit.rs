//! Exit codes, and the one form that errors have.

use std::fmt;

/// Everything COMPLETED, or nothing to do.
pub(crate) const SUCCESS: u8 = 0;
/// Some task FAILED or CANCELLED; for `titan hosts`: some hosts usable.
pub(crate) const TASKS_FAILED: u8 = 1;
/// Usage, configuration, a bad file.
pub(crate) const USAGE: u8 = 2;
/// No usable worker, or fewer than `min_workers`.
pub(crate) const NO_WORKERS: u8 = 3;
/// titan couldn't write here, or had too little space or no state directory at the start.
pub(crate) const CANNOT_WRITE: u8 = 4;
/// A bug of titan.
pub(crate) const BUG: u8 = 70;
/// The reader of stdout left.
pub(crate) const BROKEN_PIPE: u8 = 141;

/// Why a command can't do what was asked: printed once, by `main`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// The message, complete; None: nothing is printed.
    pub(crate) message: Option<String>,
}

impl Failure {
    /// A failure with a remedy.
    pub(crate) fn hinted(code: u8, message: impl fmt::Display, hint: impl fmt::Display) -> Self {
        Self { code, message: Some(format!("error: {message}\n  hint: {hint}")) }
    }

    /// A failure whose message says it all.
    pub(crate) fn plain(code: u8, message: impl fmt::Display) -> Self {
        Self { code, message: Some(format!("error: {message}")) }
    }

    /// A failure whose text is already complete.
    pub(crate) fn complete(code: u8, text: impl fmt::Display) -> Self {
        Self { code, message: Some(text.to_string()) }
    }

    /// Only a code: everything was said before, or there is nobody to say it to.
    pub(crate) fn silent(code: u8) -> Self {
        Self { code, message: None }
    }
}
