//! Open files: open, create, read, write, flush, sync, allocate, seek, copy.

use std::time::{Duration, SystemTime};

use super::attr::Changed;
use super::errno::Errno;
use super::fs::{ALLOCATE_MODES, Backend, Kind, Open, Result, Seek, Stat, Target, Time};
use super::handles::Handle;
use super::nodes::{NodeId, Version};
use super::perms::Perm;
use super::server::Server;
use super::wire::{self, ENTRY_OUT, InHeader, Reader, Writer};

/// Open flags: Linux's generic ones.
mod flag {
    pub(super) const ACCESS: u32 = 3;
    pub(super) const READ: u32 = 0;
    pub(super) const WRITE: u32 = 1;
    pub(super) const READ_WRITE: u32 = 2;
    pub(super) const EXCLUSIVE: u32 = 0o200;
    pub(super) const TRUNCATE: u32 = 0o1000;
    pub(super) const APPEND: u32 = 0o2000;
}

/// `SEEK_DATA` and `SEEK_HOLE` of *lseek(2)*.
const SEEK_DATA: u32 = 3;
const SEEK_HOLE: u32 = 4;

/// Most bytes that one copy within the host may take: Linux's own limit for a write.
const MAX_COPY: u64 = 0x7fff_f000;
/// Two changes of a file within this time may leave the same time stamps: hosts count in ticks of up to 10
/// ms.
const TICK: Duration = Duration::from_millis(50);

/// Length of `struct fuse_open_out` in bytes.
const OPEN_OUT: usize = 16;

/// How to open a file, from the request's flags; EINVAL for the access mode that does not exist.
fn how(flags: u32) -> Result<Open> {
    let (read, write) = match flags & flag::ACCESS {
        flag::READ => (true, false),
        flag::WRITE => (false, true),
        flag::READ_WRITE => (true, true),
        _ => return Err(Errno::INVAL),
    };
    Ok(Open { read, write, truncate: flags & flag::TRUNCATE != 0, ..Open::default() })
}

/// Flags of an open file in the reply: appending is not cached. Linux cuts what it caches at the ends of
/// pages, and each piece would go to what is the end by then: a line of another guest could come between.
fn uncached(flags: u32) -> u32 {
    if flags & flag::APPEND != 0 { wire::FOPEN_DIRECT_IO } else { 0 }
}

/// How to open a file that is to be truncated only after it is known to be the right one.
fn whole(how: Open) -> Open {
    Open { write: how.write || how.truncate, truncate: false, ..how }
}

/// Whether another change of a file would show in its time stamps: it did not change just now, and the host
/// tells the time of the last change of its attributes, which nobody can set. (wasmtime tells the time of its
/// creation instead; a change of the content is then later than that.)
fn is_settled(stat: &Stat) -> bool {
    let (changed, attributes) = (stat.mtime, stat.ctime);
    (changed.sec, changed.nsec) <= (attributes.sec, attributes.nsec) && !is_fresh(attributes)
}

/// Whether this was so shortly ago that another change might leave the same time stamps.
fn is_fresh(ctime: Time) -> bool {
    let Ok(sec) = u64::try_from(ctime.sec) else { return false };
    let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::new(sec, ctime.nsec));
    changed.is_none_or(|at| SystemTime::now().duration_since(at).map_or(true, |age| age < TICK))
}

impl<B: Backend> Server<B> {
    pub(super) fn open(&mut self, h: &InHeader, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        let (flags, open_flags) = (body.u32()?, body.u32()?);
        let how = how(flags)?;
        if how.write || how.truncate {
            self.writable()?;
        }
        let named = self.nodes.get(h.nodeid).map(|_| self.nodes.has_name(h.nodeid))?;
        let fh = self.handles.number()?;
        let out = out.get_mut(..OPEN_OUT).ok_or(Errno::INVAL)?;
        let (file, stat) = if named {
            let path = self.nodes.path(h.nodeid)?;
            let file = self.backend.open(&path, whole(how))?;
            let stat = self.backend.stat(Target::File(&file))?;
            self.nodes.check(h.nodeid, &stat)?;
            self.cut(file, stat, how)?
        } else {
            let file = self.handles.of_node(&self.nodes, h.nodeid).ok_or(Errno::NOENT)?;
            let file = self.backend.reopen(file, whole(how))?;
            let stat = self.backend.stat(Target::File(&file))?;
            self.cut(file, stat, how)?
        };
        if stat.kind != Kind::File {
            return Err(Errno::NXIO);
        }
        let keep = if self.is_as_seen(h.nodeid, &stat)? { wire::FOPEN_KEEP_CACHE } else { 0 };
        self.insert(fh, h.nodeid, file, how)?;
        if how.truncate && open_flags & wire::OPEN_KILL_SUIDGID != 0 {
            self.drop_privileges(h.nodeid)?;
        }
        let mut w = Writer::new(out);
        w.u64(fh).u32(keep | uncached(flags)).u32(0);
        w.len().ok_or(Errno::INVAL)
    }

