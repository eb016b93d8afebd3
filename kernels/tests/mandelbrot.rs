//! The kernel from options to files, through the traits alone, with results and outputs in memory.

mod in_memory;

use in_memory::Files;
use kernels::mandelbrot::Tiles;
use kernels::mandelbrot::escape::Simd;
use kernels::mandelbrot::params::Params;
use kernels::{Cancel, Compute, ComputeError, Plan, SinkReport};
use std::time::{Duration, Instant};

fn plan(options: &[(&str, &str)], outputs: &[&str]) -> Box<dyn Plan> {
    in_memory::plan("mandelbrot", options, outputs)
}

fn loaded(plan: &dyn Plan) -> Box<dyn Compute> {
    in_memory::loaded("mandelbrot", plan)
}

/// Runs the plan, its tasks arriving in that order; those for which `is_missing` holds never have a result.
fn run(plan: &dyn Plan, order: impl Fn(u32) -> u32, is_missing: impl Fn(u32) -> bool) -> (Files, SinkReport) {
    in_memory::run("mandelbrot", plan, order, is_missing)
}

fn in_order(plan: &dyn Plan) -> (Files, SinkReport) {
    run(plan, |task| task, |_| false)
}

fn file<'a>(files: &'a Files, output: &str) -> &'a [u8] {
    &files[&(output.to_owned(), None)]
}

fn decoded(png: &[u8]) -> image::RgbImage {
    image::load_from_memory_with_format(png, image::ImageFormat::Png).unwrap().into_rgb8()
}

/// The array's elements, after checking its header.
fn counts(npy: &[u8], width: u32, height: u32) -> Vec<u32> {
    assert_eq!(npy[..8], *b"\x93NUMPY\x01\x00");
    let header = 10 + usize::from(u16::from_le_bytes([npy[8], npy[9]]));
    assert_eq!(header % 64, 0);
    let text = std::str::from_utf8(&npy[10..header]).unwrap();
    assert!(text.contains(&format!("'descr': '<u4', 'fortran_order': False, 'shape': ({height}, {width})")), "{text}");
    npy[header..].as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
}

const SMALL: [(&str, &str); 2] = [("size", "150x170"), ("iterations", "200")];

fn small(tiles: &'static str, outputs: &[&str]) -> Box<dyn Plan> {
    plan(&[SMALL[0], SMALL[1], ("tiles", tiles), ("palette", "titan")], outputs)
}

#[test]
fn files_depend_neither_on_tiles_nor_on_their_order() {
    let outputs = ["output", "counts"];
    let (expected, report) = in_order(small("1x1", &outputs).as_ref());
    for tiles in ["1x170", "150x1", "4x4", "7x11", "auto"] {
        let plan = small(tiles, &outputs);
        let last = plan.tasks() - 1;
        assert!(in_order(plan.as_ref()) == (expected.clone(), report.clone()), "{tiles} in order");
        assert!(run(plan.as_ref(), |task| last - task, |_| false).0 == expected, "{tiles} backwards");
        let scattered = |task| if last < 12 { task } else { (u64::from(task) * 7919 % u64::from(last + 1)) as u32 };
        assert!(run(plan.as_ref(), scattered, |_| false).0 == expected, "{tiles} scattered");
    }
}

#[test]
fn the_picture_has_the_colours_of_the_counts() {
    let (files, report) = in_order(small("3x2", &["output", "counts"]).as_ref());
    let counts = counts(file(&files, "counts"), 150, 170);
    let picture = decoded(file(&files, "output"));
    assert_eq!(picture.dimensions(), (150, 170));
    for (pixel, &count) in picture.pixels().zip(&counts) {
        let escaped = [5, 13, 23].map(|factor| (count * factor % 256) as u8);
        assert_eq!(pixel.0, if count == 200 { [0; 3] } else { escaped });
    }
    let iterations = counts.iter().map(|&count| u64::from(count)).sum();
    assert_eq!(report.totals, [("pixels", 150 * 170), ("iterations", iterations)]);
}

#[test]
fn tiles_have_files_of_their_own() {
    let (files, _) = in_order(small("3x2", &["output", "tiles-dir"]).as_ref());
    let picture = decoded(file(&files, "output"));
    assert_eq!(files.len(), 7);
    for (row, column) in (0..2).flat_map(|row| (0..3).map(move |column| (row, column))) {
        let tile = decoded(&files[&("tiles-dir".to_owned(), Some(format!("tile-{row}-{column}.png")))]);
        let part = image::imageops::crop_imm(&picture, column * 50, row * 85, 50, 85).to_image();
        assert!(tile == part, "row {row} column {column}");
    }
}

