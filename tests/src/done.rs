//! A run that is over, and what a test may expect of it.

use std::{
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Output},
    time::Duration,
};

/// Whether `part` occurs in `whole`.
pub fn contains(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.windows(part.len()).any(|w| w == part)
}

/// Bytes for a message: printable, the middle of long ones left out.
pub fn show(bytes: &[u8]) -> String {
    const MOST: usize = 2000;
    if bytes.len() > 2 * MOST {
        let (first, last) = (&bytes[..MOST], &bytes[bytes.len() - MOST..]);
        return format!("{} [... {} bytes ...] {}", show(first), bytes.len() - 2 * MOST, show(last));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Done {
    what: String,
    status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Wall-clock time of the whole process.
    pub took: Duration,
}

impl Done {
    pub(crate) fn new(
        what: String,
        status: ExitStatus,
        stdout: Vec<u8>,
        stderr: Vec<u8>,
        took: Duration,
    ) -> Self {
        Done { what, status, stdout, stderr, took }
    }

    /// A run whose output the test has taken itself.
    pub fn of(what: &str, output: &Output, took: Duration) -> Self {
        let (stdout, stderr) = (output.stdout.clone(), output.stderr.clone());
        Done { what: what.into(), status: output.status, stdout, stderr, took }
    }

    /// Exit status of the host process.
    ///
    /// # Panics
    /// When a signal ended the host.
    pub fn status(&self) -> i32 {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => code,
            (None, signal) => panic!("{self}: the host was ended by signal {signal:?}"),
        }
    }

    /// Signal that ended the host itself.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Asserts the exit status.
    #[track_caller]
    pub fn expect_status(self, status: i32) -> Self {
        assert_eq!(self.status(), status, "{self}");
        self
    }

    /// Asserts status 0 and an empty stderr, and gives stdout.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status() == 0 && self.stderr.is_empty(), "{self}");
        self.out()
    }

    /// Asserts stdout.
    #[track_caller]
    pub fn expect_out(self, text: &str) -> Self {
        assert_eq!(self.out(), text, "{self}");
        self
    }

    /// Asserts stderr.
    #[track_caller]
    pub fn expect_err(self, text: &str) -> Self {
        assert_eq!(self.err(), text, "{self}");
        self
    }

    /// Asserts exactly one line on stderr, ours, that holds these words; and nothing on stdout.
    #[track_caller]
    pub fn one_error(self, words: &[&str]) -> Self {
        let text = self.err();
        assert!(text.ends_with('\n') && text.lines().count() == 1, "not one line: {self}");
        assert!(text.starts_with("forelift: "), "not ours: {self}");
        for word in words {
            assert!(text.contains(word), "no {word:?}: {self}");
        }
        assert!(self.stdout.is_empty(), "output: {self}");
        self
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (out, err) = (show(&self.stdout), show(&self.stderr));
        write!(f, "{}: {} after {:?}\nstdout: {out}\nstderr: {err}\n", self.what, self.status, self.took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_output_is_shortened() {
        assert_eq!(show(b"abc"), "abc");
        assert_eq!(show(&[0xff]), "\\xff");
        assert!(show(&[b'x'; 100_000]).len() < 5000);
        assert!(contains(b"abc", b"bc") && !contains(b"abc", b"cb") && contains(b"", b""));
    }
}
