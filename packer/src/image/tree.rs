//! The image's files as a tree of inodes in RAM; their data is in the spool.
//!
//! Inodes are in one vector and refer to each other by number. No operation recurses, so the depth of an
//! archive's directories does not matter. Whiteouts, replacements and hard links change only this metadata;
//! data that is no longer referred to stays in the spool until the spool is dropped.

use super::{ImageError, spool::Spool};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, io, path::Path};

/// Number of an inode in its [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InodeId(pub(crate) u32);

impl InodeId {
    /// The number as an index, below [`Tree::capacity`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mtime {
    /// Seconds since 1970-01-01T00:00Z, rounded down.
    pub secs: i64,
    /// Nanoseconds after that.
    pub nanos: u32,
}

/// Owner, permissions and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky (07777).
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last modification.
    pub mtime: Mtime,
}

impl Meta {
    /// A directory that no archive describes, made because an archive has a file in it.
    pub(crate) const IMPLICIT_DIR: Meta =
        Meta { mode: 0o755, uid: 0, gid: 0, mtime: Mtime { secs: 0, nanos: 0 } };
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// Full name, such as `security.capability`.
    pub name: Box<[u8]>,
    /// Its value.
    pub value: Box<[u8]>,
}

/// A run of a file's data; what no extent covers reads as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset in the file.
    pub at: u64,
    /// Offset in the spool.
    pub spool: u64,
    /// Length in bytes.
    pub len: u64,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirent {
    /// What it names.
    pub inode: InodeId,
    /// The last layer that added it or something below it.
    pub(crate) layer: u32,
}

/// What an inode is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Directory: names in byte order, without `.` and `..`.
    Dir(BTreeMap<Box<[u8]>, Dirent>),
    /// Regular file.
    File {
        /// Length in bytes.
        size: u64,
        /// Where its data is, in ascending order.
        extents: Box<[Extent]>,
    },
    /// Symbolic link and its target.
    Symlink(Box<[u8]>),
    /// Character device: major, minor.
    Char(u32, u32),
    /// Block device: major, minor.
    Block(u32, u32),
    /// Named pipe.
    Fifo,
    /// Unix socket.
    Socket,
}

/// A file of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Owner, permissions and time.
    pub meta: Meta,
    /// Extended attributes in name order, each name once.
    pub xattrs: Box<[Xattr]>,
    /// Names that refer to it; for a directory 1. An inode with 0 is not in use any more.
    pub links: u32,
    /// What it is.
    pub kind: Kind,
}

/// An image's files.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Inode>,
    spool: Spool,
    live: usize,
    file_bytes: u64,
}

/// Bytes a file takes in the root file system image.
fn rounded(kind: &Kind) -> u64 {
    match kind {
        Kind::File { size, .. } => size.div_ceil(4096).saturating_mul(4096),
        _ => 0,
    }
}

impl Tree {
    /// A tree of an empty root directory, with its spool in `dir`.
    pub(crate) fn new(dir: Option<&Path>) -> Result<Self, ImageError> {
        let kind = Kind::Dir(BTreeMap::new());
        let root = Inode { meta: Meta::IMPLICIT_DIR, xattrs: Box::default(), links: 1, kind };
        Ok(Tree { nodes: vec![root], spool: Spool::new(dir)?, live: 1, file_bytes: 0 })
    }

    /// The root directory.
    pub fn root(&self) -> InodeId {
        InodeId(0)
    }

    /// The inode of that number.
    ///
    /// # Panics
    /// If the number is another tree's.
    pub fn inode(&self, id: InodeId) -> &Inode {
        &self.nodes[id.index()]
    }