    /// Truncates what was opened [`whole`], where that was asked for.
    fn cut(&mut self, file: B::File, stat: Stat, how: Open) -> Result<(B::File, Stat)> {
        if !how.truncate {
            return Ok((file, stat));
        }
        self.backend.truncate(Target::File(&file), 0)?;
        let stat = self.backend.stat(Target::File(&file))?;
        Ok((file, stat))
    }

    /// Whether the file is still what the client opened last, so that its cached pages are right; remembers
    /// what it is now.
    fn is_as_seen(&mut self, id: NodeId, stat: &Stat) -> Result<bool> {
        let now = is_settled(stat).then(|| Version::of(stat));
        let node = self.nodes.get_mut(id)?;
        let same = now.is_some() && node.seen == now;
        node.seen = now;
        Ok(same)
    }

    fn insert(&mut self, fh: u64, node: NodeId, file: B::File, how: Open) -> Result<()> {
        self.nodes.get_mut(node)?.open.push(fh);
        self.handles.files.insert(fh, Handle { node, file, read: how.read, write: how.write });
        Ok(())
    }

    /// Makes a file, or opens the one that has come between the client's look-up and this, and opens it.
    pub(super) fn create(&mut self, h: &InHeader, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        let (flags, mode, _umask, open_flags) = (body.u32()?, body.u32()?, body.u32()?, body.u32()?);
        let name = body.name()?;
        let path = self.entry(h.nodeid, name)?;
        self.writable()?;
        let out = out.get_mut(..ENTRY_OUT + OPEN_OUT).ok_or(Errno::INVAL)?;
        let asked = how(flags)?;
        let fh = self.handles.number()?;
        let new = Open { create: true, exclusive: true, truncate: false, mode: mode & 0o7777, ..asked };
        let (file, stat) = match self.backend.open(&path, new) {
            Ok(file) => {
                let stat = self.settle(h, mode, Target::File(&file), &path)?;
                (file, stat)
            }
            Err(Errno::EXIST) if flags & flag::EXCLUSIVE == 0 => {
                let file = self.backend.open(&path, whole(asked))?;
                let stat = self.backend.stat(Target::File(&file))?;
                let (file, mut stat) = self.cut(file, stat, asked)?;
                let number = self.file_number(stat.dev, stat.ino, &path);
                if asked.truncate
                    && open_flags & wire::OPEN_KILL_SUIDGID != 0
                    && let Some(mode) = self.left_privileges(&stat, number)
                {
                    self.change_mode(Changed::Open(&file), number, mode)?;
                    stat = self.backend.stat(Target::File(&file))?;
                }
                (file, stat)
            }
            Err(e) => return Err(e),
        };
        self.put_opened(h, Some(name), &path, file, (fh, asked, uncached(flags)), &stat, out)
    }

    pub(super) fn create_unnamed(
        &mut self,
        h: &InHeader,
        mut body: Reader<'_>,
        out: &mut [u8],
    ) -> Result<usize> {
        let (flags, mode) = (body.u32()?, body.u32()?);
        let dir = self.nodes.path(h.nodeid)?;
        self.writable()?;
        let how = Open { mode: mode & 0o7777, truncate: false, ..how(flags)? };
        let fh = self.handles.number()?;
        let file = self.backend.open_unnamed(&dir, how)?;
        // Any name in it: what counts is the directory.
        let inside = [&dir[..], b"/"].concat();
        let stat = self.settle(h, mode, Target::File(&file), &inside)?;
        self.put_opened(h, None, &inside, file, (fh, how, uncached(flags)), &stat, out)
    }

    #[allow(clippy::too_many_arguments, reason = "a reply's parts")]
    fn put_opened(
        &mut self,
        h: &InHeader,
        name: Option<&[u8]>,
        path: &[u8],
        file: B::File,
        (fh, how, told): (u64, Open, u32),
        stat: &Stat,
        out: &mut [u8],
    ) -> Result<usize> {
        let (entry, opened) = out.split_at_mut_checked(ENTRY_OUT).ok_or(Errno::INVAL)?;
        let id = match name {
            Some(name) => {
                self.put_entry(h.nodeid, name, path, stat, entry)?;
                self.known(h.nodeid, name, stat).ok_or(Errno::IO)?
            }
            None => self.put_unnamed(path, stat, entry)?,
        };
        self.insert(fh, id, file, how)?;
        let mut w = Writer::new(opened);
        w.u64(fh).u32(told).u32(0);
        w.len().map(|len| ENTRY_OUT + len).ok_or(Errno::INVAL)
    }

    /// Reads straight into the reply, as far as the file goes: each round trip costs the guest thousands of
    /// instructions.
    pub(super) fn read(&mut self, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        let (fh, offset, size) = (body.u64()?, body.u64()?, body.u32()?);
        let file = self.handles.readable(fh)?;
        let count = out.len().min(usize::try_from(size).unwrap_or(usize::MAX));
        let buf = &mut out[..count];
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
        Ok(got)
    }

