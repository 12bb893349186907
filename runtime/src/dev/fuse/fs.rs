//! What the server needs from a file system.
//!
//! Paths are relative to the exported directory: names joined by single slashes, no `.` (but for `"."` alone,
//! the directory itself), no `..`, no NUL. The server guarantees that; a backend guarantees that it never
//! follows a symbolic link, in the last component or before it, and that nothing outside of the directory can
//! be reached.

use super::errno::Errno;

/// Result of an operation on the host.
pub type Result<T> = core::result::Result<T, Errno>;

/// Kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Regular file.
    File,
    /// Directory.
    Dir,
    /// Symbolic link.
    Symlink,
    /// FIFO.
    Fifo,
    /// Socket.
    Socket,
    /// Character device, or a kind that the host does not tell.
    Char,
    /// Block device.
    Block,
}

impl Kind {
    /// The kind that the file type bits of a mode say.
    pub fn of_mode(mode: u32) -> Option<Kind> {
        let all = [Kind::Fifo, Kind::Char, Kind::Dir, Kind::Block, Kind::File, Kind::Symlink, Kind::Socket];
        all.into_iter().find(|kind| kind.mode_bits() == mode & 0o17_0000)
    }

    /// The file type bits of `st_mode` (*inode(7)*).
    pub fn mode_bits(self) -> u32 {
        match self {
            Kind::Fifo => 0o01_0000,
            Kind::Char => 0o02_0000,
            Kind::Dir => 0o04_0000,
            Kind::Block => 0o06_0000,
            Kind::File => 0o10_0000,
            Kind::Symlink => 0o12_0000,
            Kind::Socket => 0o14_0000,
        }
    }

    /// `d_type` of *readdir(3)*: the same bits, moved.
    pub fn dirent_type(self) -> u8 {
        (self.mode_bits() >> 12) as u8
    }
}

/// A point in time: seconds and nanoseconds since 1970-01-01T00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Seconds; may be negative.
    pub sec: i64,
    /// Nanoseconds, under 10^9.
    pub nsec: u32,
}

/// User and group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What a host does with owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Keeps whatever they are set to: the server runs as root.
    Kept,
    /// Everything that is made belongs to this user.
    Fixed(Owner),
    /// Has none.
    Unknown,
}

/// Attributes of a file.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Its kind.
    pub kind: Kind,
    /// Permission bits, set-user-id and the like included; `None` when the host does not keep them.
    pub mode: Option<u32>,
    /// Owner and group, `None` when the host does not tell.
    pub owner: Option<Owner>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Device number; with `ino` it identifies the file.
    pub dev: u64,
    /// Inode number, 0 when the host does not tell.
    pub ino: u64,
    /// Number of names; 0 for a file that was removed while it is open, where the host tells.
    pub nlink: u64,
    /// Size in bytes.
    pub size: u64,
    /// Blocks of 512 bytes in use.
    pub blocks: u64,
    /// Last access.
    pub atime: Time,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of the attributes.
    pub ctime: Time,
}

/// An entry of a directory; `.` and `..` are never among them.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: Box<[u8]>,
    /// Its kind, when the host tells without asking.
    pub kind: Option<Kind>,
    /// Its inode number, 0 when the host does not tell.
    pub ino: u64,
}

/// How to open a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Cut to length 0.
    pub truncate: bool,
    /// Make it when missing.
    pub create: bool,
    /// With `create`: fail when it exists.
    pub exclusive: bool,
    /// Permission bits of a new file.
    pub mode: u32,
}

/// What to do with a time stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// Leave it.
    Keep,
    /// The host's present time.
    Now,
    /// This time.
    To(Time),
}

/// A file named by path or by handle.
pub enum Target<'a, F> {
    /// By path.
    Path(&'a [u8]),
    /// An open one, which may have lost its name.
    File(&'a F),
}

impl<F> Clone for Target<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Target<'_, F> {}

/// Figures of a file system, as *statfs(2)*.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// Block size in bytes.
    pub bsize: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub bfree: u64,
    /// Free blocks for unprivileged users.
    pub bavail: u64,
    /// Files in all.
    pub files: u64,
    /// Files that can still be made.
    pub ffree: u64,
}

impl Space {
    /// For a host that does not tell: 1 TiB, all free, so that installers which look first are not stopped.
    pub const UNKNOWN: Space = Space {
        bsize: 4096,
        blocks: 1 << 28,
        bfree: 1 << 28,
        bavail: 1 << 28,
        files: 1 << 30,
        ffree: 1 << 30,
    };
}

/// What a rename does with a file that has the new name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// Replaces it.
    Yes,
    /// Fails with EEXIST.
    No,
    /// The two exchange their names.
    Exchange,
}

/// What *lseek(2)* looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The next data.
    Data,
    /// The next hole.
    Hole,
}

/// Bits of *fallocate(2)*'s mode that a server passes on: keep the size, punch a hole, collapse, zero,
/// insert.
pub const ALLOCATE_MODES: u32 = 0x01 | 0x02 | 0x08 | 0x10 | 0x20;

/// A file system that the server exports. See the module's documentation for paths.
///
/// What has a body here is what a host may lack.
pub trait Backend {
    /// An open regular file.
    type File;

