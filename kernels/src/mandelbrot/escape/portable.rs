//! Plain Rust: vectors are arrays. The path for CPUs without FMA in x86-64 and for other architectures, where `mul_add`
//! is one instruction if the CPU has it.

engine!();
finish!();
trap!();
early!();
iterate!();

/// Points of a vector.
const LANES: usize = 4;

/// Vectors of a group.
const GROUP: usize = 2;

type Vector = [f64; LANES];
type Mask = [bool; LANES];

#[inline(always)]
fn splat(value: f64) -> Vector {
    [value; LANES]
}

#[inline(always)]
fn add(a: Vector, b: Vector) -> Vector {
    std::array::from_fn(|lane| a[lane] + b[lane])
}

#[inline(always)]
fn subtract(a: Vector, b: Vector) -> Vector {
    std::array::from_fn(|lane| a[lane] - b[lane])
}

#[inline(always)]
fn multiply(a: Vector, b: Vector) -> Vector {
    std::array::from_fn(|lane| a[lane] * b[lane])
}

/// a·b + c, rounded once.
#[inline(always)]
fn multiply_add(a: Vector, b: Vector, c: Vector) -> Vector {
    std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
}

/// c − a·b, rounded once.
#[inline(always)]
fn subtract_product(c: Vector, a: Vector, b: Vector) -> Vector {
    std::array::from_fn(|lane| (-a[lane]).mul_add(b[lane], c[lane]))
}

#[inline(always)]
fn smaller(a: Vector, b: Vector) -> Vector {
    std::array::from_fn(|lane| if a[lane] < b[lane] { a[lane] } else { b[lane] })
}

#[inline(always)]
fn equal(a: Vector, b: Vector) -> Mask {
    std::array::from_fn(|lane| a[lane] == b[lane])
}

/// a <= b; false for NaN.
#[inline(always)]
fn at_most(a: Vector, b: Vector) -> Mask {
    std::array::from_fn(|lane| a[lane] <= b[lane])
}

/// The lanes that aren't at most `most`, as bits; NaN isn't.
#[inline(always)]
fn bits_beyond(a: Vector, most: f64) -> u64 {
    bits(at_most(a, splat(most)).map(|lane| !lane))
}

#[inline(always)]
fn both(a: Mask, b: Mask) -> Mask {
    std::array::from_fn(|lane| a[lane] & b[lane])
}

/// The mask's lanes as bits.
#[inline(always)]
fn bits(mask: Mask) -> u64 {
    mask.iter().rev().fold(0, |bits, &lane| bits << 1 | u64::from(lane))
}

/// The mask of those lanes.
#[inline(always)]
fn mask_of(bits: u64) -> Mask {
    std::array::from_fn(|lane| bits >> lane & 1 == 1)
}

/// `yes` in the mask's lanes, `no` in the others.
#[inline(always)]
fn select(mask: Mask, yes: Vector, no: Vector) -> Vector {
    std::array::from_fn(|lane| if mask[lane] { yes[lane] } else { no[lane] })
}

/// The vector's lanes of those bits first; what follows them is without meaning.
#[inline(always)]
fn packed(lanes: u64, vector: Vector) -> Vector {
    let (mut packed, mut chosen) = (vector, 0);
    for (lane, value) in vector.into_iter().enumerate() {
        packed[chosen] = value;
        chosen += (lanes >> lane & 1) as usize;
    }
    packed
}

/// The vector's first lanes at the lanes of those bits; what is in the others is without meaning.
#[inline(always)]
fn spread(lanes: u64, vector: Vector) -> Vector {
    std::array::from_fn(|lane| vector[(lanes & ((1 << lane) - 1)).count_ones() as usize])
}

#[inline(always)]
fn load(from: &[f64], at: usize) -> Vector {
    std::array::from_fn(|lane| from[at + lane])
}

#[inline(always)]
fn store(vector: Vector, to: &mut [f64], at: usize) {
    to[at..at + LANES].copy_from_slice(&vector);
}

/// As `select`.
#[inline(always)]
fn merge(mask: Mask, yes: Vector, no: Vector) -> Vector {
    select(mask, yes, no)
}
