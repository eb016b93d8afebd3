//! The kernel and the encoder, alone on one core: `cargo bench -p kernels`. `titan bench kernel` has the limit beside it.

use std::time::Duration;

use divan::Bencher;
use divan::counter::BytesCount;

use kernels::mandelbrot::escape::Simd;
use kernels::measure::{Picture, VIEWS, View, rate};

fn main() {
    divan::main();
}

/// A quarter of the pixels across and down: enough for a rate.
fn small(view: View) -> View {
    View { side: view.side / 4, ..view }
}

fn sets() -> impl Iterator<Item = &'static str> {
    Simd::available().map(Simd::name)
}

fn named(name: &str) -> Simd {
    Simd::available().find(|simd| simd.name() == name).expect("it is one of them")
}

#[divan::bench(args = sets(), sample_count = 5)]
fn a_valley(set: &str) -> f64 {
    rate(&small(VIEWS[0]), named(set), Duration::ZERO)
}

#[divan::bench(args = sets(), sample_count = 5)]
fn the_whole_set(set: &str) -> f64 {
    rate(&small(VIEWS[1]), named(set), Duration::ZERO)
}

#[divan::bench(args = ["titan", "full"], sample_count = 5)]
fn png(bencher: Bencher<'_, '_>, view: &str) {
    let side = 1024;
    let picture = Picture::of(view, side).expect("there is such a view");
    bencher.counter(BytesCount::new(side * side * 3)).bench(|| picture.encode().expect("memory takes it"));
}
