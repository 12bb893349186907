//! Open directories.

use super::errno::Errno;
use super::fs::{Backend, Entry, Kind, Result, Target};
use super::handles::{Dir, Listing};
use super::nodes::{self, NodeId};
use super::server::Server;
use super::wire::{InHeader, Reader, Writer};

/// Bytes that all directory listings together may take.
const LISTING_BUDGET: usize = 256 << 20;
/// What an entry takes besides its name, in bytes.
const ENTRY_COST: usize = 64;
/// Length of `struct fuse_dirent` without the name, in bytes.
const DIRENT: usize = 24;

/// An entry as it is shown.
struct Shown {
    ino: u64,
    kind: u8,
    name: Box<[u8]>,
}

impl<B: Backend> Server<B> {
    pub(super) fn open_dir(&mut self, h: &InHeader, out: &mut [u8]) -> Result<usize> {
        if !self.nodes.get(h.nodeid)?.is_dir() {
            return Err(Errno::NOTDIR);
        }
        let fh = self.handles.number()?;
        let out = out.get_mut(..16).ok_or(Errno::INVAL)?;
        self.handles.dirs.insert(fh, Dir { node: h.nodeid, listing: None });
        let mut w = Writer::new(out);
        w.u64(fh).u32(0).u32(0);
        w.len().ok_or(Errno::INVAL)
    }

    pub(super) fn release_dir(&mut self, mut body: Reader<'_>) -> Result<usize> {
        let dir = self.handles.dirs.remove(&body.u64()?).ok_or(Errno::BADF)?;
        self.handles.listed -= dir.listing.map_or(0, |listing| listing.cost);
        Ok(0)
    }

    pub(super) fn sync_dir(&mut self, h: &InHeader) -> Result<usize> {
        let path = self.nodes.path(h.nodeid)?;
        self.backend.sync_dir(&path)?;
        Ok(0)
    }

    pub(super) fn read_dir(&mut self, h: &InHeader, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        let (fh, offset, size) = (body.u64()?, body.u64()?, body.u32()?);
        let dir = self.handles.dirs.get(&fh).ok_or(Errno::BADF)?;
        if dir.node != h.nodeid {
            return Err(Errno::BADF);
        }
        // rewinddir(3) lists it anew.
        if offset == 0 || dir.listing.is_none() {
            self.list(fh, h.nodeid)?;
        }
        let room = out.len().min(usize::try_from(size).unwrap_or(usize::MAX));
        self.put_entries(fh, h.nodeid, offset, &mut out[..room])
    }

    fn list(&mut self, fh: u64, id: NodeId) -> Result<()> {
        let old = self.handles.dirs.get_mut(&fh).and_then(|dir| dir.listing.take());
        self.handles.listed -= old.map_or(0, |listing| listing.cost);
        let path = match self.nodes.path(id) {
            Ok(path) => path,
            // A directory that was removed while open is empty.
            Err(Errno::NOENT) => return self.keep(fh, Listing { entries: Vec::new(), dev: 0, cost: 0 }),
            Err(e) => return Err(e),
        };
        let dev = self.backend.stat(Target::Path(&path))?.dev;
        let budget = LISTING_BUDGET.saturating_sub(self.handles.listed);
        let (mut entries, mut cost) = (Vec::new(), 0);
        self.backend.list(&path, &mut |entry: Entry| {
            cost += entry.name.len() + ENTRY_COST;
            if cost > budget {
                return Err(Errno::NOMEM);
            }
            entries.push(entry);
            Ok(())
        })?;
        self.keep(fh, Listing { entries, dev, cost })
    }

    fn keep(&mut self, fh: u64, listing: Listing) -> Result<()> {
        self.handles.listed += listing.cost;
        self.handles.dirs.get_mut(&fh).ok_or(Errno::BADF)?.listing = Some(listing);
        Ok(())
    }

    /// Puts entries from `offset` on: `.`, `..`, then the listing. An entry's offset is the number of the
    /// next.
    fn put_entries(&mut self, fh: u64, id: NodeId, offset: u64, room: &mut [u8]) -> Result<usize> {
        let mut prefix = self.nodes.path(id).unwrap_or_default();
        match id {
            nodes::ROOT => prefix.clear(),
            _ => prefix.push(b'/'),
        }
        let mut used = 0;
        let mut index = usize::try_from(offset).unwrap_or(usize::MAX);
        while let Some(entry) = self.entry_at(fh, id, index, &prefix)? {
            let mut w = Writer::new(&mut room[used..]);
            w.u64(entry.ino).u64(index as u64 + 1).u32(entry.name.len() as u32).u32(u32::from(entry.kind));
            w.bytes(&entry.name)
                .zeros((DIRENT + entry.name.len()).next_multiple_of(8) - DIRENT - entry.name.len());
            match w.len() {
                Some(len) => used += len,
                // Not even one fits: saying "end of directory" would be a lie.
                None if used == 0 => return Err(Errno::INVAL),
                None => break,
            }
            index += 1;
        }
        Ok(used)
    }

    fn entry_at(&mut self, fh: u64, id: NodeId, index: usize, prefix: &[u8]) -> Result<Option<Shown>> {
        if index < 2 {
            let which = if index == 0 { id } else { self.nodes.parent(id).unwrap_or(id) };
            let stat = self.nodes.path(which).and_then(|p| self.backend.stat(Target::Path(&p)));
            let ino = stat.map_or(1, |s| self.file_number(s.dev, s.ino, prefix));
            let name: &[u8] = if index == 0 { b"." } else { b".." };
            return Ok(Some(Shown { ino, kind: Kind::Dir.dirent_type(), name: name.into() }));
        }
        let listing = self.handles.dirs.get(&fh).and_then(|dir| dir.listing.as_ref()).ok_or(Errno::BADF)?;
        let Some(entry) = listing.entries.get(index - 2) else { return Ok(None) };
        let (mut dev, mut entry) = (listing.dev, entry.clone());
        let path = [prefix, &entry.name].concat();
        // Where the listing left something open, ask; an entry that has gone since is told as it was.
        if (entry.ino == 0 || entry.kind.is_none())
            && let Ok(stat) = self.backend.stat(Target::Path(&path))
        {
            (entry.kind, entry.ino, dev) = (Some(stat.kind), stat.ino, stat.dev);
        }
        let ino = self.file_number(dev, entry.ino, &path);
        Ok(Some(Shown { ino, kind: entry.kind.map_or(0, Kind::dirent_type), name: entry.name }))
    }
}
