//! Where every inode and block of a volume is, and how long it is.

use super::{
    BLOCK, ErofsError, Options, dir,
    inode::{self, SIZE, SLOT},
    xattr,
};
use crate::image::{InodeId, Kind, Tree};
use forelift_abi::layout::REGION_ALIGN;
use std::ops::Range;

/// Offset of the first inode: after the superblock.
const FIRST: u64 = 1024 + 128;

/// An inode's place.
pub(super) struct Slot {
    pub(super) id: InodeId,
    /// The directory it was first found in; its own for the root.
    pub(super) parent: InodeId,
    /// Offset of the inode in the image.
    pub(super) offset: u64,
    /// Bytes of its extended attributes.
    pub(super) xattrs: u32,
    /// Bytes of its data.
    pub(super) size: u64,
    /// First block of the data (devices: the device number); meaningless if `inline`.
    pub(super) at: u32,
    /// Whether the data follows the inode.
    pub(super) inline: bool,
    pub(super) links: u32,
}

/// An image of a tree, laid out and ready to be written.
pub struct Volume<'a> {
    pub(super) tree: &'a Tree,
    pub(super) seed: String,
    /// In the order of their offsets.
    pub(super) slots: Vec<Slot>,
    /// Index into `slots` by inode number; `u32::MAX` for what is not in the image.
    pub(super) index: Vec<u32>,
    /// First block after the inodes.
    pub(super) meta_blocks: u64,
    /// Blocks in use.
    pub(super) blocks: u64,
}

impl<'a> Volume<'a> {
    /// Lays out an image of `tree`.
    ///
    /// # Errors
    /// See [`ErofsError`].
    pub fn new(tree: &'a Tree, options: &Options) -> Result<Self, ErofsError> {
        let mut volume = Volume {
            tree,
            seed: options.seed.clone(),
            slots: Vec::with_capacity(tree.live_inodes()),
            index: vec![u32::MAX; tree.capacity()],
            meta_blocks: 0,
            blocks: 0,
        };
        volume.place_inodes()?;
        volume.place_data()?;
        Ok(volume)
    }

    /// Length of the image in bytes: a multiple of [`REGION_ALIGN`].
    pub fn size(&self) -> u64 {
        (self.blocks * BLOCK).next_multiple_of(REGION_ALIGN)
    }

    /// Number of inodes in the image.
    pub fn inodes(&self) -> usize {
        self.slots.len()
    }

    /// Where the data of a regular file is in the image; `None` when it has none.
    pub fn data(&self, id: InodeId) -> Option<Range<u64>> {
        let slot = self.slots.get(*self.index.get(id.index())? as usize)?;
        let file = matches!(self.tree.inode(id).kind, Kind::File { .. });
        let start = u64::from(slot.at) * BLOCK;
        (file && slot.size > 0 && !slot.inline).then(|| start..start + slot.size)
    }

    /// Inode number by which directories refer to an inode.
    pub(super) fn nid(&self, id: InodeId) -> u64 {
        self.slots[self.index[id.index()] as usize].offset / SLOT
    }

