//! AVX2 with FMA: four points a vector.

use std::arch::x86_64::{
    __m256d, __m256i, _CMP_EQ_OQ, _CMP_LE_OQ, _CMP_NLE_UQ, _mm256_add_pd, _mm256_and_pd, _mm256_blendv_pd,
    _mm256_castpd_ps, _mm256_castps_pd, _mm256_cmp_pd, _mm256_fmadd_pd, _mm256_fnmadd_pd, _mm256_loadu_pd,
    _mm256_min_pd, _mm256_movemask_pd, _mm256_mul_pd, _mm256_or_pd, _mm256_permutevar8x32_ps, _mm256_set1_pd,
    _mm256_setr_epi32, _mm256_storeu_pd,
};

engine!(#[target_feature(enable = "avx2,fma")]);
finish!(#[target_feature(enable = "avx2,fma")]);

/// Points of a vector.
const LANES: usize = 4;

/// Vectors of a group: enough to hide the latency of a step; the constants come from memory.
const GROUP: usize = 6;

type Vector = __m256d;
type Mask = __m256d;

/// For each mask, the lanes that it has, in order.
const LANES_OF_MASK: [[u8; LANES]; 16] = lanes_of_masks();

/// For each mask, how many of its lanes lie below each lane.
const RANKS_IN_MASK: [[u8; LANES]; 16] = ranks_in_masks();

const fn lanes_of_masks() -> [[u8; LANES]; 16] {
    let mut table = [[0; LANES]; 16];
    let mut i = 0;
    while i < 16 * LANES {
        let (mask, lane) = (i / LANES, i % LANES);
        if mask >> lane & 1 == 1 {
            table[mask][(mask & ((1 << lane) - 1)).count_ones() as usize] = lane as u8;
        }
        i += 1;
    }
    table
}

const fn ranks_in_masks() -> [[u8; LANES]; 16] {
    let mut table = [[0; LANES]; 16];
    let mut i = 0;
    while i < 16 * LANES {
        let (mask, lane) = (i / LANES, i % LANES);
        table[mask][lane] = (mask & ((1 << lane) - 1)).count_ones() as u8;
        i += 1;
    }
    table
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn splat(value: f64) -> Vector {
    _mm256_set1_pd(value)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm256_add_pd(a, b)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn multiply(a: Vector, b: Vector) -> Vector {
    _mm256_mul_pd(a, b)
}

/// a·b + c, rounded once.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn multiply_add(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_fmadd_pd(a, b, c)
}

/// c − a·b, rounded once.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn subtract_product(c: Vector, a: Vector, b: Vector) -> Vector {
    _mm256_fnmadd_pd(a, b, c)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn smaller(a: Vector, b: Vector) -> Vector {
    _mm256_min_pd(a, b)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn equal(a: Vector, b: Vector) -> Mask {
    _mm256_cmp_pd::<_CMP_EQ_OQ>(a, b)
}

/// a <= b; false for NaN.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn at_most(a: Vector, b: Vector) -> Mask {
    _mm256_cmp_pd::<_CMP_LE_OQ>(a, b)
}

/// Not a <= b; true for NaN.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn not_at_most(a: Vector, b: Vector) -> Mask {
    _mm256_cmp_pd::<_CMP_NLE_UQ>(a, b)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn both(a: Mask, b: Mask) -> Mask {
    _mm256_and_pd(a, b)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn either(a: Mask, b: Mask) -> Mask {
    _mm256_or_pd(a, b)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn any(mask: Mask) -> bool {
    bits(mask) != 0
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn count(mask: Mask) -> usize {
    bits(mask).count_ones() as usize
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn bits(mask: Mask) -> usize {
    _mm256_movemask_pd(mask) as usize
}

/// `yes` in the mask's lanes, `no` in the others.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn select(mask: Mask, yes: Vector, no: Vector) -> Vector {
    _mm256_blendv_pd(no, yes, mask)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn load(from: &[f64], at: usize) -> Vector {
    let lanes = &from[at..at + LANES];
    #[expect(unsafe_code, reason = "a vector load takes a pointer")]
    // SAFETY: the slice has a vector's length.
    unsafe {
        _mm256_loadu_pd(lanes.as_ptr())
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store(vector: Vector, to: &mut [f64], at: usize) {
    let lanes = &mut to[at..at + LANES];
    #[expect(unsafe_code, reason = "a vector store takes a pointer")]
    // SAFETY: the slice has a vector's length.
    unsafe {
        _mm256_storeu_pd(lanes.as_mut_ptr(), vector);
    }
}

/// Stores the mask's lanes side by side; what follows them, up to a whole vector, is overwritten.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn store_lanes(mask: Mask, vector: Vector, to: &mut [f64], at: usize) {
    store(permute(vector, &LANES_OF_MASK[bits(mask)]), to, at);
}

/// Replaces the mask's lanes by the first of `from`, in order.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_lanes(vector: Vector, mask: Mask, from: &[f64]) -> Vector {
    select(mask, permute(load(from, 0), &RANKS_IN_MASK[bits(mask)]), vector)
}

/// The vector of those lanes of `vector`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn permute(vector: Vector, lanes: &[u8; LANES]) -> Vector {
    _mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(vector), halves(lanes)))
}

/// Lane numbers of f64 as lane numbers of their two halves.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn halves(lanes: &[u8; LANES]) -> __m256i {
    let [a, b, c, d] = lanes.map(|lane| 2 * i32::from(lane));
    _mm256_setr_epi32(a, a + 1, b, b + 1, c, c + 1, d, d + 1)
}
