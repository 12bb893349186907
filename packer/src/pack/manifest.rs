//! The custom section `forelift`: what is in an image, in JSON, for `inspect` and other tools. It is not
//! needed to run an image.

use crate::lift::Report;
use serde::{Deserialize, Serialize};

/// Name of the custom section.
pub const SECTION: &str = "forelift";

/// Bytes of each part that the file stores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSizes {
    /// The emulator.
    pub runtime: u64,
    /// Image configuration.
    pub config: u64,
    /// Machine state.
    pub state: u64,
    /// Kernel image.
    pub kernel: u64,
    /// Initial RAM file system.
    pub initrd: u64,
    /// Pages of guest RAM.
    pub ram: u64,
    /// Root file system image, without its pages of zeros.
    pub root: u64,
    /// Index of the lifted code. (The code itself counts as the emulator's.)
    #[serde(default)]
    pub lifted: u64,
}

/// A binary from elsewhere inside an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binary {
    /// Where the binary came from: `built-in` or a file name.
    pub origin: String,
    /// Where to get its source.
    pub source: String,
    /// Size of the binary in bytes.
    pub bytes: u64,
    /// SHA-256 of the binary, in hexadecimal.
    pub sha256: String,
}

/// The section's contents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of Forelift that made the image.
    pub forelift: String,
    /// Version of the header layout.
    pub header_version: u32,
    /// The image's name as the user gave it.
    pub name: String,
    /// Digest of the source image.
    pub digest: String,
    /// Guest architecture, as OCI names it.
    pub arch: String,
    /// Guest RAM in bytes.
    pub ram_bytes: u64,
    /// Root file system image in bytes.
    pub root_bytes: u64,
    /// Whether the image resumes from a snapshot.
    pub snapshot: bool,
    /// Pages of guest RAM in it.
    pub snapshot_pages: u64,
    /// The kernel.
    pub kernel: Binary,
    /// The interpreter of the container's programs, when the guest's processor cannot execute them.
    #[serde(default)]
    pub interpreter: Option<Binary>,
    /// Bytes of the file, by part.
    pub stored: StoredSizes,
    /// What was lifted.
    #[serde(default)]
    pub lifted: Option<Report>,
    /// Digest of guest RAM and root file system that are in other files (`convert --web`); empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub data: String,
}

impl Manifest {
    /// Encodes the section's contents.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and numbers: this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the section's contents; `None` when they are not ours.
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}
