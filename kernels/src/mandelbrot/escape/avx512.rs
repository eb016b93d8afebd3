//! AVX-512F: eight points a vector, and masks in registers of their own.

use std::arch::x86_64::{
    __m512d, __mmask8, _CMP_EQ_OQ, _CMP_LE_OQ, _CMP_NLE_UQ, _mm512_add_pd, _mm512_cmp_pd_mask, _mm512_fmadd_pd,
    _mm512_fnmadd_pd, _mm512_loadu_pd, _mm512_mask_blend_pd, _mm512_mask_permutexvar_pd, _mm512_maskz_compress_pd,
    _mm512_maskz_expand_epi64, _mm512_min_pd, _mm512_mul_pd, _mm512_set1_pd, _mm512_setr_epi64, _mm512_storeu_pd,
};

engine!(#[target_feature(enable = "avx512f,avx2,fma")]);
finish!(#[target_feature(enable = "avx512f,avx2,fma")]);

/// Points of a vector.
const LANES: usize = 8;

/// Vectors of a group: enough to hide the latency of a step, few enough for the registers.
const GROUP: usize = 4;

type Vector = __m512d;
type Mask = __mmask8;

#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn splat(value: f64) -> Vector {
    _mm512_set1_pd(value)
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_pd(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn multiply(a: Vector, b: Vector) -> Vector {
    _mm512_mul_pd(a, b)
}

/// a·b + c, rounded once.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn multiply_add(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_fmadd_pd(a, b, c)
}

/// c − a·b, rounded once.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn subtract_product(c: Vector, a: Vector, b: Vector) -> Vector {
    _mm512_fnmadd_pd(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn smaller(a: Vector, b: Vector) -> Vector {
    _mm512_min_pd(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn equal(a: Vector, b: Vector) -> Mask {
    _mm512_cmp_pd_mask::<_CMP_EQ_OQ>(a, b)
}

/// a <= b; false for NaN.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn at_most(a: Vector, b: Vector) -> Mask {
    _mm512_cmp_pd_mask::<_CMP_LE_OQ>(a, b)
}

/// Not a <= b; true for NaN.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn not_at_most(a: Vector, b: Vector) -> Mask {
    _mm512_cmp_pd_mask::<_CMP_NLE_UQ>(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn both(a: Mask, b: Mask) -> Mask {
    a & b
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn either(a: Mask, b: Mask) -> Mask {
    a | b
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn any(mask: Mask) -> bool {
    mask != 0
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn count(mask: Mask) -> usize {
    mask.count_ones() as usize
}

/// `yes` in the mask's lanes, `no` in the others.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn select(mask: Mask, yes: Vector, no: Vector) -> Vector {
    _mm512_mask_blend_pd(mask, no, yes)
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn load(from: &[f64], at: usize) -> Vector {
    let lanes = &from[at..at + LANES];
    #[expect(unsafe_code, reason = "a vector load takes a pointer")]
    // SAFETY: the slice has a vector's length.
    unsafe {
        _mm512_loadu_pd(lanes.as_ptr())
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn store(vector: Vector, to: &mut [f64], at: usize) {
    let lanes = &mut to[at..at + LANES];
    #[expect(unsafe_code, reason = "a vector store takes a pointer")]
    // SAFETY: the slice has a vector's length.
    unsafe {
        _mm512_storeu_pd(lanes.as_mut_ptr(), vector);
    }
}

/// Stores the mask's lanes side by side; what follows them, up to a whole vector, is overwritten.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn store_lanes(mask: Mask, vector: Vector, to: &mut [f64], at: usize) {
    store(_mm512_maskz_compress_pd(mask, vector), to, at);
}

/// Replaces the mask's lanes by the first of `from`, in order.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma")]
fn load_lanes(vector: Vector, mask: Mask, from: &[f64]) -> Vector {
    // Expanding lane numbers and permuting is faster than expanding from memory.
    let ranks = _mm512_maskz_expand_epi64(mask, _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
    _mm512_mask_permutexvar_pd(vector, mask, ranks, load(from, 0))
}
