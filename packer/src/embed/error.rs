//! Why an image did not run.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::{net::NetworkError, shares::ShareError};
use crate::pack::reader::OpenError;

/// Why an image did not run, or not to its end.
#[derive(Debug, Error)]
pub enum RunError {
    /// The image is unusable.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// wasmtime refuses the settings, or this host.
    #[error("wasmtime: {0}")]
    Engine(String),
    /// The module does not compile.
    #[error("{path}: compiling: {message}")]
    Compile {
        /// The image.
        path: PathBuf,
        /// What wasmtime says.
        message: String,
    },
    /// Precompiled code from another build or for another CPU.
    #[error(
        "{path}: its native code does not suit this build of forelift or this host: make it again with \
         `forelift compile` ({message})"
    )]
    Incompatible {
        /// The image.
        path: PathBuf,
        /// What wasmtime says.
        message: String,
    },
    /// A directory cannot be shared.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The network cannot be begun.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The host lacks memory or terminals.
    #[error("{what}: {source}")]
    Host {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The module cannot be started.
    #[error("{path}: {message}")]
    Instantiate {
        /// The image.
        path: PathBuf,
        /// What wasmtime says.
        message: String,
    },
    /// The emulator trapped.
    #[error("the emulator failed: {0}")]
    Trap(String),
}

/// An error and its causes in one line.
pub(crate) fn one_line(e: &wasmtime::Error) -> String {
    let text = format!("{e:#}");
    text.split('\n').map(str::trim).filter(|s| !s.is_empty()).collect::<Vec<_>>().join(": ")
}
