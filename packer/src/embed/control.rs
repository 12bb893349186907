//! Signals of the host process and the terminal's size, as records for the runtime ([`forelift_abi::embed`]).
//!
//! A handler writes the signal's number to a pipe; the runtime polls the pipe's other end through its control
//! descriptor. A runtime that does not read it cannot keep its process alive: when three INT, TERM or QUIT
//! are unread, the process ends.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicI32, AtomicU32, Ordering},
};

use forelift_abi::embed::Record;
use libc::c_int;

use super::terminal;

/// Signals that are forwarded, with their Linux numbers (the host's may differ).
const FORWARDED: [(c_int, u8); 6] = [
    (libc::SIGHUP, 1),
    (libc::SIGINT, 2),
    (libc::SIGQUIT, 3),
    (libc::SIGUSR1, 10),
    (libc::SIGUSR2, 12),
    (libc::SIGTERM, 15),
];
/// How many unread INT, TERM or QUIT end the process.
const IMPATIENCE: u32 = 3;

static PIPE: AtomicI32 = AtomicI32::new(-1);
static UNREAD: AtomicU32 = AtomicU32::new(0);

extern "C" fn on_signal(signal: c_int) {
    // SAFETY: only async-signal-safe functions (write, signal, raise, tcsetattr); errno is kept for what was
    // interrupted.
    unsafe {
        let errno = *libc::__errno_location();
        if matches!(signal, libc::SIGINT | libc::SIGTERM | libc::SIGQUIT)
            && UNREAD.fetch_add(1, Ordering::SeqCst) + 1 >= IMPATIENCE
        {
            terminal::restore();
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        let byte = signal as u8;
        libc::write(PIPE.load(Ordering::SeqCst), (&raw const byte).cast(), 1);
        *libc::__errno_location() = errno;
    }
}

/// The control descriptor's host side. There is one at a time in a process. Its destructor restores the
/// signals' actions.
pub struct Control {
    queue: VecDeque<Record>,
    pipe: File,
    write_end: RawFd,
    previous: Vec<(c_int, libc::sigaction)>,
}

impl Control {
    /// Catches the signals and queues the record about the terminal.
    ///
    /// # Errors
    /// When the pipe cannot be made or a handler cannot be installed.
    pub fn new(tty: bool, raw: bool) -> io::Result<Self> {
        let (rows, cols) = if tty { terminal::size().unwrap_or((0, 0)) } else { (0, 0) };
        let (pipe, write_end) = nonblocking_pipe()?;
        UNREAD.store(0, Ordering::SeqCst);
        PIPE.store(write_end, Ordering::SeqCst);
        let queue = VecDeque::from([Record::Terminal { is_tty: tty, raw, rows, cols }]);
        let mut control = Control { queue, pipe, write_end, previous: Vec::new() };
        for signal in FORWARDED.iter().map(|s| s.0).chain(tty.then_some(libc::SIGWINCH)) {
            control.catch(signal)?;
        }
        Ok(control)
    }

    fn catch(&mut self, signal: c_int) -> io::Result<()> {
        // SAFETY: the handler is async-signal-safe; the structures are plain data.
        unsafe {
            let mut old: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &mut old) != 0 {
                return Err(io::Error::last_os_error());
            }
            // An ignored signal stays ignored (nohup, background jobs of a shell without job control).
            if old.sa_sigaction == libc::SIG_IGN {
                return Ok(());
            }
            let mut new: libc::sigaction = std::mem::zeroed();
            new.sa_sigaction = on_signal as extern "C" fn(c_int) as libc::sighandler_t;
            // No SA_RESTART: a signal must end a wait. SA_ONSTACK: wasmtime's threads may be deep in their
            // stack.
            new.sa_flags = libc::SA_ONSTACK;
            if libc::sigaction(signal, &new, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            self.previous.push((signal, old));
        }
        Ok(())
    }

    /// The descriptor to poll for events, besides [`has_records`](Self::has_records).
    pub fn fd(&self) -> RawFd {
        self.pipe.as_raw_fd()
    }

    /// Whether a record can be taken without asking the system.
    pub fn has_records(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The oldest record.
    pub fn take(&mut self) -> Option<Record> {
        if self.queue.is_empty() {
            self.drain();
        }
        self.queue.pop_front()
    }

    fn drain(&mut self) {
        let mut bytes = [0u8; 64];
        while let Ok(n @ 1..) = self.pipe.read(&mut bytes) {
            UNREAD.store(0, Ordering::SeqCst);
            for &byte in &bytes[..n] {
                let signal = c_int::from(byte);
                if signal == libc::SIGWINCH {
                    if let Some((rows, cols)) = terminal::size() {
                        self.queue.push_back(Record::WindowSize { rows, cols });
                    }
                } else if let Some((_, number)) = FORWARDED.iter().find(|(s, _)| *s == signal) {
                    self.queue.push_back(Record::Signal(*number));
                }
            }
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        for (signal, old) in &self.previous {
            // SAFETY: `old` is what the system gave.
            unsafe { libc::sigaction(*signal, old, std::ptr::null_mut()) };
        }
        PIPE.store(-1, Ordering::SeqCst);
        // SAFETY: the write end is ours, and the handler no longer has it.
        drop(unsafe { OwnedFd::from_raw_fd(self.write_end) });
    }
}

fn nonblocking_pipe() -> io::Result<(File, RawFd)> {
    let (reader, writer) = io::pipe()?;
    for fd in [reader.as_raw_fd(), writer.as_raw_fd()] {
        // SAFETY: both descriptors are open.
        if unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok((File::from(OwnedFd::from(reader)), OwnedFd::from(writer).into_raw_fd()))
}
