//! Writes the bytes of a volume, in order.

use super::{
    BLOCK, ErofsError, Volume,
    dir::Encoder,
    inode::{self, Placed},
    volume::Slot,
    xattr,
};
use crate::image::{Kind, Progress};
use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// Offset of the superblock in bytes.
const SUPER: usize = 1024;
/// `EROFS_SUPER_MAGIC_V1`.
const MAGIC: u32 = 0xe0f5_e1e2;
/// Compatible features: superblock checksum; inodes have their mtime.
const COMPAT: u32 = 1 | 2;

/// CRC-32C as the kernel's `crc32c`: reflected polynomial 0x1EDC6F41, no final inversion.
fn crc32c(seed: u32, data: &[u8]) -> u32 {
    data.iter().fold(seed, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |c, _| if c & 1 == 1 { c >> 1 ^ 0x82f6_3b78 } else { c >> 1 })
    })
}

/// Counts what was written. Holds the first block back until it is whole: it has a checksum of itself.
struct Output<'o> {
    out: &'o mut dyn Write,
    progress: &'o mut dyn Progress,
    first: Vec<u8>,
    written: u64,
}

impl Output<'_> {
    fn put(&mut self, mut data: &[u8]) -> Result<(), ErofsError> {
        self.written += data.len() as u64;
        self.progress.advance(data.len() as u64);
        if self.first.len() < BLOCK as usize {
            let take = data.len().min(BLOCK as usize - self.first.len());
            self.first.extend_from_slice(&data[..take]);
            data = &data[take..];
            if self.first.len() < BLOCK as usize {
                return Ok(());
            }
            let sum = crc32c(!0, &self.first[SUPER..]);
            self.first[SUPER + 4..SUPER + 8].copy_from_slice(&sum.to_le_bytes());
            self.out.write_all(&self.first).map_err(ErofsError::Output)?;
        }
        self.out.write_all(data).map_err(ErofsError::Output)
    }

    fn pad_to(&mut self, offset: u64) -> Result<(), ErofsError> {
        let zeros = [0; 1 << 14];
        while self.written < offset {
            let n = usize::try_from(offset - self.written).unwrap_or(usize::MAX).min(zeros.len());
            self.put(&zeros[..n])?;
        }
        if self.written > offset {
            // Layout and writer are one algorithm written twice: they must not differ silently.
            return Err(ErofsError::Output(io::Error::other("the plan of the image does not hold")));
        }
        Ok(())
    }
}

impl Volume<'_> {
    /// Writes the image: exactly [`Volume::size`] bytes, in order.
    ///
    /// # Errors
    /// When the spool cannot be read or `out` not be written.
    pub fn write_to(&self, out: &mut dyn Write, progress: &mut dyn Progress) -> Result<(), ErofsError> {
        let mut out = Output { out, progress, first: Vec::with_capacity(BLOCK as usize), written: 0 };
        out.put(&[0; SUPER])?;
        out.put(&self.superblock())?;
        for (number, slot) in self.slots.iter().enumerate() {
            out.pad_to(slot.offset)?;
            self.write_inode(number, slot, &mut out)?;
        }
        let outside = |slot: &&Slot| !slot.inline && slot.size > 0;
        for slot in self.slots.iter().filter(outside) {
            if !matches!(self.tree.inode(slot.id).kind, Kind::File { .. }) {
                out.pad_to(u64::from(slot.at) * BLOCK)?;
                out.put(&self.small_data(slot))?;
            }
        }
        let mut buffer = vec![0; 1 << 18];
        for slot in self.slots.iter().filter(outside) {
            if matches!(self.tree.inode(slot.id).kind, Kind::File { .. }) {
                out.pad_to(u64::from(slot.at) * BLOCK)?;
                self.write_file(slot, &mut buffer, &mut out)?;
            }
        }
        out.pad_to(self.size())
    }

    fn superblock(&self) -> [u8; 128] {
        let mut uuid: [u8; 16] = [0; 16];
        uuid.copy_from_slice(&Sha256::digest(self.seed.as_bytes())[..16]);
        // RFC 9562 5.8: version 8, the variant of the RFC.
        uuid[6] = uuid[6] & 0x0f | 0x80;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        // Only compact inodes would take their time from here.
        let newest = self.slots.iter().map(|s| self.tree.inode(s.id).meta.mtime).max().unwrap_or_default();
        let mut out = [0; 128];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC.to_le_bytes());
        put(8, &COMPAT.to_le_bytes());
        put(12, &[BLOCK.trailing_zeros() as u8]);
        put(14, &(self.nid(self.tree.root()) as u16).to_le_bytes());
        put(16, &(self.slots.len() as u64).to_le_bytes());
        put(24, &newest.secs.to_le_bytes());
        put(32, &newest.nanos.to_le_bytes());
        put(36, &(self.blocks as u32).to_le_bytes());
        // Inode numbers count from block 0; there are no shared attributes.
        put(48, &uuid);
        put(64, b"forelift");
        out
    }

    fn write_inode(&self, number: usize, slot: &Slot, out: &mut Output<'_>) -> Result<(), ErofsError> {
        let node = self.tree.inode(slot.id);
        let placed = Placed {
            size: slot.size,
            at: slot.at,
            inline: slot.inline,
            links: slot.links,
            ino: number as u32 + 1,
            xattr_count: xattr::count(slot.xattrs as usize),
        };
        out.put(&inode::encode(node, &placed))?;
        // They were encoded before, for the layout: they fit.
        out.put(&xattr::encode(&node.xattrs).unwrap_or_default())?;
        if slot.inline { out.put(&self.small_data(slot)) } else { Ok(()) }
    }

    /// The data of a directory or a link.
    fn small_data(&self, slot: &Slot) -> Vec<u8> {
        match &self.tree.inode(slot.id).kind {
            Kind::Symlink(target) => target.to_vec(),
            Kind::Dir(_) => {
                let mut encoder = Encoder::default();
                for (name, id) in self.names(slot) {
                    encoder.push(name, self.nid(id), inode::file_type(&self.tree.inode(id).kind));
                }
                encoder.finish()
            }
            _ => Vec::new(),
        }
    }

    fn write_file(&self, slot: &Slot, buffer: &mut [u8], out: &mut Output<'_>) -> Result<(), ErofsError> {
        let mut at = 0;
        while at < slot.size {
            let n = usize::try_from(slot.size - at).unwrap_or(usize::MAX).min(buffer.len());
            self.tree.read_at(slot.id, at, &mut buffer[..n]).map_err(ErofsError::Spool)?;
            out.put(&buffer[..n])?;
            at += n as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn crc_of_the_check_string() {
        // RFC 3720 appendix B.4 gives the inverted form.
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    }
}
