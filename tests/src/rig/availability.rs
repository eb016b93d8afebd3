//! Whether a rig can be made here: skipped with a loud line where not, a failure where CI asks for it.

use super::tools;
use std::env;
use std::io::{self, Write};
use std::process::Stdio;
use std::sync::OnceLock;

/// With this variable set to 1, a rig that can't be made is a failure instead of a skipped test.
pub const REQUIRED_VARIABLE: &str = "TITAN_RIG_REQUIRED";

/// With this variable set to 1, all tests that need a real sshd are skipped.
pub const SKIP_VARIABLE: &str = "TITAN_RIG_SKIP";

const PROGRAMS: [&str; 11] =
    ["sshd", "ssh", "ssh-keygen", "ip", "bridge", "unshare", "nsenter", "mount", "find", "stat", "setpriv"];

/// Namespaces, mounts, veth and bridge: what a rig asks of the kernel.
const PROBE: &str =
    "mount -t proc proc /proc && ip link add br0 type bridge && ip link add one type veth peer name two";

/// Whether the environment says that rigs must work.
pub fn required() -> bool {
    env::var_os(REQUIRED_VARIABLE).is_some_and(|value| value == "1")
}

/// Whether rigs of namespaces can be made here.
///
/// # Errors
/// What is missing, in words.
pub fn available() -> Result<(), String> {
    static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
    ANSWER.get_or_init(probe).clone()
}

/// True when rigs can't be made here, after a loud line on stderr that says why: the test returns.
///
/// ```no_run
/// if titan_tests::rig::skipped() {
///     return;
/// }
/// ```
///
/// # Panics
/// When [`REQUIRED_VARIABLE`] is 1 and rigs can't be made.
#[must_use]
pub fn skipped() -> bool {
    skipped_for("rig tests need root and sshd", available())
}

/// The same for any other condition: `need` names it, `answer` is what is missing.
#[must_use]
pub fn skipped_for(need: &str, answer: Result<(), String>) -> bool {
    let unwanted = env::var_os(SKIP_VARIABLE).is_some_and(|value| value == "1");
    let answer = if unwanted { Err(format!("{SKIP_VARIABLE}=1")) } else { answer };
    let Err(why) = answer else { return false };
    assert!(!required(), "{REQUIRED_VARIABLE}=1, but {need}: {why}");
    // Not eprintln: the test harness would swallow that.
    let _ = writeln!(io::stderr(), "SKIPPED: {need}: {why}");
    true
}

fn probe() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("this user isn't root".to_owned());
    }
    if let Some(missing) = PROGRAMS.iter().find(|program| tools::find(program).is_none()) {
        return Err(format!("the program {missing} isn't installed"));
    }
    let output = tools::clean_command("unshare")
        .args(["-m", "-u", "-i", "-n", "-p", "-f", "--kill-child", "sh", "-c", PROBE])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("unshare: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(format!("the kernel refuses namespaces or their networks: {}", reason.trim()))
}
