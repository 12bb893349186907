//! What only Linux has, or has in its own way. Elsewhere the server does without (see
//! [`super::super::fs::Backend`]).

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{self as sys, AtFlags, FallocateFlags, Mode, OFlags, SeekFrom, XattrFlags};
use rustix::io::{self, ReadWriteFlags};

use super::convert::stat_of;
use crate::dev::fuse::errno::Errno;
use crate::dev::fuse::fs::{Kind, Owner, Owners, Result, Seek};

/// What the process may do with owners.
pub(super) fn owners() -> Owners {
    // SAFETY: neither call has a precondition.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    if uid == 0 { Owners::Kept } else { Owners::Fixed(Owner { uid, gid }) }
}

/// The process's umask, which only /proc tells without changing it.
pub(super) fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}

/// A path by which the kernel leads to a name in an open directory; what is there is not followed by calls
/// with an `l`.
fn through(dir: BorrowedFd<'_>, name: &[u8]) -> PathBuf {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(OsStr::from_bytes(name))
}

fn itself(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// chmod that follows no link. Linux has no such call before 6.6: there a handle without access rights is
/// made, and the file reached through its name in /proc.
pub(super) fn chmod_at(dir: BorrowedFd<'_>, name: &[u8], mode: Mode) -> Result<()> {
    let fd = sys::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if stat_of(&sys::fstat(&fd)?).kind == Kind::Symlink {
        return Err(Errno::OPNOTSUPP);
    }
    match sys::chmodat(sys::CWD, itself(&fd), mode, AtFlags::empty()) {
        // No /proc: only for files that may be read.
        Err(io::Errno::NOENT) => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            Ok(sys::fchmod(sys::openat(dir, name, flags, Mode::empty())?, mode)?)
        }
        done => Ok(done?),
    }
}

/// Opens a file by its handle, which needs no name.
pub(super) fn reopen(file: &OwnedFd, flags: OFlags) -> Result<OwnedFd> {
    Ok(sys::open(itself(file), flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())?)
}

/// Gives an open file a name.
pub(super) fn link_file(file: &OwnedFd, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    Ok(sys::linkat(sys::CWD, itself(file), dir, name, AtFlags::SYMLINK_FOLLOW)?)
}

/// Writes at the end, wherever that is by then, in one step.
pub(super) fn append(file: &OwnedFd, buf: &[u8]) -> Result<usize> {
    Ok(io::pwritev2(file, &[IoSlice::new(buf)], 0, ReadWriteFlags::APPEND)?)
}

/// What *close(2)* says of another descriptor of the file: network and quota errors come there.
pub(super) fn flush(file: &OwnedFd) -> Result<()> {
    let fd = match io::fcntl_dupfd_cloexec(file, 0) {
        Ok(fd) => fd.into_raw_fd(),
        // No descriptor is left: the disk tells, too.
        Err(io::Errno::MFILE | io::Errno::NFILE) => return Ok(sys::fsync(file)?),
        Err(e) => return Err(e.into()),
    };
    // SAFETY: the descriptor is this function's own, and is gone whatever close says.
    if unsafe { libc::close(fd) } == 0 {
        return Ok(());
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EINTR) | None => Ok(()),
        Some(code) => Err(Errno(code.unsigned_abs())),
    }
}

pub(super) fn allocate(file: &OwnedFd, mode: u32, offset: u64, len: u64) -> Result<()> {
    Ok(sys::fallocate(file, FallocateFlags::from_bits_retain(mode), offset, len)?)
}

pub(super) fn seek(file: &OwnedFd, offset: u64, what: Seek) -> Result<u64> {
    let to = match what {
        Seek::Data => SeekFrom::Data(offset),
        Seek::Hole => SeekFrom::Hole(offset),
    };
    Ok(sys::seek(file, to)?)
}

pub(super) fn copy(from: (&OwnedFd, u64), to: (&OwnedFd, u64), len: u64) -> Result<u64> {
    let (mut at, mut into) = (from.1, to.1);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    Ok(sys::copy_file_range(from.0, Some(&mut at), to.0, Some(&mut into), len)? as u64)
}

/// Where a call on extended attributes goes: Linux has none that takes a directory and a name.
pub(super) enum Place<'a> {
    Open(&'a OwnedFd),
    Name(PathBuf),
}

impl<'a> Place<'a> {
    pub(super) fn of_name(dir: BorrowedFd<'_>, name: &[u8]) -> Place<'a> {
        Place::Name(through(dir, name))
    }

    pub(super) fn get(&self, name: &[u8]) -> Result<Vec<u8>> {
        grown(|buf| match self {
            Place::Open(fd) => sys::fgetxattr(fd, name, buf),
            Place::Name(path) => sys::lgetxattr(path, name, buf),
        })
    }

    pub(super) fn list(&self) -> Result<Vec<u8>> {
        grown(|buf| match self {
            Place::Open(fd) => sys::flistxattr(fd, buf),
            Place::Name(path) => sys::llistxattr(path, buf),
        })
    }

    pub(super) fn set(&self, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        let flags = XattrFlags::from_bits_retain(flags);
        let done = match self {
            Place::Open(fd) => sys::fsetxattr(fd, name, value, flags),
            Place::Name(path) => sys::lsetxattr(path, name, value, flags),
        };
        Ok(done?)
    }

    pub(super) fn remove(&self, name: &[u8]) -> Result<()> {
        let done = match self {
            Place::Open(fd) => sys::fremovexattr(fd, name),
            Place::Name(path) => sys::lremovexattr(path, name),
        };
        Ok(done?)
    }
}

/// Calls with a buffer that grows until all has room: at most 64 KiB, Linux's limit for values and lists.
fn grown(mut call: impl FnMut(&mut [u8]) -> io::Result<usize>) -> Result<Vec<u8>> {
    for size in [256, 64 << 10] {
        let mut buf = vec![0; size];
        match call(&mut buf) {
            Ok(len) => {
                buf.truncate(len);
                return Ok(buf);
            }
            Err(io::Errno::RANGE) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Err(Errno::TOOBIG)
}
