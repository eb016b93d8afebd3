//! What cluster files mean, and that any text at all gets an answer within bounds.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use proptest::string::string_regex;

use super::{Cluster, Control, Reach, Trust};
use crate::config::jobs::Slots;
use titan_manager::policy::PolicyKind as Policy;

fn parse(text: &str) -> Cluster {
    Cluster::parse(text, Path::new("cluster.toml"), Trust::Named).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn refusal(text: &str) -> String {
    Cluster::parse(text, Path::new("cluster.toml"), Trust::Named).expect_err("refused").to_string()
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(parse(""), Cluster::default());
}

#[test]
fn each_kind_of_host_has_a_name() {
    let cluster = parse(
        "[[host]]\nssh = 'ann@render1:2222'\n[[host]]\nlocal = true\n[[host]]\ncommand = ['docker', 'exec', '-i', 'c1']\n\
         [[host]]\nssh = 'gate'\nname = 'my gate'\n",
    );
    assert_eq!(cluster.names().collect::<Vec<_>>(), ["render1", "localhost", "c1", "my gate"]);
    let ssh = Reach::Ssh { destination: "render1".to_owned(), user: Some("ann".to_owned()), port: Some(2222) };
    assert_eq!(cluster.hosts[0].reach, ssh);
}

#[test]
fn a_host_wins_over_the_defaults_and_variables_are_merged() {
    let cluster = parse(
        "[[host]]\nssh = 'a'\nslots = 2\nenv = { A = 'host' }\n[[host]]\nssh = 'b'\n\
         [defaults]\nslots = 4\nmemory = '4GiB'\nworkdir = '/w'\nenv = { A = 'all', B = 'all' }\n",
    );
    let [a, b] = &cluster.hosts[..] else { panic!("two hosts") };
    assert_eq!((a.slots, b.slots), (Slots::Exactly(2), Slots::Exactly(4)));
    assert_eq!((a.memory, b.memory), (Some(4 << 30), Some(4 << 30)));
    assert_eq!(a.env.values().collect::<Vec<_>>(), ["host", "all"]);
    assert_eq!(b.workdir.as_deref(), Some(Path::new("/w")));
}

#[test]
fn scheduler_and_ssh_are_read() {
    let cluster = parse(
        "[scheduler]\npolicy = 'round-robin'\nlease = 0\nheartbeat = '500ms'\nretries = 0\n\
         [ssh]\ncontrol = 'user'\nconnect_timeout = 3\nport = 2222\njump_hosts = ['gate', 'ann@inner:22']\n",
    );
    assert_eq!(cluster.scheduler.policy, Policy::RoundRobin);
    assert_eq!(cluster.scheduler.lease, Duration::ZERO);
    assert_eq!(cluster.scheduler.heartbeat, Duration::from_millis(500));
    assert_eq!(cluster.scheduler.retries, Some(0));
    assert_eq!(cluster.ssh.control, Control::User);
    assert_eq!(cluster.ssh.connect_timeout, Duration::from_secs(3));
    assert_eq!(cluster.ssh.jump_hosts, ["gate", "ann@inner:22"]);
}

#[test]
fn a_found_file_may_say_how_long_to_wait() {
    let text = "[[host]]\nssh = 'a'\nworkdir = '/w'\n[ssh]\ncontrol = 'user'\nconnect_timeout = 3\nstart_timeout = 9\n\
                server_alive_interval = 5\n";
    assert!(Cluster::parse(text, Path::new("./cluster.toml"), Trust::Found).is_ok());
}

#[test]
fn many_problems_are_told_up_to_a_bound() {
    let told = refusal(&"[[host]]\n".repeat(1000));
    assert_eq!(told.matches("error: ").count(), 101);
    assert!(told.ends_with("error: 900 more in cluster.toml"), "{told}");
}

#[test]
fn depth_and_length_are_bounded() {
    for text in ["a = ".to_owned() + &"[".repeat(500_000), "a.".repeat(300_000) + "b = 1", "{".repeat(500_000)] {
        assert!(refusal(&text).len() < 1000);
    }
    assert!(refusal(&"#".repeat((1 << 20) + 1)).contains("larger than 1.0 MiB"));
    let labels: String = (0..110_000).map(|number| format!("'{number}',")).collect();
    assert!(refusal(&format!("[[host]]\nssh = 'a'\nlabels = [{labels}]\n")).contains("more than 256 labels"));
    let hosts: String = (0..20_000).map(|number| format!("[[host]]\nssh = 'h{number}'\n")).collect();
    assert_eq!(parse(&hosts).hosts.len(), 20_000);
}

/// Pieces of cluster files, so that random texts get beyond the first step of reading.
fn piece() -> impl Strategy<Value = String> {
    let keys = "(host|name|ssh|local|command|slots|memory|resources|labels|env|setup|agent|workdir|policy|tick|heartbeat|lease|wait_for_hosts|quarantine|\
                retries|min_workers|speculate|control|port|user|jump_hosts|x|env\\.A|host\\.ssh)";
    let scalar = format!("{keys} = (-?[0-9]{{1,22}}|0x[0-9a-f]{{1,4}}|[0-9]\\.[0-9]|true|false|1979-05-27)\n");
    let other =
        format!("{keys} = ('[^'\n]{{0,8}}'|\\['[-a,]{{0,3}}', 'b'\\]|\\[1\\]|\\{{ A = 'b' \\}}|\\{{ A = 1 \\}})\n");
    prop_oneof![
        "(\\[\\[host\\]\\]|\\[host\\]|\\[defaults\\]|\\[scheduler\\]|\\[ssh\\]|\\[x\\])\n",
        string_regex(&scalar).expect("a pattern"),
        string_regex(&other).expect("a pattern"),
        ".{0,10}\n",
    ]
}

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in ".*", found: bool) {
        let trust = if found { Trust::Found } else { Trust::Named };
        let _ = Cluster::parse(&text, Path::new("x"), trust).map_err(|error| error.to_string());
    }

    #[test]
    fn any_pieces_get_an_answer_that_is_safe_to_print(pieces in proptest::collection::vec(piece(), 0..12), found: bool) {
        let trust = if found { Trust::Found } else { Trust::Named };
        match Cluster::parse(&pieces.concat(), Path::new("x"), trust) {
            Ok(cluster) => prop_assert_eq!(cluster.scheduler.check(), Ok(())),
            Err(error) => {
                let told = error.to_string();
                prop_assert!(told.starts_with("error: "));
                prop_assert!(!told.replace('\n', "").chars().any(char::is_control), "{}", told);
            }
        }
    }
}
