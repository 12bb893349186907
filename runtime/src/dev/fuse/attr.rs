//! Attributes, extended attributes, and space.

use super::errno::Errno;
use super::fs::{Backend, Kind, Open, Owner, Owners, Result, SetTime, Stat, Target, Time};
use super::nodes::{self, NodeId};
use super::perms::{DEFAULT_MODE, Perm, shown};
use super::server::{OWNER_XATTR, Server};
use super::wire::{self, InHeader, Reader, Writer, valid};

/// Longest value of an extended attribute in bytes, as Linux's XATTR_SIZE_MAX.
const XATTR_MAX: usize = 64 << 10;
/// Longest name of an extended attribute in bytes, as Linux's XATTR_NAME_MAX.
const XATTR_NAME_MAX: usize = 255;

/// The file that [`Server::change_mode`] changes.
pub(super) enum Changed<'a, F> {
    /// One that the client knows.
    Node(NodeId),
    /// One that was just opened and has no node yet.
    Open(&'a F),
}

/// Says "no such operation" as *setxattr(2)* does. ENOSYS would make Linux never ask again.
fn unsupported(e: Errno) -> Errno {
    if e == Errno::NOSYS { Errno::OPNOTSUPP } else { e }
}

impl<B: Backend> Server<B> {
    fn put_attr(&mut self, id: NodeId, stat: &Stat, out: &mut [u8]) -> Result<usize> {
        let number = self.number(id, stat);
        let attr = shown(stat, number, self.owner_shown(stat), self.perms.get(number));
        let mut w = Writer::new(out);
        wire::put_attr(&mut w, &attr);
        w.len().ok_or(Errno::INVAL)
    }

    fn number(&mut self, id: NodeId, stat: &Stat) -> u64 {
        let path = if stat.ino == 0 { self.nodes.path(id).unwrap_or_default() } else { Vec::new() };
        self.file_number(stat.dev, stat.ino, &path)
    }

    pub(super) fn getattr(&mut self, h: &InHeader, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        let (flags, _, fh) = (body.u32()?, body.u32()?, body.u64()?);
        let stat = match self.handles.get(fh) {
            Ok(open) if flags & wire::GETATTR_FH != 0 && open.node == h.nodeid => {
                self.backend.stat(Target::File(&open.file))?
            }
            _ => self.stat_node(h.nodeid)?,
        };
        self.put_attr(h.nodeid, &stat, out)
    }

    pub(super) fn setattr(&mut self, h: &InHeader, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        let (what, _, fh, size, _) = (body.u32()?, body.u32()?, body.u64()?, body.u64()?, body.u64()?);
        let seconds = [body.u64()? as i64, body.u64()? as i64, body.u64()? as i64];
        let nanoseconds = [body.u32()?, body.u32()?, body.u32()?];
        let (mode, _, uid, gid) = (body.u32()?, body.u32()?, body.u32()?, body.u32()?);
        self.writable()?;
        let time = |set: u32, now: u32, i: usize| match (what & set != 0, what & now != 0) {
            (false, _) => Ok(SetTime::Keep),
            (true, true) => Ok(SetTime::Now),
            _ if nanoseconds[i] >= 1_000_000_000 => Err(Errno::INVAL),
            _ => Ok(SetTime::To(Time { sec: seconds[i], nsec: nanoseconds[i] })),
        };
        let (atime, mtime) =
            (time(valid::ATIME, valid::ATIME_NOW, 0)?, time(valid::MTIME, valid::MTIME_NOW, 1)?);
        let stat = self.stat_node(h.nodeid)?;
        let given = |flag: u32, value: u32| (what & flag != 0).then_some(value);
        // The owner first: changing it takes the set-user-id bit, which the mode may give back.
        if what & (valid::UID | valid::GID) != 0 {
            self.change_owner(h.nodeid, &stat, given(valid::UID, uid), given(valid::GID, gid))?;
            if what & valid::KILL_SUIDGID != 0 {
                self.drop_privileges(h.nodeid)?;
            }
        }
        if let Some(mode) = given(valid::MODE, mode & 0o7777) {
            let number = self.number(h.nodeid, &stat);
            self.change_mode(Changed::Node(h.nodeid), number, mode)?;
        }
        if what & valid::SIZE != 0 {
            match self.handles.get(fh) {
                Ok(open) if what & valid::FH != 0 && open.node == h.nodeid && open.write => {
                    self.backend.truncate(Target::File(&open.file), size)?;
                }
                _ => self.truncate_node(h.nodeid, size)?,
            }
            if what & valid::KILL_SUIDGID != 0 {
                self.drop_privileges(h.nodeid)?;
            }
        }
        if atime != SetTime::Keep || mtime != SetTime::Keep {
            self.on_node(h.nodeid, |backend, target| backend.set_times(target, atime, mtime))?;
        }
        let stat = self.stat_node(h.nodeid)?;
        self.put_attr(h.nodeid, &stat, out)
    }

