//! A rig: several hosts and a laptop on one machine, joined by a network that can be broken.
//!
//! Each host has net, mount, uts, ipc and pid namespaces of its own, with a real sshd, a home and an empty /tmp. Programs
//! under test run on the laptop, which has a network and a home of its own. Nothing touches the machine's own network,
//! and all rigs are strangers to each other, so tests may run side by side.
//!
//! Everything of a rig hangs on pipes that the test holds. When the rig is dropped, and also when the test is killed,
//! the pipes end, and with them the namespaces, their processes, cables and mounts, and the rig's folder.
//!
//! ```no_run
//! use std::time::Duration;
//! use titan_tests::rig::{self, Home, HostSpec, Rig, Shell, Snapshot};
//!
//! if rig::skipped() {
//!     return;
//! }
//! let rig = Rig::builder()
//!     .host(HostSpec::new("alpha").shell(Shell::Fish).chatty())
//!     .host(HostSpec::new("beta").home(Home::Full))
//!     .start();
//! let before = Snapshot::take(&rig);
//! let output = rig.ssh("alpha", "hostname").output().unwrap();
//! assert!(output.stdout.ends_with(b"alpha\n"));
//! rig.host("alpha").cut();
//! assert!(!rig.command("ssh").args(["-oConnectTimeout=1", "alpha", "true"]).status().unwrap().success());
//! before.assert_nothing_left(&rig, Duration::from_secs(10), |path| path.starts_with("/home/worker/.cache"));
//! ```
//!
//! # Layout
//! - [`spec`]: what a host is to be like; `etc`: the files which make it so.
//! - [`laptop`], [`host`]: the machines, set up by `laptop.sh` and `host.sh`; `network`: their addresses.
//! - [`faults`]: what can be done to a host. [`snapshot`]: what is left afterwards.
//! - `holder`: the pipe on which namespaces hang. `folder`: the rig's files. [`environment`]: what programs under test see of the world.
//! - [`loopback`]: the light tier, an sshd on a loopback port, without namespaces and without root.
//! - [`availability`]: whether this machine can do it. [`wait`]: waiting with a deadline.

pub mod availability;
pub mod environment;
mod etc;
pub mod faults;
mod files;
mod folder;
mod holder;
pub mod host;
pub mod laptop;
pub mod loopback;
mod network;
mod processes;
pub mod snapshot;
pub mod spec;
mod tools;
pub mod wait;

pub use availability::{available, required, skipped};
pub use etc::{PASSWORD, WORKER};
pub use host::Host;
pub use laptop::Laptop;
pub use loopback::LoopbackSshd;
pub use processes::Process;
pub use rustix::process::Signal;
pub use snapshot::{Observable, Snapshot};
pub use spec::{Home, HostSpec, RigBuilder, Shell};
pub use wait::{holds_within, wait_until};

use environment::Person;
use folder::RigFolder;
use snapshot::Inventory;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

/// The names of the first hosts of [`Rig::new`]; the others are numbered.
const NAMES: [&str; 6] = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"];

/// A laptop and its hosts. Dropped, it leaves nothing.
pub struct Rig {
    hosts: Vec<Host>,
    laptop: Arc<Laptop>,
    // Last: it is empty when the others have ended.
    folder: RigFolder,
}

impl Rig {
    /// Starts `hosts` ordinary hosts: alpha, beta, gamma, delta, epsilon, zeta, host6, host7, ...
    ///
    /// # Panics
    /// When a part can't be started.
    pub fn new(hosts: usize) -> Self {
        let name = |index: usize| NAMES.get(index).map_or_else(|| format!("host{index}"), |name| (*name).to_owned());
        Self::builder().hosts((0..hosts).map(name).map(HostSpec::new)).start()
    }

    /// A rig whose hosts are described one by one.
    pub fn builder() -> RigBuilder {
        RigBuilder::default()
    }

    fn start(builder: RigBuilder) -> Self {
        let specs = builder.hosts;
        assert!(specs.len() <= network::MAX_HOSTS, "a rig has at most {} hosts", network::MAX_HOSTS);
        let folder = RigFolder::create();
        let person = Person::create(folder.to_owned());
        let laptop_key = tools::make_key(&person.ssh_dir().join("id_ed25519"));
        let hosts_file = network::hosts_file(specs.iter().map(|spec| spec.name.as_str()));
        let host_dir = |place: usize| folder.join("hosts").join(place.to_string());
        let write_host = |(index, spec): (usize, &HostSpec)| {
            etc::write_host(&host_dir(index + 1), spec, index + 1, &hosts_file, &laptop_key);
            etc::renew_host_key(&host_dir(index + 1))
        };
        let host_keys: Vec<String> = specs.iter().enumerate().map(write_host).collect();

        let laptop = Arc::new(Laptop::start(&folder, person, &specs, &host_keys));
        let count = specs.len();
        let new_host = |(index, spec)| Host::new(spec, index + 1, count, host_dir(index + 1), Arc::clone(&laptop));
        let hosts = specs.into_iter().enumerate().map(new_host).collect();
        let rig = Self { hosts, laptop, folder };
        rig.boot();
        rig
    }

    /// Starts all hosts side by side.
    fn boot(&self) {
        let powered = || self.hosts.iter().filter(|host| host.is_powered_at_start());
        powered().for_each(Host::begin_boot);
        powered().for_each(Host::finish_boot);
    }

    /// All hosts, in the order in which they were described.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host of that name.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn host(&self, name: &str) -> &Host {
        let found = self.hosts.iter().find(|host| host.name() == name);
        found.unwrap_or_else(|| panic!("the rig has no host {name}"))
    }

    /// The laptop.
    pub fn laptop(&self) -> &Laptop {
        &self.laptop
    }

    /// A command that runs `program` on the laptop: see [`Laptop::command`].
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.laptop.command(program)
    }

    /// A command that runs `remote` on a host through a plain ssh, which asks nothing.
    pub fn ssh(&self, host: &str, remote: &str) -> Command {
        let mut command = self.command("ssh");
        command.args(["-oBatchMode=yes", host, remote]);
        command
    }

    /// Runs a line of sh on a host as root, without ssh: see [`Host::exec`].
    pub fn exec(&self, host: &str, line: &str) -> Output {
        self.host(host).exec(line)
    }

    /// The folder in which all of the rig is.
    pub fn dir(&self) -> &Path {
        &self.folder
    }
}

impl Observable for Rig {
    fn inventories(&self) -> BTreeMap<String, Inventory> {
        let laptop = ("laptop".to_owned(), self.laptop.inventory());
        let up = self.hosts.iter().filter(|host| host.is_up());
        up.map(|host| (host.name().to_owned(), host.inventory())).chain([laptop]).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // All at once, before each is waited for.
        self.hosts.iter().for_each(Host::hang_up);
    }
}
