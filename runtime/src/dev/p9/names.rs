//! Operations that change directories.
//!
//! The host does the work; the tree of names follows only what the host has done.

use super::errno::Errno;
use super::fs::{Backend, Kind, Open, Result, Target};
use super::server::Server;
use super::tree;
use super::wire::Reply;

/// `AT_REMOVEDIR`, the only flag of `Tunlinkat`.
const REMOVE_DIR: u32 = 0x200;

impl<B: Backend> Server<B> {
    pub(super) fn mkdir(&mut self, fid: u32, name: &[u8], mode: u32, gid: u32) -> Result<Reply<'static>> {
        let (_, path) = self.entry(fid, name)?;
        self.writable()?;
        self.backend.mkdir(&path, mode & 0o777)?;
        Ok(Reply::Mkdir { qid: self.made(&path, fid, mode, gid)? })
    }

    pub(super) fn symlink(
        &mut self,
        fid: u32,
        name: &[u8],
        target: &[u8],
        gid: u32,
    ) -> Result<Reply<'static>> {
        let (_, path) = self.entry(fid, name)?;
        self.writable()?;
        if target.is_empty() {
            return Err(Errno::NOENT);
        }
        if target.len() > tree::MAX_PATH {
            return Err(Errno::NAMETOOLONG);
        }
        if target.contains(&0) {
            return Err(Errno::INVAL);
        }
        self.backend.symlink(target, &path)?;
        Ok(Reply::Symlink { qid: self.made(&path, fid, 0o777, gid)? })
    }

    /// Regular files only: a device, FIFO or socket of the guest's has no business on the host.
    pub(super) fn mknod(&mut self, fid: u32, name: &[u8], mode: u32, gid: u32) -> Result<Reply<'static>> {
        let (_, path) = self.entry(fid, name)?;
        self.writable()?;
        let kind = mode & 0o17_0000;
        if kind != 0 && kind != Kind::File.mode_bits() {
            return Err(Errno::PERM);
        }
        let how = Open { write: true, create: true, exclusive: true, mode: mode & 0o777, ..Open::default() };
        self.backend.open(&path, how)?;
        Ok(Reply::Mknod { qid: self.made(&path, fid, mode, gid)? })
    }

    pub(super) fn link(&mut self, dir: u32, fid: u32, name: &[u8]) -> Result<Reply<'static>> {
        let (_, new) = self.entry(dir, name)?;
        let old = self.tree.path(self.fids.get(fid)?.node)?;
        self.writable()?;
        if self.backend.stat(Target::Path(&old))?.kind == Kind::Dir {
            return Err(Errno::PERM);
        }
        self.backend.link(&old, &new)?;
        Ok(Reply::Link {})
    }

    pub(super) fn readlink(&mut self, fid: u32) -> Result<Vec<u8>> {
        let path = self.tree.path(self.fids.get(fid)?.node)?;
        if self.backend.stat(Target::Path(&path))?.kind != Kind::Symlink {
            return Err(Errno::INVAL);
        }
        self.backend.readlink(&path)
    }

    pub(super) fn renameat(
        &mut self,
        old_dir: u32,
        old_name: &[u8],
        new_dir: u32,
        new_name: &[u8],
    ) -> Result<Reply<'static>> {
        let (from, old) = self.entry(old_dir, old_name)?;
        let (to, new) = self.entry(new_dir, new_name)?;
        self.rename((from, old_name, &old), (to, new_name, &new))?;
        Ok(Reply::Renameat {})
    }

    pub(super) fn rename_fid(&mut self, fid: u32, dir: u32, name: &[u8]) -> Result<Reply<'static>> {
        let node = self.fids.get(fid)?.node;
        if node == tree::ROOT {
            return Err(Errno::BUSY);
        }
        let old = self.tree.path(node)?;
        let (from, old_name) = (self.tree.parent(node)?, self.tree.name(node).to_vec());
        let (to, new) = self.entry(dir, name)?;
        self.rename((from, &old_name, &old), (to, name, &new))?;
        Ok(Reply::Rename {})
    }

    fn rename(&mut self, old: (tree::NodeId, &[u8], &[u8]), new: (tree::NodeId, &[u8], &[u8])) -> Result<()> {
        self.writable()?;
        let source = self.backend.stat(Target::Path(old.2))?;
        // Two names of one file: rename(2) then does nothing, and both stay.
        let same = self
            .backend
            .stat(Target::Path(new.2))
            .is_ok_and(|target| source.ino != 0 && (target.dev, target.ino) == (source.dev, source.ino));
        if same {
            return Ok(());
        }
        self.backend.rename(old.2, new.2)?;
        self.tree.rename((old.0, old.1), (new.0, new.1));
        Ok(())
    }

    pub(super) fn unlinkat(&mut self, fid: u32, name: &[u8], flags: u32) -> Result<Reply<'static>> {
        let (dir, path) = self.entry(fid, name)?;
        self.writable()?;
        if flags & !REMOVE_DIR != 0 {
            return Err(Errno::INVAL);
        }
        self.unlink(&path, flags & REMOVE_DIR != 0)?;
        self.tree.detach(dir, name);
        Ok(Reply::Unlinkat {})
    }

    /// What hosts answer to the wrong kind of removal differs (EPERM on macOS and on some WASI runtimes), so the kind
    /// is looked at here.
    fn unlink(&mut self, path: &[u8], directory: bool) -> Result<()> {
        match (self.backend.stat(Target::Path(path))?.kind == Kind::Dir, directory) {
            (true, true) => self.backend.rmdir(path),
            (false, false) => self.backend.unlink(path),
            (true, false) => Err(Errno::ISDIR),
            (false, true) => Err(Errno::NOTDIR),
        }
    }

    /// *remove(5)*: the fid is gone afterwards, whether the file is or not.
    pub(super) fn remove(&mut self, fid: u32) -> Result<Reply<'static>> {
        let node = self.fids.get(fid)?.node;
        let done = self.remove_node(node);
        self.clunk(fid)?;
        done.map(|()| Reply::Remove {})
    }

    fn remove_node(&mut self, node: tree::NodeId) -> Result<()> {
        self.writable()?;
        if node == tree::ROOT {
            return Err(Errno::BUSY);
        }
        let path = self.tree.path(node)?;
        let directory = self.backend.stat(Target::Path(&path))?.kind == Kind::Dir;
        self.unlink(&path, directory)?;
        let (parent, name) = (self.tree.parent(node)?, self.tree.name(node).to_vec());
        self.tree.detach(parent, &name);
        Ok(())
    }
}
