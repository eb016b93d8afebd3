//! Hosts that aren't what they should be: garbage, endless streams, silence, other versions. None of them hangs titan, fills
//! its memory, or reaches the terminal.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use titan_tests::cli::stranger::{cluster, cluster_that_answers, cluster_with_agent, good_hello, hello};
use titan_tests::cli::{Desk, Outcome, Running};
use titan_tests::rig::holds_within;

use titan_proto::capture::{Channel, header};
use titan_proto::codec;
use titan_proto::files::{BlobId, Content, Entry, EntryKind, encode_entry};
use titan_proto::id::{AttemptId, Epoch};
use titan_proto::message::{Outcome as TaskOutcome, ResultSummary, ToManager};
use titan_proto::session::Session;
use titan_proto::time::Timestamp;

const SMALL: &str = "run mandelbrot --size 64x64 --cluster c.toml";

/// Runs titan on a stranger alone: it ends soon, with 3, one line of reason, and nothing that a terminal would act on.
#[track_caller]
fn assert_given_up(desk: &Desk, file: &str, said: &str) -> Outcome {
    desk.write("c.toml", file);
    let begun = Instant::now();
    let outcome = desk.run(SMALL).expect(3);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(!outcome.stderr.contains('\x1b'), "{:?}", outcome.stderr);
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    // What a stranger may yet become, the batch can be gone on with.
    let way_on = lines.get(4).is_none_or(|line| line.starts_with("continue with: titan resume "));
    assert!(way_on && (4..=5).contains(&lines.len()), "where, the stranger, no worker, why: {}", outcome.stderr);
    assert!(lines[1].starts_with("titan: stranger: "), "{}", outcome.stderr);
    assert_eq!(lines[2], "error: no usable worker:");
    assert!(lines[3].starts_with("  stranger: ") && lines[3].chars().count() < 500, "{}", outcome.stderr);
    assert!(lines[3].contains(said), "no '{said}' in: {}", lines[3]);
    outcome
}

#[test]
fn a_shell_that_closes_at_once_is_given_up() {
    let desk = Desk::new();
    assert_given_up(&desk, &cluster("exit 0\n"), "ended without a word");
    assert_given_up(&desk, &cluster("echo account disabled; exit 1\n"), "account disabled");
    assert_given_up(&desk, &cluster("echo no such container >&2; exit 125\n"), "no such container");
    desk.wait_until_tidy();
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let desk = Desk::new();
    let file = "[[host]]\nname = \"stranger\"\ncommand = [\"no-such-program\"]\n";
    assert_given_up(&desk, file, "no-such-program");
}

#[test]
fn escape_sequences_do_not_reach_the_terminal() {
    let desk = Desk::new();
    let escape = r"printf '\033[2J\033]0;x\007boo\n'";
    let outcome = assert_given_up(&desk, &cluster(&format!("{escape}; exit 1\n")), "boo");
    assert!(outcome.stderr.contains(r"\u{1b}[2J"), "{}", outcome.stderr);
    assert_given_up(&desk, &cluster(&format!("{escape} >&2; exit 1\n")), "boo");
    assert_given_up(&desk, &cluster_that_answers(r"want \033[2JPlan9", "sleep 1\n"), "Plan9");
    assert_given_up(&desk, &cluster_that_answers(r"frob \033[2J", "sleep 1\n"), "frob");
    let hosts = Running::start(&mut desk.titan("hosts --cluster c.toml")).wait();
    assert!(!format!("{}{}", hosts.text(), hosts.stderr).contains('\x1b'));
}

#[test]
fn silence_is_given_up_after_start_timeout() {
    let desk = Desk::new();
    assert_given_up(&desk, &cluster("exec sleep 60\n"), "no agent after 1 s");
    assert_given_up(&desk, &cluster_with_agent("exec sleep 60\n"), "no agent after 1 s");
    desk.run("hosts --cluster c.toml").expect(3);
    desk.wait_until_tidy();
}

#[test]
fn half_a_hello_is_given_up_after_start_timeout() {
    let desk = Desk::new();
    let hello = good_hello();
    desk.write("hello", &hello[..hello.len() / 2]);
    assert_given_up(&desk, &cluster_with_agent("cat hello\nexec sleep 60\n"), "no agent after 1 s");
}

