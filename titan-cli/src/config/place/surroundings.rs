//! What is known about the process and its user when titan starts. The only reader of the environment in `config`.

use std::env;
use std::io;
use std::path::PathBuf;
use std::thread;

use super::find::Origin;

/// What decides, beside arguments, where a command runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// The value of `$TITAN_CLUSTER`; empty counts as unset.
    pub(crate) titan_cluster: Option<PathBuf>,
    /// The current directory.
    pub(crate) current_dir: PathBuf,
    /// The user's config directory, which may hold `titan/cluster.toml`.
    pub(crate) config_dir: Option<PathBuf>,
    /// The user's home, for `~/` in cluster files.
    pub(crate) home: Option<PathBuf>,
    /// The cores that this process may use.
    pub(crate) cores: u32,
    /// Of a batch that is gone on with: the cluster file that was found when it began, if one was.
    pub(crate) found_before: Option<Option<(PathBuf, Origin)>>,
}

impl Surroundings {
    /// Asks the process and the system.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        Ok(Self {
            titan_cluster: env::var_os("TITAN_CLUSTER").map(PathBuf::from),
            current_dir: env::current_dir()?,
            config_dir: dirs::config_dir(),
            home: dirs::home_dir(),
            cores: thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
            found_before: None,
        })
    }
}
