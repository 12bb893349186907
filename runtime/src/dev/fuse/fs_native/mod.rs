//! Host directories on Unix, by *openat(2)* and its kin below one directory handle.
//!
//! No path is ever handed to the kernel whole: on Linux *openat2(2)* resolves the directory part with
//! RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, elsewhere (and on kernels before 5.6) each component is opened
//! with O_NOFOLLOW. The last component is then used through the handle of its directory, with the "do not
//! follow" form of the call. So neither the guest nor someone who exchanges directories for links on the host
//! meanwhile can lead the server out of the directory.
//!
//! Cost: one or two system calls more per operation than by path; nothing is cached.

mod convert;
#[cfg(target_os = "linux")]
mod linux;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags, Timestamps};
use rustix::io;

use super::errno::Errno;
use super::fs::{Backend, Entry, Kind, Open, Owners, Replace, Result, Seek, SetTime, Space, Stat, Target};
use convert::{access, kind_of, mode_of, stat_of, timespec, unmasked};
#[cfg(target_os = "linux")]
use linux::{Place, chmod_at};

/// An exported directory of a Unix host.
pub struct NativeFs {
    root: OwnedFd,
    /// Cleared when the kernel has no *openat2(2)*, or a seccomp filter forbids it.
    #[cfg(target_os = "linux")]
    has_openat2: bool,
    /// What the process may do with owners.
    owners: Owners,
    /// Bits that the process takes from the modes of what it makes: the guest has its own idea of that.
    umask: u32,
}

const OPEN_DIR: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The directory of a path's last component.
enum Dir<'a> {
    Root(BorrowedFd<'a>),
    Opened(OwnedFd),
}

impl AsFd for Dir<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Dir::Root(fd) => *fd,
            Dir::Opened(fd) => fd.as_fd(),
        }
    }
}

impl NativeFs {
    /// Exports `path`; links in it are followed here, for it is the user's own word.
    ///
    /// # Errors
    /// When it is no directory that can be opened.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let root = sys::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(NativeFs {
            root,
            #[cfg(target_os = "linux")]
            has_openat2: true,
            #[cfg(target_os = "linux")]
            owners: linux::owners(),
            #[cfg(target_os = "linux")]
            umask: linux::umask(),
            #[cfg(not(target_os = "linux"))]
            owners: Owners::Unknown,
            #[cfg(not(target_os = "linux"))]
            umask: 0o022,
        })
    }

    /// Opens the directory `path` without following links.
    fn dir(&mut self, path: &[u8]) -> Result<OwnedFd> {
        #[cfg(target_os = "linux")]
        if self.has_openat2 {
            use rustix::fs::ResolveFlags;
            let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match sys::openat2(&self.root, path, OPEN_DIR | OFlags::PATH, Mode::empty(), beneath) {
                Ok(fd) => return Ok(fd),
                Err(io::Errno::NOSYS | io::Errno::PERM) => self.has_openat2 = false,
                // A link where a directory was.
                Err(io::Errno::LOOP) => return Err(Errno::NOTDIR),
                Err(e) => return Err(e.into()),
            }
        }
        self.dir_by_steps(path)
    }

    fn dir_by_steps(&self, path: &[u8]) -> Result<OwnedFd> {
        #[cfg(target_os = "linux")]
        let flags = OPEN_DIR | OFlags::PATH;
        #[cfg(not(target_os = "linux"))]
        let flags = OPEN_DIR | OFlags::RDONLY;
        let mut at: Option<OwnedFd> = None;
        for name in path.split(|&b| b == b'/') {
            let from = at.as_ref().unwrap_or(&self.root);
            at = Some(sys::openat(from, name, flags, Mode::empty()).map_err(|e| match e {
                io::Errno::LOOP | io::Errno::MLINK => Errno::NOTDIR,
                e => e.into(),
            })?);
        }
        at.ok_or(Errno::NOENT)
    }

    #[cfg(target_os = "linux")]
    fn with_xattrs<T>(
        &mut self,
        target: Target<'_, OwnedFd>,
        work: impl FnOnce(&Place<'_>) -> Result<T>,
    ) -> Result<T> {
        match target {
            Target::File(fd) => work(&Place::Open(fd)),
            Target::Path(path) => {
                let (dir, name) = self.split(path)?;
                work(&Place::of_name(dir.as_fd(), name))
            }
        }
    }

    /// The handle of the directory that a path's last component lies in, and that component.
    fn split<'a, 'p>(&'a mut self, path: &'p [u8]) -> Result<(Dir<'a>, &'p [u8])> {
        match path.iter().rposition(|&b| b == b'/') {
            Some(slash) => Ok((Dir::Opened(self.dir(&path[..slash])?), &path[slash + 1..])),
            None => Ok((Dir::Root(self.root.as_fd()), path)),
        }
    }
}

