//! Shares of the floating-point limit: counted iterations of a view against the iteration alone, on one core.

use std::convert::Infallible;
use std::time::Duration;

use kernels::mandelbrot::escape::Simd;
use kernels::measure::{VIEWS, View, limit, rate};

use super::Bench;
use super::figure::{Figure, Target};
use super::samples::Samples;

/// How long the limit is measured before each run.
const LIMIT_SPAN: Duration = Duration::from_millis(400);

/// Measures every view with every vector instruction set of this CPU.
pub(super) fn measure(bench: &mut Bench<'_>) {
    for simd in Simd::available().filter(|simd| *simd != Simd::Portable) {
        for view in &VIEWS {
            let figure = share(view, simd, bench.args.runs);
            bench.add(figure);
        }
    }
}

fn share(view: &View, simd: Simd, runs: u32) -> Figure {
    let (mut rates, mut limits) = (Vec::new(), Vec::new());
    let measured = Samples::take(runs, || -> Result<f64, Infallible> {
        let bound = limit(simd, 1, LIMIT_SPAN);
        let rate = rate(view, simd);
        limits.push(bound / 1e9);
        rates.push(rate / 1e9);
        Ok(rate / bound)
    });
    let Ok(ratio) = measured;
    Figure {
        section: "kernel",
        name: format!("{} ({}), {}", view.name, view.about, simd.name()),
        measured: Samples::new(rates).median(),
        unit: "Giter/s",
        bound: "one core's limit".to_owned(),
        bound_value: Samples::new(limits).median(),
        ratio,
        target: target(view),
    }
}

fn target(view: &View) -> Target {
    match view.name {
        "A" => Target::AtLeast(0.65, 0.80),
        "B" => Target::AtLeast(1.3, 1.8),
        "C" => Target::AtLeast(0.80, 0.90),
        "D" => Target::AtLeast(0.50, 0.65),
        _ => Target::Told,
    }
}
