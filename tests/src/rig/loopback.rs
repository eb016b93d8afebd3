//! The light tier: an sshd on a loopback port, run by whoever runs the tests. No namespaces, no root.
//!
//! Its one account is the user's own, with the user's own login shell, but what logs in sees a home (`$HOME`, `$TMPDIR`,
//! `$XDG_*`) of the rig. On the client's side an `ssh` that comes first in PATH reads the rig's configuration, because
//! without a mount namespace nothing can tell the real one that its user lives elsewhere.

use super::availability::skipped_for;
use super::environment::{Person, write};
use super::folder::RigFolder;
use super::processes::{self, Process};
use super::snapshot::{Inventory, Observable};
use super::wait::holds_within;
use super::{Signal, files, tools};
use crate::program;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// The name by which the client knows the host.
pub const LOOPBACK_HOST: &str = "loopback";

/// sshd listens after some tens of milliseconds; this is for machines under load.
const PATIENCE: Duration = Duration::from_secs(10);

/// A free port may be taken by another before sshd has it.
const ATTEMPTS: u32 = 5;

/// Starts sshd, and ends it with the pipe on stdin: also when the test is killed.
const SCRIPT: &str = r#"
"$SSHD" -D -f "$RIG_DIR/sshd_config" -E "$RIG_DIR/sshd.log" </dev/null >/dev/null 2>&1 &
sshd=$!
echo $sshd
exec >/dev/null
while read -r _; do :; done
kill -KILL $sshd
wait
rm -rf -- "$RIG_DIR"
"#;

/// An sshd on a loopback port, and a client that knows it as [`LOOPBACK_HOST`].
pub struct LoopbackSshd {
    folder: RigFolder,
    client: Person,
    host: Person,
    port: u16,
    holder: Child,
    lifeline: Option<ChildStdin>,
    sshd: u32,
}

impl LoopbackSshd {
    /// True when there is no sshd here, after a loud line that says so: the test returns.
    ///
    /// # Panics
    /// When the environment says that rigs must work.
    #[must_use]
    pub fn skipped() -> bool {
        let missing = ["sshd", "ssh", "ssh-keygen"].into_iter().find(|program| tools::find(program).is_none());
        let answer = missing.map_or(Ok(()), |program| Err(format!("the program {program} isn't installed")));
        skipped_for("loopback tests need sshd", answer)
    }

    /// Starts an sshd, and waits until it answers.
    ///
    /// # Panics
    /// When it doesn't.
    pub fn start() -> Self {
        let mut log = String::new();
        for _ in 0..ATTEMPTS {
            let sshd = Self::spawn();
            if holds_within(PATIENCE, || sshd.answers() || !sshd.runs()) && sshd.answers() {
                return sshd;
            }
            log = fs::read_to_string(sshd.folder.join("sshd.log")).unwrap_or_default();
        }
        panic!("sshd doesn't start on a loopback port: {log}");
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder in which all of it is.
    pub fn dir(&self) -> &Path {
        &self.folder
    }

    /// The client's configuration, for `ssh -F`.
    pub fn ssh_config(&self) -> PathBuf {
        self.client.ssh_dir().join("config")
    }

    /// The folders of the person who uses the client.
    pub fn client(&self) -> &Person {
        &self.client
    }

    /// The folders of the person who logs in.
    pub fn host(&self) -> &Person {
        &self.host
    }

    /// A command with the client's environment, in whose PATH an ssh comes first that knows [`LOOPBACK_HOST`].
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        self.client.dress(&mut command);
        let path = env::var_os("PATH").unwrap_or_default();
        let dirs = [self.folder.join("bin")].into_iter().chain(env::split_paths(&path));
        command.env("PATH", env::join_paths(dirs).expect("PATH has been split at its colons"));
        command
    }

    /// The processes that have a folder of the rig in their environment: what logged in, what [`command`](Self::command)
    /// started, and what those have left. Those of sshd itself aren't among them.
    pub fn processes(&self) -> Vec<Process> {
        let folder = format!("{}/", self.folder.display());
        let of_rig = |dir: &Path| {
            let environment = fs::read(dir.join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&folder)
        };
        processes::read(Path::new("/proc"), of_rig)
    }

