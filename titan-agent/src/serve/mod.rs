//! The agent as a program. Started by a shell or by titan it is a bridge: it gives its own streams to an agent that runs apart from it,
//! in a session of its own, and that it starts if there is none yet. So a connection can end and another one begin, and the agent
//! goes on.
//!
//! # Layout
//! - this file: which of the three processes this one is, and the agent's end.
//! - `bridge`: from a connection to the agent.
//! - `meeting`: where the two meet: a private socket. `handover`: what they do there.
//! - `line`: one connection, as the agent has it.
//! - `server`: carries the agent's decisions out. `inbox`: what waits for its deciding thread.

mod bridge;
mod handover;
mod inbox;
mod line;
pub(crate) mod meeting;
mod server;

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::thread;

use crate::compute::SLOT_THREAD;
pub use crate::core::Exit;
use crate::faults::{self, Faults};
use crate::own_file;
use crate::process::watcher;
use meeting::Meeting;

/// The word that makes a process the one that runs apart from its streams.
const DETACHED: &str = "detached";

/// What an agent is told by whoever starts it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which build it is, for its hello.
    pub build: String,
    /// What is to go wrong, in tests.
    pub faults: Faults,
    /// The last word of the name of its scratch folder.
    pub scratch: String,
    /// Whether it ends with its parent.
    pub is_watched: bool,
}

/// The agent as a program. Its words, after the one that makes a program an agent, are the name under which it is met; without one it
/// serves its own streams and ends with them.
pub fn main() -> ExitCode {
    // Its own session: a terminal's Ctrl-C reaches titan alone. Fails if it has one already, and that is as good.
    let _ = rustix::process::setsid();
    let words: Vec<String> = std::env::args().skip(2).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != watcher::WORD).collect();
    let result = match (std::env::var(watcher::VARIABLE), &words[..]) {
        (Ok(watched), [DETACHED, name]) => run(watched, Meeting::named(name)),
        (Ok(watched), _) => run(watched, None),
        (Err(_), [DETACHED, name]) => watcher::watch(Meeting::named(name).as_ref()),
        (Err(_), [name]) => match Meeting::named(name) {
            Some(meeting) => bridge::run(&meeting),
            // Nowhere to meet.
            None => {
                eprintln!("titan-agent: {}", meeting::NOWHERE);
                watcher::watch(None)
            }
        },
        (Err(_), _) => watcher::watch(None),
    };
    result.unwrap_or_else(|error| {
        eprintln!("titan-agent: cannot start itself: {error}");
        ExitCode::FAILURE
    })
}

/// The agent itself, below its watcher.
fn run(watched: String, meeting: Option<Meeting>) -> io::Result<ExitCode> {
    // What loses its parent is found among our own children.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    crate::descriptors::close_others_on_exec();
    quiet_kernels();
    own_file::prune_cache();
    let faults = Faults::parse(&std::env::var(faults::VARIABLE).unwrap_or_default());
    let options = Options { build: crate::build(), faults, scratch: watched, is_watched: true };
    let watcher = rustix::process::getppid();
    let exit = match meeting {
        Some(meeting) => {
            let listener = meeting.listen()?;
            bridge::say_ready();
            let exit = server::serve_all(listener, &options);
            // Otherwise it does so, when all is over.
            if rustix::process::getppid() != watcher {
                meeting.remove();
            }
            exit
        }
        None => server::serve(io::stdin(), io::stdout(), &options),
    };
    // Not a return from main: kernels may still run, and a goodbye doesn't wait for them. What commands left, the watcher
    // ends.
    std::process::exit(match exit {
        Ok(Exit::Goodbye | Exit::ChannelClosed | Exit::Superseded) => 0,
        Ok(Exit::LeaseOver) => {
            eprintln!("titan-agent: nothing heard from titan for the length of the lease");
            1
        }
        Ok(Exit::Protocol { reason }) | Err(reason) => {
            eprintln!("titan-agent: {reason}");
            1
        }
    })
}

/// Serves one session over these streams, until it ends.
///
/// # Errors
/// A sentence: the other side is no titan, or has another version, or this machine can't run threads.
pub fn serve(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    options: &Options,
) -> Result<Exit, String> {
    server::serve(input, output, options)
}

/// A kernel's panic is its task's failure and is told there; on stderr it would look like the agent's last words.
fn quiet_kernels() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_slot = thread::current().name().is_some_and(|name| name.starts_with(SLOT_THREAD));
        if !is_slot {
            others(panic);
        }
    }));
}
