//! `titan man`.

use clap::CommandFactory;

use crate::args::Cli;
use crate::exit::{self, Failure};
use crate::tell::print;

/// Prints the manual page: titan's own, then each command's.
pub(crate) fn run() -> Result<u8, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    render(&command, &mut page)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        render(sub, &mut page)?;
        for kernel in sub.get_subcommands() {
            render(kernel, &mut page)?;
        }
    }
    print(&String::from_utf8_lossy(&page))
}

fn render(command: &clap::Command, page: &mut Vec<u8>) -> Result<(), Failure> {
    let rendered = clap_mangen::Man::new(command.clone()).render(page);
    rendered.map_err(|error| Failure::plain(exit::CANNOT_WRITE, error))
}
