//! `titan agent`, hidden: titan's own executable is the agent for titan's own target.

use std::process::ExitCode;

use crate::launch::local::AGENT_WORD;

/// Whether this process is to be an agent.
pub(crate) fn is_asked_for() -> bool {
    std::env::args_os().nth(1).is_some_and(|word| word == AGENT_WORD)
}

/// Serves one session on stdin and stdout.
pub(crate) fn run() -> ExitCode {
    titan_agent::main()
}
