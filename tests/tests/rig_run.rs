//! Pictures from several hosts: the same bytes as from this machine, over one connection each, with agents sent once.

use titan_tests::rig::{self, HostSpec, Rig};
use titan_tests::scene::{CLEAN_SPAN, ClusterText, Scene, picture};

const HOSTS: [&str; 3] = ["alpha", "beta", "gamma"];

#[test]
fn three_hosts_make_the_same_picture_as_this_machine_and_get_the_agent_once() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(3);
    let cluster = ClusterText::of(&HOSTS, "slow:50");
    let first = scene.run(&cluster);
    first.assert_whole();
    for host in HOSTS {
        assert!(first.host(host)["completed"].as_u64() > Some(0), "{host} did nothing:\n{}", first.events);
        assert!(first.host(host)["sent_bytes"].as_u64() > Some(0), "{}", first.summary);
        assert_eq!(first.host(host)["state"], "healthy");
    }
    scene.assert_clean(CLEAN_SPAN);

    let second = scene.run(&cluster);
    second.assert_whole();
    for host in HOSTS {
        assert_eq!(second.host(host)["sent_bytes"], 0, "{}", second.summary);
    }
    scene.assert_clean(CLEAN_SPAN);
}

#[test]
fn the_summary_counts_each_hosts_tiles() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let done = scene.run(&ClusterText::of(&["alpha", "beta"], "slow:20"));
    done.assert_whole();
    let counts = ["alpha", "beta"].map(|host| done.host(host)["completed"].as_u64().unwrap());
    assert_eq!(counts.iter().sum::<u64>(), picture::TILES as u64);
    for (host, count) in ["alpha", "beta"].into_iter().zip(counts) {
        assert_eq!(done.events.completed_on(host).len() as u64, count);
    }
    assert_eq!((&done.summary["state"], &done.summary["retries"]), (&"COMPLETED".into(), &0.into()));
}

#[test]
fn each_host_is_reached_by_one_connection_with_one_channel() {
    if rig::skipped() {
        return;
    }
    let chatty = |name: &&str| HostSpec::new(*name).sshd_line("LogLevel DEBUG1");
    let scene = Scene::on(Rig::builder().hosts(HOSTS.iter().map(chatty)).start());
    // Nothing begins before all of them are there: the batch would be over.
    let cluster = ClusterText::of(&HOSTS, "slow:20").scheduler(&format!("min_workers = {}", HOSTS.len()));
    scene.run(&cluster).assert_whole();
    for host in scene.rig.hosts() {
        let log = host.sshd_log();
        let count = |words: &str| log.lines().filter(|line| line.contains(words)).count();
        assert_eq!(count("Connection from "), 1, "{log}");
        assert_eq!(count("server_input_channel_open: ctype"), 1, "{log}");
        // ssh says eow where titan has ended before it reads what the agent said last.
        let expected = ["exec", "env", "eow@openssh.com"].map(|kind| count(&format!("request {kind} reply")));
        assert_eq!(count("server_input_channel_req: channel"), expected.iter().sum::<usize>(), "{log}");
        assert_eq!(count("request exec reply"), 1, "{log}");
    }
}

#[test]
fn while_a_batch_runs_nothing_of_it_listens_on_the_network() {
    if rig::skipped() {
        return;
    }
    let scene = Scene::new(2);
    let listeners = || {
        let hosts: Vec<_> = scene.rig.hosts().iter().map(rig::Host::listeners).collect();
        (hosts, scene.rig.laptop().listeners())
    };
    let before = listeners();
    let mut run = scene.start(&ClusterText::of(&["alpha", "beta"], "slow:100").scheduler("min_workers = 2"));
    run.wait_until_midway(&["alpha", "beta"]);
    assert_eq!(listeners(), before);
    run.finish().assert_whole();
}

#[test]
fn a_host_that_is_down_from_the_start_holds_nobody_up() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::builder().host(HostSpec::new("alpha")).host(HostSpec::new("beta").powered_off()).start();
    let scene = Scene::on(rig);
    // A first start takes as long as an agent's way there: alpha has it already.
    scene.run(&ClusterText::of(&["alpha"], "slow:1")).assert_whole();
    let mut run = scene.start(&ClusterText::of(&["alpha", "beta"], "slow:200").ssh("connect_timeout = '4s'"));
    run.wait_for("alpha works before beta is given up", |events| {
        events.completed_on("alpha").len() > 1 && !events.was("beta", "down")
    });
    let done = run.finish();
    done.assert_whole();
    assert_eq!(done.host("beta")["completed"], 0);
    assert_eq!(done.host("beta")["state"], "down", "{}", done.summary);
    assert!(done.trouble("beta").starts_with("it doesn't answer; "), "{}", done.summary);
    assert!(done.events.text().contains("beta: it doesn't answer"), "{}", done.events);
    scene.assert_clean(CLEAN_SPAN);
}