#[test]
fn what_speaks_another_protocol_is_named() {
    let desk = Desk::new();
    assert_given_up(&desk, &cluster_with_agent("echo hello there\nexec sleep 5\n"), "doesn't speak titan's protocol");
    assert_given_up(&desk, &cluster_with_agent("printf TITANBYE\nexec sleep 5\n"), "doesn't speak titan's protocol");
    desk.write("hello", b"TITAN\r\n\0\x01\0\0\0\xff\xff\xff\xff");
    assert_given_up(&desk, &cluster_with_agent("cat hello\nexec sleep 5\n"), "hello is damaged");
}

#[test]
fn an_agent_of_another_version_is_told_apart_with_the_side_to_update() {
    let desk = Desk::new();
    let version = titan_proto::PROTOCOL_VERSION;
    desk.write("hello", hello(version + 8, "9.0.0"));
    let newer =
        assert_given_up(&desk, &cluster_with_agent("cat hello\nexec sleep 5\n"), "update titan on this machine");
    assert!(newer.stderr.contains(&format!("titan speaks protocol {version} and the agent speaks {}", version + 8)));
    desk.write("hello", hello(version - 1, "0.0.1"));
    assert_given_up(&desk, &cluster_with_agent("cat hello\nexec sleep 5\n"), "update the agent");
}

#[test]
fn an_agent_of_another_build_is_refused() {
    let desk = Desk::new();
    let version = titan_proto::PROTOCOL_VERSION;
    desk.write("hello", hello(version, "0.0.9\x1b[2J"));
    assert_given_up(&desk, &cluster_with_agent("cat hello\nexec sleep 5\n"), "build");
}

#[test]
fn an_endless_stream_is_given_up_with_what_it_is() {
    let desk = Desk::new();
    for script in ["exec cat /dev/zero\n", "exec yes\n", "exec cat /dev/urandom\n"] {
        let outcome = assert_given_up(&desk, &cluster(script), "stranger: ");
        assert!(!outcome.stderr.contains("without a word"), "it said more than enough: {}", outcome.stderr);
    }
    assert_given_up(&desk, &cluster_with_agent("exec cat /dev/zero\n"), "doesn't speak titan's protocol");
    desk.wait_until_tidy();
}

#[test]
fn endless_streams_fill_no_memory() {
    let desk = Desk::new();
    let (hello, out) = (good_hello(), "exec yes >&2\n");
    desk.write("hello", hello);
    for file in [cluster(out), cluster_with_agent(out)] {
        desk.write("c.toml", file);
        let mut running = Running::start(&mut desk.titan(SMALL));
        let (status, mut peak_kib) = (format!("/proc/{}/status", running.pid()), 0);
        let ended = holds_within(Duration::from_secs(20), || {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
            peak_kib = peak.and_then(|peak| peak.parse::<u64>().ok()).unwrap_or(peak_kib);
            running.has_ended()
        });
        assert!(ended, "it hangs: {}", running.stderr());
        running.wait().expect(3);
        // titan holds its own executable, which it would send, and no more: a second of `yes` is gigabytes.
        let executable_kib = fs::metadata(titan_tests::program::titan()).unwrap().len() >> 10;
        assert!(peak_kib < 2 * executable_kib + (64 << 10), "{peak_kib} KiB");
    }
    desk.wait_until_tidy();
}

#[test]
fn a_stranger_does_not_keep_the_others_from_working() {
    let desk = Desk::new();
    let two = format!("{}[[host]]\nlocal = true\n", cluster("exec sleep 60\n"));
    desk.write("c.toml", two);
    let outcome = desk.run(&format!("{SMALL} -o out.png")).expect(0);
    assert!(desk.path("out.png").exists(), "{}", outcome.stderr);
    desk.wait_until_tidy();
}

#[test]
fn a_worker_that_breaks_the_protocol_again_and_again_is_given_up() {
    let desk = Desk::new();
    desk.write("hello", good_hello());
    desk.write("c.toml", cluster_with_agent("cat hello\nexec yes\n"));
    let outcome = desk.run(&format!("{SMALL} --heartbeat 100ms --unhealthy-after 300ms --lease 2s")).expect(3);
    assert!(outcome.stderr.contains("the connection is damaged: a frame of "), "{}", outcome.stderr);
    assert!(outcome.stderr.lines().count() < 40, "{}", outcome.stderr);
    desk.wait_until_tidy();
}

#[test]
fn what_a_launcher_started_ends_with_it() {
    let desk = Desk::new();
    // As a script does that wraps another program: the shell waits for it.
    assert_given_up(&desk, &cluster("sleep 60; true\n"), "no agent after 1 s");
    desk.run("hosts --cluster c.toml").expect(3);
    desk.wait_until_tidy();
}

