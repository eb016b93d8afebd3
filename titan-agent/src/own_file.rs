//! The agent's executable in the cache of a host, and those of other builds that lie beside it.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::own_folder;

/// What an agent's file is called before its hash, and one that is on its way.
const AGENT: &str = "agent-";
const ARRIVING: &str = ".agent-";
const HASH_DIGITS: usize = 64;
/// Agents that are kept, the newest first and this one in any case.
const KEPT: usize = 5;
/// What is on its way for longer comes no more.
const ARRIVAL_SPAN: Duration = Duration::from_hours(1);

/// If this process was started from a host's cache: removes agents of builds that are long gone, and what was left of copying one.
#[expect(clippy::disallowed_methods, reason = "files that are old")]
pub(crate) fn prune_cache() {
    let Ok(own) = std::env::current_exe() else { return };
    if let (Some(folder), Some(name)) = (own.parent(), own.file_name())
        && is_agent(name)
        && own_folder::is_ours(folder)
    {
        prune(folder, name, SystemTime::now());
    }
}

fn prune(folder: &Path, own: &OsStr, now: SystemTime) {
    let age = |data: &Metadata| data.modified().ok().and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
    let mut agents = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (name, Ok(data)) = (entry.file_name(), entry.metadata()) else { continue };
        if is_agent(&name) && name != own {
            agents.push((age(&data), entry.path()));
        } else if name.as_encoded_bytes().starts_with(ARRIVING.as_bytes()) && age(&data) > ARRIVAL_SPAN {
            let _ = fs::remove_file(entry.path());
        }
    }
    agents.sort();
    for (_, path) in agents.iter().skip(KEPT - 1) {
        let _ = fs::remove_file(path);
    }
}

fn is_agent(name: &OsStr) -> bool {
    let hash = name.to_str().and_then(|name| name.strip_prefix(AGENT));
    hash.is_some_and(|hash| hash.len() == HASH_DIGITS && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "files that are old")]
    fn the_newest_agents_stay_and_what_never_arrived_goes() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let put = |name: &str, age: Duration| {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(now - age).unwrap();
        };
        let agent = |number: u64| format!("agent-{number:064x}");
        let minute = Duration::from_mins(1);
        // This one is the oldest.
        put(&agent(0), minute * 90);
        (1..9).for_each(|number| put(&agent(number), minute * number as u32));
        put(".agent-host-1", minute * 59);
        put(".agent-host-2", minute * 61);
        put("agent-of-somebody", minute * 1000);
        prune(folder.path(), OsStr::new(&agent(0)), now);
        let mut left: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut kept: Vec<String> = (0..5).map(agent).collect();
        kept.extend([".agent-host-1".to_owned(), "agent-of-somebody".to_owned()]);
        kept.sort();
        assert_eq!(left, kept);
    }
}
