//! Cluster files: found, named, refused with the place that is wrong; hosts of every kind but ssh.

use serde_json::Value;
use titan_tests::cli::snapshot::assert_snapshot;
use titan_tests::cli::{Desk, Outcome, Running};
use titan_tests::program;

const SMALL: &str = "run mandelbrot --size 64x64 --tiles 4x4";
const LOCAL: &str = "[[host]]\nlocal = true\n";

#[track_caller]
fn first_line(outcome: &Outcome) -> &str {
    outcome.stderr.lines().next().unwrap_or_default()
}

#[test]
fn a_file_is_found_here_or_among_the_users_own_or_is_named() {
    let desk = Desk::new();
    let named = |name: &str| format!("[[host]]\nlocal = true\nname = \"{name}\"\n");
    let own = desk.home().join(".config/titan");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("cluster.toml"), named("own")).unwrap();
    let outcome = desk.run(SMALL).expect(0);
    assert!(outcome.stderr.contains("  own "), "{}", outcome.stderr);
    assert!(first_line(&outcome).contains(".config/titan/cluster.toml (1 host)"), "{}", outcome.stderr);

    desk.write("cluster.toml", named("here"));
    let outcome = desk.run(SMALL).expect(0);
    assert_eq!(first_line(&outcome), "titan: hosts: ./cluster.toml (1 host)");
    assert!(outcome.stderr.contains("  here "), "{}", outcome.stderr);

    desk.write("other.toml", named("other"));
    let outcome = Running::start(desk.titan(SMALL).env("TITAN_CLUSTER", "other.toml")).wait().expect(0);
    assert_eq!(first_line(&outcome), "titan: hosts: other.toml from $TITAN_CLUSTER (1 host)");
    assert!(outcome.stderr.contains("  other "), "{}", outcome.stderr);

    desk.write("third.toml", named("third"));
    let mut command = desk.titan(&format!("{SMALL} --cluster third.toml"));
    let outcome = Running::start(command.env("TITAN_CLUSTER", "other.toml")).wait().expect(0);
    assert_eq!(first_line(&outcome), "titan: hosts: third.toml (1 host)");

    let outcome = desk.run(&format!("{SMALL} --local")).expect(0);
    assert_eq!(first_line(&outcome), "titan: hosts: 1 local agent");
}

#[test]
fn hosts_selects_from_the_file_and_adds_nothing_that_it_does_not_have() {
    let desk = Desk::new();
    desk.write("c.toml", "[[host]]\nlocal = true\nname = \"one\"\n[[host]]\nlocal = true\nname = \"two\"\n");
    let outcome = desk.run(&format!("{SMALL} --cluster c.toml --hosts two")).expect(0);
    assert!(outcome.stderr.contains("  two ") && !outcome.stderr.contains("  one "), "{}", outcome.stderr);
    assert_eq!(first_line(&outcome), "titan: hosts: --hosts (1 host of c.toml)");
    let outcome = desk.run(&format!("{SMALL} --cluster c.toml --hosts tow")).expect(2);
    assert!(outcome.stderr.contains("'tow'") && outcome.stderr.contains("'two'"), "{}", outcome.stderr);
    let outcome = desk.run(&format!("{SMALL} --cluster c.toml --local 2")).expect(0);
    assert_eq!(first_line(&outcome), "titan: hosts: c.toml (2 hosts) and 2 local agents");
}

/// How many tasks start when none of them ends, once as many as expected have.
fn started_at_once(desk: &Desk, words: &str, expected: usize) -> usize {
    let mut running = Running::start(&mut desk.titan(&format!("{SMALL} -v {words}")));
    running.wait_for(&format!("task {} starts on ", expected - 1));
    running.signal(rustix::process::Signal::INT);
    running.wait().expect(130).stderr.matches(" starts on ").count()
}

