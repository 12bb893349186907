//! Host directories under WASI preview 1: one preopened descriptor, paths below it.
//!
//! The runtime's sandbox keeps paths inside the preopen. No call here sets `lookupflags::symlink_follow`, so
//! a link is never followed in a path's last component; in those before it the runtime may follow one that
//! stays inside the preopen, which gives the guest nothing that it could not reach anyway.
//!
//! What WASI cannot express: owners and modes (see `perms`), free space, FIFOs, sockets and devices (EPERM),
//! extended attributes and allocation (EOPNOTSUPP), times before 1970 (EOVERFLOW), names that are not UTF-8
//! (EILSEQ), and links to absolute paths, which runtimes refuse with EPERM both to make and to read. uvwasi
//! (Node) also refuses links that lead out of the preopen, and sets times to whole seconds.
//!
//! References: WASI *phases/snapshot/docs.md* (wasi_snapshot_preview1).

use core::mem::size_of;

use super::errno::Errno;
use super::fs::{Backend, Entry, Kind, Open, Owners, Replace, Result, SetTime, Space, Stat, Target, Time};

/// Bytes of directory entries asked for at a time. Some runtimes list the directory anew for each call.
const LIST_BUFFER: usize = 64 << 10;
/// Longest link target in bytes.
const LINK_MAX: usize = 4096;
/// Where descriptors of preopened directories begin.
const FIRST_PREOPEN: u32 = 3;
/// Descriptors looked at, at most: an end even with a host that never says EBADF.
const MOST_PREOPENS: u32 = 1024;

/// Do not follow a link in the last component.
const NO_FOLLOW: wasip1::Lookupflags = 0;

/// Rights of a file that is only read. uvwasi (Node) takes the right to `fd_datasync` for a wish to write.
const READ: wasip1::Rights = wasip1::RIGHTS_FD_READ
    | wasip1::RIGHTS_FD_SEEK
    | wasip1::RIGHTS_FD_TELL
    | wasip1::RIGHTS_FD_FILESTAT_GET
    | wasip1::RIGHTS_FD_FILESTAT_SET_TIMES
    | wasip1::RIGHTS_FD_SYNC;
const WRITE: wasip1::Rights =
    wasip1::RIGHTS_FD_WRITE | wasip1::RIGHTS_FD_FILESTAT_SET_SIZE | wasip1::RIGHTS_FD_DATASYNC;
const LIST: wasip1::Rights =
    wasip1::RIGHTS_FD_READDIR | wasip1::RIGHTS_FD_FILESTAT_GET | wasip1::RIGHTS_FD_SYNC;

impl From<wasip1::Errno> for Errno {
    fn from(e: wasip1::Errno) -> Errno {
        Errno::from_wasi(e.raw())
    }
}

/// A directory that the runtime's user shares with the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preopen {
    /// Its path as the runtime names it: where the guest mounts it.
    pub path: String,
    /// Its descriptor.
    pub fd: u32,
    /// Whether the runtime grants no right to write below it.
    pub read_only: bool,
}

/// The name of a preopened directory; `None` for another kind of preopen.
///
/// # Errors
/// The runtime's; EBADF where there is no preopen.
pub(super) fn preopen_name(fd: u32) -> core::result::Result<Option<String>, wasip1::Errno> {
    // SAFETY: the call writes to its own result only.
    let stat = unsafe { wasip1::fd_prestat_get(fd) }?;
    if stat.tag != wasip1::PREOPENTYPE_DIR.raw() {
        return Ok(None);
    }
    // SAFETY: the tag says that the union holds a directory.
    let len = unsafe { stat.u.dir.pr_name_len };
    let mut name = vec![0; len];
    // SAFETY: the buffer has the length that is told.
    unsafe { wasip1::fd_prestat_dir_name(fd, name.as_mut_ptr(), len) }?;
    let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    Ok(Some(String::from_utf8_lossy(&name[..end]).into_owned()))
}

