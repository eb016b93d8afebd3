//! A target for fuzzing: a batch's specification that isn't as it was written.

use titan_fuzz::{Chance, arbitrary, mutate, run};

use super::specification::Specification;

/// What a list may take that a specification only says to be long.
const BOUND_BYTES: usize = 4 << 20;

#[test]
fn specifications() {
    let make = |chance: &mut Chance| {
        let specification = arbitrary::value::<Specification>(chance);
        let mut bytes = specification.encode().unwrap();
        mutate::bytes(chance, &mut bytes);
        (bytes, specification)
    };
    run(
        "specifications",
        make,
        |(bytes, _)| BOUND_BYTES + 64 * bytes.len(),
        |(bytes, written)| {
            if let Some(read) = Specification::decode(&bytes) {
                assert_eq!(read, written);
            }
        },
    );
}