    /// The names of a directory in order, with `.` and `..`, and the inodes they stand for.
    pub(super) fn names(&self, slot: &Slot) -> impl Iterator<Item = (&'a [u8], InodeId)> + use<'a> {
        let entries = self.tree.entries(slot.id);
        let own = [(&b"."[..], slot.id), (&b".."[..], slot.parent)];
        // Few names sort before the two dots; a merge of sorted lists needs no copy.
        let mut own = own.into_iter().peekable();
        let mut rest = entries.into_iter().flatten().map(|(n, d)| (&**n, d.inode)).peekable();
        std::iter::from_fn(move || match (own.peek(), rest.peek()) {
            (Some(a), Some(b)) if b.0 < a.0 => rest.next(),
            (Some(_), _) => own.next(),
            (None, _) => rest.next(),
        })
    }

    /// The path of an inode, for messages.
    fn path(&self, at: usize) -> String {
        let mut path: Vec<u8> = Vec::new();
        let mut slot = &self.slots[at];
        while slot.id != slot.parent && path.len() < 4096 {
            let name =
                self.tree.entries(slot.parent).and_then(|e| e.iter().find(|(_, d)| d.inode == slot.id));
            let mut whole = vec![b'/'];
            whole.extend_from_slice(name.map_or(b"?", |(n, _)| n));
            whole.append(&mut path);
            path = whole;
            slot = &self.slots[self.index[slot.parent.index()] as usize];
        }
        path.escape_ascii().to_string()
    }

    /// Gives every inode an offset, breadth first, so that a directory's children are next to each other and
    /// listing it touches few blocks. The root comes first: its number has 16 bits.
    fn place_inodes(&mut self) -> Result<(), ErofsError> {
        let mut end = FIRST;
        self.place(self.tree.root(), self.tree.root(), &mut end)?;
        let mut next = 0;
        while next < self.slots.len() {
            let dir = self.slots[next].id;
            for (_, entry) in self.tree.entries(dir).into_iter().flatten() {
                if self.index[entry.inode.index()] == u32::MAX {
                    self.place(entry.inode, dir, &mut end)?;
                }
            }
            next += 1;
        }
        self.meta_blocks = end.div_ceil(BLOCK);
        Ok(())
    }

    fn place(&mut self, id: InodeId, parent: InodeId, end: &mut u64) -> Result<(), ErofsError> {
        let node = self.tree.inode(id);
        self.index[id.index()] = self.slots.len() as u32;
        self.slots.push(Slot {
            id,
            parent,
            offset: 0,
            xattrs: 0,
            size: 0,
            at: 0,
            inline: false,
            links: node.links,
        });
        let at = self.slots.len() - 1;
        let fail = |problem| ErofsError::Entry { path: self.path(at), problem };
        let xattrs = xattr::encode(&node.xattrs).map_err(fail)?.len() as u64;
        let (size, device, links) = self.measure(&self.slots[at]).map_err(fail)?;
        let may = matches!(node.kind, Kind::Symlink(_) | Kind::Dir(_));
        let head = SIZE + xattrs;
        // Inline data must be in one block (`erofs_map_blocks`), and an inode should be.
        let inline = may && size <= BLOCK / 2;
        let tail = if inline { size } else { 0 };
        let mut offset = end.next_multiple_of(SLOT);
        while offset % BLOCK + SIZE > BLOCK || (tail > 0 && (offset + head) % BLOCK + tail > BLOCK) {
            offset += SLOT;
        }
        *end = offset + head + tail;
        let slot = &mut self.slots[at];
        (slot.offset, slot.xattrs, slot.size, slot.inline) = (offset, xattrs as u32, size, inline);
        (slot.at, slot.links) = (device, links);
        Ok(())
    }

    /// Bytes of an inode's data, its device number, and its number of links.
    fn measure(&self, slot: &Slot) -> Result<(u64, u32, u32), String> {
        let node = self.tree.inode(slot.id);
        Ok(match &node.kind {
            Kind::File { size, .. } => (*size, 0, node.links),
            Kind::Symlink(target) => (target.len() as u64, 0, node.links),
            Kind::Dir(entries) => {
                let size = dir::size(self.names(slot).map(|(name, _)| name.len()));
                let dirs = entries.values().filter(|d| self.tree.entries(d.inode).is_some()).count();
                (size, 0, 2 + dirs as u32)
            }
            Kind::Char(major, minor) | Kind::Block(major, minor) => {
                let device = inode::device(*major, *minor).ok_or_else(|| {
                    format!("device number {major}:{minor} is beyond Linux's 12 and 20 bits")
                })?;
                (0, device, node.links)
            }
            Kind::Fifo | Kind::Socket => (0, 0, node.links),
        })
    }

    /// Gives blocks to data that is not inline: directories and links first, then files.
    fn place_data(&mut self) -> Result<(), ErofsError> {
        let mut block = self.meta_blocks;
        for files in [false, true] {
            for slot in &mut self.slots {
                let file = matches!(self.tree.inode(slot.id).kind, Kind::File { .. });
                let device = matches!(self.tree.inode(slot.id).kind, Kind::Char(..) | Kind::Block(..));
                if file != files || slot.inline || device || slot.size == 0 {
                    continue;
                }
                slot.at = u32::try_from(block).unwrap_or(u32::MAX);
                block = block.saturating_add(slot.size.div_ceil(BLOCK));
                if block >= u64::from(u32::MAX) {
                    return Err(ErofsError::TooLarge { bytes: block.saturating_mul(BLOCK) });
                }
            }
        }
        self.blocks = block;
        Ok(())
    }
}
