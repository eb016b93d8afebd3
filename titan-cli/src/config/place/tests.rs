//! Which place each combination of arguments and surroundings gives, with real files in a folder of the test's own.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::PlaceSource;
use super::{Place, PlaceArgs, Surroundings, parse_local};
use crate::config::cluster::Reach;
use crate::config::jobs::{Jobs, Slots, parse_jobs};
use titan_manager::policy::PolicyKind as Policy;

const LAB: &str = "[[host]]\nssh = 'render1'\nslots = 8\n[[host]]\nssh = 'render2'\nagent = 'arm'\n\
                   [[host]]\nname = 'box'\ncommand = ['sh']\n[scheduler]\npolicy = 'round-robin'\n";
const FOUND: &str = "[[host]]\nssh = 'near'\n[[host]]\nlocal = true\nslots = 3\n";

/// A machine of eight cores with empty folders.
struct Machine {
    folder: TempDir,
    surroundings: Surroundings,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["here", "config/titan"] {
            fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        let surroundings = Surroundings {
            found_before: None,
            titan_cluster: None,
            current_dir: folder.path().join("here"),
            config_dir: Some(folder.path().join("config")),
            home: Some(PathBuf::from("/home/ann")),
            cores: 8,
        };
        Self { folder, surroundings }
    }

    fn with(self, path: &str, text: &str) -> Self {
        fs::write(self.folder.path().join(path), text).expect("written");
        self
    }

    fn place(&self, typed: &[&str]) -> Place {
        Place::resolve(&args(typed), &self.surroundings).unwrap_or_else(|error| panic!("{typed:?}: {error}"))
    }

    fn refusal(&self, typed: &[&str]) -> String {
        Place::resolve(&args(typed), &self.surroundings).expect_err("refused").to_string()
    }

    /// The first line and each host with its slots.
    fn told(&self, typed: &[&str]) -> String {
        let place = self.place(typed);
        let hosts = place.cluster.hosts.iter().map(|host| format!("\n{} {:?}", host.name, host.slots));
        let told = format!("{}{}", place.source, hosts.collect::<String>());
        told.replace(&*self.folder.path().to_string_lossy(), "")
    }
}

/// The arguments as they are typed, for these tests only.
fn args(typed: &[&str]) -> PlaceArgs {
    let mut args = PlaceArgs::default();
    for word in typed {
        match word.split_once('=').unwrap_or((word, "")) {
            ("--cluster", file) => args.cluster = Some(PathBuf::from(file)),
            ("--hosts", list) => args.hosts.push(list.to_owned()),
            ("--local", "") => args.local = Some(None),
            ("--local", count) => args.local = Some(Some(count.parse().expect("a number"))),
            ("-j", jobs) => args.jobs = Some(parse_jobs(jobs).expect("jobs")),
            other => panic!("{other:?}"),
        }
    }
    args
}