/// All preopened directories, in the order of their descriptors.
pub fn preopens() -> Vec<Preopen> {
    let mut found = Vec::new();
    for fd in FIRST_PREOPEN..FIRST_PREOPEN + MOST_PREOPENS {
        match preopen_name(fd) {
            Ok(Some(path)) => found.push(Preopen { path, fd, read_only: !may_write(fd) }),
            Err(wasip1::ERRNO_BADF) => break,
            Ok(None) | Err(_) => {}
        }
    }
    found
}

/// Whether files below a preopen may be written and made.
fn may_write(fd: u32) -> bool {
    // SAFETY: the call writes to its own result only.
    let Ok(stat) = (unsafe { wasip1::fd_fdstat_get(fd) }) else { return true };
    // A runtime that fills in no rights at all says nothing by it.
    let (base, below) = (stat.fs_rights_base, stat.fs_rights_inheriting);
    let may = below & wasip1::RIGHTS_FD_WRITE != 0 && base & wasip1::RIGHTS_PATH_CREATE_FILE != 0;
    if !may && (base != 0 || below != 0) {
        return false;
    }
    // wasmtime tells full rights for a read-only directory too. Making the directory that is there already
    // changes nothing anywhere; where changes are forbidden, that is the error, and it exists otherwise.
    // SAFETY: the path outlives the call.
    let probe = unsafe { wasip1::path_create_directory(fd, ".") };
    !matches!(probe, Err(wasip1::ERRNO_PERM | wasip1::ERRNO_NOTCAPABLE | wasip1::ERRNO_ROFS))
}

/// A descriptor, closed when dropped.
pub struct WasiFile(u32);

impl Drop for WasiFile {
    fn drop(&mut self) {
        // SAFETY: the descriptor is this value's own, and is not used again.
        let _ = unsafe { wasip1::fd_close(self.0) };
    }
}

/// An exported preopen.
pub struct WasiFs {
    root: u32,
    /// Rights that files below it may have; asking for more fails on runtimes that still check.
    rights: wasip1::Rights,
}

fn text(path: &[u8]) -> Result<&str> {
    core::str::from_utf8(path).map_err(|_| Errno::ILSEQ)
}

fn kind_of(kind: wasip1::Filetype) -> Option<Kind> {
    Some(match kind {
        wasip1::FILETYPE_REGULAR_FILE => Kind::File,
        wasip1::FILETYPE_DIRECTORY => Kind::Dir,
        wasip1::FILETYPE_SYMBOLIC_LINK => Kind::Symlink,
        wasip1::FILETYPE_CHARACTER_DEVICE => Kind::Char,
        wasip1::FILETYPE_BLOCK_DEVICE => Kind::Block,
        wasip1::FILETYPE_SOCKET_DGRAM | wasip1::FILETYPE_SOCKET_STREAM => Kind::Socket,
        // FIFOs among others.
        _ => return None,
    })
}

fn stat_of(s: &wasip1::Filestat) -> Stat {
    const SECOND: u64 = 1_000_000_000;
    let time = |ns: u64| Time { sec: (ns / SECOND) as i64, nsec: (ns % SECOND) as u32 };
    Stat {
        kind: kind_of(s.filetype).unwrap_or(Kind::Char),
        mode: None,
        owner: None,
        device: (0, 0),
        dev: s.dev,
        ino: s.ino,
        nlink: s.nlink,
        size: s.size,
        blocks: s.size.div_ceil(512),
        atime: time(s.atim),
        mtime: time(s.mtim),
        ctime: time(s.ctim),
    }
}

