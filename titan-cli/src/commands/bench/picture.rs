//! A whole picture by one command, against its iterations at the limit of all cores; and what encoding it takes.

use std::io;
use std::time::Duration;

use kernels::mandelbrot::escape::Simd;
use kernels::measure::{self, Picture};

use super::Bench;
use super::figure::{Subject, Target};

/// How long the limit of all cores is measured before each run.
const LIMIT_SPAN: Duration = Duration::from_secs(1);

/// Pixels across and down of the pictures that are encoded.
const SIDE: u32 = 4096;

const TITAN: &[&str] = &["--view", "titan"];
const DEEP: &[&str] = &[
    "--center",
    "-0.743643887037151,0.131825904205330",
    "--width",
    "5.1299e-8",
    "--size",
    "2048x2048",
    "--iterations",
    "20000",
];

pub(super) fn measure(bench: &mut Bench<'_>) -> io::Result<()> {
    command(bench, "--view titan, 4096 × 4096, one PNG", TITAN, Target::AtMost(2.0, 1.5))?;
    command(bench, "view C, 2048 × 2048, one PNG", DEEP, Target::AtMost(1.35, 1.2))?;
    encoding(bench, "titan")?;
    encoding(bench, "full")
}

fn command(bench: &mut Bench<'_>, name: &str, words: &[&str], target: Target) -> io::Result<()> {
    let mut all = vec!["run", "mandelbrot", "-o", "picture.png"];
    all.extend(words);
    let bound = "its iterations at all cores' limit".to_owned();
    bench.add(Subject { section: "picture", name: name.to_owned(), unit: "s", bound, target }, |runner| {
        let limit = measure::limit(Simd::chosen(), Bench::cores(), LIMIT_SPAN);
        let (ran, summary) = runner.summary(&all)?;
        let iterations = summary["totals"]["iterations"].as_u64().unwrap_or(0);
        Ok((ran.seconds, iterations as f64 / limit))
    })
}

fn encoding(bench: &mut Bench<'_>, view: &str) -> io::Result<()> {
    let picture = Picture::of(view, SIDE).ok_or_else(|| io::Error::other(format!("there is no view '{view}'")))?;
    let subject = |name, unit, target| Subject {
        section: "picture",
        name,
        unit,
        bound: "the image crate's default".to_owned(),
        target,
    };
    let mut bytes = (0.0, 0.0);
    bench.add(subject(format!("PNG of view {view}, one core"), "MB/s", Target::Told), |_| {
        let (ours, theirs) = (picture.encode()?, picture.encode_by_image()?);
        bytes = (ours.bytes as f64 / 1e6, theirs.bytes as f64 / 1e6);
        Ok((ours.rate / 1e6, theirs.rate / 1e6))
    })?;
    bench.add(subject(format!("size of that PNG ({view})"), "MB", Target::AtMost(1.15, 1.0)), |_| Ok(bytes))
}