#[test]
fn with_nothing_it_is_this_machine() {
    let machine = Machine::new();
    insta::assert_snapshot!(machine.told(&[]), @"
    hosts: this machine (no cluster file, no --hosts)
    localhost Cores
    ");
    assert_eq!(machine.place(&[]).source, PlaceSource::Default);
    assert_ne!(machine.place(&["--local"]).source, PlaceSource::Default);
}

#[test]
fn local_agents_divide_the_cores() {
    let machine = Machine::new();
    insta::assert_snapshot!(machine.told(&["--local"]), @"
    hosts: 1 local agent
    localhost Cores
    ");
    insta::assert_snapshot!(machine.told(&["--local=3"]), @"
    hosts: 3 local agents
    local-1 Exactly(2)
    local-2 Exactly(2)
    local-3 Exactly(2)
    ");
    insta::assert_snapshot!(machine.told(&["--local=2", "-j=50%"]), @"
    hosts: 2 local agents
    local-1 Exactly(2)
    local-2 Exactly(2)
    ");
    assert_eq!(machine.place(&["--local=1"]).cluster.hosts[0].name, "localhost");
    let many = machine.place(&["--local=1024"]);
    assert!(many.cluster.hosts.iter().all(|host| host.slots == Slots::Exactly(1)));
}

#[test]
fn files_are_looked_for_in_order() {
    let mut machine = Machine::new().with("config/titan/cluster.toml", LAB);
    insta::assert_snapshot!(machine.told(&[]), @"
    hosts: /config/titan/cluster.toml (3 hosts)
    render1 Exactly(8)
    render2 Cores
    box Cores
    ");
    machine = machine.with("here/cluster.toml", FOUND);
    insta::assert_snapshot!(machine.told(&[]), @"
    hosts: ./cluster.toml (2 hosts)
    near Cores
    localhost Exactly(3)
    ");
    machine.surroundings.titan_cluster = Some(PathBuf::from("../config/titan/cluster.toml"));
    insta::assert_snapshot!(machine.told(&[]), @"
    hosts: ../config/titan/cluster.toml from $TITAN_CLUSTER (3 hosts)
    render1 Exactly(8)
    render2 Cores
    box Cores
    ");
    insta::assert_snapshot!(machine.told(&["--cluster=cluster.toml", "--local=2"]), @"
    hosts: cluster.toml (2 hosts) and 2 local agents
    near Cores
    localhost Exactly(3)
    local-1 Exactly(4)
    local-2 Exactly(4)
    ");
    machine.surroundings.titan_cluster = Some(PathBuf::new());
    assert_eq!(machine.place(&[]).cluster.names().next(), Some("near"));
    insta::assert_snapshot!(machine.told(&["--local"]), @"
    hosts: 1 local agent
    localhost Cores
    ");
}

#[test]
fn a_file_that_is_merely_found_is_not_trusted_and_a_named_one_is() {
    let machine = Machine::new().with("here/cluster.toml", LAB);
    insta::assert_snapshot!(machine.refusal(&[]), @"
    error: 'agent' isn't taken from a file that was merely found in the current directory
     --> ./cluster.toml:6:1
      |
    6 | agent = 'arm'
      | ^^^^^ to trust this file, name it: --cluster ./cluster.toml

    error: 'command' isn't taken from a file that was merely found in the current directory
     --> ./cluster.toml:9:1
      |
    9 | command = ['sh']
      | ^^^^^^^ to trust this file, name it: --cluster ./cluster.toml
    ");
    assert_eq!(machine.place(&["--cluster=./cluster.toml"]).cluster.hosts.len(), 3);
}

#[test]
fn hosts_are_names_of_the_file_that_would_be_found_or_destinations() {
    let machine = Machine::new().with("config/titan/cluster.toml", LAB);
    insta::assert_snapshot!(machine.told(&["--hosts=2/render1,ann@other:22,[::1]:22", "--hosts=:", "--local=2"]), @"
    hosts: --hosts (4 hosts, 1 of /config/titan/cluster.toml) and 2 local agents
    render1 Exactly(2)
    ann@other:22 Cores
    [::1]:22 Cores
    localhost Cores
    local-1 Exactly(4)
    local-2 Exactly(4)
    ");
    insta::assert_snapshot!(machine.told(&["--hosts=other"]), @"
    hosts: --hosts (1 host; settings of /config/titan/cluster.toml)
    other Cores
    ");
    let place = machine.place(&["--hosts=ann@render2:2222"]);
    let reach = Reach::Ssh { destination: "render2".into(), user: Some("ann".into()), port: Some(2222) };
    assert_eq!(place.cluster.hosts[0].reach, reach);
    assert_eq!(place.cluster.hosts[0].agent, Some(machine.folder.path().join("config/titan/arm")));
    assert_eq!(place.cluster.scheduler.policy, Policy::RoundRobin);
    insta::assert_snapshot!(Machine::new().told(&["--hosts=a,b"]), @"
    hosts: --hosts (2 hosts)
    a Cores
    b Cores
    ");
}

#[test]
fn this_machine_in_a_list_is_the_entry_of_the_file_that_is_this_machine() {
    let machine = Machine::new().with("here/cluster.toml", FOUND);
    assert_eq!(machine.place(&["--hosts=:"]).cluster.hosts[0].slots, Slots::Exactly(3));
    assert_eq!(Machine::new().place(&["--hosts=:"]).cluster.hosts[0].reach, Reach::Local);
}

#[test]
fn hosts_beside_a_named_file_select_from_it() {
    let machine = Machine::new().with("here/lab.toml", LAB);
    insta::assert_snapshot!(machine.told(&["--cluster=lab.toml", "--hosts=box,4/render1"]), @"
    hosts: --hosts (2 hosts of lab.toml)
    box Cores
    render1 Exactly(4)
    ");
    insta::assert_snapshot!(machine.refusal(&["--cluster=lab.toml", "--hosts=rendr1"]), @"error: no host 'rendr1' in lab.toml (hint: did you mean 'render1'?)");
    insta::assert_snapshot!(machine.refusal(&["--cluster=lab.toml", "--hosts=ann@elsewhere"]), @"error: no host 'elsewhere' in lab.toml (hint: its hosts are render1, render2, box)");
    insta::assert_snapshot!(machine.refusal(&["--cluster=lab.toml", "--hosts=ann@box"]), @"error: 'box' in lab.toml isn't reached by ssh (hint: leave out user and port)");
}

#[test]
fn slots_before_a_host_win_over_jobs_and_jobs_over_the_file() {
    let machine = Machine::new().with("here/lab.toml", LAB);
    let slots = |typed: &[&str]| machine.place(typed).cluster.hosts[0].slots;
    assert_eq!(slots(&["--cluster=lab.toml"]), Slots::Exactly(8));
    assert_eq!(slots(&["--cluster=lab.toml", "-j=50%"]), Slots::Jobs(Jobs::Percent(50)));
    assert_eq!(slots(&["--cluster=lab.toml", "--hosts=render1", "-j=3"]), Slots::Jobs(Jobs::Count(3)));
    assert_eq!(slots(&["--cluster=lab.toml", "--hosts=2/render1", "-j=3"]), Slots::Exactly(2));
    assert_eq!(slots(&["-j=+1"]), Slots::Jobs(Jobs::More(1)));
}

#[test]
fn what_can_not_be_is_refused_with_what_to_do() {
    let machine = Machine::new().with("here/empty.toml", "").with("here/cluster.toml", FOUND);
    insta::assert_snapshot!(machine.refusal(&["--cluster=missing.toml"]), @"error: cannot read missing.toml: No such file or directory (hint: --cluster takes a file such as 'titan init' writes)");
    insta::assert_snapshot!(machine.refusal(&["--cluster=empty.toml"]), @r#"error: empty.toml has no host (hint: add a [[host]] with ssh = "alias", or run with --local)"#);
    insta::assert_snapshot!(machine.refusal(&["--hosts=a,2/a"]), @"error: --hosts names 'a' twice (hint: for more tasks at once there write N/a)");
    insta::assert_snapshot!(machine.refusal(&["--hosts=::1,[::1]"]), @"error: --hosts names '::1' twice (hint: for more tasks at once there write N/::1)");
    insta::assert_snapshot!(machine.refusal(&["--hosts=:", "--local"]), @"error: 'localhost' is given twice, once by --local (hint: leave one out)");
    insta::assert_snapshot!(machine.refusal(&["--hosts=a b"]), @"error: --hosts: 'a b' holds a blank (hint: write USER@HOST:PORT, or a name from your ssh config)");
    insta::assert_snapshot!(machine.refusal(&["--local=0"]), @"error: --local=0 can't be (hint: write a number of agents from 1 to 1024)");
    insta::assert_snapshot!(machine.refusal(&["--local=4294967295"]), @"error: --local=4294967295 can't be (hint: write a number of agents from 1 to 1024)");
}

#[test]
fn a_word_after_local_that_is_no_number_is_told_what_to_write() {
    assert_eq!(parse_local("4"), Ok(4));
    insta::assert_snapshot!(parse_local("mandelbrot").expect_err("refused"), @"isn't a number of agents: write --local=N, or put the kernel first (titan run KERNEL --local), or for map: --local -- COMMAND");
    for text in ["0", "1025", "99999999999"] {
        assert_eq!(parse_local(text), Err("isn't from 1 to 1024 agents".to_owned()));
    }
}

#[test]
fn a_folder_in_the_place_of_a_file_is_passed_over() {
    let machine = Machine::new();
    fs::create_dir(machine.surroundings.current_dir.join("cluster.toml")).expect("a folder");
    assert_eq!(machine.place(&[]).source, PlaceSource::Default);
}

proptest! {
    #[test]
    fn a_place_has_hosts_with_names_of_their_own(
        hosts in proptest::collection::vec("[:a0-3/,]{1,6}|near|localhost|local-1", 0..4),
        local in proptest::option::of(proptest::option::of(0..4u32)),
        jobs in proptest::option::of(1..9u32),
        cores: u32,
    ) {
        let mut machine = Machine::new().with("here/cluster.toml", FOUND);
        machine.surroundings.cores = cores;
        let args = PlaceArgs { cluster: None, hosts, local, jobs: jobs.map(Jobs::Count) };
        if let Ok(place) = Place::resolve(&args, &machine.surroundings) {
            let mut names: Vec<_> = place.cluster.names().collect();
            prop_assert!(!names.is_empty());
            names.sort_unstable();
            names.dedup();
            prop_assert_eq!(names.len(), place.cluster.hosts.len());
        }
    }
}
