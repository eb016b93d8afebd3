//! What a host has in its /etc: accounts, names, and sshd's configuration and key.

use super::environment::write;
use super::spec::{HostSpec, Shell};
use super::{network, tools};
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

/// The account on every host into which the laptop logs in.
pub const WORKER: &str = "worker";

/// The worker's password, for hosts that accept no key.
pub const PASSWORD: &str = "secret";

/// The worker's user and group: a number that no system gives to people.
const WORKER_ID: u32 = 60213;

/// [`PASSWORD`], as crypt(3) writes it.
const PASSWORD_HASH: &str =
    "$6$titanrig$otMKWhxVEdxpMTaOh0HLm3KQKJCbP1LA.h/7f68jlkfftN54cXo8wPSlcXtpzscXLkDVtGY69aX9LmPLLoYsC0";

/// Writes a host's files below `dir`: `etc`, to be mounted file by file, and `ssh`, to be mounted as /etc/ssh.
pub(super) fn write_host(dir: &Path, spec: &HostSpec, place: usize, hosts_file: &str, laptop_key: &str) {
    let etc = dir.join("etc");
    fs::create_dir_all(&etc).expect("the rig's folder can be written");
    let shell = spec.shell.find_path().unwrap_or_else(|| panic!("{:?} isn't installed", spec.shell));
    let account = format!("{WORKER}:x:{WORKER_ID}:{WORKER_ID}::/home/{WORKER}:{}\n", shell.display());
    write(&etc.join("passwd"), &with_line("/etc/passwd", &account));
    write(&etc.join("group"), &with_line("/etc/group", &format!("{WORKER}:x:{WORKER_ID}:\n")));
    write(&etc.join("shadow"), &format!("root:*:20000::::::\n{WORKER}:{PASSWORD_HASH}:20000::::::\n"));
    write(&etc.join("hosts"), hosts_file);
    write(&etc.join("machine-id"), &format!("{place:032x}\n"));

    let ssh = dir.join("ssh");
    fs::create_dir_all(&ssh).expect("the rig's folder can be written");
    let accepted = if spec.key_accepted { laptop_key } else { "" };
    write(&ssh.join("authorized_keys"), &format!("{accepted}\n"));
    write(&ssh.join("sshd_config"), &sshd_config(spec, place));
}

/// Gives the host whose files are in `dir` a new key, and returns its public half.
pub(super) fn renew_host_key(dir: &Path) -> String {
    tools::make_key(&dir.join("ssh/ssh_host_ed25519_key"))
}

/// Makes a home folder, with the files that the host asks for.
pub(super) fn write_home(home: &Path, spec: &HostSpec) {
    fs::create_dir_all(home).expect("the rig's folder can be written");
    give_to_worker(home);
    for (path, text) in &spec.home_files {
        let mut made = home.to_owned();
        for part in path.parent().into_iter().flat_map(Path::components) {
            made.push(part);
            let _ = fs::create_dir(&made);
            give_to_worker(&made);
        }
        let file = home.join(path);
        write(&file, text);
        give_to_worker(&file);
    }
}

/// The passwd file of the laptop: root's home is `home`, because ssh asks this file and not `$HOME`.
pub(super) fn laptop_passwd(home: &Path) -> String {
    let shell = Shell::Bash.find_path().unwrap_or_else(|| "/bin/sh".into());
    let root = format!("root:x:0:0:root:{}:{}\n", home.display(), shell.display());
    let others = with_line("/etc/passwd", "");
    root + &others.lines().filter(|line| !line.starts_with("root:")).map(|line| format!("{line}\n")).collect::<String>()
}

fn sshd_config(spec: &HostSpec, place: usize) -> String {
    let password = if spec.key_accepted { "no" } else { "yes" };
    // sshd takes the first value that it reads, so the test's lines come first.
    format!(
        "{}ListenAddress {}\n\
         HostKey /etc/ssh/ssh_host_ed25519_key\n\
         AuthorizedKeysFile /etc/ssh/authorized_keys\n\
         PasswordAuthentication {password}\n\
         KbdInteractiveAuthentication no\n\
         UsePAM no\n\
         PrintMotd no\n\
         PrintLastLog no\n\
         PidFile /run/sshd.pid\n\
         Subsystem sftp internal-sftp\n",
        spec.sshd_lines,
        network::address(place)
    )
}

fn with_line(file: &str, line: &str) -> String {
    fs::read_to_string(file).unwrap_or_default() + line
}

fn give_to_worker(path: &Path) {
    chown(path, Some(WORKER_ID), Some(WORKER_ID)).expect("rigs need root");
}
