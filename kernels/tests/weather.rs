//! The kernel from options to files, through the traits alone, with results and outputs in memory.

mod in_memory;

use in_memory::Files;
use kernels::{Cancel, ComputeError, Plan, SinkReport};
use std::time::{Duration, Instant};

/// Columns and rows of the small grid.
const GRID: (usize, usize) = (40, 24);

fn plan(options: &[(&str, &str)]) -> Box<dyn Plan> {
    in_memory::plan("weather", options, &["output"])
}

fn small(perturb: &str) -> Box<dyn Plan> {
    plan(&[("members", "7"), ("grid", "40x24"), ("steps", "30"), ("perturb", perturb)])
}

fn run(plan: &dyn Plan, order: impl Fn(u32) -> u32, is_missing: impl Fn(u32) -> bool) -> (Files, SinkReport) {
    in_memory::run("weather", plan, order, is_missing)
}

fn in_order(plan: &dyn Plan) -> Files {
    run(plan, |task| task, |_| false).0
}

fn file<'a>(files: &'a Files, name: &str) -> &'a [u8] {
    &files[&("output".to_owned(), Some(name.to_owned()))]
}

fn floats(bytes: &[u8]) -> Vec<f64> {
    bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}

/// The numbers of an array as long as the grid, after checking its header.
fn array(files: &Files, name: &str) -> Vec<f64> {
    let npy = file(files, name);
    let dictionary = "{'descr': '<f8', 'fortran_order': False, 'shape': (24, 40), }";
    let padded = format!("{dictionary:<117}\n");
    assert_eq!(npy[..10], *b"\x93NUMPY\x01\x00\x76\x00");
    assert_eq!(std::str::from_utf8(&npy[10..128]).unwrap(), padded);
    assert_eq!(npy.len(), 128 + GRID.0 * GRID.1 * 8);
    floats(&npy[128..])
}

#[test]
fn four_files_are_written_with_the_shape_of_the_grid() {
    let files = in_order(small("0.1").as_ref());
    let names: Vec<&str> = files.keys().map(|(_, name)| name.as_deref().unwrap()).collect();
    assert_eq!(names, ["mean.npy", "mean.png", "spread.npy", "spread.png"]);
    for name in ["mean.png", "spread.png"] {
        let picture = image::load_from_memory_with_format(file(&files, name), image::ImageFormat::Png).unwrap();
        assert_eq!((picture.width() as usize, picture.height() as usize), GRID);
        let rgb = picture.into_rgb8();
        assert!(rgb.pixels().any(|pixel| pixel != rgb.get_pixel(0, 0)), "{name} shows something");
    }
}

#[test]
fn mean_and_spread_are_those_of_the_members() {
    let plan = small("0.1");
    let compute = in_memory::loaded("weather", plan.as_ref());
    let members: Vec<Vec<f64>> =
        (0..7).map(|member| floats(&compute.compute(member, &Cancel::default()).unwrap())).collect();
    let files = in_order(plan.as_ref());
    let (mean, spread) = (array(&files, "mean.npy"), array(&files, "spread.npy"));
    for cell in 0..GRID.0 * GRID.1 {
        let values: Vec<f64> = members.iter().map(|member| member[cell]).collect();
        let expected = values.iter().sum::<f64>() / 7.0;
        let variance = values.iter().map(|value| (value - expected).powi(2)).sum::<f64>() / 7.0;
        assert!((mean[cell] - expected).abs() < 1e-13, "{} is not {expected}", mean[cell]);
        assert!((spread[cell] - variance.sqrt()).abs() < 1e-13, "{} is not {}", spread[cell], variance.sqrt());
        assert!(spread[cell] > 0.0);
    }
}

#[test]
fn files_do_not_depend_on_the_order_in_which_members_come() {
    let plan = small("0.1");
    let expected = in_order(plan.as_ref());
    assert!(run(plan.as_ref(), |task| 6 - task, |_| false).0 == expected, "backwards");
    assert!(run(plan.as_ref(), |task| task * 3 % 7, |_| false).0 == expected, "scattered");
}

#[test]
fn without_perturbation_there_is_no_spread() {
    let files = in_order(small("0").as_ref());
    assert!(array(&files, "spread.npy").iter().all(|&spread| spread.to_bits() == 0));
    let compute = in_memory::loaded("weather", small("0").as_ref());
    assert_eq!(array(&files, "mean.npy"), floats(&compute.compute(4, &Cancel::default()).unwrap()));
}

#[test]
fn a_missing_member_is_left_out() {
    let plan = small("0.1");
    let (files, report) = run(plan.as_ref(), |task| 6 - task, |task| task == 6);
    let fewer = in_memory::plan(
        "weather",
        &[("members", "6"), ("grid", "40x24"), ("steps", "30"), ("perturb", "0.1")],
        &["output"],
    );
    assert!(files == in_order(fewer.as_ref()));
    assert_eq!(report.totals, [("members", 6), ("updates", 6 * 30 * 40 * 24)]);
}

#[test]
fn an_ensemble_without_any_member_is_no_number() {
    let (files, report) = run(small("0.1").as_ref(), |task| task, |_| true);
    assert!(array(&files, "mean.npy").iter().chain(&array(&files, "spread.npy")).all(|value| value.is_nan()));
    assert_eq!(report.totals, [("members", 0), ("updates", 0)]);
}

#[test]
fn files_larger_than_what_is_read_at_once_are_whole() {
    let plan = plan(&[("members", "1"), ("grid", "500x300"), ("steps", "1")]);
    let files = in_order(plan.as_ref());
    let result = in_memory::loaded("weather", plan.as_ref()).compute(0, &Cancel::default()).unwrap();
    assert!(file(&files, "mean.npy")[128..] == result);
    for (output, most) in plan.output_bytes() {
        let bytes: usize = files.iter().filter(|(key, _)| key.0 == output).map(|(_, file)| file.len()).sum();
        assert!(bytes as u64 <= most, "{output}: {bytes} bytes, {most} estimated");
    }
}

#[test]
fn a_cancelled_member_ends_within_100_ms_on_the_largest_grid() {
    let plan = plan(&[("members", "1"), ("grid", "4096x4096"), ("steps", "1000000")]);
    let compute = in_memory::loaded("weather", plan.as_ref());
    for delay_ms in [20, 700] {
        let cancel = Cancel::default();
        let took = std::thread::scope(|scope| {
            let task = scope.spawn(|| compute.compute(0, &cancel));
            std::thread::sleep(Duration::from_millis(delay_ms));
            assert!(!task.is_finished());
            cancel.set();
            let set = Instant::now();
            assert_eq!(task.join().unwrap(), Err(ComputeError::Cancelled));
            set.elapsed()
        });
        assert!(took < Duration::from_millis(100), "{took:?} after {delay_ms} ms");
    }
}

#[test]
fn foreign_parameters_are_refused() {
    let refused = kernels::find("weather").unwrap().load(b"something else");
    assert!(matches!(refused.err(), Some(ComputeError::BadParams { .. })));
}
