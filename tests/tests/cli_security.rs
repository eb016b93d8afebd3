//! What other users of a machine can see and do: `docs/security.md` says what they can't, and names the tests here.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use titan_tests::cli::other_user::OtherUser;
use titan_tests::cli::running::send_signal;
use titan_tests::cli::{Desk, PATIENCE, Running};
use titan_tests::rig::wait_until;

/// Two hosts: this machine, and a shell that the agent is sent to.
const CLUSTER: &str = "[[host]]\nlocal = true\nslots = 1\nenv = { FILE_TOKEN = \"hunter2-file\" }\n\
     [[host]]\nname = \"shell\"\ncommand = [\"sh\"]\nslots = 1\nenv = { FILE_TOKEN = \"hunter2-file\" }\n";
/// What no log, no list of processes and no file that others can read may hold.
const SECRETS: [&str; 4] = ["hunter2-copied", "hunter2-typed", "hunter2-file", "hunter2-setup"];
/// The user to whom what is planted belongs.
const STRANGER: u32 = 54_400;

fn secrets_in(bytes: &[u8]) -> Vec<&'static str> {
    let text = String::from_utf8_lossy(bytes);
    // As text, and as the numbers of its bytes.
    let numbers = |secret: &str| secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    SECRETS.into_iter().filter(|secret| text.contains(secret) || text.contains(&numbers(secret))).collect()
}

/// The command lines of all processes of this machine but of that one.
fn command_lines(but: u32) -> Vec<Vec<u8>> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).filter(|pid| *pid != but);
    pids.filter_map(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn everything_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next) {
        let entries: Vec<_> = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        found.extend(entries);
        next += 1;
    }
    found
}

