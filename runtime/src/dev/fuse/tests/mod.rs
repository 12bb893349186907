//! The server on real directories, natively and on WASI (there below preopen 3), driven by a client that
//! speaks bytes.
//!
//! On WASI (`scripts/test unit` has the commands): a program for wasm32-wasip1 with one preopened directory,
//! and the arguments `dev::fuse --test-threads=1`.

mod attr;
mod client;
mod dirs;
mod files;
mod fsx;
mod hostile;
#[cfg(target_os = "linux")]
mod linux;
mod names;
#[cfg(target_os = "linux")]
mod races;
#[cfg(target_os = "linux")]
mod space;

use std::path::{Path, PathBuf};

use super::errno::Errno;
use super::nodes::ROOT;
use super::testing::Body;
use super::wire::{Attr, op};
use super::{HostFs, Server};
use client::{Client, Dir, File, Set};

pub(super) type Result<T> = core::result::Result<T, Errno>;

/// Linux open flags.
pub(super) const O_RDONLY: u32 = 0;
pub(super) const O_WRONLY: u32 = 1;
pub(super) const O_RDWR: u32 = 2;
pub(super) const O_CREAT: u32 = 0o100;
pub(super) const O_EXCL: u32 = 0o200;
pub(super) const O_TRUNC: u32 = 0o1000;
pub(super) const O_APPEND: u32 = 0o2000;

/// A directory of the test's own on the host, removed at the end.
pub(super) struct HostDir {
    pub(super) path: PathBuf,
    #[cfg(not(target_os = "wasi"))]
    _temp: tempfile::TempDir,
}

#[cfg(not(target_os = "wasi"))]
impl HostDir {
    pub(super) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        HostDir { path: temp.path().to_path_buf(), _temp: temp }
    }

    pub(super) fn export(&self) -> HostFs {
        HostFs::open(&self.path).unwrap()
    }
}

#[cfg(target_os = "wasi")]
impl HostDir {
    pub(super) fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let preopen =
            super::preopens().into_iter().next().expect("run the tests with one preopened directory");
        assert!(!preopen.read_only, "run the tests with a writable preopened directory");
        let path = Path::new(&preopen.path).join(format!("fuse-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        HostDir { path }
    }

    /// A directory below the preopen, opened, is as good as a preopen.
    pub(super) fn export(&self) -> HostFs {
        let name = self.path.file_name().unwrap().to_str().unwrap();
        // SAFETY: the path outlives the call.
        unsafe {
            let stat = wasip1::fd_fdstat_get(3).unwrap();
            let (own, below) = (stat.fs_rights_base, stat.fs_rights_inheriting);
            let fd = wasip1::path_open(3, 0, name, wasip1::OFLAGS_DIRECTORY, own & below, below, 0);
            HostFs::with_rights(fd.unwrap(), below)
        }
    }
}

#[cfg(target_os = "wasi")]
impl Drop for HostDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

pub(super) fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}
