//! `delay MILLISECONDS HOST PORT`: a ProxyCommand for ssh that lets every byte arrive so much later, in each direction, for kernels
//! without netem. What is on its way is bounded, as on a line.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces on their way in one direction.
const MOST_PIECES: usize = 1 << 10;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [delay, host, port] = &words[..] else {
        return Err(io::Error::other("usage: delay MILLISECONDS HOST PORT"));
    };
    let delay = Duration::from_millis(delay.parse().map_err(io::Error::other)?);
    let stream = TcpStream::connect((host.as_str(), port.parse().map_err(io::Error::other)?))?;
    stream.set_nodelay(true)?;
    let there = stream.try_clone()?;
    thread::spawn(move || {
        let _ = carry(io::stdin(), &there, delay);
        let _ = there.shutdown(Shutdown::Write);
    });
    carry(&stream, io::stdout().lock(), delay)
}

/// Writes each piece that long after it was read.
fn carry(from: impl Read + Send, to: impl Write, delay: Duration) -> io::Result<()> {
    let (sender, receiver) = sync_channel(MOST_PIECES);
    thread::scope(|scope| {
        scope.spawn(move || take(from, &sender, delay));
        give(to, &receiver)
    })
}

fn take(mut from: impl Read, pieces: &SyncSender<(Instant, Vec<u8>)>, delay: Duration) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if pieces.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn give(mut to: impl Write, pieces: &Receiver<(Instant, Vec<u8>)>) -> io::Result<()> {
    for (due, piece) in pieces {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        to.write_all(&piece)?;
        to.flush()?;
    }
    Ok(())
}
