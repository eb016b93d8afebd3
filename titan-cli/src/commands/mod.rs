//! One file for each command, and what they share.

pub(crate) mod agent;
pub(crate) mod batch;
pub(crate) mod batches;
pub(crate) mod bench;
pub(crate) mod cancel;
pub(crate) mod clean;
pub(crate) mod completions;
pub(crate) mod export;
pub(crate) mod hosts;
pub(crate) mod init;
pub(crate) mod kernel_command;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod map;
mod place;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod status;

use std::collections::BTreeSet;

use crate::exit::{self, Failure};
use crate::files::TaskFiles;
use crate::tell::{self, print, print_bytes};
use crate::template::shell;

/// What `titan` alone says.
const OVERVIEW: &str = "\
titan turns the machines that you can already ssh into, into one computer,
for the duration of one command.

  titan run mandelbrot -o out.png               a picture, from this machine
  titan run mandelbrot --hosts render1,render2  the same picture, from two machines
  titan map gzip -9 {} ::: *.log                any command, once for each value
  titan batch nightly.toml                      jobs from a file that wait for each other
  titan init render1 render2                    write ./cluster.toml, look at its hosts

titan COMMAND --help shows more, with examples.
";

/// `titan` without a command.
pub(crate) fn overview() -> Result<u8, Failure> {
    print(OVERVIEW)
}

/// The version, the protocol, and the beginning of the hash that names this build's agent on hosts.
pub(crate) fn version() -> Result<u8, Failure> {
    const SHOWN_CHARS: usize = 12;
    let hash = crate::launch::binaries::own_hash();
    let agent = hash.as_ref().map_or("unknown", |hash| &hash[..SHOWN_CHARS]);
    let (version, protocol) = (env!("CARGO_PKG_VERSION"), titan_proto::PROTOCOL_VERSION);
    print(&format!("titan {version} (protocol {protocol}, agent {agent})\n"))
}

/// Whether only the version is asked for. Not clap's affair: the hash isn't worth its time on any other start.
pub(crate) fn is_version_asked_for() -> bool {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    words.len() == 1 && (words[0] == "--version" || words[0] == "-V")
}

/// A task of a dry run as it can be pasted into sh: what makes the folders that its outputs go to, as a host does, then its line.
pub(crate) fn print_task(line: &[u8], files: &TaskFiles) -> Result<u8, Failure> {
    let folders: BTreeSet<Vec<u8>> = files.outputs.iter().map(|output| output.pattern.known_folder()).collect();
    let folders: Vec<Vec<u8>> = folders.into_iter().filter(|folder| !folder.is_empty()).collect();
    if folders.is_empty() {
        return print_bytes(&[line, b"\n"].concat());
    }
    let mkdir = [&b"mkdir"[..], b"-p", b"--"].map(<[u8]>::to_vec);
    let made = shell::for_paste(&[&mkdir[..], &folders].concat());
    // Not &&: a line of sh may hold an & or an || of its own.
    print_bytes(&[&made[..], b"; ", line, b"\n"].concat())
}

/// Help that was asked for, or what is wrong with what was typed.
pub(crate) fn told_by_parser(error: &clap::Error) -> Failure {
    match error.print() {
        Err(problem) if !error.use_stderr() => tell::failure(&problem),
        _ => Failure::silent(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE)),
    }
}
