//! Reads and writes the standard streams by system calls on the host's descriptors, without blocking.
//!
//! The descriptors are shared with the shell that started the process, so they are not set to O_NONBLOCK.
//! They are polled first, and writes that could block are made in pieces that a ready pipe or terminal takes
//! whole (PIPE_BUF bytes, pipe(7)).

use std::os::fd::RawFd;

use libc::{c_int, iovec};

/// Bytes that a ready pipe takes without blocking.
const PIECE: usize = 4096;
/// Most buffers in one call (IOV_MAX).
const MAX_BUFFERS: u32 = 1024;

/// Error numbers of WASI preview 1 (*witx*, `$errno`).
pub mod errno {
    /// Success.
    pub const SUCCESS: i32 = 0;
    /// Resource unavailable, or operation would block.
    pub const AGAIN: i32 = 6;
    /// Bad file descriptor.
    pub const BADF: i32 = 8;
    /// Bad address.
    pub const FAULT: i32 = 21;
    /// Interrupted function.
    pub const INTR: i32 = 27;
    /// Invalid argument.
    pub const INVAL: i32 = 28;
    /// I/O error.
    pub const IO: i32 = 29;
    /// Filename too long.
    pub const NAMETOOLONG: i32 = 37;
    /// No space left on device.
    pub const NOSPC: i32 = 51;
    /// Broken pipe.
    pub const PIPE: i32 = 64;
    /// Connection reset.
    pub const CONNRESET: i32 = 15;
    /// File too large.
    pub const FBIG: i32 = 22;
}

/// The WASI number for the host's error.
fn last_errno() -> i32 {
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN) => errno::AGAIN,
        Some(libc::EBADF) => errno::BADF,
        Some(libc::EFAULT) => errno::FAULT,
        Some(libc::EINTR) => errno::INTR,
        Some(libc::EINVAL) => errno::INVAL,
        Some(libc::ENOSPC | libc::EDQUOT) => errno::NOSPC,
        Some(libc::EPIPE) => errno::PIPE,
        Some(libc::ECONNRESET) => errno::CONNRESET,
        Some(libc::EFBIG) => errno::FBIG,
        _ => errno::IO,
    }
}

/// Reads a little-endian word of the module's memory.
pub fn word(memory: &[u8], at: u32) -> Result<u32, i32> {
    let bytes = memory.get(at as usize..).and_then(|m| m.first_chunk::<4>()).ok_or(errno::FAULT)?;
    Ok(u32::from_le_bytes(*bytes))
}

/// Writes `bytes` to the module's memory.
pub fn put(memory: &mut [u8], at: u32, bytes: &[u8]) -> Result<(), i32> {
    let to = memory.get_mut(at as usize..).and_then(|m| m.get_mut(..bytes.len())).ok_or(errno::FAULT)?;
    to.copy_from_slice(bytes);
    Ok(())
}

/// The buffers of an `fd_read` or `fd_write`, as address and length, all within memory; empty ones are left
/// out.
pub fn buffers(memory: &[u8], list: u32, count: u32) -> Result<Vec<(usize, usize)>, i32> {
    if count > MAX_BUFFERS {
        return Err(errno::INVAL);
    }
    let mut out = Vec::with_capacity(count as usize);
    for i in 0..count {
        let at = list.checked_add(i * 8).ok_or(errno::FAULT)?;
        let start = word(memory, at)? as usize;
        let len = word(memory, at.checked_add(4).ok_or(errno::FAULT)?)? as usize;
        if memory.len().checked_sub(start).is_none_or(|room| room < len) {
            return Err(errno::FAULT);
        }
        if len > 0 {
            out.push((start, len));
        }
    }
    Ok(out)
}

/// Where a call is in its buffers.
pub struct Cursor<'a> {
    buffers: &'a [(usize, usize)],
    /// Bytes of the first that are used up.
    used: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning of what [`buffers`] gave.
    pub fn new(buffers: &'a [(usize, usize)]) -> Self {
        Cursor { buffers, used: 0 }
    }

    /// Goes on by `n` bytes, and calls `each` with the pieces, as address and length; false when there are
    /// fewer.
    pub fn take(&mut self, mut n: usize, mut each: impl FnMut(usize, usize)) -> bool {
        while n > 0 {
            let Some(&(start, len)) = self.buffers.first() else { return false };
            let now = n.min(len - self.used);
            each(start + self.used, now);
            self.used += now;
            n -= now;
            if self.used == len {
                self.buffers = &self.buffers[1..];
                self.used = 0;
            }
        }
        true
    }

    /// Writes `bytes`, as far as there is room.
    pub fn put(&mut self, memory: &mut [u8], bytes: &[u8]) {
        let mut rest = bytes;
        self.take(bytes.len(), |start, len| {
            let (now, later) = rest.split_at(len);
            memory[start..start + len].copy_from_slice(now);
            rest = later;
        });
    }
}

fn ready(fd: RawFd, events: i16) -> bool {
    let mut poll = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one pollfd. An error or hang-up counts as ready: the call itself will tell.
    unsafe { libc::poll(&mut poll, 1, 0) > 0 }
}

