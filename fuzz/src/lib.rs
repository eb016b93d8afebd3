//! What fuzzing is made of. A target makes an input by chance and feeds it to what is tested; a seed decides everything. Each crate's
//! `fuzz` module holds its targets, which `cargo test` runs for a moment and `.ci/fuzz` for as long as one likes.
//!
//! # Layout
//! - this file: the loop, and what it bounds.
//! - [`chance`]: draws that follow from a seed.
//! - [`arbitrary`]: a value of any type that serde can read.
//! - [`mutate`]: bytes that are almost right.
//! - [`allocations`]: what a thread allocates. A program that links this crate counts.

pub mod allocations;
pub mod arbitrary;
pub mod chance;
pub mod mutate;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub use chance::Chance;

/// How many inputs each target gets.
const INPUTS_VARIABLE: &str = "TITAN_FUZZ_INPUTS";
/// The seed of the first; the next ones follow.
const SEED_VARIABLE: &str = "TITAN_FUZZ_SEED";
/// Inputs of each target where nobody says how many.
const USUAL_INPUTS: u64 = 4_000;
/// An input that takes longer than this hangs.
const LONGEST: Duration = Duration::from_secs(20);

/// Makes inputs and feeds them.
///
/// # Panics
/// An input allocates more than `bound` of it at once, in bytes, or makes `feed` panic: its seed is told.
pub fn run<I>(target: &str, make: impl Fn(&mut Chance) -> I, bound: impl Fn(&I) -> usize, feed: impl Fn(I)) {
    let (first, inputs) = (number(SEED_VARIABLE).unwrap_or(0), number(INPUTS_VARIABLE).unwrap_or(USUAL_INPUTS));
    let mut under_way = UnderWay::begin(target, first);
    let begun = Instant::now();
    let mut most_bytes = 0;
    for seed in first..first.saturating_add(inputs) {
        under_way.seed.store(seed, Ordering::Relaxed);
        let input = make(&mut Chance::new(seed));
        let bound_bytes = bound(&input);
        let peak_bytes = allocations::peak_of(|| feed(input));
        assert!(peak_bytes <= bound_bytes, "{peak_bytes} bytes were allocated, and {bound_bytes} are the bound");
        most_bytes = most_bytes.max(peak_bytes);
    }
    under_way.is_over = true;
    let seconds = begun.elapsed().as_secs_f64();
    println!("fuzz: {target}: {inputs} inputs in {seconds:.1} s, at most {} KiB at once", most_bytes >> 10);
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: '{text}' is no number")))
}

/// The input under way: told when it panics or hangs.
struct UnderWay {
    target: String,
    seed: Arc<AtomicU64>,
    is_over: bool,
    stop: Arc<AtomicBool>,
    watchdog: Option<thread::JoinHandle<()>>,
}

impl UnderWay {
    fn begin(target: &str, first: u64) -> Self {
        let (seed, stop) = (Arc::new(AtomicU64::new(first)), Arc::<AtomicBool>::default());
        let (watched, told, name) = (Arc::clone(&seed), Arc::clone(&stop), target.to_owned());
        let watchdog = thread::spawn(move || watch(&name, &watched, &told));
        Self { target: target.to_owned(), seed, is_over: false, stop, watchdog: Some(watchdog) }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.thread().unpark();
            let _ = watchdog.join();
        }
        if !self.is_over {
            tell(&self.target, "fails", self.seed.load(Ordering::Relaxed));
        }
    }
}

fn watch(target: &str, seed: &AtomicU64, stop: &AtomicBool) {
    let mut last = (seed.load(Ordering::Relaxed), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        thread::park_timeout(LONGEST / 4);
        let now = seed.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, Instant::now());
        } else if last.1.elapsed() > LONGEST && !stop.load(Ordering::Relaxed) {
            tell(target, "hangs", now);
            // Nothing else ends a thread.
            std::process::abort();
        }
    }
}

fn tell(target: &str, what: &str, seed: u64) {
    eprintln!("fuzz: {target} {what}; again with: {SEED_VARIABLE}={seed} {INPUTS_VARIABLE}=1");
}
