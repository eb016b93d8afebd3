//! A whole picture by one command, against its iterations at the limit of all cores; and what encoding it takes.

use std::io;
use std::time::Duration;

use kernels::mandelbrot::escape::Simd;
use kernels::measure::{self, Picture};

use super::Bench;
use super::figure::{Figure, Target};
use super::samples::Samples;

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
    let (mut seconds, mut bounds) = (Vec::new(), Vec::new());
    let mut all = vec!["run", "mandelbrot", "-o", "picture.png"];
    all.extend(words);
    let ratio = Samples::take(bench.args.runs, || {
        let limit = measure::limit(Simd::chosen(), Bench::cores(), LIMIT_SPAN);
        let (ran, summary) = bench.runner.summary(&all)?;
        let iterations = summary["totals"]["iterations"].as_u64().unwrap_or(0);
        seconds.push(ran.seconds);
        bounds.push(iterations as f64 / limit);
        io::Result::Ok(ran.seconds / (iterations as f64 / limit))
    })?;
    bench.add(Figure {
        section: "picture",
        name: name.to_owned(),
        measured: Samples::new(seconds).median(),
        unit: "s",
        bound: "its iterations at all cores' limit".to_owned(),
        bound_value: Samples::new(bounds).median(),
        ratio,
        target,
    });
    Ok(())
}

fn encoding(bench: &mut Bench<'_>, view: &str) -> io::Result<()> {
    let picture = Picture::of(view, SIDE).ok_or_else(|| io::Error::other(format!("there is no view '{view}'")))?;
    let (mut rates, mut their_rates, mut bytes) = (Vec::new(), Vec::new(), (0, 0));
    let ratio = Samples::take(bench.args.runs, || {
        let (ours, theirs) = (picture.encode()?, picture.encode_by_image()?);
        rates.push(ours.rate / 1e6);
        their_rates.push(theirs.rate / 1e6);
        bytes = (ours.bytes, theirs.bytes);
        io::Result::Ok(ours.rate / theirs.rate)
    })?;
    bench.add(Figure {
        section: "picture",
        name: format!("PNG of view {view}, one core"),
        measured: Samples::new(rates).median(),
        unit: "MB/s",
        bound: "the image crate's default".to_owned(),
        bound_value: Samples::new(their_rates).median(),
        ratio,
        target: Target::Told,
    });
    let size = bytes.0 as f64 / bytes.1 as f64;
    bench.add(Figure {
        section: "picture",
        name: format!("size of that PNG ({view})"),
        measured: bytes.0 as f64 / 1e6,
        unit: "MB",
        bound: "the image crate's default".to_owned(),
        bound_value: bytes.1 as f64 / 1e6,
        ratio: Samples::new(vec![size]),
        target: Target::AtMost(1.15, 1.0),
    });
    Ok(())
}
