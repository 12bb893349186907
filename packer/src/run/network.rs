//! What the container has of a network: what its options come to, and what is at the other end of its link.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use forelift_net::{OptionError, Options, Plan};
use thiserror::Error;

use crate::embed::{Link, Network};

/// Why the container cannot have such a network.
#[derive(Debug, Error)]
pub enum NetworkOptionError {
    /// The options say so.
    #[error(transparent)]
    Options(#[from] OptionError),
    /// The capture's file.
    #[error("--net-capture {path}: {source}")]
    Capture {
        /// The file.
        path: PathBuf,
        /// Why it cannot be written.
        source: io::Error,
    },
}

/// The network that the options ask for, with all packets written to `capture`; `None` without any.
///
/// # Errors
/// See [`NetworkOptionError`].
pub fn network(options: &Options, capture: Option<&Path>) -> Result<Option<Network>, NetworkOptionError> {
    let Some(Plan { interface, config }) = options.plan()? else { return Ok(None) };
    let link = match &options.stream {
        None => Link::Gateway,
        Some(text) => match text.split_once("-listen:") {
            Some((kind, address)) => Link::Listen(format!("{kind}:{address}")),
            None => Link::Connect(text.clone()),
        },
    };
    let capture = capture.map(create).transpose()?;
    Ok(Some(Network { interface, config, link, publish_all: options.publish_all, capture }))
}

fn create(path: &Path) -> Result<Arc<File>, NetworkOptionError> {
    File::create(path)
        .map(Arc::new)
        .map_err(|source| NetworkOptionError::Capture { path: path.into(), source })
}
