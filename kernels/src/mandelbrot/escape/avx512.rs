//! AVX-512F: eight points a vector, and masks in registers of their own.

use std::arch::x86_64::{
    __m512d, __mmask8, _CMP_EQ_OQ, _CMP_LE_OQ, _CMP_NLE_UQ, _mm512_add_pd, _mm512_cmp_pd_mask, _mm512_fmadd_pd,
    _mm512_fnmadd_pd, _mm512_loadu_pd, _mm512_mask_blend_pd, _mm512_maskz_compress_pd, _mm512_maskz_expand_pd,
    _mm512_min_pd, _mm512_mul_pd, _mm512_set1_pd, _mm512_storeu_pd, _mm512_sub_pd,
};

engine!(#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]);
finish!(#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]);
trap!(#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]);
early!(#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]);
iterate!(#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]);

/// Points of a vector.
const LANES: usize = 8;

/// Vectors of a group: enough to hide the latency of a step, few enough for the registers.
const GROUP: usize = 5;

type Vector = __m512d;
type Mask = __mmask8;

#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn splat(value: f64) -> Vector {
    _mm512_set1_pd(value)
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_pd(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn subtract(a: Vector, b: Vector) -> Vector {
    _mm512_sub_pd(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn multiply(a: Vector, b: Vector) -> Vector {
    _mm512_mul_pd(a, b)
}

/// a·b + c, rounded once.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn multiply_add(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_fmadd_pd(a, b, c)
}

/// c − a·b, rounded once.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn subtract_product(c: Vector, a: Vector, b: Vector) -> Vector {
    _mm512_fnmadd_pd(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn smaller(a: Vector, b: Vector) -> Vector {
    _mm512_min_pd(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn equal(a: Vector, b: Vector) -> Mask {
    _mm512_cmp_pd_mask::<_CMP_EQ_OQ>(a, b)
}

/// a <= b; false for NaN.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn at_most(a: Vector, b: Vector) -> Mask {
    _mm512_cmp_pd_mask::<_CMP_LE_OQ>(a, b)
}

/// The lanes that aren't at most `most`, as bits; NaN isn't.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn bits_beyond(a: Vector, most: f64) -> u64 {
    bits(_mm512_cmp_pd_mask::<_CMP_NLE_UQ>(a, splat(most)))
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn both(a: Mask, b: Mask) -> Mask {
    a & b
}

/// The mask's lanes as bits.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn bits(mask: Mask) -> u64 {
    u64::from(mask)
}

/// The mask of those lanes.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn mask_of(bits: u64) -> Mask {
    bits as Mask
}

/// `yes` in the mask's lanes, `no` in the others.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn select(mask: Mask, yes: Vector, no: Vector) -> Vector {
    _mm512_mask_blend_pd(mask, no, yes)
}

/// The vector's lanes of those bits first; what follows them is without meaning.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn packed(lanes: u64, vector: Vector) -> Vector {
    _mm512_maskz_compress_pd(mask_of(lanes), vector)
}

/// The vector's first lanes at the lanes of those bits; what is in the others is without meaning.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn spread(lanes: u64, vector: Vector) -> Vector {
    _mm512_maskz_expand_pd(mask_of(lanes), vector)
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn load(from: &[f64], at: usize) -> Vector {
    let lanes = &from[at..at + LANES];
    #[expect(unsafe_code, reason = "a vector load takes a pointer")]
    // SAFETY: the slice has a vector's length.
    unsafe {
        _mm512_loadu_pd(lanes.as_ptr())
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn store(vector: Vector, to: &mut [f64], at: usize) {
    let lanes = &mut to[at..at + LANES];
    #[expect(unsafe_code, reason = "a vector store takes a pointer")]
    // SAFETY: the slice has a vector's length.
    unsafe {
        _mm512_storeu_pd(lanes.as_mut_ptr(), vector);
    }
}

/// As `select`.
#[inline]
#[target_feature(enable = "avx512f,avx2,fma,bmi1,bmi2,popcnt")]
fn merge(mask: Mask, yes: Vector, no: Vector) -> Vector {
    select(mask, yes, no)
}
