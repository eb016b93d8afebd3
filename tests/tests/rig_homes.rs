//! Homes that don't take an agent: the next folder does, and where none does the host says why.

use titan_tests::rig::{self, Home, HostSpec, Rig};
use titan_tests::scene::{CLEAN_SPAN, ClusterText, Scene};

#[test]
fn where_the_home_takes_no_agent_another_folder_does() {
    if rig::skipped() {
        return;
    }
    let hosts = [
        ("noexec", Home::NoExec),
        ("readonly", Home::ReadOnly),
        ("full", Home::Full),
        ("small", Home::Small { kib: 2048 }),
    ];
    let specs = hosts.clone().map(|(name, home)| HostSpec::new(name).home(home));
    let scene = Scene::on(Rig::builder().hosts(specs).start());
    let names = hosts.map(|(name, _)| name);
    let cluster = ClusterText::of(&names, "slow:100");
    let first = scene.run(&cluster);
    first.assert_whole();
    for name in names {
        assert!(first.host(name)["completed"].as_u64() > Some(0), "{}", first.summary);
        let agents = scene.rig.host(name).files();
        let mut agents = agents.iter().filter(|path| path.to_string_lossy().contains("/agent-"));
        assert!(agents.next().is_some_and(|path| path.starts_with("/var/tmp")), "{name}: {agents:?}");
    }
    scene.assert_clean(CLEAN_SPAN);

    let second = scene.run(&cluster);
    second.assert_whole();
    for name in names {
        assert_eq!(second.host(name)["sent_bytes"], 0, "{}", second.summary);
    }
}

#[test]
fn a_host_where_nothing_may_be_executed_says_so() {
    if rig::skipped() {
        return;
    }
    let rig = Rig::builder().host(HostSpec::new("alpha")).host(HostSpec::new("beta").noexec_everywhere()).start();
    let scene = Scene::on(rig);
    let with_another = scene.run(&ClusterText::of(&["alpha", "beta"], "slow:20"));
    with_another.assert_whole();
    let alone = scene.run(&ClusterText::of(&["beta"], ""));
    alone.assert_code(3);
    assert_eq!(alone.picture, None);
    for run in [with_another, alone] {
        let said = run.trouble("beta");
        assert!(said.starts_with("no directory there takes an agent: "), "{said}");
        assert!(said.contains("/home/worker/.cache/titan is mounted noexec"), "{said}");
        assert!(said.contains("XDG_CACHE_HOME"), "{said}");
        assert_eq!(run.host("beta")["state"], "down");
    }
    scene.assert_clean(CLEAN_SPAN);
    let left = scene.rig.host("beta").files().into_iter().filter(|path| path.to_string_lossy().contains("titan"));
    assert_eq!(left.count(), 0, "not even an empty folder");
}

#[test]
fn hosts_that_share_a_home_may_all_upload_at_once() {
    if rig::skipped() {
        return;
    }
    let names = ["alpha", "beta", "gamma"];
    let specs = names.map(|name| HostSpec::new(name).home(Home::Shared));
    let scene = Scene::on(Rig::builder().hosts(specs).start());
    let cluster = ClusterText::of(&names, "slow:100");
    let first = scene.run(&cluster);
    first.assert_whole();
    for name in names {
        assert!(first.host(name)["completed"].as_u64() > Some(0), "{}", first.summary);
    }
    let files = scene.rig.host("alpha").files();
    let names_in_cache = files.iter().filter(|path| path.parent().is_some_and(|dir| dir.ends_with(".cache/titan")));
    assert_eq!(names_in_cache.count(), 1, "one agent and nothing half-written: {files:?}");
    scene.assert_clean(CLEAN_SPAN);
    scene.run(&cluster).assert_whole();
}

#[test]
fn an_upload_that_the_host_breaks_off_is_told_with_the_hosts_own_words() {
    if rig::skipped() {
        return;
    }
    let limited = HostSpec::new("beta").home_file(".bashrc", "ulimit -f 1024\n");
    let scene = Scene::on(Rig::builder().host(HostSpec::new("alpha")).host(limited).start());
    let done = scene.run(&ClusterText::of(&["alpha", "beta"], "slow:20"));
    done.assert_whole();
    let said = done.trouble("beta");
    assert!(said.starts_with("the agent didn't arrive whole in /home/worker/.cache/titan"), "{said}");
    scene.assert_clean(CLEAN_SPAN);
}
