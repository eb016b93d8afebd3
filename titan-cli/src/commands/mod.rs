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
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod status;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::args::PlaceOptions;
use crate::batch::start::Start;
use crate::config::cluster::{Cluster, Reach};
use crate::config::place::{Place, Surroundings};
use crate::exit::{self, Failure};
use crate::files::TaskFiles;
use crate::launch::ControlDirectory;
use crate::launch::control::is_short_enough;
use crate::state::dir::Temporaries;
use crate::state::specification::Specification;
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

/// Writes to stdout. A reader that has left is no error to talk about.
pub(crate) fn print(text: &str) -> Result<u8, Failure> {
    print_bytes(text.as_bytes())
}

/// Writes to stdout what needn't be text.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<u8, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(exit::SUCCESS),
        Err(error) => Err(stdout_failure(&error)),
    }
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
        Err(problem) if !error.use_stderr() => stdout_failure(&problem),
        _ => Failure::silent(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE)),
    }
}

/// What a failed write to stdout means.
pub(crate) fn stdout_failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(exit::BROKEN_PIPE),
        _ => Failure::plain(exit::CANNOT_WRITE, format!("cannot write to stdout: {error}")),
    }
}

/// Where a command runs that is no batch.
pub(crate) fn resolve_place(options: &PlaceOptions) -> Result<Place, Failure> {
    place_in(options, &surroundings()?)
}

/// Where a batch runs: one that is gone on with, where it ran before, unless it was said anew.
pub(crate) fn resolve_start(options: &PlaceOptions, start: &mut Start) -> Result<Place, Failure> {
    if let Some(place) = start.take_place() {
        return Ok(place);
    }
    match start.recorded() {
        Some(recorded) => resolve_recorded(options, recorded),
        None => place_in(options, &surroundings()?),
    }
}

/// Where a batch ran when it was begun.
pub(crate) fn resolve_recorded(options: &PlaceOptions, recorded: &Specification) -> Result<Place, Failure> {
    let found = recorded.cluster.as_ref();
    let found = found.map(|(path, origin)| (PathBuf::from(OsStr::from_bytes(path)), *origin));
    place_in(options, &Surroundings { found_before: Some(found), ..surroundings()? })
}

fn surroundings() -> Result<Surroundings, Failure> {
    Surroundings::of_this_process()
        .map_err(|error| Failure::plain(exit::USAGE, format!("the current directory can't be found: {error}")))
}

fn place_in(options: &PlaceOptions, surroundings: &Surroundings) -> Result<Place, Failure> {
    Place::resolve(&options.to_place_args(), surroundings).map_err(|error| Failure::complete(exit::USAGE, error))
}

/// How long what is still under way may take when a command has come to its end.
const LEAVE_SPAN: Duration = Duration::from_secs(1);

/// Runs what waits for hosts, on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::plain(exit::CANNOT_WRITE, format!("cannot start threads: {error}")))?;
    let outcome = runtime.block_on(future);
    runtime.shutdown_timeout(LEAVE_SPAN);
    outcome
}

/// A folder for ssh's control sockets if a host is reached by ssh: short, ours alone, noted as temporary if there is a batch.
pub(crate) fn control_directory(
    cluster: &Cluster,
    name: &str,
    temporaries: Option<&Temporaries>,
) -> Result<Option<ControlDirectory>, Failure> {
    if !cluster.hosts.iter().any(|host| matches!(host.reach, Reach::Ssh { .. })) {
        return Ok(None);
    }
    let runtime = dirs::runtime_dir().filter(|folder| folder.is_dir());
    let candidates = match &cluster.ssh.control_directory {
        Some(folder) => vec![folder.clone()],
        None => runtime.into_iter().chain([PathBuf::from("/tmp"), PathBuf::from("/var/tmp")]).collect(),
    };
    let mut problem = String::new();
    for parent in candidates {
        let folder = parent.join(format!("titan-{name}"));
        if !is_short_enough(&folder) {
            problem = format!("{} is too long for a socket", folder.display());
            continue;
        }
        let make = || ControlDirectory::create(folder.clone());
        match temporaries.map_or_else(make, |temporaries| temporaries.make(&folder, make)) {
            Ok(control) => return Ok(Some(control)),
            Err(error) => problem = format!("{}: {error}", folder.display()),
        }
    }
    let hint = "set control_directory in [ssh] to a short path that you can write";
    Err(Failure::hinted(exit::CANNOT_WRITE, format!("no folder for ssh's sockets: {problem}"), hint))
}