/// A time stamp as WASI wants it: value, whether it is to be set, whether to the present. EOVERFLOW for what
/// its 64 bits of nanoseconds since 1970 cannot say (times before 1970, and after 2554).
fn timestamp(time: SetTime) -> Result<(u64, bool, bool)> {
    match time {
        SetTime::Keep => Ok((0, false, false)),
        SetTime::Now => Ok((0, false, true)),
        SetTime::To(t) => {
            let sec = u64::try_from(t.sec).ok();
            let ns = sec.and_then(|sec| sec.checked_mul(1_000_000_000)?.checked_add(u64::from(t.nsec)));
            Ok((ns.ok_or(Errno::OVERFLOW)?, true, false))
        }
    }
}

impl WasiFs {
    /// Exports a preopen.
    pub fn new(fd: u32) -> Self {
        // SAFETY: the call writes to its own result only.
        let stat = unsafe { wasip1::fd_fdstat_get(fd) };
        let rights = stat.map_or(0, |s| s.fs_rights_inheriting);
        WasiFs { root: fd, rights: if rights == 0 { wasip1::Rights::MAX } else { rights } }
    }

    /// A directory below a preopen: wasmtime tells fewer rights for it than it has.
    #[cfg(test)]
    pub(super) fn with_rights(fd: u32, rights: wasip1::Rights) -> Self {
        WasiFs { root: fd, rights }
    }

    fn path_open(&mut self, path: &[u8], oflags: wasip1::Oflags, rights: wasip1::Rights) -> Result<WasiFile> {
        let (path, rights) = (text(path)?, rights & self.rights);
        // SAFETY: the path outlives the call.
        let fd = unsafe { wasip1::path_open(self.root, NO_FOLLOW, path, oflags, rights, 0, 0) };
        Ok(WasiFile(fd?))
    }
}

impl Backend for WasiFs {
    type File = WasiFile;

    fn keeps_modes(&self) -> bool {
        false
    }

    fn owners(&self) -> Owners {
        Owners::Unknown
    }

    fn stat(&mut self, target: Target<'_, WasiFile>) -> Result<Stat> {
        Ok(match target {
            // SAFETY: the call writes to its own result only.
            Target::File(file) => stat_of(&unsafe { wasip1::fd_filestat_get(file.0) }?),
            Target::Path(path) => {
                let path = text(path)?;
                // SAFETY: the path outlives the call.
                let stat = stat_of(&unsafe { wasip1::path_filestat_get(self.root, NO_FOLLOW, path) }?);
                // What has a name has a link, whatever a host says that does not count them.
                Stat { nlink: stat.nlink.max(1), ..stat }
            }
        })
    }

    fn open(&mut self, path: &[u8], how: Open) -> Result<WasiFile> {
        // Opening a FIFO would wait for its other end: look first. The guest cannot exchange the file in
        // between, for the server does one thing at a time.
        match self.stat(Target::Path(path)) {
            Ok(stat) if stat.kind != Kind::File => return Err(Errno::NXIO),
            Err(Errno::NOENT) if how.create => {}
            other => drop(other?),
        }
        let mut oflags = 0;
        if how.create {
            oflags |= wasip1::OFLAGS_CREAT;
            if how.exclusive {
                oflags |= wasip1::OFLAGS_EXCL;
            }
        }
        let mut rights = 0;
        if how.read {
            rights |= READ;
        }
        if how.write {
            rights |= WRITE | READ & !wasip1::RIGHTS_FD_READ;
        }
        if rights & wasip1::RIGHTS_FD_WRITE & !self.rights != 0 {
            return Err(Errno::ROFS);
        }
        let file = self.path_open(path, oflags, rights)?;
        if how.truncate {
            match how.write {
                true => self.truncate(Target::File(&file), 0)?,
                false => self.truncate(Target::Path(path), 0)?,
            }
        }
        Ok(file)
    }

    fn read(&mut self, file: &WasiFile, buf: &mut [u8], offset: u64) -> Result<usize> {
        let iov = [wasip1::Iovec { buf: buf.as_mut_ptr(), buf_len: buf.len() }];
        // SAFETY: the vector names exactly `buf`, which is borrowed for the call.
        Ok(unsafe { wasip1::fd_pread(file.0, &iov, offset) }?)
    }

