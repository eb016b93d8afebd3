//! Clusters under seeded trouble: many seeds, some worlds with a name, and proofs that the rules bite. One seed again:
//! `TITAN_SIM_SEED=7 cargo test -p titan-tests --test simulation`; more of them: `TITAN_SIM_SEEDS=10000`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use titan_manager::{Config, Dependency, End, Request, Rerun};
use titan_proto::id::JobId;
use titan_tests::sim::disk::DiskFault;
use titan_tests::sim::faults::{Fault, Lie};
use titan_tests::sim::scenario::Scenario;
use titan_tests::sim::tasks::Manners;
use titan_tests::sim::wire::{Side, Tamper};
use titan_tests::sim::{self, Ended, Happened, Sabotage};

/// Seeds that are run unless `TITAN_SIM_SEEDS` says otherwise.
const SEEDS: u64 = 2_000;

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

fn run(scenario: &Scenario) -> Ended {
    sim::run(scenario).unwrap_or_else(|failure| panic!("\n{failure}\n"))
}

/// Runs seeds on all cores; what happened in all of them, and the longest of their batches.
fn run_seeds(seeds: std::ops::Range<u64>) -> (Happened, Duration) {
    let next = AtomicU64::new(seeds.start);
    let all = Mutex::new((Happened::default(), Duration::ZERO));
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end {
            return;
        }
        let ended = run(&Scenario::from_seed(seed));
        let mut all = all.lock().expect("nothing fails while it is held");
        all.0.add(&ended.happened);
        all.1 = all.1.max(ended.after);
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let failed = running.into_iter().filter_map(|thread| thread.join().err()).next();
        if let Some(panic) = failed {
            std::panic::resume_unwind(panic);
        }
    });
    all.into_inner().expect("no thread has failed")
}

#[test]
fn no_seed_breaks_a_rule() {
    if let Some(seed) = number_from("TITAN_SIM_SEED") {
        println!("{:?}", run(&Scenario::from_seed(seed)));
        return;
    }
    let seeds = number_from("TITAN_SIM_SEEDS").unwrap_or(SEEDS);
    let (happened, longest) = run_seeds(0..seeds);
    println!("{seeds} seeds, the longest batch took {longest:?}: {happened:#?}");
    if seeds >= SEEDS {
        let Happened { protocol_errors, losses, resumed, silenced, leases_over, .. } = happened;
        let Happened { recalls, late, failures, held, lacks, .. } = happened;
        let Happened { titan_deaths, disk_failures, adopted, refused, quarantines, absences, .. } = happened;
        for count in [titan_deaths, disk_failures, adopted, refused, quarantines, absences] {
            assert!(count > 25, "hardly any trouble: {happened:?}");
        }
        for count in [protocol_errors, losses, resumed, silenced, leases_over, recalls, failures, held, lacks] {
            assert!(count > 50, "hardly any trouble: {happened:?}");
        }
        // Outcomes that nobody asked for don't get as far as the manager.
        assert!(late > 5, "hardly any trouble: {happened:?}");
    }
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in 0..20 {
        let scenario = Scenario::from_seed(seed);
        assert_eq!(run(&scenario), run(&scenario), "seed {seed}");
    }
    assert_ne!(run(&Scenario::from_seed(0)).trace, run(&Scenario::from_seed(10)).trace);
}

fn all_completed(ended: &Ended, tasks: u64) {
    assert_eq!((ended.verdict.end, ended.verdict.completed), (End::Done, tasks), "{ended:?}");
}

const fn drop_of(host: u32) -> Fault {
    Fault::Drop { host, agent_notices: Some(Duration::from_millis(30)) }
}

#[test]
fn a_calm_cluster_runs_every_task_once() {
    let ended = run(&Scenario::plain(3, 2, 40));
    all_completed(&ended, 40);
    assert_eq!((ended.happened.computed, ended.happened.losses), (40, 0));
}

