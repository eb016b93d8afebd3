//! titan's own stdout and stderr, for what a command tells.

use std::io::{self, Write};

use crate::exit::{self, Failure};

/// Writes to stdout. A reader that has left is no error to talk about.
pub(crate) fn print(text: &str) -> Result<u8, Failure> {
    print_bytes(text.as_bytes())
}

/// Writes to stdout what needn't be text.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<u8, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(exit::SUCCESS),
        Err(error) => Err(failure(&error)),
    }
}

/// What a failed write to stdout means.
pub(crate) fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(exit::BROKEN_PIPE),
        _ => Failure::plain(exit::CANNOT_WRITE, format!("cannot write to stdout: {error}")),
    }
}

/// A line to stderr. If nobody reads it, that is no reason to stop.
pub(crate) fn to_stderr(line: &str) {
    // One write: what a task prints doesn't come between a line and its end.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