    pub(super) fn write(&mut self, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        let (fh, offset, size, write_flags) = (body.u64()?, body.u64()?, body.u32()?, body.u32()?);
        let (_, flags, _) = (body.u64()?, body.u32()?, body.u32()?);
        let data = body.bytes(usize::try_from(size).map_err(|_| Errno::INVAL)?)?;
        let file = self.handles.writable(fh)?;
        // Pages that were mapped have their own place, whatever the descriptor by which they are written
        // back.
        let from_cache = write_flags & wire::WRITE_CACHE != 0;
        let append = flags & flag::APPEND != 0 && !from_cache;
        let mut done = 0;
        while done < data.len() {
            let at = offset.checked_add(done as u64).ok_or(Errno::FBIG)?;
            let rest = &data[done..];
            let wrote =
                if append { self.backend.append(file, rest) } else { self.backend.write(file, rest, at) };
            match wrote {
                Ok(0) if from_cache => return Err(Errno::IO),
                Ok(0) => break,
                Ok(n) => done += n.min(rest.len()),
                Err(Errno::INTR) => {}
                // A write back that is cut short would be taken for a whole one.
                Err(e) if done == 0 || from_cache => return Err(e),
                Err(_) => break,
            }
        }
        if write_flags & wire::WRITE_KILL_SUIDGID != 0 {
            let node = self.handles.get(fh)?.node;
            self.drop_privileges(node)?;
        }
        let mut w = Writer::new(out);
        w.u32(u32::try_from(done).map_err(|_| Errno::INVAL)?).u32(0);
        w.len().ok_or(Errno::INVAL)
    }

    /// At each *close(2)*: what the host would report then.
    pub(super) fn flush(&mut self, mut body: Reader<'_>) -> Result<usize> {
        let open = self.handles.get(body.u64()?)?;
        if open.write {
            self.backend.flush(&open.file)?;
        }
        Ok(0)
    }

    pub(super) fn release(&mut self, mut body: Reader<'_>) -> Result<usize> {
        let fh = body.u64()?;
        let open = self.handles.files.remove(&fh).ok_or(Errno::BADF)?;
        if let Ok(node) = self.nodes.get_mut(open.node) {
            node.open.retain(|&other| other != fh);
        }
        let gone = self.nodes.get(open.node).is_ok_and(|node| node.open.is_empty());
        if gone
            && !self.nodes.has_name(open.node)
            && let Ok(stat) = self.backend.stat(Target::File(&open.file))
            && stat.ino != 0
        {
            let number = self.file_number(stat.dev, stat.ino, b"");
            self.perms.set(number, Perm::default());
        }
        self.nodes.release(open.node);
        Ok(0)
    }

    pub(super) fn fsync(&mut self, mut body: Reader<'_>) -> Result<usize> {
        let (fh, flags) = (body.u64()?, body.u32()?);
        let open = self.handles.get(fh)?;
        self.backend.sync(&open.file, flags & wire::FSYNC_FDATASYNC != 0)?;
        Ok(0)
    }

    pub(super) fn allocate(&mut self, mut body: Reader<'_>) -> Result<usize> {
        let (fh, offset, len, mode) = (body.u64()?, body.u64()?, body.u64()?, body.u32()?);
        if mode & !ALLOCATE_MODES != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        let file = self.handles.writable(fh)?;
        self.backend.allocate(file, mode, offset, len)?;
        Ok(0)
    }

    pub(super) fn seek(&mut self, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        let (fh, offset, whence) = (body.u64()?, body.u64()?, body.u32()?);
        let what = match whence {
            SEEK_DATA => Seek::Data,
            SEEK_HOLE => Seek::Hole,
            _ => return Err(Errno::INVAL),
        };
        let open = self.handles.get(fh)?;
        let found = self.backend.seek(&open.file, offset, what)?;
        let mut w = Writer::new(out);
        w.u64(found);
        w.len().ok_or(Errno::INVAL)
    }

    pub(super) fn copy(&mut self, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        let (from, from_offset, _node) = (body.u64()?, body.u64()?, body.u64()?);
        let (to, to_offset, len, flags) = (body.u64()?, body.u64()?, body.u64()?, body.u64()?);
        if flags != 0 {
            return Err(Errno::INVAL);
        }
        let (from, to) = (self.handles.readable(from)?, self.handles.writable(to)?);
        let copied = self.backend.copy((from, from_offset), (to, to_offset), len.min(MAX_COPY))?;
        let mut w = Writer::new(out);
        w.u32(u32::try_from(copied).map_err(|_| Errno::OVERFLOW)?).u32(0);
        w.len().ok_or(Errno::INVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_just_now_may_change_again_unseen() {
        let time = |at: SystemTime| {
            let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            Time { sec: since.as_secs() as i64, nsec: since.subsec_nanos() }
        };
        let hour = Duration::from_secs(3600);
        assert!(is_fresh(time(SystemTime::now() + hour)), "clocks differ");
        assert!(!is_fresh(time(SystemTime::now() - hour)));
        assert!(!is_fresh(Time { sec: -5, nsec: 0 }));
    }
}
