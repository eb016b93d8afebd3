//! What a host's shell is told: find the agent, or take it, and become it. One POSIX compound command, so that the shell has
//! read all of it before any of it runs: what follows on its stdin is the agent's.
//!
//! It says what it does in lines that begin with a word of our own choosing, since rc files may print anything before:
//! `have`, `want gzip|plain UNAME`, `placed`, `target UNAME`, `nowhere REASONS`, `failed REASON`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::binaries::Binary;

/// Beyond the agent's size: what must be free, in KiB.
const SPARE_KIB: usize = 1 << 10;

/// From this one on, the newest first, agents go when another comes.
const KEPT: usize = 5;

/// The directories that an agent may be cached in, as the shell spells them; the first that works is taken.
const CANDIDATES: &str = r#""${XDG_CACHE_HOME:-$HOME/.cache}/titan" "/var/tmp/titan-$u" "/tmp/titan-$u" "/dev/shm/titan-$u" "/run/user/$u/titan""#;

/// What starts an agent. One that is missing comes as a line with a length and as many bytes: nothing follows them until the agent has
/// said hello, since some `head`s read ahead. If it doesn't arrive within `upload_span`, because whoever sends it is gone, the host gives up.
pub(crate) fn start(
    marker: &str,
    meeting: &str,
    binaries: &[Binary],
    env: &BTreeMap<String, String>,
    workdir: Option<&Path>,
    upload_span: Duration,
) -> String {
    let exports: String = env.iter().map(|(name, value)| format!("export {name}={}\n", quote(value))).collect();
    let enter = workdir.map(|folder| {
        let folder = quote(&folder.to_string_lossy());
        format!(
            "cd {folder} 2>/dev/null || {{ say failed \"the host's workdir can't be entered:\" {folder}; exit 0; }}\n"
        )
    });
    format!(
        r#"{{ titan_start() {{
{prologue}
u=$(id -u)
find_cached
{enter}if [ -n "$d" ]; then say have; become "$d/agent-$h"; fi
find_place
if [ -z "$d" ]; then say nowhere "$why"; exit 0; fi
x="$d/.agent-$(uname -n)-$$"
trap '' 13
trap 'rm -f "$x"' 0
trap 'exit 1' 1 2 15
if command -v gzip >/dev/null; then z=gzip; else z=plain; fi
say want "$z" "$t"
s=$(take | unpack 2>/dev/null | tee "$x" 2>/dev/null | sum)
if [ "$(wc -c <"$x")" -ne "$n" ]; then say failed "the agent didn't arrive whole in $d"; exit 0; fi
if [ "${{s%% *}}" != "$h" ]; then say failed "the agent arrived damaged, or there is no sha256sum"; exit 0; fi
chmod 700 "$x" && mv -f "$x" "$d/agent-$h" || {{ say failed "the agent can't be put into $d"; exit 0; }}
trap - 0 1 2 13 15
say placed
become "$d/agent-$h"
}}
take() {{
parcel='read -r k && exec head -c "$k"'
if command -v timeout >/dev/null; then timeout {seconds} sh -c "$parcel"; else sh -c "$parcel"; fi 2>/dev/null
}}
unpack() {{
if [ "$z" = gzip ]; then gzip -dc; else cat; fi
}}
sum() {{
if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256 2>/dev/null; fi
}}
become() {{
umask "$um"
{exports}exec "$1" agent {meeting}
exit 126
}}
{functions}
titan_start; }}
"#,
        prologue = prologue(marker, binaries),
        functions = functions(),
        enter = enter.unwrap_or_default(),
        seconds = upload_span.as_secs().max(1),
    )
}

/// What looks around without changing anything: one `fact NAME VALUE` for each, then `end`.
pub(crate) fn probe(marker: &str, binaries: &[Binary]) -> String {
    format!(
        r#"{{ titan_probe() {{
{prologue}
u=$(id -u)
say fact uname "$(uname -s) $(uname -m)"
say fact system "$(. /etc/os-release 2>/dev/null; echo "${{PRETTY_NAME:-}}")"
say fact cores "$(nproc 2>/dev/null || grep -c ^processor /proc/cpuinfo)"
while read k v w; do [ "$k" = MemTotal: ] && say fact memory_kib "$v"; done </proc/meminfo
read v w </proc/loadavg && say fact load "$v"
find_cached
say fact cached "${{d:-no}}"
say end
}}
{functions}
titan_probe; }}
"#,
        prologue = prologue(marker, binaries).replace("say target \"$t\"; exit 0", "h=none; n=0"),
        functions = functions(),
    )
}

