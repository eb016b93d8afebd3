//! The rig itself, proved with plain ssh: hosts are what they say, faults do what they say, and nothing is left.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use titan_tests::rig::loopback::LOOPBACK_HOST;
use titan_tests::rig::{self, Home, HostSpec, LoopbackSshd, PASSWORD, Rig, Shell, Signal, Snapshot, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn ssh(rig: &Rig, host: &str, remote: &str) -> Output {
    rig.ssh(host, remote).output().expect("ssh runs")
}

#[track_caller]
fn answer(rig: &Rig, host: &str, remote: &str) -> String {
    let output = ssh(rig, host, remote);
    assert!(output.status.success(), "{host}: {remote}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn three_hosts_answer_by_their_names() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::new(3);
    for host in ["alpha", "beta", "gamma"] {
        assert_eq!(
            answer(&rig, host, "hostname; whoami; pwd; echo $HOME"),
            format!("{host}\nworker\n/home/worker\n/home/worker")
        );
        assert_eq!(text(&rig.exec(host, "hostname; id -un").stdout), format!("{host}\nroot"));
        assert_eq!(text(&rig.host(host).exec_as_worker("id -un; pwd").stdout), "worker\n/home/worker");
    }
    assert_eq!(answer(&rig, "alpha", "ls -A ~ /tmp /var/tmp | wc -w"), "3", "only the three headings");
}

#[test]
fn every_shell_logs_in_and_can_be_chatty() {
    if rig::skipped() {
        return;
    }
    let (installed, missing): (Vec<_>, Vec<_>) = Shell::ALL.into_iter().partition(|shell| shell.find_path().is_some());
    if !missing.is_empty() {
        let _ = rig::availability::skipped_for("some shells aren't tested", Err(format!("{missing:?}")));
    }
    let host = |shell: &Shell| HostSpec::new(format!("{shell:?}").to_lowercase()).shell(shell.clone()).chatty();
    let rig = Rig::builder().hosts(installed.iter().map(host)).start();
    for (host, shell) in rig.hosts().iter().zip(&installed) {
        let output = ssh(&rig, host.name(), "echo $0; exec /bin/sh -c 'echo marker $HOME'");
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(stdout.ends_with("marker /home/worker"), "{shell:?}: {stdout} {stderr}");
        let chatty = *shell != Shell::Dash;
        assert_eq!(stdout.starts_with("Welcome"), chatty, "{shell:?}: {stdout}");
        assert_eq!(stderr.contains("You have mail."), chatty, "{shell:?}: {stderr}");
        let login = text(&host.exec("getent passwd worker").stdout);
        assert!(login.ends_with(shell.find_path().unwrap().to_str().unwrap()), "{login}");
    }
}

#[test]
fn homes_are_what_they_say() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::builder()
        .host(HostSpec::new("noexec").home(Home::NoExec))
        .host(HostSpec::new("nowhere").noexec_everywhere())
        .host(HostSpec::new("full").home(Home::Full))
        .host(HostSpec::new("small").home(Home::Small { kib: 1024 }))
        .host(HostSpec::new("readonly").home(Home::ReadOnly))
        .host(HostSpec::new("one").home(Home::Shared))
        .host(HostSpec::new("two").home(Home::Shared))
        .start();
    let execute = |dir: &str| format!("cd {dir} && cp /bin/true t && ./t");

    let output = ssh(&rig, "noexec", &execute("~"));
    assert_eq!(output.status.code(), Some(126), "{}", text(&output.stderr));
    assert!(ssh(&rig, "noexec", &execute("/tmp")).status.success());
    for dir in ["~", "/tmp", "/var/tmp", "/dev/shm"] {
        assert_eq!(ssh(&rig, "nowhere", &execute(dir)).status.code(), Some(126), "{dir}");
    }
    let output = ssh(&rig, "full", "echo something > file");
    assert!(text(&output.stderr).contains("No space left on device"), "{}", text(&output.stderr));
    assert!(ssh(&rig, "small", "head -c 500000 /dev/zero > file").status.success());
    assert!(!ssh(&rig, "small", "head -c 2000000 /dev/zero > file").status.success());
    let output = ssh(&rig, "readonly", "touch file");
    assert!(text(&output.stderr).contains("Read-only file system"), "{}", text(&output.stderr));
    answer(&rig, "one", "echo hello > file");
    assert_eq!(answer(&rig, "two", "cat file"), "hello");
}

#[test]
fn accounts_may_refuse() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::builder()
        .host(HostSpec::new("nologin").shell(Shell::NoLogin))
        .host(HostSpec::new("password").password_only())
        .host(HostSpec::new("silent").without_sshd())
        .host(HostSpec::new("off").powered_off())
        .host(HostSpec::new("odd").sshd_line("Banner /etc/hosts").home_file(".bashrc", "exec true\n"))
        .start();
    assert_eq!(ssh(&rig, "nologin", "true").status.code(), Some(1));

    assert!(text(&ssh(&rig, "password", "true").stderr).contains("Permission denied (publickey,password)"));
    let askpass = rig.laptop().work_dir().join("askpass");
    fs::write(&askpass, format!("#!/bin/sh\necho {PASSWORD}\n")).unwrap();
    rig.exec("odd", "true");
    assert!(Command::new("chmod").arg("+x").arg(&askpass).status().unwrap().success());
    let mut with_password = rig.command("ssh");
    with_password.env("SSH_ASKPASS", &askpass).env("SSH_ASKPASS_REQUIRE", "force").args(["password", "hostname"]);
    assert_eq!(text(&with_password.output().unwrap().stdout), "password");

    assert!(text(&ssh(&rig, "silent", "true").stderr).contains("Connection refused"));
    rig.host("silent").start_sshd();
    assert_eq!(answer(&rig, "silent", "hostname"), "silent");

    assert!(times_out(&rig, "off"));
    rig.host("off").power_on();
    assert_eq!(answer(&rig, "off", "hostname"), "off");

    let output = ssh(&rig, "odd", "echo never");
    assert!(output.status.success() && output.stdout.is_empty(), "an exec in an rc file swallows the command");
    assert!(text(&output.stderr).contains("10.213.0.1 laptop"), "the banner: {}", text(&output.stderr));
}

