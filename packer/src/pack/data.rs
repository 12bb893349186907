//! The data section: active segments whose contents can be mapped from the file.
//!
//! To map a page from the file (as [`mapping`](super::mapping) does), its file offset and its address must be
//! equal modulo the page size. A segment's head of [`HEAD`] bytes is between the contents of two segments, so
//! the segment before a mappable one is padded with zeros until the next contents are at the right offset.
//! The padding is correct: at least a page of zeros follows every part and every run of pages
//! ([`memory`](super::memory)).

use std::io::{self, Write};

use super::{
    PackError,
    memory::{PAGE, Piece},
    module::{leb5, sleb5},
};

/// Bytes before a segment's contents: flags, `i32.const` with five bytes, `end`, five bytes of length.
pub const HEAD: u64 = 13;
/// Bytes before the first segment's head: id, five bytes of length, five bytes of count.
const SECTION_HEAD: u64 = 11;

/// A piece and the bytes of padding that follow it in the file.
struct Placed<'a> {
    piece: Piece<'a>,
    filler: u64,
}

/// A data section ready to be written.
pub struct DataSection<'a> {
    placed: Vec<Placed<'a>>,
    body: u32,
}

impl<'a> DataSection<'a> {
    /// Lays out `pieces` for a section whose first byte is at `offset` in the file. Pieces below `floor` are
    /// among the runtime's own variables and are not padded.
    ///
    /// # Errors
    /// When the section exceeds 4 GiB.
    pub fn plan(offset: u64, floor: u64, pieces: &[Piece<'a>]) -> Result<Self, PackError> {
        let mut at = offset + SECTION_HEAD;
        let mut placed: Vec<Placed<'a>> = Vec::with_capacity(pieces.len());
        for &piece in pieces {
            at += HEAD;
            if let Some(before) = placed.last_mut().filter(|p| piece.mappable && p.piece.addr >= floor) {
                let page = PAGE as u64;
                let filler = (piece.addr % page + page - at % page) % page;
                let free = piece.addr.saturating_sub(before.piece.addr + before.piece.bytes.len() as u64);
                // A piece that follows too closely is copied instead of mapped: slower, but correct.
                if filler <= free {
                    before.filler = filler;
                    at += filler;
                }
            }
            at += piece.bytes.len() as u64;
            placed.push(Placed { piece, filler: 0 });
        }
        let body = at - offset - 6;
        let body = u32::try_from(body).map_err(|_| PackError::SectionTooLarge { bytes: body })?;
        Ok(DataSection { placed, body })
    }

    /// Size of the section in the file.
    pub fn size(&self) -> u64 {
        u64::from(self.body) + 6
    }

    /// Number of segments.
    pub fn count(&self) -> usize {
        self.placed.len()
    }

    /// Writes the section; `progress` is told the bytes of contents as they are written.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write, mut progress: impl FnMut(u64)) -> io::Result<()> {
        let mut head = vec![11];
        leb5(self.body, &mut head);
        leb5(self.placed.len() as u32, &mut head);
        out.write_all(&head)?;
        for Placed { piece, filler } in &self.placed {
            head.clear();
            head.extend([0, 0x41]);
            sleb5(piece.addr as u32 as i32, &mut head);
            head.push(0x0b);
            leb5((piece.bytes.len() as u64 + filler) as u32, &mut head);
            out.write_all(&head)?;
            for chunk in piece.bytes.chunks(1 << 20) {
                out.write_all(chunk)?;
                progress(chunk.len() as u64);
            }
            out.write_all(&[0; PAGE][..*filler as usize])?;
        }
        Ok(())
    }
}