/// What takes the agent of that hash away, as if it had never been there.
pub(crate) fn forget(hash: &str) -> String {
    format!(r#"u=$(id -u); for d in {CANDIDATES}; do rm -f "$d/agent-{hash}"; done"#)
}

/// What tells of everything that titan keeps on a host, and with `removes` takes it away: `fact cacheN KIB PATH`, then `end`. Only
/// folders of ours, and only what titan has put there.
pub(crate) fn clean(marker: &str, removes: bool) -> String {
    let remove = if removes {
        r#"rm -rf "$d/blobs" "$d"/agent-* "$d"/.agent-* 2>/dev/null; rmdir "$d" 2>/dev/null"#
    } else {
        ":"
    };
    format!(
        r#"{{ titan_clean() {{
{prologue}
u=$(id -u)
i=0
for d in CANDIDATES; do
if ours "$d"; then
i=$((i + 1))
k=$(du -sk "$d" 2>/dev/null | {{ read a b; echo "$a"; }})
say fact "cache$i" "${{k:-0}} $d"
{remove}
fi
done
say end
}}
{functions}
titan_clean; }}
"#,
        prologue = prologue(marker, &[]).replace("say target \"$t\"; exit 0", "h=none; n=0"),
        functions = functions(),
    )
    .replace("CANDIDATES", CANDIDATES)
}

fn functions() -> String {
    FUNCTIONS
        .replace("SPARE", &SPARE_KIB.to_string())
        .replace("CANDIDATES", CANDIDATES)
        .replace("KEPT", &KEPT.to_string())
}

fn prologue(marker: &str, binaries: &[Binary]) -> String {
    let cases: String = binaries
        .iter()
        .map(|binary| format!("'{}') h={}; n={};;\n", binary.uname, binary.hash, binary.parcel.len()))
        .collect();
    format!(
        r#"m={marker}
say() {{ printf '%s %s\n' "$m" "$*"; }}
um=$(umask)
umask 077
t="$(uname -s) $(uname -m)"
case "$t" in
{cases}*) say target "$t"; exit 0;;
esac"#
    )
}

/// `ours DIR`: a directory, no link, this user's, closed to others. `find_cached` and `find_place` set `d`.
const FUNCTIONS: &str = r#"ours() {
set -- $(ls -ldn "$1" 2>/dev/null)
case "$1" in drwx------*) [ "$3" = "$u" ];; *) false;; esac
}
find_cached() {
for d in CANDIDATES; do
f="$d/agent-$h"
if ours "$d" && [ -f "$f" ] && [ ! -L "$f" ] && [ -x "$f" ] && [ "$(wc -c <"$f")" -eq "$n" ]; then return; fi
done
d=
}
find_place() {
why=
for d in CANDIDATES; do
made=
[ -d "$d" ] || { mkdir -p "$d" 2>/dev/null && made=1; }
if usable "$d"; then prune; return; fi
[ -z "$made" ] || rmdir "$d" 2>/dev/null
done
d=
}
prune() {
find "$d" -name blobs -prune -o -name '.agent-*' -mmin +60 -exec rm -f {} + 2>/dev/null
ls -t "$d" 2>/dev/null | grep '^agent-' | tail -n +KEPT | while read -r f; do rm -f "$d/$f"; done
}
usable() {
if [ ! -d "$1" ]; then why="$why$1 can't be made; "; return 1; fi
if ! ours "$1"; then why="$why$1 isn't ours with mode 700; "; return 1; fi
k=$(df -Pk "$1" 2>/dev/null | { read a; read a b c k e; echo "$k"; })
case "$k" in ''|*[!0-9]*) k=;; esac
if [ -n "$k" ] && [ "$k" -lt $((n / 1024 + SPARE)) ]; then why="$why$1 has no space left; "; return 1; fi
x="$1/.agent-probe-$(uname -n)-$$"
if ! { printf '#!/bin/sh\nexit 0\n' >"$x"; } 2>/dev/null; then rm -f "$x"; why="$why$1 can't be written; "; return 1; fi
chmod 700 "$x" 2>/dev/null
if "$x" 2>/dev/null; then rm -f "$x"; return 0; fi
rm -f "$x"
why="$why$1 is mounted noexec; "
return 1
}"#;