/// Whether a descriptor is a file on disk or the like, which never blocks.
fn is_regular(fd: RawFd) -> bool {
    // SAFETY: fstat fills the structure.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        libc::fstat(fd, &mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFREG
    }
}

/// Reads from `fd` into the module's buffers; gives the number of bytes, 0 at the end.
pub fn read(memory: &mut [u8], buffers: &[(usize, usize)], fd: RawFd) -> Result<u32, i32> {
    if buffers.is_empty() {
        return Ok(0);
    }
    if !ready(fd, libc::POLLIN) {
        return Err(errno::AGAIN);
    }
    transfer(memory, buffers, |list, n| {
        // SAFETY: `transfer` gives buffers within the module's memory, which is borrowed for the call.
        unsafe { libc::readv(fd, list, n) }
    })
}

/// Writes the module's buffers to `fd`; gives the number of bytes taken.
pub fn write(memory: &mut [u8], buffers: &[(usize, usize)], fd: RawFd) -> Result<u32, i32> {
    if buffers.is_empty() {
        return Ok(0);
    }
    if !ready(fd, libc::POLLOUT) {
        return Err(errno::AGAIN);
    }
    let mut short;
    let buffers = if is_regular(fd) {
        buffers
    } else {
        short = Vec::new();
        let mut room = PIECE;
        for &(start, len) in buffers {
            let take = len.min(room);
            if take > 0 {
                short.push((start, take));
            }
            room -= take;
        }
        &short[..]
    };
    transfer(memory, buffers, |list, n| {
        // SAFETY: as in `read`.
        unsafe { libc::writev(fd, list, n) }
    })
}

fn transfer(
    memory: &mut [u8],
    buffers: &[(usize, usize)],
    call: impl Fn(*const iovec, c_int) -> isize,
) -> Result<u32, i32> {
    let base = memory.as_mut_ptr();
    // A WASI count is a u32: shorten what could exceed it.
    let mut room = i32::MAX as usize;
    let list: Vec<iovec> = buffers
        .iter()
        .map(|&(start, len)| {
            let len = len.min(room);
            room -= len;
            // SAFETY: `buffers` checked that the range lies within memory.
            iovec { iov_base: unsafe { base.add(start) }.cast(), iov_len: len }
        })
        .collect();
    match call(list.as_ptr(), list.len() as c_int) {
        n @ 0.. => Ok(n as u32),
        _ => match last_errno() {
            // A signal came first; the runtime looks at its control descriptor before it tries again.
            errno::INTR => Err(errno::AGAIN),
            e => Err(e),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write, pipe},
        os::fd::AsRawFd,
    };

    use super::*;

    #[test]
    fn buffers_outside_of_memory_are_refused() {
        let mut memory = vec![0u8; 64];
        put(&mut memory, 0, &60u32.to_le_bytes()).unwrap();
        put(&mut memory, 4, &4u32.to_le_bytes()).unwrap();
        assert_eq!(buffers(&memory, 0, 1), Ok(vec![(60, 4)]));
        put(&mut memory, 4, &5u32.to_le_bytes()).unwrap();
        assert_eq!(buffers(&memory, 0, 1), Err(errno::FAULT));
        put(&mut memory, 0, &u32::MAX.to_le_bytes()).unwrap();
        assert_eq!(buffers(&memory, 0, 1), Err(errno::FAULT));
        assert_eq!(buffers(&memory, 60, 1), Err(errno::FAULT));
        assert_eq!(buffers(&memory, u32::MAX - 3, 2), Err(errno::FAULT));
        assert_eq!(buffers(&memory, 0, 4000), Err(errno::INVAL));
    }

    #[test]
    fn pipes_never_block_and_tell_their_end() {
        let (mut reader, mut writer) = pipe().unwrap();
        let mut memory = vec![7u8; 1 << 20];
        let all = [(0, 1 << 20)];
        assert_eq!(read(&mut memory, &all, reader.as_raw_fd()), Err(errno::AGAIN));
        writer.write_all(b"hello").unwrap();
        assert_eq!(read(&mut memory, &[(0, 2), (8, 10)], reader.as_raw_fd()), Ok(5));
        assert_eq!((&memory[..2], &memory[8..11]), (&b"he"[..], &b"llo"[..]));

        let mut written = 0;
        let full = loop {
            match write(&mut memory, &all, writer.as_raw_fd()) {
                Ok(n) => written += n as usize,
                Err(e) => break e,
            }
        };
        assert_eq!(full, errno::AGAIN);
        let mut drained = vec![0; written];
        reader.read_exact(&mut drained).unwrap();
        assert!(write(&mut memory, &all, writer.as_raw_fd()).is_ok());
        drop(reader);
        // The test harness ignores SIGPIPE, as every Rust program does.
        assert_eq!(write(&mut memory, &all, writer.as_raw_fd()), Err(errno::PIPE));

        let (reader, writer) = pipe().unwrap();
        drop(writer);
        assert_eq!(read(&mut memory, &all, reader.as_raw_fd()), Ok(0));
    }

    #[test]
    fn a_full_disk_is_said() {
        let file = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(write(&mut [1; 8], &[(0, 8)], file.as_raw_fd()), Err(errno::NOSPC));
    }
}
