//! What a decision of the manager costs, from ten workers to ten thousand and from ten thousand tasks to a million: the real manager,
//! workers that are numbers, and time that is counted.
//!
//! `cargo bench -p titan-tests --bench growth [-- ../docs/growth.svg]`: a table on stdout, and the plot of docs/performance.md. Each batch is a
//! process of its own, so that its memory is its own.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use titan_manager::{Capacity, Config, Effect, Event, HostId, JobSpec, Manager, WorkerId};
use titan_proto::id::AttemptId;
use titan_proto::message::{Outcome, ResultSummary, ToAgent, ToManager, Work};
use titan_proto::time::Timestamp;

const WORKERS: [u32; 4] = [10, 100, 1_000, 10_000];
const TASKS: [u32; 3] = [10_000, 100_000, 1_000_000];
/// The word that makes it measure one batch, and say only that.
const ALONE: &str = "alone";
/// Of each worker.
const SLOTS: u32 = 4;

/// What a whole batch came to.
struct Cost {
    workers: u32,
    tasks: u32,
    /// Of the manager, for each event that reaches it.
    mean: Duration,
    /// What none but one in a thousand takes longer than.
    slowest: Duration,
    /// Of the process, for each task, when half of them are done.
    bytes_per_task: f64,
}

/// A worker: its slots, and what waits for one.
#[derive(Default)]
struct Modelled {
    running: u32,
    queue: VecDeque<AttemptId>,
}

/// The manager, its workers, and what they are about to say.
struct World {
    manager: Manager,
    now: Timestamp,
    workers: Vec<Modelled>,
    /// When attempts end: at, worker, attempt.
    ends: BinaryHeap<Reverse<(Timestamp, u32, AttemptId)>>,
    said: VecDeque<(u32, ToManager)>,
    spans: Vec<u32>,
    completed: u32,
    is_over: bool,
}

fn main() {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [ALONE, workers, tasks] = &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        let number = |word: &str| word.parse().expect("it is given numbers");
        println!("{}", measure(number(workers), number(tasks)).line());
        return;
    }
    let mut costs = Vec::new();
    println!("| workers | tasks | mean of an event | 999 of 1,000 events | memory for a task, half way |");
    println!("|---|---|---|---|---|");
    for tasks in TASKS {
        for workers in WORKERS {
            let cost = measure_alone(workers, tasks);
            println!(
                "| {workers} | {tasks} | {:.2} µs | {:.1} µs | {:.0} bytes |",
                micros(cost.mean),
                micros(cost.slowest),
                cost.bytes_per_task
            );
            costs.push(cost);
        }
    }
    if let Some(file) = words.first() {
        fs::write(file, plot(&costs)).expect("the plot can be written");
    }
}

