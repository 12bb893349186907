//! The entries of an archive: a header with all extension headers before it applied.

use super::{fault::Fault, header::Header, pax, reader::Archive, sparse};
use crate::image::{
    Xattr,
    tree::{Meta, Mtime},
};
use std::io::Read;

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

impl<R: Read> Archive<R> {
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
                let runs = (header.sparse, header.sparse_more, header.real_size);
                let old = (header.typeflag == b'S').then_some(runs);
                self.file(at, stored, old, extra.sparse)?
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

    /// A file of `stored` bytes: with holes if its header is of GNU's type `S` (`old`: its first runs,
    /// whether more follow, its size), or PAX headers say so.
    fn file(
        &mut self,
        at: u64,
        stored: u64,
        old: Option<(sparse::Runs, bool, u64)>,
        described: sparse::Described,
    ) -> Result<EntryKind, Fault> {
        self.open_data(stored);
        let map = match old {
            Some((runs, more, size)) => Some((size, self.old_sparse_map(at, runs, more)?)),
            None => self.pax_sparse_map(at, described)?,
        };
        let Some((size, map)) = map else { return Ok(EntryKind::File { size: stored, sparse: None }) };
        sparse::check(&map, size, self.remaining).or_else(|problem| self.bad(at, problem))?;
        Ok(EntryKind::File { size, sparse: Some(map) })
    }
}
