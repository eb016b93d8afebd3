//! `titan completions SHELL`.

use clap::CommandFactory;

use crate::args::Cli;
use crate::exit::Failure;
use crate::tell::print;

/// Prints a shell's completions.
pub(crate) fn run(shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "titan", &mut script);
    print(&String::from_utf8_lossy(&script))
}