/// Whether the host's address is a black hole: neither an answer nor a refusal.
fn times_out(rig: &Rig, host: &str) -> bool {
    let output = rig.command("ssh").args(["-oBatchMode=yes", "-oConnectTimeout=1", host, "true"]).output().unwrap();
    output.status.code() == Some(255) && text(&output.stderr).contains("timed out")
}

#[test]
fn a_cut_is_a_black_hole_until_it_heals() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::new(2);
    let mut session = rig.ssh("alpha", "cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (session.stdin.take().unwrap(), session.stdout.take().unwrap());
    let mut echo = |sent: &[u8]| {
        stdin.write_all(sent).unwrap();
        let mut back = vec![0; sent.len()];
        stdout.read_exact(&mut back).unwrap();
        assert_eq!(back, sent);
    };
    echo(b"before");
    rig.host("alpha").cut();
    assert!(times_out(&rig, "alpha"));
    assert_eq!(answer(&rig, "beta", "hostname"), "beta", "the others aren't cut off");
    assert!(session.try_wait().unwrap().is_none(), "an open session isn't told");
    rig.host("alpha").heal();
    echo(b"after");
    assert_eq!(answer(&rig, "alpha", "hostname"), "alpha");
    drop(stdin);
    assert!(session.wait().unwrap().success());
}

#[test]
fn power_goes_without_a_word_and_comes_back() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::new(1);
    let host = rig.host("alpha");
    answer(&rig, "alpha", "touch kept /tmp/lost");
    let mut session = rig.ssh("alpha", "echo up; sleep 1000").stdout(Stdio::piped()).spawn().unwrap();
    session.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
    let start = Instant::now();
    host.power_off();
    assert!(start.elapsed() < Duration::from_secs(1), "it took {:?}", start.elapsed());
    assert!(host.processes().is_empty() && host.files().is_empty());
    assert!(times_out(&rig, "alpha"));
    assert!(session.try_wait().unwrap().is_none(), "an open session isn't told");
    host.power_on();
    assert_eq!(answer(&rig, "alpha", "ls ~ /tmp"), "/home/worker:\nkept\n\n/tmp:");
    session.kill().unwrap();
    session.wait().unwrap();
}

#[test]
fn processes_can_be_killed_and_frozen() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::new(2);
    let host = rig.host("alpha");
    let mut session = rig.ssh("alpha", "exec sleep 1234").spawn().unwrap();
    wait_until(PATIENCE, "the sleep runs", || host.processes().iter().any(|process| process.line() == "sleep 1234"));
    assert!(rig.host("beta").processes().is_empty(), "hosts don't see each other's processes");

    let state = |pid: u32| text(&host.exec(&format!("cut -d' ' -f3 /proc/{pid}/stat")).stdout);
    let pid = host.freeze("sleep 1234")[0].pid;
    wait_until(PATIENCE, "it is stopped", || state(pid) == "T");
    host.thaw("sleep 1234");
    wait_until(PATIENCE, "it goes on", || state(pid) == "S");
    assert_eq!(host.kill("sleep 1234").len(), 1);
    assert!(!session.wait().unwrap().success());
    assert!(host.signal("sleep 1234", Signal::KILL).is_empty());
}