#[test]
fn a_host_that_dies_with_results_in_flight_loses_no_task() {
    let mut scenario = Scenario::plain(2, 4, 40).with(1_500, Fault::Crash { host: 1 }).with(4_000, drop_of(1));
    scenario.manners.large_percent = 100;
    scenario.hosts[1].speed.bytes_per_s = 200 << 10;
    let ended = run(&scenario);
    all_completed(&ended, 40);
    assert!(ended.happened.losses >= 1 && ended.happened.computed > 40, "{ended:?}");
}

#[test]
fn a_session_that_resumes_runs_nothing_twice() {
    let mut scenario = Scenario::plain(2, 2, 60);
    scenario.resumes = true;
    scenario.manners.large_percent = 60;
    for after_ms in [700, 1_100, 2_500, 4_000, 9_000] {
        scenario = scenario.with(after_ms, drop_of(0)).with(after_ms + 300, drop_of(1));
    }
    let ended = run(&scenario);
    all_completed(&ended, 60);
    assert_eq!((ended.happened.computed, ended.happened.losses), (60, 0));
    assert!(ended.happened.resumed >= 3, "{ended:?}");
}

#[test]
fn a_host_that_falls_silent_has_its_tasks_run_elsewhere_before_it_is_given_up() {
    let silence = Fault::Silence { host: 1, deaf: None, span: Duration::from_secs(40), cuts: false };
    let mut scenario = Scenario::plain(2, 2, 30).with(1_000, silence);
    scenario.manners.longest_ms = 5_000;
    let ended = run(&scenario);
    all_completed(&ended, 30);
    assert_eq!((ended.happened.unhealthy, ended.happened.losses), (1, 0));
    assert!(ended.after < Duration::from_secs(60), "{ended:?}");
}

#[test]
fn a_frozen_host_that_thaws_answers_too_late_and_does_no_harm() {
    let freeze = Fault::Freeze { host: 1, span: Duration::from_secs(45) };
    let mut scenario = Scenario::plain(2, 2, 20).with(1_000, freeze);
    scenario.manners.longest_ms = 5_000;
    scenario.jobs[0].spec.closed = false;
    scenario.jobs[0].closed_after = Duration::from_secs(60);
    let ended = run(&scenario);
    all_completed(&ended, 20);
    assert!(ended.happened.late >= 1, "{ended:?}");
}

#[test]
fn titans_own_sleep_costs_no_worker() {
    let sleep = Fault::ManagerSleep { span: Duration::from_secs(50) };
    let ended = run(&Scenario::plain(3, 2, 40).with(1_000, sleep));
    all_completed(&ended, 40);
    assert_eq!((ended.happened.unhealthy, ended.happened.losses), (0, 0));
}

#[test]
fn a_spoiled_frame_closes_its_connection_whoever_reads_it() {
    for tamper in [Tamper::Repeat, Tamper::Skip] {
        for toward in [Side::Manager, Side::Agent] {
            let ended = run(&Scenario::plain(2, 2, 40).with(1_500, Fault::Tamper { host: 1, toward, tamper }));
            all_completed(&ended, 40);
            assert_eq!(ended.happened.protocol_errors, 1, "{tamper:?} toward {toward:?}: {ended:?}");
        }
    }
}

#[test]
fn a_byte_that_changes_on_its_way_is_never_taken_for_a_message() {
    for seed in 0..20 {
        let tampered = Fault::Tamper { host: 1, toward: Side::Manager, tamper: Tamper::Corrupt };
        let scenario = Scenario { seed, ..Scenario::plain(2, 2, 40) }.with(1_500, tampered);
        all_completed(&run(&scenario), 40);
    }
}

#[test]
fn an_agent_that_lies_spoils_nothing_of_others() {
    for lie in [Lie::FinishedAgain, Lie::FinishedUnknown, Lie::FinishedOfAnother, Lie::StartedUnknown] {
        let mut scenario = Scenario::plain(2, 2, 40);
        scenario.manners.large_percent = 100;
        for after_ms in [900, 1_300, 2_100, 3_000] {
            scenario = scenario.with(after_ms, Fault::Lie { host: 1, lie });
        }
        let ended = run(&scenario);
        all_completed(&ended, 40);
    }
}