/// The first attempt of a batch.
const FIRST: AttemptId = AttemptId { epoch: Epoch(1), number: 1 };

/// What an agent says that was given that attempt: it runs, it has left this, it is done.
fn says_that_it_left(place: &str, kind: EntryKind) -> Vec<u8> {
    let mtime_ns = 0;
    let entry = encode_entry(&Entry { place: place.into(), mode: 0o6777, mtime_ns, kind }).unwrap();
    let content = b"evil";
    let records = [
        &header(Channel::Entry, entry.len() as u32)[..],
        &entry,
        &header(Channel::Content, content.len() as u32),
        content,
    ]
    .concat();
    let summary = ResultSummary { bytes: records.len() as u64, crc: crc32fast::hash(&records), compute_us: 1 };
    let finished = ToManager::Finished { attempt: FIRST, outcome: TaskOutcome::Completed(summary), process: None };
    let mut session = Session::new(Timestamp::default(), Duration::from_secs(10));
    session.send(codec::encode(&ToManager::Started { attempt: FIRST }).unwrap());
    session.send_bulk(FIRST.stream(), records.into(), codec::encode(&finished).unwrap());
    frames(&mut session)
}

fn frames(session: &mut Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(more) = session.poll_transmit(Timestamp::default()) {
        bytes.extend(more);
    }
    bytes
}

/// Runs one task with the output `out/x` on a stranger that says that when it has the task.
fn map_on(desk: &Desk, says: &[u8]) -> Outcome {
    desk.write("hello", good_hello());
    desk.write("says", says);
    desk.write("c.toml", cluster_with_agent("cat hello; sleep 0.5; cat says\nexec sleep 5\n"));
    let impatient = "--heartbeat 200ms --unhealthy-after 1s --lease 2s";
    desk.run(&format!("map --cluster c.toml {impatient} -n0 -o out/x true ::: 1"))
}

#[test]
fn nothing_but_declared_outputs_is_taken_from_a_host() {
    let file = || EntryKind::File { bytes: 4, content: Content::Follows };
    for (place, kind, said) in [
        ("../evil", file(), "'../evil' is no path inside its folder"),
        ("/tmp/evil", file(), "'/tmp/evil' is no path inside its folder"),
        ("out/../../evil", file(), "'out/../../evil' is no path inside its folder"),
        ("evil", file(), "it sent evil, which isn't an output of its task"),
        ("out/xx", file(), "it sent out/xx, which isn't an output of its task"),
        ("out/x", EntryKind::Link { target: "../../evil".into() }, "leads to '../../evil', out of its folder"),
        ("out/x", EntryKind::File { bytes: 3, content: Content::Follows }, "more of an output came than was told"),
        ("out/x", EntryKind::File { bytes: 5, content: Content::Follows }, "an output came without its end"),
        (
            "out/x",
            EntryKind::File { bytes: 4, content: Content::Here("/etc/passwd".into()) },
            "it sent out/x without its content",
        ),
    ] {
        let desk = Desk::new();
        let before = desk.work_files();
        let outcome = map_on(&desk, &says_that_it_left(place, kind)).expect(1);
        assert!(outcome.stderr.contains(said), "no '{said}' in: {}", outcome.stderr);
        let made: Vec<String> = desk.work_files().into_iter().filter(|file| !before.contains(file)).collect();
        assert_eq!(made, ["c.toml", "hello", "says"], "{place}");
        assert!(!desk.path("../evil").exists() && !std::path::Path::new("/tmp/evil").exists());
    }
    // The same from an honest one.
    let desk = Desk::new();
    map_on(&desk, &says_that_it_left("out/x", file())).expect(0);
    assert_eq!(desk.read("out/x"), b"evil");
    let mode = fs::metadata(desk.path("out/x")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o775, "neither set-user-id nor for everybody to write");
}

#[test]
fn a_host_gets_no_file_that_its_tasks_werent_given() {
    let desk = Desk::new();
    let mut session = Session::new(Timestamp::default(), Duration::from_secs(10));
    let want = |bytes| ToManager::Want { stream: 1, blob: BlobId([7; 32]), offset: 0, bytes };
    session.send(codec::encode(&want(1 << 40)).unwrap());
    let outcome = map_on(&desk, &frames(&mut session)).expect(3);
    assert!(outcome.stderr.contains("asks for more of files at once than an agent does"), "{}", outcome.stderr);
}
