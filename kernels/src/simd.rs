//! Which instruction set computes: the best that this CPU has, or the one that `TITAN_SIMD` names.

use std::sync::OnceLock;

/// An instruction set that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simd {
    /// Plain Rust; fused operations by `f64::mul_add`.
    Portable,
    /// AVX2 with FMA, BMI and POPCNT: four points a vector.
    Avx2,
    /// AVX-512F: eight points a vector.
    Avx512,
}

impl Simd {
    /// Every set, the fastest first.
    const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    /// The set to use here: what `TITAN_SIMD` names, if this CPU has it, and otherwise the fastest.
    pub fn chosen() -> Self {
        static CHOSEN: OnceLock<Simd> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let forced = std::env::var("TITAN_SIMD").ok().and_then(|name| Self::named(&name));
            forced.unwrap_or(Self::fastest()).supported()
        })
    }

    /// Every set that this CPU has, the fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|simd| simd.is_available())
    }

    /// The set's name, as `TITAN_SIMD` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// This set if the CPU has it, and otherwise the fastest that it has.
    pub(crate) fn supported(self) -> Self {
        if self.is_available() { self } else { Self::fastest() }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|simd| simd.name() == name)
    }

    fn fastest() -> Self {
        Self::available().next().unwrap_or(Self::Portable)
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            // The others came with it or before it.
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("bmi1")
                    && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("popcnt")
            }
            Self::Avx512 => is_x86_feature_detected!("avx512f") && Self::Avx2.is_available(),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        self == Self::Portable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_is_always_available_and_last() {
        assert_eq!(Simd::available().last(), Some(Simd::Portable));
    }

    #[test]
    fn every_set_is_found_by_its_name() {
        for simd in Simd::ALL {
            assert_eq!(Simd::named(simd.name()), Some(simd));
        }
        assert_eq!(Simd::named("mmx"), None);
    }

    #[test]
    fn a_set_that_is_missing_is_replaced_by_one_that_is_there() {
        assert!(Simd::ALL.into_iter().all(|simd| simd.supported().is_available()));
        assert!(Simd::chosen().is_available());
    }
}