    fn truncate_node(&mut self, id: NodeId, size: u64) -> Result<()> {
        let how = Open { write: true, ..Open::default() };
        if self.nodes.has_name(id) {
            let path = self.nodes.path(id)?;
            let stat = self.backend.stat(Target::Path(&path))?;
            self.nodes.check(id, &stat)?;
            return self.backend.truncate(Target::Path(&path), size);
        }
        if let Some(file) = self.handles.writable_of(&self.nodes, id) {
            return self.backend.truncate(Target::File(file), size);
        }
        let file = self.handles.of_node(&self.nodes, id).ok_or(Errno::NOENT)?;
        let file = self.backend.reopen(file, how)?;
        self.backend.truncate(Target::File(&file), size)
    }

    /// Does something with a node by an open file, where there is one, else by its path.
    fn on_node<T>(
        &mut self,
        id: NodeId,
        work: impl FnOnce(&mut B, Target<'_, B::File>) -> Result<T>,
    ) -> Result<T> {
        if let Some(file) = self.handles.of_node(&self.nodes, id) {
            return work(&mut self.backend, Target::File(file));
        }
        let path = self.nodes.path(id)?;
        let stat = self.backend.stat(Target::Path(&path))?;
        self.nodes.check(id, &stat)?;
        work(&mut self.backend, Target::Path(&path))
    }

    fn change_owner(&mut self, id: NodeId, stat: &Stat, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let number = self.number(id, stat);
        let mut perm = self.perms.get(number);
        if self.backend.owners() == Owners::Kept {
            match self.on_node(id, |backend, target| backend.set_owner(target, uid, gid)) {
                Ok(()) => {
                    perm.uid = if uid.is_some() { None } else { perm.uid };
                    perm.gid = if gid.is_some() { None } else { perm.gid };
                    self.perms.set(number, perm);
                    return Ok(());
                }
                // Root in a user namespace that does not have this number.
                Err(Errno::PERM | Errno::INVAL) => {}
                Err(e) => return Err(e),
            }
        }
        if let (Owners::Fixed(user), Some(owner)) = (self.backend.owners(), stat.owner)
            && owner.uid != user.uid
        {
            // Somebody else's file on the host: its owner is told, not remembered.
            return Err(Errno::PERM);
        }
        (perm.uid, perm.gid) = (uid.or(perm.uid), gid.or(perm.gid));
        self.perms.set(number, perm);
        Ok(())
    }

    /// Changes a file's mode: the host's where the backend has modes, else for this session.
    pub(super) fn change_mode(&mut self, file: Changed<'_, B::File>, number: u64, mode: u32) -> Result<()> {
        if !self.backend.keeps_modes() {
            let perm = Perm { mode: Some(mode), ..self.perms.get(number) };
            self.perms.set(number, perm);
            return Ok(());
        }
        match file {
            Changed::Node(id) => self.on_node(id, |backend, target| backend.set_mode(target, mode)),
            Changed::Open(file) => self.backend.set_mode(Target::File(file), mode),
        }
    }

    /// Takes the set-user-id bit, and the set-group-id bit of what a group may execute, from a file that
    /// somebody without privileges has written to. (Linux's own write does so too, but not for root.)
    pub(super) fn drop_privileges(&mut self, id: NodeId) -> Result<()> {
        let stat = self.stat_node(id)?;
        let number = self.number(id, &stat);
        match self.left_privileges(&stat, number) {
            Some(mode) => self.change_mode(Changed::Node(id), number, mode),
            None => Ok(()),
        }
    }

    /// The mode without these bits, if it has any.
    pub(super) fn left_privileges(&self, stat: &Stat, number: u64) -> Option<u32> {
        let mode = self.perms.get(number).mode.or(stat.mode).unwrap_or(DEFAULT_MODE);
        let set_gid = if mode & 0o010 != 0 { 0o2000 } else { 0 };
        let left = mode & !(0o4000 | set_gid);
        (left != mode && stat.kind != Kind::Dir).then_some(left)
    }

    pub(super) fn get_xattr(&mut self, h: &InHeader, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        let (size, _, name) = (body.u32()?, body.u32()?, body.name()?);
        if name == OWNER_XATTR.as_bytes() {
            return Err(Errno::NODATA);
        }
        let value =
            self.on_node(h.nodeid, |backend, target| backend.xattr(target, name)).map_err(unsupported)?;
        sized(&value, size, out)
    }

    pub(super) fn list_xattrs(
        &mut self,
        h: &InHeader,
        mut body: Reader<'_>,
        out: &mut [u8],
    ) -> Result<usize> {
        let size = body.u32()?;
        let names = match self.on_node(h.nodeid, |backend, target| backend.xattrs(target)) {
            // listxattr(2) of a file system without any is empty.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Vec::new(),
            done => done?,
        };
        sized(&names, size, out)
    }

    pub(super) fn set_xattr(&mut self, h: &InHeader, mut body: Reader<'_>) -> Result<usize> {
        let (size, flags) = (body.u32()? as usize, body.u32()?);
        let name = body.name()?;
        if size > XATTR_MAX || name.len() > XATTR_NAME_MAX {
            return Err(Errno::RANGE);
        }
        let value = body.bytes(size)?;
        if name == OWNER_XATTR.as_bytes() {
            return self.tell_owner(h.nodeid, value);
        }
        self.writable()?;
        self.on_node(h.nodeid, |backend, target| backend.set_xattr(target, name, value, flags))
            .map_err(unsupported)?;
        Ok(0)
    }

    fn tell_owner(&mut self, id: NodeId, value: &[u8]) -> Result<usize> {
        if id != nodes::ROOT || self.owner.is_some() {
            return Err(Errno::PERM);
        }
        let text = core::str::from_utf8(value).map_err(|_| Errno::INVAL)?;
        let (uid, gid) = text.split_once(':').ok_or(Errno::INVAL)?;
        let number = |text: &str| text.parse().map_err(|_| Errno::INVAL);
        self.owner = Some(Owner { uid: number(uid)?, gid: number(gid)? });
        Ok(0)
    }

    pub(super) fn remove_xattr(&mut self, h: &InHeader, mut body: Reader<'_>) -> Result<usize> {
        let name = body.name()?;
        self.writable()?;
        if name == OWNER_XATTR.as_bytes() {
            return Err(Errno::NODATA);
        }
        self.on_node(h.nodeid, |backend, target| backend.remove_xattr(target, name)).map_err(unsupported)?;
        Ok(0)
    }

    pub(super) fn statfs(&mut self, out: &mut [u8]) -> Result<usize> {
        let s = self.backend.space()?;
        let mut w = Writer::new(out);
        w.u64(s.blocks).u64(s.bfree).u64(s.bavail).u64(s.files).u64(s.ffree);
        w.u32(s.bsize).u32(255).u32(s.bsize).zeros(4 + 24);
        w.len().ok_or(Errno::INVAL)
    }
}

/// A value, or only its size when the client asks for that with a size of 0.
fn sized(value: &[u8], size: u32, out: &mut [u8]) -> Result<usize> {
    let mut w = Writer::new(out);
    if size == 0 {
        w.u32(u32::try_from(value.len()).map_err(|_| Errno::TOOBIG)?).u32(0);
    } else if value.len() > size as usize {
        return Err(Errno::RANGE);
    } else {
        w.bytes(value);
    }
    w.len().ok_or(Errno::RANGE)
}
