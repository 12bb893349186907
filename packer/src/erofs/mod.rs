//! Writes a read-only EROFS image of a tree (Linux, *Documentation/filesystems/erofs.rst* and
//! *fs/erofs/erofs_fs.h*).
//!
//! [`Volume::new`] decides where everything goes and how long the image is. [`Volume::write_to`] then writes
//! the bytes strictly in order, in bounded memory, so that they can go to a stream:
//!
//! | blocks | content |
//! |---|---|
//! | 0 | 1024 zeros, the superblock, the first inodes |
//! | to `data` | the other inodes, each with its attributes and, if short, its link target or directory |
//! | to `files` | directories that do not fit after their inode, long link targets |
//! | to the end | file data, each file on a block boundary, uncompressed and contiguous |
//! | padding | zeros up to a multiple of 2 MiB |
//!
//! All regular files are `FLAT_PLAIN`: the data of each is one range of the image ([`Volume::data`]). Links
//! and directories may be `FLAT_INLINE`. Inodes have the extended form, because the compact one has no time
//! of its own. Equal trees give equal bytes.
//!
//! Limits: 4 KiB blocks; 2^32 of them; extended attributes inline only (equal ones are not shared).

mod dir;
mod inode;
#[cfg(test)]
mod tests;
mod volume;
mod write;
mod xattr;

pub use volume::Volume;

use std::io;
use thiserror::Error;

/// Block size in bytes.
const BLOCK: u64 = 4096;

/// How to make an image.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the volume's UUID is derived from: the container image's digest.
    pub seed: String,
}

/// Why an image could not be made.
#[derive(Debug, Error)]
pub enum ErofsError {
    /// The tree holds something the format has no room for.
    #[error("root file system: `{path}`: {problem}")]
    Entry {
        /// Path in the image.
        path: String,
        /// What does not fit.
        problem: String,
    },
    /// More than 2^32 blocks.
    #[error("root file system: {bytes} bytes are more than the 16 TiB an EROFS image can have")]
    TooLarge {
        /// What it would take, at least.
        bytes: u64,
    },
    /// The spool cannot be read.
    #[error("root file system: reading back the files' data: {0}")]
    Spool(#[source] io::Error),
    /// The output cannot be written.
    #[error("root file system: writing it: {0}")]
    Output(#[source] io::Error),
}