#[test]
fn a_missing_tile_is_striped_in_the_picture_and_marked_in_the_counts() {
    let plan = small("3x2", &["output", "counts", "tiles-dir"]);
    let (whole, _) = in_order(plan.as_ref());
    let (files, report) = run(plan.as_ref(), |task| 5 - task, |task| task == 4);
    let is_missing = |x: u32, y: u32| (50..100).contains(&x) && y >= 85;
    let (whole_picture, picture) = (decoded(file(&whole, "output")), decoded(file(&files, "output")));
    let whole_counts = counts(file(&whole, "counts"), 150, 170);
    let counts = counts(file(&files, "counts"), 150, 170);
    for (x, y, pixel) in picture.enumerate_pixels() {
        let at = (y * 150 + x) as usize;
        if is_missing(x, y) {
            assert!([[255, 0, 255], [40, 40, 40]].contains(&pixel.0));
            assert_eq!(counts[at], u32::MAX);
        } else {
            assert_eq!((pixel, counts[at]), (whole_picture.get_pixel(x, y), whole_counts[at]));
        }
    }
    assert_eq!(report.totals[0], ("pixels", 150 * 170 - 50 * 85));
    assert!(!files.contains_key(&("tiles-dir".to_owned(), Some("tile-1-1.png".to_owned()))));
}

#[test]
fn a_picture_without_any_tile_is_all_stripes() {
    let (files, report) = run(small("2x2", &["output"]).as_ref(), |task| task, |_| true);
    assert_eq!(decoded(file(&files, "output")).get_pixel(0, 0).0, [255, 0, 255]);
    assert_eq!(report.totals, [("pixels", 0), ("iterations", 0)]);
}

#[test]
fn only_what_is_wanted_is_created() {
    assert_eq!(in_order(small("2x2", &["counts"]).as_ref()).0.len(), 1);
    assert_eq!(in_order(small("2x2", &[]).as_ref()).0.len(), 0);
}

#[test]
fn files_are_within_their_estimates() {
    let outputs = ["output", "counts", "tiles-dir"];
    let plan = plan(&[SMALL[0], ("view", "titan"), ("palette", "titan"), ("tiles", "5x5")], &outputs);
    let (files, _) = in_order(plan.as_ref());
    for (output, most) in plan.output_bytes() {
        let bytes: usize = files.iter().filter(|(key, _)| key.0 == output).map(|(_, file)| file.len()).sum();
        assert!(bytes as u64 <= most, "{output}: {bytes} bytes, {most} estimated");
    }
}

#[test]
fn a_cancelled_task_ends_within_100_ms() {
    // Orbits near -0.75 need billions of steps to settle.
    let options = [("center", "-0.75,0"), ("width", "1e-9"), ("iterations", "4000000000")];
    let plan = plan(&[options[0], options[1], options[2], ("size", "60000x2"), ("tiles", "1x1")], &["output"]);
    for simd in Simd::available() {
        let took = time_to_cancel(&Tiles::new(Params::decode(&plan.params()).unwrap(), simd));
        assert!(took < Duration::from_millis(100), "{simd:?}: {took:?}");
    }
}

/// How long task 0 goes on after it was cancelled.
fn time_to_cancel(compute: &dyn Compute) -> Duration {
    let cancel = Cancel::default();
    let (started, is_started) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let task = scope.spawn(|| {
            started.send(()).unwrap();
            compute.compute(0, &cancel)
        });
        is_started.recv().unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(20) {
            std::thread::yield_now();
        }
        assert!(!task.is_finished());
        cancel.set();
        let set = Instant::now();
        assert_eq!(task.join().unwrap(), Err(ComputeError::Cancelled));
        set.elapsed()
    })
}

#[test]
fn every_instruction_set_gives_the_same_bytes() {
    for (view, palette) in [("titan", "ultra"), ("full", "twilight"), ("spiral", "titan")] {
        let options = [("view", view), ("palette", palette), ("size", "97x61"), ("tiles", "1x1")];
        let params = Params::decode(&plan(&options, &["output", "counts"]).params()).unwrap();
        let bytes = |simd| Tiles::new(params.clone(), simd).compute(0, &Cancel::default()).unwrap();
        let portable = bytes(Simd::Portable);
        assert!(Simd::available().all(|simd| bytes(simd) == portable), "{view} {palette}");
    }
}

#[test]
fn tasks_outside_the_plan_and_foreign_parameters_are_refused() {
    let plan = small("2x2", &["output"]);
    assert_eq!(
        loaded(plan.as_ref()).compute(4, &Cancel::default()),
        Err(ComputeError::NoSuchTask { task: 4, tasks: 4 })
    );
    let refused = kernels::find("mandelbrot").unwrap().load(b"something else");
    assert!(matches!(refused.err(), Some(ComputeError::BadParams { .. })));
}

#[test]
fn results_fit_the_memory_that_is_asked_for() {
    let plan = small("7x3", &["output", "counts"]);
    assert!((0..plan.tasks()).all(|task| plan.result_bytes(task) < plan.task_memory_bytes()));
}
