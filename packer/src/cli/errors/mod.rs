//! Errors as one line.

#[cfg(test)]
mod tests;

use std::fmt::Write;

/// An error and its causes in one line.
///
/// Most types of errors, here and in libraries, name their cause in their own message and give it as their
/// source besides, so that they are complete wherever they are shown. So a cause is left out when the line
/// says it already.
pub(super) fn line(error: &anyhow::Error) -> String {
    let mut out = String::new();
    for cause in error.chain() {
        let text = printable(&cause.to_string());
        if !says(&out, &text) {
            out += if out.is_empty() { "" } else { ": " };
            out += &text;
        }
    }
    out
}

/// Several lines as one; control characters, which names in images may have, as escapes.
fn printable(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(": ").chars().fold(String::new(), |mut out, c| {
        match c.is_control() {
            // Writing to a String cannot fail.
            true => drop(write!(out, "{}", c.escape_default())),
            false => out.push(c),
        }
        out
    })
}

/// Whether `part` stands in `whole`, and not as a part of other words.
fn says(whole: &str, part: &str) -> bool {
    let apart = |next: Option<char>, edge: Option<char>| {
        !next.is_some_and(char::is_alphanumeric) || !edge.is_some_and(char::is_alphanumeric)
    };
    part.is_empty()
        || whole.match_indices(part).any(|(at, _)| {
            let (before, behind) = (&whole[..at], &whole[at + part.len()..]);
            apart(before.chars().next_back(), part.chars().next())
                && apart(behind.chars().next(), part.chars().next_back())
        })
}
