//! Attributes: `Tgetattr`, `Tsetattr`, and what a new file starts with.

use super::errno::Errno;
use super::fs::{Backend, Kind, Result, SetTime, Stat, Target, Time};
use super::perms::{DEFAULT_MODE, Perm};
use super::server::Server;
use super::wire::{Qid, Reply, Request};

/// `P9_STATS_BASIC`: mode to blocks, everything that *stat(2)* needs.
const BASIC: u64 = 0x7ff;
/// Preferred size of a read or write in bytes.
const BLOCK: u64 = 128 << 10;
/// Permission bits that reach the host: no set-id or sticky bits from an untrusted guest.
const HOST_MODE: u32 = 0o777;

/// Bits of `Tsetattr`'s `valid` (Linux *include/net/9p/9p.h*).
mod valid {
    pub(super) const MODE: u32 = 1;
    pub(super) const UID: u32 = 1 << 1;
    pub(super) const GID: u32 = 1 << 2;
    pub(super) const SIZE: u32 = 1 << 3;
    pub(super) const ATIME: u32 = 1 << 4;
    pub(super) const MTIME: u32 = 1 << 5;
    pub(super) const ATIME_SET: u32 = 1 << 7;
    pub(super) const MTIME_SET: u32 = 1 << 8;
}

impl<B: Backend> Server<B> {
    /// Attributes and qid of a fid's file.
    pub(super) fn stat_fid(&mut self, fid: u32) -> Result<(Stat, Qid)> {
        let at = self.fids.locate(&self.tree, fid, false)?;
        let stat = self.backend.stat(at.target())?;
        let path = self.tree.path(self.fids.get(fid)?.node).unwrap_or_default();
        Ok((stat, self.qid(&stat, &path)))
    }

    pub(super) fn getattr(&mut self, fid: u32) -> Result<Reply<'static>> {
        let (stat, qid) = self.stat_fid(fid)?;
        let owner = self.owner.unwrap_or_default();
        let perm = self.perms.get(qid.path);
        let own_mode = stat.mode.unwrap_or(if stat.kind == Kind::Symlink { 0o777 } else { DEFAULT_MODE });
        let sec = |t: Time| t.sec as u64;
        let nsec = |t: Time| u64::from(t.nsec);
        Ok(Reply::Getattr {
            valid: BASIC,
            qid,
            mode: stat.kind.mode_bits() | perm.mode.unwrap_or(own_mode) & 0o7777,
            uid: perm.uid.unwrap_or(owner.uid),
            gid: perm.gid.unwrap_or(owner.gid),
            nlink: stat.nlink,
            rdev: 0,
            size: stat.size,
            blksize: BLOCK,
            blocks: stat.blocks,
            atime_sec: sec(stat.atime),
            atime_nsec: nsec(stat.atime),
            mtime_sec: sec(stat.mtime),
            mtime_nsec: nsec(stat.mtime),
            ctime_sec: sec(stat.ctime),
            ctime_nsec: nsec(stat.ctime),
            btime_sec: 0,
            btime_nsec: 0,
            generation: 0,
            data_version: 0,
        })
    }

    pub(super) fn setattr(&mut self, request: &Request<'_>) -> Result<Reply<'static>> {
        let Request::Setattr { fid, valid: which, mode, uid, gid, size, .. } = *request else {
            return Err(Errno::INVAL);
        };
        self.fids.get(fid)?;
        self.writable()?;
        let has = |bit: u32| which & bit != 0;
        if has(valid::SIZE) {
            let at = self.fids.locate(&self.tree, fid, true)?;
            self.backend.truncate(at.target(), size)?;
        }
        if which & (valid::MODE | valid::UID | valid::GID) != 0 {
            let given = |bit: u32, value: u32| has(bit).then_some(value);
            let change = Perm {
                mode: given(valid::MODE, mode & 0o7777),
                uid: given(valid::UID, uid),
                gid: given(valid::GID, gid),
            };
            self.set_perm(fid, change)?;
        }
        let (atime, mtime) = times(request)?;
        if (atime, mtime) != (SetTime::Keep, SetTime::Keep) {
            let at = self.fids.locate(&self.tree, fid, false)?;
            self.backend.set_times(at.target(), atime, mtime)?;
        }
        Ok(Reply::Setattr {})
    }

    /// chmod and chown: to the host what it keeps, the rest to memory.
    fn set_perm(&mut self, fid: u32, change: Perm) -> Result<()> {
        let (stat, qid) = self.stat_fid(fid)?;
        let mut perm = self.perms.get(qid.path);
        perm.uid = change.uid.or(perm.uid);
        perm.gid = change.gid.or(perm.gid);
        if let Some(mode) = change.mode {
            if self.backend.keeps_modes() {
                let at = self.fids.locate(&self.tree, fid, false)?;
                self.backend.set_mode(at.target(), mode & HOST_MODE)?;
            }
            perm.mode = self.to_remember(stat.kind, mode);
        }
        self.perms.set(qid.path, perm);
        Ok(())
    }

    /// The part of a mode that must be remembered, because showing the file's own would give another.
    fn to_remember(&self, kind: Kind, mode: u32) -> Option<u32> {
        let shown = match kind {
            Kind::Symlink => return None,
            _ if self.backend.keeps_modes() => mode & HOST_MODE,
            _ => DEFAULT_MODE,
        };
        (mode != shown).then_some(mode)
    }

    /// A file was made at `path` by the user of `fid`: notes its owner and mode, and gives its qid.
    pub(super) fn made(&mut self, path: &[u8], fid: u32, mode: u32, gid: u32) -> Result<Qid> {
        let stat = self.backend.stat(Target::Path(path))?;
        if self.backend.keeps_modes()
            && matches!(stat.kind, Kind::File | Kind::Dir)
            && stat.mode.is_some_and(|own| own & HOST_MODE != mode & HOST_MODE)
        {
            // The emulator's own umask took bits away that the guest's had left.
            self.backend.set_mode(Target::Path(path), mode & HOST_MODE)?;
        }
        let qid = self.qid(&stat, path);
        let owner = self.owner.unwrap_or_default();
        let uid = self.fids.get(fid)?.uid;
        let perm = Perm {
            mode: self.to_remember(stat.kind, mode & 0o7777),
            uid: (uid != owner.uid).then_some(uid),
            gid: (gid != owner.gid && gid != u32::MAX).then_some(gid),
        };
        self.perms.set(qid.path, perm);
        Ok(qid)
    }
}

/// The time stamps that a `Tsetattr` asks for.
fn times(request: &Request<'_>) -> Result<(SetTime, SetTime)> {
    let Request::Setattr { valid: which, atime_sec, atime_nsec, mtime_sec, mtime_nsec, .. } = *request else {
        return Err(Errno::INVAL);
    };
    let one = |change: u32, set: u32, sec: u64, nsec: u64| {
        if which & change == 0 {
            return Ok(SetTime::Keep);
        }
        if which & set == 0 {
            return Ok(SetTime::Now);
        }
        match u32::try_from(nsec) {
            Ok(nsec) if nsec < 1_000_000_000 => Ok(SetTime::To(Time { sec: sec as i64, nsec })),
            _ => Err(Errno::INVAL),
        }
    };
    Ok((
        one(valid::ATIME, valid::ATIME_SET, atime_sec, atime_nsec)?,
        one(valid::MTIME, valid::MTIME_SET, mtime_sec, mtime_nsec)?,
    ))
}
