//! Sizes in bytes: `512`, `K M G T` and `KiB MiB GiB TiB` = 1024ⁿ, `KB MB GB TB` = 1000ⁿ, in capitals or not.

use super::{Quantity, unknown_unit};

/// The units as they are shown in messages, with their bytes.
const UNITS: [(&str, u128); 13] = [
    ("B", 1),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("T", 1 << 40),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// The units in which sizes are shown to people, each 1024 times the one before.
const SHOWN_UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Reads a size in bytes. The error completes a sentence that begins with the value, such as "can't be negative".
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    parse(text).map_err(|problem| format!("{problem}: write a size such as 512MiB, 4G or 4GB, or bytes"))
}

fn parse(text: &str) -> Result<u64, String> {
    let quantity = Quantity::split(text)?;
    let unit_bytes = match quantity.unit {
        "" => 1,
        unit => UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .map(|(_, unit_bytes)| *unit_bytes)
            .ok_or_else(|| unknown_unit(unit, &UNITS.map(|(name, _)| name)))?,
    };
    let bytes = quantity.times(unit_bytes).and_then(|bytes| u64::try_from(bytes).ok());
    bytes.ok_or_else(|| "is too large".to_owned())
}

/// A size for people, in two or three figures: `512 B`, `3.1 GiB`.
pub(crate) fn human_size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 1;
    // The last unit is 2^60 bytes, so tenths of it fit easily.
    let tenths = |unit: usize| (u128::from(bytes) * 10 + (1 << (10 * unit - 1))) >> (10 * unit);
    while tenths(unit) >= 10_240 && unit + 1 < SHOWN_UNITS.len() {
        unit += 1;
    }
    format!("{}.{} {}", tenths(unit) / 10, tenths(unit) % 10, SHOWN_UNITS[unit])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_unit_means_what_it_says() {
        let cases = [("512", 512), ("512B", 512), ("1K", 1024), ("1KiB", 1024), ("1KB", 1000), ("4g", 4 << 30)];
        for (text, bytes) in
            cases.into_iter().chain([("1.5M", 3 << 19), ("2TB", 2_000_000_000_000), ("1 MiB", 1 << 20)])
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_write() {
        let say = |text| parse_size(text).expect_err("refused");
        insta::assert_snapshot!(say("4GIG"), @"has no unit 'GIG' (did you mean 'GiB'?): write a size such as 512MiB, 4G or 4GB, or bytes");
        insta::assert_snapshot!(say("4 Gbit"), @"has no unit 'Gbit' (there are B, K, M, G, T, KiB, MiB, GiB, TiB, KB, MB, GB, TB): write a size such as 512MiB, 4G or 4GB, or bytes");
        insta::assert_snapshot!(say("99999999T"), @"is too large: write a size such as 512MiB, 4G or 4GB, or bytes");
        insta::assert_snapshot!(say("lots"), @"doesn't begin with a number: write a size such as 512MiB, 4G or 4GB, or bytes");
    }

    #[test]
    fn people_read_few_figures() {
        let cases = [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3_328_599_654, "3.1 GiB")];
        for (bytes, text) in cases.into_iter().chain([((1 << 20) - 1, "1.0 MiB"), (u64::MAX, "16.0 EiB")]) {
            assert_eq!(human_size(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer(text in ".*") {
            let _ = parse_size(&text);
        }

        #[test]
        fn any_number_with_any_unit_gets_an_answer(text in "[0-9]{1,40}(\\.[0-9]{1,20})? ?[KMGTkmgt]?i?B?") {
            let _ = parse_size(&text);
        }

        #[test]
        fn bytes_are_read_as_they_are(bytes: u64) {
            prop_assert_eq!(parse_size(&bytes.to_string()), Ok(bytes));
        }

        #[test]
        fn what_people_read_is_read_as_nearly_the_same_size(bytes in 0..1u64 << 49) {
            let read = parse_size(&human_size(bytes)).expect("what is shown can be read");
            prop_assert!(read.abs_diff(bytes) <= bytes / 20, "{} became {}", bytes, read);
        }
    }
}
