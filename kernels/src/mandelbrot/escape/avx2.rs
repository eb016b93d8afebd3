//! AVX2 with FMA: four points a vector.

use std::arch::asm;
use std::arch::x86_64::{
    __m256d, _CMP_EQ_OQ, _CMP_LE_OQ, _mm256_add_pd, _mm256_and_pd, _mm256_andnot_pd, _mm256_blendv_pd,
    _mm256_castpd_ps, _mm256_castps_pd, _mm256_cmp_pd, _mm256_fmadd_pd, _mm256_loadu_pd, _mm256_loadu_si256,
    _mm256_min_pd, _mm256_movemask_pd, _mm256_mul_pd, _mm256_or_pd, _mm256_permutevar8x32_ps, _mm256_set1_pd,
    _mm256_storeu_pd, _mm256_sub_pd,
};

engine!(#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]);
finish!(#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]);
trap!(#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]);
early!(#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]);

/// Points of a vector.
const LANES: usize = 4;

/// Vectors of a group: enough to hide the latency of a step; c comes from memory.
const GROUP: usize = 6;

type Vector = __m256d;
type Mask = __m256d;

/// Every mask, by its bits. From a table, because a mask that the compiler sees through becomes a masked store wherever a
/// merged vector is stored, which takes dozens of cycles on some CPUs.
static MASKS: [[f64; LANES]; 1 << LANES] = masks();

const fn masks() -> [[f64; LANES]; 1 << LANES] {
    let mut masks = [[0.0; LANES]; 1 << LANES];
    let mut i = 0;
    while i < LANES << LANES {
        let (bits, lane) = (i / LANES, i % LANES);
        if bits >> lane & 1 == 1 {
            masks[bits][lane] = f64::from_bits(u64::MAX);
        }
        i += 1;
    }
    masks
}

#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn splat(value: f64) -> Vector {
    _mm256_set1_pd(value)
}

#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm256_add_pd(a, b)
}

#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn subtract(a: Vector, b: Vector) -> Vector {
    _mm256_sub_pd(a, b)
}

#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn multiply(a: Vector, b: Vector) -> Vector {
    _mm256_mul_pd(a, b)
}

/// a·b + c, rounded once.
#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn multiply_add(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_fmadd_pd(a, b, c)
}

#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn smaller(a: Vector, b: Vector) -> Vector {
    _mm256_min_pd(a, b)
}

#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn equal(a: Vector, b: Vector) -> Mask {
    _mm256_cmp_pd::<_CMP_EQ_OQ>(a, b)
}

/// a <= b; false for NaN.
#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn at_most(a: Vector, b: Vector) -> Mask {
    _mm256_cmp_pd::<_CMP_LE_OQ>(a, b)
}

/// The lanes that aren't at most `most`, as bits; NaN isn't. By the sign of the difference, which NaN has too when it
/// comes from infinities: subtraction has units of its own.
#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn bits_beyond(a: Vector, most: f64) -> u64 {
    bits(_mm256_sub_pd(splat(most), a))
}

#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn both(a: Mask, b: Mask) -> Mask {
    _mm256_and_pd(a, b)
}

/// The mask's lanes as bits.
#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn bits(mask: Mask) -> u64 {
    _mm256_movemask_pd(mask) as u64
}

/// The mask of those lanes.
#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn mask_of(bits: u64) -> Mask {
    load(&MASKS[bits as usize % MASKS.len()], 0)
}

/// `yes` in the mask's lanes, `no` in the others.
#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn select(mask: Mask, yes: Vector, no: Vector) -> Vector {
    _mm256_blendv_pd(no, yes, mask)
}

/// For each choice of lanes, where the halves of each lane of the result come from.
type Order = [[i32; 2 * LANES]; 1 << LANES];

/// The chosen lanes first, in their order.
static PACKED: Order = order(false);

/// The first lanes where the chosen ones are, in their order.
static SPREAD: Order = order(true);

const fn order(spreads: bool) -> Order {
    let mut order = [[0; 2 * LANES]; 1 << LANES];
    let mut bits = 0;
    while bits < 1 << LANES {
        let (mut lane, mut chosen) = (0, 0);
        while lane < LANES {
            if bits >> lane & 1 == 1 {
                let (to, from) = if spreads { (lane, chosen) } else { (chosen, lane) };
                order[bits][2 * to] = 2 * from as i32;
                order[bits][2 * to + 1] = 2 * from as i32 + 1;
                chosen += 1;
            }
            lane += 1;
        }
        bits += 1;
    }
    order
}

