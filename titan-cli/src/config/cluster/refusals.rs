//! What is said about cluster files that aren't as they should be: the messages, whole.

use std::path::Path;

use super::tests::refusal;
use super::{Cluster, Trust};

fn refusal_of_found(text: &str) -> String {
    Cluster::parse(text, Path::new("./cluster.toml"), Trust::Found).expect_err("refused").to_string()
}

#[test]
fn an_unknown_key_is_told_with_the_near_miss() {
    insta::assert_snapshot!(refusal("[[host]]\nssh = \"render1\"\n\nslot = 4\n"), @"
    error: unknown key 'slot' in [[host]]
     --> cluster.toml:4:1
      |
    4 | slot = 4
      | ^^^^ did you mean 'slots'?
    ");
    insta::assert_snapshot!(refusal("[[host]]\nssh = \"a\"\ncores = 4\n[[hosts]]\n[scheduler]\ncolour = 1\n"), @"
    error: unknown key 'cores' in [[host]]
     --> cluster.toml:3:1
      |
    3 | cores = 4
      | ^^^^^ did you mean 'slots'?

    error: unknown key 'hosts' in the file
     --> cluster.toml:4:3
      |
    4 | [[hosts]]
      |   ^^^^^ did you mean 'host'?

    error: unknown key 'colour' in [scheduler]
     --> cluster.toml:6:1
      |
    6 | colour = 1
      | ^^^^^^ there are policy, tick, heartbeat, unhealthy_after, lease, wait_for_hosts, quarantine, retries, crash_limit, min_workers, speculate
    ");
}

#[test]
fn a_wrong_type_is_told_with_the_right_one() {
    insta::assert_snapshot!(refusal("[[host]]\nssh = \"a\"\nslots = \"4\"\nlabels = \"audio\"\nenv = { A = 1 }\n"), @r#"
    error: slots in [[host]] must be a whole number, not a string
     --> cluster.toml:3:9
      |
    3 | slots = "4"
      |         ^^^ write 4 without quotes

    error: labels in [[host]] must be an array of strings, not a string
     --> cluster.toml:4:10
      |
    4 | labels = "audio"
      |          ^^^^^^^ write ["audio"]

    error: the value of a variable must be a string, not a whole number
     --> cluster.toml:5:13
      |
    5 | env = { A = 1 }
      |             ^ put it in quotes
    "#);
    insta::assert_snapshot!(refusal("ssh = 5\nhost = true\n[defaults]\nmemory = 1.5\n"), @r#"
    error: [ssh] must be a table, not a whole number
     --> cluster.toml:1:7
      |
    1 | ssh = 5
      |       ^

    error: hosts are a list of tables
     --> cluster.toml:2:8
      |
    2 | host = true
      |        ^^^^ write a table [[host]] for each host

    error: memory in [defaults] must be a size such as "4GiB", or bytes, not a number with a point
     --> cluster.toml:4:10
      |
    4 | memory = 1.5
      |          ^^^
    "#);
}

#[test]
fn a_value_beyond_its_range_is_told_with_the_range() {
    insta::assert_snapshot!(refusal("[[host]]\nssh = \"a\"\nslots = 0\nmemory = \"4GG\"\n"), @r#"
    error: slots can't be 0
     --> cluster.toml:3:9
      |
    3 | slots = 0
      |         ^ write a number from 1 to 4096

    error: memory = '4GG' has no unit 'GG' (did you mean 'GB'?)
     --> cluster.toml:4:10
      |
    4 | memory = "4GG"
      |          ^^^^^ write a size such as 512MiB, 4G or 4GB, or bytes
    "#);
    insta::assert_snapshot!(refusal("[scheduler]\ntick = -1\nlease = \"5min\"\nmin_workers = 99999999999999999999\n"), @r#"
    error: tick = '-1' can't be negative
     --> cluster.toml:2:8
      |
    2 | tick = -1
      |        ^^ write a duration such as 90s, 10m, 2h, 1d or 500ms

    error: lease = '5min' has no unit 'min' (did you mean 'm'?)
     --> cluster.toml:3:9
      |
    3 | lease = "5min"
      |         ^^^^^^ write a duration such as 90s, 10m, 2h, 1d or 500ms

    error: min_workers can't be 99999999999999999999
     --> cluster.toml:4:15
      |
    4 | min_workers = 99999999999999999999
      |               ^^^^^^^^^^^^^^^^^^^^ write a number from 1 to 1000000
    "#);
    insta::assert_snapshot!(refusal("[ssh]\nport = 65536\nconnect_timeout = \"500ms\"\ncontrol = \"mine\"\n"), @r#"
    error: port can't be 65536
     --> cluster.toml:2:8
      |
    2 | port = 65536
      |        ^^^^^ write a number from 1 to 65535

    error: connect_timeout is too short
     --> cluster.toml:3:19
      |
    3 | connect_timeout = "500ms"
      |                   ^^^^^^^ write at least 1s

    error: control = 'mine' isn't a kind of control
     --> cluster.toml:4:11
      |
    4 | control = "mine"
      |           ^^^^^^ write "own" or "user"
    "#);
}

#[test]
fn two_hosts_of_one_name_are_told_with_both_lines() {
    insta::assert_snapshot!(refusal("[[host]]\nssh = \"a\"\n\n[[host]]\nssh = \"b\"\nname = \"a\"\n"), @r#"
    error: two hosts are named 'a'
     --> cluster.toml:6:8
      |
    6 | name = "a"
      |        ^^^ give each a name of its own: name = "…"
      = note: the other is on line 2
    "#);
}

#[test]
fn a_host_is_reached_in_exactly_one_way() {
    insta::assert_snapshot!(refusal("[[host]]\nslots = 4\n[[host]]\nssh = \"a\"\nlocal = true\n[[host]]\nlocal = false\n"), @r#"
    error: this host doesn't say how it is reached
     --> cluster.toml:1:1
      |
    1 | [[host]]
      | ^^^^^^^^ add ssh = "alias", local = true, or command = ["docker", "exec", "-i", "c1", "sh"]

    error: a host can't have both 'ssh' and 'local'
     --> cluster.toml:5:1
      |
    5 | local = true
      | ^^^^^ write two hosts, or leave one out

    error: this host doesn't say how it is reached
     --> cluster.toml:7:9
      |
    7 | local = false
      |         ^^^^^ write local = true, or ssh = "alias"
    "#);
    insta::assert_snapshot!(refusal("[host]\nssh = \"a\"\n"), @"
    error: hosts are a list of tables
     --> cluster.toml:1:2
      |
    1 | [host]
      |  ^^^^ write [[host]], with two brackets
    ");
    insta::assert_snapshot!(refusal("[[host]]\ncommand = []\n[[host]]\ncommand = [\"sh\", \"-i\"]\n"), @r#"
    error: a command begins with a program
     --> cluster.toml:2:11
      |
    2 | command = []
      |           ^^ such as ["docker", "exec", "-i", "c1", "sh"]

    error: '-i' can't be the name of this host
     --> cluster.toml:4:11
      |
    4 | command = ["sh", "-i"]
      |           ^^^^^^^^^^^^ add name = "…"
    "#);
}

#[test]
fn what_ssh_or_a_terminal_would_misread_is_refused() {
    insta::assert_snapshot!(refusal("[[host]]\nssh = \"-oProxyCommand=x\"\n[[host]]\nssh = \"a\\u001b[2J\"\n"), @r#"
    error: '-oProxyCommand=x' begins with '-', which ssh would take for an option
     --> cluster.toml:2:7
      |
    2 | ssh = "-oProxyCommand=x"
      |       ^^^^^^^^^^^^^^^^^^

    error: 'a\u{1b}[2J' holds a control character (hint: write USER@HOST:PORT, or a name from your ssh config)
     --> cluster.toml:4:7
      |
    4 | ssh = "a\u001b[2J"
      |       ^^^^^^^^^^^^
    "#);
    insta::assert_snapshot!(refusal("[[host]]\nssh = \"a\"\nname = \"-a\"\n[[host]]\nssh = \"b\"\nname = \"b\\nb\"\n"), @r#"
    error: name = '-a' begins with '-'
     --> cluster.toml:3:8
      |
    3 | name = "-a"
      |        ^^^^ it would be taken for an option

    error: name = 'b\nb' holds a control character
     --> cluster.toml:6:8
      |
    6 | name = "b\nb"
      |        ^^^^^^
    "#);
    insta::assert_snapshot!(refusal("[ssh]\nuser = \"-l\"\njump_hosts = [\"-J\", \"a,b\"]\n"), @r#"
    error: user = '-l' isn't a user that ssh could log in as
     --> cluster.toml:2:8
      |
    2 | user = "-l"
      |        ^^^^

    error: '-J' begins with '-', which ssh would take for an option
     --> cluster.toml:3:15
      |
    3 | jump_hosts = ["-J", "a,b"]
      |               ^^^^

    error: two jump hosts in one
     --> cluster.toml:3:21
      |
    3 | jump_hosts = ["-J", "a,b"]
      |                     ^^^^^ put each in quotes of its own
    "#);
}

#[test]
fn durations_that_do_not_fit_together_are_told_where_they_were_written() {
    insta::assert_snapshot!(refusal("[scheduler]\nheartbeat = 20\nlease = 50\n"), @r#"
    error: lease = 50s isn't longer than unhealthy_after + heartbeat = 50s
     --> cluster.toml:3:9
      |
    3 | lease = 50
      |         ^^ write lease = "75s" (--lease 75s), or 0: the agent ends with its channel
    "#);
    insta::assert_snapshot!(refusal("[scheduler]\nheartbeat = 40\n"), @r#"
    error: unhealthy_after = 30s isn't longer than heartbeat = 40s
     --> cluster.toml:2:13
      |
    2 | heartbeat = 40
      |             ^^ write unhealthy_after = "2m" (--unhealthy-after 2m), or a shorter heartbeat
    "#);
}

#[test]
fn a_found_file_may_not_run_or_send_anything() {
    insta::assert_snapshot!(
        refusal_of_found("[[host]]\ncommand = [\"sh\"]\n[[host]]\nssh = \"a\"\nagent = \"x\"\n[ssh]\nkeyfile = \"k\"\n"),
        @r#"
    error: 'command' isn't taken from a file that was merely found in the current directory
     --> ./cluster.toml:2:1
      |
    2 | command = ["sh"]
      | ^^^^^^^ to trust this file, name it: --cluster ./cluster.toml

    error: 'agent' isn't taken from a file that was merely found in the current directory
     --> ./cluster.toml:5:1
      |
    5 | agent = "x"
      | ^^^^^ to trust this file, name it: --cluster ./cluster.toml

    error: 'keyfile' isn't taken from a file that was merely found in the current directory
     --> ./cluster.toml:7:1
      |
    7 | keyfile = "k"
      | ^^^^^^^ to trust this file, name it: --cluster ./cluster.toml
    "#
    );
}

#[test]
fn a_found_file_may_not_set_what_programs_of_this_machine_are_started_with() {
    insta::assert_snapshot!(refusal_of_found("[[host]]\nlocal = true\nenv = { LD_PRELOAD = \"x\" }\n"), @r#"
    error: 'env' for this machine isn't taken from a file that was merely found in the current directory
     --> ./cluster.toml:3:1
      |
    3 | env = { LD_PRELOAD = "x" }
      | ^^^ to trust this file, name it: --cluster ./cluster.toml
    "#);
    assert!(refusal_of_found("[defaults]\nenv = { A = \"x\" }\n[[host]]\nlocal = true\n").contains("'env'"));
}

#[test]
fn what_is_no_toml_is_told_in_plain_words() {
    insta::assert_snapshot!(refusal("[[host]]\nssh = render1\n"), @"
    error: not a value
     --> cluster.toml:2:7
      |
    2 | ssh = render1
      |       ^^^^^^^ text needs quotes
    ");
    insta::assert_snapshot!(refusal("[[host]]\nssh =\n"), @"
    error: a key without a value
     --> cluster.toml:2:6
      |
    2 | ssh =
      |      ^ write the value after '='
    ");
    insta::assert_snapshot!(refusal("[[host]]\nssh = \"a\"\nslots = 1\nssh = \"b\"\n"), @r#"
    error: 'ssh' is given twice
     --> cluster.toml:4:1
      |
    4 | ssh = "b"
      | ^^^ the second
    "#);
    insta::assert_snapshot!(refusal("[[host]\nssh = \"a\"\n"), @"
    error: unclosed array table, expected `]`
     --> cluster.toml:1:8
      |
    1 | [[host]
      |        ^ a list of tables begins [[name]]
    ");
    insta::assert_snapshot!(refusal("ssh: a\n"), @"
    error: a key without a value
     --> cluster.toml:1:6
      |
    1 | ssh: a
      |      ^ write key = value
    ");
}

#[test]
fn labels_that_could_not_be_asked_for_are_refused() {
    insta::assert_snapshot!(refusal("[[host]]\nssh = \"a\"\nlabels = [\"audio\", \"!x\", \"os=linux\", \"\"]\n"), @r#"
    error: label '!x' begins with '!', or holds a comma, a blank or a control character
     --> cluster.toml:3:20
      |
    3 | labels = ["audio", "!x", "os=linux", ""]
      |                    ^^^^ --where couldn't ask for it

    error: label 'os=linux' is one that titan gives to every host itself
     --> cluster.toml:3:26
      |
    3 | labels = ["audio", "!x", "os=linux", ""]
      |                          ^^^^^^^^^^ choose another name

    error: label '' has no name
     --> cluster.toml:3:38
      |
    3 | labels = ["audio", "!x", "os=linux", ""]
      |                                      ^^ write "audio" or "site=lab"
    "#);
}
