//! Shares of the floating-point limit: counted iterations of a view against the iteration alone, on one core.

use std::io;
use std::time::Duration;

use kernels::mandelbrot::escape::Simd;
use kernels::measure::{VIEWS, View, limit, rate};

use super::Bench;
use super::figure::{Subject, Target};

/// How long the limit is measured before each run.
const LIMIT_SPAN: Duration = Duration::from_secs(1);

/// How long a view is computed at least in each run.
const VIEW_SPAN: Duration = Duration::from_secs(1);

/// Measures every view with every vector instruction set of this CPU.
pub(super) fn measure(bench: &mut Bench<'_>) -> io::Result<()> {
    for simd in Simd::available().filter(|simd| *simd != Simd::Portable) {
        for view in &VIEWS {
            let subject = Subject {
                section: "kernel",
                name: format!("{} ({}), {}", view.name, view.about, simd.name()),
                unit: "Giter/s",
                bound: "one core's limit".to_owned(),
                target: target(view),
            };
            bench.add(subject, |_| {
                let bound = limit(simd, 1, LIMIT_SPAN);
                Ok((rate(view, simd, VIEW_SPAN) / 1e9, bound / 1e9))
            })?;
        }
    }
    Ok(())
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
