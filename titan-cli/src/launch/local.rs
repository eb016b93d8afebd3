//! An agent on this machine: titan's own executable, without a shell between.

use std::collections::BTreeMap;
use std::path::PathBuf;

use titan_agent::descriptors;
use tokio::process::Command;

use super::{BoxFuture, LaunchError, Launcher, Launching, Link, Shell, Story, child};
use crate::config::cluster::Host;

/// The word that makes titan an agent.
pub(crate) const AGENT_WORD: &str = "agent";

/// Starts titan itself, as an agent.
pub(crate) struct Local {
    agent: Option<PathBuf>,
    env: BTreeMap<String, String>,
    workdir: Option<PathBuf>,
    /// The user's own limit, before titan raises it.
    open_files: Option<u64>,
}

impl Local {
    pub(crate) fn new(host: &Host) -> Self {
        Self {
            agent: host.agent.clone(),
            env: host.env.clone(),
            workdir: host.workdir.clone(),
            open_files: descriptors::limit(),
        }
    }

    fn start(&self, meeting: &str) -> Result<Link, LaunchError> {
        // Not current_exe(): the file may have been replaced since titan started.
        let program = self.agent.clone().unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        // Not detached: the agent makes a session of its own.
        let mut command = Command::new(&program);
        command.arg(AGENT_WORD).arg(meeting).envs(&self.env);
        if let Some(own) = self.open_files {
            command.env(descriptors::VARIABLE, own.to_string());
        }
        if let Some(folder) = &self.workdir {
            command.current_dir(folder);
        }
        let shell = child::spawn(command, &program.display().to_string())?;
        let Shell { reader, writer, stderr, way, .. } = shell;
        Ok(Link { reader, writer, stderr, way, story: Story::default() })
    }
}

impl Launcher for Local {
    fn launch<'a>(&'a self, _launching: &'a Launching, meeting: &'a str) -> BoxFuture<'a, Result<Link, LaunchError>> {
        Box::pin(async { self.start(meeting) })
    }

    fn is_local(&self) -> bool {
        true
    }

    fn shell<'a>(&'a self, _launching: &'a Launching) -> BoxFuture<'a, Result<Shell, LaunchError>> {
        Box::pin(async { child::spawn(child::detached("/bin/sh"), "/bin/sh") })
    }
}
