//! `docs/json.md` is the contract: every object that titan prints is as its tables say, and every table has been seen.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::Value;
use titan_tests::cli::contract::Contract;
use titan_tests::cli::{Desk, Outcome};

const SMALL: &str = "run mandelbrot --size 64x64 --tiles 4x4 --json";

/// The one object of a run, after it was compared with the contract.
#[track_caller]
fn checked(outcome: &Outcome) -> Value {
    let object = outcome.one_object();
    Contract::read().check(&object);
    assert_eq!(object["exit_code"].as_i64().unwrap_or(outcome.code.into()), i64::from(outcome.code), "{object}");
    object
}

#[track_caller]
fn assert_adds_up(summary: &Value) {
    let seconds = |name: &str| summary["phases"][name].as_f64().unwrap();
    let sum: f64 = ["start_up", "compute", "transfer", "encoding"].into_iter().map(seconds).sum();
    assert!((sum - summary["seconds"].as_f64().unwrap()).abs() < 1e-3, "{summary}");
    let tasks: u64 = summary["tasks"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(tasks, 16, "{summary}");
}

#[test]
fn the_summary_of_a_run_is_as_the_document_says() {
    let desk = Desk::new();
    let words = format!("{SMALL} --local 2 -o out.png --counts out.npy --tiles-dir tiles");
    let summary = checked(&desk.run(&words).expect(0));
    assert_adds_up(&summary);
    assert_eq!((summary["state"].as_str(), summary["name"].as_str()), (Some("COMPLETED"), Some("mandelbrot")));
    assert_eq!(summary["outputs"].as_array().unwrap().len(), 18);
    assert_eq!(summary["totals"]["pixels"], 64 * 64);
    assert!(summary["totals"]["iterations"].as_u64().unwrap() > 64 * 64);
    let completed = summary["hosts"].as_array().unwrap().iter().map(|host| host["completed"].as_u64().unwrap());
    assert_eq!(completed.sum::<u64>(), 16);
}

#[test]
fn the_summary_of_a_failure_is_as_the_document_says() {
    let desk = Desk::new();
    let summary = checked(&desk.run_faulty("panic:3,panic:9", &format!("{SMALL} --retries 1")).expect(1));
    assert_adds_up(&summary);
    assert_eq!(summary["state"], "FAILED");
    assert_eq!(summary["retries"], 2);
    let failures = summary["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 2, "{summary}");
    assert_eq!(summary["outputs"], serde_json::json!(["mandelbrot.png"]));
}

#[test]
fn the_summary_of_an_interruption_is_as_the_document_says() {
    let desk = Desk::new();
    let mut running = desk.start_faulty("slow:60000", &format!("{SMALL} -v"));
    running.signal(Signal::TERM);
    let summary = checked(&running.wait().expect(143));
    assert_adds_up(&summary);
    assert_eq!((summary["state"].as_str(), summary["tasks"]["cancelled"].as_u64()), (Some("CANCELLED"), Some(16)));
}

#[test]
fn the_time_before_an_interruption_was_not_spent_on_encoding() {
    let desk = Desk::new();
    let faults: Vec<String> = (1..16).map(|task| format!("delay:{task}:60000")).collect();
    let mut running = desk.start_faulty(&format!("{},slow:400", faults.join(",")), &format!("{SMALL} -v -j 1"));
    running.wait_for("task 1 starts");
    running.signal(Signal::INT);
    let summary = checked(&running.wait().expect(130));
    assert!(summary["phases"]["encoding"].as_f64().unwrap() < 0.2, "{summary}");
}

#[test]
fn retries_count_what_had_begun_before() {
    let desk = Desk::new();
    let running = desk.start_faulty("slow:300", &format!("{SMALL} -v -j 1"));
    let agent = desk.agents()[0];
    titan_tests::cli::running::send_signal(agent, Signal::KILL);
    let summary = checked(&running.wait().expect(0));
    assert_eq!(summary["retries"], 1, "one task ran when the agent was lost: {summary}");
}

#[test]
fn the_summary_without_workers_is_as_the_document_says() {
    let desk = Desk::new();
    desk.write("c.toml", "[[host]]\ncommand = [\"false\"]\n");
    let summary = checked(&desk.run(&format!("{SMALL} --cluster c.toml")).expect(3));
    assert_adds_up(&summary);
    assert_eq!(summary["hosts"][0]["state"], "down");
    assert!(summary["hosts"][0]["reason"].is_string(), "{summary}");
}

#[test]
fn what_titan_hosts_prints_is_as_the_document_says() {
    let desk = Desk::new();
    desk.write("c.toml", "[[host]]\nlocal = true\n[[host]]\ncommand = [\"sh\"]\n[[host]]\ncommand = [\"false\"]\n");
    let hosts = checked(&desk.run("hosts --cluster c.toml --json").expect(1))["hosts"].clone();
    let names: Vec<&str> = hosts.as_array().unwrap().iter().map(|host| host["host"].as_str().unwrap()).collect();
    assert_eq!(names, ["localhost", "sh", "false"], "in the order of the file");
    assert_eq!(hosts[1]["agent_cached"], false);
    assert!(hosts[0]["cores"].as_u64() >= Some(1) && hosts[0]["memory"].as_u64() > Some(1 << 20), "{hosts}");
    assert_eq!(hosts[2]["usable"], false);
    desk.run("run mandelbrot --size 8x8 --cluster c.toml --hosts sh").expect(0);
    let hosts = checked(&desk.run("hosts --cluster c.toml --json --hosts sh").expect(0))["hosts"].clone();
    assert_eq!(hosts[0]["agent_cached"], true);
    checked(&desk.run("hosts --cluster c.toml --json --hosts false").expect(3));
    let outcome = desk.run("hosts --json --local").expect(0);
    assert_eq!(outcome.stderr, "", "a program that reads both streams gets nothing else");
}

#[test]
fn what_titan_bench_prints_is_as_the_document_says() {
    let desk = Desk::new();
    let figures = checked(&desk.run("bench start --runs 1 --json").expect(0))["figures"].clone();
    let figures = figures.as_array().unwrap();
    assert_eq!(figures.len(), 2, "{figures:?}");
    assert!(figures.iter().all(|figure| figure["section"] == "start" && figure["ratio"].as_f64() > Some(0.0)));
}

#[test]
fn titan_bench_measures_the_hosts_that_are_named_and_no_others() {
    let desk = Desk::new();
    let outcome = desk.run("bench hosts").expect(2);
    assert!(outcome.stderr.contains("--hosts render1, or --cluster FILE"), "{}", outcome.stderr);
    let outcome = desk.run("bench hosts --hosts :").expect(1);
    assert!(outcome.stderr.contains("none of these hosts is reached by ssh"), "{}", outcome.stderr);
}

#[test]
fn every_event_is_as_the_document_says() {
    let (contract, desk) = (Contract::read(), Desk::new());
    let mut seen = BTreeSet::new();
    let mut check = |outcome: &Outcome| {
        for line in outcome.stderr.lines().filter(|line| line.starts_with('{')) {
            let event: Value = serde_json::from_str(line).expect(line);
            contract.check(&event);
            seen.insert((event["type"].to_string(), event["state"].to_string()));
        }
    };
    let words = "run mandelbrot --size 64x64 --tiles 2x2 --progress json";
    check(&desk.run_faulty("panic:1", words).expect(1));
    check(&desk.run_faulty("abort:1", &format!("{words} -v")).expect(1));
    desk.write("c.toml", "[[host]]\ncommand = [\"false\"]\n");
    check(&desk.run(&format!("{words} --cluster c.toml")).expect(3));
    let mut running = desk.start_faulty("slow:60000", &format!("{words} -v"));
    running.signal(Signal::INT);
    check(&running.wait().expect(130));
    for (kind, state) in [
        ("host", "healthy"),
        ("host", "restarting"),
        ("host", "down"),
        ("task", "RUNNING"),
        ("task", "COMPLETED"),
        ("task", "PENDING"),
        ("task", "FAILED"),
    ] {
        assert!(seen.contains(&(format!("\"{kind}\""), format!("\"{state}\""))), "no {kind} {state} in {seen:?}");
    }
    assert!(seen.iter().any(|(kind, _)| kind == "\"message\""), "{seen:?}");
}

#[test]
fn the_document_describes_what_there_is_and_nothing_else() {
    let contract = Contract::read();
    let names: Vec<&str> = contract.names().collect();
    assert_eq!(
        names,
        [
            "batches",
            "batches.batch",
            "batches.tasks",
            "bench",
            "bench.figure",
            "bytes",
            "cancel",
            "clean",
            "clean.batch",
            "clean.cache",
            "clean.host",
            "event",
            "export.task",
            "host",
            "hosts",
            "hosts.host",
            "map.task",
            "message",
            "output",
            "status",
            "status.failure",
            "status.running",
            "status.tasks",
            "status.worker",
            "summary",
            "summary.failure",
            "summary.host",
            "summary.phases",
            "summary.tasks",
            "task"
        ]
    );
}

#[test]
fn the_examples_of_the_document_are_as_its_tables_say() {
    let (contract, text) = (Contract::read(), include_str!("../../docs/json.md"));
    let examples = text.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut count = 0;
    for example in examples {
        for object in serde_json::Deserializer::from_str(example).into_iter::<Value>() {
            contract.check(&object.unwrap_or_else(|error| panic!("{error} in: {example}")));
            count += 1;
        }
    }
    assert_eq!(count, 7);
}

#[test]
fn every_task_of_a_map_is_as_the_document_says() {
    let (contract, desk) = (Contract::read(), Desk::new());
    let mut command = desk.titan("map -k --json -s");
    command.args(["printf '\\377'; echo e >&2; exit {}", ":::", "0", "1"]);
    let outcome = titan_tests::cli::Running::start(&mut command).wait().expect(1);
    let objects = outcome.json();
    objects.iter().for_each(|object| contract.check(object));
    assert_eq!(objects[0]["stdout"], serde_json::json!({"base64": "/w=="}));
    let mut missing = desk.titan("map --json no-such-program ::: a");
    titan_tests::cli::Running::start(&mut missing)
        .wait()
        .expect(1)
        .json()
        .iter()
        .for_each(|object| contract.check(object));
}

#[test]
fn what_is_told_of_batches_is_as_the_document_says() {
    let (contract, desk) = (Contract::read(), Desk::new());
    let check = |words: &str| {
        let objects = desk.run(words).expect(0).json();
        objects.iter().for_each(|object| contract.check(object));
        objects
    };
    let mut map = desk.titan("map -v -j2 --no-stage-check");
    map.args(["-s", "echo out; echo err >&2; test {} != 2 || exit 3; test {} = 1 || sleep 1000", ":::", "1", "2", "3"]);
    let mut running = titan_tests::cli::Running::start(&mut map);
    running.wait_for("task 3 starts");
    let is_told = || check("status --json map")[0]["workers"][0]["running"][0]["label"] == "3";
    titan_tests::rig::wait::wait_until(titan_tests::cli::PATIENCE, "it tells what it runs", is_told);
    assert_eq!(check("batches --json")[0]["batches"][0]["state"], "RUNNING");
    running.signal(Signal::INT);
    running.wait().expect(130);
    let status = &check("status --json")[0];
    assert_eq!(
        status["failures"],
        serde_json::json!([{"reason": "exit 3", "state": "FAILED", "count": 1, "tasks": ["2"]}])
    );
    assert!(status["continue_with"].as_str().unwrap().starts_with("titan resume "), "{status}");
    let kinds: BTreeSet<String> =
        check("logs --json map").iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    let expected = ["ATTEMPT_FAILED", "BEGAN", "CANCELLED", "COMPLETED", "ENDED", "FAILED", "GIVEN"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(
        check("logs --json map 2").iter().map(|piece| piece["text"].clone()).collect::<Vec<_>>(),
        ["out\n", "err\n"]
    );
    let states: Vec<Value> = check("export --json map").iter().map(|task| task["state"].clone()).collect();
    assert_eq!(states, ["COMPLETED", "FAILED", "CANCELLED"]);
    assert_eq!(check("cancel --json map")[0]["state"], "CANCELLED");
    check("status --json map");
    desk.write("c.toml", "[[host]]\ncommand = [\"sh\"]\n[[host]]\nlocal = true\n");
    desk.run("run mandelbrot --size 8x8 --cluster c.toml --hosts sh").expect(0);
    let clean = &check("clean --dry-run --json --cluster c.toml")[0];
    assert_eq!(clean["batches"].as_array().unwrap().len(), 2, "{clean}");
    assert!(clean["hosts"][0]["caches"][0]["bytes"].as_u64() > Some(1 << 20), "{clean}");
    check("clean --json --cluster c.toml");
    assert_eq!(check("batches --json")[0]["batches"], serde_json::json!([]));
}

#[test]
fn a_refusal_prints_no_object() {
    let desk = Desk::new();
    for words in ["run mandelbrot --json --size 0x0", "hosts --json --hosts a,a", "run mandelbrot --json -o -"] {
        assert_eq!(desk.run(words).expect(2).text(), "", "{words}");
    }
}
