//! FUSE messages to and from bytes: the protocol of Linux's *include/uapi/linux/fuse.h*, version 7.41,
//! little-endian.
//!
//! A request is a header of [`IN_HEADER`] bytes and a body that depends on its operation; names in it end
//! with a NUL. A reply is a header of [`OUT_HEADER`] bytes and a body. Nothing is allocated by a length that
//! the client tells.

use super::errno::Errno;
use super::fs::Result;

/// Version of the protocol.
pub(crate) const MAJOR: u32 = 7;
/// Its minor number: what this server knows.
pub(crate) const MINOR: u32 = 41;
/// Length of a request's header in bytes.
pub(crate) const IN_HEADER: usize = 40;
/// Length of a reply's header in bytes.
pub(crate) const OUT_HEADER: usize = 16;
/// Length of `struct fuse_attr` in bytes.
pub(crate) const ATTR: usize = 88;
/// Length of `struct fuse_entry_out` in bytes.
pub(crate) const ENTRY_OUT: usize = 40 + ATTR;

/// Operations (`enum fuse_opcode`).
pub(crate) mod op {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const SETATTR: u32 = 4;
    pub(crate) const READLINK: u32 = 5;
    pub(crate) const SYMLINK: u32 = 6;
    pub(crate) const MKNOD: u32 = 8;
    pub(crate) const MKDIR: u32 = 9;
    pub(crate) const UNLINK: u32 = 10;
    pub(crate) const RMDIR: u32 = 11;
    pub(crate) const RENAME: u32 = 12;
    pub(crate) const LINK: u32 = 13;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const RELEASE: u32 = 18;
    pub(crate) const FSYNC: u32 = 20;
    pub(crate) const SETXATTR: u32 = 21;
    pub(crate) const GETXATTR: u32 = 22;
    pub(crate) const LISTXATTR: u32 = 23;
    pub(crate) const REMOVEXATTR: u32 = 24;
    pub(crate) const FLUSH: u32 = 25;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const RELEASEDIR: u32 = 29;
    pub(crate) const FSYNCDIR: u32 = 30;
    pub(crate) const CREATE: u32 = 35;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const DESTROY: u32 = 38;
    pub(crate) const BATCH_FORGET: u32 = 42;
    pub(crate) const FALLOCATE: u32 = 43;
    pub(crate) const RENAME2: u32 = 45;
    pub(crate) const LSEEK: u32 = 46;
    pub(crate) const COPY_FILE_RANGE: u32 = 47;
    pub(crate) const SYNCFS: u32 = 50;
    pub(crate) const TMPFILE: u32 = 51;
}

/// Flags of `FUSE_INIT`.
pub(crate) mod init {
    pub(crate) const ASYNC_READ: u32 = 1;
    pub(crate) const ATOMIC_O_TRUNC: u32 = 1 << 3;
    pub(crate) const BIG_WRITES: u32 = 1 << 5;
    pub(crate) const AUTO_INVAL_DATA: u32 = 1 << 12;
    pub(crate) const PARALLEL_DIROPS: u32 = 1 << 18;
    pub(crate) const MAX_PAGES: u32 = 1 << 22;
    pub(crate) const HANDLE_KILLPRIV_V2: u32 = 1 << 28;
    pub(crate) const INIT_EXT: u32 = 1 << 30;
    /// In `flags2`, whose bit 0 is the flags' bit 32.
    pub(crate) const DIRECT_IO_ALLOW_MMAP: u32 = 1 << 4;
}

/// `fuse_open_out.open_flags`: what the page cache holds of the file is still right.
pub(crate) const FOPEN_KEEP_CACHE: u32 = 1 << 1;
/// The same: what is read and written by this handle is not cached.
pub(crate) const FOPEN_DIRECT_IO: u32 = 1;
/// `fuse_write_in.write_flags`: dirty pages are written back, at their own offsets.
pub(crate) const WRITE_CACHE: u32 = 1;
/// `fuse_write_in.write_flags`: the write takes the file's set-user-id and set-group-id bits.
pub(crate) const WRITE_KILL_SUIDGID: u32 = 1 << 2;
/// `fuse_open_in.open_flags`: truncating takes these bits.
pub(crate) const OPEN_KILL_SUIDGID: u32 = 1;
/// `fuse_getattr_in.getattr_flags`: `fh` is valid.
pub(crate) const GETATTR_FH: u32 = 1;
/// `fuse_fsync_in.fsync_flags`: as *fdatasync(2)*.
pub(crate) const FSYNC_FDATASYNC: u32 = 1;

