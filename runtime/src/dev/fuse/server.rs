//! The FUSE server: one exported directory, one client, one request at a time.
//!
//! [`Server::handle`] decodes a request, does it on the [`Backend`], and writes the reply into the caller's
//! buffer; it knows nothing of virtio. The operations stand in `names` (what changes directories), `files`
//! (open files), `dirs` (listings) and `attr` (attributes).
//!
//! The client keeps nothing for longer than an operation without asking again: names and attributes are valid
//! for no time. It does cache file contents, and drops them when size or modification time change, or at an
//! open when the file is not the one that was opened last. It writes through: *write(2)* returns when the
//! host has taken the data, and with the host's error. Only what was written by *mmap(2)* comes later, at
//! *msync(2)*, *munmap(2)*, *fsync(2)* or *close(2)*.
//!
//! The client is not trusted. Names are single components; links are never followed (the guest's kernel
//! resolves them itself, among its own names); nodes, open files and listings are bounded; nothing is
//! allocated by a length that the client told.

use super::errno::Errno;
use super::fs::{Backend, Kind, Owner, Owners, Result, Stat, Target};
use super::handles::Handles;
use super::nodes::{self, Key, NodeId, Nodes};
use super::perms::{Perm, Perms, shown};
use super::wire::{self, InHeader, OUT_HEADER, Reader, Writer, init, op};

/// Longest request or reply in bytes: a page of header, and data.
pub const MAX_MESSAGE: usize = MAX_WRITE + 4096;
/// Most data in a request in bytes. Linux sends no more than its list of pages holds: see
/// [`crate::dev::virtio::fs::share`].
pub(crate) const MAX_WRITE: usize = 1 << 20;
/// Oldest client in minor versions: that of Linux 5.4.
const OLDEST_MINOR: u32 = 31;
/// Longest name in bytes, as Linux's NAME_MAX.
const NAME_MAX: usize = 255;
/// Reads ahead and other requests that nobody waits for, at a time.
const MAX_BACKGROUND: u32 = 64;

/// The extended attribute of the exported directory by which init says, once, who the container's user is:
/// `UID:GID`. It exists nowhere else and never reaches the host.
pub const OWNER_XATTR: &str = "trusted.forelift.owner";

/// Something that answers FUSE requests.
pub trait Service: Send {
    /// Serves one request and gives the length of the reply in `reply`; 0 for a request that is not answered.
    fn handle(&mut self, request: &[u8], reply: &mut [u8]) -> usize;
    /// As after a device reset: everything is closed and forgotten.
    fn reset(&mut self);
}

/// A FUSE server over a [`Backend`]. See the module's documentation.
pub struct Server<B: Backend> {
    pub(super) backend: B,
    pub(super) read_only: bool,
    /// The owner shown for files that belong to the host's user.
    pub(super) owner: Option<Owner>,
    pub(super) nodes: Nodes,
    pub(super) handles: Handles<B::File>,
    pub(super) perms: Perms,
    /// Device numbers seen; the exported directory's is the first.
    devices: Vec<u64>,
}

impl<B: Backend> Server<B> {
    /// A server for `backend`; with `read_only`, everything that would change it gives EROFS.
    pub fn new(backend: B, read_only: bool) -> Self {
        Server {
            backend,
            read_only,
            owner: None,
            nodes: Nodes::new(),
            handles: Handles::new(),
            perms: Perms::default(),
            devices: Vec::new(),
        }
    }

    /// Closes everything, as at a new mount. Remembered owners and modes stay.
    pub fn reset(&mut self) {
        self.owner = None;
        self.nodes = Nodes::new();
        self.handles = Handles::new();
    }

