//! Operations that change directories.
//!
//! The host does the work; the nodes follow only what the host has done.

use super::errno::Errno;
use super::fs::{Backend, Kind, Open, Replace, Result, Stat, Target};
use super::nodes::{self, NodeId};
use super::perms::Perm;
use super::server::Server;
use super::wire::{InHeader, Reader};

/// `RENAME_NOREPLACE` and `RENAME_EXCHANGE` of *rename(2)*.
const NO_REPLACE: u32 = 1;
const EXCHANGE: u32 = 2;

impl<B: Backend> Server<B> {
    /// Replies with what was just made.
    fn made(&mut self, h: &InHeader, name: &[u8], path: &[u8], mode: u32, out: &mut [u8]) -> Result<usize> {
        let stat = self.settle(h, mode, Target::Path(path), path)?;
        self.put_entry(h.nodeid, name, path, &stat, out)
    }

    pub(super) fn mkdir(&mut self, h: &InHeader, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        let (mode, _, name) = (body.u32()?, body.u32()?, body.name()?);
        let path = self.entry(h.nodeid, name)?;
        self.writable()?;
        self.backend.mkdir(&path, mode & 0o7777)?;
        self.made(h, name, &path, mode, out)
    }

    pub(super) fn symlink(&mut self, h: &InHeader, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        let (name, target) = (body.name()?, body.name()?);
        let path = self.entry(h.nodeid, name)?;
        self.writable()?;
        if target.is_empty() {
            return Err(Errno::NOENT);
        }
        if target.len() > nodes::MAX_PATH {
            return Err(Errno::NAMETOOLONG);
        }
        self.backend.symlink(target, &path)?;
        self.made(h, name, &path, 0o777, out)
    }

    /// Regular files, FIFOs and sockets: a device of the guest's has no business on the host.
    pub(super) fn mknod(&mut self, h: &InHeader, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        let (mode, _device, _umask, _) = (body.u32()?, body.u32()?, body.u32()?, body.u32()?);
        let name = body.name()?;
        let path = self.entry(h.nodeid, name)?;
        self.writable()?;
        match Kind::of_mode(mode) {
            Some(Kind::File) => {
                let mode = mode & 0o7777;
                let how = Open { write: true, create: true, exclusive: true, mode, ..Open::default() };
                drop(self.backend.open(&path, how)?);
            }
            Some(kind @ (Kind::Fifo | Kind::Socket)) => self.backend.mknod(&path, kind, mode & 0o7777)?,
            Some(Kind::Char | Kind::Block) => return Err(Errno::PERM),
            _ => return Err(Errno::INVAL),
        }
        self.made(h, name, &path, mode, out)
    }

    pub(super) fn link(&mut self, h: &InHeader, mut body: Reader<'_>, out: &mut [u8]) -> Result<usize> {
        let (old, name) = (body.u64()?, body.name()?);
        let path = self.entry(h.nodeid, name)?;
        self.writable()?;
        if self.nodes.get(old)?.is_dir() {
            return Err(Errno::PERM);
        }
        if self.nodes.has_name(old) {
            let from = self.nodes.path(old)?;
            self.backend.link(Target::Path(&from), &path)?;
        } else {
            let file = self.handles.of_node(&self.nodes, old).ok_or(Errno::NOENT)?;
            self.backend.link(Target::File(file), &path)?;
        }
        let stat = self.backend.stat(Target::Path(&path))?;
        self.put_entry(h.nodeid, name, &path, &stat, out)
    }

    pub(super) fn readlink(&mut self, h: &InHeader, out: &mut [u8]) -> Result<usize> {
        let path = self.nodes.path(h.nodeid)?;
        let target = self.backend.readlink(&path)?;
        out.get_mut(..target.len()).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(&target);
        Ok(target.len())
    }

    pub(super) fn rename(&mut self, h: &InHeader, mut body: Reader<'_>, with_flags: bool) -> Result<usize> {
        let to = body.u64()?;
        let flags = if with_flags { body.u32()? } else { 0 };
        if with_flags {
            body.skip(4)?;
        }
        let (old_name, new_name) = (body.name()?, body.name()?);
        let replace = match flags {
            0 => Replace::Yes,
            NO_REPLACE => Replace::No,
            EXCHANGE => Replace::Exchange,
            _ => return Err(Errno::INVAL),
        };
        let (old, new) = (self.entry(h.nodeid, old_name)?, self.entry(to, new_name)?);
        self.writable()?;
        let source = self.backend.stat(Target::Path(&old))?;
        let target = self.backend.stat(Target::Path(&new)).ok();
        let moved = self.known(h.nodeid, old_name, &source);
        let there = target.and_then(|stat| self.known(to, new_name, &stat));
        // Two names of one file: rename(2) then does nothing, and both stay.
        let same = |target: &Stat| source.ino != 0 && (target.dev, target.ino) == (source.dev, source.ino);
        if replace != Replace::No && target.as_ref().is_some_and(same) {
            return Ok(0);
        }
        self.backend.rename(&old, &new, replace)?;
        let (from, to) = ((h.nodeid, old_name), (to, new_name));
        match (replace, target) {
            (Replace::Exchange, _) => {
                if let Some(there) = there {
                    self.nodes.rename(there, to, from)?;
                }
            }
            (_, Some(stat)) => self.gone(there, to, &new, &stat),
            _ => {}
        }
        if let Some(moved) = moved {
            self.nodes.rename(moved, from, to)?;
        }
        Ok(0)
    }

    /// A name was removed from a file, whose attributes were these before, and whose node is this, if the
    /// client knows it.
    fn gone(&mut self, id: Option<NodeId>, name: (NodeId, &[u8]), path: &[u8], stat: &Stat) {
        let last = stat.kind == Kind::Dir || stat.nlink <= 1;
        let open = id.and_then(|id| self.nodes.get(id).ok()).is_some_and(|node| !node.open.is_empty());
        // The host may give its number to another file, but not as long as this one is open.
        if last && !(open && stat.ino != 0) {
            let number = self.file_number(stat.dev, stat.ino, path);
            self.perms.set(number, Perm::default());
        }
        if let Some(id) = id {
            self.nodes.remove_name(id, name.0, name.1, last.then_some(*stat));
        }
    }

    /// What hosts answer to the wrong kind of removal differs (EPERM on macOS and on some WASI runtimes), so
    /// the kind is looked at here.
    pub(super) fn unlink(&mut self, h: &InHeader, mut body: Reader<'_>, directory: bool) -> Result<usize> {
        let name = body.name()?;
        let path = self.entry(h.nodeid, name)?;
        self.writable()?;
        let stat = self.backend.stat(Target::Path(&path))?;
        match (stat.kind == Kind::Dir, directory) {
            (true, true) => self.backend.rmdir(&path)?,
            (false, false) => self.backend.unlink(&path)?,
            (true, false) => return Err(Errno::ISDIR),
            (false, true) => return Err(Errno::NOTDIR),
        }
        let known = self.known(h.nodeid, name, &stat);
        self.gone(known, (h.nodeid, name), &path, &stat);
        Ok(0)
    }
}
