//! A titan, and an agent, of another version.

use crate::program;
use std::fs;
use std::path::{Path, PathBuf};

/// Makes a titan in that folder that calls itself another build than this one, of the same length.
///
/// # Panics
/// It can't be written.
pub fn other_than_this(folder: &Path) -> PathBuf {
    let build = titan_agent::build();
    let (_, hash) = build.split_once('+').expect("a build's name ends with a hash");
    let mut bytes = fs::read(program::titan()).expect("it was built");
    let mut places = Vec::new();
    for at in 0..bytes.len() - hash.len() {
        if bytes[at..].starts_with(hash.as_bytes()) {
            places.push(at);
        }
    }
    assert!(!places.is_empty(), "a titan says its build");
    for at in places {
        bytes[at..at + hash.len()].fill(b'0');
    }
    let path = folder.join("another-titan");
    program::write(&path, &bytes);
    path
}
