//! From a shell's stdin and stdout to an agent's: the script goes in, its marker comes out, the agent follows if the host
//! lacks it, and from there on the streams are the agent's.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::binaries::{Binaries, Binary};
use super::parcel::{Packing, Upload};
use super::{LaunchError, Launching, Link, Shell, Story, script};
use crate::config::cluster::Host;

/// What rc files may print before they must come to an end.
const MAX_CHATTER_BYTES: usize = 256 << 10;
/// The longest line of the script's own.
const MAX_LINE_BYTES: usize = 16 << 10;

/// The most facts that a probe tells.
const MAX_FACTS: usize = 100;

/// What an agent on a host needs.
#[derive(Debug, Clone)]
pub(crate) struct Requirements {
    host: String,
    agent: Option<PathBuf>,
    env: BTreeMap<String, String>,
    workdir: Option<PathBuf>,
}

impl Requirements {
    pub(crate) fn of(host: &Host) -> Self {
        Self {
            host: host.name.clone(),
            agent: host.agent.clone(),
            env: host.env.clone(),
            workdir: host.workdir.clone(),
        }
    }
}

/// Makes a shell an agent, as soon as it is there. The agent's file is read while somebody logs in.
pub(crate) async fn start_agent(
    shell: impl Future<Output = Result<Shell, LaunchError>>,
    requirements: &Requirements,
    launching: &Launching,
    meeting: &str,
) -> Result<Link, LaunchError> {
    let (shell, binaries) = tokio::join!(shell, launching.binaries.for_host(requirements.agent.as_deref()));
    let (mut shell, binaries) = (shell?, binaries?);
    let marker = marker();
    let Requirements { env, workdir, .. } = requirements;
    let text = script::start(&marker, meeting, &binaries, env, workdir.as_deref(), launching.ssh.start_timeout);
    let mut lines = Lines::new(&marker);
    let sent = match converse(&mut shell, &mut lines, &text, &binaries, requirements).await {
        Ok(sent) => sent,
        Err(Stop::Because(error)) => return Err(error),
        Err(Stop::Ended) => return Err(lines.explain(&mut shell).await),
    };
    let rest = io::Cursor::new(lines.into_rest());
    Ok(Link {
        reader: Box::new(rest.chain(shell.reader)),
        writer: shell.writer,
        stderr: shell.stderr,
        way: shell.way,
        story: Story { login: shell.login, sent_bytes: Some(sent) },
    })
}

/// Why there is no agent.
pub(crate) enum Stop {
    /// The streams ended, or never said anything of ours.
    Ended,
    /// The host said why.
    Because(LaunchError),
}

async fn converse(
    shell: &mut Shell,
    lines: &mut Lines,
    text: &str,
    binaries: &[Binary],
    requirements: &Requirements,
) -> Result<u64, Stop> {
    say(shell, text.as_bytes()).await;
    let mut upload = None;
    loop {
        let line = lines.next(&mut shell.reader).await?;
        shell.is_there();
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "have" | "placed" => return Ok(upload.as_ref().map_or(0, Upload::sent_bytes)),
            "want" => {
                let (packing, uname) = match rest.split_once(' ') {
                    Some(("gzip", uname)) => (Packing::Gzip, uname),
                    Some(("plain", uname)) => (Packing::Plain, uname),
                    _ => return Err(Stop::Because(LaunchError::strange(&requirements.host, &line))),
                };
                let fits = |binary: &&Binary| binary.uname == uname;
                let missing = || Stop::Because(LaunchError::no_agent_for(uname));
                let binary = binaries.iter().find(fits).ok_or_else(missing)?;
                send_piece(upload.insert(binary.parcel.upload(packing)), shell).await;
            }
            "got" if let Some(upload) = &mut upload => send_piece(upload, shell).await,
            "target" => return Err(Stop::Because(LaunchError::no_agent_for(rest))),
            "nowhere" => return Err(Stop::Because(LaunchError::nowhere(rest))),
            "failed" => return Err(Stop::Because(LaunchError::not_placed(rest))),
            _ => return Err(Stop::Because(LaunchError::strange(&requirements.host, &line))),
        }
    }
}

impl Shell {
    /// It has said something: the login is over.
    fn is_there(&mut self) {
        self.place = None;
        if self.login.is_zero() {
            self.login = self.begun.elapsed();
        }
    }
}

/// Why the other end takes no more, it may have said: that is read next.
async fn send_piece(upload: &mut Upload, shell: &mut Shell) {
    let _ = upload.next(&mut shell.writer).await;
}

/// Writes as much as the other end takes. Why it takes no more, it may have said: that is read next.
async fn say(shell: &mut Shell, bytes: &[u8]) {
    if shell.writer.write_all(bytes).await.is_ok() {
        let _ = shell.writer.flush().await;
    }
}