#[test]
fn who_says_that_a_task_runs_cannot_give_it_back() {
    let mut scenario = Scenario::plain(2, 2, 20).with(1_000, Fault::Lie { host: 1, lie: Lie::RecalledRunning });
    scenario.jobs[0].spec.rerun = Rerun::Lost;
    let ended = run(&scenario);
    all_completed(&ended, 20);
    // It runs on, and its outcome is one that it can't have: that ends its session, and nothing ran twice at once.
    assert_eq!((ended.happened.protocol_errors, ended.happened.overlaps), (1, 0));
}

#[test]
fn a_batch_that_is_cancelled_stops_even_what_would_never_end() {
    let mut scenario = Scenario::plain(2, 2, 40).with(3_000, Fault::Cancel);
    scenario.manners.endless_percent = 50;
    let ended = run(&scenario);
    assert_eq!(ended.verdict.end, End::Cancelled);
    assert!(ended.after < Duration::from_secs(5), "{ended:?}");
}

#[test]
fn a_job_that_comes_after_the_cancel_is_cancelled_too() {
    let mut scenario = Scenario::plain(1, 1, 20).with(500, Fault::Cancel);
    scenario.manners.longest_ms = 3_000;
    let mut late = scenario.jobs[0].clone();
    late.submitted_after = Duration::from_millis(501);
    scenario.jobs.push(late);
    assert_eq!(run(&scenario).verdict.end, End::Cancelled);
}

#[test]
fn a_task_that_kills_every_agent_fails_and_the_others_do_not() {
    let mut failed = 0;
    for seed in 0..10 {
        let mut scenario = Scenario::plain(3, 2, 40);
        scenario.manners = Manners { seed, kill_percent: 5, ..scenario.manners };
        let ended = run(&scenario);
        assert_eq!((ended.verdict.end, ended.verdict.completed + ended.verdict.failed), (End::Done, 40));
        failed += ended.verdict.failed;
    }
    assert!((1..=20).contains(&failed), "{failed} tasks failed");
}

#[test]
fn a_job_that_no_host_is_large_enough_for_does_not_wait_for_ever() {
    let mut scenario = Scenario::plain(2, 2, 10);
    let mut large = scenario.jobs[0].clone();
    large.spec.slot_memory_bytes = 1 << 40;
    scenario.jobs.push(large);
    let ended = run(&scenario);
    assert_eq!((ended.verdict.end, ended.verdict.completed, ended.verdict.cancelled), (End::NoWorkers, 10, 10));
}

#[test]
fn the_last_host_that_goes_ends_the_batch_and_forgets_no_task() {
    let mut scenario = Scenario::plain(2, 2, 60);
    for host in [0, 1] {
        scenario = scenario.with(2_000 + u64::from(host) * 700, Fault::GoDown { host });
    }
    let ended = run(&scenario);
    assert_eq!(ended.verdict.end, End::NoWorkers);
    assert_eq!(ended.verdict.completed + ended.verdict.cancelled, 60);
}

#[test]
fn a_lost_manager_is_outlived_by_the_lease_and_no_longer() {
    let config = Config { lease: Duration::from_secs(45), ..Config::default() };
    let half_open = Fault::Drop { host: 1, agent_notices: None };
    let mut scenario = Scenario { config, ..Scenario::plain(2, 2, 200) }.with(2_000, half_open);
    // Whom titan reaches again it doesn't need to wait for.
    scenario.hosts[1].gives_up_percent = 100;
    let ended = run(&scenario);
    all_completed(&ended, 200);
    assert_eq!(ended.happened.leases_over, 1);
}

