//! One connection, as the agent has it: a thread reads, a thread writes, and the first that both sides say is hello.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use titan_proto::frame::Decoder;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// A manager that says nothing after the agent's hello for this long is none.
pub(super) const HANDSHAKE_SPAN: Duration = Duration::from_secs(60);

/// Names a connection of this agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineId(pub(super) u64);

/// What a connection's threads tell.
#[derive(Debug)]
pub(super) enum LineNews {
    Bytes(Vec<u8>),
    ReadEnded,
    Written,
    WriteFailed,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: LineId,
    pub(super) stage: Stage,
    /// A write is under way.
    pub(super) is_busy: bool,
    to_writer: SyncSender<Vec<u8>>,
    /// The process that has handed it over: it ends when this is shut, and so do both threads.
    bridge: Option<UnixStream>,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Stage {
    /// The manager's hello is still to come, or a part of it.
    Greeting { bytes: Vec<u8>, by: Instant },
    /// Both have said hello.
    Talking(Decoder),
}

impl Line {
    /// Begins a connection over these streams: the agent's hello goes out first.
    ///
    /// # Errors
    /// A thread can't be started.
    pub(super) fn open(
        id: LineId,
        streams: (impl Read + Send + 'static, impl Write + Send + 'static),
        bridge: Option<UnixStream>,
        hello: Vec<u8>,
        tell: impl Fn(LineId, LineNews) -> bool + Send + Clone + 'static,
    ) -> Result<Self, String> {
        let (input, output) = streams;
        let (to_writer, writes) = mpsc::sync_channel::<Vec<u8>>(1);
        let told = tell.clone();
        spawn("reader", move || read_all(input, |news| told(id, news)))?;
        spawn("writer", move || write_all(output, &writes, |news| tell(id, news)))?;
        let is_busy = to_writer.send(hello).is_ok();
        let stage = Stage::Greeting { bytes: Vec::new(), by: Instant::now() + HANDSHAKE_SPAN };
        Ok(Self { id, stage, is_busy, to_writer, bridge })
    }

    /// Writes, if nothing is being written.
    pub(super) fn write(&mut self, bytes: Vec<u8>) {
        self.is_busy = self.to_writer.send(bytes).is_ok();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(bridge) = &self.bridge {
            let _ = bridge.shutdown(Shutdown::Both);
        }
    }
}

pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(body);
    started.map(drop).map_err(|error| format!("cannot start a thread: {error}"))
}

fn read_all(mut input: impl Read, tell: impl Fn(LineNews) -> bool) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let news = match input.read(&mut buffer) {
            Ok(0) => LineNews::ReadEnded,
            Ok(length) => LineNews::Bytes(buffer[..length].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => LineNews::ReadEnded,
        };
        let ended = matches!(news, LineNews::ReadEnded);
        if !tell(news) || ended {
            return;
        }
    }
}

fn write_all(mut output: impl Write, writes: &Receiver<Vec<u8>>, tell: impl Fn(LineNews) -> bool) {
    while let Ok(bytes) = writes.recv() {
        let written = output.write_all(&bytes).and_then(|()| output.flush());
        let news = if written.is_ok() { LineNews::Written } else { LineNews::WriteFailed };
        if !tell(news) || written.is_err() {
            return;
        }
    }
}
