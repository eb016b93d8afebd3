//! Texts that are kept as files in `tests/snapshots`, so that a change of what people read is seen.

use std::fs;
use std::path::Path;

/// With this variable set to 1, the files are written instead of compared.
const BLESS: &str = "TITAN_BLESS";

/// Compares a text with the file of that name.
///
/// # Panics
/// They differ.
#[track_caller]
pub fn assert_snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots").join(format!("{name}.txt"));
    // Blanks at the ends of lines are nothing that anybody sees.
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    let text = lines.join("\n") + "\n";
    if std::env::var_os(BLESS).is_some_and(|value| value == "1") {
        fs::write(&path, &text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{name} differs ({BLESS}=1 keeps the new one).\n{}", difference(&kept, &text));
}

/// The first lines that differ.
fn difference(kept: &str, text: &str) -> String {
    let (kept_lines, lines): (Vec<&str>, Vec<&str>) = (kept.lines().collect(), text.lines().collect());
    let same = kept_lines.iter().zip(&lines).take_while(|(a, b)| a == b).count();
    let some = |lines: &[&str], sign: char| -> String {
        lines.iter().skip(same).take(5).map(|line| format!("{sign} {line}\n")).collect()
    };
    format!("from line {}:\n{}{}", same + 1, some(&kept_lines, '-'), some(&lines, '+'))
}