    /// See [`Service::handle`].
    pub fn handle(&mut self, request: &[u8], reply: &mut [u8]) -> usize {
        let Some((header, rest)) = InHeader::take(request) else { return 0 };
        let body = (header.len as usize).checked_sub(wire::IN_HEADER).and_then(|len| rest.get(..len));
        match (header.opcode, body) {
            (op::FORGET | op::BATCH_FORGET | op::INTERRUPT, None) => return 0,
            (op::FORGET, Some(body)) => return self.forget(header.nodeid, body),
            (op::BATCH_FORGET, Some(body)) => return self.batch_forget(body),
            // Every request is finished before the next is looked at.
            (op::INTERRUPT, _) => return 0,
            _ => {}
        }
        let Some((_, out)) = reply.split_at_mut_checked(OUT_HEADER) else { return 0 };
        let done = match body {
            Some(body) => self.serve(&header, Reader(body), out),
            None => Err(Errno::INVAL),
        };
        let finished = match done {
            Ok(len) => wire::finish(header.unique, len, reply),
            Err(e) => wire::error(header.unique, e, reply),
        };
        finished.unwrap_or(0)
    }

    fn serve(&mut self, h: &InHeader, body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        match h.opcode {
            op::INIT => self.init(body, out),
            op::DESTROY => {
                self.reset();
                Ok(0)
            }
            op::LOOKUP => self.look_up(h, body, out),
            op::GETATTR => self.getattr(h, body, out),
            op::SETATTR => self.setattr(h, body, out),
            op::READLINK => self.readlink(h, out),
            op::SYMLINK => self.symlink(h, body, out),
            op::MKNOD => self.mknod(h, body, out),
            op::MKDIR => self.mkdir(h, body, out),
            op::UNLINK => self.unlink(h, body, false),
            op::RMDIR => self.unlink(h, body, true),
            op::RENAME => self.rename(h, body, false),
            op::RENAME2 => self.rename(h, body, true),
            op::LINK => self.link(h, body, out),
            op::OPEN => self.open(h, body, out),
            op::CREATE => self.create(h, body, out),
            op::TMPFILE => self.create_unnamed(h, body, out),
            op::READ => self.read(body, out),
            op::WRITE => self.write(body, out),
            op::FLUSH => self.flush(body),
            op::RELEASE => self.release(body),
            op::FSYNC => self.fsync(body),
            op::FALLOCATE => self.allocate(body),
            op::LSEEK => self.seek(body, out),
            op::COPY_FILE_RANGE => self.copy(body, out),
            op::OPENDIR => self.open_dir(h, out),
            op::READDIR => self.read_dir(h, body, out),
            op::RELEASEDIR => self.release_dir(body),
            op::FSYNCDIR => self.sync_dir(h),
            op::SYNCFS => self.backend.sync_all().map(|()| 0),
            op::STATFS => self.statfs(out),
            op::GETXATTR => self.get_xattr(h, body, out),
            op::LISTXATTR => self.list_xattrs(h, body, out),
            op::SETXATTR => self.set_xattr(h, body),
            op::REMOVEXATTR => self.remove_xattr(h, body),
            // Linux asks once, and does without.
            _ => Err(Errno::NOSYS),
        }
    }

    /// Begins a session. Versions other than the client's own end it, as *fuse.h* says.
    fn init(&mut self, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        self.reset();
        let (major, minor, readahead) = (body.u32()?, body.u32()?, body.u32()?);
        if major < wire::MAJOR || major == wire::MAJOR && minor < OLDEST_MINOR {
            return Err(Errno::PROTO);
        }
        let flags = init::ASYNC_READ
            | init::ATOMIC_O_TRUNC
            | init::BIG_WRITES
            | init::AUTO_INVAL_DATA
            | init::PARALLEL_DIROPS
            | init::MAX_PAGES
            | init::HANDLE_KILLPRIV_V2
            | init::INIT_EXT;
        let asked = body.u32()?;
        // Clients without the extension send nothing more.
        let more = if asked & init::INIT_EXT != 0 { body.u32()? & init::DIRECT_IO_ALLOW_MMAP } else { 0 };
        let max_pages = (MAX_WRITE / 4096) as u32;
        let mut w = Writer::new(out);
        w.u32(wire::MAJOR).u32(wire::MINOR.min(minor)).u32(readahead).u32(flags & asked);
        // The threshold from which on Linux calls the file system congested is the upper half.
        w.u32(MAX_BACKGROUND | (MAX_BACKGROUND * 3 / 4) << 16).u32(MAX_WRITE as u32);
        // Granularity of time stamps in nanoseconds; no DAX.
        w.u32(1).u32(max_pages).u32(more).zeros(28);
        w.len().ok_or(Errno::INVAL)
    }

