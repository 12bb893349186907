//! The spool: an unlinked temporary file for file data, appended at its end and read at any offset.

use super::ImageError;
use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Bytes gathered before a write.
const BUFFER: usize = 1 << 18;

/// An append-only store in a file without a name: it vanishes with the process, however that ends.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    dir: PathBuf,
    /// Bytes in `file`.
    written: u64,
    /// Bytes that follow them, not written yet.
    pending: Vec<u8>,
}

impl Spool {
    /// Creates an empty spool in `dir`, by default the system's temporary directory.
    pub(crate) fn new(dir: Option<&Path>) -> Result<Self, ImageError> {
        let dir = dir.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let file =
            tempfile::tempfile_in(&dir).map_err(|source| ImageError::Spool { dir: dir.clone(), source })?;
        Ok(Spool { file, dir, written: 0, pending: Vec::new() })
    }

    /// Offset at which the next byte goes.
    pub(crate) fn len(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    fn wrap(&self, source: io::Error) -> ImageError {
        ImageError::Spool { dir: self.dir.clone(), source }
    }

    /// Adds bytes at the end.
    pub(crate) fn append(&mut self, data: &[u8]) -> Result<(), ImageError> {
        if self.pending.len() + data.len() > BUFFER {
            self.flush()?;
        }
        if data.len() >= BUFFER {
            self.file.write_all(data).map_err(|e| self.wrap(e))?;
            self.written += data.len() as u64;
        } else {
            self.pending.extend_from_slice(data);
        }
        Ok(())
    }

    /// Writes out what is pending: needed before reading.
    pub(crate) fn flush(&mut self) -> Result<(), ImageError> {
        self.file.write_all(&self.pending).map_err(|e| self.wrap(e))?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Fills `out` from `offset`; the range must have been appended and flushed.
    pub(crate) fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }
}
