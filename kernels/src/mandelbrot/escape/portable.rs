//! Plain Rust: vectors are arrays. The path for CPUs without FMA in x86-64 and for other architectures, where `mul_add`
//! is one instruction if the CPU has it.

engine!();
finish!();

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

/// Not a <= b; true for NaN.
#[inline(always)]
fn not_at_most(a: Vector, b: Vector) -> Mask {
    at_most(a, b).map(|lane| !lane)
}

#[inline(always)]
fn both(a: Mask, b: Mask) -> Mask {
    std::array::from_fn(|lane| a[lane] & b[lane])
}

#[inline(always)]
fn either(a: Mask, b: Mask) -> Mask {
    std::array::from_fn(|lane| a[lane] | b[lane])
}

#[inline(always)]
fn any(mask: Mask) -> bool {
    mask.contains(&true)
}

#[inline(always)]
fn count(mask: Mask) -> usize {
    mask.iter().filter(|&&lane| lane).count()
}

/// `yes` in the mask's lanes, `no` in the others.
#[inline(always)]
fn select(mask: Mask, yes: Vector, no: Vector) -> Vector {
    std::array::from_fn(|lane| if mask[lane] { yes[lane] } else { no[lane] })
}

#[inline(always)]
fn load(from: &[f64], at: usize) -> Vector {
    std::array::from_fn(|lane| from[at + lane])
}

#[inline(always)]
fn store(vector: Vector, to: &mut [f64], at: usize) {
    to[at..at + LANES].copy_from_slice(&vector);
}

/// Stores the mask's lanes side by side.
#[inline(always)]
fn store_lanes(mask: Mask, vector: Vector, to: &mut [f64], mut at: usize) {
    for lane in 0..LANES {
        to[at] = vector[lane];
        at += usize::from(mask[lane]);
    }
}

/// Replaces the mask's lanes by the first of `from`, in order.
#[inline(always)]
fn load_lanes(mut vector: Vector, mask: Mask, from: &[f64]) -> Vector {
    let mut next = from.iter();
    for lane in 0..LANES {
        if mask[lane] {
            vector[lane] = *next.next().expect("as many as a vector has lanes are ready");
        }
    }
    vector
}
