//! A streaming reader of tar archives: ustar, GNU and PAX (POSIX.1-2008 *pax*, GNU tar manual appendix D).
//!
//! Method: headers are read one block at a time; extension headers (GNU `L` and `K`, PAX `x`) are gathered
//! and laid over the header that follows. Nothing is trusted: every number is range-checked, extension
//! headers are limited to 1 MiB, sparse maps to a million runs, and the reader's memory does not depend on
//! the archive. Limits: no multi-volume archives, no GNU incremental dumps.
//!
//! (The `tar` crate is not used because it knows neither the PAX forms of sparse files nor the offset of a
//! fault.)

mod header;
mod pax;
mod sparse;

use super::{
    ImageError, Xattr,
    stream::TooLong,
    tree::{Meta, Mtime},
};
use header::Header;
use std::io::{self, Read};

/// Unit of an archive, in bytes.
const BLOCK: usize = 512;
/// Longest extension header in bytes.
const MAX_EXTENSION: u64 = 1 << 20;

/// What an entry makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A regular file of this many bytes.
    File {
        size: u64,
        /// Where the stored bytes belong: offset and length each. `None`: one after another from 0.
        sparse: Option<Vec<(u64, u64)>>,
    },
    Dir,
    Symlink(Vec<u8>),
    Hardlink(Vec<u8>),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
}

/// An entry of an archive, with all extensions applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Name as in the archive.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: EntryKind,
    pub(crate) meta: Meta,
    /// In name order, each name once.
    pub(crate) xattrs: Vec<Xattr>,
}

/// Why the reader stopped.
pub(crate) enum Fault {
    /// The archive's fault, at this offset.
    Bad(u64, String),
    /// Reading failed.
    Io(u64, io::Error),
}

impl Fault {
    /// The error to show, `place` being the archive.
    pub(crate) fn at(self, place: &str) -> ImageError {
        let place = place.to_owned();
        match self {
            Fault::Bad(offset, problem) => ImageError::Archive { place, offset, problem },
            Fault::Io(_, e) if e.get_ref().is_some_and(|e| e.is::<TooLong>()) => {
                let limit = e.get_ref().and_then(|e| e.downcast_ref()).map_or(0, |TooLong(limit)| *limit);
                ImageError::Bomb { place, limit }
            }
            Fault::Io(offset, e) => {
                ImageError::Archive { place, offset, problem: format!("cannot be read: {e}") }
            }
        }
    }
}

/// Reads entries one after another.
pub(crate) struct Archive<R> {
    input: R,
    /// Bytes consumed.
    offset: u64,
    /// Stored bytes of the current entry not read yet.
    remaining: u64,
    /// Bytes behind them up to a whole block.
    padding: u64,
    /// Whether the end-of-archive mark was found, rather than the input's end.
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

    /// Whether the archive ended as it should, and not just at the end of the input.
    pub(crate) fn ended_by_mark(&self) -> bool {
        self.marked
    }

    fn bad<T>(&self, at: u64, problem: impl Into<String>) -> Result<T, Fault> {
        debug_assert!(at <= self.offset);
        Err(Fault::Bad(at, problem.into()))
    }

    /// Reads a block, or as much of it as there is.
    fn fill(&mut self, block: &mut [u8]) -> Result<usize, Fault> {
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
    fn skip(&mut self) -> Result<(), Fault> {
        let mut sink = [0; 16384];
        while self.read_data(&mut sink)? > 0 {}
        // Less than a block.
        let padding = std::mem::take(&mut self.padding) as usize;
        self.fill(&mut sink[..padding]).map(drop)
    }

    fn open_data(&mut self, size: u64) {
        self.remaining = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn extension(&mut self, at: u64, size: u64) -> Result<Vec<u8>, Fault> {
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
    fn header(&mut self) -> Result<Option<(u64, Header)>, Fault> {
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

    /// Skips what is left of the current entry and reads the next one; `None` at the end of the archive.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, Fault> {
        let mut extra = pax::Records::default();
        let mut extended = false;
        loop {
            self.skip()?;
            let Some((at, header)) = self.header()? else {
                return if extended {
                    self.bad(self.offset, "the archive is truncated: it ends after an extension header")
                } else {
                    Ok(None)
                };
            };
            match header.typeflag {
                b'L' | b'K' => {
                    let mut text = self.extension(at, header.size)?;
                    text.truncate(text.iter().position(|&b| b == 0).unwrap_or(text.len()));
                    let slot = if header.typeflag == b'L' { &mut extra.path } else { &mut extra.link };
                    *slot = Some(text);
                    extended = true;
                }
                b'x' | b'X' => {
                    let data = self.extension(at, header.size)?;
                    extra.read(&data).or_else(|problem| self.bad(at, problem))?;
                    extended = true;
                }
                // A volume label names the archive, not a file. A global PAX header is ignored, as docker
                // does: it would give every entry the same attributes.
                b'V' | b'g' => self.open_data(header.size),
                _ => return self.entry(at, header, extra).map(Some),
            }
        }
    }

    fn entry(&mut self, at: u64, header: Header, extra: pax::Records) -> Result<Entry, Fault> {
        let stored = extra.size.unwrap_or(header.size);
        let name = extra.sparse_name.or(extra.path).unwrap_or(header.name);
        let link = extra.link.unwrap_or(header.link);
        let dir = name.last() == Some(&b'/');
        let kind = match header.typeflag {
            // POSIX: an old archive marks directories by their trailing slash only.
            b'0' | 0 | b'7' if dir => EntryKind::Dir,
            b'0' | 0 | b'7' | b'S' => {
                self.open_data(stored);
                let map = if header.typeflag == b'S' {
                    Some((header.real_size, self.old_sparse_map(at, header.sparse, header.sparse_more)?))
                } else {
                    self.pax_sparse_map(at, extra.sparse)?
                };
                match map {
                    None => EntryKind::File { size: stored, sparse: None },
                    Some((size, map)) => {
                        sparse::check(&map, size, self.remaining).or_else(|problem| self.bad(at, problem))?;
                        EntryKind::File { size, sparse: Some(map) }
                    }
                }
            }
            b'1' => EntryKind::Hardlink(link),
            b'2' => EntryKind::Symlink(link),
            b'3' => EntryKind::Char(header.major, header.minor),
            b'4' => EntryKind::Block(header.major, header.minor),
            b'5' => EntryKind::Dir,
            b'6' => EntryKind::Fifo,
            other => {
                return self.bad(
                    at,
                    format!(
                        "entry type `{}` is not supported: make the archive with `tar --format=pax`",
                        other.escape_ascii()
                    ),
                );
            }
        };
        let owner = |number: u64, what| {
            u32::try_from(number).or_else(|_| self.bad(at, format!("{what} {number} does not fit 32 bits")))
        };
        let meta = Meta {
            mode: (header.mode & 0o7777) as u16,
            uid: owner(extra.uid.unwrap_or(header.uid), "owner")?,
            gid: owner(extra.gid.unwrap_or(header.gid), "group")?,
            mtime: extra.mtime.unwrap_or(Mtime { secs: header.mtime, nanos: 0 }),
        };
        let xattrs = extra
            .xattrs
            .into_iter()
            .map(|(name, value)| Xattr { name: name.into(), value: value.into() })
            .collect();
        Ok(Entry { name, kind, meta, xattrs })
    }
}