/// `fuse_setattr_in.valid`.
pub(crate) mod valid {
    pub(crate) const MODE: u32 = 1;
    pub(crate) const UID: u32 = 1 << 1;
    pub(crate) const GID: u32 = 1 << 2;
    pub(crate) const SIZE: u32 = 1 << 3;
    pub(crate) const ATIME: u32 = 1 << 4;
    pub(crate) const MTIME: u32 = 1 << 5;
    pub(crate) const FH: u32 = 1 << 6;
    pub(crate) const ATIME_NOW: u32 = 1 << 7;
    pub(crate) const MTIME_NOW: u32 = 1 << 8;
    pub(crate) const KILL_SUIDGID: u32 = 1 << 11;
}

/// A request's header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InHeader {
    /// Length of the whole request in bytes.
    pub(crate) len: u32,
    /// Operation.
    pub(crate) opcode: u32,
    /// Number that the reply repeats.
    pub(crate) unique: u64,
    /// File that it is about.
    pub(crate) nodeid: u64,
    /// User on whose behalf it is made.
    pub(crate) uid: u32,
    /// That user's group.
    pub(crate) gid: u32,
}

impl InHeader {
    /// Takes a header off the front of a request.
    pub(crate) fn take(request: &[u8]) -> Option<(InHeader, &[u8])> {
        let (header, body) = request.split_at_checked(IN_HEADER)?;
        let mut r = Reader(header);
        let mut header = || -> Result<InHeader> {
            Ok(InHeader {
                len: r.u32()?,
                opcode: r.u32()?,
                unique: r.u64()?,
                nodeid: r.u64()?,
                uid: r.u32()?,
                gid: r.u32()?,
            })
        };
        Some((header().ok()?, body))
    }
}

/// A whole request of root's: what tests and the fuzzer send.
pub(crate) fn request(opcode: u32, unique: u64, nodeid: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; IN_HEADER];
    let mut w = Writer::new(&mut bytes);
    w.u32((IN_HEADER + body.len()) as u32).u32(opcode).u64(unique).u64(nodeid);
    bytes.extend_from_slice(body);
    bytes
}

/// Reads a body; what is too short gives EINVAL.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let (now, later) = self.0.split_at_checked(len).ok_or(Errno::INVAL)?;
        self.0 = later;
        Ok(now)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (now, later) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = later;
        Ok(*now)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Leaves out some bytes.
    pub(crate) fn skip(&mut self, len: usize) -> Result<()> {
        self.bytes(len).map(drop)
    }

    /// A string up to its NUL, without it.
    pub(crate) fn name(&mut self) -> Result<&'a [u8]> {
        let end = self.0.iter().position(|&b| b == 0).ok_or(Errno::INVAL)?;
        let name = self.bytes(end)?;
        self.skip(1)?;
        Ok(name)
    }
}

/// Writes into a buffer that may be too short; [`Writer::len`] then is `None`.
pub(crate) struct Writer<'a> {
    to: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(to: &'a mut [u8]) -> Self {
        Writer { to, len: 0 }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.len.saturating_add(bytes.len());
        if let Some(to) = self.to.get_mut(self.len..end) {
            to.copy_from_slice(bytes);
        }
        self.len = end;
        self
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn zeros(&mut self, count: usize) -> &mut Self {
        let end = self.len.saturating_add(count);
        if let Some(to) = self.to.get_mut(self.len..end) {
            to.fill(0);
        }
        self.len = end;
        self
    }

    /// Bytes written, when all had room.
    pub(crate) fn len(&self) -> Option<usize> {
        (self.len <= self.to.len()).then_some(self.len)
    }
}

/// `struct fuse_attr`: a file as the client sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attr {
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) atime: (i64, u32),
    pub(crate) mtime: (i64, u32),
    pub(crate) ctime: (i64, u32),
    pub(crate) mode: u32,
    pub(crate) nlink: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u32,
}

/// Preferred size of reads and writes in bytes.
const BLOCK_SIZE: u32 = 4096;

