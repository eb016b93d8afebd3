//! How a command begins its batch: anew, or where an earlier titan was when it ended.

use std::ffi::OsString;
use std::hash::BuildHasher;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use titan_manager::journal::Past;
use titan_proto::id::BatchId;

use crate::config::cluster::Cluster;
use crate::config::place::Place;
use crate::config::text::cut;
use crate::exit::Failure;
use crate::state::Store;
use crate::state::dir::{BatchDir, Opened};
use crate::state::specification::{Heading, Specification};
use crate::template::shell;

/// Characters of what was typed that lists show.
const MAX_SHOWN_CHARS: usize = 500;

/// Anew, or where an earlier titan was.
pub(crate) enum Start {
    /// A batch that begins.
    New {
        /// What was typed after `titan`.
        words: Vec<OsString>,
    },
    /// One that is gone on with.
    Resumed(Box<Resumed>),
}

/// A batch that is gone on with.
pub(crate) struct Resumed {
    pub(crate) opened: Opened,
    /// Other hosts than before.
    pub(crate) place: Option<Place>,
    /// Whether tasks that have FAILED are tried again.
    pub(crate) retries_failed: bool,
}

/// A batch that has its directory.
pub(crate) struct Begun {
    pub(crate) directory: BatchDir,
    /// What earlier titans have come to; of a new batch nothing.
    pub(crate) past: Past,
    pub(crate) retries_failed: bool,
}

impl Start {
    /// What was asked for when the batch began; None: it begins now.
    pub(crate) fn recorded(&self) -> Option<&Specification> {
        match self {
            Self::New { .. } => None,
            Self::Resumed(resumed) => Some(&resumed.opened.specification),
        }
    }

    /// The batch that is gone on with.
    pub(crate) fn id(&self) -> Option<&BatchId> {
        match self {
            Self::New { .. } => None,
            Self::Resumed(resumed) => Some(resumed.opened.directory.id()),
        }
    }

    /// What earlier titans have come to.
    pub(crate) fn past(&self) -> Option<&Past> {
        match self {
            Self::New { .. } => None,
            Self::Resumed(resumed) => Some(&resumed.opened.past),
        }
    }

    /// The hosts that were given anew.
    pub(crate) fn take_place(&mut self) -> Option<Place> {
        match self {
            Self::New { .. } => None,
            Self::Resumed(resumed) => resumed.place.take(),
        }
    }

    /// The batch's directory; a new batch is asked for as `specify` completes it.
    pub(crate) fn begin(
        self,
        name: &str,
        batch_dir: Option<&PathBuf>,
        cluster: &Cluster,
        specify: impl FnOnce(&mut Specification),
    ) -> Result<Begun, Failure> {
        let words = match self {
            Self::Resumed(resumed) => {
                let Resumed { opened: Opened { directory, past, .. }, retries_failed, .. } = *resumed;
                return Ok(Begun { directory, past, retries_failed });
            }
            Self::New { words } => words,
        };
        let words: Vec<Vec<u8>> = words.into_iter().map(OsString::into_vec).collect();
        let line = shell::for_paste(&[&[b"titan".to_vec()], &without_values(&words)[..]].concat());
        let heading = Heading {
            name: name.to_owned(),
            shown: cut(&crate::config::text::printable(&String::from_utf8_lossy(&line)), MAX_SHOWN_CHARS),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            began_ms: crate::state::now_ms(),
        };
        let folder = std::env::current_dir().unwrap_or_default().into_os_string().into_vec();
        let mut specification = Specification { heading, words, folder, ..Specification::default() };
        specification.secret = std::hash::RandomState::new().hash_one(specification.heading.began_ms);
        specify(&mut specification);
        let directory = Store::find(batch_dir.map(PathBuf::as_path))?.create(&specification, cluster.state)?;
        Ok(Begun { directory, past: Past::default(), retries_failed: false })
    }
}

/// What was typed, for people: without the values of variables, which may be passwords.
fn without_values(words: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut shown = words.to_vec();
    let mut is_variable = false;
    for word in &mut shown {
        let from = if is_variable { Some(0) } else { word.starts_with(b"--env=").then_some(6) };
        let value = from.and_then(|from| Some(from + 1 + word[from..].iter().position(|byte| *byte == b'=')?));
        if let Some(value) = value {
            word.truncate(value);
            word.extend("…".bytes());
        }
        is_variable = word == b"--env";
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_shown_without_the_values_of_variables() {
        let words = ["map", "--env", "A=hunter2", "--env=B=hunter2", "--env", "HOME", "x=y", ":::", "C=c"];
        let shown = without_values(&words.map(|word| word.as_bytes().to_vec()));
        let shown: Vec<_> = shown.iter().map(|word| String::from_utf8_lossy(word)).collect();
        assert_eq!(shown, ["map", "--env", "A=…", "--env=B=…", "--env", "HOME", "x=y", ":::", "C=c"]);
    }
}