#[test]
fn a_task_that_may_not_run_twice_runs_on_elsewhere_when_its_lost_agent_has_ended() {
    let half_open = Fault::Drop { host: 1, agent_notices: None };
    let mut scenario = Scenario::plain(2, 2, 20).with(1_500, half_open);
    scenario.jobs[0].spec.rerun = Rerun::Lost;
    scenario.manners.longest_ms = 3_000;
    scenario.hosts[1].gives_up_percent = 100;
    let ended = run(&scenario);
    all_completed(&ended, 20);
    assert!(ended.happened.held >= 1 && ended.happened.overlaps == 0, "{ended:?}");
    assert!(ended.after > scenario.config.lease, "{ended:?}");
}

/// titan dies after so many milliseconds, and another one goes on a little later.
fn dies_after(scenario: Scenario, after_ms: u64, power: bool) -> Scenario {
    scenario.with(after_ms, Fault::TitanDies { power, back_after: Duration::from_millis(700) })
}

#[test]
fn what_runs_when_titan_dies_goes_on_for_the_next_titan() {
    let mut scenario = Scenario::plain(2, 2, 20);
    scenario.manners.longest_ms = 6_000;
    scenario.jobs[0].spec.rerun = Rerun::Lost;
    for after_ms in [1_500, 4_000, 9_000] {
        scenario = dies_after(scenario, after_ms, false);
    }
    let ended = run(&scenario);
    all_completed(&ended, 20);
    let Happened { computed, titan_deaths, adopted, .. } = ended.happened;
    assert_eq!((computed, titan_deaths), (20, 3), "nothing runs twice");
    assert!(adopted >= 3, "{ended:?}");
}

#[test]
fn after_a_power_cut_nothing_runs_twice_at_once_though_the_journal_has_lost_its_end() {
    for seed in 0..20 {
        let mut scenario = Scenario { seed, ..Scenario::plain(2, 2, 20) };
        scenario.manners.longest_ms = 3_000;
        scenario.jobs[0].spec.rerun = Rerun::Lost;
        let ended = run(&dies_after(scenario, 2_000 + seed * 100, true));
        all_completed(&ended, 20);
        assert_eq!((ended.happened.titan_deaths, ended.happened.overlaps), (1, 0));
    }
}

#[test]
fn a_disk_that_fails_ends_titan_and_the_next_one_goes_on() {
    for fault in [DiskFault::Write, DiskFault::Sync] {
        let ended = run(&Scenario::plain(2, 2, 40).with(1_500, Fault::Disk(fault)));
        all_completed(&ended, 40);
        assert_eq!((ended.happened.disk_failures, ended.happened.titan_deaths), (1, 1), "{fault:?}");
    }
}

#[test]
fn a_titan_of_an_earlier_life_is_refused() {
    let scenario = dies_after(Scenario::plain(2, 2, 60), 1_500, false).with(5_000, Fault::Ghost { host: 1 });
    let ended = run(&scenario);
    all_completed(&ended, 60);
    assert_eq!(ended.happened.refused, 1);
}

#[test]
fn partitions_one_way_or_both_lose_nothing_and_run_nothing_twice() {
    for to in [None, Some(Side::Manager), Some(Side::Agent)] {
        let partition = Fault::Partition { host: 1, to, span: Duration::from_secs(100) };
        let mut scenario = Scenario::plain(2, 2, 40).with(1_500, partition);
        (scenario.resumes, scenario.jobs[0].spec.rerun) = (true, Rerun::Lost);
        let ended = run(&scenario);
        all_completed(&ended, 40);
        assert_eq!((ended.happened.computed, ended.happened.losses), (40, 0), "to {to:?}");
    }
}

#[test]
fn a_request_that_no_host_can_meet_fails_and_the_rest_goes_on() {
    let mut scenario = Scenario::plain(2, 2, 10);
    let mut large = scenario.jobs[0].clone();
    large.spec.request = Request { cpus: 64, ..Request::default() };
    scenario.jobs.push(large);
    let ended = run(&scenario);
    assert_eq!((ended.verdict.end, ended.verdict.completed, ended.verdict.failed), (End::Done, 10, 10));
}

