//! The real titan, as tests run it, and other programs that they make.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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

/// Writes a program that can be run at once.
///
/// Another process writes it: what this one starts meanwhile, on another thread, would hold the file open for writing for a
/// moment, and such a file can't be run.
///
/// # Panics
/// It can't be written.
pub fn write(path: &Path, bytes: &[u8]) {
    let mut command = Command::new("sh");
    command.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""]).arg(path).stdin(Stdio::piped());
    let mut writer = command.spawn().expect("there is a shell");
    let mut stdin = writer.stdin.take().expect("it was asked for");
    stdin.write_all(bytes).expect("the shell reads to the end");
    drop(stdin);
    assert!(writer.wait().expect("it was started here").success(), "cannot write {}", path.display());
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
