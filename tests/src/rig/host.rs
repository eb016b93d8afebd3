//! One host: a machine of its own as far as ssh can tell, and what can be seen of it from outside.

use super::environment::write;
use super::holder::Holder;
use super::laptop::Laptop;
use super::processes::{self, Process};
use super::snapshot::Inventory;
use super::spec::{Home, HostSpec};
use super::{etc, files, network, tools};
use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The size of a file system that is to be full.
const FULL_KIB: u32 = 64;

/// Where a host's leftovers would be; the home comes on top.
const WATCHED_DIRS: [&str; 5] = ["/root", "/tmp", "/var/tmp", "/run", "/dev/shm"];

/// A host of a rig. Its faults are in [`faults`](super::faults).
pub struct Host {
    spec: HostSpec,
    place: usize,
    dir: PathBuf,
    home_dir: PathBuf,
    pub(super) laptop: Arc<Laptop>,
    power: Mutex<Power>,
}

/// Whether the host runs, and how often it was started.
struct Power {
    boots: u32,
    running: Option<Running>,
}

struct Running {
    holder: Holder,
    /// The machine's pid of the host's process 1.
    init: u32,
}

impl Host {
    /// A host that isn't running, whose files in /etc have been written to `dir`.
    pub(super) fn new(spec: HostSpec, place: usize, hosts: usize, dir: PathBuf, laptop: Arc<Laptop>) -> Self {
        let home_dir = match spec.home {
            Home::Shared => dir.with_file_name("shared-home"),
            _ => dir.join("home"),
        };
        etc::write_home(&home_dir, &spec);
        write(&dir.join("network"), &network::host_batch(place, hosts));
        Self { spec, place, dir, home_dir, laptop, power: Mutex::new(Power { boots: 0, running: None }) }
    }

    /// The host's name, for ssh and for itself.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The host's address.
    pub fn address(&self) -> Ipv4Addr {
        network::address(self.place)
    }

    /// The worker's home, as the host sees it.
    pub fn home(&self) -> PathBuf {
        Path::new("/home").join(etc::WORKER)
    }

    /// Whether the host is switched on.
    pub fn is_up(&self) -> bool {
        self.power().running.is_some()
    }

    /// What sshd has logged.
    pub fn sshd_log(&self) -> String {
        fs::read_to_string(self.dir.join("ssh/sshd.log")).unwrap_or_default()
    }

    /// Runs a line of sh on the host as root, without ssh.
    ///
    /// # Panics
    /// When the host is switched off.
    pub fn exec(&self, line: &str) -> Output {
        self.enter(&["sh", "-c", line]).output().expect("available() has found nsenter")
    }

    /// Runs a line of sh on the host as the worker, in the home, without ssh.
    ///
    /// # Panics
    /// When the host is switched off.
    pub fn exec_as_worker(&self, line: &str) -> Output {
        let (user, group) = (format!("--reuid={}", etc::WORKER), format!("--regid={}", etc::WORKER));
        let mut command = self.enter(&["setpriv", &user, &group, "--init-groups", "sh", "-c"]);
        command.env("HOME", self.home()).arg(format!("cd && {line}"));
        command.output().expect("available() has found nsenter")
    }

    /// The processes on the host, other than its process 1 and its sshd. None when it is switched off.
    pub fn processes(&self) -> Vec<Process> {
        let Some(root) = self.root() else { return Vec::new() };
        let foreign = |dir: &Path| !dir.ends_with("1") && !is_sshd(dir);
        processes::read(&root.join("proc"), foreign)
    }

