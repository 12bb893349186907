//! Open files and directories: open, create, read, write, sync, readdir.

use super::errno::Errno;
use super::fid::{Listing, State};
use super::fs::{Backend, Entry, Kind, Open, Result, Target};
use super::server::Server;
use super::tree;
use super::wire::{self, DATA_HEADER, Field, Qid, Reply, Writer};

/// Open flags of 9P2000.L: Linux's generic ones.
mod flag {
    pub(super) const ACCESS: u32 = 3;
    pub(super) const READ: u32 = 0;
    pub(super) const WRITE: u32 = 1;
    pub(super) const READ_WRITE: u32 = 2;
    pub(super) const EXCLUSIVE: u32 = 0o200;
    pub(super) const TRUNCATE: u32 = 0o1000;
    pub(super) const APPEND: u32 = 0o2000;
    pub(super) const DIRECTORY: u32 = 0o20_0000;
}

/// Bytes that all directory listings together may take.
const LISTING_BUDGET: usize = 64 << 20;
/// What an entry takes besides its name, in bytes.
const ENTRY_COST: usize = 64;

/// An entry as `Rreaddir` shows it.
struct Shown {
    qid: Qid,
    kind: u8,
    name: Box<[u8]>,
}

/// How a file shall be opened, from the flags; EINVAL for the access mode that does not exist.
fn how(flags: u32) -> Result<Open> {
    let (read, write) = match flags & flag::ACCESS {
        flag::READ => (true, false),
        flag::WRITE => (false, true),
        flag::READ_WRITE => (true, true),
        _ => return Err(Errno::INVAL),
    };
    Ok(Open { read, write, truncate: flags & flag::TRUNCATE != 0, ..Open::default() })
}

/// Why a file that is neither regular nor a directory is not opened. Nothing here may wait for the other end of a FIFO.
fn unopenable(kind: Kind) -> Errno {
    if kind == Kind::Symlink { Errno::LOOP } else { Errno::NXIO }
}

impl<B: Backend> Server<B> {
    fn closed(&self, fid: u32) -> Result<tree::NodeId> {
        let f = self.fids.get(fid)?;
        if matches!(f.state, State::Closed) { Ok(f.node) } else { Err(Errno::BADF) }
    }

