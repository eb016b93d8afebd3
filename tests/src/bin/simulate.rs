//! Runs simulated clusters by seed: `simulate FROM TO` runs those seeds; `simulate broken [FAULT]` shows how many seeds each fault of titan's
//! own takes until a rule notices it.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use titan_tests::sim::scenario::Scenario;
use titan_tests::sim::{self, Happened, Sabotage};

/// Seeds that are tried at most for one fault.
const MOST_SEEDS: u64 = 20_000;

fn main() -> ExitCode {
    // A broken rule is told once, with its seed, and not as the panic that it is.
    std::panic::set_hook(Box::new(|_| ()));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    match words[..] {
        ["broken"] => broken(&Sabotage::BY_SEED),
        ["broken", name] => match Sabotage::BY_SEED.iter().find(|sabotage| format!("{sabotage:?}") == name) {
            Some(&sabotage) => broken(&[sabotage]),
            None => usage(),
        },
        [from, to] => match (number(from), number(to)) {
            (Some(from), Some(to)) if from < to => seeds(from, to),
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: simulate FROM TO | simulate broken [FAULT]");
    ExitCode::from(2)
}

fn seeds(from: u64, to: u64) -> ExitCode {
    let (next, has_failed, begun) = (AtomicU64::new(from), AtomicBool::new(false), Instant::now());
    let all = Mutex::new(Happened::default());
    let work = || {
        while !has_failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= to {
                return;
            }
            match sim::run(&Scenario::from_seed(seed)) {
                Ok(ended) => all.lock().expect("nothing fails while it is held").add(&ended.happened),
                Err(failure) => {
                    has_failed.store(true, Ordering::Relaxed);
                    eprintln!("{failure}");
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    if has_failed.into_inner() {
        return ExitCode::FAILURE;
    }
    let happened = all.into_inner().expect("no thread has failed");
    println!("{} seeds in {:.0?}, none broke a rule: {happened:#?}", to - from, begun.elapsed());
    ExitCode::SUCCESS
}

fn broken(sabotages: &[Sabotage]) -> ExitCode {
    let mut is_any_missed = false;
    for &sabotage in sabotages {
        let mut tried = 0..MOST_SEEDS;
        let noticed = tried.find_map(|seed| {
            let failure = sim::run_sabotaged(&Scenario::from_seed(seed), sabotage).err()?;
            Some((seed, failure.rule))
        });
        match noticed {
            Some((seed, rule)) => println!("{sabotage:?}: noticed after {} seeds: {rule}", seed + 1),
            None => {
                is_any_missed = true;
                println!("{sabotage:?}: not noticed in {MOST_SEEDS} seeds");
            }
        }
    }
    if is_any_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
