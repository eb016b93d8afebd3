//! What was typed for an option, read and refused the same way by every kernel.

use crate::{OptionError, Request};

/// An option's value, if it was given.
pub(crate) fn given<T>(
    request: &Request,
    option: &str,
    parse: impl FnOnce(&str) -> Option<T>,
    hint: &str,
) -> Result<Option<T>, OptionError> {
    let Some(text) = request.options.get(option) else { return Ok(None) };
    match parse(text.trim()) {
        Some(value) => Ok(Some(value)),
        None => Err(refused(option, format!("can't read '{text}'"), hint)),
    }
}

/// The number in the list of the name that was given, or 0.
pub(crate) fn named(request: &Request, option: &str, names: &[&str]) -> Result<usize, OptionError> {
    let Some(name) = request.options.get(option) else { return Ok(0) };
    let number = names.iter().position(|known| known == name);
    number.ok_or_else(|| refused(option, format!("there is no {option} '{name}'"), &suggestion(name, names)))
}

/// The name that was probably meant, or all of them.
fn suggestion(name: &str, names: &[&str]) -> String {
    let nearest = names.iter().min_by_key(|known| strsim::damerau_levenshtein(name, known));
    match nearest {
        Some(nearest) if strsim::damerau_levenshtein(name, nearest) <= 2 => format!("did you mean '{nearest}'?"),
        _ => format!("choose one of {}", names.join(", ")),
    }
}

/// A number of any type.
pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// `AxB`.
pub(crate) fn pair(text: &str) -> Option<(u32, u32)> {
    let (a, b) = text.split_once(['x', 'X'])?;
    Some((number(a.trim())?, number(b.trim())?))
}

/// That option's value can't be used, for this reason; the hint says what to type.
pub(crate) fn refused(option: &str, reason: String, hint: &str) -> OptionError {
    OptionError { option: option.to_owned(), reason, hint: Some(hint.to_owned()) }
}
