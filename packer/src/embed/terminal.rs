//! The host's terminal: its size, and raw mode that is left again however the process ends.
//!
//! Raw mode ends when [`RawMode`] is dropped (also by a panic) and when a signal kills the process
//! ([`restore`] is called by [`control`](super::control)'s handler). Only SIGKILL leaves a raw terminal.

use std::{
    io, mem,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use libc::{c_int, termios};

static SAVED: OnceLock<(c_int, termios)> = OnceLock::new();
static RAW: AtomicBool = AtomicBool::new(false);

/// Whether a descriptor is a terminal.
pub fn is_tty(fd: c_int) -> bool {
    // SAFETY: isatty has no preconditions.
    unsafe { libc::isatty(fd) == 1 }
}

/// Rows and columns of the terminal on the standard streams.
pub fn size() -> Option<(u16, u16)> {
    (0..3).find_map(|fd| {
        // SAFETY: TIOCGWINSZ fills a winsize.
        let size = unsafe {
            let mut size: libc::winsize = mem::zeroed();
            (libc::ioctl(fd, libc::TIOCGWINSZ, &mut size) == 0).then_some(size)
        }?;
        (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
    })
}

/// The terminal is in raw mode while this value lives.
pub struct RawMode(());

impl RawMode {
    /// Makes the terminal on standard input raw; `None` when there is no terminal.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub fn enter() -> io::Result<Option<RawMode>> {
        let fd = 0;
        if !is_tty(fd) {
            return Ok(None);
        }
        // SAFETY: tcgetattr fills the structure, cfmakeraw changes it, tcsetattr reads it.
        unsafe {
            let mut mode: termios = mem::zeroed();
            if libc::tcgetattr(fd, &mut mode) != 0 {
                return Err(io::Error::last_os_error());
            }
            let _ = SAVED.set((fd, mode));
            RAW.store(true, Ordering::SeqCst);
            libc::cfmakeraw(&mut mode);
            if libc::tcsetattr(fd, libc::TCSANOW, &mode) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Some(RawMode(())))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back as it was. Async-signal-safe; does nothing when it is not raw.
pub fn restore() {
    if RAW.swap(false, Ordering::SeqCst)
        && let Some((fd, mode)) = SAVED.get()
    {
        // SAFETY: tcsetattr reads the structure.
        unsafe { libc::tcsetattr(*fd, libc::TCSANOW, mode) };
    }
}