/// Runs the probe in a shell and returns its facts.
pub(crate) async fn probe(
    shell: &mut Shell,
    requirements: &Requirements,
    binaries: &Binaries,
) -> Result<BTreeMap<String, String>, LaunchError> {
    let binaries = binaries.for_host(requirements.agent.as_deref()).await?;
    let marker = marker();
    let text = script::probe(&marker, &binaries);
    let mut lines = Lines::new(&marker);
    match read_facts(shell, &mut lines, &text).await {
        Ok(facts) => Ok(facts),
        Err(Stop::Because(error)) => Err(error),
        Err(Stop::Ended) => Err(lines.explain(shell).await),
    }
}

/// What titan keeps on a host: of each folder its size in bytes. With `removes` it goes.
pub(crate) async fn clean(shell: &mut Shell, removes: bool) -> Result<Vec<(String, u64)>, LaunchError> {
    let marker = marker();
    let text = script::clean(&marker, removes);
    let mut lines = Lines::new(&marker);
    let facts = match read_facts(shell, &mut lines, &text).await {
        Ok(facts) => facts,
        Err(Stop::Because(error)) => return Err(error),
        Err(Stop::Ended) => return Err(lines.explain(shell).await),
    };
    let folder = |value: String| {
        let (kib, path) = value.split_once(' ')?;
        Some((path.to_owned(), kib.parse::<u64>().ok()?.saturating_mul(1 << 10)))
    };
    Ok(facts.into_values().filter_map(folder).collect())
}

async fn read_facts(shell: &mut Shell, lines: &mut Lines, text: &str) -> Result<BTreeMap<String, String>, Stop> {
    say(shell, text.as_bytes()).await;
    let mut facts = BTreeMap::new();
    loop {
        let line = lines.next(&mut shell.reader).await?;
        shell.is_there();
        if facts.len() > MAX_FACTS {
            return Err(Stop::Ended);
        }
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["end"] => return Ok(facts),
            ["fact", name, ref value @ ..] => facts.insert(name.to_owned(), value.join(" ")),
            _ => continue,
        };
    }
}

/// A word that no rc file prints by chance.
fn marker() -> String {
    format!("titan-{:016x}-{:x}", RandomState::new().hash_one(0), std::process::id())
}

/// Finds the script's lines in what comes from the host, whatever else is printed before or between.
pub(super) struct Lines {
    marker: Vec<u8>,
    bytes: Vec<u8>,
    chatter: Vec<u8>,
    /// Whether any line of ours has come.
    heard: bool,
}

impl Lines {
    pub(super) fn new(marker: &str) -> Self {
        Self { marker: format!("{marker} ").into_bytes(), bytes: Vec::new(), chatter: Vec::new(), heard: false }
    }

    pub(super) async fn next(
        &mut self,
        reader: &mut (impl tokio::io::AsyncRead + Unpin + ?Sized),
    ) -> Result<String, Stop> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(line);
            }
            if self.chatter.len() > MAX_CHATTER_BYTES || self.bytes.len() > MAX_CHATTER_BYTES {
                return Err(Stop::Because(LaunchError::endless(MAX_CHATTER_BYTES)));
            }
            let mut buffer = [0; 4 << 10];
            match reader.read(&mut buffer).await {
                Ok(length @ 1..) => self.bytes.extend_from_slice(&buffer[..length]),
                Ok(0) | Err(_) => {
                    self.chatter.append(&mut self.bytes);
                    return Err(Stop::Ended);
                }
            }
        }
    }

    fn take_line(&mut self) -> Option<String> {
        let start = self.bytes.windows(self.marker.len()).position(|window| window == self.marker)?;
        let text = &self.bytes[start + self.marker.len()..];
        let length = text.iter().position(|&byte| byte == b'\n')?;
        let line = String::from_utf8_lossy(&text[..length.min(MAX_LINE_BYTES)]).into_owned();
        let end = start + self.marker.len() + length + 1;
        self.chatter.extend(self.bytes.drain(..end).take(start));
        self.heard = true;
        Some(line)
    }

    /// Why the streams ended too early.
    async fn explain(&self, shell: &mut Shell) -> LaunchError {
        let stderr = shell.stderr.last_words().await;
        match &shell.typed {
            Some(typed) if !self.heard && LaunchError::is_sshs(&stderr) => LaunchError::ssh(typed, &stderr),
            _ => LaunchError::ended(&stderr, &self.chatter()),
        }
    }

    /// What was printed that isn't ours.
    fn chatter(&self) -> String {
        String::from_utf8_lossy(&self.chatter).into_owned()
    }

    fn into_rest(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_found_behind_chatter_and_the_rest_is_left() {
        let mut lines = Lines::new("mark");
        let mut stream: &[u8] = b"Welcome!\nno newline at the endmark have /x y\nTITAN...";
        let line = lines.next(&mut stream).await.unwrap_or_default();
        assert_eq!(line, "have /x y");
        assert_eq!(lines.chatter(), "Welcome!\nno newline at the end");
        assert_eq!(lines.into_rest(), b"TITAN...");
    }

    #[tokio::test]
    async fn endless_chatter_is_given_up() {
        let mut lines = Lines::new("mark");
        let mut stream = tokio::io::repeat(b'x');
        assert!(lines.next(&mut stream).await.is_err());
    }
}
