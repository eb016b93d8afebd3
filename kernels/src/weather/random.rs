//! Numbers drawn from (seed, stream, how many were drawn before) alone: SplitMix64.
//!
//! Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014.

/// The odd number nearest to 2^64 divided by the golden ratio: the step between states.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of numbers.
#[derive(Debug, Clone)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// The stream of that number for this seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let seeded = mix(seed.wrapping_add(GOLDEN));
        Self { state: mix(seeded ^ mix(stream)) }
    }

    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A number in 0 <= x < 1, a multiple of 2^-53.
    pub(super) fn unit(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1u64 << 53) as f64;
        (self.draw() >> 11) as f64 * STEP
    }

    /// A number in from <= x < to, or `to` by rounding.
    pub(super) fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.unit()
    }

    /// A whole number in 1 <= n <= most.
    pub(super) fn count(&mut self, most: u32) -> u32 {
        1 + (self.draw() % u64::from(most)) as u32
    }
}

/// Spreads each bit over all.
fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_those_of_splitmix64() {
        let mut random = Random { state: 1_234_567 };
        let drawn = [random.draw(), random.draw(), random.draw()];
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn numbers_are_spread_over_their_range() {
        let mut random = Random::new(1, 0);
        let drawn: Vec<f64> = (0..10_000).map(|_| random.unit()).collect();
        assert!(drawn.iter().all(|x| (0.0..1.0).contains(x)));
        assert!((drawn.iter().sum::<f64>() / 10_000.0 - 0.5).abs() < 0.02);
        assert!((0..100).all(|_| (1..=3).contains(&random.count(3))));
    }

    #[test]
    fn seeds_and_streams_have_numbers_of_their_own() {
        let first = |seed, stream| Random::new(seed, stream).draw();
        let mut drawn: Vec<u64> = (0..30).flat_map(|seed| (0..30).map(move |stream| first(seed, stream))).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 900);
    }
}