    fn forget(&mut self, nodeid: u64, body: &[u8]) -> usize {
        if let Ok(count) = Reader(body).u64() {
            self.nodes.forget(nodeid, count);
        }
        0
    }

    fn batch_forget(&mut self, body: &[u8]) -> usize {
        let mut r = Reader(body);
        let mut one = |r: &mut Reader<'_>| -> Result<()> {
            let (nodeid, count) = (r.u64()?, r.u64()?);
            self.nodes.forget(nodeid, count);
            Ok(())
        };
        if let (Ok(count), Ok(_)) = (r.u32(), r.u32()) {
            // Ends with the body, however many the client claims.
            for _ in 0..count {
                if one(&mut r).is_err() {
                    break;
                }
            }
        }
        0
    }

    fn look_up(&mut self, h: &InHeader, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        let name = body.name()?;
        let path = self.entry(h.nodeid, name)?;
        let stat = self.backend.stat(Target::Path(&path))?;
        self.put_entry(h.nodeid, name, &path, &stat, out)
    }

    /// Replies with a file found under a name, and counts the look-up.
    pub(super) fn put_entry(
        &mut self,
        parent: NodeId,
        name: &[u8],
        path: &[u8],
        stat: &Stat,
        out: &mut [u8],
    ) -> Result<usize> {
        let room = out.get_mut(..wire::ENTRY_OUT).ok_or(Errno::INVAL)?;
        let id = self.nodes.look_up(parent, name, stat)?;
        self.put_node(id, path, stat, room)
    }

    /// Replies with a file that has no name, and gives its node.
    pub(super) fn put_unnamed(&mut self, path: &[u8], stat: &Stat, out: &mut [u8]) -> Result<NodeId> {
        let id = self.nodes.add_unnamed(stat)?;
        self.put_node(id, path, stat, out)?;
        Ok(id)
    }

    fn put_node(&mut self, id: NodeId, path: &[u8], stat: &Stat, out: &mut [u8]) -> Result<usize> {
        let number = self.file_number(stat.dev, stat.ino, path);
        let attr = shown(stat, number, self.owner_shown(stat), self.perms.get(number));
        let mut w = Writer::new(out);
        wire::put_entry(&mut w, id, &attr);
        w.len().ok_or(Errno::INVAL)
    }

    /// The owner that a file is shown with, unless another is remembered.
    pub(super) fn owner_shown(&self, stat: &Stat) -> Owner {
        let ours = self.owner.unwrap_or_default();
        match (self.backend.owners(), stat.owner) {
            (Owners::Kept, Some(owner)) => owner,
            // The host's user is the container's; everybody else is a stranger with a number.
            (Owners::Fixed(user), Some(owner)) => Owner {
                uid: if owner.uid == user.uid { ours.uid } else { owner.uid },
                gid: if owner.gid == user.gid { ours.gid } else { owner.gid },
            },
            _ => ours,
        }
    }

    /// Gives something new to the user who asked for it: on the host, where that keeps owners, else for the
    /// session. Returns its attributes.
    pub(super) fn settle(
        &mut self,
        h: &InHeader,
        mode: u32,
        target: Target<'_, B::File>,
        path: &[u8],
    ) -> Result<Stat> {
        let stat = self.backend.stat(target)?;
        let number = self.file_number(stat.dev, stat.ino, path);
        let mut perm = Perm::default();
        if !self.backend.keeps_modes() {
            perm.mode = Some(mode & 0o7777);
        }
        let has = self.owner_shown(&stat);
        let mut uid = (has.uid != h.uid).then_some(h.uid);
        let mut gid = (has.gid != h.gid).then_some(h.gid);
        // A directory with the set-group-id bit has given its own group, which stays.
        let parent = path.iter().rposition(|&b| b == b'/').map_or(&b"."[..], |slash| &path[..slash]);
        if gid.is_some()
            && self.backend.owners() != Owners::Unknown
            && self.backend.stat(Target::Path(parent)).is_ok_and(|s| s.mode.unwrap_or(0) & 0o2000 != 0)
        {
            gid = None;
        }
        let mut changed = false;
        if self.backend.owners() == Owners::Kept && (uid.is_some() || gid.is_some()) {
            changed = self.backend.set_owner(target, uid, gid).is_ok();
        }
        if changed {
            (uid, gid) = (None, None);
            // chown(2) has taken the bits that lend privileges.
            let lent = stat.mode.unwrap_or(0);
            if lent & 0o6000 != 0 && stat.kind != Kind::Dir {
                self.backend.set_mode(target, lent)?;
            }
        }
        (perm.uid, perm.gid) = (uid, gid);
        self.perms.set(number, perm);
        if changed { self.backend.stat(target) } else { Ok(stat) }
    }

    pub(super) fn writable(&self) -> Result<()> {
        if self.read_only { Err(Errno::ROFS) } else { Ok(()) }
    }

    /// The path of a name in a directory of the client's.
    pub(super) fn entry(&self, parent: NodeId, name: &[u8]) -> Result<Vec<u8>> {
        check_name(name)?;
        let mut path = self.nodes.path(parent)?;
        if parent == nodes::ROOT {
            path.clear();
        } else {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        if path.len() > nodes::MAX_PATH { Err(Errno::NAMETOOLONG) } else { Ok(path) }
    }

    /// The node of a file that was just looked at under a name, if the client knows it.
    pub(super) fn known(&self, parent: NodeId, name: &[u8], stat: &Stat) -> Option<NodeId> {
        self.nodes.find(&Key::of(stat, parent, name))
    }

    /// Attributes of a node: of an open file, where there is one, which needs no name.
    pub(super) fn stat_node(&mut self, id: NodeId) -> Result<Stat> {
        match self.handles.of_node(&self.nodes, id) {
            Some(file) => self.backend.stat(Target::File(file)),
            None => match (self.nodes.has_name(id), self.nodes.get(id)?.last) {
                (false, Some(last)) => Ok(last),
                _ => {
                    let path = self.nodes.path(id)?;
                    let stat = self.backend.stat(Target::Path(&path))?;
                    self.nodes.check(id, &stat)?;
                    Ok(stat)
                }
            },
        }
    }

    /// One number per file. The inode number itself on the device of the exported directory; other devices
    /// are told apart in the upper byte, as long as there are few of them and their numbers leave it free.
    pub(super) fn file_number(&mut self, dev: u64, ino: u64, path: &[u8]) -> u64 {
        const FREE: u64 = 1 << 56;
        if ino == 0 {
            return hash(path.iter().map(|&b| u64::from(b))) | 1;
        }
        let known = self.devices.iter().position(|&d| d == dev);
        let index = known.or_else(|| {
            (self.devices.len() < 128).then(|| {
                self.devices.push(dev);
                self.devices.len() - 1
            })
        });
        match index {
            Some(index) if ino < FREE => (index as u64) << 56 | ino,
            _ => hash([dev, ino].into_iter()) | 1 << 63,
        }
    }
}

impl<B> Service for Server<B>
where
    B: Backend + Send,
    B::File: Send,
{
    fn handle(&mut self, request: &[u8], reply: &mut [u8]) -> usize {
        Server::handle(self, request, reply)
    }

    fn reset(&mut self) {
        Server::reset(self);
    }
}

impl Service for Box<dyn Service> {
    fn handle(&mut self, request: &[u8], reply: &mut [u8]) -> usize {
        (**self).handle(request, reply)
    }

    fn reset(&mut self) {
        (**self).reset();
    }
}

/// A name that may be made or looked up: one component, and none with a meaning of its own.
fn check_name(name: &[u8]) -> Result<()> {
    if name.len() > NAME_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    let bad = name.is_empty() || name == b"." || name == b".." || name.iter().any(|&b| b == b'/' || b == 0);
    if bad { Err(Errno::INVAL) } else { Ok(()) }
}

/// FNV-1a over words.
fn hash(words: impl Iterator<Item = u64>) -> u64 {
    words.fold(0xcbf2_9ce4_8422_2325, |h, w| {
        let h = (h ^ w).wrapping_mul(0x100_0000_01b3);
        h ^ h >> 29
    })
}
