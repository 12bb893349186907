//! Inodes (erofs.rst, *Inodes*): the 64-byte extended form.

use crate::image::{Inode, Kind};

/// Bytes of a `struct erofs_inode_extended`.
pub(super) const SIZE: u64 = 64;
/// Unit of inode numbers in bytes.
pub(super) const SLOT: u64 = 32;

/// `i_format`: extended form, and the layout of the data.
const PLAIN: u16 = 1;
const INLINE: u16 = 1 | 2 << 1;

/// File type in a directory entry (`FT_*`).
pub(super) fn file_type(kind: &Kind) -> u8 {
    match kind {
        Kind::File { .. } => 1,
        Kind::Dir(_) => 2,
        Kind::Char(..) => 3,
        Kind::Block(..) => 4,
        Kind::Fifo => 5,
        Kind::Socket => 6,
        Kind::Symlink(_) => 7,
    }
}

/// `S_IFMT` bits of the mode.
fn format_bits(kind: &Kind) -> u16 {
    match kind {
        Kind::Fifo => 0o010000,
        Kind::Char(..) => 0o020000,
        Kind::Dir(_) => 0o040000,
        Kind::Block(..) => 0o060000,
        Kind::File { .. } => 0o100000,
        Kind::Symlink(_) => 0o120000,
        Kind::Socket => 0o140000,
    }
}

/// A device number as `new_decode_dev` of the kernel reads it: 12 bits of major, 20 of minor.
pub(super) fn device(major: u32, minor: u32) -> Option<u32> {
    (major < 1 << 12 && minor < 1 << 20).then_some((minor & 0xff) | major << 8 | (minor & !0xff) << 12)
}

/// Where an inode's data is.
pub(super) struct Placed {
    pub(super) size: u64,
    /// First block of the data, or the device number.
    pub(super) at: u32,
    pub(super) inline: bool,
    pub(super) links: u32,
    /// Running number, for 32-bit `stat`.
    pub(super) ino: u32,
    pub(super) xattr_count: u16,
}

/// Encodes a `struct erofs_inode_extended`.
pub(super) fn encode(node: &Inode, placed: &Placed) -> [u8; SIZE as usize] {
    let mut out = [0; SIZE as usize];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &if placed.inline { INLINE } else { PLAIN }.to_le_bytes());
    put(2, &placed.xattr_count.to_le_bytes());
    // Whatever an archive says: Linux makes every link with this mode.
    let mode = if matches!(node.kind, Kind::Symlink(_)) { 0o777 } else { node.meta.mode & 0o7777 };
    put(4, &(format_bits(&node.kind) | mode).to_le_bytes());
    put(8, &placed.size.to_le_bytes());
    put(16, &placed.at.to_le_bytes());
    put(20, &placed.ino.to_le_bytes());
    put(24, &node.meta.uid.to_le_bytes());
    put(28, &node.meta.gid.to_le_bytes());
    put(32, &node.meta.mtime.secs.to_le_bytes());
    put(40, &node.meta.mtime.nanos.to_le_bytes());
    put(44, &placed.links.to_le_bytes());
    out
}