/// The vector's lanes of those bits first; what follows them is without meaning.
#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn packed(lanes: u64, vector: Vector) -> Vector {
    permuted(vector, &PACKED[lanes as usize % PACKED.len()])
}

/// The vector's first lanes at the lanes of those bits; what is in the others is without meaning.
#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn spread(lanes: u64, vector: Vector) -> Vector {
    permuted(vector, &SPREAD[lanes as usize % SPREAD.len()])
}

#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn permuted(vector: Vector, order: &[i32; 2 * LANES]) -> Vector {
    #[expect(unsafe_code, reason = "a vector load takes a pointer")]
    // SAFETY: the array has a vector's length.
    let order = unsafe { _mm256_loadu_si256(order.as_ptr().cast()) };
    _mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(vector), order))
}

#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn load(from: &[f64], at: usize) -> Vector {
    let lanes = &from[at..at + LANES];
    #[expect(unsafe_code, reason = "a vector load takes a pointer")]
    // SAFETY: the slice has a vector's length.
    unsafe {
        _mm256_loadu_pd(lanes.as_ptr())
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn store(vector: Vector, to: &mut [f64], at: usize) {
    let lanes = &mut to[at..at + LANES];
    #[expect(unsafe_code, reason = "a vector store takes a pointer")]
    // SAFETY: the slice has a vector's length.
    unsafe {
        _mm256_storeu_pd(lanes.as_mut_ptr(), vector);
    }
}

/// As `select`, for a mask of whole lanes and what is to be stored where `no` came from.
#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn merge(mask: Mask, yes: Vector, no: Vector) -> Vector {
    _mm256_or_pd(_mm256_andnot_pd(mask, no), _mm256_and_pd(mask, yes))
}

/// One step of a vector: its x and y, where its c lies, and two registers for what is in between.
macro_rules! step {
    ($x:literal, $y:literal, $at:literal, $t:literal, $u:literal) => {
        concat!(
            "vmovapd {",
            $t,
            "}, {",
            $y,
            "}\n",
            "vaddpd {",
            $u,
            "}, {",
            $x,
            "}, {",
            $x,
            "}\n",
            "vfnmadd213pd {",
            $t,
            "}, {",
            $y,
            "}, ymmword ptr [{re} + ",
            $at,
            "]\n",
            "vfmadd213pd {",
            $y,
            "}, {",
            $u,
            "}, ymmword ptr [{im} + ",
            $at,
            "]\n",
            "vfmadd213pd {",
            $x,
            "}, {",
            $x,
            "}, {",
            $t,
            "}\n",
        )
    };
}

/// Makes that many steps of every lane, at least one.
///
/// In assembly because x and y of six vectors leave four of the sixteen registers: a compiler that orders the
/// operations otherwise moves some of x and y to memory and back in each step, which takes a third longer.
#[inline]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn iterate(x: &mut Vectors, y: &mut Vectors, (re, im): (&[f64; GROUP_LANES], &[f64; GROUP_LANES]), steps: u32) {
    let ([x0, x1, x2, x3, x4, x5], [y0, y1, y2, y3, y4, y5]) = (x, y);
    #[expect(unsafe_code, reason = "the compiler doesn't keep x and y in registers")]
    // SAFETY: reads re and im, which have six vectors; writes registers only.
    unsafe {
        asm!(
            "2:",
            step!("x0", "y0", "0", "t", "u"),
            step!("x1", "y1", "32", "v", "w"),
            step!("x2", "y2", "64", "t", "u"),
            step!("x3", "y3", "96", "v", "w"),
            step!("x4", "y4", "128", "t", "u"),
            step!("x5", "y5", "160", "v", "w"),
            "sub {steps:e}, 1",
            "jnz 2b",
            steps = inout(reg) steps => _,
            re = in(reg) re.as_ptr(),
            im = in(reg) im.as_ptr(),
            x0 = inout(ymm_reg) *x0, x1 = inout(ymm_reg) *x1, x2 = inout(ymm_reg) *x2,
            x3 = inout(ymm_reg) *x3, x4 = inout(ymm_reg) *x4, x5 = inout(ymm_reg) *x5,
            y0 = inout(ymm_reg) *y0, y1 = inout(ymm_reg) *y1, y2 = inout(ymm_reg) *y2,
            y3 = inout(ymm_reg) *y3, y4 = inout(ymm_reg) *y4, y5 = inout(ymm_reg) *y5,
            t = out(ymm_reg) _, u = out(ymm_reg) _, v = out(ymm_reg) _, w = out(ymm_reg) _,
            options(pure, readonly, nostack),
        );
    }
}
