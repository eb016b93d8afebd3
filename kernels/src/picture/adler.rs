//! Adler-32, the checksum of zlib streams, of parts that are joined afterwards.

const MODULUS: u32 = 65521;

/// The checksum of some bytes, and how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Adler {
    low: u32,
    high: u32,
    length: u64,
}

/// The checksum of nothing.
impl Default for Adler {
    fn default() -> Self {
        Self { low: 1, high: 0, length: 0 }
    }
}

impl Adler {
    /// The checksum as zlib streams end with it.
    pub(super) fn value(self) -> u32 {
        self.high << 16 | self.low
    }

    /// Adds bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        let mut sums = simd_adler32::Adler32::from_checksum(self.value());
        sums.write(bytes);
        let value = sums.finish();
        (self.low, self.high) = (value & 0xffff, value >> 16);
        self.length += bytes.len() as u64;
    }

    /// The checksum of these bytes followed by the other's: each byte of the other's adds what is before it once more,
    /// and the other's own 1 at the start is taken back.
    pub(super) fn join(self, next: Self) -> Self {
        let modulus = u64::from(MODULUS);
        let (low, length) = (u64::from(self.low) + modulus - 1, next.length % modulus);
        let high = u64::from(self.high) + u64::from(next.high) + low % modulus * length;
        Self {
            low: ((low + u64::from(next.low)) % modulus) as u32,
            high: (high % modulus) as u32,
            length: self.length + next.length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn adler(bytes: &[u8]) -> Adler {
        let mut adler = Adler::default();
        adler.update(bytes);
        adler
    }

    #[test]
    fn known_checksums() {
        assert_eq!(adler(b"").value(), 1);
        assert_eq!(adler(b"Wikipedia").value(), 0x11e6_0398);
        assert_eq!(adler(&[255; 100_000]).value(), slow(&[255; 100_000]));
    }

    fn slow(bytes: &[u8]) -> u32 {
        let (low, high) = bytes.iter().fold((1, 0), |(low, high), &byte| {
            let low = (low + u32::from(byte)) % MODULUS;
            (low, (high + low) % MODULUS)
        });
        high << 16 | low
    }

    proptest! {
        #[test]
        fn parts_join_to_the_checksum_of_the_whole(
            bytes in proptest::collection::vec(any::<u8>(), 0..12_000),
            at in 0..12_000usize,
        ) {
            let (front, back) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(adler(front).join(adler(back)), adler(&bytes));
            prop_assert_eq!(adler(&bytes).value(), slow(&bytes));
        }
    }
}