#[test]
fn a_local_host_has_the_slots_the_memory_and_the_variables_of_its_file() {
    let desk = Desk::new();
    let file = |env: &str| format!("[defaults]\nenv = {{ TITAN_TEST_FAULTS = \"{env}\" }}\n{LOCAL}slots = 3\n");
    // A variable of the file reaches the agent: here it makes tasks last, or fail.
    desk.write("c.toml", file("slow:60000"));
    assert_eq!(started_at_once(&desk, "--cluster c.toml", 3), 3, "the file's slots");
    assert_eq!(started_at_once(&desk, "--cluster c.toml -j 2", 2), 2, "-j wins over the file");
    assert_eq!(started_at_once(&desk, "--cluster c.toml -j 2 --hosts 1/:", 1), 1, "SLOTS/HOST wins over -j");
    desk.write("c.toml", file("panic:9"));
    let outcome = desk.run(&format!("{SMALL} --cluster c.toml --retries 0")).expect(1);
    assert!(outcome.stderr.contains("told to panic at task 9"), "{}", outcome.stderr);
    // Half of the memory that it may use is too little for one of two tiles at once.
    desk.write("c.toml", format!("{LOCAL}slots = 2\nmemory = \"6MiB\"\n"));
    desk.run("run mandelbrot --cluster c.toml --size 1000x1000 --tiles 1x1").expect(2);
    desk.run("run mandelbrot --cluster c.toml --size 1000x1000 --tiles 1x1 -j 1").expect(0);
}

#[test]
fn any_command_that_gives_a_shell_is_a_host() {
    let desk = Desk::new();
    desk.write("c.toml", "[[host]]\nname = \"box\"\ncommand = [\"sh\"]\n");
    let words = format!("{SMALL} -v --cluster c.toml --json -o out.png");
    let first = desk.run(&words).expect(0);
    assert!(first.stderr.contains("of agent sent"), "{}", first.stderr);
    let sent = first.one_object()["hosts"][0]["sent_bytes"].as_u64().unwrap();
    let agent = std::fs::metadata(titan_tests::program::titan()).unwrap().len();
    // Compressed or not: that is found out on the way.
    assert!((agent / 5..=agent).contains(&sent), "{sent} of {agent} bytes");
    let cached = desk.home().join(".cache/titan");
    let agents: Vec<_> = std::fs::read_dir(&cached).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(agents.len() == 1 && agents[0].to_string_lossy().starts_with("agent-"), "{agents:?}");

    let picture = desk.read("out.png");
    let second = desk.run(&words).expect(0);
    assert!(second.stderr.contains("agent there already"), "{}", second.stderr);
    assert_eq!(second.one_object()["hosts"][0]["sent_bytes"], 0);
    assert!(desk.read("out.png") == picture);
    desk.run(&format!("{SMALL} -o out.png")).expect(0);
    assert!(desk.read("out.png") == picture, "the same bytes as from this machine's own agent");
    desk.wait_until_tidy();
}

#[test]
fn a_host_that_cannot_expand_is_sent_the_agent_as_it_is() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("bin")).unwrap();
    for tool in std::fs::read_dir("/usr/bin").unwrap().chain(std::fs::read_dir("/bin").unwrap()).flatten() {
        if tool.file_name() != "gzip" {
            let _ = std::os::unix::fs::symlink(tool.path(), desk.path("bin").join(tool.file_name()));
        }
    }
    let path = format!("PATH={}", desk.path("bin").display());
    desk.write("c.toml", format!("[[host]]\nname = \"box\"\ncommand = [\"env\", {path:?}, \"sh\"]\n"));
    let outcome = desk.run(&format!("{SMALL} --cluster c.toml --json -o out.png")).expect(0);
    let sent = outcome.one_object()["hosts"][0]["sent_bytes"].as_u64().unwrap();
    assert_eq!(sent, std::fs::metadata(program::titan()).unwrap().len());
    desk.wait_until_tidy();
}

#[test]
fn tasks_of_another_host_have_the_mask_that_its_shell_gives_and_not_titans() {
    let desk = Desk::new();
    desk.write("c.toml", "[[host]]\nname = \"box\"\ncommand = [\"sh\", \"-c\", \"umask 027; exec sh\"]\n");
    let words = ["map", "--cluster", "c.toml", "-n0", "-o", "mask", "-s", "umask > mask", ":::", "1"];
    let mut command = desk.titan("");
    Running::start(command.args(words)).wait().expect(0);
    assert_eq!(desk.read("mask"), b"0027\n");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(desk.path("mask")).unwrap());
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn an_interrupted_command_host_leaves_no_process() {
    let desk = Desk::new();
    desk.write("c.toml", "[[host]]\nname = \"box\"\ncommand = [\"sh\"]\n[[host]]\nlocal = true\n");
    let mut running = desk.start_faulty("slow:60000", &format!("{SMALL} -v --cluster c.toml"));
    running.wait_for(" starts on box");
    running.signal(rustix::process::Signal::INT);
    running.wait().expect(130);
    desk.wait_until_tidy();
}

