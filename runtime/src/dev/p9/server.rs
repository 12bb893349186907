//! The 9P2000.L server: one exported directory, one client, one request at a time.
//!
//! Method: [`Server::handle`] decodes a message, does it on the [`Backend`], and writes the reply into a buffer of the
//! caller's; it knows nothing of virtio. Every request is finished before the next is looked at, so `Tflush` has nothing
//! to do. The operations stand in `names` (what changes directories), `files` (open, read, write, readdir) and
//! `attr` (attributes).
//!
//! The client is not trusted. Names are single components; walking `..` stops at the exported directory; links are never
//! followed (the guest's kernel resolves them itself, among its own names); fids, nodes, open files and directory listings
//! are bounded; nothing is allocated by a length that the client told.
//!
//! Errors go back as `Rlerror` with Linux numbers.

use super::errno::Errno;
use super::fid::{Fids, State};
use super::fs::{Backend, Kind, Result, Stat, Target, Time};
use super::perms::{Owner, Perms};
use super::tree::{self, NodeId, Tree};
use super::wire::{self, Qid, Reply, Request, WireError};

/// Longest message in bytes. Linux's virtio transport asks for at most 500 KiB.
pub const MAX_MSIZE: usize = 512 << 10;
/// Shortest message size that a client may ask for, in bytes; every fixed-size reply fits well inside.
const MIN_MSIZE: usize = 4096;
/// The protocol's name.
const VERSION: &[u8] = b"9P2000.L";
/// `F_UNLCK`, the answer to a question about locks that others hold: there are no others.
const UNLOCKED: u8 = 2;
/// V9FS_MAGIC (*include/uapi/linux/magic.h*).
const FS_MAGIC: u32 = 0x0102_1997;
/// Longest name in bytes, as Linux's NAME_MAX.
const NAME_MAX: usize = 255;

/// A 9P2000.L server over a [`Backend`]. See the module's documentation.
pub struct Server<B: Backend> {
    pub(super) backend: B,
    pub(super) read_only: bool,
    msize: usize,
    pub(super) owner: Option<Owner>,
    pub(super) fids: Fids<B::File>,
    pub(super) tree: Tree,
    pub(super) perms: Perms,
    /// Device numbers seen; the exported directory's is the first.
    devices: Vec<u64>,
    /// Bytes in directory listings.
    pub(super) listed: usize,
}

impl<B: Backend> Server<B> {
    /// A server for `backend`; with `read_only`, everything that would change it gives EROFS.
    pub fn new(backend: B, read_only: bool) -> Self {
        Server {
            backend,
            read_only,
            msize: MAX_MSIZE,
            owner: None,
            fids: Fids::new(),
            tree: Tree::new(),
            perms: Perms::default(),
            devices: Vec::new(),
            listed: 0,
        }
    }

    /// Drops all fids and closes their files, as after a device reset. Remembered owners and modes stay.
    pub fn reset(&mut self) {
        self.msize = MAX_MSIZE;
        self.owner = None;
        self.fids = Fids::new();
        self.tree = Tree::new();
        self.listed = 0;
    }

    /// Serves one message and gives the length of the reply in `reply`, 0 when the message has not even a header to
    /// answer to, or the reply buffer has no room for an error.
    pub fn handle(&mut self, request: &[u8], reply: &mut [u8]) -> usize {
        let Some((&[s0, s1, s2, s3, id, t0, t1], _)) = request.split_first_chunk::<{ wire::HEADER }>() else {
            return 0;
        };
        let tag = u16::from_le_bytes([t0, t1]);
        let size = u32::from_le_bytes([s0, s1, s2, s3]);
        let room = reply.len().min(self.msize);
        let reply = &mut reply[..room];
        let body = usize::try_from(size).ok().filter(|&size| size <= self.msize);
        let body = body.and_then(|size| request.get(wire::HEADER..size));
        let done = match body.map(|body| Request::decode(id, body)) {
            Some(Ok(request)) => self.serve(request, tag, reply),
            Some(Err(WireError::Type(_))) => Err(Errno::OPNOTSUPP),
            Some(Err(_)) | None => Err(Errno::INVAL),
        };
        match done {
            Ok(len) => len,
            Err(Errno(errno)) => Reply::Lerror { errno }.encode(tag, reply).unwrap_or(0),
        }
    }

