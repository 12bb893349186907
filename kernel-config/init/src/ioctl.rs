//! Device requests (ioctl(2), tcsetattr(3) and kin) with safe interfaces: random generator, terminals.

use crate::sys::check;
use libc::{c_int, c_ulong};
use std::{fs::File, io, os::fd::AsRawFd};

// linux/random.h: _IOW('R', 0x03, int[2]) and _IO('R', 0x07).
const RNDADDENTROPY: c_ulong = 0x4008_5203;
const RNDRESEEDCRNG: c_ulong = 0x5207;

/// Mixes `bytes` into the kernel's input pool and credits 8 bits for each (`RNDADDENTROPY`).
pub(crate) fn add_entropy(random: &File, bytes: &[u8]) -> io::Result<()> {
    // struct rand_pool_info: int entropy_count (bits), int buf_size (bytes), then the bytes. A Vec of words
    // keeps it aligned.
    let mut info = vec![0i32; 2 + bytes.len().div_ceil(4)];
    info[0] = i32::try_from(bytes.len() * 8).unwrap_or(i32::MAX);
    info[1] = bytes.len() as i32;
    for (word, chunk) in info[2..].iter_mut().zip(bytes.chunks(4)) {
        let mut full = [0; 4];
        full[..chunk.len()].copy_from_slice(chunk);
        *word = i32::from_ne_bytes(full);
    }
    // SAFETY: `info` is a rand_pool_info whose buffer is at least `buf_size` bytes.
    check(unsafe { libc::ioctl(random.as_raw_fd(), RNDADDENTROPY as _, info.as_ptr()) })?;
    Ok(())
}

/// Makes the kernel's generator take a new key from the input pool at once (`RNDRESEEDCRNG`).
pub(crate) fn reseed(random: &File) -> io::Result<()> {
    // SAFETY: the request takes no argument.
    check(unsafe { libc::ioctl(random.as_raw_fd(), RNDRESEEDCRNG as _, 0) })?;
    Ok(())
}

/// Unlocks the slave of a pseudo-terminal and gives its number.
pub(crate) fn unlock_pty(master: &File) -> io::Result<u32> {
    let (zero, mut number): (c_int, libc::c_uint) = (0, 0);
    // SAFETY: the request reads one int.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK as _, &zero) })?;
    // SAFETY: the request writes one unsigned int.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN as _, &mut number) })?;
    Ok(number)
}

/// Makes `tty` the controlling terminal of this process's session.
pub(crate) fn set_controlling_tty(tty: &File) -> io::Result<()> {
    // SAFETY: the request takes an int by value.
    check(unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCSCTTY as _, 0) })?;
    Ok(())
}

/// Makes `pgrp` the foreground process group of the terminal.
pub(crate) fn set_foreground(tty: &File, pgrp: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::tcsetpgrp(tty.as_raw_fd(), pgrp) })?;
    Ok(())
}

/// Sets a terminal's size; the kernel sends SIGWINCH when it changed.
pub(crate) fn set_window_size(tty: &File, rows: u16, cols: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request reads one winsize.
    check(unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCSWINSZ as _, &size) })?;
    Ok(())
}

fn termios(tty: &File) -> io::Result<libc::termios> {
    // SAFETY: termios is plain numbers, for which zero is a value.
    let mut t: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: `t` is a valid place for the result.
    check(unsafe { libc::tcgetattr(tty.as_raw_fd(), &mut t) })?;
    Ok(t)
}

/// Switches a terminal's echo off.
pub(crate) fn echo_off(tty: &File) -> io::Result<()> {
    let mut t = termios(tty)?;
    t.c_lflag &= !libc::ECHO;
    // SAFETY: `t` is a valid termios.
    check(unsafe { libc::tcsetattr(tty.as_raw_fd(), libc::TCSANOW, &t) })?;
    Ok(())
}

/// The terminal's end-of-file character, when it works by lines (`ICANON`).
pub(crate) fn eof_character(tty: &File) -> io::Result<Option<u8>> {
    let t = termios(tty)?;
    Ok((t.c_lflag & libc::ICANON != 0).then_some(t.c_cc[libc::VEOF]))
}
