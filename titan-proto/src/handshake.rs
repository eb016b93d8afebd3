//! Hello and Goodbye: the only bytes that are the same in all versions, so that any titan can talk to any agent for long
//! enough to say which side is to be updated, or to end it.
//!
//! ```text
//! Hello    "TITAN\r\n\0" | version u16 | role u16 | length u32 | lines of key=value, UTF-8      (little endian)
//! Goodbye  "TITANBYE"
//! ```
//! Unknown keys are passed over, missing ones have defaults; what a peer claims is clamped to sane bounds.

use std::collections::BTreeMap;

use crate::PROTOCOL_VERSION;
use crate::id::{BatchId, Epoch, SessionId};

/// The first bytes of every Hello.
pub const MAGIC: &[u8; 8] = b"TITAN\r\n\0";
/// The whole Goodbye.
pub const GOODBYE: &[u8; 8] = b"TITANBYE";

const HEADER_BYTES: usize = 16;
/// Longest body of a Hello.
pub const MAX_BODY_BYTES: usize = 64 << 10;
/// More cores than this are a mistake or a lie.
pub const MAX_CORES: u32 = 4_096;
/// More memory than this is a mistake or a lie: 1 PiB.
pub const MAX_MEMORY_BYTES: u64 = 1 << 50;
/// Longest text that a Hello's value keeps.
const MAX_TEXT_CHARS: usize = 200;
/// Most kernels that a Hello's list keeps.
const MAX_KERNELS: usize = 256;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The program on a host.
    Agent,
    /// The manager, inside titan.
    Manager,
}

/// What each side says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The version that the side speaks after the handshake.
    pub version: u16,
    /// Who speaks.
    pub role: Role,
    /// Which build it is: version and, where known, hash.
    pub build: String,
    /// The machine that the build is for: `x86_64-linux`.
    pub target: String,
    /// Cores that the process may use.
    pub cores: u32,
    /// Memory that the process may use, in bytes.
    pub memory_bytes: u64,
    /// Names of the kernels that it knows.
    pub kernels: Vec<String>,
    /// The batch; an agent that belongs to none yet says nothing.
    pub batch: Option<BatchId>,
    /// The session, likewise.
    pub session: Option<SessionId>,
    /// The manager's epoch, as far as the speaker knows.
    pub epoch: Epoch,
    /// The last sequence number that the speaker has seen from the other side; 0 when the session is new.
    pub last_seen: u64,
    /// Of an agent: no other one of this batch and host lives, nor anything that one has run.
    pub is_alone: bool,
    /// Of a manager: it goes on with what an agent has from one of an earlier epoch.
    pub adopts: bool,
}

/// What a connection begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// The other side introduces itself.
    Hello(Hello),
    /// The other side ends the session instead.
    Goodbye,
}

/// Why a connection can't begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The other side is no titan.
    #[error("the other side doesn't speak titan's protocol")]
    NotTitan,
    /// A Hello with a body beyond its bound or not UTF-8, or a role that doesn't exist.
    #[error("the other side's hello is damaged")]
    Damaged,
    /// The two sides are different builds: their kernels could compute different bits.
    #[error("titan is build {manager} and the agent is build {agent}: build both from the same source")]
    Build {
        /// titan's build.
        manager: String,
        /// The agent's build.
        agent: String,
    },
    /// The two sides have different versions.
    #[error("titan speaks protocol {manager} and the agent speaks {agent}: update {}", older(*manager, *agent))]
    Version {
        /// titan's version.
        manager: u16,
        /// The agent's version.
        agent: u16,
    },
}

fn older(manager: u16, agent: u16) -> &'static str {
    if manager < agent {
        "titan on this machine"
    } else {
        "the agent (its host's `agent` key, or the file it was found as)"
    }
}

impl Hello {
    /// The Hello as it goes over the connection.
    pub fn encode(&self) -> Vec<u8> {
        let body = self.body();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&(matches!(self.role, Role::Manager) as u16).to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(body.as_bytes());
        bytes
    }