#[test]
fn sshd_can_be_stopped_and_sessions_ended() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::new(1);
    let host = rig.host("alpha");
    let mut session = rig.ssh("alpha", "exec sleep 1234").spawn().unwrap();
    wait_until(PATIENCE, "the sleep runs", || host.processes().len() == 1);
    host.stop_sshd();
    assert!(text(&ssh(&rig, "alpha", "true").stderr).contains("Connection refused"));
    assert!(session.try_wait().unwrap().is_none(), "sessions outlive the listener");
    host.end_sessions();
    assert_eq!(session.wait().unwrap().code(), Some(255));
    host.start_sshd();
    assert_eq!(answer(&rig, "alpha", "hostname"), "alpha");
    assert!(host.sshd_log().contains("Server listening on 10.213.1.1 port 22"));
}

#[test]
fn a_changed_host_key_is_refused() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::new(1);
    assert_eq!(answer(&rig, "alpha", "hostname"), "alpha");
    rig.host("alpha").change_host_key();
    let output = ssh(&rig, "alpha", "true");
    assert_eq!(output.status.code(), Some(255));
    assert!(text(&output.stderr).contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{}", text(&output.stderr));
}

#[test]
fn a_jump_through_another_host_works() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::new(2);
    rig.laptop().add_ssh_config("Host beta\n    ProxyJump alpha\n");
    assert!(answer(&rig, "beta", "echo $SSH_CONNECTION").starts_with("10.213.1.1 "), "beta sees alpha as its client");
    rig.host("alpha").cut();
    let mut through_alpha = rig.ssh("beta", "true");
    let start = Instant::now();
    through_alpha.stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = through_alpha.spawn().unwrap();
    assert!(
        !rig::holds_within(Duration::from_millis(500), || child.try_wait().unwrap().is_some()),
        "{:?}",
        start.elapsed()
    );
    child.kill().unwrap();
    child.wait().unwrap();
    rig.laptop().signal("ssh", Signal::KILL);
}

#[test]
fn links_can_be_slow() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::new(1);
    let host = rig.host("alpha");
    host.limit_rate(8000).unwrap();
    let start = Instant::now();
    answer(&rig, "alpha", "head -c 1000000 /dev/zero");
    assert!(
        start.elapsed() > Duration::from_millis(800),
        "a megabyte at one megabyte per second: {:?}",
        start.elapsed()
    );

    if let Err(error) = rig.host("alpha").delay(Duration::from_millis(200)) {
        assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
        let _ = writeln!(std::io::stderr(), "SKIPPED: delays need netem: {error}");
        return;
    }
    let start = Instant::now();
    answer(&rig, "alpha", "true");
    assert!(start.elapsed() > Duration::from_secs(2), "ssh takes several round trips: {:?}", start.elapsed());
}

#[test]
fn a_snapshot_sees_what_is_left() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::new(2);
    let before = Snapshot::take(&rig);
    let nothing_allowed = |_: &Path| false;
    before.assert_nothing_left(&rig, Duration::ZERO, nothing_allowed);

    answer(&rig, "alpha", "mkdir -p .cache/x; touch /dev/shm/f; setsid sleep 4321 </dev/null >/dev/null 2>&1 &");
    fs::write(rig.laptop().runtime_dir().join("socket"), "").unwrap();
    let mut orphan = rig.command("sleep").arg("5432").spawn().unwrap();
    let expected = [
        "alpha: process",
        "sleep 4321",
        "alpha: new file /home/worker/.cache/x",
        "alpha: new file /dev/shm/f",
        "laptop: process",
        "sleep 5432",
        "laptop: new file",
    ];
    wait_until(PATIENCE, "all of it is seen", || {
        let differences = before.differences(&Snapshot::take(&rig), nothing_allowed);
        expected.iter().all(|part| differences.contains(part)) && !differences.contains("beta")
    });

    rig.host("alpha").kill("sleep 4321");
    rig.exec("alpha", "rm /dev/shm/f");
    fs::remove_file(rig.laptop().runtime_dir().join("socket")).unwrap();
    orphan.kill().unwrap();
    orphan.wait().unwrap();
    before.assert_nothing_left(&rig, PATIENCE, |path| path.starts_with("/home/worker/.cache"));
}

