//! Output files that appear complete or not at all.
//!
//! An output is written under a temporary name in its own directory and renamed at the end. After an error or
//! a panic, a destructor removes the temporary file; after SIGINT, SIGTERM and SIGHUP, a signal handler does.

use std::{
    ffi::CString,
    fs::File,
    io::{self, BufWriter},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    ptr,
    sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering},
};

use tempfile::NamedTempFile;

/// Paths of the temporary files that exist now. A process writes few at a time.
static LIVE: [AtomicPtr<libc::c_char>; 8] = [const { AtomicPtr::new(ptr::null_mut()) }; 8];

/// Whether a signal waits until [`undisturbed`] work is done, and the one that does; 0 for none.
static DEFERS: AtomicBool = AtomicBool::new(false);
static DEFERRED: AtomicI32 = AtomicI32::new(0);

/// Does `work`, which is short, before any signal ends the process.
pub fn undisturbed<T>(work: impl FnOnce() -> T) -> T {
    DEFERS.store(true, Ordering::SeqCst);
    let done = work();
    DEFERS.store(false, Ordering::SeqCst);
    match DEFERRED.swap(0, Ordering::SeqCst) {
        0 => {}
        // SAFETY: a plain system call; the handler is the one below.
        signal => drop(unsafe { libc::raise(signal) }),
    }
    done
}

extern "C" fn on_signal(signal: libc::c_int) {
    if DEFERS.load(Ordering::SeqCst) {
        DEFERRED.store(signal, Ordering::SeqCst);
        return;
    }
    // Only functions that POSIX lists as async-signal-safe: unlink, signal, raise.
    for slot in &LIVE {
        let path = slot.load(Ordering::SeqCst);
        if !path.is_null() {
            // SAFETY: a non-null slot points to a C string that is never freed.
            unsafe { libc::unlink(path) };
        }
    }
    // SAFETY: plain system calls.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP remove unfinished outputs before they end the process, and a file size
/// limit (SIGXFSZ) an error of the write.
pub fn clean_up_on_signals() {
    // SAFETY: no handler runs.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler uses only async-signal-safe functions. A signal that is ignored (nohup) stays
        // so.
        unsafe {
            if libc::signal(signal, libc::SIG_IGN) != libc::SIG_IGN {
                libc::signal(signal, on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t);
            }
        }
    }
}

/// A place in [`LIVE`], given back when dropped.
struct Slot(Option<&'static AtomicPtr<libc::c_char>>);

impl Slot {
    fn take(path: &Path) -> Self {
        let Ok(name) = CString::new(path.as_os_str().as_bytes()) else { return Slot(None) };
        // Leaked on purpose: the handler may read it at any time.
        let raw = name.into_raw();
        Slot(LIVE.iter().find(|slot| {
            slot.compare_exchange(ptr::null_mut(), raw, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        }))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.store(ptr::null_mut(), Ordering::SeqCst);
        }
    }
}

/// A file being written. If it is dropped without [`finish`](Self::finish), nothing is left of it.
pub struct Output {
    path: PathBuf,
    temp: NamedTempFile,
    slot: Slot,
}

impl Output {
    /// Starts the file that will be `path`.
    ///
    /// # Errors
    /// When its directory does not exist or cannot be written; when `path` is there and no regular file.
    pub fn create(path: &Path) -> io::Result<Self> {
        if path.metadata().is_ok_and(|m| !m.is_file()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it exists and is not a regular file"));
        }
        let dir = directory(path);
        if let Err(e) = dir.metadata() {
            // Otherwise the message would name the temporary file.
            return Err(io::Error::new(e.kind(), format!("its directory cannot be used: {e}")));
        }
        let temp = tempfile::Builder::new().prefix(".forelift-").suffix(".tmp").tempfile_in(dir)?;
        let slot = Slot::take(temp.path());
        Ok(Output { path: path.to_path_buf(), temp, slot })
    }

    /// The unfinished file, with a large buffer.
    pub fn writer(&mut self) -> BufWriter<&File> {
        BufWriter::with_capacity(256 << 10, self.temp.as_file())
    }

    /// Gives the file its name, with the permissions that a new file has.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn finish(self) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let Output { path, temp, slot } = self;
        // SAFETY: umask cannot fail; it is put back at once.
        let mask = unsafe {
            let mask = libc::umask(0o022);
            libc::umask(mask);
            mask
        };
        #[allow(clippy::useless_conversion, reason = "mode_t is u16 on macOS")]
        let mode = 0o666 & !u32::from(mask);
        temp.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
        temp.persist(&path).map_err(|e| e.error)?;
        drop(slot);
        Ok(())
    }
}

/// The directory for temporary files beside `path`, which is a file or a directory.
pub fn beside(path: &Path) -> &Path {
    if path.is_dir() { path } else { directory(path) }
}

/// The directory that a file of that name lies in.
pub fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn nothing_is_left_unless_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut output = Output::create(&path).unwrap();
        output.writer().write_all(b"half").unwrap();
        drop(output);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

        let mut output = Output::create(&path).unwrap();
        output.writer().write_all(b"whole").unwrap();
        output.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(Output::create(dir.path()).is_err());
        assert!(Output::create(&dir.path().join("no/such/out")).is_err());
    }
}
