//! Why the command could not be run: an exit code of docker's and one line for the user.
//!
//! This is the init's only error type. It travels from the stage to the supervisor through a pipe (see
//! [`crate::stage`]) and from there to the host as [`ToHost::Failed`](forelift_abi::control::ToHost::Failed).

use crate::sys;
use forelift_abi::exit;
use std::{fmt, io};

/// A failure, with the exit code that the image ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// 125, 126 or 127.
    pub(crate) code: u8,
    /// One line.
    pub(crate) message: String,
}

impl Failure {
    /// Ours: exit code 125.
    pub(crate) fn own(message: impl Into<String>) -> Self {
        Failure { code: exit::FAILURE, message: message.into() }
    }

    /// The command is there and cannot be executed: 126.
    pub(crate) fn not_executable(message: impl Into<String>) -> Self {
        Failure { code: exit::NOT_EXECUTABLE, message: message.into() }
    }

    /// The command is not there: 127.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Failure { code: exit::NOT_FOUND, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Turns an [`io::Result`] into ours, with a word on what was being done.
pub(crate) trait Context<T> {
    /// The failure reads `<what>: <error>`.
    fn context(self, what: &str) -> Result<T, Failure>;
    /// As [`Context::context`], with the text made only when needed.
    fn with_context(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: &str) -> Result<T, Failure> {
        self.with_context(|| what.to_owned())
    }

    fn with_context(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|e| Failure::own(format!("{}: {}", what(), sys::describe(&e))))
    }
}
