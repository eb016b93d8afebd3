//! Near misses: the word that was probably meant.

/// How many letters a word may be away from what was meant.
const MOST_EDITS: usize = 3;

/// The candidate that differs least from the word, if it is near enough to be worth a "did you mean".
pub(crate) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = folded(word);
    let near = candidates.into_iter().filter_map(|candidate| {
        let edits = edits_between(&word, &folded(candidate))?;
        Some((edits, candidate))
    });
    near.min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

/// None when the two have too little in common. Lengths are compared first: a word may be a megabyte.
fn edits_between(word: &str, candidate: &str) -> Option<usize> {
    if word.len().abs_diff(candidate.len()) > MOST_EDITS {
        return None;
    }
    let edits = strsim::damerau_levenshtein(word, candidate);
    let bearable = (candidate.chars().count() / 3).clamp(1, MOST_EDITS);
    (edits <= bearable && edits < candidate.chars().count()).then_some(edits)
}

/// Capitals and the kind of dash are no difference.
fn folded(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_seen_and_another_word_is_not() {
        let keys = ["slots", "ssh", "memory", "unhealthy_after"];
        assert_eq!(nearest("slot", keys), Some("slots"));
        assert_eq!(nearest("Memroy", keys), Some("memory"));
        assert_eq!(nearest("unhealthy-after", keys), Some("unhealthy_after"));
        assert_eq!(nearest("port", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), keys), None);
    }

    #[test]
    fn a_single_letter_is_no_near_miss_of_another() {
        assert_eq!(nearest("x", ["s", "m"]), None);
    }
}