    fn serve(&mut self, request: Request<'_>, tag: u16, out: &mut [u8]) -> Result<usize> {
        use Request as T;
        let reply = match request {
            T::Read { fid, offset, count } => return self.read(fid, offset, count, tag, out),
            T::Readdir { fid, offset, count } => return self.readdir(fid, offset, count, tag, out),
            T::Readlink { fid } => {
                let target = self.readlink(fid)?;
                return answer(&Reply::Readlink { target: &target }, tag, out);
            }
            T::Getlock { fid, start, length, proc_id, client, .. } => {
                self.fids.get(fid)?;
                return answer(&Reply::Getlock { kind: UNLOCKED, start, length, proc_id, client }, tag, out);
            }
            T::Version { msize, version } => self.version(msize, version)?,
            T::Attach { fid, afid, uname, n_uname, .. } => self.attach(fid, afid, uname, n_uname)?,
            T::Walk { fid, newfid, names } => self.walk(fid, newfid, &names)?,
            T::Clunk { fid } => self.clunk(fid).map(|()| Reply::Clunk {})?,
            T::Flush { .. } => Reply::Flush {},
            T::Lock { fid, .. } => self.fids.get(fid).map(|_| Reply::Lock { status: 0 })?,
            T::Auth { .. } | T::Xattrwalk { .. } | T::Xattrcreate { .. } => return Err(Errno::OPNOTSUPP),
            T::Statfs { fid } => self.statfs(fid)?,
            T::Lopen { fid, flags } => self.lopen(fid, flags)?,
            T::Lcreate { fid, name, flags, mode, gid } => self.lcreate(fid, name, flags, mode, gid)?,
            T::Write { fid, offset, data } => self.write(fid, offset, data.0)?,
            T::Fsync { fid, datasync } => self.fsync(fid, datasync != 0)?,
            T::Getattr { fid, .. } => self.getattr(fid)?,
            T::Setattr { .. } => self.setattr(&request)?,
            T::Symlink { fid, name, target, gid } => self.symlink(fid, name, target, gid)?,
            T::Mknod { fid, name, mode, gid, .. } => self.mknod(fid, name, mode, gid)?,
            T::Mkdir { fid, name, mode, gid } => self.mkdir(fid, name, mode, gid)?,
            T::Link { dir, fid, name } => self.link(dir, fid, name)?,
            T::Rename { fid, dir, name } => self.rename_fid(fid, dir, name)?,
            T::Renameat { old_dir, old_name, new_dir, new_name } => {
                self.renameat(old_dir, old_name, new_dir, new_name)?
            }
            T::Unlinkat { fid, name, flags } => self.unlinkat(fid, name, flags)?,
            T::Remove { fid } => self.remove(fid)?,
        };
        answer(&reply, tag, out)
    }