    pub(super) fn lopen(&mut self, fid: u32, flags: u32) -> Result<Reply<'static>> {
        self.closed(fid)?;
        let how = how(flags)?;
        let (stat, qid) = self.stat_fid(fid)?;
        let state = match stat.kind {
            Kind::Dir if how.write || how.truncate => return Err(Errno::ISDIR),
            Kind::Dir => State::Dir(None),
            _ if flags & flag::DIRECTORY != 0 => return Err(Errno::NOTDIR),
            Kind::File => {
                if how.write || how.truncate {
                    self.writable()?;
                }
                let path = self.tree.path(self.fids.get(fid)?.node)?;
                self.open_file(&path, how, flags)?
            }
            other => return Err(unopenable(other)),
        };
        self.fids.set_state(fid, state)?;
        Ok(Reply::Lopen { qid, iounit: 0 })
    }

    fn open_file(&mut self, path: &[u8], how: Open, flags: u32) -> Result<State<B::File>> {
        self.fids.check_open()?;
        let file = self.backend.open(path, how)?;
        Ok(State::File { file, read: how.read, write: how.write, append: flags & flag::APPEND != 0 })
    }

    /// Makes a file in a directory; the fid, the directory's until now, becomes the open file's.
    pub(super) fn lcreate(
        &mut self,
        fid: u32,
        name: &[u8],
        flags: u32,
        mode: u32,
        gid: u32,
    ) -> Result<Reply<'static>> {
        let dir = self.closed(fid)?;
        let (_, path) = self.entry(fid, name)?;
        self.writable()?;
        let exclusive = flags & flag::EXCLUSIVE != 0;
        let how = Open { create: true, exclusive, mode: mode & 0o777, ..how(flags)? };
        let existed = match self.backend.stat(Target::Path(&path)) {
            Ok(_) if exclusive => return Err(Errno::EXIST),
            Ok(stat) if stat.kind == Kind::Dir => return Err(Errno::ISDIR),
            Ok(stat) if stat.kind != Kind::File => return Err(unopenable(stat.kind)),
            Ok(_) => true,
            Err(Errno::NOENT) => false,
            Err(e) => return Err(e),
        };
        // The node first: it can fail, and must not do so when the file is there.
        let node = self.tree.child(dir, name)?;
        match self.create_file(&path, how, flags, (fid, mode, gid), existed) {
            Ok((state, qid)) => {
                let f = self.fids.get_mut(fid)?;
                (f.node, f.is_dir) = (node, false);
                self.fids.set_state(fid, state)?;
                self.tree.release(dir);
                Ok(Reply::Lcreate { qid, iounit: 0 })
            }
            Err(e) => {
                self.tree.release(node);
                Err(e)
            }
        }
    }

    fn create_file(
        &mut self,
        path: &[u8],
        how: Open,
        flags: u32,
        (fid, mode, gid): (u32, u32, u32),
        existed: bool,
    ) -> Result<(State<B::File>, Qid)> {
        let state = self.open_file(path, how, flags)?;
        let qid = if existed {
            let stat = self.backend.stat(Target::Path(path))?;
            self.qid(&stat, path)
        } else {
            self.made(path, fid, mode, gid)?
        };
        Ok((state, qid))
    }

    /// Reads straight into the reply. Fills what was asked for as far as the file goes: each round trip costs the guest
    /// thousands of instructions.
    pub(super) fn read(
        &mut self,
        fid: u32,
        offset: u64,
        count: u32,
        tag: u16,
        out: &mut [u8],
    ) -> Result<usize> {
        let file = match &self.fids.get(fid)?.state {
            State::File { file, read: true, .. } => file,
            State::Dir(_) => return Err(Errno::ISDIR),
            _ => return Err(Errno::BADF),
        };
        let room = out.get_mut(DATA_HEADER..).ok_or(Errno::MSGSIZE)?;
        let count = room.len().min(usize::try_from(count).unwrap_or(usize::MAX));
        let buf = &mut room[..count];
        let mut got = 0;
        while got < count {
            let at = offset.checked_add(got as u64).ok_or(Errno::INVAL)?;
            match self.backend.read(file, &mut buf[got..], at) {
                Ok(0) => break,
                Ok(n) => got += n.min(count - got),
                Err(Errno::INTR) => {}
                Err(e) if got == 0 => return Err(e),
                Err(_) => break,
            }
        }
        wire::finish_data(wire::RREAD, tag, got, out).ok_or(Errno::MSGSIZE)
    }

    pub(super) fn write(&mut self, fid: u32, offset: u64, data: &[u8]) -> Result<Reply<'static>> {
        let (file, append) = match &self.fids.get(fid)?.state {
            State::File { file, write: true, append, .. } => (file, *append),
            State::Dir(_) => return Err(Errno::ISDIR),
            _ => return Err(Errno::BADF),
        };
        // The guest's idea of the end may be old when the host appends too.
        let start = if append { self.backend.stat(Target::File(file))?.size } else { offset };
        let mut done = 0;
        while done < data.len() {
            let at = start.checked_add(done as u64).ok_or(Errno::FBIG)?;
            match self.backend.write(file, &data[done..], at) {
                Ok(0) => break,
                Ok(n) => done += n.min(data.len() - done),
                Err(Errno::INTR) => {}
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(Reply::Write { count: u32::try_from(done).map_err(|_| Errno::INVAL)? })
    }

    pub(super) fn fsync(&mut self, fid: u32, data_only: bool) -> Result<Reply<'static>> {
        let f = self.fids.get(fid)?;
        match &f.state {
            State::File { file, .. } => self.backend.sync(file, data_only)?,
            State::Dir(_) => {
                let path = self.tree.path(f.node)?;
                self.backend.sync_dir(&path)?;
            }
            State::Closed => return Err(Errno::BADF),
        }
        Ok(Reply::Fsync {})
    }

    pub(super) fn readdir(
        &mut self,
        fid: u32,
        offset: u64,
        count: u32,
        tag: u16,
        out: &mut [u8],
    ) -> Result<usize> {
        match &self.fids.get(fid)?.state {
            State::Dir(Some(_)) if offset != 0 => {}
            State::Dir(_) => self.list(fid)?,
            State::File { .. } => return Err(Errno::NOTDIR),
            State::Closed => return Err(Errno::BADF),
        }
        let room = out.get_mut(DATA_HEADER..).ok_or(Errno::MSGSIZE)?;
        let count = room.len().min(usize::try_from(count).unwrap_or(usize::MAX));
        let len = self.put_entries(fid, offset, &mut room[..count])?;
        wire::finish_data(wire::RREADDIR, tag, len, out).ok_or(Errno::MSGSIZE)
    }

    /// Lists the directory of a fid anew.
    fn list(&mut self, fid: u32) -> Result<()> {
        let f = self.fids.get_mut(fid)?;
        let node = f.node;
        if let State::Dir(old) = &mut f.state
            && let Some(old) = old.take()
        {
            self.listed = self.listed.saturating_sub(old.cost);
        }
        let path = match self.tree.path(node) {
            Ok(path) => path,
            // A directory that was removed while open is empty.
            Err(Errno::NOENT) => {
                let empty = Listing { entries: Vec::new(), dev: 0, cost: 0 };
                return self.fids.set_state(fid, State::Dir(Some(empty)));
            }
            Err(e) => return Err(e),
        };
        let dev = self.backend.stat(Target::Path(&path))?.dev;
        let budget = LISTING_BUDGET - self.listed.min(LISTING_BUDGET);
        let (mut entries, mut cost) = (Vec::new(), 0);
        self.backend.list(&path, &mut |entry: Entry| {
            cost += entry.name.len() + ENTRY_COST;
            if cost > budget {
                return Err(Errno::NOMEM);
            }
            entries.push(entry);
            Ok(())
        })?;
        self.listed += cost;
        self.fids.set_state(fid, State::Dir(Some(Listing { entries, dev, cost })))
    }

    /// Puts entries from `offset` on: `.`, `..`, then the listing. An entry's offset is the number of the next.
    fn put_entries(&mut self, fid: u32, offset: u64, room: &mut [u8]) -> Result<usize> {
        let node = self.fids.get(fid)?.node;
        let mut used = 0;
        let mut index = usize::try_from(offset).unwrap_or(usize::MAX);
        while let Some(entry) = self.entry_at(fid, node, index)? {
            let mut w = Writer::new(&mut room[used..]);
            entry.qid.put(&mut w);
            (index as u64 + 1).put(&mut w);
            entry.kind.put(&mut w);
            (&entry.name[..]).put(&mut w);
            match w.finish() {
                Some(len) => used += len,
                // Not even one fits: saying "end of directory" would be a lie.
                None if used == 0 => return Err(Errno::INVAL),
                None => break,
            }
            index += 1;
        }
        Ok(used)
    }

    fn entry_at(&mut self, fid: u32, node: tree::NodeId, index: usize) -> Result<Option<Shown>> {
        if index < 2 {
            let which = if index == 0 { node } else { self.tree.parent(node).unwrap_or(node) };
            let known = self.tree.path(which).and_then(|p| Ok((self.backend.stat(Target::Path(&p))?, p)));
            let qid = known.map_or(Qid { kind: Qid::DIR, ..Qid::default() }, |(s, p)| self.qid(&s, &p));
            let name: &[u8] = if index == 0 { b"." } else { b".." };
            return Ok(Some(Shown { qid, kind: Kind::Dir.dirent_type(), name: name.into() }));
        }
        let State::Dir(Some(listing)) = &self.fids.get(fid)?.state else { return Err(Errno::BADF) };
        let Some(entry) = listing.entries.get(index - 2) else { return Ok(None) };
        let (dev, entry) = (listing.dev, entry.clone());
        let mut path = self.tree.path(node).unwrap_or_default();
        if node == tree::ROOT {
            path.clear();
        } else {
            path.push(b'/');
        }
        path.extend_from_slice(&entry.name);
        // Where the listing left something open, ask; an entry that has gone since is told as it was.
        if (entry.ino == 0 || entry.kind.is_none())
            && let Ok(stat) = self.backend.stat(Target::Path(&path))
        {
            let qid = self.qid(&stat, &path);
            return Ok(Some(Shown { qid, kind: stat.kind.dirent_type(), name: entry.name }));
        }
        let kind = match entry.kind {
            Some(Kind::Dir) => Qid::DIR,
            Some(Kind::Symlink) => Qid::SYMLINK,
            _ => 0,
        };
        let qid = Qid { kind, version: 0, path: self.file_number(dev, entry.ino, &path) };
        Ok(Some(Shown { qid, kind: entry.kind.map_or(0, Kind::dirent_type), name: entry.name }))
    }
}