    fn write(&mut self, file: &WasiFile, buf: &[u8], offset: u64) -> Result<usize> {
        let iov = [wasip1::Ciovec { buf: buf.as_ptr(), buf_len: buf.len() }];
        // SAFETY: the vector names exactly `buf`, which is borrowed for the call.
        Ok(unsafe { wasip1::fd_pwrite(file.0, &iov, offset) }?)
    }

    fn sync(&mut self, file: &WasiFile, data_only: bool) -> Result<()> {
        if data_only {
            // SAFETY: the call touches no memory.
            match unsafe { wasip1::fd_datasync(file.0) } {
                // Open for reading only: see `READ`.
                Err(wasip1::ERRNO_NOTCAPABLE) => {}
                done => return Ok(done?),
            }
        }
        // SAFETY: the call touches no memory.
        Ok(unsafe { wasip1::fd_sync(file.0) }?)
    }

    fn sync_dir(&mut self, path: &[u8]) -> Result<()> {
        let dir = self.path_open(path, wasip1::OFLAGS_DIRECTORY, LIST)?;
        // SAFETY: the call touches no memory.
        match unsafe { wasip1::fd_sync(dir.0) } {
            // Not every runtime can for a directory, and its names are then as safe as they get.
            Err(
                wasip1::ERRNO_BADF | wasip1::ERRNO_NOTSUP | wasip1::ERRNO_INVAL | wasip1::ERRNO_NOTCAPABLE,
            ) => Ok(()),
            done => Ok(done?),
        }
    }

    fn truncate(&mut self, target: Target<'_, WasiFile>, size: u64) -> Result<()> {
        match target {
            // SAFETY: the call touches no memory.
            Target::File(file) => Ok(unsafe { wasip1::fd_filestat_set_size(file.0, size) }?),
            Target::Path(path) => {
                if self.stat(Target::Path(path))?.kind == Kind::Dir {
                    return Err(Errno::ISDIR);
                }
                let file = self.open(path, Open { write: true, ..Open::default() })?;
                self.truncate(Target::File(&file), size)
            }
        }
    }

    fn set_times(&mut self, target: Target<'_, WasiFile>, atime: SetTime, mtime: SetTime) -> Result<()> {
        let (atim, a_set, a_now) = timestamp(atime)?;
        let (mtim, m_set, m_now) = timestamp(mtime)?;
        let flags = [
            (a_set, wasip1::FSTFLAGS_ATIM),
            (a_now, wasip1::FSTFLAGS_ATIM_NOW),
            (m_set, wasip1::FSTFLAGS_MTIM),
            (m_now, wasip1::FSTFLAGS_MTIM_NOW),
        ];
        let flags = flags.iter().filter(|(on, _)| *on).fold(0, |sum, (_, flag)| sum | flag);
        match target {
            // SAFETY: the call touches no memory.
            Target::File(file) => Ok(unsafe { wasip1::fd_filestat_set_times(file.0, atim, mtim, flags) }?),
            Target::Path(path) => {
                let path = text(path)?;
                // SAFETY: the path outlives the call.
                let done =
                    unsafe { wasip1::path_filestat_set_times(self.root, NO_FOLLOW, path, atim, mtim, flags) };
                Ok(done?)
            }
        }
    }

