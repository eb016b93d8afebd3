//! Draws that follow from a seed, the same on every machine.

/// A source of draws (SplitMix64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

/// Numbers at which something changes.
const EDGES: [u64; 12] = [0, 1, 2, 127, 255, 256, 65_535, 1 << 20, u32::MAX as u64, 1 << 32, i64::MAX as u64, u64::MAX];

impl Chance {
    /// The source that this seed names.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A source of its own.
    pub fn fork(&mut self) -> Self {
        Self(self.draw())
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below that one, which isn't 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.draw() % end as u64) as usize
    }

    /// True once in so many.
    pub fn once_in(&mut self, cases: usize) -> bool {
        self.below(cases) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A number as programs have them: small, at an edge, or anything.
    pub fn number(&mut self) -> u64 {
        match self.below(4) {
            0 | 1 => self.below(8) as u64,
            2 => self.pick(&EDGES),
            _ => self.draw(),
        }
    }

    /// Any bytes, fewer than so many.
    pub fn bytes(&mut self, end: usize) -> Vec<u8> {
        (0..self.below(end)).map(|_| self.draw() as u8).collect()
    }

    /// Some of these pieces, one after the other, fewer than so many.
    pub fn text(&mut self, pieces: &[&str], end: usize) -> String {
        (0..self.below(end)).map(|_| self.pick(pieces)).collect()
    }
}