impl Attr {
    pub(crate) fn put(&self, w: &mut Writer<'_>) {
        w.u64(self.ino).u64(self.size).u64(self.blocks);
        w.u64(self.atime.0 as u64).u64(self.mtime.0 as u64).u64(self.ctime.0 as u64);
        w.u32(self.atime.1).u32(self.mtime.1).u32(self.ctime.1);
        w.u32(self.mode).u32(self.nlink).u32(self.uid).u32(self.gid).u32(self.rdev);
        w.u32(BLOCK_SIZE).u32(0);
    }

    #[cfg(test)]
    pub(crate) fn take(r: &mut Reader<'_>) -> Result<Attr> {
        let mut a = Attr { ino: r.u64()?, size: r.u64()?, blocks: r.u64()?, ..Attr::default() };
        let seconds = [r.u64()? as i64, r.u64()? as i64, r.u64()? as i64];
        a.atime = (seconds[0], r.u32()?);
        a.mtime = (seconds[1], r.u32()?);
        a.ctime = (seconds[2], r.u32()?);
        (a.mode, a.nlink, a.uid, a.gid, a.rdev) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?, r.u32()?);
        r.skip(8)?;
        Ok(a)
    }
}

/// `struct fuse_entry_out`. Names and attributes are valid for no time: what the host changes is seen at
/// once.
pub(crate) fn put_entry(w: &mut Writer<'_>, nodeid: u64, attr: &Attr) {
    w.u64(nodeid).zeros(32);
    attr.put(w);
}

/// `struct fuse_attr_out`, likewise.
pub(crate) fn put_attr(w: &mut Writer<'_>, attr: &Attr) {
    w.zeros(16);
    attr.put(w);
}

/// Device numbers as Linux packs them into 32 bits (*include/linux/kdev_t.h*, `new_encode_dev`).
pub(crate) fn encode_device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// Puts a reply's header in front of a body of `len` bytes that is there already; gives the whole length.
pub(crate) fn finish(unique: u64, len: usize, to: &mut [u8]) -> Option<usize> {
    header(unique, 0, OUT_HEADER + len, to)
}

/// A reply that is an error.
pub(crate) fn error(unique: u64, errno: Errno, to: &mut [u8]) -> Option<usize> {
    header(unique, errno.0, OUT_HEADER, to)
}

fn header(unique: u64, errno: u32, total: usize, to: &mut [u8]) -> Option<usize> {
    if to.len() < total {
        return None;
    }
    let mut w = Writer::new(to);
    w.u32(u32::try_from(total).ok()?).u32(errno.wrapping_neg()).u64(unique);
    w.len().map(|_| total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_stop_at_the_end() {
        let mut r = Reader(b"\x01\0\0\0name\0rest");
        assert_eq!((r.u32(), r.name()), (Ok(1), Ok(&b"name"[..])));
        assert_eq!(
            (r.u64(), r.name(), r.bytes(5)),
            (Err(Errno::INVAL), Err(Errno::INVAL), Err(Errno::INVAL))
        );
        assert_eq!(r.bytes(4), Ok(&b"rest"[..]));
        assert!(InHeader::take(&[0; IN_HEADER - 1]).is_none());
    }

    #[test]
    fn writers_tell_what_had_no_room() {
        let mut buffer = [0xff; 10];
        let mut w = Writer::new(&mut buffer);
        w.u32(7).zeros(2);
        assert_eq!(w.len(), Some(6));
        w.u64(1);
        assert_eq!(w.len(), None);
        assert_eq!(buffer, [7, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn sizes_are_linux_s() {
        let mut buffer = [0; 256];
        let mut w = Writer::new(&mut buffer);
        put_entry(&mut w, 1, &Attr::default());
        assert_eq!(w.len(), Some(ENTRY_OUT));
        let attr = Attr { size: 5, mtime: (-7, 9), mode: 0o100_644, rdev: 3, ..Attr::default() };
        let mut w = Writer::new(&mut buffer);
        put_attr(&mut w, &attr);
        assert_eq!(w.len(), Some(16 + ATTR));
        let back = Attr::take(&mut Reader(&buffer[16..])).unwrap();
        assert_eq!((back.size, back.mtime, back.mode, back.rdev), (5, (-7, 9), 0o100_644, 3));
    }

    #[test]
    fn errors_are_negative() {
        let mut buffer = [0; 16];
        assert_eq!(error(9, Errno::NOENT, &mut buffer), Some(16));
        assert_eq!(buffer[..8], [16, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]);
        assert_eq!(error(9, Errno::NOENT, &mut buffer[..15]), None);
        assert_eq!(encode_device(259, 0x12345), 0x1231_0345);
    }
}
