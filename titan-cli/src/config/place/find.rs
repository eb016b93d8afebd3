//! Which cluster file is taken: the one that was named, or the first of the usual places that has one.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Surroundings;
use crate::config::cluster::{Cluster, Trust};
use crate::config::text::printable;
use crate::config::toml_file::{ConfigError, read_text};

/// The name of a cluster file where titan looks for one itself.
const FILE_NAME: &str = "cluster.toml";

/// How a cluster file came to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// `--cluster FILE`.
    Argument,
    /// `$TITAN_CLUSTER`.
    Environment,
    /// It is in the current directory.
    CurrentDirectory,
    /// It is in the user's config directory.
    UserConfig,
}

impl Origin {
    fn trust(self) -> Trust {
        match self {
            Self::CurrentDirectory => Trust::Found,
            Self::Argument | Self::Environment | Self::UserConfig => Trust::Named,
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Argument => "--cluster takes a file such as 'titan init' writes",
            Self::Environment => "$TITAN_CLUSTER names this file",
            Self::CurrentDirectory | Self::UserConfig => "titan looks for hosts here; --cluster names another file",
        }
    }
}

/// The cluster file that was taken.
#[derive(Debug)]
pub(super) struct ClusterFile {
    /// Its name in messages.
    pub(super) shown: String,
    pub(super) origin: Origin,
    /// Absolute.
    pub(super) path: PathBuf,
    pub(super) cluster: Cluster,
}

impl ClusterFile {
    /// Finds and reads the file; none if none was named and no usual place has one.
    pub(super) fn find(named: Option<&Path>, surroundings: &Surroundings) -> Result<Option<Self>, ConfigError> {
        let Some((path, origin)) = locate(named, surroundings) else { return Ok(None) };
        let full_path = surroundings.current_dir.join(&path);
        let shown = printable(&path.to_string_lossy());
        let text = read_text(&full_path, &shown, origin.hint())?;
        let mut cluster = Cluster::parse(&text, &path, origin.trust())?;
        let folder = full_path.parent().unwrap_or(&surroundings.current_dir);
        cluster.anchor_paths(folder, surroundings.home.as_deref());
        Ok(Some(Self { shown, origin, path: full_path, cluster }))
    }
}

fn locate(named: Option<&Path>, surroundings: &Surroundings) -> Option<(PathBuf, Origin)> {
    if let Some(named) = named {
        return Some((named.to_owned(), Origin::Argument));
    }
    if let Some(found) = &surroundings.found_before {
        return found.clone();
    }
    let environment = surroundings.titan_cluster.as_deref().filter(|path| !path.as_os_str().is_empty());
    if let Some(path) = environment {
        return Some((path.to_owned(), Origin::Environment));
    }
    let here = Path::new(".").join(FILE_NAME);
    if may_be_read(&surroundings.current_dir.join(FILE_NAME)) {
        return Some((here, Origin::CurrentDirectory));
    }
    let users = surroundings.config_dir.as_ref()?.join("titan").join(FILE_NAME);
    may_be_read(&users).then_some((users, Origin::UserConfig))
}

/// A file of which only the reading can tell more; not a folder, and not a pipe that could keep titan waiting.
fn may_be_read(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}
