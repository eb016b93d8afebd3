//! The first and the last word to an agent: where it is met, its hello, and the farewell to one that nobody goes on with.

use std::time::Duration;

use sha2::{Digest, Sha256};
use titan_proto::frame::Decoder;
use titan_proto::handshake::{GOODBYE, HandshakeError, Hello, Opening, Role};
use titan_proto::id::{Epoch, SessionId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::launch::{Lasting, LaunchError, Link};

/// How long an agent that is refused may take to go: that is a part of what a start may take.
const REFUSE_SPAN: Duration = Duration::from_millis(500);

/// Bytes of the name under which an agent is met.
const MEETING_BYTES: usize = 12;

/// The name under which the agent of a batch is met on a host of that name.
pub(crate) fn meeting(secret: u64, host: &str) -> String {
    let hash = Sha256::new().chain_update(secret.to_le_bytes()).chain_update(host).finalize();
    hash.iter().take(MEETING_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// Hears an agent's hello.
///
/// # Errors
/// It doesn't come, or is of an agent that this titan can't talk to, which is told so.
pub(crate) async fn hear_hello(link: &mut Link) -> Result<(Hello, Decoder), LaunchError> {
    let mut bytes = Vec::new();
    loop {
        let opening = Opening::decode(&bytes).map_err(|error| LaunchError::handshake(&error))?;
        if let Some((Opening::Hello(hello), length)) = opening {
            if let Err(error) = hello.check(&titan_agent::build()) {
                // An agent of another version still understands this.
                let _ = link.writer.write_all(GOODBYE).await;
                // A connection that is closed at once takes it along.
                let _ = timeout(REFUSE_SPAN, link.way.closed()).await;
                let refusal = LaunchError::handshake(&error);
                // Another build of titan has left it there: it ends now, and the next one is of this build.
                let lasting = if hello.session.is_some() { Lasting::Busy } else { refusal.lasting };
                return Err(LaunchError { lasting, ..refusal });
            }
            let mut decoder = Decoder::default();
            decoder.push(&bytes[length..]);
            return Ok((hello, decoder));
        }
        if opening.is_some() {
            return Err(LaunchError::handshake(&HandshakeError::NotTitan));
        }
        let mut buffer = [0; 4 << 10];
        match link.reader.read(&mut buffer).await {
            Ok(length @ 1..) => bytes.extend_from_slice(&buffer[..length]),
            _ => return Err(LaunchError::ended(&link.stderr.last_words().await, "")),
        }
    }
}

/// Tells an agent that it is over, whatever conversation it is in.
pub(crate) async fn farewell(mut link: Link, agent: Hello, epoch: Epoch) {
    let bytes = match agent.session {
        Some(_) => Hello { role: Role::Manager, session: Some(SessionId(0)), epoch, last_seen: 0, ..agent }.encode(),
        None => GOODBYE.to_vec(),
    };
    let _ = link.writer.write_all(&bytes).await;
    link.way.closed().await;
}

/// What the other end of a link says beside the stream, as the end of a sentence.
pub(crate) async fn last_words(link: &mut Link) -> String {
    match link.stderr.last_words().await.trim() {
        "" => String::new(),
        words => format!("; its last words: {}", words.lines().next_back().unwrap_or_default()),
    }
}