impl Backend for NativeFs {
    type File = OwnedFd;

    fn keeps_modes(&self) -> bool {
        true
    }

    fn owners(&self) -> Owners {
        self.owners
    }

    fn stat(&mut self, target: Target<'_, OwnedFd>) -> Result<Stat> {
        let stat = match target {
            Target::File(fd) => sys::fstat(fd)?,
            Target::Path(path) => {
                let (dir, name) = self.split(path)?;
                sys::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?
            }
        };
        Ok(stat_of(&stat))
    }

    fn open(&mut self, path: &[u8], how: Open) -> Result<OwnedFd> {
        // O_NONBLOCK: a FIFO that took the file's place must not stop us before the check below.
        let mut flags = access(how) | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        flags.set(OFlags::CREATE, how.create);
        flags.set(OFlags::EXCL, how.create && how.exclusive);
        let umask = self.umask;
        let (dir, name) = self.split(path)?;
        // To open some devices is to do something with them, and opening a FIFO wakes who waits at its other
        // end.
        if !(how.create && how.exclusive)
            && let Ok(s) = sys::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
            && !matches!(stat_of(&s).kind, Kind::File | Kind::Dir | Kind::Symlink)
        {
            return Err(Errno::NXIO);
        }
        let fd = sys::openat(dir, name, flags, mode_of(how.mode))?;
        let stat = stat_of(&sys::fstat(&fd)?);
        if stat.kind != Kind::File {
            return Err(Errno::NXIO);
        }
        if how.create && how.exclusive && how.mode & umask != 0 {
            sys::fchmod(&fd, mode_of(unmasked(&stat, how.mode, umask)))?;
        }
        if how.truncate {
            match how.write {
                true => sys::ftruncate(&fd, 0)?,
                false => self.truncate(Target::Path(path), 0)?,
            }
        }
        Ok(fd)
    }

    #[cfg(target_os = "linux")]
    fn reopen(&mut self, file: &OwnedFd, how: Open) -> Result<OwnedFd> {
        let mut flags = access(how);
        flags.set(OFlags::TRUNC, how.truncate);
        linux::reopen(file, flags)
    }

    #[cfg(target_os = "linux")]
    fn open_unnamed(&mut self, dir: &[u8], how: Open) -> Result<OwnedFd> {
        let umask = self.umask;
        let dir = self.dir(dir)?;
        let flags = access(how) | OFlags::TMPFILE | OFlags::CLOEXEC;
        let fd = sys::openat(dir, c".", flags, mode_of(how.mode))?;
        if how.mode & umask != 0 {
            sys::fchmod(&fd, mode_of(unmasked(&stat_of(&sys::fstat(&fd)?), how.mode, umask)))?;
        }
        Ok(fd)
    }

    fn read(&mut self, file: &OwnedFd, buf: &mut [u8], offset: u64) -> Result<usize> {
        Ok(io::pread(file, buf, offset)?)
    }

    fn write(&mut self, file: &OwnedFd, buf: &[u8], offset: u64) -> Result<usize> {
        Ok(io::pwrite(file, buf, offset)?)
    }