#[test]
fn a_command_host_that_is_killed_is_started_afresh() {
    let desk = Desk::new();
    desk.write("c.toml", "[[host]]\nname = \"box\"\ncommand = [\"sh\"]\n");
    let running = desk.start_faulty("slow:100", &format!("{SMALL} -v --cluster c.toml -o out.png"));
    let agents = desk.agents().into_iter();
    agents.for_each(|pid| titan_tests::cli::running::send_signal(pid, rustix::process::Signal::KILL));
    let outcome = running.wait().expect(0);
    assert!(outcome.stderr.contains("box: lost: ") && outcome.stderr.contains("afresh"), "{}", outcome.stderr);
    desk.wait_until_tidy();
}

#[test]
fn a_file_that_was_merely_found_may_not_run_programs() {
    let desk = Desk::new();
    desk.write("cluster.toml", "[[host]]\ncommand = [\"sh\", \"-c\", \"touch ran\"]\n");
    for words in [SMALL, "hosts"] {
        let outcome = desk.run(words).expect(2);
        assert_snapshot("found_command", &outcome.stderr);
    }
    desk.write("cluster.toml", format!("{LOCAL}agent = \"./evil\"\n[ssh]\nconfig_file = \"evil\"\n"));
    let outcome = desk.run(SMALL).expect(2);
    assert_eq!(outcome.stderr.matches("merely found").count(), 2, "{}", outcome.stderr);
    assert_eq!(desk.work_files(), ["cluster.toml"]);
}

#[test]
fn what_is_wrong_with_a_file_is_shown_at_its_place() {
    let desk = Desk::new();
    desk.write("typo.toml", "[[host]]\nssh = \"render1\"\nslot = 4\nmemory = \"4GG\"\n");
    desk.write("times.toml", "[scheduler]\nheartbeat = \"10s\"\nunhealthy_after = \"5s\"\n\n[[host]]\n");
    desk.write("syntax.toml", "[[host]\nlocal = true\n");
    for name in ["typo", "times", "syntax"] {
        for command in [SMALL, "hosts"] {
            let outcome = desk.run(&format!("{command} --cluster {name}.toml")).expect(2);
            assert_snapshot(&format!("bad_file_{name}"), &outcome.stderr);
        }
    }
    desk.write("bytes.toml", b"[[host]]\nssh = \"\xff\"\n");
    let outcome = desk.run(&format!("{SMALL} --cluster bytes.toml")).expect(2);
    assert!(outcome.stderr.contains("UTF-8") && outcome.stderr.contains("line 2"), "{}", outcome.stderr);
    let escape = b"[[host]]\nssh = \"\\u001b[2J\"\n\x1b[2J = 1";
    desk.write("escape.toml", escape);
    let outcome = desk.run(&format!("{SMALL} --cluster escape.toml")).expect(2);
    assert!(!outcome.stderr.contains('\x1b'), "{:?}", outcome.stderr);
    desk.run(&format!("{SMALL} --cluster .")).expect(2);
    desk.run(&format!("{SMALL} --cluster /dev/zero")).expect(2);
    desk.write("empty.toml", "");
    let outcome = desk.run(&format!("{SMALL} --cluster empty.toml")).expect(2);
    assert!(outcome.stderr.contains("has no host"), "{}", outcome.stderr);
    assert!(desk.home_files().is_empty());
}

