//! Printing results, and errors of output files.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Prints a result; a closed stdout is an error like any other, not a panic.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    print_bytes(format!("{text}\n").as_bytes())
}

/// As [`print`], without an end of line.
pub(super) fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| anyhow::anyhow!("stdout: {e}"))
}

/// An output file's error, with its name.
pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> anyhow::Error {
    let path: PathBuf = path.into();
    move |e| anyhow::anyhow!("{}: {e}", path.display())
}
