//! What `where` can name of a host.

use std::collections::BTreeMap;

/// The host's name, what its target says, and its own labels.
pub(crate) fn labels(name: &str, target: &str, own: &[String]) -> BTreeMap<String, String> {
    let (arch, os) = match target.split_once('-') {
        Some((arch, rest)) => (arch, os_of(rest)),
        None => (target, ""),
    };
    let known = [("name", name), ("arch", arch), ("os", os)].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let own = own.iter().map(|label| match label.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (label.clone(), String::new()),
    });
    own.chain(known).collect()
}

/// The part of a target triple that names the system: `unknown-linux-gnu` → `linux`.
fn os_of(rest: &str) -> &str {
    rest.split('-').find(|part| ["linux", "darwin", "freebsd"].contains(part)).unwrap_or(rest)
}
