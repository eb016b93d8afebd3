//! Where a member starts: still water with a few bumps, the same for all members, and a few long waves of its own.
//!
//! Bumps and waves are polynomials, and what they are like is drawn: nothing here depends on a platform's sines.

use super::params::Params;
use super::random::Random;
use crate::Cancel;

/// Bumps of the common start.
const BUMPS: usize = 3;

/// The most that all bumps together rise above the mean depth.
pub(super) const MOST_BUMPS_HEIGHT: f64 = 0.5;

/// Radius of a bump, where the shorter side of the sea is 1.
const BUMP_RADIUS: (f64, f64) = (0.12, 0.25);

/// Waves of a member's own.
const WAVES: usize = 5;

/// The most crests of such a wave, across and down.
const MOST_CRESTS: u32 = 3;

/// What all waves together may add for `--perturb 1`: less than the mean depth, so that some water is left.
pub(super) const MOST_WAVES_HEIGHT: f64 = 0.9;

/// The stream of numbers that the common start is drawn from; member n has stream n + 1.
const COMMON_STREAM: u64 = 0;

/// The length of a cell: the shorter side is 1 long.
pub(super) fn cell_length((columns, rows): (u32, u32)) -> f64 {
    1.0 / f64::from(columns.min(rows))
}

/// The depth of each cell at a member's start, row by row; None if cancelled.
pub(super) fn depths(params: &Params, member: u32, cancel: &Cancel) -> Option<Vec<f64>> {
    let bumps = bumps(params);
    let waves = waves(params, member);
    let (columns, rows) = params.grid;
    let length = cell_length(params.grid);
    let place = |i: u32| (f64::from(i) + 0.5) * length;
    let mut depths = Vec::with_capacity(params.cells() as usize);
    for j in 0..rows {
        if cancel.is_set() {
            return None;
        }
        depths.extend((0..columns).map(|i| {
            let raised: f64 = bumps.iter().map(|bump| bump.height_at(place(i), place(j))).sum();
            let waving: f64 = waves.iter().map(|wave| wave.across[i as usize] * wave.down[j as usize]).sum();
            1.0 + raised + waving
        }));
    }
    Some(depths)
}

/// A hill of water whose foot is a circle.
struct Bump {
    at: (f64, f64),
    /// Length of the sea, across and down.
    sides: (f64, f64),
    radius: f64,
    height: f64,
}

impl Bump {
    /// Its height at a place: (1 - d²/r²)³ within its radius, smooth to the second derivative at its foot.
    fn height_at(&self, x: f64, y: f64) -> f64 {
        let (dx, dy) = (around(x - self.at.0, self.sides.0), around(y - self.at.1, self.sides.1));
        let within = 1.0 - (dx * dx + dy * dy) / (self.radius * self.radius);
        if within > 0.0 { self.height * (within * within * within) } else { 0.0 }
    }
}

/// The shorter way round a sea of that length.
fn around(distance: f64, length: f64) -> f64 {
    let distance = distance.abs();
    if distance > length - distance { length - distance } else { distance }
}

fn bumps(params: &Params) -> Vec<Bump> {
    let mut random = Random::new(params.seed, COMMON_STREAM);
    let length = cell_length(params.grid);
    let sides = (f64::from(params.grid.0) * length, f64::from(params.grid.1) * length);
    let most = MOST_BUMPS_HEIGHT / BUMPS as f64;
    let mut bump = |_| Bump {
        at: (random.between(0.0, sides.0), random.between(0.0, sides.1)),
        sides,
        radius: random.between(BUMP_RADIUS.0, BUMP_RADIUS.1),
        height: random.between(0.5 * most, most),
    };
    (0..BUMPS).map(&mut bump).collect()
}

/// A standing wave: at each place the product of what it is in that column and in that row.
struct Wave {
    across: Vec<f64>,
    down: Vec<f64>,
}

fn waves(params: &Params, member: u32) -> Vec<Wave> {
    let mut random = Random::new(params.seed, COMMON_STREAM + 1 + u64::from(member));
    let most = params.perturb * MOST_WAVES_HEIGHT / WAVES as f64;
    let mut wave = |_| {
        let height = random.between(-most, most);
        let mut side = |cells: u32, height: f64| {
            let (crests, phase) = (f64::from(random.count(MOST_CRESTS)), random.unit());
            let at = |i: u32| height * arch(crests * ((f64::from(i) + 0.5) / f64::from(cells)) + phase);
            (0..cells).map(at).collect()
        };
        Wave { across: side(params.grid.0, height), down: side(params.grid.1, 1.0) }
    };
    (0..WAVES).map(&mut wave).collect()
}

/// What a sine is like, made of parabolas: period 1, from -1 to 1, 0 at 0 and on the whole, with a slope everywhere.
fn arch(x: f64) -> f64 {
    let x = x - x.floor();
    if x < 0.5 { 16.0 * x * (0.5 - x) } else { 16.0 * (x - 0.5) * (x - 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weather::params::tests::small;

    fn start(params: &Params, member: u32) -> Vec<f64> {
        depths(params, member, &Cancel::default()).unwrap()
    }

    #[test]
    fn an_arch_is_like_a_sine() {
        assert_eq!([0.0, 0.25, 0.5, 0.75, 1.0, -0.25].map(arch), [0.0, 1.0, 0.0, -1.0, 0.0, -1.0]);
        let values: Vec<f64> = (0..1000).map(|i| arch(f64::from(i) / 1000.0)).collect();
        assert!(values.iter().sum::<f64>().abs() < 1e-9);
    }

    #[test]
    fn a_bump_is_highest_in_its_middle_and_nothing_beyond_its_radius_also_across_the_seam() {
        let bump = Bump { at: (0.05, 0.5), sides: (2.0, 1.0), radius: 0.2, height: 0.3 };
        assert_eq!(bump.height_at(0.05, 0.5), 0.3);
        assert!(bump.height_at(1.95, 0.5) > 0.0);
        assert_eq!(bump.height_at(0.3, 0.5), 0.0);
    }

    #[test]
    fn members_differ_by_no_more_than_what_was_asked_for() {
        for perturb in [1e-6, 0.01, 1.0] {
            let params = Params { perturb, ..small() };
            let common = start(&Params { perturb: 0.0, ..small() }, 0);
            for member in 0..20 {
                let own = start(&params, member);
                let most = own.iter().zip(&common).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(most > perturb / 100.0 && most <= perturb, "{most} of {perturb}");
                assert!(own.iter().all(|&depth| depth > 0.0 && depth < 1.0 + MOST_BUMPS_HEIGHT + perturb));
            }
        }
    }

    #[test]
    fn members_and_seeds_have_starts_of_their_own_but_unperturbed_members_have_one() {
        let params = small();
        assert_ne!(start(&params, 0), start(&params, 1));
        assert_ne!(start(&params, 0), start(&Params { seed: 8, ..small() }, 0));
        let still = Params { perturb: 0.0, ..small() };
        assert_eq!(start(&still, 0), start(&still, 1));
    }
}
