//! Which agent is for which target: titan's own executable for titan's own target, files that were put beside it for
//! others, and what a host's `agent` key names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::LaunchError;
use super::parcel::Parcel;

/// An agent's executable, as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    pub(crate) parcel: Parcel,
    /// SHA-256 in hexadecimal: its name on hosts.
    pub(crate) hash: String,
    /// What `uname -sm` says where it runs: `Linux x86_64`.
    pub(crate) uname: &'static str,
}

/// A target that agents exist for.
struct Target {
    name: &'static str,
    uname: &'static str,
    /// `e_machine` in an ELF header.
    elf_machine: u16,
}

const TARGETS: [Target; 2] = [
    Target { name: "x86_64-linux", uname: "Linux x86_64", elf_machine: 62 },
    Target { name: "aarch64-linux", uname: "Linux aarch64", elf_machine: 183 },
];

/// An agent is a few megabytes; with all debug information some hundred.
const MAX_BINARY_BYTES: u64 = 1 << 30;

/// The agents that can be sent, read once and only if one is needed.
#[derive(Debug, Default)]
pub(crate) struct Binaries {
    found: OnceCell<Vec<Binary>>,
    named: tokio::sync::Mutex<BTreeMap<PathBuf, Binary>>,
}

impl Binaries {
    /// The agents for a host: the one that its `agent` key names, or all that were found.
    pub(crate) async fn for_host(&self, named: Option<&Path>) -> Result<Vec<Binary>, LaunchError> {
        let Some(path) = named else {
            let found = self.found.get_or_try_init(|| blocking(find_all)).await?;
            return Ok(found.clone());
        };
        let mut known = self.named.lock().await;
        if let Some(binary) = known.get(path) {
            return Ok(vec![binary.clone()]);
        }
        let file = path.to_owned();
        let binary = blocking(move || read_binary(&file)).await?;
        known.insert(path.to_owned(), binary.clone());
        Ok(vec![binary])
    }

    /// Whether there is an agent for a host where `uname -sm` says that.
    pub(crate) async fn require(&self, named: Option<&Path>, uname: &str) -> Result<(), LaunchError> {
        let binaries = self.for_host(named).await?;
        match binaries.iter().any(|binary| binary.uname == uname) {
            true => Ok(()),
            false => Err(LaunchError::no_agent_for(uname)),
        }
    }
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, LaunchError> + Send + 'static,
) -> Result<T, LaunchError> {
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn find_all() -> Result<Vec<Binary>, LaunchError> {
    // Not current_exe(): the file may have been replaced since titan started.
    let own = read_binary(Path::new("/proc/self/exe"))?;
    let mut found = vec![];
    for target in TARGETS.iter().filter(|target| target.uname != own.uname) {
        if let Some(path) = places(target.name).into_iter().find(|path| path.is_file()) {
            found.push(read_binary(&path)?);
        }
    }
    found.insert(0, own);
    Ok(found)
}

/// The hash of this build's own agent.
pub(crate) fn own_hash() -> Option<String> {
    read_binary(Path::new("/proc/self/exe")).ok().map(|binary| binary.hash)
}

/// Where an agent for another target is looked for.
pub(crate) fn places(target: &str) -> Vec<PathBuf> {
    let name = format!("titan-agent-{target}");
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(&name)));
    let data = dirs::data_dir().map(|folder| folder.join("titan").join(&name));
    beside.into_iter().chain(data).collect()
}

fn read_binary(path: &Path) -> Result<Binary, LaunchError> {
    let failed = |reason: String| LaunchError::agent_file(path, &reason);
    let data = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if !data.is_file() {
        return Err(failed("it is no file".to_owned()));
    }
    let length = data.len();
    if length > MAX_BINARY_BYTES {
        return Err(failed(format!("{length} bytes are no agent")));
    }
    let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let Some(target) = target_of(&bytes) else {
        return Err(failed("it is no Linux executable for x86-64 or aarch64".to_owned()));
    };
    let hash = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Binary { parcel: Parcel::new(bytes), hash, uname: target.uname })
}

/// The target of a 64-bit little-endian ELF file.
fn target_of(bytes: &[u8]) -> Option<&'static Target> {
    const LITTLE_64_BIT: &[u8] = b"\x7fELF\x02\x01";
    let machine = u16::from_le_bytes([*bytes.get(18)?, *bytes.get(19)?]);
    TARGETS.iter().find(|target| bytes.starts_with(LITTLE_64_BIT) && target.elf_machine == machine)
}

/// The name of the target where `uname -sm` says that, if it is one that agents can be built for.
pub(crate) fn target_name(uname: &str) -> Option<&'static str> {
    TARGETS.iter().find(|target| target.uname == uname).map(|target| target.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_is_an_agent_for_its_own_target() {
        let own = read_binary(Path::new("/proc/self/exe")).unwrap();
        assert_eq!(target_name(own.uname), Some(titan_agent::machine::target().as_str()));
        assert_eq!(own.hash.len(), 64);
    }

    #[test]
    fn a_text_file_is_no_agent() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "hello").unwrap();
        assert!(read_binary(file.path()).is_err());
    }
}