    fn version(&mut self, msize: u32, version: &[u8]) -> Result<Reply<'static>> {
        self.reset();
        let asked = usize::try_from(msize).unwrap_or(MAX_MSIZE);
        if asked < MIN_MSIZE {
            return Err(Errno::MSGSIZE);
        }
        self.msize = asked.min(MAX_MSIZE);
        let known = version == VERSION;
        Ok(Reply::Version { msize: self.msize as u32, version: if known { VERSION } else { b"unknown" } })
    }

    fn attach(&mut self, fid: u32, afid: u32, uname: &[u8], n_uname: u32) -> Result<Reply<'static>> {
        if afid != wire::NO_FID {
            return Err(Errno::OPNOTSUPP);
        }
        self.fids.check_new(fid)?;
        let stat = self.backend.stat(Target::Path(b"."))?;
        // Later attaches (Linux: one per user with access=user) share the view of the first.
        let first = *self.owner.get_or_insert(Owner::from_attach(uname, n_uname));
        self.tree.retain(tree::ROOT);
        self.fids.insert(fid, tree::ROOT, if n_uname == u32::MAX { first.uid } else { n_uname }, true);
        Ok(Reply::Attach { qid: self.qid(&stat, b".") })
    }

    /// *walk(5)*: as many names as can be walked; the new fid is made only when all could.
    fn walk(&mut self, fid: u32, newfid: u32, names: &[&[u8]]) -> Result<Reply<'static>> {
        let (from, uid, mut is_dir) = self.fids.get(fid).map(|f| (f.node, f.uid, f.is_dir))?;
        if newfid != fid {
            self.fids.check_new(newfid)?;
        } else if !names.is_empty() && !matches!(self.fids.get(fid)?.state, State::Closed) {
            return Err(Errno::BADF);
        }
        let mut qids = Vec::with_capacity(names.len());
        let mut at = from;
        self.tree.retain(at);
        for name in names {
            let next = if is_dir { self.step(at, name) } else { Err(Errno::NOTDIR) };
            match next {
                Ok((next, qid)) => {
                    self.tree.release(at);
                    (at, is_dir) = (next, qid.kind == Qid::DIR);
                    qids.push(qid);
                }
                Err(e) => {
                    self.tree.release(at);
                    return if qids.is_empty() { Err(e) } else { Ok(Reply::Walk { qids }) };
                }
            }
        }
        if newfid != fid {
            self.fids.insert(newfid, at, uid, is_dir);
        } else {
            let f = self.fids.get_mut(fid)?;
            (f.node, f.is_dir) = (at, is_dir);
            self.tree.release(from);
        }
        Ok(Reply::Walk { qids })
    }

    /// One step of a walk; the node comes with a reference.
    fn step(&mut self, at: NodeId, name: &[u8]) -> Result<(NodeId, Qid)> {
        let next = if name == b".." {
            let parent = self.tree.parent(at)?;
            self.tree.retain(parent);
            parent
        } else {
            check_name(name)?;
            self.tree.child(at, name)?
        };
        let stat = self.tree.path(next).and_then(|path| Ok((self.backend.stat(Target::Path(&path))?, path)));
        match stat {
            Ok((stat, path)) => Ok((next, self.qid(&stat, &path))),
            Err(e) => {
                self.tree.release(next);
                Err(e)
            }
        }
    }

    pub(super) fn clunk(&mut self, fid: u32) -> Result<()> {
        let gone = self.fids.remove(fid)?;
        if let State::Dir(Some(listing)) = &gone.state {
            self.listed = self.listed.saturating_sub(listing.cost);
        }
        self.tree.release(gone.node);
        Ok(())
    }

    fn statfs(&mut self, fid: u32) -> Result<Reply<'static>> {
        self.fids.get(fid)?;
        let s = self.backend.space()?;
        Ok(Reply::Statfs {
            kind: FS_MAGIC,
            bsize: s.bsize,
            blocks: s.blocks,
            bfree: s.bfree,
            bavail: s.bavail,
            files: s.files,
            ffree: s.ffree,
            fsid: 0,
            namelen: NAME_MAX as u32,
        })
    }

    /// For the fuzzer: clunks every fid, and panics unless all names and listings are gone with them.
    pub(super) fn check_all_released(&mut self) {
        for fid in self.fids.numbers() {
            assert_eq!(self.clunk(fid), Ok(()), "a fid that is there can be clunked");
        }
        assert_eq!((self.tree.len(), self.listed), (1, 0), "names and listings left without a fid");
    }

    /// EROFS for a read-only export.
    pub(super) fn writable(&self) -> Result<()> {
        if self.read_only { Err(Errno::ROFS) } else { Ok(()) }
    }

    /// Node of a directory fid and the path of a name in it.
    pub(super) fn entry(&self, dir: u32, name: &[u8]) -> Result<(NodeId, Vec<u8>)> {
        let (node, is_dir) = self.fids.get(dir).map(|f| (f.node, f.is_dir))?;
        check_name(name)?;
        if !is_dir {
            return Err(Errno::NOTDIR);
        }
        let mut path = self.tree.path(node)?;
        if node == tree::ROOT {
            path.clear();
        } else {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        if path.len() > tree::MAX_PATH { Err(Errno::NAMETOOLONG) } else { Ok((node, path)) }
    }

    /// The qid of a file. `path` serves hosts without inode numbers.
    pub(super) fn qid(&mut self, stat: &Stat, path: &[u8]) -> Qid {
        let kind = match stat.kind {
            Kind::Dir => Qid::DIR,
            Kind::Symlink => Qid::SYMLINK,
            _ => 0,
        };
        Qid { kind, version: version_of(stat), path: self.file_number(stat.dev, stat.ino, path) }
    }

    /// One number per file. The inode number itself on the device of the exported directory; other devices are told
    /// apart in the upper byte, as long as there are few of them and their numbers leave it free.
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

fn answer(reply: &Reply<'_>, tag: u16, out: &mut [u8]) -> Result<usize> {
    reply.encode(tag, out).ok_or(Errno::MSGSIZE)
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

/// Changes with size and modification time; never 0, which would switch the guest's caching off for the file.
fn version_of(stat: &Stat) -> u32 {
    let Time { sec, nsec } = stat.mtime;
    let h = hash([stat.size, sec as u64, u64::from(nsec)].into_iter());
    (h ^ h >> 32) as u32 | 1
}