#[test]
fn the_laptop_has_a_home_of_its_own() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::new(1);
    let home = rig.laptop().home();
    let shown = |line: &str, dir: &Path| {
        let output = rig.command("sh").args(["-c", line]).current_dir(dir).output().unwrap();
        text(&output.stdout)
    };
    assert_eq!(shown("echo $HOME; pwd; hostname; eval echo ~root", &home), {
        let home = home.display();
        format!("{home}\n{home}\nlaptop\n{home}")
    });
    let mut child = rig.command("sleep").arg("1000").spawn().unwrap();
    wait_until(PATIENCE, "the child is the program itself", || {
        rig.laptop().processes().iter().any(|process| process.pid == child.id() && process.line() == "sleep 1000")
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(rig.laptop().processes().is_empty());
    assert!(rig.laptop().runtime_dir().as_os_str().len() < 40, "room for the names of sockets");
}

/// The machine's own network devices and mounts.
fn traces() -> BTreeSet<String> {
    let devices = fs::read_dir("/sys/class/net").unwrap().flatten().map(|entry| entry.path());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let devices = devices.map(|path| path.display().to_string());
    devices.chain(mounts.lines().map(str::to_owned)).collect()
}

/// The processes that have `dir` in their environment: a rig's scripts, and what runs on its laptop.
fn processes_of(dir: &Path) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let ends = ["/", "\0"].map(|end| format!("{}{end}", dir.display()));
    let of_rig = |path: &PathBuf| {
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        ends.iter().any(|folder| String::from_utf8_lossy(&environment).contains(folder))
    };
    processes.filter(of_rig).collect()
}

#[test]
fn nothing_of_a_rig_is_left() {
    if rig::skipped() {
        return;
    }
    let before = traces();
    let rig = Rig::new(2);
    let dir = rig.dir().to_owned();
    answer(&rig, "alpha", "setsid sleep 1000 </dev/null >/dev/null 2>&1 &");
    let mut child = rig.command("sleep").arg("1000").spawn().unwrap();
    assert!(dir.exists() && !processes_of(&dir).is_empty());
    let start = Instant::now();
    drop(rig);
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    assert!(!child.wait().unwrap().success(), "what runs on the laptop ends with it");
    assert!(!dir.exists());
    assert!(processes_of(&dir).is_empty(), "{:?}", processes_of(&dir));
    assert_eq!(traces(), before);
}

/// Set in the process that is to be killed.
const VICTIM_VARIABLE: &str = "RIG_SELF_VICTIM";

/// Not a test of its own: what the next test runs in another process, and kills.
#[test]
fn a_rig_in_a_process_that_gets_killed() {
    if std::env::var_os(VICTIM_VARIABLE).is_none() {
        return;
    }
    let rig = Rig::new(2);
    let loopback = LoopbackSshd::start();
    answer(&rig, "alpha", "setsid sleep 1000 </dev/null >/dev/null 2>&1 &");
    let mut child = rig.command("sleep").arg("1000").spawn().unwrap();
    println!("\ndir {}\ndir {}", rig.dir().display(), loopback.dir().display());
    child.wait().unwrap();
}

#[test]
fn nothing_of_a_rig_is_left_when_its_test_is_killed() {
    if rig::skipped() {
        return;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_rig_in_a_process_that_gets_killed", "--nocapture"])
        .env(VICTIM_VARIABLE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let dirs = lines.map_while(Result::ok).filter_map(|line| Some(PathBuf::from(line.strip_prefix("dir ")?)));
    let dirs: Vec<PathBuf> = dirs.take(2).collect();
    assert!(dirs.len() == 2 && dirs.iter().all(|dir| dir.exists() && !processes_of(dir).is_empty()));
    victim.kill().unwrap();
    victim.wait().unwrap();
    for dir in dirs {
        wait_until(PATIENCE, "the rig is gone", || !dir.exists() && processes_of(&dir).is_empty());
    }
}

#[test]
fn a_loopback_sshd_works_without_namespaces() {
    if LoopbackSshd::skipped() {
        return;
    }
    let sshd = LoopbackSshd::start();
    let remote = "cd; pwd; echo $XDG_CACHE_HOME";
    let home = sshd.host().home();
    let expected = format!("{}\n{}", home.display(), sshd.host().cache_dir().display());
    let output = sshd.command("ssh").args([LOOPBACK_HOST, remote]).output().unwrap();
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
    let output = Command::new("ssh").arg("-F").arg(sshd.ssh_config()).args([LOOPBACK_HOST, remote]).output().unwrap();
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));

    let before = Snapshot::take(&sshd);
    let mut session = sshd.command("ssh");
    session.args([LOOPBACK_HOST, "echo up; exec cat"]);
    let mut session = session.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    session.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
    let (port, dir) = (sshd.port(), sshd.dir().to_owned());
    let leave = "echo > $TMPDIR/f; setsid sleep 4321 </dev/null >/dev/null 2>&1 &";
    assert!(sshd.command("ssh").args([LOOPBACK_HOST, leave]).status().unwrap().success());
    wait_until(PATIENCE, "all of it is seen", || {
        let differences = before.differences(&Snapshot::take(&sshd), |_| false);
        ["exec cat", "sleep 4321", "tmp/f"].iter().all(|part| differences.contains(part))
    });
    drop(sshd);
    assert!(processes_of(&dir).is_empty(), "{:?}", processes_of(&dir));
    assert!(!session.wait().unwrap().success(), "sessions end with it");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!dir.exists());
}
