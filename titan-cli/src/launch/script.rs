//! What a host's shell is told: find the agent, or take it, and become it. One POSIX compound command, so that the shell has
//! read all of it before any of it runs: what follows on its stdin is the agent's.
//!
//! It says what it does in lines that begin with a word of our own choosing, since rc files may print anything before:
//! `have`, `want gzip|plain UNAME`, `got`, `placed`, `target UNAME`, `nowhere REASONS`, `failed REASON`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::binaries::Binary;

/// Beyond the agent's size: what must be free, in KiB.
const SPARE_KIB: usize = 1 << 10;

/// The directories that an agent may be cached in, as the shell spells them; the first that works is taken.
const CANDIDATES: &str = r#""${XDG_CACHE_HOME:-$HOME/.cache}/titan" "/var/tmp/titan-$u" "/tmp/titan-$u" "/dev/shm/titan-$u" "/run/user/$u/titan""#;

/// What starts an agent. One that is missing comes in pieces, each a line with its length and its packing, the last also with the whole's
/// `cksum`, and as many bytes: nothing follows them until the host has said `got`, since some `head`s read ahead. If they don't arrive within `upload_span` (a piece that is being taken: within another one, where
/// `timeout` ends only what it has started), because whoever sends them is gone, the host gives up. It looks for a place while the first is on its way.
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
x=
trap '' 13
trap '[ -z "$x" ] || rm -f "$x"' 0
trap 'exit 1' 1 2 15
if command -v gzip >/dev/null; then z=gzip; else z=plain; fi
say want "$z" "$t"
find_place
if [ -z "$d" ]; then say nowhere "$why"; exit 0; fi
{{ s=$(take); }} 3>&1
if [ -z "$s" ]; then say failed "the agent didn't arrive whole in $d"; exit 0; fi
if ! whole; then say failed "the agent arrived damaged"; exit 0; fi
mv -f "$x" "$d/agent-$h" || {{ say failed "the agent can't be put into $d"; exit 0; }}
trap - 0 1 2 13 15
say placed
become "$d/agent-$h"
}}
take() {{
pieces='taken() {{ if [ -n "$1" ]; then timeout "$1" head -c "$k"; else head -c "$k"; fi 3>&-; }}
while read -r k z s; do
if [ "$z" = gzip ]; then taken "$3" | gzip -dc 3>&-; else taken "$3"; fi >>"$1" || exit 1
if [ -n "$s" ]; then echo "$s"; exit; fi
echo "$2 got" >&3
done'
if command -v timeout >/dev/null; then timeout {seconds} sh -c "$pieces" sh "$x" "$m" {seconds}; else sh -c "$pieces" sh "$x" "$m"; fi 2>/dev/null
}}
whole() {{
if command -v cksum >/dev/null; then [ "$(cksum <"$x")" = "$s $n" ]
elif command -v sha256sum >/dev/null; then [ "$(sha256sum <"$x")" = "$h  -" ]
else [ "$(wc -c <"$x")" -eq "$n" ]; fi
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
    FUNCTIONS.replace("SPARE", &SPARE_KIB.to_string()).replace("CANDIDATES", CANDIDATES)
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
set -- $(uname -snm)
w="$2-$$"
t="$1 $3"
case "$t" in
{cases}*) say target "$t"; exit 0;;
esac"#
    )
}