    /// Whether the host keeps permission bits (otherwise the server remembers them for the session).
    fn keeps_modes(&self) -> bool;
    /// What the host does with owners; where it does not keep them, the server remembers them for the
    /// session.
    fn owners(&self) -> Owners;
    /// Attributes.
    fn stat(&mut self, target: Target<'_, Self::File>) -> Result<Stat>;
    /// Opens a regular file. Anything else is refused without waiting or side effects.
    fn open(&mut self, path: &[u8], how: Open) -> Result<Self::File>;
    /// Opens a file once more that may have lost its name.
    fn reopen(&mut self, _file: &Self::File, _how: Open) -> Result<Self::File> {
        Err(Errno::STALE)
    }
    /// Makes and opens a file without a name in a directory.
    fn open_unnamed(&mut self, _dir: &[u8], _how: Open) -> Result<Self::File> {
        Err(Errno::OPNOTSUPP)
    }
    /// Reads at an offset; 0 is the end of the file.
    fn read(&mut self, file: &Self::File, buf: &mut [u8], offset: u64) -> Result<usize>;
    /// Writes at an offset; may take fewer bytes than given.
    fn write(&mut self, file: &Self::File, buf: &[u8], offset: u64) -> Result<usize>;
    /// Writes at the end of the file, wherever that is now.
    fn append(&mut self, file: &Self::File, buf: &[u8]) -> Result<usize> {
        let end = self.stat(Target::File(file))?.size;
        self.write(file, buf, end)
    }
    /// What closing a descriptor would report.
    fn flush(&mut self, _file: &Self::File) -> Result<()> {
        Ok(())
    }
    /// Flushes to the disk; `data_only` as *fdatasync(2)*.
    fn sync(&mut self, file: &Self::File, data_only: bool) -> Result<()>;
    /// Flushes a directory, where the host can.
    fn sync_dir(&mut self, path: &[u8]) -> Result<()>;
    /// Flushes everything, where the host can.
    fn sync_all(&mut self) -> Result<()> {
        Ok(())
    }
    /// Sets the length.
    fn truncate(&mut self, target: Target<'_, Self::File>, size: u64) -> Result<()>;
    /// As *fallocate(2)*, with bits of [`ALLOCATE_MODES`].
    fn allocate(&mut self, _file: &Self::File, _mode: u32, _offset: u64, _len: u64) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }
    /// The next data or hole at or after an offset; ENXIO when there is none.
    fn seek(&mut self, file: &Self::File, offset: u64, what: Seek) -> Result<u64> {
        // A host that does not tell: all is data, with the hole after its end (lseek(2)).
        let size = self.stat(Target::File(file))?.size;
        match what {
            _ if offset >= size => Err(Errno::NXIO),
            Seek::Data => Ok(offset),
            Seek::Hole => Ok(size),
        }
    }
    /// Copies within the host, as *copy_file_range(2)*.
    fn copy(&mut self, _from: (&Self::File, u64), _to: (&Self::File, u64), _len: u64) -> Result<u64> {
        Err(Errno::OPNOTSUPP)
    }
    /// Sets time stamps; a symbolic link's own.
    fn set_times(&mut self, target: Target<'_, Self::File>, atime: SetTime, mtime: SetTime) -> Result<()>;
    /// Sets permission bits; only called when [`keeps_modes`](Self::keeps_modes).
    fn set_mode(&mut self, target: Target<'_, Self::File>, mode: u32) -> Result<()>;
    /// Sets owner and group, a symbolic link's own; only called with [`Owners::Kept`].
    fn set_owner(
        &mut self,
        _target: Target<'_, Self::File>,
        _uid: Option<u32>,
        _gid: Option<u32>,
    ) -> Result<()> {
        Err(Errno::PERM)
    }
    /// An extended attribute's value.
    fn xattr(&mut self, _target: Target<'_, Self::File>, _name: &[u8]) -> Result<Vec<u8>> {
        Err(Errno::OPNOTSUPP)
    }
    /// Sets an extended attribute, with the flags of *setxattr(2)*.
    fn set_xattr(
        &mut self,
        _target: Target<'_, Self::File>,
        _name: &[u8],
        _value: &[u8],
        _flags: u32,
    ) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }
    /// The names of all extended attributes, each followed by a NUL.
    fn xattrs(&mut self, _target: Target<'_, Self::File>) -> Result<Vec<u8>> {
        Err(Errno::OPNOTSUPP)
    }
    /// Removes an extended attribute.
    fn remove_xattr(&mut self, _target: Target<'_, Self::File>, _name: &[u8]) -> Result<()> {
        Err(Errno::OPNOTSUPP)
    }
    /// All entries of a directory, calling `keep` with each; `keep`'s error ends the listing.
    fn list(&mut self, path: &[u8], keep: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()>;
    /// Makes a directory.
    fn mkdir(&mut self, path: &[u8], mode: u32) -> Result<()>;
    /// Makes a FIFO or a socket.
    fn mknod(&mut self, _path: &[u8], _kind: Kind, _mode: u32) -> Result<()> {
        Err(Errno::PERM)
    }
    /// Makes a symbolic link.
    fn symlink(&mut self, target: &[u8], path: &[u8]) -> Result<()>;
    /// Where a symbolic link points.
    fn readlink(&mut self, path: &[u8]) -> Result<Vec<u8>>;
    /// Gives a file another name.
    fn link(&mut self, old: Target<'_, Self::File>, new: &[u8]) -> Result<()>;
    /// Renames.
    fn rename(&mut self, old: &[u8], new: &[u8], replace: Replace) -> Result<()>;
    /// Removes a name that is no directory's.
    fn unlink(&mut self, path: &[u8]) -> Result<()>;
    /// Removes an empty directory.
    fn rmdir(&mut self, path: &[u8]) -> Result<()>;
    /// Space left.
    fn space(&mut self) -> Result<Space>;
}
