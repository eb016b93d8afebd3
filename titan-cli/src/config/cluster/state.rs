//! `[state]`: what is kept of batches that are over.

use std::time::Duration;

use crate::config::toml_file::{Rules, Section};

/// The keys of `[state]`.
pub(super) const RULES: Rules =
    Rules { name: "[state]", keys: &["keep"], instead_of: &[("keep_for", "keep"), ("ttl", "keep"), ("days", "keep")] };

/// What is kept of batches that are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateOptions {
    /// For how long those are kept that are COMPLETED.
    pub(crate) keep: Duration,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self { keep: Duration::from_secs(7 * 24 * 3600) }
    }
}

pub(super) fn read(section: &mut Section<'_, '_>) -> StateOptions {
    StateOptions { keep: section.duration("keep").unwrap_or(StateOptions::default().keep) }
}