/// `ours DIR`: a directory, no link, this user's, closed to others. `find_cached` and `find_place` set `d`; the latter also `x`, a file there that
/// is empty and may be run. What is asked of the shell itself is asked first: each program takes a millisecond or more.
const FUNCTIONS: &str = r#"ours() {
set -- $(ls -ldn "$1" 2>/dev/null)
case "$1" in drwx------*) [ "$3" = "$u" ];; *) false;; esac
}
find_cached() {
for d in CANDIDATES; do
f="$d/agent-$h"
if [ -f "$f" ] && [ ! -L "$f" ] && [ -x "$f" ] && ours "$d" && [ "$(wc -c <"$f")" -eq "$n" ]; then return; fi
done
d=
}
find_place() {
why=
for d in CANDIDATES; do
made=
[ -d "$d" ] || { mkdir -p "$d" 2>/dev/null && made=1; }
if usable "$d"; then return; fi
[ -z "$made" ] || rmdir "$d" 2>/dev/null
done
d=
}
usable() {
if [ ! -d "$1" ]; then why="$why$1 can't be made; "; return 1; fi
if ! ours "$1"; then why="$why$1 isn't ours with mode 700; "; return 1; fi
k=$(df -Pk "$1" 2>/dev/null | { read a; read a b c k e; echo "$k"; })
case "$k" in ''|*[!0-9]*) k=;; esac
if [ -n "$k" ] && [ "$k" -lt $((n / 1024 + SPARE)) ]; then why="$why$1 has no space left; "; return 1; fi
x="$1/.agent-$w"
if ! { printf '#!/bin/sh\nexit 0\n' >"$x"; } 2>/dev/null; then rm -f "$x"; why="$why$1 can't be written; "; return 1; fi
chmod 700 "$x" 2>/dev/null
if "$x" 2>/dev/null && printf '' 2>/dev/null >"$x"; then return 0; fi
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
    use std::io::{BufRead, BufReader, Write};
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

    /// An agent: a script that says what it was told, of several pieces.
    fn agent() -> Binary {
        binary(
            &[b"#!/bin/sh\necho runs \"$@\"\nexit\n", &b"all of it is read by nobody\n".repeat(100_000)[..]].concat(),
        )
    }

    /// Runs the script of a start in that shell and sends the agent when it is wanted; all that was said.
    fn start_in(shell: &[&str], home: &Path) -> String {
        start_after("", shell, home, Duration::ZERO, |_| {})
    }

    /// The same after those lines, over a link that is fast or isn't, and that changes pieces.
    fn start_after(
        lines: &str,
        shell: &[&str],
        home: &Path,
        fast_span: Duration,
        change: impl Fn(&mut Vec<u8>),
    ) -> String {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).env("HOME", home).env_remove("XDG_CACHE_HOME");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let agent = agent();
        let script =
            lines.to_owned() + &start("mark", "meet", std::slice::from_ref(&agent), &BTreeMap::new(), None, SPAN);
        stdin.write_all(script.as_bytes()).unwrap();
        let mut text = String::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut upload = None;
        loop {
            let begin = text.len();
            if said.read_line(&mut text).unwrap() == 0 {
                break;
            }
            match text[begin..].split_whitespace().collect::<Vec<_>>()[..] {
                ["mark", "want", "gzip", ..] => upload = Some(agent.parcel.upload(Packing::Gzip)),
                ["mark", "want", "plain", ..] => upload = Some(agent.parcel.upload(Packing::Plain)),
                ["mark", "got"] => {}
                _ => continue,
            }
            let (upload, mut piece) = (upload.as_mut().unwrap(), Vec::new());
            upload.fast_span = fast_span;
            runtime.block_on(upload.next(&mut piece)).unwrap();
            change(&mut piece);
            stdin.write_all(&piece).unwrap();
        }
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
            let text = start_after("", shell, home.path(), Duration::MAX, |_| {});
            assert!(text.ends_with("mark placed\nruns agent meet\n"), "{shell:?}: {text}");
            run("sh", &forget(&agent().hash), home.path());
            let text = start_in(shell, home.path());
            assert!(text.ends_with("mark placed\nruns agent meet\n"), "{shell:?}: {text}");
            let text = start_in(shell, home.path());
            assert!(text.starts_with("mark have") && text.ends_with("runs agent meet\n"), "{shell:?}: {text}");
        }
    }

    #[test]
    fn an_agent_that_arrives_damaged_is_told_and_goes() {
        let change = |piece: &mut Vec<u8>| {
            if let Some(last) = piece.last_mut() {
                *last ^= 1;
            }
        };
        let said = |fast_span| {
            let home = tempfile::tempdir().unwrap();
            let text = start_after("", &["sh"], home.path(), fast_span, change);
            assert_eq!(std::fs::read_dir(home.path().join(".cache/titan")).unwrap().count(), 0, "{text}");
            text
        };
        assert!(said(Duration::MAX).contains("mark failed the agent arrived damaged"));
        // Here gzip has found it.
        assert!(said(Duration::ZERO).contains("mark failed the agent didn't arrive whole"));
    }

    /// As that of BusyBox does.
    #[test]
    fn a_head_that_reads_ahead_takes_it_too() {
        let (home, bin) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let head = "#!/bin/sh\nf=$(mktemp)\nwhile [ $(wc -c <$f) -lt $2 ]; do dd bs=65536 count=1 2>/dev/null >>$f; done\n\
                    /usr/bin/head -c $2 $f\nrm $f\n";
        std::fs::write(bin.path().join("head"), head).unwrap();
        std::fs::set_permissions(bin.path().join("head"), PermissionsExt::from_mode(0o755)).unwrap();
        let path = format!("PATH='{}':$PATH\n", bin.path().display());
        let text = start_after(&path, &["sh"], home.path(), Duration::ZERO, |_| {});
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

    /// Whatever the host's environment has under names that the script uses.
    #[test]
    fn where_there_is_no_place_nothing_of_the_users_goes() {
        let (home, bin) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let df = "#!/bin/sh\nprintf 'head\\nfs 100 90 10 90%% /\\n'\n";
        std::fs::write(bin.path().join("df"), df).unwrap();
        std::fs::set_permissions(bin.path().join("df"), PermissionsExt::from_mode(0o755)).unwrap();
        let theirs = home.path().join("theirs");
        std::fs::write(&theirs, "x").unwrap();
        let script = format!("export x='{}' d=/ s=1 PATH='{}':$PATH\n", theirs.display(), bin.path().display())
            + &start("mark", "meet", &[binary(b"x")], &BTreeMap::new(), None, SPAN);
        let output = run("sh", &script, home.path());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("mark nowhere ") && text.contains("no space left"), "{output:?}");
        assert!(theirs.exists());
    }

    /// BusyBox may come without it.
    #[test]
    fn a_host_without_cksum_takes_an_agent_too() {
        let (home, bin) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for tool in ["sh", "uname", "id", "ls", "mkdir", "df", "chmod", "rm", "mv", "head", "wc", "gzip", "timeout"] {
            let path = std::env::var_os("PATH").unwrap();
            let found =
                std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.is_file()).unwrap();
            std::os::unix::fs::symlink(found, bin.path().join(tool)).unwrap();
        }
        let only = format!("PATH='{}'\n", bin.path().display());
        let text = start_after(&only, &["sh"], home.path(), Duration::ZERO, |_| {});
        assert!(text.ends_with("mark placed\nruns agent meet\n"), "{text}");
    }

    #[test]
    fn an_agent_can_be_forgotten() {
        let home = tempfile::tempdir().unwrap();
        start_in(&["sh"], home.path());
        run("sh", &forget(&agent().hash), home.path());
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