    /// Everything in /root, /tmp, /var/tmp, /run, /dev/shm and the home, but for what sshd itself has there. Nothing when
    /// the host is switched off.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let Some(root) = self.root() else { return found };
        for dir in WATCHED_DIRS.into_iter().map(PathBuf::from).chain([self.home()]) {
            files::list(&root, &dir, &mut found);
        }
        found.retain(|path| !path.starts_with("/run/sshd") && path != Path::new("/run/sshd.pid"));
        found
    }

    /// The addresses on which something listens, sshd included, as the kernel writes them: `tcp 0101D50A:0016` is port
    /// 22 of 10.213.1.1.
    pub fn listeners(&self) -> BTreeSet<String> {
        let running = self.power().running.as_ref().map(|running| running.init);
        running.map(|init| processes::read_listeners(&PathBuf::from(format!("/proc/{init}")))).unwrap_or_default()
    }

    pub(super) fn inventory(&self) -> Inventory {
        Inventory { processes: self.processes(), files: self.files(), listeners: self.listeners() }
    }

    /// Whether the host is to be up when its rig is.
    pub(super) fn is_powered_at_start(&self) -> bool {
        self.spec.powered
    }

    /// Begins to start the host; [`Self::finish_boot`] waits for the rest.
    pub(super) fn begin_boot(&self) {
        let mut power = self.power();
        if power.running.is_some() {
            return;
        }
        power.boots += 1;
        let environment = self.boot_environment(power.boots);
        let unshare = ["-m", "-u", "-i", "-n", "-p", "-f", "--kill-child"];
        let holder = Holder::start(&unshare, include_str!("host.sh"), &environment, &self.dir);
        power.running = Some(Running { holder, init: 0 });
    }

    /// Waits until the host is up, its sshd included.
    pub(super) fn finish_boot(&self) {
        let mut power = self.power();
        let Some(running) = &mut power.running else { return };
        running.init = running.holder.next_line().parse().expect("the script's first line is its pid");
        running.holder.wait_ready();
        drop(power);
        if self.spec.sshd {
            self.wait_for_sshd();
        }
    }

    /// Lets the host end, without waiting for it.
    pub(super) fn hang_up(&self) {
        if let Some(running) = &mut self.power().running {
            running.holder.hang_up();
        }
    }

    /// Ends every process of the host at once.
    pub(super) fn end(&self) {
        self.power().running = None;
    }

    /// The laptop's end of this host's cable. A new one for each start: the kernel takes its time to remove the last.
    pub(super) fn port(&self) -> String {
        port_name(self.place, self.power().boots)
    }

    /// The host's own folder in the rig.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The host's root folder as seen from the machine, when it is switched on.
    pub(super) fn root(&self) -> Option<PathBuf> {
        let power = self.power();
        power.running.as_ref().map(|running| PathBuf::from(format!("/proc/{}/root", running.init)))
    }

    fn enter(&self, command: &[&str]) -> Command {
        let init = self.power().running.as_ref().map(|running| running.init);
        let init = init.unwrap_or_else(|| panic!("{} is switched off", self.name()));
        let mut enter = tools::clean_command("nsenter");
        enter.args(["-t", &init.to_string(), "-m", "-u", "-i", "-n", "-p", "--"]).args(command);
        enter.env("HOME", "/root");
        enter
    }

    fn boot_environment(&self, boots: u32) -> Vec<(&'static str, String)> {
        let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let (kib, flags) = match self.spec.home {
            Home::Own | Home::Shared => (String::new(), ""),
            Home::NoExec => (String::new(), "noexec"),
            Home::ReadOnly => (String::new(), "ro"),
            Home::Full => (FULL_KIB.to_string(), ""),
            Home::Small { kib } => (kib.to_string(), ""),
        };
        let sshd = tools::find("sshd").expect("available() has found it");
        vec![
            ("HOST", self.spec.name.clone()),
            ("HOST_DIR", self.dir.display().to_string()),
            ("HOME_DIR", self.home_dir.display().to_string()),
            ("WORKER", etc::WORKER.to_owned()),
            ("MAC", network::mac(self.place)),
            ("PORT", port_name(self.place, boots)),
            ("LAPTOP_NET", self.laptop.network_file()),
            ("HOME_KIB", kib),
            ("HOME_FILLED", yes_or_no(self.spec.home == Home::Full)),
            ("HOME_FLAGS", flags.to_owned()),
            ("SHARED_FLAGS", if self.spec.noexec_everywhere { ",noexec" } else { "" }.to_owned()),
            ("START_SSHD", yes_or_no(self.spec.sshd)),
            ("SSHD", sshd.display().to_string()),
        ]
    }

    fn power(&self) -> MutexGuard<'_, Power> {
        self.power.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn port_name(place: usize, boots: u32) -> String {
    format!("h{place}b{boots}")
}

/// Whether a process is sshd: its listener, or one of its sessions. Its program is looked at; anyone can call itself so.
pub(super) fn is_sshd(dir: &Path) -> bool {
    let program = fs::read_link(dir.join("exe")).unwrap_or_default();
    program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sshd"))
}
