//! Targets for fuzzing: words with replacement strings, and lines of `sh`.

use titan_fuzz::{Chance, run};

use super::language::Language;
use super::shell;

const PIECES: [&str; 34] = [
    "{}",
    "{.}",
    "{/}",
    "{//}",
    "{/.}",
    "{#}",
    "{%}",
    "{1}",
    "{2.}",
    "{-1/}",
    "{0}",
    "{99999999999999999999}",
    "{w}",
    "{h//}",
    "{",
    "}",
    "_",
    "'",
    "\"",
    "\\",
    "$(",
    ")",
    "${",
    "`",
    "#",
    "\n",
    " ",
    "a",
    "$((",
    "<<EOF\n",
    "case x in x)",
    ";;",
    "$'",
    "\u{e4}",
];

fn values(chance: &mut Chance) -> Vec<Vec<u8>> {
    (0..chance.below(4)).map(|_| chance.text(&["a", "/", ".", "'", " ", "\u{e4}", "{}"], 8).into_bytes()).collect()
}

#[test]
fn words_with_replacement_strings() {
    let make = |chance: &mut Chance| {
        let bytes = chance.bytes(30);
        let text = chance.text(&PIECES, 30).into_bytes();
        (if chance.once_in(4) { bytes } else { text }, values(chance), chance.once_in(2))
    };
    let bound =
        |(word, values, _): &(Vec<u8>, Vec<Vec<u8>>, bool)| (64 + values.concat().len()) * (64 + word.len()) * 8;
    run("words with replacement strings", make, bound, |(word, values, has_names)| {
        let names = [b"w".to_vec(), b"h".to_vec()];
        let names = if has_names { &names[..] } else { &[] };
        for whole in [&b"{}"[..], b"_", b""] {
            let language = Language { whole, names, values: Some(values.len()) };
            let Ok(pattern) = language.parse(&word) else { continue };
            for word in pattern.words(&values, 7) {
                word.for_slot(3);
            }
            let Ok(places) = shell::places(&word, pattern.places()) else { continue };
            assert_eq!(places.len(), pattern.places().len());
            pattern.word(&values, 7, |number, values| shell::quote(values, places[number]));
        }
    });
}
