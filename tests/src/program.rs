//! The real titan, as tests run it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Names a titan to test instead of the one that is built from this tree.
const VARIABLE: &str = "TITAN_BIN";

/// Path of titan's executable, built if it isn't up to date.
///
/// # Panics
/// It can't be built.
pub fn titan() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os(VARIABLE) {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    // target/PROFILE/deps/TEST-HASH
    let folder = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--package", "titan-cli", "--bin", "titan"]);
    if folder.ends_with("release") {
        command.arg("--release");
    }
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    if let Some(target) = folder.parent() {
        command.env("CARGO_TARGET_DIR", target);
    }
    let status = command.status().expect("cargo runs");
    assert!(status.success(), "titan can't be built");
    folder.join("titan")
}
