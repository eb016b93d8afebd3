//! What a member has to be, whatever else changes.

use super::*;
use params::tests::small;

/// The depths of a member.
fn member(params: &Params, number: u32) -> Vec<f64> {
    member_with(Simd::chosen(), params, number)
}

fn member_with(simd: Simd, params: &Params, number: u32) -> Vec<f64> {
    let result = Members { params: params.clone(), simd }.compute(number, &Cancel::default()).unwrap();
    assert_eq!(result.len() as u64, params.result_bytes());
    result.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}

/// The sum, with what rounding took away (Neumaier): as exact as the sea that it measures.
fn mass(depths: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0f64, 0.0);
    for &depth in depths {
        let next = sum + depth;
        lost += if sum.abs() >= depth.abs() { (sum - next) + depth } else { (depth - next) + sum };
        sum = next;
    }
    sum + lost
}

fn bits(depths: &[f64]) -> Vec<u64> {
    depths.iter().map(|depth| depth.to_bits()).collect()
}

#[test]
fn water_is_neither_made_nor_lost_in_a_thousand_steps() {
    for (grid, perturb) in [((32, 32), 0.01), ((40, 24), 0.5), ((8, 31), 0.0)] {
        let params = Params { grid, steps: 1000, perturb, ..small() };
        let before = mass(&member(&Params { steps: 0, ..params.clone() }, 1));
        let after = mass(&member(&params, 1));
        assert!(((after - before) / before).abs() < 1e-12, "{before} became {after} on {grid:?}");
    }
}

#[test]
fn the_same_parameters_give_the_same_bits_and_these_are_known() {
    let depths = member(&small(), 1);
    assert_eq!(bits(&depths), bits(&member(&small(), 1)));
    let bytes: Vec<u8> = depths.iter().flat_map(|depth| depth.to_le_bytes()).collect();
    assert_eq!(crc32fast::hash(&bytes), 2_434_592_659);
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    for grid in [(24, 16), (33, 9), (8, 8)] {
        let params = Params { grid, ..small() };
        let portable = bits(&member_with(Simd::Portable, &params, 0));
        for simd in Simd::available() {
            assert_eq!(bits(&member_with(simd, &params, 0)), portable, "{}", simd.name());
        }
    }
}

#[test]
fn members_and_seeds_differ() {
    let first = member(&small(), 0);
    assert_ne!(first, member(&small(), 1));
    assert_ne!(first, member(&Params { seed: 8, ..small() }, 0));
}

#[test]
fn without_perturbation_all_members_are_one() {
    let params = Params { perturb: 0.0, ..small() };
    assert_eq!(bits(&member(&params, 0)), bits(&member(&params, 2)));
}

/// A sea that begins with these depths, after so many steps.
fn sea(params: &Params, depth: impl Fn(usize, usize) -> f64, steps: u32) -> Vec<f64> {
    let mut model = Model::new(params, 0, &Cancel::default()).unwrap();
    model.set_depths(depth);
    for step in 0..steps {
        model.step(step, Simd::chosen(), &Cancel::default()).unwrap();
    }
    model.into_depths()
}

#[test]
fn still_water_stays_still() {
    assert!(sea(&small(), |_, _| 1.0, 100).iter().all(|&depth| depth == 1.0));
}

#[test]
fn a_low_wave_swings_as_theory_says_in_both_directions() {
    // A cosine of wave number k from rest is (f² + k² cos ωt) / ω² times itself, where ω² = f² + k² (Vallis, Atmospheric
    // and Oceanic Fluid Dynamics, 2017, ch. 3).
    let params = Params { grid: (64, 64), ..small() };
    let (k, f) = (2.0 * std::f64::consts::PI, model::CORIOLIS);
    let omega = (f * f + k * k).sqrt();
    let shape = |i: usize| (k * (i as f64 + 0.5) / 64.0).cos();
    for steps in [20, 57, 100] {
        let time = f64::from(steps) * model::step_length(&params);
        let expected = (f * f + k * k * (omega * time).cos()) / (omega * omega);
        let along_rows = sea(&params, |column, _| 1.0 + 1e-4 * shape(column), steps);
        let along_columns = sea(&params, |_, row| 1.0 + 1e-4 * shape(row), steps);
        let share = |depth: f64, i: usize| (depth - 1.0) * shape(i) / (1e-4 * 32.0 * 64.0);
        let of_rows: f64 = along_rows.iter().enumerate().map(|(cell, &depth)| share(depth, cell % 64)).sum();
        let of_columns: f64 = along_columns.iter().enumerate().map(|(cell, &depth)| share(depth, cell / 64)).sum();
        assert!((of_rows - expected).abs() < 0.02, "{of_rows} and not {expected} after {steps} steps");
        assert!((of_columns - expected).abs() < 0.02, "{of_columns} and not {expected} after {steps} steps");
    }
}

#[test]
fn waves_go_on_without_ever_growing() {
    let grid = (64, 64);
    let start = member(&Params { steps: 0, grid, ..small() }, 0);
    let later = member(&Params { steps: 400, grid, ..small() }, 0);
    let range = |depths: &[f64]| depths.iter().fold((f64::MAX, 0.0f64), |(low, high), &d| (low.min(d), high.max(d)));
    let ((_, highest), (low, high)) = (range(&start), range(&later));
    assert!(high < highest && low > 0.5 && high - low > 0.01, "{low} to {high}");
}

#[test]
fn the_wildest_starts_are_computed_to_their_end() {
    for seed in 0..20 {
        let params = Params { grid: (48, 32), steps: 300, seed, perturb: 1.0, ..small() };
        for number in 0..3 {
            assert!(member(&params, number).iter().all(|&depth| depth > 0.0));
        }
    }
}

#[test]
fn a_sea_that_is_none_any_more_fails_with_a_sentence() {
    let mut model = Model::new(&small(), 0, &Cancel::default()).unwrap();
    assert_eq!(check(&model, 2, 7), Ok(()));
    model.set_depths(|column, _| if column == 3 { f64::NAN } else { 1.0 });
    model.step(0, Simd::chosen(), &Cancel::default()).unwrap();
    let error = check(&model, 2, 7).unwrap_err().to_string();
    assert_eq!(
        error,
        "after 7 steps member 2 has depths that are no positive number: its start is too wild, use a smaller --perturb"
    );
}

#[test]
fn a_cancelled_member_ends() {
    let (cancel, members) = (Cancel::default(), Members { params: small(), simd: Simd::chosen() });
    cancel.set();
    assert_eq!(members.compute(0, &cancel), Err(ComputeError::Cancelled));
    assert_eq!(members.compute(3, &cancel), Err(ComputeError::NoSuchTask { task: 3, tasks: 3 }));
}