    pub(crate) fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        &mut self.nodes[id.index()]
    }

    /// One more than the highest inode number, those of replaced files included.
    pub fn capacity(&self) -> usize {
        self.nodes.len()
    }

    /// Inodes in use.
    pub fn live_inodes(&self) -> usize {
        self.live
    }

    /// Sum of all regular files' sizes, each rounded up to 4096 bytes.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    pub(crate) fn spool(&mut self) -> &mut Spool {
        &mut self.spool
    }

    /// The names in a directory; `None` for anything else.
    pub fn entries(&self, dir: InodeId) -> Option<&BTreeMap<Box<[u8]>, Dirent>> {
        match &self.inode(dir).kind {
            Kind::Dir(entries) => Some(entries),
            _ => None,
        }
    }

    /// The inode that `name` is in `dir`, if `dir` is a directory with such a name.
    pub fn child(&self, dir: InodeId, name: &[u8]) -> Option<InodeId> {
        self.entries(dir)?.get(name).map(|d| d.inode)
    }

    /// Finds a path as a process in the container would, following symbolic links (at most 40).
    pub fn lookup(&self, path: &[u8]) -> Option<InodeId> {
        let mut todo: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut stack = vec![self.root()];
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == b".." {
                stack.truncate((stack.len() - 1).max(1));
                continue;
            }
            let child = self.child(*stack.last()?, &name)?;
            if let Kind::Symlink(target) = &self.inode(child).kind {
                links += 1;
                if links > 40 {
                    return None;
                }
                if target.first() == Some(&b'/') {
                    stack.truncate(1);
                }
                todo.extend(components(target).rev().map(<[u8]>::to_vec));
            } else {
                stack.push(child);
            }
        }
        stack.last().copied()
    }

    /// Fills `out` with the file's bytes from `offset`; what lies beyond its data reads as zeros.
    ///
    /// # Errors
    /// When the spool cannot be read, or `id` is no regular file.
    pub fn read_at(&self, id: InodeId, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let Kind::File { extents, .. } = &self.inode(id).kind else {
            return Err(io::Error::other("not a regular file"));
        };
        let mut filled = 0;
        let first = extents.partition_point(|e| e.at + e.len <= offset);
        for extent in &extents[first..] {
            let pos = offset + filled as u64;
            let gap = usize::try_from(extent.at.saturating_sub(pos)).unwrap_or(usize::MAX);
            let gap = gap.min(out.len() - filled);
            out[filled..filled + gap].fill(0);
            filled += gap;
            if filled == out.len() {
                return Ok(());
            }
            let skip = offset + filled as u64 - extent.at;
            let take = usize::try_from(extent.len - skip).unwrap_or(usize::MAX).min(out.len() - filled);
            self.spool.read_at(extent.spool + skip, &mut out[filled..filled + take])?;
            filled += take;
        }
        out[filled..].fill(0);
        Ok(())
    }

    /// Adds an inode without a name.
    pub(crate) fn add(&mut self, meta: Meta, xattrs: Box<[Xattr]>, kind: Kind) -> InodeId {
        self.file_bytes += rounded(&kind);
        self.live += 1;
        self.nodes.push(Inode { meta, xattrs, links: 0, kind });
        InodeId((self.nodes.len() - 1) as u32)
    }

    /// Adds a program to the root directory, owned by root; it replaces a file of that name.
    ///
    /// # Errors
    /// When the spool cannot be written.
    pub fn add_program(&mut self, name: &str, bytes: &[u8]) -> Result<(), ImageError> {
        let extent = Extent { at: 0, spool: self.spool.len(), len: bytes.len() as u64 };
        self.spool.append(bytes)?;
        self.spool.flush()?;
        let kind = Kind::File { size: extent.len, extents: [extent].into() };
        let meta = Meta { mode: 0o755, ..Meta::IMPLICIT_DIR };
        let id = self.add(meta, Box::default(), kind);
        self.link(self.root(), name.as_bytes(), id, u32::MAX);
        Ok(())
    }

    /// Gives `inode` a name in `dir`. An inode that had the name loses it, with all that is below it.
    pub(crate) fn link(&mut self, dir: InodeId, name: &[u8], inode: InodeId, layer: u32) {
        self.inode_mut(inode).links += 1;
        let Kind::Dir(entries) = &mut self.inode_mut(dir).kind else { return };
        if let Some(old) = entries.insert(name.into(), Dirent { inode, layer }) {
            self.release(old.inode);
        }
    }

    /// Removes a name, with all that is below it.
    pub(crate) fn unlink(&mut self, dir: InodeId, name: &[u8]) {
        let Kind::Dir(entries) = &mut self.inode_mut(dir).kind else { return };
        if let Some(old) = entries.remove(name) {
            self.release(old.inode);
        }
    }

    fn release(&mut self, id: InodeId) {
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            let node = &mut self.nodes[id.index()];
            node.links = node.links.saturating_sub(1);
            if node.links == 0 {
                node.xattrs = Box::default();
                let kind = std::mem::replace(&mut node.kind, Kind::Fifo);
                self.file_bytes -= rounded(&kind);
                self.live -= 1;
                if let Kind::Dir(entries) = kind {
                    todo.extend(entries.into_values().map(|d| d.inode));
                }
            }
        }
    }

    /// Marks `name` as used by `layer`; returns what it names.
    pub(crate) fn touch(&mut self, dir: InodeId, name: &[u8], layer: u32) -> Option<InodeId> {
        let Kind::Dir(entries) = &mut self.inode_mut(dir).kind else { return None };
        let dirent = entries.get_mut(name)?;
        dirent.layer = layer;
        Some(dirent.inode)
    }

    /// Removes from `dir` all that layers below `layer` put there, at any depth.
    pub(crate) fn prune(&mut self, dir: InodeId, layer: u32) {
        let mut todo = vec![dir];
        while let Some(dir) = todo.pop() {
            let Kind::Dir(entries) = &mut self.nodes[dir.index()].kind else { continue };
            let mut gone = Vec::new();
            entries.retain(|_, d| {
                if d.layer < layer {
                    gone.push(d.inode);
                } else {
                    todo.push(d.inode);
                }
                d.layer >= layer
            });
            for id in gone {
                self.release(id);
            }
        }
    }

    /// SHA-256 of the whole tree, data included: `sha256:` and hexadecimal digits.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub fn digest(&self) -> io::Result<String> {
        let mut hash = Sha256::new();
        let mut seen = vec![u32::MAX; self.nodes.len()];
        let mut count = 0u32;
        let mut buffer = vec![0; 1 << 16];
        let mut todo: Vec<(u32, &[u8], InodeId)> = vec![(0, b"", self.root())];
        while let Some((depth, name, id)) = todo.pop() {
            hash.update(depth.to_le_bytes());
            field(&mut hash, name);
            let first = seen[id.index()] == u32::MAX;
            if first {
                seen[id.index()] = count;
                count += 1;
            }
            hash.update(seen[id.index()].to_le_bytes());
            if first {
                self.digest_inode(&mut hash, id, &mut buffer)?;
            }
            if let Some(entries) = self.entries(id) {
                todo.extend(entries.iter().rev().map(|(n, d)| (depth + 1, &**n, d.inode)));
            }
        }
        Ok(super::stream::hex_digest("sha256", &hash.finalize()))
    }

    fn digest_inode(&self, hash: &mut Sha256, id: InodeId, buffer: &mut [u8]) -> io::Result<()> {
        let node = self.inode(id);
        let Meta { mode, uid, gid, mtime } = node.meta;
        for number in [u64::from(mode), uid.into(), gid.into(), mtime.secs as u64, mtime.nanos.into()] {
            hash.update(number.to_le_bytes());
        }
        hash.update((node.xattrs.len() as u64).to_le_bytes());
        for xattr in &node.xattrs {
            field(hash, &xattr.name);
            field(hash, &xattr.value);
        }
        match &node.kind {
            Kind::Dir(_) => hash.update(b"d"),
            Kind::Fifo => hash.update(b"p"),
            Kind::Socket => hash.update(b"s"),
            Kind::Char(major, minor) => field(hash, format!("c{major}:{minor}").as_bytes()),
            Kind::Block(major, minor) => field(hash, format!("b{major}:{minor}").as_bytes()),
            Kind::Symlink(target) => {
                hash.update(b"l");
                field(hash, target);
            }
            Kind::File { size, .. } => {
                hash.update(b"f");
                hash.update(size.to_le_bytes());
                let mut at = 0;
                while at < *size {
                    let n = usize::try_from(size - at).unwrap_or(usize::MAX).min(buffer.len());
                    self.read_at(id, at, &mut buffer[..n])?;
                    hash.update(&buffer[..n]);
                    at += n as u64;
                }
            }
        }
        Ok(())
    }
}

fn field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// The components of a path, without empty ones and `.`.
pub(crate) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|c| !c.is_empty() && *c != b".")
}