#[test]
fn a_job_runs_after_the_one_that_it_waits_for() {
    let mut scenario = Scenario::plain(2, 2, 10);
    for each in [true, false] {
        let mut next = scenario.jobs[0].clone();
        next.spec.after = vec![Dependency { job: JobId(scenario.jobs.len() as u32 - 1), each, any_end: false }];
        scenario.jobs.push(next);
    }
    all_completed(&run(&scenario), 30);
}

/// The rule that a fault of titan's own breaks.
fn broken_rule(scenario: &Scenario, sabotage: Sabotage) -> String {
    match sim::run_sabotaged(scenario, sabotage) {
        Ok(ended) => panic!("nobody notices {sabotage:?}: {ended:?}"),
        Err(failure) => failure.rule,
    }
}

#[test]
fn the_rules_notice_what_titan_could_do_wrong() {
    let mut scenario = Scenario::plain(2, 2, 30);
    scenario.manners = Manners { seed: 2, fail_percent: 60, ..scenario.manners };
    for (sabotage, words) in [
        (Sabotage::AcknowledgesFirst, "is acknowledged before it is recorded"),
        (Sabotage::DeliversFirst, "is delivered before it is recorded"),
        (Sabotage::DeliversTwice, "the sink is told twice of"),
        (Sabotage::StartsTwice, "runs twice"),
        (Sabotage::SkipsAcknowledge, "isn't acknowledged"),
        (Sabotage::SkipsDiscard, "was forgotten"),
        (Sabotage::HidesMissing, "what the sink was told of"),
        (Sabotage::Miscounts, "record"),
        (Sabotage::LosesOutcomes, "the batch doesn't end"),
        (Sabotage::HearsTwice, "titan hears what an agent didn't say next"),
        (Sabotage::TrustsResults, "record"),
    ] {
        let rule = broken_rule(&scenario, sabotage);
        assert!(rule.contains(words), "{sabotage:?} broke another rule: {rule}");
    }
}

#[test]
fn the_rules_notice_a_task_that_is_completed_before_its_files_are_in_place() {
    let mut scenario = Scenario::plain(2, 2, 30);
    scenario.jobs[0].spec.commits = true;
    assert_eq!(run(&scenario).verdict.end, End::Done);
    let rule = broken_rule(&scenario, Sabotage::CompletesBeforeCommit);
    assert!(rule.contains("its files aren't there"), "{rule}");
}

#[test]
fn the_rules_notice_a_session_that_takes_any_frame() {
    for (tamper, words) in [(Tamper::Repeat, "didn't say next"), (Tamper::Skip, "after a spoiled frame")] {
        let tampered = Fault::Tamper { host: 1, toward: Side::Manager, tamper };
        let mut scenario = Scenario::plain(2, 2, 40).with(1_500, tampered);
        scenario.manners.large_percent = 0;
        let rule = broken_rule(&scenario, Sabotage::AcceptsAnyFrame);
        assert!(rule.contains(words), "{tamper:?}: {rule}");
    }
}

#[test]
fn the_rules_notice_a_lease_that_is_not_waited_for() {
    let half_open = Fault::Drop { host: 1, agent_notices: None };
    let mut scenario = Scenario::plain(3, 2, 5).with(700, half_open);
    scenario.jobs[0].spec.rerun = Rerun::Lost;
    scenario.manners.longest_ms = 20_000;
    let rule = broken_rule(&scenario, Sabotage::ForgetsLeases);
    assert!(rule.contains("begins while"), "{rule}");
}

#[test]
fn a_failure_names_the_seed_the_world_and_the_command_that_runs_it_again() {
    let failure = sim::run_sabotaged(&Scenario::plain(1, 1, 3), Sabotage::DeliversTwice).unwrap_err().to_string();
    for words in ["seed 1: ", "HostPlan", "Deliver", "TITAN_SIM_SEED=1 cargo test -p titan-tests --test simulation"] {
        assert!(failure.contains(words), "{failure}");
    }
}
