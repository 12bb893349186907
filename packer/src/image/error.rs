//! Errors of loading an image. Each message names the input, the place in it, and the way out.

use std::{io, path::PathBuf};
use thiserror::Error;

/// Why an image could not be loaded.
#[derive(Debug, Error)]
pub enum ImageError {
    /// A file or directory of the host could not be read or written.
    #[error("{}: {action}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The spool for decompressed file data could not be written or read.
    #[error(
        "spool file in {}: {source} (it needs as much room as the unpacked image: \
         free some, or choose another place with TMPDIR)", dir.display()
    )]
    Spool {
        /// Directory of the unlinked file.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The image's name makes no sense.
    #[error("image `{reference}`: {problem}")]
    Reference {
        /// The name as given.
        reference: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// An archive is damaged or uses what this reader does not know.
    #[error("{place}: byte {offset} of the archive: {problem}")]
    Archive {
        /// Input and layer.
        place: String,
        /// Offset in the uncompressed archive, in bytes.
        offset: u64,
        /// What is wrong there.
        problem: String,
    },
    /// An entry of an archive, or a file of a root directory, cannot be taken into the image.
    #[error("{place}: entry `{entry}`: {problem}")]
    Entry {
        /// Input and layer.
        place: String,
        /// Name of the entry.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The files do not fit.
    #[error(
        "{place}: entry `{entry}` brings the image's files to {bytes} bytes, more than the {limit} that fit beside \
         guest RAM into the 4 GiB of a wasm32 memory: use a smaller image"
    )]
    TooLarge {
        /// Input and layer.
        place: String,
        /// Name of the entry that was one too many.
        entry: String,
        /// Sum with it, each file rounded up to pages.
        bytes: u64,
        /// [`Limits::total_bytes`](super::Limits::total_bytes).
        limit: u64,
    },
    /// An archive unpacks to far more than an image can hold.
    #[error(
        "{place}: unpacks to more than {limit} bytes: this is a decompression bomb, or an image far too large for \
         the 4 GiB of a wasm32 memory"
    )]
    Bomb {
        /// Input and layer.
        place: String,
        /// Bytes after which reading stopped.
        limit: u64,
    },
    /// More files than allowed.
    #[error("{place}: more than {limit} entries: use an image with fewer files")]
    TooMany {
        /// Input and layer.
        place: String,
        /// [`Limits::entries`](super::Limits::entries).
        limit: usize,
    },
    /// Content does not have the digest it is known by.
    #[error(
        "{place}: digest is {found}, expected {expected}: the content is damaged; fetch or export the image again"
    )]
    Digest {
        /// Input and blob.
        place: String,
        /// Digest by which the content is known.
        expected: String,
        /// Digest that it has.
        found: String,
    },
    /// Content does not have the size its descriptor tells.
    #[error(
        "{place}: {found} bytes, its descriptor says {expected}: the content is damaged; fetch or export the image again"
    )]
    Size {
        /// Input and blob.
        place: String,
        /// Size told, in bytes.
        expected: u64,
        /// Size found (at least), in bytes.
        found: u64,
    },
    /// A JSON document of the image cannot be understood.
    #[error("{place}: {source}: not the JSON document it should be")]
    Json {
        /// Input and document.
        place: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Something the image refers to is not there.
    #[error("{place}: {problem}")]
    Missing {
        /// Input.
        place: String,
        /// What is missing, and what there is.
        problem: String,
    },
    /// The image needs a feature that does not exist here.
    #[error("{place}: {problem}")]
    Unsupported {
        /// Input and part.
        place: String,
        /// Which.
        problem: String,
    },
    /// The image is not for the architecture asked for, or lies about its own.
    #[error("{place}: {problem}")]
    WrongArch {
        /// Input.
        place: String,
        /// What was expected, what was found, what to do.
        problem: String,
    },
    /// A registry refused, or could not be reached.
    #[error("registry image `{reference}`: {problem}")]
    Registry {
        /// The reference.
        reference: String,
        /// What happened, after how many attempts, and what to do.
        problem: String,
    },
}

/// Bytes from an archive as text for a message: printable, and of bounded length.
pub(crate) fn show(name: &[u8]) -> String {
    let text: String = name[..name.len().min(200)].escape_ascii().to_string();
    if name.len() > 200 { format!("{text}...") } else { text }
}
