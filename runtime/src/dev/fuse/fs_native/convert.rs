//! Error numbers, kinds, modes and times between the host's types and the server's.

use crate::dev::fuse::errno::Errno;
use crate::dev::fuse::fs::{Kind, Open, Owner, SetTime, Stat, Time};
use rustix::fs::{self as sys, FileType, Mode, OFlags, Timespec};
use rustix::io;

impl From<io::Errno> for Errno {
    fn from(e: io::Errno) -> Errno {
        from_host(e)
    }
}

/// On Linux the numbers are the wire's.
#[cfg(target_os = "linux")]
fn from_host(e: io::Errno) -> Errno {
    Errno(e.raw_os_error().unsigned_abs())
}

/// Elsewhere by name; what Linux does not know becomes EIO.
#[cfg(not(target_os = "linux"))]
fn from_host(e: io::Errno) -> Errno {
    match e {
        io::Errno::PERM => Errno::PERM,
        io::Errno::NOENT => Errno::NOENT,
        io::Errno::INTR => Errno::INTR,
        io::Errno::NXIO => Errno::NXIO,
        io::Errno::BADF => Errno::BADF,
        io::Errno::AGAIN => Errno::AGAIN,
        io::Errno::NOMEM => Errno::NOMEM,
        io::Errno::ACCESS => Errno::ACCES,
        io::Errno::BUSY => Errno::BUSY,
        io::Errno::EXIST => Errno::EXIST,
        io::Errno::XDEV => Errno::XDEV,
        io::Errno::NOTDIR => Errno::NOTDIR,
        io::Errno::ISDIR => Errno::ISDIR,
        io::Errno::INVAL => Errno::INVAL,
        io::Errno::NFILE => Errno::NFILE,
        io::Errno::MFILE => Errno::MFILE,
        io::Errno::TXTBSY => Errno::TXTBSY,
        io::Errno::FBIG => Errno::FBIG,
        io::Errno::NOSPC => Errno::NOSPC,
        io::Errno::ROFS => Errno::ROFS,
        io::Errno::MLINK => Errno::MLINK,
        io::Errno::NAMETOOLONG => Errno::NAMETOOLONG,
        io::Errno::NOTEMPTY => Errno::NOTEMPTY,
        io::Errno::LOOP => Errno::LOOP,
        io::Errno::OVERFLOW => Errno::OVERFLOW,
        io::Errno::ILSEQ => Errno::ILSEQ,
        io::Errno::OPNOTSUPP => Errno::OPNOTSUPP,
        io::Errno::NOSYS => Errno::NOSYS,
        io::Errno::STALE => Errno::STALE,
        io::Errno::DQUOT => Errno::DQUOT,
        _ => Errno::IO,
    }
}

pub(super) fn kind_of(kind: FileType) -> Option<Kind> {
    Some(match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::Char,
        FileType::BlockDevice => Kind::Block,
        FileType::Unknown => return None,
    })
}

#[allow(
    clippy::unnecessary_cast,
    clippy::useless_conversion,
    reason = "the fields' types differ between hosts"
)]
pub(super) fn stat_of(s: &sys::Stat) -> Stat {
    let mode = s.st_mode as u32;
    let time = |sec: i64, nsec: i64| Time { sec, nsec: u32::try_from(nsec).unwrap_or(0) };
    Stat {
        kind: kind_of(FileType::from_raw_mode(s.st_mode as _)).unwrap_or(Kind::Char),
        mode: Some(mode & 0o7777),
        owner: Some(Owner { uid: s.st_uid as u32, gid: s.st_gid as u32 }),
        device: (sys::major(s.st_rdev as _) as u32, sys::minor(s.st_rdev as _) as u32),
        dev: s.st_dev as u64,
        ino: s.st_ino as u64,
        nlink: s.st_nlink as u64,
        size: u64::try_from(s.st_size).unwrap_or(0),
        blocks: u64::try_from(s.st_blocks).unwrap_or(0),
        atime: time(s.st_atime as i64, s.st_atime_nsec as i64),
        mtime: time(s.st_mtime as i64, s.st_mtime_nsec as i64),
        ctime: time(s.st_ctime as i64, s.st_ctime_nsec as i64),
    }
}

pub(super) fn timespec(time: SetTime) -> Timespec {
    match time {
        SetTime::Keep => Timespec { tv_sec: 0, tv_nsec: sys::UTIME_OMIT as _ },
        SetTime::Now => Timespec { tv_sec: 0, tv_nsec: sys::UTIME_NOW as _ },
        SetTime::To(t) => Timespec { tv_sec: t.sec as _, tv_nsec: t.nsec as _ },
    }
}

#[allow(clippy::unnecessary_cast, reason = "the type differs between hosts")]
pub(super) fn mode_of(mode: u32) -> Mode {
    Mode::from_raw_mode((mode & 0o7777) as _)
}

/// The access mode among the open flags.
pub(super) fn access(how: Open) -> OFlags {
    match (how.read, how.write) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        _ => OFlags::RDONLY,
    }
}

/// The mode of something new, with the bits that the umask has taken; what its directory gave it stays.
pub(super) fn unmasked(stat: &Stat, mode: u32, umask: u32) -> u32 {
    stat.mode.unwrap_or(0) | mode & umask & 0o777
}