#[test]
fn init_writes_a_file_that_can_be_used_and_never_over_another() {
    let desk = Desk::new();
    std::fs::create_dir(desk.home().join(".ssh")).unwrap();
    let config = "Host render1 render2 *.lab\n  User me\nHost *\n  Port 22\nhost = third\n";
    std::fs::write(desk.home().join(".ssh/config"), config).unwrap();
    let outcome = desk.run("init").expect(0);
    assert!(outcome.stderr.contains("wrote ./cluster.toml"), "{}", outcome.stderr);
    let text = String::from_utf8(desk.read("cluster.toml")).unwrap();
    for name in ["render1", "render2", "third"] {
        assert!(text.contains(&format!("# [[host]]\n# ssh = \"{name}\"\n")), "{name} in: {text}");
    }
    assert!(!text.contains(".lab") && !text.contains("ssh = \"*\""), "wildcards are left out");
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "all of it is commented out");
    let outcome = desk.run("hosts").expect(2);
    assert!(outcome.stderr.contains("./cluster.toml has no host"), "{}", outcome.stderr);

    for words in ["init", "init render9"] {
        let outcome = desk.run(words).expect(2);
        assert!(outcome.stderr.contains("there already") && outcome.stderr.contains("hint:"), "{}", outcome.stderr);
    }
    assert_eq!(String::from_utf8(desk.read("cluster.toml")).unwrap(), text, "untouched");
    std::fs::remove_file(desk.path("cluster.toml")).unwrap();
    std::os::unix::fs::symlink("/nowhere", desk.path("cluster.toml")).unwrap();
    desk.run("init").expect(2);
}

#[test]
fn init_refuses_hosts_that_cannot_be_and_writes_nothing() {
    let desk = Desk::new();
    for words in ["init a a", "init me@", "init -- -oProxyCommand=x"] {
        let outcome = desk.run(words).expect(2);
        assert!(outcome.stderr.starts_with("error: "), "{}", outcome.stderr);
    }
    assert!(desk.work_files().is_empty(), "{:?}", desk.work_files());
}

#[test]
fn hosts_looks_at_all_and_says_whether_all_some_or_none_can_be_used() {
    let desk = Desk::new();
    desk.write("c.toml", "[[host]]\nlocal = true\n[[host]]\ncommand = [\"sh\"]\n[[host]]\ncommand = [\"false\"]\n");
    let all = desk.run("hosts --cluster c.toml --hosts :,sh").expect(0).text();
    assert!(all.starts_with("HOST ") && all.contains("\nlocalhost ") && all.contains("\nsh "), "{all}");
    let some = desk.run("hosts --cluster c.toml").expect(1).text();
    assert!(some.contains("\nsh ") && some.contains("\nfalse: "), "{some}");
    let none = desk.run("hosts --cluster c.toml --hosts false").expect(3).text();
    assert!(!none.contains("HOST ") && none.starts_with("false: "), "{none}");
    assert!(desk.home_files().is_empty(), "looking leaves nothing: {:?}", desk.home_files());
    desk.wait_until_tidy();
}

#[test]
fn a_host_with_faults_of_its_own_gets_no_tasks_for_a_while() {
    let desk = Desk::new();
    let aborts: Vec<String> = (0..16).map(|task| format!("abort:{task}")).collect();
    let host = |name: &str, faults: &str| {
        format!("[[host]]\nlocal = true\nname = '{name}'\nslots = 1\nenv = {{ TITAN_TEST_FAULTS = '{faults}' }}\n")
    };
    desk.write("c.toml", host("bad", &aborts.join(",")) + &host("good", "slow:250"));
    let run = |more: &str| {
        let command = "run mandelbrot --cluster c.toml --size 64x64 --iterations 50 --tiles 4x4 -o out.png --json";
        let outcome = desk.run(&format!("{command} {more}")).expect(0);
        let summary: Value = serde_json::from_str(&outcome.text()).unwrap();
        let told =
            outcome.stderr.matches("titan: bad: 3 faults in a row, the last: its agent was lost; it gets no").count();
        (told, summary["hosts"][0]["state"].clone(), summary["hosts"][0]["faults"].as_u64().unwrap(), outcome)
    };
    let (told, state, faults, outcome) = run("");
    assert_eq!((told, state, faults), (1, "quarantined".into(), 3), "{}", outcome.stderr);
    let (told, state, faults, outcome) = run("--quarantine 0");
    assert!(told == 0 && state != "quarantined" && faults > 3, "{}", outcome.stderr);
    desk.wait_until_tidy();
}