#[test]
fn values_of_variables_are_for_tasks_alone() {
    let desk = Desk::new();
    desk.write("c.toml", CLUSTER);
    let mut command = desk.titan("map -vv --cluster c.toml -j1 --env COPIED --env TYPED=hunter2-typed --setup");
    command.arg("SETUP_TOKEN=hunter2-setup; sleep 1; export SETUP_TOKEN").env("COPIED", "hunter2-copied");
    command.args(["sh", "-c", r#"sleep 1; echo "$COPIED $TYPED $FILE_TOKEN $SETUP_TOKEN" | wc -c"#, ":::", "1", "2"]);
    let mut running = Running::start(&mut command);
    let mut looks = 0;
    while !running.has_ended() {
        // titan's own is what the person has typed.
        for line in command_lines(running.pid()) {
            assert_eq!(secrets_in(&line), [""; 0], "{}", String::from_utf8_lossy(&line));
        }
        looks += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    let outcome = running.wait().expect(0);
    assert!(looks > 20, "it was over before anybody looked");
    // They were there: four words of 12 to 14 characters.
    assert_eq!(outcome.text(), "56\n56\n");
    assert!(outcome.stderr.contains("-> Started"), "{}", outcome.stderr);
    assert_eq!(secrets_in(outcome.stderr.as_bytes()), [""; 0], "{}", outcome.stderr);
    // A log may be cut anywhere, and shows them not at all.
    assert!(outcome.stderr.contains("setup: Some(…)"), "{}", outcome.stderr);
    for words in ["status --json", "batches --json", "status", "batches", "logs", "export --json"] {
        let told = desk.run(words);
        let told = [told.stdout, told.stderr.into_bytes()].concat();
        // The setup is a part of what was typed.
        let leaked: Vec<_> = secrets_in(&told).into_iter().filter(|secret| *secret != "hunter2-setup").collect();
        assert_eq!(leaked, [""; 0], "{words}: {}", String::from_utf8_lossy(&told));
    }
    desk.wait_until_tidy();
}

#[test]
fn what_stays_of_a_batch_is_closed_to_others() {
    let desk = Desk::new();
    let mut running = Running::start(desk.titan("map -v --env A=mine sh -c").args(["sleep 2; echo {}", ":::", "1"]));
    running.wait_for(" starts on ");
    let batches = desk.batches();
    for path in everything_in(&batches) {
        assert_eq!(mode(&path) & 0o077, 0, "while it runs: {} has {:o}", path.display(), mode(&path));
    }
    running.wait().expect(0);
    for path in everything_in(&batches) {
        assert_eq!(mode(&path) & 0o077, 0, "when it is over: {} has {:o}", path.display(), mode(&path));
    }
}

#[test]
fn sockets_are_private_and_another_user_is_not_served() {
    let Some(user) = OtherUser::become_one(54_401) else { return };
    let mut running = Running::start(user.titan("map -v sh -c").args(["sleep 3; echo {}", ":::", "1"]));
    running.wait_for(" starts on ");
    let sockets = user.sockets();
    let [socket] = &sockets[..] else { panic!("one agent: {sockets:?}") };
    let folder = socket.parent().unwrap();
    assert_eq!((mode(folder), mode(socket)), (0o700, 0o600));
    assert_eq!(folder, user.meetings()[0]);
    // root gets past both, and is another user all the same.
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    assert_eq!(said, b"", "the agent's hello");
    let outcome = running.wait().expect(0);
    assert_eq!(outcome.text(), "1\n");
}

/// Each way in which somebody else can have a folder's name first.
fn squat(way: usize, folder: &Path) {
    let elsewhere = folder.with_extension("theirs");
    match way {
        0 => fs::create_dir(folder).unwrap(),
        1 => {
            fs::create_dir(&elsewhere).unwrap();
            symlink(&elsewhere, folder).unwrap();
        }
        _ => fs::write(folder, "").unwrap(),
    }
    if way == 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        chown(folder, Some(STRANGER), Some(STRANGER)).unwrap();
    }
}

#[test]
fn a_folder_that_somebody_else_has_made_is_never_used() {
    for way in 0..3 {
        let Some(user) = OtherUser::become_one(54_402) else { return };
        let [first, second, third] = user.meetings();
        squat(way, &first);
        let mut running = Running::start(user.titan("map -v sh -c").args(["sleep 1; echo {}", ":::", "1"]));
        running.wait_for(" starts on ");
        assert_eq!(user.sockets().iter().map(|path| path.parent().unwrap()).collect::<Vec<_>>(), [&second]);
        assert_eq!(everything_in(&first.with_extension("theirs")).len(), 1);
        assert_eq!(running.wait().expect(0).text(), "1\n");
        wait_until(PATIENCE, "the agent has ended", || !second.exists());
        squat(way, &second);
        squat(way, &third);
        let mut running = Running::start(user.titan("map -v sh -c").args(["sleep 1; echo {}", ":::", "1"]));
        running.wait_for(" starts on ");
        assert_eq!(user.sockets(), [""; 0].map(PathBuf::from));
        assert_eq!(running.wait().expect(0).text(), "1\n");
        for folder in [&first, &second, &third] {
            let _ = fs::remove_dir_all(folder.with_extension("theirs"));
        }
    }
}

#[test]
fn where_no_folder_is_safe_the_agent_says_so() {
    let Some(user) = OtherUser::become_one(54_403) else { return };
    user.meetings().iter().for_each(|folder| squat(0, folder));
    let mut running = Running::start(user.titan("map -v sh -c").args(["sleep 60", ":::", "1"]));
    running.wait_for(" starts on ");
    let agents = user.desk.agents();
    agents.iter().for_each(|pid| send_signal(*pid, Signal::KILL));
    running.wait_for("is there another user's titan-meet-UID?");
}

/// The bridges: what a connection ends in.
fn bridges(desk: &Desk) -> Vec<u32> {
    let is_bridge = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.get(1) == Some(&&b"agent"[..]) && words.get(2).is_some_and(|word| *word != b"detached")
    };
    desk.processes().into_iter().map(|(pid, _)| pid).filter(is_bridge).collect()
}

#[test]
fn a_name_that_becomes_free_again_makes_no_second_agent() {
    let Some(user) = OtherUser::become_one(54_404) else { return };
    let first = &user.meetings()[0];
    squat(0, first);
    let mut running = Running::start(user.titan("map -v sh -c").args(["echo x >> runs; sleep 4; echo {}", ":::", "1"]));
    running.wait_for(" starts on ");
    wait_until(PATIENCE, "it has begun", || user.desk.path("runs").exists());
    fs::remove_dir(first).unwrap();
    let bridges = bridges(&user.desk);
    assert_eq!(bridges.len(), 1);
    send_signal(bridges[0], Signal::KILL);
    let outcome = running.wait().expect(0);
    assert_eq!(
        (outcome.text().as_str(), user.desk.read("runs").as_slice()),
        ("1\n", &b"x\n"[..]),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_batch_that_somebody_else_has_put_among_ours_removes_nothing() {
    let Some(user) = OtherUser::become_one(54_405) else { return };
    let (shared, thesis) = (user.desk.path("shared"), user.desk.path("thesis"));
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(&thesis, "years of work").unwrap();
    chown(&thesis, Some(54_405), Some(54_405)).unwrap();
    let planted = shared.join("thesis");
    fs::create_dir(&planted).unwrap();
    fs::write(planted.join("lock"), "").unwrap();
    fs::write(planted.join("temporaries"), [thesis.as_os_str().as_encoded_bytes(), b"\0"].concat()).unwrap();
    for path in everything_in(&planted) {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        chown(path, Some(STRANGER), Some(STRANGER)).unwrap();
    }
    let outcome = Running::start(&mut user.titan("map --batch-dir shared echo ::: 1")).wait().expect(0);
    assert_eq!(outcome.text(), "1\n");
    assert!(thesis.exists() && planted.exists());
    let outcome = Running::start(&mut user.titan("cancel --batch-dir shared thesis")).wait().expect(2);
    assert!(outcome.stderr.contains("there is no batch 'thesis'"), "{}", outcome.stderr);
}

#[test]
fn a_folder_that_cannot_be_entered_is_said() {
    let Some(user) = OtherUser::become_one(54_406) else { return };
    let shut = user.desk.path("shut");
    fs::create_dir(&shut).unwrap();
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o600)).unwrap();
    let outcome = Running::start(user.titan("map --workdir").arg(&shut).args(["echo", ":::", "1"])).wait().expect(1);
    let told = format!("cannot enter {} on localhost: Permission denied", shut.display());
    assert!(outcome.stderr.contains(&told), "{}", outcome.stderr);
}

#[test]
fn what_somebody_killed_left_where_agents_are_met_goes_with_the_next_agent() {
    let Some(user) = OtherUser::become_one(54_407) else { return };
    let [folder, ..] = user.meetings();
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&folder, Some(54_407), Some(54_407)).unwrap();
    let log = fs::File::create(folder.join("killed.log")).unwrap();
    log.set_modified(std::time::UNIX_EPOCH).unwrap();
    let outcome = Running::start(&mut user.titan("map echo ::: 1")).wait().expect(0);
    assert_eq!(outcome.text(), "1\n");
    wait_until(PATIENCE, "the folder is gone", || !folder.exists());
}