    #[cfg(target_os = "linux")]
    fn append(&mut self, file: &OwnedFd, buf: &[u8]) -> Result<usize> {
        match linux::append(file, buf) {
            // A file system without it.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                let end = self.stat(Target::File(file))?.size;
                self.write(file, buf, end)
            }
            done => done,
        }
    }

    #[cfg(target_os = "linux")]
    fn flush(&mut self, file: &OwnedFd) -> Result<()> {
        linux::flush(file)
    }

    #[cfg(target_os = "linux")]
    fn sync_all(&mut self) -> Result<()> {
        Ok(sys::syncfs(&self.root)?)
    }

    #[cfg(target_os = "linux")]
    fn allocate(&mut self, file: &OwnedFd, mode: u32, offset: u64, len: u64) -> Result<()> {
        linux::allocate(file, mode, offset, len)
    }

    #[cfg(target_os = "linux")]
    fn seek(&mut self, file: &OwnedFd, offset: u64, what: Seek) -> Result<u64> {
        linux::seek(file, offset, what)
    }

    #[cfg(target_os = "linux")]
    fn copy(&mut self, from: (&OwnedFd, u64), to: (&OwnedFd, u64), len: u64) -> Result<u64> {
        linux::copy(from, to, len)
    }

    fn sync(&mut self, file: &OwnedFd, data_only: bool) -> Result<()> {
        #[cfg(not(target_vendor = "apple"))]
        if data_only {
            return Ok(sys::fdatasync(file)?);
        }
        let _ = data_only;
        Ok(sys::fsync(file)?)
    }

    fn sync_dir(&mut self, path: &[u8]) -> Result<()> {
        let (dir, name) = self.split(path)?;
        let fd = sys::openat(dir, name, OPEN_DIR | OFlags::RDONLY, Mode::empty())?;
        Ok(sys::fsync(fd)?)
    }

    fn truncate(&mut self, target: Target<'_, OwnedFd>, size: u64) -> Result<()> {
        match target {
            Target::File(fd) => Ok(sys::ftruncate(fd, size)?),
            Target::Path(path) => {
                if self.stat(Target::Path(path))?.kind == Kind::Dir {
                    return Err(Errno::ISDIR);
                }
                let fd = self.open(path, Open { write: true, ..Open::default() })?;
                Ok(sys::ftruncate(fd, size)?)
            }
        }
    }

    fn set_times(&mut self, target: Target<'_, OwnedFd>, atime: SetTime, mtime: SetTime) -> Result<()> {
        let times = Timestamps { last_access: timespec(atime), last_modification: timespec(mtime) };
        match target {
            Target::File(fd) => Ok(sys::futimens(fd, &times)?),
            Target::Path(path) => {
                let (dir, name) = self.split(path)?;
                Ok(sys::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
            }
        }
    }

    fn set_mode(&mut self, target: Target<'_, OwnedFd>, mode: u32) -> Result<()> {
        match target {
            Target::File(fd) => Ok(sys::fchmod(fd, mode_of(mode))?),
            Target::Path(path) => {
                let (dir, name) = self.split(path)?;
                chmod_at(dir.as_fd(), name, mode_of(mode))
            }
        }
    }

    fn set_owner(&mut self, target: Target<'_, OwnedFd>, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        // All ones mean "leave it" (chown(2)), and are nobody's number.
        if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
            return Err(Errno::INVAL);
        }
        let (uid, gid) = (uid.map(sys::Uid::from_raw), gid.map(sys::Gid::from_raw));
        match target {
            Target::File(fd) => Ok(sys::fchown(fd, uid, gid)?),
            Target::Path(path) => {
                let (dir, name) = self.split(path)?;
                Ok(sys::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?)
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn xattr(&mut self, target: Target<'_, OwnedFd>, name: &[u8]) -> Result<Vec<u8>> {
        self.with_xattrs(target, |place| place.get(name))
    }

    #[cfg(target_os = "linux")]
    fn set_xattr(
        &mut self,
        target: Target<'_, OwnedFd>,
        name: &[u8],
        value: &[u8],
        flags: u32,
    ) -> Result<()> {
        self.with_xattrs(target, |place| place.set(name, value, flags))
    }

    #[cfg(target_os = "linux")]
    fn xattrs(&mut self, target: Target<'_, OwnedFd>) -> Result<Vec<u8>> {
        self.with_xattrs(target, |place| place.list())
    }

    #[cfg(target_os = "linux")]
    fn remove_xattr(&mut self, target: Target<'_, OwnedFd>, name: &[u8]) -> Result<()> {
        self.with_xattrs(target, |place| place.remove(name))
    }

    fn list(&mut self, path: &[u8], keep: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        let (dir, name) = self.split(path)?;
        let fd = sys::openat(dir, name, OPEN_DIR | OFlags::RDONLY, Mode::empty())?;
        for entry in sys::Dir::new(fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                keep(Entry { name: name.into(), kind: kind_of(entry.file_type()), ino: entry.ino() })?;
            }
        }
        Ok(())
    }

    fn mkdir(&mut self, path: &[u8], mode: u32) -> Result<()> {
        let umask = self.umask;
        let (dir, name) = self.split(path)?;
        sys::mkdirat(&dir, name, mode_of(mode))?;
        unmask_at(&dir, name, mode, umask)
    }

    fn mknod(&mut self, path: &[u8], kind: Kind, mode: u32) -> Result<()> {
        let kind = match kind {
            Kind::Fifo => FileType::Fifo,
            Kind::Socket => FileType::Socket,
            _ => return Err(Errno::PERM),
        };
        let umask = self.umask;
        let (dir, name) = self.split(path)?;
        #[cfg(not(target_vendor = "apple"))]
        sys::mknodat(&dir, name, kind, mode_of(mode), 0)?;
        #[cfg(target_vendor = "apple")]
        return Err(Errno::PERM);
        unmask_at(&dir, name, mode, umask)
    }

    fn symlink(&mut self, target: &[u8], path: &[u8]) -> Result<()> {
        let (dir, name) = self.split(path)?;
        Ok(sys::symlinkat(target, dir, name)?)
    }

    fn readlink(&mut self, path: &[u8]) -> Result<Vec<u8>> {
        let (dir, name) = self.split(path)?;
        Ok(sys::readlinkat(dir, name, Vec::new())?.into_bytes())
    }

    fn link(&mut self, old: Target<'_, OwnedFd>, new: &[u8]) -> Result<()> {
        let old = match old {
            Target::File(file) => {
                let (dir, name) = self.split(new)?;
                #[cfg(target_os = "linux")]
                return linux::link_file(file, dir.as_fd(), name);
                #[cfg(not(target_os = "linux"))]
                return Err(Errno::OPNOTSUPP);
            }
            Target::Path(old) => old,
        };
        // Two directory handles at once: the first must not borrow from self.
        let (old_dir, old_name) = self.split(old)?;
        let old_dir = old_dir.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE)?;
        let (new_dir, new_name) = self.split(new)?;
        Ok(sys::linkat(old_dir, old_name, new_dir, new_name, AtFlags::empty())?)
    }

    fn rename(&mut self, old: &[u8], new: &[u8], replace: Replace) -> Result<()> {
        let (old_dir, old_name) = self.split(old)?;
        let old_dir = old_dir.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE)?;
        let (new_dir, new_name) = self.split(new)?;
        let flags = match replace {
            Replace::Yes => return Ok(sys::renameat(old_dir, old_name, new_dir, new_name)?),
            #[cfg(target_os = "linux")]
            Replace::No => sys::RenameFlags::NOREPLACE,
            #[cfg(target_os = "linux")]
            Replace::Exchange => sys::RenameFlags::EXCHANGE,
            #[cfg(not(target_os = "linux"))]
            _ => return Err(Errno::INVAL),
        };
        #[cfg(target_os = "linux")]
        return Ok(sys::renameat_with(old_dir, old_name, new_dir, new_name, flags)?);
    }

    fn unlink(&mut self, path: &[u8]) -> Result<()> {
        let (dir, name) = self.split(path)?;
        Ok(sys::unlinkat(dir, name, AtFlags::empty())?)
    }

    fn rmdir(&mut self, path: &[u8]) -> Result<()> {
        let (dir, name) = self.split(path)?;
        Ok(sys::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
    }

    fn space(&mut self) -> Result<Space> {
        let s = sys::fstatvfs(&self.root)?;
        Ok(Space {
            bsize: u32::try_from(s.f_frsize).unwrap_or(4096),
            blocks: s.f_blocks,
            bfree: s.f_bfree,
            bavail: s.f_bavail,
            files: s.f_files,
            ffree: s.f_ffree,
        })
    }
}

#[cfg(not(target_os = "linux"))]
fn chmod_at(dir: BorrowedFd<'_>, name: &[u8], mode: Mode) -> Result<()> {
    Ok(sys::chmodat(dir, name, mode, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn unmask_at(dir: &Dir<'_>, name: &[u8], mode: u32, umask: u32) -> Result<()> {
    if mode & umask == 0 {
        return Ok(());
    }
    let stat = stat_of(&sys::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?);
    chmod_at(dir.as_fd(), name, mode_of(unmasked(&stat, mode, umask)))
}

#[cfg(all(test, target_os = "linux"))]
impl NativeFs {
    /// As on a kernel that has no *openat2(2)*.
    pub(super) fn without_openat2(&mut self) {
        self.has_openat2 = false;
    }

    /// As in a process that may do other things with owners.
    pub(super) fn set_owners(&mut self, owners: Owners) {
        self.owners = owners;
    }
}