    fn body(&self) -> String {
        let mut body = format!(
            "build={}\ntarget={}\ncores={}\nmemory={}\nkernels={}\nepoch={}\nlast_seen={}\n",
            clean(&self.build),
            clean(&self.target),
            self.cores,
            self.memory_bytes,
            clean_list(&self.kernels),
            self.epoch.0,
            self.last_seen,
        );
        if let Some(batch) = &self.batch {
            body.push_str(&format!("batch={batch}\n"));
        }
        if self.adopts {
            body.push_str("adopts=1\n");
        }
        if self.is_alone {
            body.push_str("alone=1\n");
        }
        if let Some(session) = self.session {
            body.push_str(&format!("session={}\n", session.0));
        }
        body
    }

    fn from_body(version: u16, role: Role, body: &str) -> Self {
        let values: BTreeMap<&str, &str> = body.lines().filter_map(|line| line.split_once('=')).collect();
        let text = |key: &str| values.get(key).map(|value| clean(value)).unwrap_or_default();
        let number = |key: &str| values.get(key).and_then(|value| value.parse::<u64>().ok());
        let kernels = values.get("kernels").copied().unwrap_or_default();
        Self {
            version,
            role,
            build: text("build"),
            target: text("target"),
            cores: number("cores").unwrap_or(1).clamp(1, u64::from(MAX_CORES)) as u32,
            memory_bytes: number("memory").unwrap_or(0).min(MAX_MEMORY_BYTES),
            kernels: kernels.split(',').map(clean).filter(|name| !name.is_empty()).take(MAX_KERNELS).collect(),
            batch: values.get("batch").and_then(|id| BatchId::parse(id)),
            session: number("session").map(SessionId),
            epoch: Epoch(number("epoch").unwrap_or(0).min(u64::from(u32::MAX)) as u32),
            last_seen: number("last_seen").unwrap_or(0),
            is_alone: number("alone") == Some(1),
            adopts: number("adopts") == Some(1),
        }
    }

    /// Whether this side, which is of that build, and the other can work together.
    ///
    /// # Errors
    /// A sentence that says which side is to be updated.
    pub fn check(&self, build: &str) -> Result<(), HandshakeError> {
        if self.version == PROTOCOL_VERSION {
            return self.check_build(build);
        }
        let (manager, agent) = match self.role {
            Role::Agent => (PROTOCOL_VERSION, self.version),
            Role::Manager => (self.version, PROTOCOL_VERSION),
        };
        Err(HandshakeError::Version { manager, agent })
    }
}

impl Hello {
    fn check_build(&self, build: &str) -> Result<(), HandshakeError> {
        let (manager, agent) = match self.role {
            Role::Agent => (build.to_owned(), self.build.clone()),
            Role::Manager => (self.build.clone(), build.to_owned()),
        };
        if manager == agent { Ok(()) } else { Err(HandshakeError::Build { manager, agent }) }
    }
}

/// One line, no control characters, bounded.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT_CHARS).collect()
}

fn clean_list(names: &[String]) -> String {
    names.iter().take(MAX_KERNELS).map(|name| clean(name).replace(',', "")).collect::<Vec<_>>().join(",")
}

