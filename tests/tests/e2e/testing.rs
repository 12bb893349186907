//! What several groups of cases share.

use forelift_tests::{
    hosts::Host,
    images::Image,
    run::Run,
    workspace::{last_line, script},
};
use std::{ffi::OsStr, path::Path};
use tempfile::TempDir;

/// A temporary directory.
pub(crate) fn dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A run of an image in that file, on `forelift run`.
pub(crate) fn run_file(file: &Path) -> Run {
    Host::Wasm.riscv64().run(Image::Busybox).file(file)
}

/// Runs `scripts/mkimage`.
pub(crate) fn mkimage(options: &[&str], layers: &str, out: &Path) {
    let mut args: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
    args.extend([OsStr::new(layers), out.as_os_str()]);
    last_line(script("mkimage"), &args);
}

/// Busybox's root file system, a tar.
pub(crate) fn busybox_tar() -> String {
    Image::Busybox.rootfs().display().to_string()
}