/// A word in single quotes.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::super::parcel::{Packing, Parcel};
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Output, Stdio};

    const SPAN: Duration = Duration::from_secs(10);

    fn binary(bytes: &[u8]) -> Binary {
        use sha2::{Digest, Sha256};
        let hash = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Binary { parcel: Parcel::new(bytes.to_vec()), hash, uname: "Linux x86_64" }
    }

    /// Runs a script with that home; what follows it on stdin is written in one go, as nothing would in truth.
    fn run(shell: &str, script: &str, home: &Path) -> Output {
        let mut child = Command::new(shell)
            .env("HOME", home)
            .env_remove("XDG_CACHE_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// An agent: a script that says what it was told.
    const AGENT: &[u8] = b"#!/bin/sh\necho runs \"$@\"\n";

    /// Runs the script of a start in that shell and sends the agent when it is wanted; all that was said.
    fn start_in(shell: &[&str], home: &Path, path: Option<&Path>) -> String {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).env("HOME", home).env_remove("XDG_CACHE_HOME");
        if let Some(path) = path {
            let usual = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{}:{usual}", path.display()));
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let agent = binary(AGENT);
        let script = start("mark", "meet", std::slice::from_ref(&agent), &BTreeMap::new(), None, SPAN);
        stdin.write_all(script.as_bytes()).unwrap();
        let mut text = String::new();
        while !text.contains("mark want ") && said.read_line(&mut text).unwrap() > 0 {}
        if text.contains("mark want ") {
            let packing = if text.contains("mark want gzip") { Packing::Gzip } else { Packing::Plain };
            let mut sent = Vec::new();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(agent.parcel.send(&mut sent, packing)).unwrap();
            stdin.write_all(&sent).unwrap();
        }
        said.read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        text
    }

    #[test]
    fn every_shell_that_is_here_takes_an_agent() {
        for shell in [&["sh"][..], &["dash"], &["bash"], &["zsh"], &["busybox", "sh"]] {
            if Command::new(shell[0]).args(&shell[1..]).args(["-c", "exit 0"]).output().is_err() {
                continue;
            }
            let home = tempfile::tempdir().unwrap();
            let text = start_in(shell, home.path(), None);
            assert!(text.ends_with("mark placed\nruns agent meet\n"), "{shell:?}: {text}");
            let text = start_in(shell, home.path(), None);
            assert!(text.starts_with("mark have") && text.ends_with("runs agent meet\n"), "{shell:?}: {text}");
        }
    }

    /// As that of BusyBox does.
    #[test]
    fn a_head_that_reads_ahead_takes_it_too() {
        let (home, bin) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let head = "#!/bin/sh\nexec dd bs=1048576 2>/dev/null | (/usr/bin/head -c \"$2\"; cat >/dev/null)\n";
        std::fs::write(bin.path().join("head"), head.replace("dd bs=1048576", "dd bs=1048576 count=1")).unwrap();
        std::fs::set_permissions(bin.path().join("head"), PermissionsExt::from_mode(0o755)).unwrap();
        let text = start_in(&["sh"], home.path(), Some(bin.path()));
        assert!(text.ends_with("mark placed\nruns agent meet\n"), "{text}");
    }

    #[test]
    fn an_agent_that_does_not_arrive_whole_is_told_and_goes() {
        let home = tempfile::tempdir().unwrap();
        let output = run("sh", &start("mark", "meet", &[binary(b"x")], &BTreeMap::new(), None, SPAN), home.path());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("mark failed the agent didn't arrive whole"), "{output:?}");
        assert_eq!(std::fs::read_dir(home.path().join(".cache/titan")).unwrap().count(), 0, "it left something behind");
    }

    #[test]
    fn an_agent_can_be_forgotten() {
        let home = tempfile::tempdir().unwrap();
        start_in(&["sh"], home.path(), None);
        run("sh", &forget(&binary(AGENT).hash), home.path());
        assert_eq!(std::fs::read_dir(home.path().join(".cache/titan")).unwrap().count(), 0);
    }

    #[test]
    fn a_target_without_an_agent_is_named() {
        let home = tempfile::tempdir().unwrap();
        let script = start("mark", "meet", &[], &BTreeMap::new(), None, SPAN);
        let output = run("sh", &script, home.path());
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("mark target Linux "));
    }

    #[test]
    fn a_cache_that_is_a_link_or_open_to_others_is_passed_over() {
        use std::os::unix::fs::symlink;
        let home = tempfile::tempdir().unwrap();
        let elsewhere = home.path().join("elsewhere");
        std::fs::create_dir_all(home.path().join(".cache")).unwrap();
        std::fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, home.path().join(".cache/titan")).unwrap();
        let script = start("mark", "meet", &[binary(b"x")], &BTreeMap::new(), None, SPAN);
        let said = |home: &Path| String::from_utf8_lossy(&run("sh", &script, home).stdout).into_owned();
        assert!(!said(home.path()).contains(".cache/titan\n"), "a link");
        let open = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(open.path().join(".cache/titan")).unwrap();
        std::fs::set_permissions(open.path().join(".cache/titan"), PermissionsExt::from_mode(0o755)).unwrap();
        assert!(!said(open.path()).contains(".cache/titan\n"), "open to others");
    }

    #[test]
    fn the_probe_changes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let output = run("sh", &probe("mark", &[binary(b"x")]), home.path());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("mark fact cores ") && text.ends_with("mark end\n"), "{output:?}");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn cleaning_takes_what_titan_has_put_there_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let cache = home.path().join(".cache/titan");
        std::fs::create_dir_all(cache.join("blobs/ab")).unwrap();
        std::fs::set_permissions(&cache, PermissionsExt::from_mode(0o700)).unwrap();
        for file in ["agent-1", ".agent-x", "blobs/ab/c", "mine"] {
            std::fs::write(cache.join(file), "x").unwrap();
        }
        let said =
            |removes| String::from_utf8_lossy(&run("sh", &clean("mark", removes), home.path()).stdout).into_owned();
        let told = said(false);
        assert!(told.contains("mark fact cache1 ") && told.contains(&format!(" {}\n", cache.display())), "{told}");
        assert!(told.ends_with("mark end\n"), "{told}");
        assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 4, "looking changes nothing");
        said(true);
        let left: Vec<_> = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["mine"]);
    }

    #[test]
    fn values_reach_the_agent_as_they_are() {
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
    }
}
