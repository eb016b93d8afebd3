//! A wire on which a test makes things happen: bytes between this program's streams and another one.
//!
//! ```text
//! wire delay MS ADDRESS:PORT              each byte arrives that much later: for ssh's ProxyCommand
//! wire damage FOLDER PROGRAM ARGUMENT…    a bit of what goes there is flipped when there is a file `there` in the
//!                                         folder, which goes; of what comes back with a file `back`
//! ```

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes carried at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces under way.
const MAX_PIECES: usize = 1 << 10;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match &words[..] {
        ["delay", ms, address] => delay(ms.parse().unwrap_or_default(), address),
        ["damage", folder, program, arguments @ ..] => damage(Path::new(folder), program, arguments),
        _ => Err(io::Error::other("wire delay MS ADDRESS:PORT, or wire damage FOLDER PROGRAM ARGUMENT…")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wire: {error}");
            ExitCode::FAILURE
        }
    }
}

fn delay(ms: u64, address: &str) -> io::Result<()> {
    let span = Duration::from_millis(ms);
    let there = TcpStream::connect(address)?;
    let back = there.try_clone()?;
    thread::spawn(move || {
        let _ = carry_late(io::stdin(), &there, span);
        let _ = there.shutdown(Shutdown::Write);
    });
    carry_late(back, io::stdout().lock(), span)
}

/// Carries bytes, each of which arrives that much later.
fn carry_late(mut from: impl Read + Send, mut to: impl Write, span: Duration) -> io::Result<()> {
    let (sender, pieces) = mpsc::sync_channel::<(Instant, Vec<u8>)>(MAX_PIECES);
    thread::scope(|scope| {
        scope.spawn(move || {
            carry(&mut from, |piece| sender.send((Instant::now() + span, piece.to_vec())).map_err(io::Error::other))
        });
        for (due, piece) in pieces {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            to.write_all(&piece).and_then(|()| to.flush())?;
        }
        Ok(())
    })
}

fn damage(folder: &Path, program: &str, arguments: &[&str]) -> io::Result<()> {
    let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (there, back) = (child.stdin.take(), child.stdout.take());
    let flag = folder.join("there");
    thread::spawn(move || there.map(|there| carry_damaged(io::stdin().lock(), there, &flag)));
    let carried = back.map_or(Ok(()), |back| carry_damaged(back, io::stdout().lock(), &folder.join("back")));
    child.wait()?;
    carried
}

/// Carries bytes, and flips a bit in the middle of the next piece when there is such a file.
fn carry_damaged(mut from: impl Read, mut to: impl Write, flag: &Path) -> io::Result<()> {
    carry(&mut from, |piece| {
        if fs::remove_file(flag).is_ok() {
            piece[piece.len() / 2] ^= 1;
        }
        to.write_all(piece).and_then(|()| to.flush())
    })
}

fn carry(from: &mut impl Read, mut take: impl FnMut(&mut [u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            length => take(&mut buffer[..length])?,
        }
    }
}
