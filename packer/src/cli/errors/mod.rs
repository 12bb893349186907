//! Prints an error and its causes as one line.

#[cfg(test)]
mod tests;

use std::fmt::Write;

/// An error and its causes in one line.
///
/// Most error types, here and in libraries, have their cause in their own message and as their source, too,
/// so that they are complete wherever they are shown. A cause is left out when the line contains it already.
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

/// Joins lines, and escapes control characters, which names in images may contain.
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

/// Whether `whole` contains `part`, and not as a part of other words.
fn says(whole: &str, part: &str) -> bool {
    let apart = |next: Option<char>, edge: Option<char>| {
        !next.is_some_and(char::is_alphanumeric) || !edge.is_some_and(char::is_alphanumeric)
    };
    part.is_empty()
        || whole.match_indices(part).any(|(at, _)| {
            let (before, after) = (&whole[..at], &whole[at + part.len()..]);
            apart(before.chars().next_back(), part.chars().next())
                && apart(after.chars().next(), part.chars().next_back())
        })
}
