//! Tells another thread, which may be asleep in `poll`, that there is something for it.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{Mutex, PoisonError},
};

/// A bell: a descriptor that polls readable from [`Bell::ring`] to [`Bell::clear`].
pub(crate) struct Bell {
    heard: UnixStream,
    rung: UnixStream,
    /// Whether it rings. Ringing again costs no system call.
    rings: Mutex<bool>,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let (heard, rung) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        Ok(Bell { heard, rung, rings: Mutex::new(false) })
    }

    pub(crate) fn ring(&self) {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        if !*rings {
            *rings = (&self.rung).write(&[0]).is_ok();
        }
    }

    pub(crate) fn clear(&self) {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        if *rings {
            *rings = (&self.heard).read(&mut [0; 8]).is_err();
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }
}