    fn spawn() -> Self {
        if rustix::process::geteuid().is_root() {
            // An sshd run by root insists on this folder, which its service makes.
            let _ = fs::create_dir_all("/run/sshd");
        }
        let folder = RigFolder::create();
        let (client, host) = (Person::create(folder.join("client")), Person::create(folder.join("host")));
        let port = free_port();
        write_files(&folder, &client, &host, port);

        let mut holder = tools::clean_command("sh")
            .args(["-c", SCRIPT])
            .env("RIG_DIR", folder.as_os_str())
            .env("SSHD", tools::find("sshd").expect("tests ask skipped() first"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("every system has sh");
        let lifeline = holder.stdin.take();
        let sshd = read_pid(&mut holder);
        Self { folder, client, host, port, holder, lifeline, sshd }
    }

    fn runs(&self) -> bool {
        processes::children_of(self.holder.id()).iter().any(|process| process.pid == self.sshd)
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else { return false };
        let mut banner = [0; 4];
        stream.set_read_timeout(Some(PATIENCE)).is_ok() && stream.read_exact(&mut banner).is_ok() && &banner == b"SSH-"
    }
}

impl Observable for LoopbackSshd {
    fn inventories(&self) -> BTreeMap<String, Inventory> {
        let mut files = BTreeSet::new();
        for dir in [&self.client, &self.host].into_iter().flat_map(Person::watched_dirs) {
            files::list(Path::new("/"), &dir, &mut files);
        }
        // The machine's other listeners are none of the rig's business.
        let inventory = Inventory { processes: self.processes(), files, listeners: BTreeSet::new() };
        BTreeMap::from([(LOOPBACK_HOST.to_owned(), inventory)])
    }
}

impl Drop for LoopbackSshd {
    fn drop(&mut self) {
        // Sessions outlive their listener, so they are ended while it still is their parent.
        holds_within(PATIENCE, || {
            let sessions = if self.runs() { processes::descendants_of(self.sshd) } else { Vec::new() };
            let others = self.processes();
            sessions.iter().chain(&others).for_each(|process| processes::signal(process, Signal::KILL));
            sessions.is_empty() && others.is_empty()
        });
        self.lifeline = None;
        let _ = self.holder.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    listener.local_addr().expect("it is bound").port()
}

/// The script's first line.
fn read_pid(holder: &mut Child) -> u32 {
    let mut stdout = holder.stdout.take().expect("stdout is piped");
    let mut text = String::new();
    stdout.read_to_string(&mut text).expect("the script writes digits, then closes stdout");
    text.trim().parse().expect("the script's first line is a pid")
}

fn write_files(dir: &Path, client: &Person, host: &Person, port: u16) {
    let host_key = tools::make_key(&dir.join("host_key"));
    let client_key = tools::make_key(&client.ssh_dir().join("id_ed25519"));
    write(&dir.join("authorized_keys"), &format!("{client_key}\n"));
    write(&client.ssh_dir().join("known_hosts"), &format!("[127.0.0.1]:{port} {host_key}\n"));
    write(&client.ssh_dir().join("config"), &client_config(client, port));
    write(&dir.join("sshd_config"), &sshd_config(dir, host, port));

    let bin = dir.join("bin");
    fs::create_dir_all(&bin).expect("the rig's folder can be written");
    let ssh = tools::find("ssh").expect("tests ask skipped() first");
    let config = client.ssh_dir().join("config");
    let wrapper = format!("#!/bin/sh\nexec {} -F {} \"$@\"\n", ssh.display(), config.display());
    program::write(&bin.join("ssh"), wrapper.as_bytes());
}

fn client_config(client: &Person, port: u16) -> String {
    let ssh = client.ssh_dir().display().to_string();
    format!(
        "Host {LOOPBACK_HOST}\n    HostName 127.0.0.1\n    Port {port}\n\
         Host *\n    IdentityFile {ssh}/id_ed25519\n    IdentitiesOnly yes\n    \
         UserKnownHostsFile {ssh}/known_hosts\n    StrictHostKeyChecking yes\n"
    )
}

fn sshd_config(dir: &Path, host: &Person, port: u16) -> String {
    let home: Vec<String> = host.variables().iter().map(|(name, path)| format!("{name}={}", path.display())).collect();
    format!(
        "ListenAddress 127.0.0.1:{port}\n\
         HostKey {dir}/host_key\n\
         AuthorizedKeysFile {dir}/authorized_keys\n\
         PidFile none\n\
         UsePAM no\n\
         StrictModes no\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         PermitRootLogin yes\n\
         PrintMotd no\n\
         PrintLastLog no\n\
         SetEnv {}\n\
         Subsystem sftp internal-sftp\n",
        home.join(" "),
        dir = dir.display(),
    )
}