impl Opening {
    /// Reads an opening from the front of `bytes`: it and its length, or None until more bytes are there.
    ///
    /// # Errors
    /// The bytes are no opening.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, HandshakeError> {
        let known = bytes.len().min(MAGIC.len());
        if bytes.starts_with(GOODBYE) {
            return Ok(Some((Self::Goodbye, GOODBYE.len())));
        }
        if bytes[..known] != MAGIC[..known] && bytes[..known] != GOODBYE[..known] {
            return Err(HandshakeError::NotTitan);
        }
        let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) else {
            return Ok(None);
        };
        let version = u16::from_le_bytes([header[8], header[9]]);
        let role = match u16::from_le_bytes([header[10], header[11]]) {
            0 => Role::Agent,
            1 => Role::Manager,
            _ => return Err(HandshakeError::Damaged),
        };
        let length = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) as usize;
        if length > MAX_BODY_BYTES {
            return Err(HandshakeError::Damaged);
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let body = std::str::from_utf8(body).map_err(|_| HandshakeError::Damaged)?;
        Ok(Some((Self::Hello(Hello::from_body(version, role, body)), HEADER_BYTES + length)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello() -> Hello {
        Hello {
            version: 1,
            role: Role::Agent,
            build: "0.1.0".into(),
            target: "x86_64-linux".into(),
            cores: 8,
            memory_bytes: 1 << 30,
            kernels: vec!["mandelbrot".into(), "weather".into()],
            batch: BatchId::parse("k3f9"),
            session: Some(SessionId(5)),
            epoch: Epoch(1),
            last_seen: 42,
            is_alone: false,
            adopts: false,
        }
    }

    #[test]
    fn a_hello_keeps_its_bytes_for_all_versions() {
        let golden: &[u8] = b"TITAN\r\n\0\x01\0\0\0\x8c\0\0\0build=0.1.0\ntarget=x86_64-linux\ncores=8\n\
            memory=1073741824\nkernels=mandelbrot,weather\nepoch=1\nlast_seen=42\nbatch=k3f9\nsession=5\n";
        let bytes = hello().encode();
        assert_eq!(bytes[16..], golden[16..]);
        assert_eq!(bytes[12] as usize, bytes.len() - 16);
        assert_eq!(bytes[..12], golden[..12]);
        assert_eq!(Opening::decode(&bytes), Ok(Some((Opening::Hello(hello()), bytes.len()))));
    }

    #[test]
    fn a_goodbye_keeps_its_bytes_for_all_versions() {
        assert_eq!(GOODBYE, b"TITANBYE");
        assert_eq!(Opening::decode(b"TITANBYE"), Ok(Some((Opening::Goodbye, 8))));
    }

    #[test]
    fn a_hello_of_another_version_is_read_and_refused_with_the_side_to_update() {
        let newer = Hello { version: 9, ..hello() };
        let Ok(Some((Opening::Hello(read), _))) = Opening::decode(&newer.encode()) else { panic!() };
        let error = read.check("0.1.0").unwrap_err().to_string();
        let ours = PROTOCOL_VERSION;
        assert_eq!(error, format!("titan speaks protocol {ours} and the agent speaks 9: update titan on this machine"));
        let newer_titan = Hello { role: Role::Manager, ..newer };
        let error = newer_titan.check("0.1.0").unwrap_err().to_string();
        assert!(error.ends_with("update the agent (its host's `agent` key, or the file it was found as)"), "{error}");
    }

    #[test]
    fn another_build_is_refused() {
        let hello = Hello { version: PROTOCOL_VERSION, ..hello() };
        assert_eq!(hello.check("0.1.0"), Ok(()));
        let error = hello.check("0.2.0").unwrap_err().to_string();
        assert_eq!(error, "titan is build 0.2.0 and the agent is build 0.1.0: build both from the same source");
    }

    #[test]
    fn claims_are_clamped() {
        let boast = Hello { cores: u32::MAX, memory_bytes: u64::MAX, build: "a\nb\x1b[2J".repeat(99), ..hello() };
        let Ok(Some((Opening::Hello(read), _))) = Opening::decode(&boast.encode()) else { panic!() };
        assert_eq!((read.cores, read.memory_bytes), (MAX_CORES, MAX_MEMORY_BYTES));
        assert!(read.build.len() <= MAX_TEXT_CHARS && !read.build.contains(['\n', '\x1b']));
    }

    #[test]
    fn chatter_is_no_hello() {
        assert_eq!(Opening::decode(b"Welcome to alpha!"), Err(HandshakeError::NotTitan));
        assert_eq!(Opening::decode(b"TIT"), Ok(None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(tail in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Opening::decode(&tail);
            let _ = Opening::decode(&[MAGIC.as_slice(), &tail].concat());
        }
    }
}
