//! `image.json`: what `runtime/web/src/image.ts` reads.

use serde::{Deserialize, Serialize};

/// Version of the format.
pub const FORMAT: u32 = 1;

/// The file. Names are relative to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the program that made it.
    pub forelift: String,
    /// Digest of the data, which the module has, too.
    pub data: String,
    /// The module.
    pub code: Code,
    /// Guest RAM as it was saved.
    pub memory: Vec<Piece>,
    /// The root file system.
    pub root: Root,
    /// The page.
    pub page: Page,
    /// Names of all files but `index.html` and this one.
    pub files: Vec<String>,
}

/// The module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Code {
    /// Its name.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A compressed file of runs of pages (of 4096 bytes): for each the number of the first and how many they
/// are, 32 bits little-endian each, and their contents.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Piece {
    /// Its name.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
}

/// The root file system.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Root {
    /// Its size in bytes.
    pub size: u64,
    /// Bytes of a chunk.
    pub chunk: u64,
    /// Names of the compressed chunks, in order; an empty one for a chunk of zeros. What is behind the last
    /// is zeros, too.
    pub chunks: Vec<String>,
    /// The blocks that are read first, once more.
    pub first: Vec<Piece>,
}

/// What the page shows and runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page {
    /// Its title.
    pub title: String,
    /// Arguments for the image.
    pub args: Vec<String>,
    /// Where the container has its network from: `fetch`, or the address of a relay.
    pub net: Option<String>,
    /// Its ports that the page shows.
    pub ports: Vec<u16>,
    /// Whether the page's address cannot change anything.
    pub fixed: bool,
}
