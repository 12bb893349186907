//! The virtio-console ports that connect the init to the host.
//!
//! A port is a character device `/dev/vportNpM` that one process may hold open; its name is in sysfs once the
//! host has told it (virtio 1.2, 5.3.6.2). Reading gives 0 while the host's side is not connected
//! (drivers/char/virtio_console.c, `port_fops_read`), which is no end of file: the host announces the end by
//! a message.

use crate::{failure::*, sys};
use forelift_abi::control::{self, ToGuest, ToHost};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::fd::{AsRawFd, IntoRawFd, RawFd},
    path::PathBuf,
    sync::atomic::{AtomicI32, Ordering},
    thread::sleep,
    time::Duration,
};

/// How long a port may take to appear after the kernel is up.
const APPEAR_TRIES: u32 = 500;
const APPEAR_PAUSE: Duration = Duration::from_millis(10);
/// Pause while the host's side of a port is not connected.
pub(crate) const DISCONNECTED_PAUSE: Duration = Duration::from_millis(20);

/// Where a last message can go, for the panic hook. -1: no control port yet.
static CONTROL_FD: AtomicI32 = AtomicI32::new(-1);

fn find(name: &str) -> io::Result<Option<PathBuf>> {
    let Ok(ports) = fs::read_dir("/sys/class/virtio-ports") else { return Ok(None) };
    for port in ports {
        let port = port?;
        let told = fs::read_to_string(port.path().join("name")).unwrap_or_default();
        if told.trim_end() == name {
            return Ok(Some(PathBuf::from("/dev").join(port.file_name())));
        }
    }
    Ok(None)
}

/// Opens the port of that name, waiting for the host to announce it.
pub(crate) fn open(name: &str) -> Result<File, Failure> {
    let what = || format!("cannot open virtio port {name}");
    for _ in 0..APPEAR_TRIES {
        if let Some(device) = find(name).with_context(what)? {
            return OpenOptions::new().read(true).write(true).open(device).with_context(what);
        }
        sleep(APPEAR_PAUSE);
    }
    Err(Failure::own(format!("there is no virtio port named {name}")))
}

/// The control port and what was read from it but not yet understood.
pub(crate) struct Control {
    port: File,
    buffer: Vec<u8>,
    waits: bool,
}

impl Control {
    /// Opens it.
    pub(crate) fn open() -> Result<Self, Failure> {
        let port = open(control::PORT_CONTROL)?;
        // A second descriptor, which outlives whatever goes wrong with the first.
        let last_resort = port.try_clone().context("cannot duplicate the control port")?;
        CONTROL_FD.store(last_resort.into_raw_fd(), Ordering::Relaxed);
        Ok(Control { port, buffer: Vec::new(), waits: true })
    }

    /// For poll(2).
    pub(crate) fn fd(&self) -> RawFd {
        self.port.as_raw_fd()
    }

    /// Makes [`Control::receive`] give up instead of waiting.
    pub(crate) fn set_nonblocking(&mut self) -> Result<(), Failure> {
        self.waits = false;
        sys::set_nonblocking(&self.port).context("cannot switch the control port")
    }

    /// Sends a message, waiting for room.
    pub(crate) fn send(&mut self, message: &ToHost) -> Result<(), Failure> {
        sys::write_all(&mut self.port, &control::encode(message)).context("cannot write to the control port")
    }

    /// The next message; `None` when there is none now (never when blocking).
    pub(crate) fn receive(&mut self) -> Result<Option<ToGuest>, Failure> {
        loop {
            if let Some(message) = control::take(&mut self.buffer).map_err(|e| Failure::own(e.to_string()))? {
                return Ok(Some(message));
            }
            // On the stack: one page of it is in use anyway, and the snapshot is taken here.
            let mut chunk = [0; 2048];
            match self.port.read(&mut chunk) {
                Ok(0) => {
                    sleep(DISCONNECTED_PAUSE);
                    if !self.waits {
                        return Ok(None);
                    }
                }
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) => return Err(e).context("cannot read the control port"),
            }
        }
    }
}

/// Tells the host of a failure from anywhere, even a panic. False when there is no port to tell it through.
pub(crate) fn send_failure(failure: &Failure) -> bool {
    let fd = CONTROL_FD.load(Ordering::Relaxed);
    let message = ToHost::Failed { code: failure.code, message: failure.message.clone() };
    fd >= 0 && sys::write_raw(fd, &control::encode(&message)).is_ok()
}
