//! An archive as a stream of header blocks and data.

use super::{
    fault::Fault,
    header::{BLOCK, Header},
};
use std::io::{self, Read};

/// Longest extension header in bytes.
const MAX_EXTENSION: u64 = 1 << 20;

/// Reads entries one after another.
pub(crate) struct Archive<R> {
    input: R,
    /// Bytes consumed.
    pub(super) offset: u64,
    /// Stored bytes of the current entry not read yet.
    pub(super) remaining: u64,
    /// Bytes of padding that follow them, up to a whole block.
    padding: u64,
    /// Whether the end-of-archive mark was found.
    marked: bool,
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(input: R) -> Self {
        Archive { input, offset: 0, remaining: 0, padding: 0, marked: false }
    }

    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    /// Offset of the next byte to be read, in the unpacked archive.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Stored bytes of the current entry that are still to be read.
    pub(crate) fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Whether the archive ended with its end mark, and not just where the input ends.
    pub(crate) fn ended_by_mark(&self) -> bool {
        self.marked
    }

    pub(super) fn bad<T>(&self, at: u64, problem: impl Into<String>) -> Result<T, Fault> {
        debug_assert!(at <= self.offset);
        Err(Fault::Bad(at, problem.into()))
    }

    /// Reads a block, or as much of it as there is.
    pub(super) fn fill(&mut self, block: &mut [u8]) -> Result<usize, Fault> {
        let mut have = 0;
        while have < block.len() {
            match self.input.read(&mut block[have..]) {
                Ok(0) => break,
                Ok(n) => {
                    have += n;
                    self.offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Fault::Io(self.offset, e)),
            }
        }
        Ok(have)
    }

    /// Reads data of the current entry; 0 at its end.
    pub(crate) fn read_data(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        let want = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(out.len());
        if want == 0 {
            return Ok(0);
        }
        loop {
            match self.input.read(&mut out[..want]) {
                Ok(0) => {
                    let missing = self.remaining;
                    return self.bad(
                        self.offset,
                        format!("the archive is truncated: {missing} bytes of this entry are missing"),
                    );
                }
                Ok(n) => {
                    self.offset += n as u64;
                    self.remaining -= n as u64;
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Fault::Io(self.offset, e)),
            }
        }
    }

    /// Skips the rest of the current entry. The archive may end with its last byte, without padding: `umoci
    /// insert` (0.4.7) writes such layers, and Go's reader takes them.
    pub(super) fn skip(&mut self) -> Result<(), Fault> {
        let mut sink = [0; 16384];
        while self.read_data(&mut sink)? > 0 {}
        // Less than a block.
        let padding = std::mem::take(&mut self.padding) as usize;
        self.fill(&mut sink[..padding]).map(drop)
    }

    pub(super) fn open_data(&mut self, size: u64) {
        self.remaining = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    pub(super) fn extension(&mut self, at: u64, size: u64) -> Result<Vec<u8>, Fault> {
        if size > MAX_EXTENSION {
            return self
                .bad(at, format!("extension header of {size} bytes, at most {MAX_EXTENSION} are read"));
        }
        self.open_data(size);
        let mut data = vec![0; size as usize];
        let mut have = 0;
        while have < data.len() {
            have += self.read_data(&mut data[have..])?;
        }
        Ok(data)
    }

    /// The next header block; `None` at the end of the archive.
    pub(super) fn header(&mut self) -> Result<Option<(u64, Header)>, Fault> {
        let at = self.offset;
        let mut block = [0; BLOCK];
        match self.fill(&mut block)? {
            0 => return Ok(None),
            BLOCK => {}
            n => return self.bad(at, format!("the archive is truncated: a header of {n} bytes")),
        }
        if block.iter().all(|&b| b == 0) {
            self.marked = true;
            return Ok(None);
        }
        match Header::parse(&block) {
            Ok(header) => Ok(Some((at, header))),
            Err(problem) => self.bad(at, problem),
        }
    }
}