    fn set_mode(&mut self, _target: Target<'_, WasiFile>, _mode: u32) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }

    fn list(&mut self, path: &[u8], keep: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        let dir = self.path_open(path, wasip1::OFLAGS_DIRECTORY, LIST)?;
        let mut buf = vec![0u8; LIST_BUFFER];
        let mut cookie = wasip1::DIRCOOKIE_START;
        loop {
            // SAFETY: the buffer has the length that is told.
            let used = unsafe { wasip1::fd_readdir(dir.0, buf.as_mut_ptr(), buf.len(), cookie) }?;
            let used = used.min(buf.len());
            let before = cookie;
            let mut rest = &buf[..used];
            while let Some((next, entry, tail)) = take_dirent(rest) {
                if !matches!(&entry.name[..], b"." | b"..") {
                    keep(entry)?;
                }
                (cookie, rest) = (next, tail);
            }
            // A full buffer ends in the middle of an entry, or could hold no more; another call follows. The
            // cookie must move, or a broken host would keep us here.
            if used < buf.len() || cookie == before {
                return Ok(());
            }
        }
    }

    fn mkdir(&mut self, path: &[u8], _mode: u32) -> Result<()> {
        // SAFETY: the path outlives the call.
        Ok(unsafe { wasip1::path_create_directory(self.root, text(path)?) }?)
    }

    fn symlink(&mut self, target: &[u8], path: &[u8]) -> Result<()> {
        // SAFETY: the paths outlive the call.
        Ok(unsafe { wasip1::path_symlink(text(target)?, self.root, text(path)?) }?)
    }

    fn readlink(&mut self, path: &[u8]) -> Result<Vec<u8>> {
        let mut buf = vec![0; LINK_MAX];
        // SAFETY: path and buffer outlive the call, and the buffer has the length that is told.
        let len = unsafe { wasip1::path_readlink(self.root, text(path)?, buf.as_mut_ptr(), buf.len()) }?;
        buf.truncate(len);
        Ok(buf)
    }

    fn link(&mut self, old: Target<'_, WasiFile>, new: &[u8]) -> Result<()> {
        let Target::Path(old) = old else { return Err(Errno::NOENT) };
        // SAFETY: the paths outlive the call.
        Ok(unsafe { wasip1::path_link(self.root, NO_FOLLOW, text(old)?, self.root, text(new)?) }?)
    }

    fn rename(&mut self, old: &[u8], new: &[u8], replace: Replace) -> Result<()> {
        match replace {
            Replace::Yes => {}
            // Not in one step, but the guest's processes wait for each other here.
            Replace::No if self.stat(Target::Path(new)).is_ok() => return Err(Errno::EXIST),
            Replace::No => {}
            Replace::Exchange => return Err(Errno::INVAL),
        }
        // SAFETY: the paths outlive the call.
        Ok(unsafe { wasip1::path_rename(self.root, text(old)?, self.root, text(new)?) }?)
    }

    fn unlink(&mut self, path: &[u8]) -> Result<()> {
        // SAFETY: the path outlives the call.
        Ok(unsafe { wasip1::path_unlink_file(self.root, text(path)?) }?)
    }

    fn rmdir(&mut self, path: &[u8]) -> Result<()> {
        // SAFETY: the path outlives the call.
        Ok(unsafe { wasip1::path_remove_directory(self.root, text(path)?) }?)
    }

    fn space(&mut self) -> Result<Space> {
        Ok(Space::UNKNOWN)
    }
}

/// The first whole entry of what `fd_readdir` gave, with the cookie of the next and the rest: d_next\[8\]
/// d_ino\[8\] d_namlen\[4\] d_type\[1\] padding\[3\] name.
fn take_dirent(bytes: &[u8]) -> Option<(u64, Entry, &[u8])> {
    const HEAD: usize = size_of::<wasip1::Dirent>();
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let word = |at: usize| head[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or(0);
    let len = head[16..20].try_into().map(u32::from_le_bytes).unwrap_or(0);
    let (name, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    let kind = match head[20] {
        k if k == wasip1::FILETYPE_REGULAR_FILE.raw() => Some(Kind::File),
        k if k == wasip1::FILETYPE_DIRECTORY.raw() => Some(Kind::Dir),
        k if k == wasip1::FILETYPE_SYMBOLIC_LINK.raw() => Some(Kind::Symlink),
        _ => None,
    };
    Some((word(0), Entry { name: name.into(), kind, ino: word(8) }, rest))
}
