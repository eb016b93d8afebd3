//! The laptop: where the programs under test run. It has a network, a home and an /etc/passwd of its own; its processes
//! and files are otherwise the machine's.
//!
//! ssh asks /etc/passwd and not `$HOME` for the home with its configuration. So the laptop's mount namespace has a
//! passwd file that says the rig's home, and `ssh`, run plainly by whomever, finds the rig's `~/.ssh`.
//!
//! There is no pid namespace: to enter one a program needs a fork, and the test would hold (and kill) the parent of the
//! program instead of the program. What belongs to the laptop is told by its network namespace.

use super::environment::{Person, write};
use super::holder::Holder;
use super::processes::{self, Process};
use super::snapshot::Inventory;
use super::spec::HostSpec;
use super::{Signal, etc, files, network, tools};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Enters the namespaces of the process `$1` and becomes the rest of the arguments, in the same folder.
const ENTER: &str = r#"pid=$1; shift; exec nsenter -t "$pid" -m -u -i -n -- sh -c 'cd "$0" && exec "$@"' "$PWD" "$@""#;

/// The machine on which titan is typed. It derefs to its person's folders.
pub struct Laptop {
    // First, so that the namespaces (and with them every process) end before anything else is dropped.
    holder: Holder,
    person: Person,
}

impl Laptop {
    /// Starts the laptop in `rig_dir`, which ends with it. Its ssh key is there already.
    pub(super) fn start(rig_dir: &Path, person: Person, hosts: &[HostSpec], host_keys: &[String]) -> Self {
        let dir = rig_dir.join("laptop");
        let etc = dir.join("etc");
        fs::create_dir_all(&etc).expect("the rig's folder can be written");
        write(&etc.join("passwd"), &etc::laptop_passwd(&person.home()));
        write(&etc.join("hosts"), &network::hosts_file(hosts.iter().map(|host| host.name.as_str())));
        write(&etc.join("network"), &network::laptop_batch(hosts.len()));
        write(&person.ssh_dir().join("config"), &ssh_config(hosts));
        write(&person.ssh_dir().join("known_hosts"), &known_hosts(hosts, host_keys));

        let environment = [("RIG_DIR", rig_dir.display().to_string())];
        let script = include_str!("laptop.sh");
        let mut holder = Holder::start(&["-m", "-u", "-i", "-n"], script, &environment, &dir);
        holder.wait_ready();
        Self { holder, person }
    }

    /// A command that runs `program` on the laptop: in its network, with its home and XDG folders, and nothing of the
    /// test's own `SSH_*`, `TITAN_*` and `XDG_*` variables. The spawned child is the program itself, so it can be killed
    /// and waited for; a program that doesn't exist ends with 127.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", ENTER, "sh", &self.holder.id().to_string()]).arg(program);
        self.person.dress(&mut command);
        command
    }

    /// The processes on the laptop's network, other than the rig's own; by the machine's pids.
    pub fn processes(&self) -> Vec<Process> {
        let holder = self.proc_dir();
        let Ok(network) = fs::read_link(holder.join("ns/net")) else { return Vec::new() };
        let on_network = |dir: &Path| dir != holder && fs::read_link(dir.join("ns/net")).is_ok_and(|n| n == network);
        processes::read(Path::new("/proc"), on_network)
    }

    /// Signals the laptop's processes whose command line contains `text`, and returns them.
    pub fn signal(&self, text: &str, signal: Signal) -> Vec<Process> {
        let mut processes = self.processes();
        processes.retain(|process| process.line().contains(text));
        for process in &processes {
            processes::signal(process, signal);
        }
        processes
    }

    /// Everything in the home, `$XDG_RUNTIME_DIR` and `$TMPDIR`.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for dir in self.person.watched_dirs() {
            files::list(Path::new("/"), &dir, &mut found);
        }
        found
    }

    /// The addresses on which something listens, as the kernel writes them.
    pub fn listeners(&self) -> BTreeSet<String> {
        processes::read_listeners(&self.proc_dir())
    }

    pub(super) fn inventory(&self) -> Inventory {
        Inventory { processes: self.processes(), files: self.files(), listeners: self.listeners() }
    }

    /// The laptop's network namespace, as a file.
    pub(super) fn network_file(&self) -> String {
        self.proc_dir().join("ns/net").display().to_string()
    }

    /// A command of the rig's own in the laptop's network.
    pub(super) fn network_command(&self, program: &str) -> Command {
        let mut command = tools::clean_command("nsenter");
        command.arg(format!("--net={}", self.network_file())).arg(program);
        command
    }

    fn proc_dir(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.holder.id()))
    }
}

impl Deref for Laptop {
    type Target = Person;

    fn deref(&self) -> &Person {
        &self.person
    }
}

fn ssh_config(hosts: &[HostSpec]) -> String {
    let mut config = String::new();
    for (index, host) in hosts.iter().enumerate() {
        let _ = writeln!(config, "Host {}\n    HostName {}", host.name, network::address(index + 1));
    }
    config + &format!("Host *\n    User {}\n    StrictHostKeyChecking yes\n", etc::WORKER)
}

fn known_hosts(hosts: &[HostSpec], keys: &[String]) -> String {
    let line = |(index, (host, key)): (usize, (&HostSpec, &String))| {
        format!("{},{} {key}\n", host.name, network::address(index + 1))
    };
    hosts.iter().zip(keys).enumerate().map(line).collect()
}