/// In another process.
fn measure_alone(workers: u32, tasks: u32) -> Cost {
    let mut command = Command::new(env::current_exe().expect("a program knows itself"));
    let output = command.args([ALONE, &workers.to_string(), &tasks.to_string()]).output().expect("it can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = said.split_whitespace().map(|word| word.parse().expect("it tells numbers")).collect();
    let span = |nanos: f64| Duration::from_nanos(nanos as u64);
    Cost { workers, tasks, mean: span(numbers[0]), slowest: span(numbers[1]), bytes_per_task: numbers[2] }
}

impl Cost {
    /// As one process tells it to another.
    fn line(&self) -> String {
        format!("{} {} {}", self.mean.as_nanos(), self.slowest.as_nanos(), self.bytes_per_task)
    }
}

fn measure(workers: u32, tasks: u32) -> Cost {
    let before = resident_bytes();
    let mut world = World::new(workers, tasks);
    let mut half = 0;
    while !world.is_over {
        world.step();
        if half == 0 && world.completed >= tasks / 2 {
            // What measuring itself has taken doesn't count.
            let of_measuring = size_of_val(world.spans.as_slice()) as u64;
            half = resident_bytes().saturating_sub(before + of_measuring);
        }
    }
    assert_eq!(world.completed, tasks);
    let mean = world.spans.iter().map(|&nanos| u64::from(nanos)).sum::<u64>() / world.spans.len() as u64;
    world.spans.sort_unstable();
    let slowest = world.spans[world.spans.len() * 999 / 1000];
    Cost {
        workers,
        tasks,
        mean: Duration::from_nanos(mean),
        slowest: Duration::from_nanos(slowest.into()),
        bytes_per_task: half as f64 / f64::from(tasks),
    }
}

impl World {
    fn new(workers: u32, tasks: u32) -> Self {
        let mut world = Self {
            manager: Manager::new(Config::default()),
            now: Timestamp::default(),
            workers: (0..workers).map(|_| Modelled::default()).collect(),
            ends: BinaryHeap::new(),
            said: VecDeque::new(),
            spans: Vec::with_capacity(tasks as usize * 3),
            completed: 0,
            is_over: false,
        };
        for number in 0..workers {
            world.handle(Event::HostStarting { host: HostId(number) });
        }
        let capacity = Capacity { slots: SLOTS, cores: SLOTS, memory_bytes: 16 << 30, ..Capacity::default() };
        for number in 0..workers {
            let (host, worker) = (HostId(number), WorkerId(number));
            let capacity = capacity.clone();
            world.handle(Event::WorkerJoined { host, worker, capacity, is_alone: true, held: Vec::new() });
        }
        world.handle(Event::Submit(vec![job(tasks)]));
        world
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        let start = Instant::now();
        self.manager.handle(self.now, event, &mut effects);
        self.spans.push(start.elapsed().as_nanos().min(u32::MAX.into()) as u32);
        for effect in effects {
            match effect {
                Effect::Send { worker, message } => self.tell(worker.0, &message),
                Effect::Finished(_) => self.is_over = true,
                _ => {}
            }
        }
    }

    fn tell(&mut self, worker: u32, message: &ToAgent) {
        let modelled = &mut self.workers[worker as usize];
        match *message {
            ToAgent::Start { attempt, .. } => {
                modelled.queue.push_back(attempt);
                self.run(worker);
            }
            ToAgent::Recall { attempt } => {
                let waits = modelled.queue.iter().position(|waiting| *waiting == attempt);
                self.said.push_back(match waits {
                    Some(place) => {
                        modelled.queue.remove(place);
                        (worker, ToManager::Recalled { attempt })
                    }
                    None => (worker, ToManager::AlreadyStarted { attempt }),
                });
            }
            _ => {}
        }
    }

    /// Fills the slots. Tasks take a second, more or less.
    fn run(&mut self, worker: u32) {
        let modelled = &mut self.workers[worker as usize];
        while modelled.running < SLOTS {
            let Some(attempt) = modelled.queue.pop_front() else { return };
            modelled.running += 1;
            let uneven = u64::from(attempt.number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
            self.ends.push(Reverse((self.now + Duration::from_millis(500 + uneven), worker, attempt)));
            self.said.push_back((worker, ToManager::Started { attempt }));
        }
    }

    /// One more event.
    fn step(&mut self) {
        if let Some((worker, message)) = self.said.pop_front() {
            self.handle(Event::Message { worker: WorkerId(worker), message });
            return;
        }
        let Reverse((at, worker, attempt)) = self.ends.pop().expect("as long as it isn't over, something runs");
        self.now = at;
        self.completed += 1;
        self.workers[worker as usize].running -= 1;
        let summary = ResultSummary { bytes: 0, crc: 0, compute_us: 1_000_000 };
        let message = ToManager::Finished { attempt, outcome: Outcome::Completed(summary), process: None };
        self.run(worker);
        self.said.push_back((worker, message));
    }
}

fn job(tasks: u32) -> JobSpec {
    let work = Work::Kernel { name: "noop".to_owned(), params: Vec::new(), timeout_ms: 0 };
    JobSpec::new("noop", work, tasks)
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

/// Memory that this process has.
fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * rustix::param::page_size() as u64
}

/// The mean of an event over the number of workers, one line for each number of tasks; both axes are logarithmic.
fn plot(costs: &[Cost]) -> String {
    const COLOURS: [&str; 3] = ["#888888", "#c0672b", "#2b6cc0"];
    let x = |workers: u32| 70.0 + (f64::from(workers).log10() - 1.0) * 150.0;
    let y = |micros: f64| 220.0 - (micros.max(0.1).log10() + 1.0) * 60.0;
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 270\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"640\" height=\"270\" fill=\"white\"/>\n",
    );
    for (value, label) in [(0.1, "0.1 µs"), (1.0, "1 µs"), (10.0, "10 µs"), (100.0, "100 µs")] {
        let at = y(value);
        let _ = writeln!(svg, "<line x1=\"70\" x2=\"520\" y1=\"{at}\" y2=\"{at}\" stroke=\"#dddddd\"/>");
        let _ = writeln!(svg, "<text x=\"62\" y=\"{}\" text-anchor=\"end\">{label}</text>", at + 4.0);
    }
    for workers in WORKERS {
        let _ = writeln!(svg, "<text x=\"{}\" y=\"240\" text-anchor=\"middle\">{workers}</text>", x(workers));
    }
    svg += "<text x=\"295\" y=\"260\" text-anchor=\"middle\">workers; mean time of the manager for one event</text>\n";
    for (&tasks, colour) in TASKS.iter().zip(COLOURS) {
        let line: Vec<&Cost> = costs.iter().filter(|cost| cost.tasks == tasks).collect();
        let points: String = line.iter().fold(String::new(), |mut points, cost| {
            let _ = write!(points, "{:.1},{:.1} ", x(cost.workers), y(micros(cost.mean)));
            points
        });
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.trim()
        );
        let place = TASKS.iter().position(|other| *other == tasks).unwrap_or_default() as f64;
        let _ = writeln!(svg, "<text x=\"530\" y=\"{}\" fill=\"{colour}\">{tasks} tasks</text>", 80.0 + place * 18.0);
    }
    svg + "</svg>\n"
}
