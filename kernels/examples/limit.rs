//! How near the kernel comes to what a core's floating-point units can do: `cargo run --release -p kernels --example
//! limit`.
//!
//! The limit is the iteration alone on independent vectors, three fused operations and an addition for each step,
//! with no escape test. Shares are the kernel's counted iterations by the clock against that. The picture's encoding
//! is measured too.

use kernels::mandelbrot::Tiles;
use kernels::mandelbrot::escape::{Simd, bare_iterations};
use kernels::mandelbrot::params::Params;
use kernels::picture::png::{self, Band, PngWriter};
use kernels::{Cancel, Compute, Plan, Request};
use std::time::{Duration, Instant};

/// How long the limit is measured.
const LIMIT_TIME: Duration = Duration::from_millis(1200);

/// Steps between two looks at the clock.
const STEPS_PER_LOOK: u32 = 1 << 20;

/// Times that a view is computed; the fastest counts, because others use the machine too.
const RUNS: u32 = 3;

const VIEWS: [&str; 2] = ["titan", "full"];
const SIZE: u32 = 4096;

fn main() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let limit = limit_giters(Simd::chosen(), cores);
    println!("limit on {cores} cores at once: {limit:.2} Giter/s ({})", Simd::chosen().name());
    println!(
        "{:10}{:>16}{:>16}{:>10}{:>8}{:>16}{:>10}",
        "set", "limit Giter/s", "view", "Giter/s", "share", "mean count", "seconds"
    );
    for simd in Simd::available().filter(|simd| *simd != Simd::Portable) {
        let limit = limit_giters(simd, 1);
        for view in VIEWS {
            print_share(simd, limit, view);
        }
    }
    for view in VIEWS {
        print_encoding(view);
    }
}

/// Billions of iterations a second of that many threads together.
fn limit_giters(simd: Simd, threads: usize) -> f64 {
    let rates = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| bare_rate(simd))).collect();
        threads.into_iter().map(|thread| thread.join().expect("the loop doesn't panic")).sum::<f64>()
    });
    rates / 1e9
}

/// Iterations a second of the calling thread.
fn bare_rate(simd: Simd) -> f64 {
    let start = Instant::now();
    let mut iterations = 0;
    while start.elapsed() < LIMIT_TIME {
        iterations += bare_iterations(simd, STEPS_PER_LOOK);
    }
    iterations as f64 / start.elapsed().as_secs_f64()
}

fn print_share(simd: Simd, limit: f64, view: &str) {
    let (plan, params) = plan(view);
    let tiles = Tiles::new(params, simd);
    let runs: Vec<(u64, f64)> = (0..RUNS).map(|_| timed(&tiles, plan.tasks())).collect();
    let iterations = runs[0].0;
    let seconds = runs.iter().map(|run| run.1).fold(f64::INFINITY, f64::min);
    let rate = iterations as f64 / seconds / 1e9;
    let mean = iterations as f64 / f64::from(SIZE).powi(2);
    println!("{:10}{limit:16.2}{view:>16}{rate:10.2}{:8.2}{mean:16.1}{seconds:10.3}", simd.name(), rate / limit);
}

/// Computes every tile: iterations and seconds.
fn timed(tiles: &Tiles, tasks: u32) -> (u64, f64) {
    let start = Instant::now();
    let iterations = (0..tasks).map(|task| iterations_of(&compute(tiles, task))).sum();
    (iterations, start.elapsed().as_secs_f64())
}

fn plan(view: &str) -> (Box<dyn Plan>, Params) {
    let options = [("view".to_owned(), view.to_owned()), ("size".to_owned(), format!("{SIZE}x{SIZE}"))];
    let request = Request { options: options.into(), slots: 2, ..Request::default() };
    let kernel = kernels::find("mandelbrot").expect("it is built in");
    let plan = kernel.plan(&request).expect("the options are good");
    let params = Params::decode(&plan.params()).expect("a plan's parameters can be read");
    (plan, params)
}

fn compute(tiles: &Tiles, task: u32) -> Vec<u8> {
    tiles.compute(task, &Cancel::default()).expect("nobody cancels")
}

fn iterations_of(result: &[u8]) -> u64 {
    u64::from_le_bytes(*result.first_chunk().expect("a result has a header"))
}

/// Encodes a view on one core, as the sink does and as the `image` crate does unless told otherwise.
fn print_encoding(view: &str) {
    let (_, mut params) = plan(view);
    params.tiling.tiles = (1, 1);
    let rgb = compute(&Tiles::new(params, Simd::chosen()), 0).split_off(8);
    let start = Instant::now();
    let bytes = encode(&rgb);
    let rate = rgb.len() as f64 / start.elapsed().as_secs_f64() / 1e6;
    let start = Instant::now();
    let theirs = encode_by_image(&rgb);
    let their_rate = rgb.len() as f64 / start.elapsed().as_secs_f64() / 1e6;
    println!(
        "png {view}: {bytes} bytes at {rate:.0} MB/s a core; \
         image's default: {theirs} bytes at {their_rate:.0} MB/s; ratio {:.3}",
        bytes as f64 / theirs as f64
    );
}

fn encode(rgb: &[u8]) -> usize {
    let row_bytes = SIZE as usize * 3;
    let zeros = vec![0; row_bytes];
    let band_bytes = row_bytes * png::band_rows(SIZE) as usize;
    let mut file = Vec::new();
    let mut writer = PngWriter::new(&mut file, (SIZE, SIZE)).expect("memory can be written");
    for (number, band) in rgb.chunks(band_bytes).enumerate() {
        let above = if number == 0 { &zeros } else { &rgb[number * band_bytes - row_bytes..number * band_bytes] };
        writer.write_bands(&[Band { rgb: band, above }]).expect("memory can be written");
    }
    writer.finish().expect("memory can be written");
    file.len()
}

fn encode_by_image(rgb: &[u8]) -> usize {
    use image::ImageEncoder;
    let mut file = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut file);
    encoder.write_image(rgb, SIZE, SIZE, image::ExtendedColorType::Rgb8).expect("memory can be written");
    file.len()
}
